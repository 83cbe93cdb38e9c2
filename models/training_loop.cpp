#include "models/training_loop.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "base/interrupt.h"
#include "base/log.h"
#include "base/progress.h"
#include "engine/checkpoint.h"

namespace panvae {

namespace {

constexpr size_t kBeforeSums = 2;  // numbers of a checkpoint's position that stand before the sums

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void copy_to(Tensor& copy, const Tensor& now, const char* label) {
  if (!copy.defined()) copy = Tensor::empty(now.context(), now.shape(), now.dtype(), label);
  copy.assign(now);
}

}  // namespace

Learner::Learner(ModuleState& s, AdamOptions options, double learning_rate, double clip_norm, std::string prefix)
    : state(s), adam(s, options), prefix_(std::move(prefix)) {
  adam.learning_rate = learning_rate;
  adam.max_norm = clip_norm;
}

void Learner::keep_best() {
  copy_to(best_, state.flat_parameters(), "best weights");
  if (state.flat_buffers().count() > 0) copy_to(best_buffers_, state.flat_buffers(), "best weights");
}

void Learner::restore_best() {
  Tensor weights = state.flat_parameters(), buffers = state.flat_buffers();
  if (best_.defined()) weights.assign(best_);
  if (best_buffers_.defined()) buffers.assign(best_buffers_);
}

void Learner::keep_buffers() {
  if (state.flat_buffers().count() > 0) copy_to(buffers_before_, state.flat_buffers(), "running statistics");
}

void Learner::restore_buffers() {
  Tensor buffers = state.flat_buffers();
  if (buffers_before_.defined()) buffers.assign(buffers_before_);
}

void Learner::write(TensorWriter& w) const {
  w.add(state, prefix_ + "model.");
  w.add_flat(prefix_ + "adam.first_moment", state, adam.first_moment());
  w.add_flat(prefix_ + "adam.second_moment", state, adam.second_moment());
  w.add(prefix_ + "adam.slots", adam.slots());
  if (best_.defined()) w.add_flat(prefix_ + "best", state, best_);
  if (best_buffers_.defined()) w.add(prefix_ + "best_buffers", best_buffers_);
}

void Learner::read(const SafetensorsReader& file) {
  read_state(file, state, prefix_ + "model.");
  read_flat(file, prefix_ + "adam.first_moment", state, adam.first_moment());
  read_flat(file, prefix_ + "adam.second_moment", state, adam.second_moment());
  read_tensor(file, prefix_ + "adam.slots", adam.slots());
  auto like = [](const Tensor& of) { return Tensor::empty(of.context(), of.shape(), of.dtype(), "best weights"); };
  if (file.contains(prefix_ + "best")) {
    best_ = like(state.flat_parameters());
    read_flat(file, prefix_ + "best", state, best_);
  }
  if (file.contains(prefix_ + "best_buffers")) {
    best_buffers_ = like(state.flat_buffers());
    read_tensor(file, prefix_ + "best_buffers", best_buffers_);
  }
}

TrainingLoop::TrainingLoop(Context& context, TrainOptions options, size_t sums) : context_(context), options_(options), sums_(sums), graph_(context) {
  PV_CHECK(options.batch_size > 0 && options.max_epochs > 0 && options.epoch_steps > 0, "train: batch size {}, {} epochs of at least {} steps",
           options.batch_size, options.max_epochs, options.epoch_steps);
  context_.generator = {options.seed, 0, 0};
  graph_.on = options.graph;
}

void TrainingLoop::update(const Tensor& losses) {
  for (Learner& l : learners_) l.adam.step(losses);
}

void TrainingLoop::run_step(const std::vector<Tensor>& inputs, const std::vector<double>& baked, const std::function<void()>& record) {
  for (Learner& l : learners_) l.adam.upload_settings();
  graph_.run(inputs, baked, record);
}

int64_t TrainingLoop::steps_of_all_epochs() const {
  int64_t steps = 0;
  for (int64_t e = 1; e <= options_.max_epochs; ++e) steps += steps_of(e);
  return steps;
}

void TrainingLoop::explain_bad_loss(int64_t epoch, int64_t index, const Generator& generator) {
  // update() left the weights as they were before the step: the same step again, with every tensor looked at.
  context_.generator = generator;
  auto restore_buffers = [this] {
    for (Learner& l : learners_) l.restore_buffers();
  };
  restore_buffers();
  struct Guard {  // off again even though the step is meant to throw
    Context& context;
    const bool before = std::exchange(context.nan_guard, true);
    ~Guard() { context.nan_guard = before; }
  } guard{context_};
  try {
    step(epoch, index);
  } catch (...) {
    restore_buffers();
    throw;
  }
  restore_buffers();
  throw Error(ErrorCode::input, "the training loss is not finite, though every tensor of the step is: it overflowed in the sum", "",
              "look for extreme values in the input", "huber_kl");
}

void TrainingLoop::train_epoch() {
  const int64_t epoch = static_cast<int64_t>(at_.epoch) + 1, steps = steps_of(epoch), first = static_cast<int64_t>(at_.batch);
  begin_epoch(epoch, first);
  for (int64_t b = first; b < steps; ++b) {
    const Generator before = context_.generator;
    for (Learner& l : learners_) l.keep_buffers();
    const std::vector<double> s = step(epoch, b);
    PV_ASSERT(s.size() == sums_.size());
    if (!std::all_of(s.begin(), s.end(), [](double v) { return std::isfinite(v); })) explain_bad_loss(epoch, b, before);
    context_.generator.next_step();
    for (size_t i = 0; i < s.size(); ++i) sums_[i] += s[i];
    at_.batch = static_cast<double>(b + 1);
    at_.steps += 1;
    at_.generator_step = context_.generator.step;
    items_seen_ += items_of_step(epoch, b);
    if (progress_) progress_->advance(1, progress_note(epoch, sums_));
    if (interrupted()) {
      write_checkpoint();
      throw Error(ErrorCode::interrupted, fmt::format("interrupted in epoch {} after {} of {} batches", epoch, b + 1, steps),
                  checkpoint_path.empty() ? "" : quoted(checkpoint_path, 400), checkpoint_path.empty() ? "" : "continue with --resume");
    }
    if (!checkpoint_path.empty() && seconds_now() - last_checkpoint_ > options_.checkpoint_seconds) write_checkpoint();
  }
}

TrainResult TrainingLoop::run() {
  const double start = last_checkpoint_ = seconds_now();
  const bool validating = validates();
  const int64_t patience = std::max<int64_t>(1, options_.patience);
  Progress progress("train", steps_of_all_epochs(), "step");
  progress.advance(static_cast<int64_t>(at_.steps));
  progress_ = &progress;
  items_seen_ = 0;
  const int64_t replays_before = graph_.replays();
  const double loading_before = seconds_loading();
  set_training(true);
  // Clipping needs all gradients before any weight is changed.
  for (Learner& l : learners_) l.state.keep_products(context_.fused && l.adam.max_norm == 0 ? KeptProducts::best : KeptProducts::none);
  std::string why = fmt::format("max_epochs {} reached", options_.max_epochs);
  while (at_.finished == 0 && at_.epoch < static_cast<double>(options_.max_epochs)) {
    const double epoch_start = seconds_now(), loading_start = seconds_loading();
    train_epoch();
    const int64_t epoch = static_cast<int64_t>(at_.epoch) + 1;
    const Judgement j = judge(epoch, sums_);
    if (validating && !std::isfinite(j.validation_loss))  // which is never smaller than another, nor larger
      throw Error(ErrorCode::input, fmt::format("the validation loss of epoch {} is not finite, though the training loss is", epoch), "",
                  "look for extreme values in the validation samples", "validation");
    const double seconds = seconds_now() - epoch_start, loading = seconds_loading() - loading_start;
    const bool best = j.counts && (!validating || at_.best_epoch == 0 || j.validation_loss < at_.best_validation);
    if (best) {
      at_.best_epoch = static_cast<double>(epoch);
      at_.best_validation = j.validation_loss;
      at_.best_train = j.train_loss;
      at_.waited = 0;
      if (validating)
        for (Learner& l : learners_) l.keep_best();
    } else if (j.counts && epoch > options_.min_epochs) {
      at_.waited += 1;
    }
    at_.epoch += 1;
    at_.batch = 0;
    std::fill(sums_.begin(), sums_.end(), 0.0);
    at_.last_train = j.train_loss;
    at_.last_validation = j.validation_loss;
    report(best, seconds, loading);
    if (validating && at_.waited >= static_cast<double>(patience)) at_.finished = 1;
  }
  if (at_.finished == 1) why = fmt::format("no better validation loss in {} epochs", patience);
  else at_.finished = 2;  // a run that is resumed after its end says the same again
  progress_ = nullptr;
  if (!checkpoint_path.empty()) write_checkpoint();
  for (Learner& l : learners_) l.restore_best();
  set_training(false);
  TrainResult r;
  r.epochs = static_cast<int64_t>(at_.epoch);
  r.best_epoch = static_cast<int64_t>(at_.best_epoch);
  r.steps = static_cast<int64_t>(at_.steps);
  for (const Learner& l : learners_) r.skipped_steps += l.adam.skipped();
  r.replayed_steps = graph_.replays() - replays_before;
  r.stopped_because = why;
  r.train_loss = at_.best_train;
  r.validation_loss = at_.best_validation;
  r.seconds = seconds_now() - start;
  r.samples_per_second = static_cast<double>(items_seen_) / std::max(1e-9, r.seconds);
  r.loading_seconds = seconds_loading() - loading_before;
  if (r.skipped_steps > 0) log::warning("{} steps were skipped because their gradient was not finite", r.skipped_steps);
  return r;
}

void TrainingLoop::write_checkpoint() {
  if (checkpoint_path.empty()) return;
  TensorWriter w;
  for (const Learner& l : learners_) l.write(w);
  std::vector<double> position;
  for (const double* v : at_.fields()) position.push_back(*v);
  position.insert(position.begin() + kBeforeSums, sums_.begin(), sums_.end());
  w.file.add("position", "F64", {static_cast<int64_t>(position.size())}, position.data());
  w.file.metadata("kind", "panvae checkpoint");
  w.file.metadata("fingerprint", fingerprint);
  w.file.write(checkpoint_path);
  last_checkpoint_ = seconds_now();
}

int64_t TrainingLoop::resume() {
  const SafetensorsReader file(checkpoint_path);
  auto written = file.metadata().find("fingerprint");
  if (written == file.metadata().end() || written->second != fingerprint)
    fail_input("the checkpoint was written with another configuration or other data", quoted(checkpoint_path, 400),
               "resume with the input and the settings it began with, or start a new run");
  const std::vector<double> position = file.doubles("position");
  Position at;
  std::vector<double> sums = sums_;
  const std::vector<double*> fields = at.fields();
  if (position.size() != fields.size() + sums.size())
    fail_input(fmt::format("the checkpoint's position has {} numbers, {} are expected", position.size(), fields.size() + sums.size()),
               quoted(checkpoint_path, 400), "it is of another version of panvae: start a new run");
  for (size_t i = 0; i < position.size(); ++i) {
    if (i < kBeforeSums) *fields[i] = position[i];
    else if (i < kBeforeSums + sums.size()) sums[i - kBeforeSums] = position[i];
    else *fields[i - sums.size()] = position[i];
  }
  for (const double counted : {at.epoch, at.batch, at.best_epoch, at.waited, at.generator_step, at.steps, at.finished})
    if (!(counted >= 0 && counted <= std::numeric_limits<uint32_t>::max() && counted == std::floor(counted)))
      fail_input(fmt::format("the checkpoint's position counts {} epochs or steps", counted), quoted(checkpoint_path, 400), "it is damaged: start a new run");
  for (Learner& l : learners_) l.read(file);
  at_ = at;
  sums_ = std::move(sums);
  context_.generator = {options_.seed, static_cast<uint32_t>(at_.generator_step), 0};
  return static_cast<int64_t>(at_.epoch);
}

}  // namespace panvae
