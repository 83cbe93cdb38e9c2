#include "models/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/text.h"
#include "engine/checkpoint.h"
#include "engine/tape.h"

namespace panvae {

namespace {

constexpr uint32_t kShuffleStep = 0xFFFFFFFEu;  // a Philox step of its own, as kInitStep
constexpr double kActiveVariance = 0.01;        // SPEC L1

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

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
    : context_(context), task_(task), state_(state), loss_(loss), options_(options), adam_(state, AdamOptions{.weight_decay = options.weight_decay}) {
  PV_CHECK(options.batch_size > 0 && options.max_epochs > 0 && options.epoch_steps > 0, "train: batch size {}, {} epochs of at least {} steps",
           options.batch_size, options.max_epochs, options.epoch_steps);
  PV_CHECK(task.train_items(1) >= task.smallest_batch(), "train: {} training items, and batch normalisation needs {}", task.train_items(1),
           task.smallest_batch());
  adam_.learning_rate = options.learning_rate;
  adam_.max_norm = options.clip_norm;
  context_.generator = {options.seed, 0, 0};
  const Tensor& buffers = state.flat_buffers();
  if (buffers.count() > 0) buffers_before_ = Tensor::empty(context, buffers.shape(), buffers.dtype(), "running statistics");
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

int64_t VaeTrainer::steps_of_all_epochs() const {
  int64_t steps = 0;
  for (int64_t pass = 1; pass <= options_.max_epochs * passes_of_epoch(); ++pass) steps += batches_of_pass(pass);
  return steps;
}

std::vector<int64_t> VaeTrainer::shuffled(int64_t pass) const {
  std::vector<int64_t> order(static_cast<size_t>(task_.train_items(pass)));
  std::iota(order.begin(), order.end(), int64_t{0});
  PhiloxSequence draw({options_.seed, static_cast<uint32_t>(pass), kShuffleStep});
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draw.below(i)]);
  return order;
}

VaeTrainer::Sums VaeTrainer::train_step(const ItemBatch& batch, double kl_weight) {
  std::vector<float> parts;
  {
    Step step(context_);
    Tape tape(context_);
    const ops::VaeLoss loss = task_.loss(context_, batch, loss_.huber_delta, kl_weight).loss;
    adam_.zero_grad();
    tape.backward(loss.loss);
    parts = loss.parts.host<float>();
  }
  const double b = static_cast<double>(batch.items.size());
  return {parts[0] * b, parts[1] * b, parts[2] * b, b};
}

void VaeTrainer::explain_bad_loss(const ItemBatch& batch, double kl_weight, const Generator& generator) {
  // The weights are those of this step still: the same step again, with every tensor looked at.
  context_.generator = generator;
  auto restore_buffers = [this] {
    Tensor buffers = state_.flat_buffers();
    if (buffers_before_.defined()) buffers.assign(buffers_before_);
  };
  struct Guard {  // off again even though train_step is meant to throw
    Context& context;
    const bool before = std::exchange(context.nan_guard, true);
    ~Guard() { context.nan_guard = before; }
  } guard{context_};
  try {
    train_step(batch, kl_weight);
  } catch (...) {
    restore_buffers();
    throw;
  }
  restore_buffers();
  throw Error(ErrorCode::input, "the training loss is not finite, though every tensor of the step is: it overflowed in the sum", "",
              "look for extreme values in the input", "huber_kl");
}

void VaeTrainer::train_epoch() {
  const int64_t epoch = static_cast<int64_t>(at_.epoch) + 1;
  const double kl_weight = kl_weight_of(epoch);
  const std::vector<ItemBatch> batches = batches_of_epoch(epoch);
  const size_t first = static_cast<size_t>(at_.batch);
  if (first < batches.size()) task_.prefetch(batches[first]);
  for (size_t b = first; b < batches.size(); ++b) {
    const ItemBatch& batch = batches[b];
    if (b + 1 < batches.size()) task_.prefetch(batches[b + 1]);
    const Generator before = context_.generator;
    if (buffers_before_.defined()) buffers_before_.assign(state_.flat_buffers());
    const Sums s = train_step(batch, kl_weight);
    if (!std::isfinite(s.loss)) explain_bad_loss(batch, kl_weight, before);
    adam_.step();
    context_.generator.next_step();
    at_.sums.loss += s.loss;
    at_.sums.huber += s.huber;
    at_.sums.kl += s.kl;
    at_.sums.samples += s.samples;
    at_.batch = static_cast<double>(b + 1);
    at_.steps += 1;
    at_.generator_step = context_.generator.step;
    items_seen_ += static_cast<int64_t>(batch.items.size());
    if (progress_) progress_->advance(1, fmt::format("epoch {}, loss {:.1f}", epoch, at_.sums.loss / at_.sums.samples));
    if (interrupted()) {
      write_checkpoint();
      throw Error(ErrorCode::interrupted, fmt::format("interrupted in epoch {} after {} of {} batches", epoch, b + 1, batches.size()),
                  checkpoint_path.empty() ? "" : quoted(checkpoint_path, 400), checkpoint_path.empty() ? "" : "continue with --resume");
    }
    if (!checkpoint_path.empty() && seconds_now() - last_checkpoint_ > options_.checkpoint_seconds) write_checkpoint();
  }
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
    Step step(context_);
    const ItemLoss out = task_.loss(context_, batch, loss_.huber_delta, loss_.kl_weight);
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

void VaeTrainer::keep_best() {
  auto keep = [this](Tensor& copy, const Tensor& now) {
    if (!copy.defined()) copy = Tensor::empty(context_, now.shape(), now.dtype(), "best weights");
    copy.assign(now);
  };
  keep(best_, state_.flat_parameters());
  if (buffers_before_.defined()) keep(best_buffers_, state_.flat_buffers());
}

void VaeTrainer::restore_best() {
  Tensor weights = state_.flat_parameters(), buffers = state_.flat_buffers();
  if (best_.defined()) weights.assign(best_);
  if (best_buffers_.defined()) buffers.assign(best_buffers_);
}

TrainResult VaeTrainer::run() {
  const double start = last_checkpoint_ = seconds_now();
  const bool validates = task_.validation_items() > 0;
  Progress progress("train", steps_of_all_epochs(), "step");
  progress.advance(static_cast<int64_t>(at_.steps));
  progress_ = &progress;
  items_seen_ = 0;
  const double loading_before = task_.seconds_loading;
  task_.module().set_training(true);
  std::string why = fmt::format("max_epochs {} reached", options_.max_epochs);
  while (at_.finished == 0 && at_.epoch < static_cast<double>(options_.max_epochs)) {
    const double epoch_start = seconds_now(), loading_start = task_.seconds_loading;
    train_epoch();
    EpochMetrics m;
    m.epoch = static_cast<int64_t>(at_.epoch) + 1;
    m.kl_weight = kl_weight_of(m.epoch);
    m.train_loss = at_.sums.loss / at_.sums.samples;
    m.train_huber = at_.sums.huber / at_.sums.samples;
    m.train_kl = at_.sums.kl / at_.sums.samples;
    validate(m);
    m.seconds = seconds_now() - epoch_start;
    m.loading_seconds = task_.seconds_loading - loading_start;
    // Weights that have not met the full KL weight are no candidates: their latents are not what the model asks for.
    const bool counts = m.epoch >= std::min(loss_.kl_warmup_epochs, options_.max_epochs);
    m.best = counts && (!validates || at_.best_epoch == 0 || m.validation_loss < at_.best_validation);
    if (m.best) {
      at_.best_epoch = static_cast<double>(m.epoch);
      at_.best_validation = m.validation_loss;
      at_.best_train = m.train_loss;
      at_.waited = 0;
      if (validates) keep_best();
    } else if (counts && m.epoch > options_.min_epochs) {
      at_.waited += 1;
    }
    at_.epoch += 1;
    at_.batch = 0;
    at_.sums = {};
    at_.last_train = m.train_loss;
    at_.last_validation = m.validation_loss;
    if (on_epoch) on_epoch(m);
    if (validates && at_.waited >= static_cast<double>(std::max<int64_t>(1, options_.patience))) at_.finished = 1;
  }
  if (at_.finished == 1) why = fmt::format("no better validation loss in {} epochs", std::max<int64_t>(1, options_.patience));
  else at_.finished = 2;  // a run that is resumed after its end says the same again
  progress_ = nullptr;
  if (!checkpoint_path.empty()) write_checkpoint();
  restore_best();
  task_.module().set_training(false);
  TrainResult r;
  r.epochs = static_cast<int64_t>(at_.epoch);
  r.best_epoch = static_cast<int64_t>(at_.best_epoch);
  r.steps = static_cast<int64_t>(at_.steps);
  r.skipped_steps = adam_.skipped();
  r.stopped_because = why;
  r.train_loss = at_.best_train;
  r.validation_loss = at_.best_validation;
  r.seconds = seconds_now() - start;
  r.samples_per_second = static_cast<double>(items_seen_) / std::max(1e-9, r.seconds);
  r.loading_seconds = task_.seconds_loading - loading_before;
  if (r.skipped_steps > 0) log::warning("{} steps were skipped because their gradient was not finite", r.skipped_steps);
  return r;
}

void VaeTrainer::write_checkpoint() {
  if (checkpoint_path.empty()) return;
  TensorWriter w;
  w.add(state_, "model.");
  w.add("adam.first_moment", adam_.first_moment());
  w.add("adam.second_moment", adam_.second_moment());
  w.add("adam.slots", adam_.slots());
  if (best_.defined()) w.add("best", best_);
  if (best_buffers_.defined()) w.add("best_buffers", best_buffers_);
  static_assert(sizeof(Position) % sizeof(double) == 0);
  w.file.add("position", "F64", {static_cast<int64_t>(sizeof(Position) / sizeof(double))}, &at_);
  w.file.metadata("kind", "panvae checkpoint");
  w.file.metadata("fingerprint", fingerprint);
  w.file.write(checkpoint_path);
  last_checkpoint_ = seconds_now();
}

int64_t VaeTrainer::resume() {
  const SafetensorsReader file(checkpoint_path);
  auto written = file.metadata().find("fingerprint");
  if (written == file.metadata().end() || written->second != fingerprint)
    fail_input("the checkpoint was written with another configuration or other data", quoted(checkpoint_path, 400),
               "resume with the input and the settings it began with, or start a new run");
  read_state(file, state_, "model.");
  read_tensor(file, "adam.first_moment", adam_.first_moment());
  read_tensor(file, "adam.second_moment", adam_.second_moment());
  read_tensor(file, "adam.slots", adam_.slots());
  if (file.contains("best")) {
    best_ = Tensor::empty(context_, state_.flat_parameters().shape(), DType::f32, "best weights");
    read_tensor(file, "best", best_);
  }
  if (file.contains("best_buffers")) {
    best_buffers_ = Tensor::empty(context_, state_.flat_buffers().shape(), DType::f32, "best weights");
    read_tensor(file, "best_buffers", best_buffers_);
  }
  const std::vector<double> position = file.doubles("position");
  PV_CHECK(position.size() * sizeof(double) == sizeof(Position), "resume: the checkpoint is of another version of panvae");
  std::memcpy(static_cast<void*>(&at_), position.data(), sizeof(Position));
  context_.generator = {options_.seed, static_cast<uint32_t>(at_.generator_step), 0};
  return static_cast<int64_t>(at_.epoch);
}

}  // namespace panvae
