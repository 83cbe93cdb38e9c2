// What a trainer trains: a network with its loss, and the items that an epoch takes. An item is a sample, or a block of one.
#pragma once
#include <string>
#include <vector>

#include "engine/batch_source.h"
#include "engine/ops/vae.h"
#include "models/vae.h"

namespace panvae {

struct LossOptions {
  double huber_delta = 1.0;
  double kl_weight = 1.0;
  int64_t kl_warmup_epochs = 10;  // the weight rises linearly from 1 / warm-up in the first epoch to kl_weight
};

// Some items: numbers below train_items(pass), or below validation_items() where `pass` is 0.
struct ItemBatch {
  int64_t pass = 0;
  std::vector<int64_t> items;
};

struct ItemLoss {
  ops::VaeLoss loss;  // a mean over the items of the batch
  Posterior posterior;
};

class TrainingTask {
 public:
  virtual ~TrainingTask() = default;
  virtual Module& module() = 0;
  virtual int64_t latent() const = 0;
  virtual int64_t smallest_batch() const = 0;           // items
  virtual int64_t train_items(int64_t pass) const = 0;  // passes over the training data count from 1
  virtual int64_t validation_items() const = 0;
  // This batch comes after the one that is asked for next: a source that loads on a thread may begin with it.
  virtual void prefetch(const ItemBatch&) {}
  // Loads a batch into inputs(), not within a Step.
  virtual void load(Context& context, const ItemBatch& batch) = 0;
  // Whether load() waits for nothing, as BatchSource::queues().
  virtual bool queues() const { return false; }
  const std::vector<Tensor>& inputs() const { return inputs_; }
  // The loss of the batch that was loaded last, within a Step. In training noise is drawn for z by the context's generator;
  // otherwise z is the posterior mean. It reads inputs() and weights and no other memory, and waits for nothing: it may be recorded
  // as a graph.
  virtual ItemLoss loss(Context& context, bool training, double huber_delta, double kl_weight) = 0;

  double seconds_loading = 0;  // spent on waiting for data so far

 protected:
  // Of load(): input i, f32 [rows, columns], for new values. It stays where it is until a batch is larger than all before, so that
  // a step which was recorded finds the next batch at the same place.
  Tensor& input(Context& context, size_t i, int64_t rows, int64_t columns);

 private:
  std::vector<Tensor> inputs_, memory_;
};

// A Vae on whole rows of a source.
class RowTask : public TrainingTask {
 public:
  RowTask(Vae& model, BatchSource& source, std::vector<int64_t> train_rows, std::vector<int64_t> validation_rows);
  Module& module() override { return model_; }
  int64_t latent() const override { return model_.latent(); }
  int64_t smallest_batch() const override { return model_.smallest_batch(); }
  int64_t train_items(int64_t) const override { return static_cast<int64_t>(train_rows_.size()); }
  int64_t validation_items() const override { return static_cast<int64_t>(validation_rows_.size()); }
  void load(Context& context, const ItemBatch& batch) override;
  bool queues() const override { return source_.queues(); }
  ItemLoss loss(Context& context, bool training, double huber_delta, double kl_weight) override;

 private:
  Vae& model_;
  BatchSource& source_;
  std::vector<int64_t> train_rows_, validation_rows_;
};

// Encoder, noise, decoder and loss on x [B, features] that is its own target: what the tasks share.
ItemLoss vae_loss(Context& context, Vae& model, const Tensor& x, bool draw, double huber_delta, double kl_weight);

// Adds the time until its end to a number of seconds, such as a task's seconds_loading.
class LoadingTime {
 public:
  explicit LoadingTime(double& seconds);
  ~LoadingTime();
  LoadingTime(const LoadingTime&) = delete;
  LoadingTime& operator=(const LoadingTime&) = delete;

 private:
  double& seconds_;
  double start_;
};

}  // namespace panvae
