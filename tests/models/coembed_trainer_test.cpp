// How a co-embedding is trained: what a step takes, its terms, and equality of executors.
#include <set>

#include "coembed_study.h"

namespace panvae::test {
namespace {

TEST(sample_stream, is_one_shuffled_pass_after_the_other) {
  SampleStream whole(7, 3, 100), parts(7, 3, 100), other(7, 3, 101);
  const std::vector<int64_t> all = whole.items(0, 21);
  for (int64_t pass = 0; pass < 3; ++pass) {
    std::vector<int64_t> one(all.begin() + 7 * pass, all.begin() + 7 * pass + 7);
    std::sort(one.begin(), one.end());
    EXPECT_EQ(one, rows(0, 7));
  }
  EXPECT_NE(std::vector<int64_t>(all.begin(), all.begin() + 7), std::vector<int64_t>(all.begin() + 7, all.begin() + 14));
  for (int64_t first : {18, 0, 5, 12})
    EXPECT_EQ(parts.items(first, 3), (std::vector<int64_t>{all.begin() + first, all.begin() + first + 3})) << "in any order of asking";
  EXPECT_NE(other.items(0, 21), all);
  EXPECT_TRUE(SampleStream(0, 3, 100).items(4, 5).empty());
}

// Three rows of RNA for each of ATAC: an epoch is a pass over ATAC, RNA goes on where it stopped, and no row is read that is
// no training sample.
TEST(coembed_trainer, an_epoch_is_a_pass_over_the_smaller_modality) {
  Context c;
  const Views& v = study();
  RnaVae rna({.genes = Views::kGenes, .hidden = 4, .latent = 3}), atac({.genes = Views::kRegions, .hidden = 4, .latent = 3});
  CoEmbedding model(rna, atac);
  ModuleState state(c, model, 1);
  WatchedSource rna_source(c, v.rna, v.samples), atac_source(c, v.atac, v.samples);
  CoembedSetup s;
  s.options.batch_size = 10;
  s.options.max_epochs = 6;
  s.loss.pair = 0;
  CoembedData d{{rna_source, rows(100, 160), {}, {}, {}}, {atac_source, rows(0, 20), {}, {}, {}}, {}, {}};
  CoembedTrainer trainer(c, model, state, d, s.loss, s.options);
  const TrainResult r = trainer.run();
  EXPECT_EQ(r.steps, 12);
  EXPECT_CONTAINS(r.stopped_because, "max_epochs 6");
  ASSERT_EQ(rna_source.asked.size(), 12u);
  std::vector<int64_t> seen;
  for (const auto& batch : rna_source.asked) {
    EXPECT_EQ(batch.size(), 10u);
    seen.insert(seen.end(), batch.begin(), batch.end());
  }
  std::vector<int64_t> first(seen.begin(), seen.begin() + 60), second(seen.begin() + 60, seen.end());
  EXPECT_NE(first, second);
  for (std::vector<int64_t>* pass : {&first, &second}) {
    std::sort(pass->begin(), pass->end());
    EXPECT_EQ(*pass, rows(100, 160));
  }
  for (size_t epoch = 0; epoch < 6; ++epoch) {
    std::vector<int64_t> pass = atac_source.asked[2 * epoch];
    pass.insert(pass.end(), atac_source.asked[2 * epoch + 1].begin(), atac_source.asked[2 * epoch + 1].end());
    std::sort(pass.begin(), pass.end());
    EXPECT_EQ(pass, rows(0, 20));
  }
  state.release_gradients();
  s.options.epoch_steps = 3;
  EXPECT_EQ(CoembedTrainer(c, model, state, d, s.loss, s.options).run().steps, 24) << "two passes, of two steps each";
  state.release_gradients();
  d.atac.train = rows(0, 21);
  EXPECT_EQ(CoembedTrainer(c, model, state, d, s.loss, s.options).run().steps, 18) << "one pass, with the step that is not full";
}

// Pairs and triplets are rows behind those of the batch, each read once in a step; nothing but training samples is read in
// training, and no pairs are drawn where their weight is 0.
TEST(coembed_trainer, a_step_reads_training_rows_once) {
  for (CoembedMode mode : kModes) {
    for (double pair : {0.0, 1.0}) {
      CoembedSetup s = setup_of(mode);
      s.loss.pair = pair;
      s.options.max_epochs = 1;
      s.validation = 0;
      CoembedRun run(s, study());
      run.trainer.run();
      ASSERT_EQ(run.rna_source.asked.size(), 5u);
      int64_t behind[2] = {0, 0};
      for (const WatchedSource* source : {&run.rna_source, &run.atac_source}) {
        for (const std::vector<int64_t>& batch : source->asked) {
          const std::set<int64_t> distinct(batch.begin(), batch.end());
          EXPECT_EQ(distinct.size(), batch.size());
          EXPECT_GE(batch.size(), 32u);
          EXPECT_LT(*distinct.rbegin(), s.train);
          behind[source == &run.rna_source] += static_cast<int64_t>(batch.size()) - 32;
        }
      }
      if (pair > 0) {
        EXPECT_TRUE(behind[0] > 100 && behind[1] > 100);
      } else if (mode == CoembedMode::adversarial) {
        EXPECT_TRUE(behind[0] == 0 && behind[1] == 0);
      } else {
        EXPECT_GT(behind[0] + behind[1], 100) << "positives and negatives";
      }
    }
  }
}

TEST(coembed_trainer, terms_add_up_and_metrics_hold_what_the_mode_has) {
  for (CoembedMode mode : kModes) {
    CoembedSetup s = setup_of(mode);
    s.loss.adversarial = 0.5, s.loss.cycle = 0.25, s.loss.contrastive = 2, s.loss.pair = 3, s.loss.atac.kl_weight = 0.7;
    CoembedRun run(s, study());
    const CoembedEpoch before = run.trainer.evaluate();
    EXPECT_EQ(before.epoch, 0);
    EXPECT_FALSE(before.json().contains("train_loss") || before.json().contains("best"));
    EXPECT_TRUE(before.json().contains("validation_foscttm"));
    run.trainer.run();
    for (const CoembedEpoch& m : run.epochs) {
      const CoembedTerms &t = m.train, &v = m.validation;
      double total = t.rna_huber + 0.1 * t.rna_kl / Views::kGenes + t.atac_huber + 0.7 * t.atac_kl / Views::kRegions + 0.25 * t.cycle + 3 * t.pair;
      total += mode == CoembedMode::adversarial ? 0.5 * t.generator : 2 * t.triplet;
      EXPECT_NEAR(m.train_loss, total, 1e-5 * total);
      EXPECT_NEAR(m.validation_loss, v.rna_huber + 0.1 * v.rna_kl / Views::kGenes + v.atac_huber + 0.7 * v.atac_kl / Views::kRegions + m.foscttm, 1e-12);
      for (const char* key : {"generator", "discriminator", "discriminator_accuracy", "triplet"}) {
        const bool there = (std::string(key) == "triplet") == (mode == CoembedMode::contrastive);
        EXPECT_EQ(m.json().contains(std::string("train_") + key), there) << key;
      }
      EXPECT_EQ(m.json().contains("validation_triplet"), mode == CoembedMode::contrastive);
      EXPECT_EQ(m.json().at("best"), m.best);
      if (mode == CoembedMode::contrastive) continue;
      EXPECT_TRUE(t.discriminator_accuracy >= 0 && t.discriminator_accuracy <= 1);
      EXPECT_TRUE(v.discriminator_accuracy >= 0 && v.discriminator_accuracy <= 1);
    }
  }
}

// What the trainer measures on validation samples, once more from embeddings; either modality has its own delta, KL weight and number
// of samples, none of which is that of features.
TEST(coembed_trainer, validation_is_that_of_posterior_means) {
  CoembedSetup s = setup_of(CoembedMode::adversarial);
  s.loss.rna = {0.6, 0.1};
  s.loss.atac = {0.3, 0.7};
  s.validation = 46, s.without_atac = 16;
  CoembedRun run(s, study());
  run.trainer.run();
  const CoembedEpoch m = run.trainer.evaluate();
  Context& c = *run.context;
  const Posteriors qr = posteriors(c, run.rna, run.rna_source, true), qa = posteriors(c, *run.atac, run.atac_source, true);
  const std::vector<float>&zr = qr.mean, &za = qa.mean;
  constexpr double kSamples[2] = {46, 30};
  double pair = 0, right[2] = {0, 0}, entropy[2] = {0, 0}, right_of_ten = 0;
  std::vector<MatchedPair> pairs;
  for (int64_t i = 160; i < 206; ++i) {
    const bool both = i < 190;
    if (both) pairs.push_back({i, i, 1});
    for (int64_t k = i * kLatent; both && k < (i + 1) * kLatent; ++k)
      pair += std::pow(static_cast<double>(zr[static_cast<size_t>(k)]) - za[static_cast<size_t>(k)], 2) / kLatent / 30;
    for (int side = 0; side < (both ? 2 : 1); ++side) {
      const std::vector<float>& z = side ? za : zr;
      const double logit = (*run.trainer.discriminator())(tensor(c, {1, kLatent}, {z.begin() + i * kLatent, z.begin() + (i + 1) * kLatent})).item();
      right[side] += (side ? logit <= 0 : logit > 0) / kSamples[side];
      if (side == 0 && i < 170) right_of_ten += logit > 0;
      entropy[side] += std::log1p(std::exp(side ? logit : -logit)) / kSamples[side];
    }
  }
  EXPECT_NEAR(m.validation.pair, pair, 1e-5 * pair);
  EXPECT_NEAR(m.foscttm, foscttm(zr, za, kLatent, pairs), 1e-3);
  EXPECT_NEAR(m.validation.discriminator_accuracy, (right[0] + right[1]) / 2, 1e-12);
  EXPECT_NEAR(m.validation.discriminator, (entropy[0] + entropy[1]) / 2, 1e-5);
  EXPECT_NEAR(run.trainer.discriminator_accuracy(rows(160, 170), rows(160, 190)), 0.5 * (right_of_ten / 10 + right[1]), 1e-12);
  double cycle = 0, loss = m.foscttm;
  for (bool rna : {true, false}) {
    const Posteriors& q = rna ? qr : qa;
    Vae &own = rna ? static_cast<Vae&>(run.rna) : *run.atac, &other = rna ? *run.atac : static_cast<Vae&>(run.rna);
    const std::vector<float>& x = rna ? study().rna : study().atac;
    const int64_t features = own.features();
    const ReconstructionOptions& o = rna ? s.loss.rna : s.loss.atac;
    const std::vector<float> decoded = decodings(c, own, q.mean.data(), 280), crossed = decodings(c, other, q.mean.data(), 280);
    MatrixSource imputed(c, crossed.data(), 280, other.features());
    const std::vector<float> back = posteriors(c, other, imputed).mean;
    const double samples = kSamples[rna ? 0 : 1];
    const int64_t end = 160 + static_cast<int64_t>(samples);
    double huber = 0, kl = 0;
    for (size_t k = static_cast<size_t>(160 * features); k < static_cast<size_t>(end * features); ++k) {
      const double d = std::abs(static_cast<double>(decoded[k]) - x[k]);
      huber += (d <= o.huber_delta ? d * d / 2 : o.huber_delta * (d - o.huber_delta / 2)) / samples / static_cast<double>(features);
    }
    for (size_t k = 160 * kLatent; k < static_cast<size_t>(end * kLatent); ++k) {
      kl += 0.5 * (std::exp(q.logvar[k]) + std::pow(q.mean[k], 2) - 1 - q.logvar[k]) / samples;
      cycle += std::pow(static_cast<double>(back[k]) - q.mean[k], 2) / kLatent / samples;
    }
    EXPECT_NEAR(rna ? m.validation.rna_huber : m.validation.atac_huber, huber, 1e-5 * huber);
    EXPECT_NEAR(rna ? m.validation.rna_kl : m.validation.atac_kl, kl, 1e-5 * kl);
    loss += huber + o.kl_weight * kl / static_cast<double>(features);
  }
  EXPECT_NEAR(m.validation.cycle, cycle, 1e-5 * cycle);
  EXPECT_NEAR(m.validation_loss, loss, 1e-5 * loss);
}

// The step written out by hand, the order of its halves above all: the autoencoders against the discriminator of before, which learns
// from the means of before. Both have the same decay and clipping.
TEST(coembed_trainer, an_adversarial_run_equals_the_plain_loop_bit_for_bit) {
  CoembedSetup s = setup_of(CoembedMode::adversarial);
  s.loss.pair = 0;
  s.validation = 0;
  s.options.weight_decay = 0.3;
  s.options.clip_norm = 0.05;
  s.options.learning_rate = 2e-3;
  CoembedRun run(s, study()), plain(s, study());
  EXPECT_EQ(run.trainer.run().steps, 15);
  Context& c = *plain.context;
  Discriminator& discriminator = *plain.trainer.discriminator();
  const AdamOptions options{.beta1 = 0.5, .beta2 = 0.999, .weight_decay = 0.3};
  Adam adam(plain.state, options), adversary(*plain.trainer.discriminator_state(), options);
  adam.learning_rate = 2e-3, adversary.learning_rate = 3e-3;
  adam.max_norm = adversary.max_norm = 0.05;
  int clipped[2] = {0, 0};
  for (size_t step = 0; step < 15; ++step) {
    c.generator = {s.options.seed, static_cast<uint32_t>(step), 0};
    JointBatch batch;
    for (bool rna : {true, false}) {
      const std::vector<int64_t>& rows = (rna ? run.rna_source : run.atac_source).asked.at(step);
      WatchedSource& source = rna ? plain.rna_source : plain.atac_source;
      JointSide& side = rna ? batch.rna : batch.atac;
      side.own = static_cast<int64_t>(rows.size());
      side.x = Tensor::empty(c, {side.own, source.width()});
      source.fill(rows, side.x);
    }
    JointLoss joint;
    {
      Tape tape(c);
      joint = joint_loss(c, plain.model, &discriminator, batch, s.loss);
      adam.zero_grad();
      tape.backward(joint.loss);
    }
    {
      Tape tape(c);
      const DiscriminatorLoss against = discriminator_loss(discriminator, joint.rna_mean, joint.atac_mean);
      adversary.zero_grad();
      tape.backward(against.loss);
    }
    adam.step(), adversary.step();
    clipped[0] += adam.gradient_norm() > 0.05, clipped[1] += adversary.gradient_norm() > 0.05;
  }
  EXPECT_EQ(run.weights(), plain.weights());
  EXPECT_EQ(run.discriminator_weights(), plain.discriminator_weights());
  EXPECT_TRUE(clipped[0] > 0 && clipped[1] > 0) << clipped[0] << " and " << clipped[1];
}

// The nets of an adversary take a shorter memory of gradients (SPEC L9): without an adversary or triplets the modes differ in that alone,
// and not in the first step, which no momentum has reached.
TEST(coembed_trainer, the_momentum_of_adversaries_is_shorter) {
  for (int64_t train : {32, 160}) {
    CoembedSetup s = setup_of(CoembedMode::adversarial);
    s.train = train, s.validation = 0;
    s.loss.adversarial = s.loss.contrastive = 0;
    s.options.max_epochs = 1;
    CoembedRun adversarial(s, study());
    s.loss.mode = CoembedMode::contrastive;
    CoembedRun contrastive(s, study());
    EXPECT_EQ(adversarial.trainer.run().steps, train / 32);
    contrastive.trainer.run();
    const double difference = worst_relative(adversarial.weights(), contrastive.weights());
    if (train == 32) EXPECT_LE(difference, 1e-6);
    else EXPECT_GE(difference, 1e-4);
  }
}

// Each side of the adversary learns from its own loss: without a weight for it the encoders do not move against the
// discriminator, which learns all the same.
TEST(coembed_trainer, the_discriminator_learns_once_a_step_from_embeddings_as_constants) {
  CoembedSetup s = setup_of(CoembedMode::adversarial);
  s.loss.adversarial = s.loss.pair = s.loss.cycle = 0;
  s.options.max_epochs = 1;
  s.validation = 0;
  CoembedSetup plain = s;
  plain.options.discriminator_learning_rate = 0.5;
  CoembedRun a(s, study()), b(plain, study());
  int64_t parameters = 0;
  for (const NamedTensor& p : a.trainer.discriminator()->parameters()) parameters += p.used.count();
  EXPECT_EQ(parameters, (kLatent + 1) * 24 + 25 * 12 + 13) << "layers as wide as was asked for";
  const std::vector<float> start = a.discriminator_weights();
  a.trainer.run();
  b.trainer.run();
  EXPECT_EQ(a.weights(), b.weights()) << "whatever the discriminator does, it teaches nothing";
  EXPECT_NE(a.discriminator_weights(), start);
  EXPECT_NE(a.discriminator_weights(), b.discriminator_weights());
  s.loss.adversarial = 1;
  CoembedRun with(s, study());
  with.trainer.run();
  EXPECT_NE(with.weights(), a.weights());
}

// Whole steps of the CUDA sources on the CPU, in both modes, with both kinds of ATAC model.
TEST(coembed_trainer, steps_on_simt_equal_cpu_and_do_not_depend_on_the_order_of_threads) {
  for (CoembedMode mode : kModes) {
    for (bool hierarchical : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", static_cast<int>(mode), hierarchical));
      CoembedSetup s = setup_of(mode, hierarchical);
      s.train = 48, s.validation = 12;
      s.options.batch_size = 16;
      s.options.max_epochs = 1;
      s.options.clip_norm = 5;
      s.loss.cycle_freeze = hierarchical ? CycleFreeze::target : CycleFreeze::encoders;
      CoembedRun cpu(s, study()), start(s, study());
      EXPECT_EQ(cpu.trainer.run().steps, 3);
      s.device = {DeviceType::simt, 0};
      std::vector<float> first, first_discriminator;
      std::string line;
      for (const simt::Options& o :
           {simt::Options{simt::Order::forward, 1, 1}, {simt::Order::reverse, 1, 1}, {simt::Order::random, 1, 1}, {simt::Order::random, 2, 2}}) {
        s.simt = o;
        CoembedRun simt(s, study());
        simt.trainer.run();
        if (first.empty()) first = simt.weights(), first_discriminator = simt.discriminator_weights(), line = simt.lines[0];
        EXPECT_EQ(simt.weights(), first) << "another order of threads, other weights";
        EXPECT_EQ(simt.discriminator_weights(), first_discriminator);
        EXPECT_EQ(simt.lines[0], line);
        EXPECT_NEAR(simt.epochs[0].train_loss, cpu.epochs[0].train_loss, 1e-5 * cpu.epochs[0].train_loss);
        EXPECT_NEAR(simt.epochs[0].validation_loss, cpu.epochs[0].validation_loss, 1e-5 * cpu.epochs[0].validation_loss);
      }
      EXPECT_LE(worst_relative(first, cpu.weights()), 1e-5);
      if (mode == CoembedMode::adversarial) {
        EXPECT_LE(worst_relative(first_discriminator, cpu.discriminator_weights()), 1e-5);
      }
      EXPECT_GT(worst_relative(start.weights(), cpu.weights()), 1e-4) << "the steps did something";
    }
  }
}

// Batch normalisation is that of the warm start, in training too.
TEST(coembed_trainer, running_statistics_stay) {
  CoembedSetup s = setup_of(CoembedMode::adversarial, true);
  CoembedRun run(s, study());
  const std::vector<float> before = run.state.flat_buffers().host<float>(), weights = run.weights();
  ASSERT_FALSE(before.empty());
  run.trainer.run();
  EXPECT_EQ(run.state.flat_buffers().host<float>(), before);
  EXPECT_NE(run.weights(), weights);
  EXPECT_FALSE(run.model.training());
}

}  // namespace
}  // namespace panvae::test
