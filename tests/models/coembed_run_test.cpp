// A training of a co-embedding from its start to its end: resumption, seeds, stopping, and what goes wrong.
#include <set>

#include "base/file.h"
#include "coembed_study.h"
#include "tests/base/warnings.h"

namespace panvae::test {
namespace {

// Stopped after any step, within an epoch, between two or in validation, and resumed.
TEST(coembed_trainer, resume_equals_the_uninterrupted_run_bit_for_bit) {
  for (CoembedMode mode : kModes) {
    Folder folder;
    CoembedSetup s = setup_of(mode, mode == CoembedMode::contrastive);
    s.options.max_epochs = 4;
    s.checkpoint = folder.file("whole");
    CoembedRun whole(s, study());
    const TrainResult expected = whole.trainer.run();
    // An epoch asks for 5 training and 2 validation batches.
    for (int64_t stop : {1, 4, 5, 6, 9, 17, 26}) {
      SCOPED_TRACE(fmt::format("{} {}", static_cast<int>(mode), stop));
      s.checkpoint = folder.file("stopped" + std::to_string(stop));
      std::vector<std::string> lines;
      {
        CoembedRun first(s, study());
        first.rna_source.interrupt_at = stop;
        const Error e = error_of([&] { first.trainer.run(); });
        set_interrupted(false);
        EXPECT_EQ(e.code(), ErrorCode::interrupted);
        EXPECT_CONTAINS(e.hint(), "--resume");
        lines = first.lines;
      }
      CoembedRun second(s, study());
      EXPECT_EQ(second.trainer.resume(), static_cast<int64_t>(lines.size()));
      const TrainResult r = second.trainer.run();
      lines.insert(lines.end(), second.lines.begin(), second.lines.end());
      EXPECT_EQ(lines, whole.lines);
      EXPECT_EQ(second.weights(), whole.weights());
      EXPECT_EQ(second.discriminator_weights(), whole.discriminator_weights());
      EXPECT_EQ(r.best_epoch, expected.best_epoch);
      EXPECT_EQ(r.steps, expected.steps);
      EXPECT_EQ(r.validation_loss, expected.validation_loss);
      EXPECT_EQ(read_file(s.checkpoint), read_file(folder.file("whole"))) << "and the same checkpoint at the end";
    }
    CoembedRun again(s, study());
    again.trainer.checkpoint_path = folder.file("whole");
    EXPECT_EQ(again.trainer.resume(), 4);
    again.trainer.run();
    EXPECT_TRUE(again.lines.empty()) << "nothing is left to train";
    EXPECT_EQ(again.weights(), whole.weights());
    CoembedRun other(s, study());
    other.trainer.checkpoint_path = folder.file("whole");
    other.trainer.fingerprint = "study 2";
    EXPECT_CONTAINS(error_of([&] { other.trainer.resume(); }).message(), "another configuration");
  }
}

TEST(coembed_trainer, the_same_seed_gives_the_same_bits_and_another_does_not) {
  for (CoembedMode mode : kModes) {
    CoembedSetup s = setup_of(mode);
    CoembedRun a(s, study()), b(s, study());
    a.trainer.run();
    b.trainer.run();
    EXPECT_EQ(a.weights(), b.weights());
    EXPECT_EQ(a.lines, b.lines);
    s.options.seed = 6;
    CoembedRun c(s, study());
    c.trainer.run();
    EXPECT_NE(a.weights(), c.weights());
  }
}

TEST(coembed_trainer, early_stopping_restores_the_best_weights) {
  for (CoembedMode mode : kModes) {
    CoembedSetup s = setup_of(mode);
    s.train = 24;
    s.options.batch_size = 8;
    s.options.learning_rate = 2e-2;
    s.options.max_epochs = 300;
    s.options.patience = 5;
    CoembedRun run(s, study());
    const TrainResult r = run.trainer.run();
    ASSERT_LT(r.epochs, 300);
    EXPECT_EQ(r.epochs, r.best_epoch + 5);
    EXPECT_EQ(run.weights(), run.best_weights);
    double best = 1e300;
    for (const CoembedEpoch& m : run.epochs) best = std::min(best, m.validation_loss);
    EXPECT_EQ(r.validation_loss, best);
    EXPECT_EQ(run.trainer.evaluate().validation_loss, best) << "the weights that were left give that loss";
  }
}

// Epochs before min_epochs are no candidates, however good; that one is, and so is the last of a run that has no more.
TEST(coembed_trainer, min_epochs_is_the_first_candidate) {
  for (int64_t min_epochs : {3, 100}) {
    CoembedSetup s = setup_of(CoembedMode::contrastive);
    s.options.min_epochs = min_epochs;
    s.options.max_epochs = min_epochs == 3 ? 4 : 3;
    s.options.learning_rate = 0;  // every epoch has the same loss, and the first candidate stays the best
    CoembedRun run(s, study());
    EXPECT_EQ(run.trainer.run().best_epoch, 3);
    for (const CoembedEpoch& m : run.epochs) EXPECT_EQ(m.best, m.epoch == 3);
  }
}

TEST(coembed_trainer, nan_in_the_data_is_explained_and_leaves_the_weights) {
  for (CoembedMode mode : kModes) {
    for (Device device : host_devices()) {
      Views v = study();
      v.atac[static_cast<size_t>(30 * Views::kRegions + 7)] = NAN;
      CoembedSetup s = setup_of(mode);
      s.device = device;
      CoembedRun run(s, v);
      const Error e = error_of([&] { run.trainer.run(); });
      EXPECT_EQ(e.code(), ErrorCode::input);
      EXPECT_EQ(e.op(), "linear");
      EXPECT_CONTAINS(e.message(), "holds a NaN or an infinity");
      for (float w : run.weights()) ASSERT_TRUE(std::isfinite(w));
      for (float w : run.discriminator_weights()) ASSERT_TRUE(std::isfinite(w));
      EXPECT_FALSE(run.context->nan_guard);
      EXPECT_EQ(run.context->tape(), nullptr);
    }
  }
}

// Layers of a network to zero but for these weights: what comes out is 0, and with it the loss is finite, while the gradient that passes
// back through the large weights overflows.
void spoil(const ModuleState& state, const std::string& prefix, const std::set<std::string>& large) {
  for (const auto& e : state.entries()) {
    if (e.name.rfind(prefix, 0) != 0) continue;
    Tensor t = e.tensor;
    t.upload(std::vector<float>(static_cast<size_t>(t.count()), large.count(e.name) ? 3e38f : 0.0f).data(), t.count());
  }
}

// Each network skips its own steps, and all are counted: the autoencoders', the discriminator's, and both.
TEST(coembed_trainer, skipped_steps_of_both_learners_are_counted) {
  for (bool model : {true, false})
    for (bool discriminator : {true, false}) {
      SCOPED_TRACE(fmt::format("{} {}", model, discriminator));
      CoembedSetup s = setup_of(CoembedMode::adversarial);
      s.loss.adversarial = s.loss.cycle = s.loss.pair = 0;  // neither network's gradient passes through the other
      s.options.max_epochs = 2;
      Views v = study();
      if (model) {
        for (float& x : v.rna) x *= 1e6f;
        s.loss.rna.huber_delta = 1e9;
      }
      CoembedRun run(s, v);
      if (model) spoil(run.state, "rna.decoder.", {"rna.decoder.output.weight"});
      if (discriminator) spoil(*run.trainer.discriminator_state(), "", {"1.weight", "2.weight"});
      const std::vector<float> weights = run.weights(), discriminator_weights = run.discriminator_weights();
      const Warnings said;
      const TrainResult r = run.trainer.run();
      EXPECT_EQ(r.steps, 10);
      EXPECT_EQ(r.skipped_steps, 10 * (model + discriminator));
      EXPECT_EQ(run.weights() == weights, model) << "skipped steps change nothing, the others do";
      EXPECT_EQ(run.discriminator_weights() == discriminator_weights, discriminator);
      ASSERT_EQ(said.lines.size(), model || discriminator ? 1u : 0u);
      for (const std::string& line : said.lines) EXPECT_CONTAINS(line, fmt::format("{} steps were skipped", r.skipped_steps));
    }
}

TEST(coembed_trainer, refuses_what_cannot_be_trained) {
  Context c;
  const Views& v = study();
  RnaVae rna({.genes = Views::kGenes, .hidden = 4, .latent = 3}), atac({.genes = Views::kRegions, .hidden = 4, .latent = 3});
  CoEmbedding model(rna, atac);
  ModuleState state(c, model, 1);
  MatrixSource rna_source(c, v.rna.data(), v.samples, Views::kGenes), atac_source(c, v.atac.data(), v.samples, Views::kRegions);
  const CoembedData good{
      {rna_source, rows(0, 20), rows(20, 30), v.cohort, v.donor}, {atac_source, rows(0, 20), rows(20, 30), v.cohort, v.donor}, {{0, 0, 1}}, {{20, 20, 1}}};
  auto message = [&](const CoembedData& d, CoembedLossOptions loss = {}, CoembedTrainOptions options = {}) {
    return error_of([&] { CoembedTrainer(c, model, state, d, loss, options); }).message();
  };
  CoembedLossOptions contrastive;
  contrastive.mode = CoembedMode::contrastive;
  EXPECT_NO_THROW(CoembedTrainer(c, model, state, good, {}, {}));
  state.release_gradients();
  EXPECT_NO_THROW(CoembedTrainer(c, model, state, good, contrastive, {}));
  state.release_gradients();
  auto with = [&](auto&& change) {
    CoembedData d = good;
    change(d);
    return d;
  };
  EXPECT_CONTAINS(message(with([](CoembedData& d) { d.rna.train.clear(); })), "no training samples of RNA");
  EXPECT_CONTAINS(message(with([](CoembedData& d) { d.atac.validation = {280}; })), "row 280 of 280 ATAC samples");
  EXPECT_CONTAINS(message({{atac_source, {0}, {}, {}, {}}, {atac_source, {0}, {}, {}, {}}, {}, {}}), "36 RNA features for a model of 40");
  EXPECT_CONTAINS(message(with([](CoembedData& d) { d.train_pairs[0].rna = 20; })),
                  "the training pair of RNA row 20 and ATAC row 0 is not of training samples");
  EXPECT_CONTAINS(message(with([](CoembedData& d) { d.validation_pairs[0].atac = 0; })), "the validation pair of RNA row 20 and ATAC row 0");
  EXPECT_CONTAINS(message(with([](CoembedData& d) { d.train_pairs[0].weight = -1; })), "has the weight -1");
  EXPECT_CONTAINS(message(with([](CoembedData& d) { d.train_pairs[0].weight = 0; })), "all training pairs have the weight 0");
  EXPECT_CONTAINS(message(with([](CoembedData& d) { d.rna.cohort.clear(); }), contrastive), "0 cohorts and 280 donors for 280 RNA samples");
  auto one_cohort = with([](CoembedData& d) {
    std::fill(d.rna.cohort.begin(), d.rna.cohort.end(), 1);
    std::fill(d.atac.cohort.begin(), d.atac.cohort.end(), 1);
  });
  EXPECT_CONTAINS(message(one_cohort, contrastive), "nothing to contrast");
  CoembedLossOptions negative;
  negative.cycle = -1;
  EXPECT_CONTAINS(message(good, negative), "a weight or margin of -1");
  CoembedTrainOptions batch;
  batch.batch_size = 0;
  EXPECT_CONTAINS(message(good, {}, batch), "batch size 0");
}

}  // namespace
}  // namespace panvae::test
