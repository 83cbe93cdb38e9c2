// A small RNA VAE in training, from data to weights.
#pragma once
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "models/trainer.h"
#include "tests/engine/helpers.h"
#include "tests/models/trainer_helpers.h"

namespace panvae::test {

inline constexpr int64_t kSamples = 96, kGenes = 40;

// Three hidden programs and some noise.
inline std::vector<float> expression(uint64_t seed = 1) {
  PhiloxSequence draw({seed, 0, 0});
  std::vector<double> programs(3 * kGenes);
  for (double& v : programs) v = draw.normal();
  std::vector<float> x;
  for (int64_t i = 0; i < kSamples; ++i) {
    double activity[3];
    for (double& a : activity) a = draw.normal();
    for (int64_t g = 0; g < kGenes; ++g) {
      double v = 0.1 * draw.normal();
      for (int64_t p = 0; p < 3; ++p) v += activity[p] * programs[static_cast<size_t>(p * kGenes + g)];
      x.push_back(static_cast<float>(v));
    }
  }
  return x;
}

inline std::vector<int64_t> rows(int64_t from, int64_t to) {
  std::vector<int64_t> r(static_cast<size_t>(to - from));
  std::iota(r.begin(), r.end(), from);
  return r;
}

struct RunSetup {
  RnaVaeShape shape{.genes = kGenes, .hidden = 24, .latent = 5, .activation = {Activation::relu, 0}};
  LossOptions loss{.huber_delta = 1, .kl_weight = 0.05, .kl_warmup_epochs = 3};
  TrainOptions train{.batch_size = 16, .learning_rate = 3e-3, .max_epochs = 8, .checkpoint_seconds = 1e9, .seed = 5};
  Device device;
  simt::Options simt;
  std::vector<float> data = expression();
  int64_t train_rows = 64;  // of kSamples; the rest validates
  bool validation = true;
  std::string checkpoint, fingerprint = "config 1";
};

// Everything of one run, so that several live side by side.
struct Session {
  explicit Session(const RunSetup& s)
      : setup(s),
        context(with(s)),
        model(s.shape),
        state(*context, model, 11),
        source(*context, setup.data, kSamples, s.shape.row_multiple > 1 ? model.width() : 0),
        trainer(*context, model, state, source, rows(0, s.train_rows), s.validation ? rows(s.train_rows, kSamples) : std::vector<int64_t>{}, s.loss, s.train) {
    trainer.checkpoint_path = s.checkpoint;
    trainer.fingerprint = s.fingerprint;
    trainer.on_epoch = [this](const EpochMetrics& m) {
      epochs.push_back(m);
      lines.push_back(m.json().dump());
      if (m.best) best_weights = state.flat_parameters().host<float>();
    };
  }
  static std::unique_ptr<Context> with(const RunSetup& s) {
    auto c = std::make_unique<Context>(s.device);
    c->stream().simt = s.simt;
    return c;
  }
  std::vector<float> weights() const { return state.flat_parameters().host<float>(); }

  RunSetup setup;
  std::unique_ptr<Context> context;
  RnaVae model;
  ModuleState state;
  WatchedSource source;
  VaeTrainer trainer;
  std::vector<EpochMetrics> epochs;
  std::vector<std::string> lines;
  std::vector<float> best_weights;
};

}  // namespace panvae::test
