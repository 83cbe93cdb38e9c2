#include "models/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/tape.h"

namespace panvae {

namespace {

constexpr uint32_t kShuffleStep = 0xFFFFFFFEu;  // a Philox step of its own, as kInitStep
constexpr double kActiveVariance = 0.01;        // SPEC L1
enum Sum : size_t { loss_sum, huber_sum, kl_sum, items_sum, sums_count };

}  // namespace

Json EpochMetrics::json() const {
  // Nothing here depends on the clock: the same run gives the same file.
  Json j = {{"epoch", epoch}, {"kl_weight", kl_weight}, {"train_loss", train_loss}, {"train_huber", train_huber}, {"train_kl", train_kl}};
  if (std::isfinite(validation_loss)) {
    j["validation_loss"] = validation_loss;
    j["validation_huber"] = validation_huber;
    j["validation_kl"] = validation_kl;
    j["active_units"] = active_units;
    j["best"] = best;
  }
  return j;
}

VaeTrainer::VaeTrainer(Context& context, TrainingTask& task, ModuleState& state, LossOptions loss, TrainOptions options)
    : TrainingLoop(context, options, sums_count),
      task_(task),
      loss_(loss),
      parts_(Tensor::zeros(context, {3}, DType::f32, "loss")),
      read_parts_(context, parts_.count() * item_bytes(DType::f32)) {
  PV_CHECK(task.train_items(1) >= task.smallest_batch(), "train: {} training items, and batch normalisation needs {}", task.train_items(1),
           task.smallest_batch());
  learners_.emplace_back(state, AdamOptions{.weight_decay = options.weight_decay}, options.learning_rate, options.clip_norm);
}

VaeTrainer::VaeTrainer(Context& context, std::unique_ptr<TrainingTask> task, ModuleState& state, LossOptions loss, TrainOptions options)
    : VaeTrainer(context, *task, state, loss, options) {
  own_task_ = std::move(task);
}

VaeTrainer::VaeTrainer(Context& context, Vae& model, ModuleState& state, BatchSource& source, std::vector<int64_t> train_rows,
                       std::vector<int64_t> validation_rows, LossOptions loss, TrainOptions options)
    : VaeTrainer(context, std::make_unique<RowTask>(model, source, std::move(train_rows), std::move(validation_rows)), state, loss, options) {}

double VaeTrainer::kl_weight_of(int64_t epoch) const {
  if (epoch >= loss_.kl_warmup_epochs) return loss_.kl_weight;
  return loss_.kl_weight * static_cast<double>(epoch) / static_cast<double>(loss_.kl_warmup_epochs);
}

// Batches of equal size but for one item: a last batch of a few would weigh them more than the others.
int64_t VaeTrainer::batches_of_pass(int64_t pass) const {
  const int64_t n = task_.train_items(pass);
  return std::min((n + options_.batch_size - 1) / options_.batch_size, std::max<int64_t>(1, n / task_.smallest_batch()));
}

int64_t VaeTrainer::passes_of_epoch() const {
  const int64_t steps = batches_of_pass(1);
  return (options_.epoch_steps + steps - 1) / steps;
}

std::vector<ItemBatch> VaeTrainer::batches_of_epoch(int64_t epoch) const {
  std::vector<ItemBatch> batches;
  for (int64_t pass = (epoch - 1) * passes_of_epoch() + 1; pass <= epoch * passes_of_epoch(); ++pass) {
    const std::vector<int64_t> order = shuffled(pass);
    const int64_t n = static_cast<int64_t>(order.size()), count = batches_of_pass(pass);
    for (int64_t b = 0; b < count; ++b) batches.push_back({pass, {order.begin() + b * n / count, order.begin() + (b + 1) * n / count}});
  }
  return batches;
}

int64_t VaeTrainer::steps_of(int64_t epoch) const {
  int64_t steps = 0;
  for (int64_t pass = (epoch - 1) * passes_of_epoch() + 1; pass <= epoch * passes_of_epoch(); ++pass) steps += batches_of_pass(pass);
  return steps;
}

std::vector<int64_t> VaeTrainer::shuffled(int64_t pass) const {
  std::vector<int64_t> order(static_cast<size_t>(task_.train_items(pass)));
  std::iota(order.begin(), order.end(), int64_t{0});
  PhiloxSequence draw({options_.seed, static_cast<uint32_t>(pass), kShuffleStep});
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draw.below(i)]);
  return order;
}

void VaeTrainer::begin_epoch(int64_t epoch, int64_t first) {
  batches_ = batches_of_epoch(epoch);
  loaded_ = SIZE_MAX;
  if (static_cast<size_t>(first) < batches_.size()) task_.prefetch(batches_[static_cast<size_t>(first)]);
}

int64_t VaeTrainer::items_of_step(int64_t, int64_t index) const {
  return static_cast<int64_t>(batches_[static_cast<size_t>(index)].items.size());
}

void VaeTrainer::load(size_t index) {
  // Announced once: a step that is repeated to explain a NaN asks for nothing new.
  if (index + 1 < batches_.size() && !context_.nan_guard) task_.prefetch(batches_[index + 1]);
  task_.load(context_, batches_[index]);
  loaded_ = index;
}

std::vector<double> VaeTrainer::step(int64_t epoch, int64_t index) {
  const size_t here = static_cast<size_t>(index);
  if (loaded_ != here) load(here);
  const double kl_weight = kl_weight_of(epoch);
  run_step(task_.inputs(), {kl_weight}, [&] {
    Step step(context_);
    Tape tape(context_);
    const ops::VaeLoss loss = task_.loss(context_, true, loss_.huber_delta, kl_weight).loss;
    learners_[0].adam.zero_grad();
    tape.backward(loss.loss);
    parts_.assign(loss.parts);
    update(parts_);
  });
  read_parts_.queue(parts_);
  // While the device is at this step: it finds the next batch when it is done.
  if (task_.queues() && here + 1 < batches_.size() && !context_.nan_guard) load(here + 1);
  const std::vector<float> parts = read_parts_.wait();
  const double b = static_cast<double>(batches_[here].items.size());
  return {parts[0] * b, parts[1] * b, parts[2] * b, b};
}

void VaeTrainer::validate(EpochMetrics& m) {
  m.validation_loss = m.validation_huber = m.validation_kl = std::numeric_limits<double>::quiet_NaN();
  const int64_t n = task_.validation_items(), latent = task_.latent();
  if (n == 0) return;
  const Evaluation evaluation(task_.module());
  double huber = 0, kl = 0;
  std::vector<double> sum(static_cast<size_t>(latent)), squares(static_cast<size_t>(latent));
  auto batch_at = [&](int64_t first) {
    ItemBatch batch{0, std::vector<int64_t>(static_cast<size_t>(std::max<int64_t>(0, std::min(n - first, options_.batch_size))))};
    std::iota(batch.items.begin(), batch.items.end(), first);
    return batch;
  };
  ItemBatch next = batch_at(0);
  task_.prefetch(next);
  for (int64_t first = 0; first < n; first += options_.batch_size) {
    const ItemBatch batch = std::exchange(next, batch_at(first + options_.batch_size));
    if (!next.items.empty()) task_.prefetch(next);
    const double items = static_cast<double>(batch.items.size());
    task_.load(context_, batch);
    Step step(context_);
    const ItemLoss out = task_.loss(context_, false, loss_.huber_delta, loss_.kl_weight);
    const auto parts = out.loss.parts.host<float>();
    huber += static_cast<double>(parts[1]) * items;
    kl += static_cast<double>(parts[2]) * items;
    const std::vector<float> mean = out.posterior.mean.host<float>();
    for (size_t i = 0; i < mean.size(); ++i) {
      const size_t j = i % static_cast<size_t>(latent);
      sum[j] += mean[i];
      squares[j] += static_cast<double>(mean[i]) * mean[i];
    }
  }
  const double count = static_cast<double>(n);
  m.validation_huber = huber / count;
  m.validation_kl = kl / count;
  m.validation_loss = m.validation_huber + loss_.kl_weight * m.validation_kl;
  for (size_t j = 0; j < sum.size(); ++j) m.active_units += (squares[j] - sum[j] * sum[j] / count) / std::max(1.0, count - 1) > kActiveVariance;
}

VaeTrainer::Judgement VaeTrainer::judge(int64_t epoch, const std::vector<double>& sums) {
  EpochMetrics& m = metrics_ = {};
  m.epoch = epoch;
  m.kl_weight = kl_weight_of(epoch);
  m.train_loss = sums[loss_sum] / sums[items_sum];
  m.train_huber = sums[huber_sum] / sums[items_sum];
  m.train_kl = sums[kl_sum] / sums[items_sum];
  validate(m);
  // Weights that have not met the full KL weight are no candidates: their latents are not what the model asks for.
  return {epoch >= std::min(loss_.kl_warmup_epochs, options_.max_epochs), m.train_loss, m.validation_loss};
}

void VaeTrainer::report(bool best, double seconds, double loading_seconds) {
  metrics_.best = best;
  metrics_.seconds = seconds;
  metrics_.loading_seconds = loading_seconds;
  if (on_epoch) on_epoch(metrics_);
}

std::string VaeTrainer::progress_note(int64_t epoch, const std::vector<double>& sums) const {
  return fmt::format("epoch {}, loss {:.1f}", epoch, sums[loss_sum] / sums[items_sum]);
}

}  // namespace panvae
