// Co-embeddings whose rows are padded, as on a GPU: they train as those without, and files and states pass between both.
#include "base/file.h"
#include "coembed_helpers.h"
#include "engine/checkpoint.h"
#include "models/trained_model.h"

namespace panvae::test {
namespace {

const Views& study() {
  static const Views v(96);
  return v;
}
constexpr CoembedMode kModes[] = {CoembedMode::adversarial, CoembedMode::contrastive};
constexpr int64_t kTrain = 48, kValidation = 12;
constexpr int64_t kMultiple = 16;  // 40 genes in rows of 48, 36 regions likewise

CoembedSetup setup_of(CoembedMode mode, bool hierarchical) {
  CoembedSetup s;
  s.loss.mode = mode;
  s.hierarchical = hierarchical;
  s.train = kTrain, s.validation = kValidation;
  s.options.batch_size = 16;
  s.options.max_epochs = 2;
  s.options.clip_norm = hierarchical ? 5 : 0;
  s.loss.cycle_freeze = hierarchical ? CycleFreeze::target : mode == CoembedMode::adversarial ? CycleFreeze::encoders : CycleFreeze::none;
  return s;
}

std::vector<float> unpadded_weights(const ModuleState& state) {
  return state.unpadded<float>(state.flat_parameters());
}

void expect_close(const std::vector<CoembedEpoch>& a, const std::vector<CoembedEpoch>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i].train_loss, b[i].train_loss, 1e-5 * b[i].train_loss);
    EXPECT_NEAR(a[i].validation_loss, b[i].validation_loss, 1e-5 * b[i].validation_loss);
    EXPECT_NEAR(a[i].validation.rna_huber, b[i].validation.rna_huber, 1e-5 * b[i].validation.rna_huber);
    EXPECT_NEAR(a[i].validation.atac_huber, b[i].validation.atac_huber, 1e-5 * b[i].validation.atac_huber);
    EXPECT_NEAR(a[i].validation.cycle, b[i].validation.cycle, 1e-5 * b[i].validation.cycle);
  }
}

TEST(coembed_padding, steps_are_those_without_padding_but_for_rounding) {
  for (CoembedMode mode : kModes)
    for (bool hierarchical : {false, true}) {
      CoembedSetup s = setup_of(mode, hierarchical);
      CoembedRun plain(s, study()), start(s, study());
      EXPECT_EQ(plain.trainer.run().steps, 6);
      EXPECT_GT(worst_relative(plain.weights(), start.weights()), 1e-3) << "the steps did something";
      s.row_multiple = kMultiple;
      for (Device device : host_devices())
        for (bool fused : {true, false}) {
          SCOPED_TRACE(fmt::format("{} {} on {}{}", static_cast<int>(mode), hierarchical, to_string(device), fused ? ", fused" : ""));
          s.device = device;
          CoembedRun padded(s, study());
          padded.context->fused = fused;
          ASSERT_EQ(padded.rna.width(), 48);
          ASSERT_EQ(padded.atac->width(), hierarchical ? 36 : 48);
          EXPECT_EQ(unpadded_weights(padded.state), start.weights()) << "they start from the same weights";
          padded.trainer.run();
          expect_close(padded.epochs, plain.epochs);
          EXPECT_LE(worst_relative(unpadded_weights(padded.state), plain.weights()), 1e-4);
          if (mode == CoembedMode::adversarial) {
            EXPECT_LE(worst_relative(padded.discriminator_weights(), plain.discriminator_weights()), 1e-4);
          }
          expect_zero_padding(padded.state);
        }
    }
}

// A run that began on a GPU may go on where rows are not padded, and the other way round.
TEST(coembed_padding, resume_does_not_ask_how_rows_are_padded) {
  const Folder folder;
  for (CoembedMode mode : kModes) {
    CoembedSetup s = setup_of(mode, false);
    s.options.max_epochs = 4;
    CoembedRun whole(s, study());
    whole.trainer.run();
    for (bool padded_first : {true, false}) {
      SCOPED_TRACE(fmt::format("{} {}", static_cast<int>(mode), padded_first));
      s.checkpoint = folder.file(fmt::format("{} {}", static_cast<int>(mode), padded_first));
      auto run = [&](bool padded) {
        s.device = {padded ? DeviceType::simt : DeviceType::cpu, 0};
        s.row_multiple = padded ? kMultiple : 1;
        return std::make_unique<CoembedRun>(s, study());
      };
      {
        const auto first = run(padded_first);
        first->rna_source.interrupt_at = 10;
        error_of([&] { first->trainer.run(); });
        set_interrupted(false);
      }
      const auto second = run(!padded_first);
      EXPECT_EQ(second->trainer.resume(), 2);
      second->trainer.run();
      EXPECT_LE(worst_relative(unpadded_weights(second->state), whole.weights()), 1e-4);
      const SafetensorsReader file(s.checkpoint);
      EXPECT_EQ(file.at("model.rna.encoder.hidden.weight").shape, (std::vector<int64_t>{24, Views::kGenes}));
      EXPECT_EQ(file.at("model.atac.decoder.output.bias").shape, (std::vector<int64_t>{Views::kRegions}));
      EXPECT_EQ(file.at("adam.first_moment").shape, (std::vector<int64_t>{whole.state.flat_parameters().count()}));
    }
  }
}

// What `panvae train coembed` does with two runs: their networks trained alone, then together, taken out again and written.
struct Pretrained {
  Pretrained(Device device, int64_t row_multiple, bool two_stages)
      : context(device), rna(context, {.genes = Views::kGenes, .hidden = 24, .latent = kLatent, .row_multiple = row_multiple}, 21, "rna vae") {
    if (two_stages) {
      AtacShape shape;
      shape.peaks = Views::kRegions, shape.slide = 6, shape.channels = 6, shape.latent = kLatent;
      shape.block.block = 12, shape.block.latent = 4;
      shape.block.widths = {10}, shape.widths = {20, 16};
      atac = std::make_unique<AtacNetworks>(context, shape, 22);
    } else {
      const RnaVaeShape shape{.genes = Views::kRegions, .hidden = 20, .latent = kLatent, .row_multiple = row_multiple};
      atac = std::make_unique<DenseModel>(context, shape, 22, "atac dense vae");
    }
  }
  TrainedModel& model(Modality m) { return m == Modality::rna ? static_cast<TrainedModel&>(rna) : *atac; }

  void train_alone() {
    for (Modality m : {Modality::rna, Modality::atac}) {
      const std::vector<float> x = inputs(m);
      Vae& vae = model(m).latent_vae();
      MatrixSource source(context, x.data(), study().samples, vae.features(), vae.width());
      TrainOptions options{.batch_size = 16, .learning_rate = 3e-3, .max_epochs = 2, .seed = 5};
      VaeTrainer(context, vae, model(m).latent_state(), source, rows(0, kTrain), {}, {.kl_weight = 0.1}, options).run();
      model(m).latent_state().release_gradients();
    }
  }
  void train_together(CoembedMode mode) {
    const std::vector<float> rna_x = inputs(Modality::rna), atac_x = inputs(Modality::atac);
    Vae &of_rna = model(Modality::rna).latent_vae(), &of_atac = model(Modality::atac).latent_vae();
    MatrixSource rna_rows(context, rna_x.data(), study().samples, of_rna.features(), of_rna.width());
    MatrixSource atac_rows(context, atac_x.data(), study().samples, of_atac.features(), of_atac.width());
    CoEmbedding both(of_rna, of_atac);
    ModuleState state(context, both, 3);
    for (Modality m : {Modality::rna, Modality::atac}) warm_start(state, m, model(m).latent_state());
    expect_zero_padding(state);
    CoembedData data{{rna_rows, rows(0, kTrain), {}, study().cohort, study().donor}, {atac_rows, rows(0, kTrain), {}, study().cohort, study().donor}, {}, {}};
    for (int64_t i = 0; i < kTrain; ++i) data.train_pairs.push_back({i, i, 1});
    const CoembedSetup s = setup_of(mode, false);
    CoembedTrainer(context, both, state, data, s.loss, s.options).run();
    for (Modality m : {Modality::rna, Modality::atac}) take_out(state, m, model(m).latent_state());
  }
  std::vector<float> inputs(Modality m) { return model(m).latent_inputs(context, (m == Modality::rna ? study().rna : study().atac).data(), study().samples); }
  void write(const std::string& path) {
    TensorWriter w;
    for (Modality m : {Modality::rna, Modality::atac}) model(m).add_to(w, m == Modality::rna ? "rna." : "atac.");
    w.file.write(path);
  }
  void read(const std::string& path) {
    const SafetensorsReader file(path);
    for (Modality m : {Modality::rna, Modality::atac}) model(m).read_from(file, m == Modality::rna ? "rna." : "atac.");
  }
  // Embeddings of both modalities, then every sample imputed in the other one, and reconstructed in its own.
  std::vector<std::vector<float>> answers() {
    std::vector<std::vector<float>> out;
    std::vector<float> means[2];
    for (Modality m : {Modality::rna, Modality::atac}) {
      const std::vector<float>& x = m == Modality::rna ? study().rna : study().atac;
      const Posteriors q = model(m).posteriors(context, x.data(), study().samples, true);
      means[m == Modality::atac] = q.mean;
      out.push_back(q.mean);
      out.push_back(q.logvar);
      out.push_back(model(m).decoder_metric(context, q.mean));
      std::vector<float>& own = out.emplace_back();
      model(m).reconstruct(context, x.data(), study().samples, [&](int64_t, const float* v) { own.insert(own.end(), v, v + model(m).features()); });
      EXPECT_EQ(own.size(), x.size());
    }
    for (Modality m : {Modality::rna, Modality::atac}) {
      std::vector<float>& imputed = out.emplace_back();
      model(m).decode(context, means[m == Modality::rna].data(), study().samples,
                      [&](int64_t, const float* v) { imputed.insert(imputed.end(), v, v + model(m).features()); });
    }
    return out;
  }

  Context context;
  DenseModel rna;
  std::unique_ptr<TrainedModel> atac;
};

void expect_answers(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_LE(worst_relative(a[i], b[i]), tolerance) << i;
}

TEST(coembed_padding, from_pretrained_runs_to_files_and_back) {
  const Folder folder;
  for (CoembedMode mode : kModes)
    for (bool two_stages : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", static_cast<int>(mode), two_stages));
      const Device cpu, simt{DeviceType::simt, 0};
      Pretrained plain(cpu, 1, two_stages), padded(simt, kMultiple, two_stages);
      ASSERT_EQ(padded.rna.vae.width(), 48);
      for (Pretrained* p : {&plain, &padded}) {
        p->train_alone();
        p->train_together(mode);
        p->write(folder.file(p == &plain ? "plain" : "padded"));
      }
      // Two trainings one after the other: their roundings differ by as much.
      expect_answers(padded.answers(), plain.answers(), 1e-3);
      Pretrained read_plain(cpu, 1, two_stages), read_padded(simt, kMultiple, two_stages);
      read_plain.read(folder.file("padded"));
      read_padded.read(folder.file("plain"));
      for (Modality m : {Modality::rna, Modality::atac}) {
        EXPECT_EQ(unpadded_weights(read_plain.model(m).latent_state()), unpadded_weights(padded.model(m).latent_state()));
        EXPECT_EQ(unpadded_weights(read_padded.model(m).latent_state()), unpadded_weights(plain.model(m).latent_state()));
        expect_zero_padding(read_padded.model(m).latent_state());
      }
      expect_answers(read_plain.answers(), padded.answers(), 1e-5);
      expect_answers(read_padded.answers(), plain.answers(), 1e-5);
      read_padded.write(folder.file("again"));
      EXPECT_EQ(read_file(folder.file("again")), read_file(folder.file("plain"))) << "files hold no padding";
    }
}

// The halves and the whole may live on devices that pad differently.
TEST(coembed_padding, warm_start_does_not_ask_how_rows_are_padded) {
  for (bool padded_halves : {true, false}) {
    Pretrained halves({DeviceType::cpu, 0}, padded_halves ? kMultiple : 1, false), other({DeviceType::simt, 0}, padded_halves ? 1 : kMultiple, false);
    CoEmbedding both(other.rna.vae, other.atac->latent_vae());
    ModuleState state(other.context, both, 3);
    for (Modality m : {Modality::rna, Modality::atac}) {
      warm_start(state, m, halves.model(m).latent_state());
      take_out(state, m, other.model(m).latent_state());
      EXPECT_EQ(unpadded_weights(other.model(m).latent_state()), unpadded_weights(halves.model(m).latent_state()));
    }
    expect_zero_padding(state);
    expect_answers(other.answers(), halves.answers(), 1e-5);
  }
}

TEST(coembed_padding, rows_of_another_width_are_refused) {
  CoembedSetup s = setup_of(CoembedMode::adversarial, false);
  s.row_multiple = kMultiple;
  CoembedRun run(s, study());
  MatrixSource narrow(*run.context, study().rna.data(), study().samples, Views::kGenes);
  CoembedData data{{narrow, rows(0, kTrain), {}, {}, {}}, {run.atac_source, rows(0, kTrain), {}, {}, {}}, {}, {}};
  EXPECT_CONTAINS(error_of([&] { CoembedTrainer(*run.context, run.model, run.state, data, s.loss, s.options); }).message(),
                  "RNA rows of 40 for a model that takes rows of 48");
}

}  // namespace
}  // namespace panvae::test
