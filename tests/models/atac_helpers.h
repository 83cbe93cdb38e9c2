// A small ATAC data set with planted cohorts, and both stages on it.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "base/interrupt.h"
#include "models/atac_inference.h"
#include "models/atac_tasks.h"
#include "models/trainer.h"
#include "tests/engine/helpers.h"
#include "tests/models/trainer_helpers.h"

namespace panvae::test {

constexpr int64_t kPeaks = 57, kCohorts = 3;

// samples x kPeaks: a cohort shifts half of the peaks by a pattern of its own; a sample has a level of its own.
inline std::vector<float> accessibility(int64_t samples, uint64_t seed = 1, double noise = 0.3) {
  PhiloxSequence draw({seed, 0, 0});
  std::vector<double> pattern(kCohorts * kPeaks);
  for (double& v : pattern) v = draw.uniform() < 0.5 ? 0 : draw.normal();
  std::vector<float> x;
  for (int64_t i = 0; i < samples; ++i) {
    const double level = 0.3 * draw.normal();
    for (int64_t p = 0; p < kPeaks; ++p)
      x.push_back(static_cast<float>(pattern[static_cast<size_t>(i % kCohorts * kPeaks + p)] + level + noise * draw.normal()));
  }
  return x;
}

inline std::vector<int64_t> rows(int64_t from, int64_t to) {
  std::vector<int64_t> r(static_cast<size_t>(to - from));
  std::iota(r.begin(), r.end(), from);
  return r;
}

// Counts batches, and stops the run after a given number of them.
class WatchedBlocks : public BlockSource {
 public:
  WatchedBlocks(Context& c, const std::vector<float>& x) : inner_(c, x.data(), static_cast<int64_t>(x.size()) / kPeaks, kPeaks) {}
  int64_t samples() const override { return inner_.samples(); }
  int64_t features() const override { return inner_.features(); }
  void fill(const std::vector<BlockRef>& blocks, Tensor& x) override {
    inner_.fill(blocks, x);
    asked.push_back(blocks);
    if (static_cast<int64_t>(asked.size()) == interrupt_at) set_interrupted(true);
  }
  void prefetch(const std::vector<BlockRef>& blocks, int64_t) override { announced.push_back(blocks); }
  int64_t interrupt_at = -1;
  std::vector<std::vector<BlockRef>> asked, announced;

 private:
  MatrixBlockSource inner_;
};

struct AtacSetup {
  int64_t samples = 20, train_rows = 12;  // the rest validates
  AtacBlockVaeShape shape{.block = 16, .widths = {14, 12, 10}, .latent = 5};
  int64_t slide = 4;
  LossOptions loss{.huber_delta = 1, .kl_weight = 0.05, .kl_warmup_epochs = 2};
  TrainOptions train{.batch_size = 16, .learning_rate = 3e-3, .max_epochs = 4, .checkpoint_seconds = 1e9, .seed = 5};
  Device device;
  simt::Options simt;
  std::string checkpoint;
  std::vector<float> data = accessibility(20);
};

inline std::unique_ptr<Context> context_of(const AtacSetup& s) {
  auto c = std::make_unique<Context>(s.device);
  c->stream().simt = s.simt;
  return c;
}

// Epochs of a trainer, and what its state was at the best of them.
struct Watch {
  Watch(VaeTrainer& trainer, const ModuleState& state) {
    trainer.on_epoch = [this, &state](const EpochMetrics& m) {
      epochs.push_back(m);
      lines.push_back(m.json().dump());
      if (!m.best) return;
      best_weights = state.flat_parameters().host<float>();
      best_buffers = state.flat_buffers().host<float>();
    };
  }
  std::vector<EpochMetrics> epochs;
  std::vector<std::string> lines;
  std::vector<float> best_weights, best_buffers;
};

// Stage 1 of one run, so that several live side by side.
struct BlockRun {
  explicit BlockRun(const AtacSetup& s)
      : context(context_of(s)),
        data(s.data),
        schedule(kPeaks, s.shape.block, s.slide),
        model(s.shape),
        state(*context, model, 11),
        source(*context, data),
        task(model, source, schedule, rows(0, s.train_rows), rows(s.train_rows, s.samples)),
        trainer(*context, task, state, s.loss, s.train),
        watch(trainer, state) {
    trainer.checkpoint_path = s.checkpoint;
  }
  std::vector<float> weights() const { return state.flat_parameters().host<float>(); }
  std::vector<float> buffers() const { return state.flat_buffers().host<float>(); }

  std::unique_ptr<Context> context;
  std::vector<float> data;
  BlockSchedule schedule;
  AtacBlockVae model;
  ModuleState state;
  WatchedBlocks source;
  BlockTask task;
  VaeTrainer trainer;
  Watch watch;
};

}  // namespace panvae::test
