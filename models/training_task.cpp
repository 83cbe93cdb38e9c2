#include "models/training_task.h"

#include <chrono>
#include <utility>

#include "engine/context.h"

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

ItemLoss vae_loss(Context& context, Vae& model, const Tensor& x, bool draw, double huber_delta, double kl_weight) {
  const Posterior q = model.encode(x);
  const Tensor z = draw ? ops::reparameterize(q.mean, q.logvar, context.generator.next()) : q.mean;
  return {ops::huber_kl(model.decode(z), x, q.mean, q.logvar, huber_delta, kl_weight), q};
}

RowTask::RowTask(Vae& model, BatchSource& source, std::vector<int64_t> train_rows, std::vector<int64_t> validation_rows)
    : model_(model), source_(source), train_rows_(std::move(train_rows)), validation_rows_(std::move(validation_rows)) {
  PV_CHECK(!train_rows_.empty(), "train: no training samples");
  PV_CHECK(source.features() == model.features(), "train: {} features for a model of {}", source.features(), model.features());
}

ItemLoss RowTask::loss(Context& context, const ItemBatch& batch, double huber_delta, double kl_weight) {
  const std::vector<int64_t>& all = batch.pass > 0 ? train_rows_ : validation_rows_;
  std::vector<int64_t> rows;
  rows.reserve(batch.items.size());
  for (int64_t i : batch.items) rows.push_back(all[static_cast<size_t>(i)]);
  Tensor x = Tensor::empty(context, {static_cast<int64_t>(rows.size()), source_.features()}, DType::f32, "batch");
  {
    const LoadingTime loading(seconds_loading);
    source_.fill(rows, x);
  }
  return vae_loss(context, model_, x, batch.pass > 0, huber_delta, kl_weight);
}

}  // namespace panvae
