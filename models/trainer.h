// How a variational autoencoder is trained: shuffled mini-batches and KL warm-up, on the loop of training_loop.h. What is
// trained, and on what, is a TrainingTask's business. A step runs as a graph (step_graph.h) where the device has some.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "models/inference.h"
#include "models/rna_vae.h"
#include "models/training_loop.h"
#include "models/training_task.h"

namespace panvae {

// Losses are means over items of sums over features (huber) and latents (kl); loss = huber + kl_weight * kl with the
// weight of the epoch. Validation takes the posterior mean for z (no noise) and the full weight, so that epochs compare.
struct EpochMetrics {
  int64_t epoch = 0;  // from 1
  double kl_weight = 0, train_loss = 0, train_huber = 0, train_kl = 0;
  double validation_loss = 0, validation_huber = 0, validation_kl = 0;  // NaN without validation items
  int64_t active_units = 0;                                             // latents whose posterior mean varies by more than 0.01 over the validation items
  bool best = false;
  double seconds = 0, loading_seconds = 0;  // of this call: of the epoch with its validation, and of waiting for data therein
  Json json() const;                        // the line of metrics.jsonl; without times
};

class VaeTrainer : public TrainingLoop {
 public:
  // The state must be that of the task's module; weights start as they are.
  VaeTrainer(Context& context, TrainingTask& task, ModuleState& state, LossOptions loss, TrainOptions options);
  // A RowTask: `train_rows` and `validation_rows` are rows of `source`.
  VaeTrainer(Context& context, Vae& model, ModuleState& state, BatchSource& source, std::vector<int64_t> train_rows, std::vector<int64_t> validation_rows,
             LossOptions loss, TrainOptions options);

  // Called after every epoch, before its checkpoint could be written.
  std::function<void(const EpochMetrics&)> on_epoch;

 private:
  double kl_weight_of(int64_t epoch) const;
  int64_t batches_of_pass(int64_t pass) const;
  int64_t passes_of_epoch() const;
  std::vector<ItemBatch> batches_of_epoch(int64_t epoch) const;
  std::vector<int64_t> shuffled(int64_t pass) const;
  void validate(EpochMetrics& m);

  int64_t steps_of(int64_t epoch) const override;
  bool validates() const override { return task_.validation_items() > 0; }
  void set_training(bool training) override { task_.module().set_training(training); }
  double seconds_loading() const override { return task_.seconds_loading; }
  void begin_epoch(int64_t epoch, int64_t first) override;
  std::vector<double> step(int64_t epoch, int64_t index) override;
  int64_t items_of_step(int64_t epoch, int64_t index) const override;
  Judgement judge(int64_t epoch, const std::vector<double>& sums) override;
  void report(bool best, double seconds, double loading_seconds) override;
  std::string progress_note(int64_t epoch, const std::vector<double>& sums) const override;
  void load(size_t index);

  std::unique_ptr<TrainingTask> own_task_;
  TrainingTask& task_;
  LossOptions loss_;
  Tensor parts_;  // [3]: loss, huber and kl of the last step
  Readback read_parts_;
  std::vector<ItemBatch> batches_;  // of this epoch
  size_t loaded_ = SIZE_MAX;        // which of them the task's inputs hold
  EpochMetrics metrics_;            // of the last epoch

  VaeTrainer(Context& context, std::unique_ptr<TrainingTask> task, ModuleState& state, LossOptions loss, TrainOptions options);
};

}  // namespace panvae
