// How a co-embedding is trained: what a step takes, equality of executors, resumption, and what comes out on a planted study.
#include <map>
#include <set>

#include "base/file.h"
#include "coembed_helpers.h"
#include "tests/base/warnings.h"

namespace panvae::test {
namespace {

const Views& study() {
  static const Views v(280);
  return v;
}
CoembedSetup setup_of(CoembedMode mode, bool hierarchical = false) {
  CoembedSetup s;
  s.loss.mode = mode;
  s.hierarchical = hierarchical;
  return s;
}
constexpr CoembedMode kModes[] = {CoembedMode::adversarial, CoembedMode::contrastive};

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

// What the trainer measures on validation samples, once more from embeddings; either modality has its own delta and KL weight.
TEST(coembed_trainer, validation_is_that_of_posterior_means) {
  CoembedSetup s = setup_of(CoembedMode::adversarial);
  s.loss.rna = {0.6, 0.1};
  s.loss.atac = {0.3, 0.7};
  CoembedRun run(s, study());
  run.trainer.run();
  const CoembedEpoch m = run.trainer.evaluate();
  Context& c = *run.context;
  const Posteriors qr = posteriors(c, run.rna, run.rna_source, true), qa = posteriors(c, *run.atac, run.atac_source, true);
  const std::vector<float>&zr = qr.mean, &za = qa.mean;
  double pair = 0, right[2] = {0, 0}, entropy[2] = {0, 0}, right_of_ten = 0;
  std::vector<MatchedPair> pairs;
  for (int64_t i = 160; i < 200; ++i) {
    pairs.push_back({i, i, 1});
    for (int64_t k = i * kLatent; k < (i + 1) * kLatent; ++k)
      pair += std::pow(static_cast<double>(zr[static_cast<size_t>(k)]) - za[static_cast<size_t>(k)], 2) / kLatent / 40;
    for (int side : {0, 1}) {
      const std::vector<float>& z = side ? za : zr;
      const double logit = (*run.trainer.discriminator())(tensor(c, {1, kLatent}, {z.begin() + i * kLatent, z.begin() + (i + 1) * kLatent})).item();
      right[side] += side ? logit <= 0 : logit > 0;
      if (side == 0 && i < 170) right_of_ten += logit > 0;
      entropy[side] += std::log1p(std::exp(side ? logit : -logit));
    }
  }
  EXPECT_NEAR(m.validation.pair, pair, 1e-5 * pair);
  EXPECT_NEAR(m.foscttm, foscttm(zr, za, kLatent, pairs), 1e-3);
  EXPECT_NEAR(m.validation.discriminator_accuracy, (right[0] + right[1]) / 80, 1e-12);
  EXPECT_NEAR(m.validation.discriminator, (entropy[0] + entropy[1]) / 80, 1e-5);
  EXPECT_NEAR(run.trainer.discriminator_accuracy(rows(160, 170), rows(160, 200)), 0.5 * (right_of_ten / 10 + right[1] / 40), 1e-12);
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
    double huber = 0, kl = 0;
    for (size_t k = static_cast<size_t>(160 * features); k < static_cast<size_t>(200 * features); ++k) {
      const double d = std::abs(static_cast<double>(decoded[k]) - x[k]);
      huber += (d <= o.huber_delta ? d * d / 2 : o.huber_delta * (d - o.huber_delta / 2)) / 40 / static_cast<double>(features);
    }
    for (size_t k = 160 * kLatent; k < 200 * kLatent; ++k) {
      kl += 0.5 * (std::exp(q.logvar[k]) + std::pow(q.mean[k], 2) - 1 - q.logvar[k]) / 40;
      cycle += std::pow(static_cast<double>(back[k]) - q.mean[k], 2) / kLatent / 40;
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

// What an epoch reports of its pairs and of the discriminator where no weight moves: means over all training samples, a pair by its
// weight. In validation too. Partners stand in other rows of the two matrices.
TEST(coembed_trainer, pairs_count_by_their_weights) {
  CoembedSetup s = setup_of(CoembedMode::adversarial);
  s.weighted = true;
  s.shift = 7;
  s.options.max_epochs = 1;
  s.options.learning_rate = s.options.discriminator_learning_rate = 0;
  CoembedRun run(s, study());
  run.trainer.run();
  const CoembedEpoch& m = run.epochs.at(0);
  Context& c = *run.context;
  const std::vector<float> zr = posteriors(c, run.rna, run.rna_source).mean, za = posteriors(c, *run.atac, run.atac_source).mean;
  std::vector<MatchedPair> pairs;
  double squares[2] = {0, 0}, weights[2] = {0, 0}, plain = 0, right = 0;
  for (int64_t i = 0; i < 200; ++i) {
    const double weight = 1 + static_cast<double>(i % 3);
    const size_t validates = i >= 160;
    const int64_t partner = validates ? 160 + (i - 160 + 7) % 40 : (i + 7) % 160;
    if (validates) pairs.push_back({i, partner, weight});
    double d = 0;
    for (int64_t k = 0; k < kLatent; ++k)
      d += std::pow(static_cast<double>(zr[static_cast<size_t>(i * kLatent + k)]) - za[static_cast<size_t>(partner * kLatent + k)], 2) / kLatent;
    squares[validates] += weight * d, weights[validates] += weight;
    if (validates) continue;
    plain += d / 160;
    for (bool rna : {true, false}) {
      const std::vector<float>& z = rna ? zr : za;
      const double logit = (*run.trainer.discriminator())(tensor(c, {1, kLatent}, {z.begin() + i * kLatent, z.begin() + (i + 1) * kLatent})).item();
      right += (logit > 0) == rna;
    }
  }
  EXPECT_NEAR(m.train.pair, squares[0] / weights[0], 1e-5 * m.train.pair);
  EXPECT_NEAR(m.validation.pair, squares[1] / weights[1], 1e-5 * m.validation.pair);
  EXPECT_GT(std::abs(m.train.pair - plain), 1e-3 * plain) << "not by accident";
  EXPECT_NEAR(m.foscttm, foscttm(zr, za, kLatent, pairs), 1e-3);
  EXPECT_NEAR(m.train.discriminator_accuracy, right / 320, 1e-12);
}

// A pass over the pairs takes each once: a row that a step reads for its pair alone is not read for it again in the same pass.
TEST(coembed_trainer, an_epoch_takes_each_pair_once) {
  CoembedSetup s = setup_of(CoembedMode::adversarial);
  s.options.max_epochs = 1;
  s.validation = 0;
  CoembedRun run(s, study());
  run.trainer.run();
  for (const WatchedSource* source : {&run.rna_source, &run.atac_source}) {
    std::set<int64_t> paired;
    size_t behind = 0;
    for (const std::vector<int64_t>& batch : source->asked) {
      paired.insert(batch.begin() + 32, batch.end());
      behind += batch.size() - 32;
    }
    EXPECT_EQ(paired.size(), behind);
  }
}

// Either modality is contrasted, one in a step, and only samples of the batch are anchors: pairs next to no weight change nothing.
TEST(coembed_trainer, anchors_are_of_the_batch_and_of_both_modalities) {
  CoembedSetup s = setup_of(CoembedMode::contrastive);
  s.loss.pair = 0;
  s.validation = 0;
  CoembedRun without(s, study());
  without.trainer.run();
  int of[2] = {0, 0};
  ASSERT_EQ(without.rna_source.asked.size(), 15u);
  std::vector<bool> drawn;
  std::set<std::vector<bool>> epochs;
  for (size_t i = 0; i < 15; ++i) {
    const bool rna = without.rna_source.asked[i].size() > 32, atac = without.atac_source.asked[i].size() > 32;
    EXPECT_NE(rna, atac) << "step " << i;
    ++of[rna];
    drawn.push_back(rna);
    if (i % 5 == 4) epochs.insert(std::exchange(drawn, {}));
  }
  EXPECT_GT(epochs.size(), 1u) << "the draws of an epoch are not those of the one before";
  EXPECT_TRUE(of[0] > 2 && of[1] > 2) << of[0] << " and " << of[1];
  s.loss.pair = 1e-20;
  CoembedRun with(s, study());
  with.trainer.run();
  EXPECT_LE(worst_relative(with.weights(), without.weights()), 1e-4);
}

// ATAC samples of no known cohort: only steps of RNA have triplets, and the mean is over these. The margin is so large that it is
// the loss.
TEST(coembed_trainer, triplets_of_one_modality_alone) {
  Context c;
  const Views& v = study();
  RnaVae rna({.genes = Views::kGenes, .hidden = 4, .latent = 3}), atac({.genes = Views::kRegions, .hidden = 4, .latent = 3});
  CoEmbedding model(rna, atac);
  ModuleState state(c, model, 1);
  MatrixSource rna_source(c, v.rna.data(), v.samples, Views::kGenes), atac_source(c, v.atac.data(), v.samples, Views::kRegions);
  const std::vector<int64_t> unknown(static_cast<size_t>(v.samples), -1);
  CoembedSetup s = setup_of(CoembedMode::contrastive);
  s.loss.margin = 1e6;
  s.options.learning_rate = 0;
  s.options.max_epochs = 1;
  CoembedTrainer trainer(c, model, state,
                         {{rna_source, rows(0, 160), rows(160, 200), v.cohort, v.donor}, {atac_source, rows(0, 160), rows(160, 200), unknown, v.donor}, {}, {}},
                         s.loss, s.options);
  trainer.on_epoch = [](const CoembedEpoch& m) {
    EXPECT_NEAR(m.train.triplet, 1e6, 100);
    EXPECT_NEAR(m.validation.triplet, 1e6, 100);
    const CoembedTerms& t = m.validation;
    EXPECT_TRUE(std::isnan(m.foscttm)) << "there are no pairs";
    EXPECT_NEAR(m.validation_loss, t.rna_huber + 0.1 * t.rna_kl / Views::kGenes + t.atac_huber + 0.1 * t.atac_kl / Views::kRegions + t.cycle, 1e-12);
  };
  trainer.run();
}

// Three validation samples, two of one cohort: the one way there is to draw their triplets.
TEST(coembed_trainer, validation_triplets_are_distances_of_means) {
  Context c;
  const Views& v = study();
  RnaVae rna({.genes = Views::kGenes, .hidden = 4, .latent = 3}), atac({.genes = Views::kRegions, .hidden = 4, .latent = 3});
  CoEmbedding model(rna, atac);
  ModuleState state(c, model, 1);
  MatrixSource rna_source(c, v.rna.data(), v.samples, Views::kGenes), atac_source(c, v.atac.data(), v.samples, Views::kRegions);
  std::vector<int64_t> cohort = v.cohort;
  const std::vector<int64_t> unknown(static_cast<size_t>(v.samples), -1);
  cohort[160] = cohort[161] = 0, cohort[162] = 1;
  CoembedSetup s = setup_of(CoembedMode::contrastive);
  s.loss.margin = 7;
  CoembedTrainer trainer(c, model, state,
                         {{rna_source, rows(0, 160), rows(160, 163), cohort, v.donor}, {atac_source, rows(0, 160), rows(160, 163), unknown, v.donor}, {}, {}},
                         s.loss, s.options);
  const std::vector<float> z = posteriors(c, rna, rna_source).mean;
  const auto distance = [&](size_t a, size_t b) {
    double d = 0;
    for (size_t k = 0; k < 3; ++k) d += std::pow(static_cast<double>(z[3 * a + k]) - z[3 * b + k], 2);
    return std::sqrt(d);
  };
  const double to_other = distance(160, 162) + distance(161, 162);
  EXPECT_GT(to_other, 0.1);
  EXPECT_NEAR(trainer.evaluate().validation.triplet, distance(160, 161) - to_other / 2 + 7, 1e-5);
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

// ---- what comes out, on 280 donors of four cohorts, 80 of them held out
struct Alignment {
  double foscttm = 0, before = 0, discriminator_accuracy = 0, first_accuracy = 0;
  TrainResult result;
};

// From single-modality models to a co-embedding, judged on donors that nobody saw.
Alignment align(const CoembedLossOptions& loss) {
  struct Start {
    Context c;
    RnaVae rna{{.genes = Views::kGenes, .hidden = 24, .latent = kLatent}}, atac{{.genes = Views::kRegions, .hidden = 20, .latent = kLatent}};
    ModuleState rna_state{c, rna, 3}, atac_state{c, atac, 4};
    Start() {
      const LossOptions l{.kl_weight = 0.1, .kl_warmup_epochs = 3};
      const TrainOptions t{.batch_size = 32, .learning_rate = 3e-3, .max_epochs = 60, .patience = 60, .checkpoint_seconds = 1e9};
      MatrixSource r(c, study().rna.data(), study().samples, Views::kGenes), a(c, study().atac.data(), study().samples, Views::kRegions);
      VaeTrainer(c, rna, rna_state, r, rows(0, 160), rows(160, 200), l, t).run();
      VaeTrainer(c, atac, atac_state, a, rows(0, 160), rows(160, 200), l, t).run();
    }
  };
  static const Start start;
  CoembedSetup s;
  s.loss = loss;
  s.loss.rna.kl_weight = s.loss.atac.kl_weight = 0.1;
  s.options.learning_rate = s.options.discriminator_learning_rate = 1e-3;
  s.options.max_epochs = 150;
  s.options.min_epochs = 20;
  s.options.patience = 20;
  CoembedRun run(s, study());
  warm_start(run.state, Modality::rna, start.rna_state);
  warm_start(run.state, Modality::atac, start.atac_state);
  std::vector<MatchedPair> held_out;
  for (int64_t i = 200; i < 280; ++i) held_out.push_back({i, i, 1});
  auto now = [&] {
    return foscttm(posteriors(*run.context, run.rna, run.rna_source).mean, posteriors(*run.context, *run.atac, run.atac_source).mean, kLatent, held_out);
  };
  Alignment a;
  a.before = now();
  a.result = run.trainer.run();
  a.foscttm = now();
  a.first_accuracy = run.epochs.front().validation.discriminator_accuracy;
  a.discriminator_accuracy = run.trainer.evaluate().validation.discriminator_accuracy;
  return a;
}

TEST(coembedding, pairs_align_donors_never_seen_and_the_literal_losses_do_not) {
  for (CoembedMode mode : kModes) {
    CoembedLossOptions with, without;
    with.mode = without.mode = mode;
    without.pair = 0;
    const Alignment paired = align(with), literal = align(without);
    const char* name = mode == CoembedMode::adversarial ? "adversarial" : "contrastive";
    for (const auto& [label, a] : {std::pair<const char*, const Alignment*>{"with pairs", &paired}, {"literal", &literal}}) {
      std::printf("%s, %s: FOSCTTM of 80 held-out pairs %.3f before, %.3f after; discriminator %.2f to %.2f; epoch %ld of %ld\n", name, label, a->before,
                  a->foscttm, a->first_accuracy, a->discriminator_accuracy, static_cast<long>(a->result.best_epoch), static_cast<long>(a->result.epochs));
    }
    EXPECT_GT(paired.before, 0.25) << "two separate models share no space";
    EXPECT_LT(paired.foscttm, 0.15);
    EXPECT_GT(literal.foscttm, 0.15);
  }
}

}  // namespace
}  // namespace panvae::test
