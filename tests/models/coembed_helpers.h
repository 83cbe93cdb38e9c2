// A small study with two views of the same donors: shared factors, cohorts, and single-modality models to start from.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "base/interrupt.h"
#include "models/atac_hierarchical_vae.h"
#include "models/coembed_trainer.h"
#include "models/inference.h"
#include "models/rna_vae.h"
#include "models/trainer.h"
#include "tests/engine/helpers.h"
#include "tests/models/trainer_helpers.h"

namespace panvae::test {

constexpr int64_t kFactors = 5, kCohorts = 4, kLatent = 6;

inline std::vector<int64_t> rows(int64_t from, int64_t to) {
  std::vector<int64_t> r(static_cast<size_t>(to - from));
  std::iota(r.begin(), r.end(), from);
  return r;
}

// Two samples a donor, one of each modality, in the same row: factors of the donor's cohort and of the donor, seen through
// 40 genes (bent) and 36 regions.
struct Views {
  static constexpr int64_t kGenes = 40, kRegions = 36;
  explicit Views(int64_t donors, uint64_t seed = 1) : samples(donors) {
    PhiloxSequence draw({seed, 0, 0});
    auto matrix = [&](int64_t n, double scale) {
      std::vector<double> m(static_cast<size_t>(n));
      for (double& v : m) v = scale * draw.normal();
      return m;
    };
    const std::vector<double> centers = matrix(kCohorts * kFactors, 1.2), genes = matrix(kGenes * kFactors, 0.4), regions = matrix(kRegions * kFactors, 0.4);
    for (int64_t i = 0; i < donors; ++i) {
      const int64_t c = static_cast<int64_t>(draw.below(kCohorts));
      cohort.push_back(c);
      donor.push_back(i);
      double z[kFactors];
      for (int64_t k = 0; k < kFactors; ++k) z[k] = centers[static_cast<size_t>(c * kFactors + k)] + draw.normal();
      auto see = [&](const std::vector<double>& w, int64_t features, bool bent, std::vector<float>& x) {
        for (int64_t g = 0; g < features; ++g) {
          double v = 0;
          for (int64_t k = 0; k < kFactors; ++k) v += w[static_cast<size_t>(g * kFactors + k)] * z[k];
          x.push_back(static_cast<float>((bent ? 2 * std::tanh(v / 2) : v) + 0.3 * draw.normal()));
        }
      };
      see(genes, kGenes, true, rna);
      see(regions, kRegions, false, atac);
    }
  }
  int64_t samples;
  std::vector<float> rna, atac;
  std::vector<int64_t> cohort, donor;
};

// The n-th row is trained on, validates or is held out by its place.
struct CoembedSetup {
  int64_t train = 160, validation = 40, held_out = 80;
  CoembedLossOptions loss;
  CoembedTrainOptions options;
  bool hierarchical = false;  // ATAC: 9 blocks of 4 latents, else dense
  int64_t without_atac = 0;   // of those that validate, the last: no row of ATAC, no pair
  int64_t shift = 0;          // of the ATAC row of a pair against its RNA row, within those that train and within those that validate
  bool weighted = false;      // pairs: by 1, 2, 3, 1, ..., else alike
  int64_t row_multiple = 1;   // of RNA, and of dense ATAC
  Device device;
  simt::Options simt;
  std::string checkpoint;
  CoembedSetup() {
    loss.rna.kl_weight = loss.atac.kl_weight = 0.1;
    options.batch_size = 32;
    options.learning_rate = options.discriminator_learning_rate = 3e-3;
    options.max_epochs = 3;
    options.min_epochs = 0;
    options.epoch_steps = 1;
    options.checkpoint_seconds = 1e9;
    options.discriminator_widths = {24, 12};
    options.seed = 5;
  }
};

// Everything of one run, so that several live side by side.
struct CoembedRun {
  explicit CoembedRun(const CoembedSetup& s, const Views& v)
      : setup(s),
        context(with(s)),
        rna({.genes = Views::kGenes, .hidden = 24, .latent = kLatent, .row_multiple = s.row_multiple}),
        atac(atac_vae(s)),
        model(rna, *atac),
        state(*context, model, 11),
        rna_source(*context, v.rna, v.samples, rna.width()),
        atac_source(*context, v.atac, v.samples, atac->width()),
        trainer(*context, model, state, data(s, v), s.loss, s.options) {
    trainer.checkpoint_path = s.checkpoint;
    trainer.fingerprint = "study 1";
    trainer.on_epoch = [this](const CoembedEpoch& m) {
      epochs.push_back(m);
      lines.push_back(m.json().dump());
      if (m.best) best_weights = weights();
    };
  }
  static std::unique_ptr<Context> with(const CoembedSetup& s) {
    auto c = std::make_unique<Context>(s.device);
    c->stream().simt = s.simt;
    return c;
  }
  static std::unique_ptr<Vae> atac_vae(const CoembedSetup& s) {
    if (!s.hierarchical)
      return std::make_unique<RnaVae>(RnaVaeShape{.genes = Views::kRegions, .hidden = 20, .latent = kLatent, .row_multiple = s.row_multiple});
    return std::make_unique<AtacHierarchicalVae>(
        AtacHierarchicalVaeShape{.blocks = 9, .block_latent = 4, .channels = 6, .widths = {20, 16}, .latent = kLatent});
  }
  CoembedData data(const CoembedSetup& s, const Views& v) {
    const int64_t seen = s.train + s.validation, of_both = s.validation - s.without_atac;
    CoembedData d{{rna_source, rows(0, s.train), rows(s.train, seen), v.cohort, v.donor},
                  {atac_source, rows(0, s.train), rows(s.train, s.train + of_both), v.cohort, v.donor},
                  {},
                  {}};
    for (int64_t i = 0; i < s.train + of_both; ++i) {
      const int64_t partner = i < s.train ? (i + s.shift) % s.train : s.train + (i - s.train + s.shift) % of_both;
      (i < s.train ? d.train_pairs : d.validation_pairs).push_back({i, partner, s.weighted ? 1.0 + static_cast<double>(i % 3) : 1.0});
    }
    return d;
  }
  std::vector<float> weights() const { return state.flat_parameters().host<float>(); }
  std::vector<float> discriminator_weights() const {
    return trainer.discriminator_state() ? trainer.discriminator_state()->flat_parameters().host<float>() : std::vector<float>{};
  }

  CoembedSetup setup;
  std::unique_ptr<Context> context;
  RnaVae rna;
  std::unique_ptr<Vae> atac;
  CoEmbedding model;
  ModuleState state;
  WatchedSource rna_source, atac_source;
  CoembedTrainer trainer;
  std::vector<CoembedEpoch> epochs;
  std::vector<std::string> lines;
  std::vector<float> best_weights;
};

}  // namespace panvae::test
