// Co-embeddings that know pairs or donors: which are taken, how they count, and what comes out on a planted study.
#include <set>

#include "coembed_study.h"

namespace panvae::test {
namespace {

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

// What comes out, on 280 donors of four cohorts, 80 of them held out
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
