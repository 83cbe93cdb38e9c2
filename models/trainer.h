// How a variational autoencoder is trained: shuffled mini-batches, KL warm-up, early stopping that restores the best
// weights, checkpoints that continue to the same bits. What is trained, and on what, is a TrainingTask's business.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/optimizer.h"
#include "models/inference.h"
#include "models/rna_vae.h"
#include "models/training_task.h"

namespace panvae {

struct TrainOptions {
  int64_t batch_size = 128;
  double learning_rate = 1e-4;
  double weight_decay = 1e-4;
  double clip_norm = 0;  // 0: off
  int64_t max_epochs = 500;
  int64_t min_epochs = 0;
  int64_t patience = 10;  // epochs without a better validation loss, counted after the KL warm-up and min_epochs
  // An epoch has at least so many steps: it passes over a small set several times, so that warm-up, patience and the running
  // statistics of batch normalisation mean the same for sets of any size.
  int64_t epoch_steps = 1;
  double checkpoint_seconds = 60;
  uint64_t seed = 0;
};

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

struct TrainResult {
  int64_t epochs = 0, best_epoch = 0, steps = 0, skipped_steps = 0;
  std::string stopped_because;
  double train_loss = 0, validation_loss = 0;  // of the best epoch
  double seconds = 0, samples_per_second = 0;  // of this call, not of runs it continued; items a second where they are no samples
  double loading_seconds = 0;                  // of seconds: waiting for data
};

class VaeTrainer {
 public:
  // The state must be that of the task's module; weights start as they are.
  VaeTrainer(Context& context, TrainingTask& task, ModuleState& state, LossOptions loss, TrainOptions options);
  // A RowTask: `train_rows` and `validation_rows` are rows of `source`.
  VaeTrainer(Context& context, Vae& model, ModuleState& state, BatchSource& source, std::vector<int64_t> train_rows, std::vector<int64_t> validation_rows,
             LossOptions loss, TrainOptions options);

  // Called after every epoch, before its checkpoint could be written.
  std::function<void(const EpochMetrics&)> on_epoch;
  // Where checkpoints go; empty: none are written. They hold everything that resume() needs.
  std::string checkpoint_path;
  // A text that a checkpoint must have been written with, compared by resume(): the configuration and the data's identity.
  std::string fingerprint;

  // Trains to the end and leaves the best weights (and running statistics) in the state and the module in evaluation mode.
  // On Ctrl-C writes the checkpoint and throws Error{interrupted}. A loss that is not finite throws an Error naming the op
  // and the tensor it came from.
  TrainResult run();
  // Continues from checkpoint_path: run() then gives the same bits as if it had never stopped. Returns the number of
  // whole epochs that are done.
  int64_t resume();
  void write_checkpoint();

 private:
  struct Sums {
    double loss = 0, huber = 0, kl = 0, samples = 0;
  };
  double kl_weight_of(int64_t epoch) const;
  int64_t batches_of_pass(int64_t pass) const;
  int64_t passes_of_epoch() const;
  std::vector<ItemBatch> batches_of_epoch(int64_t epoch) const;
  int64_t steps_of_all_epochs() const;
  void train_epoch();
  Sums train_step(const ItemBatch& batch, double kl_weight);
  [[noreturn]] void explain_bad_loss(const ItemBatch& batch, double kl_weight, const Generator& generator);
  void validate(EpochMetrics& m);
  std::vector<int64_t> shuffled(int64_t pass) const;
  void keep_best();
  void restore_best();

  Context& context_;
  std::unique_ptr<TrainingTask> own_task_;
  TrainingTask& task_;
  ModuleState& state_;
  LossOptions loss_;
  TrainOptions options_;
  Adam adam_;
  Tensor best_, best_buffers_;  // flat copies of the best weights and running statistics, once there are any
  Tensor buffers_before_;       // running statistics before the step, where the module has some

  // What a checkpoint holds beside tensors.
  struct Position {
    double epoch = 0, batch = 0;  // whole epochs done; batches done of the next
    Sums sums;                    // of the batches done
    double best_epoch = 0, best_validation = 0, best_train = 0, waited = 0, generator_step = 0, steps = 0, last_train = 0, last_validation = 0, finished = 0;
  } at_;
  double last_checkpoint_ = 0;
  int64_t items_seen_ = 0;
  class Progress* progress_ = nullptr;

  VaeTrainer(Context& context, std::unique_ptr<TrainingTask> task, ModuleState& state, LossOptions loss, TrainOptions options);
};

}  // namespace panvae
