#include "models/training_task.h"

#include <chrono>
#include <utility>

#include "engine/context.h"
#include "models/reconstruction_loss.h"

namespace panvae {

namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

LoadingTime::LoadingTime(double& seconds) : seconds_(seconds), start_(seconds_now()) {}
LoadingTime::~LoadingTime() {
  seconds_ += seconds_now() - start_;
}

Tensor& TrainingTask::input(Context& context, size_t i, int64_t rows, int64_t columns) {
  PV_CHECK(!context.memory().in_step(), "batch: loaded within a Step, whose end would be its own");
  if (i >= inputs_.size()) {
    inputs_.resize(i + 1);
    memory_.resize(i + 1);
  }
  if (!memory_[i].defined() || memory_[i].count() < rows * columns) {
    context.stream().synchronize();                                                    // a step may still read it
    inputs_[i] = memory_[i] = {};                                                      // before the larger one is taken
    memory_[i] = Tensor::empty(context, {(rows + 1) * columns}, DType::f32, "batch");  // batches of a pass differ by one item
  }
  return inputs_[i] = memory_[i].part(0, {rows, columns});
}

ItemLoss vae_loss(Context& context, Vae& model, const Tensor& x, bool draw, double huber_delta, double kl_weight) {
  const Posterior q = model.encode(x);
  const Tensor z = draw ? ops::reparameterize(q.mean, q.logvar, context.generator.next()) : q.mean;
  return {reconstruction_loss(model, z, x, q, huber_delta, kl_weight), q};
}

RowTask::RowTask(Vae& model, BatchSource& source, std::vector<int64_t> train_rows, std::vector<int64_t> validation_rows)
    : model_(model), source_(source), train_rows_(std::move(train_rows)), validation_rows_(std::move(validation_rows)) {
  PV_CHECK(!train_rows_.empty(), "train: no training samples");
  PV_CHECK(source.features() == model.features(), "train: {} features for a model of {}", source.features(), model.features());
  PV_CHECK(source.width() == model.width(), "train: rows of {} for a model that takes rows of {}", source.width(), model.width());
}

void RowTask::load(Context& context, const ItemBatch& batch) {
  const std::vector<int64_t>& all = batch.pass > 0 ? train_rows_ : validation_rows_;
  std::vector<int64_t> rows;
  rows.reserve(batch.items.size());
  for (int64_t i : batch.items) rows.push_back(all[static_cast<size_t>(i)]);
  Tensor& x = input(context, 0, static_cast<int64_t>(rows.size()), source_.width());
  const LoadingTime loading(seconds_loading);
  source_.fill(rows, x);
}

ItemLoss RowTask::loss(Context& context, bool training, double huber_delta, double kl_weight) {
  return vae_loss(context, model_, inputs().at(0), training, huber_delta, kl_weight);
}

}  // namespace panvae
