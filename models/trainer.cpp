#include "models/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>
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

VaeTrainer::VaeTrainer(Context& context, RnaVae& model, ModuleState& state, BatchSource& source, std::vector<int64_t> train_rows,
                       std::vector<int64_t> validation_rows, LossOptions loss, TrainOptions options)
    : context_(context),
      model_(model),
      state_(state),
      source_(source),
      train_rows_(std::move(train_rows)),
      validation_rows_(std::move(validation_rows)),
      loss_(loss),
      options_(options),
      adam_(state, AdamOptions{.weight_decay = options.weight_decay}) {
  PV_CHECK(!train_rows_.empty(), "train: no training samples");
  PV_CHECK(options.batch_size > 0 && options.max_epochs > 0, "train: batch size {}, {} epochs", options.batch_size, options.max_epochs);
  PV_CHECK(source.features() == model.shape().genes, "train: {} features for a model of {}", source.features(), model.shape().genes);
  adam_.learning_rate = options.learning_rate;
  adam_.max_norm = options.clip_norm;
  context_.generator = {options.seed, 0, 0};
}

double VaeTrainer::kl_weight_of(int64_t epoch) const {
  if (epoch >= loss_.kl_warmup_epochs) return loss_.kl_weight;
  return loss_.kl_weight * static_cast<double>(epoch) / static_cast<double>(loss_.kl_warmup_epochs);
}

std::vector<int64_t> VaeTrainer::shuffled(int64_t epoch) const {
  std::vector<int64_t> order = train_rows_;
  PhiloxSequence draw({options_.seed, static_cast<uint32_t>(epoch), kShuffleStep});
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draw.below(i)]);
  return order;
}

VaeTrainer::Sums VaeTrainer::train_step(const std::vector<int64_t>& rows, double kl_weight) {
  const int64_t n = static_cast<int64_t>(rows.size());
  std::vector<float> parts;
  {
    Step step(context_);
    Tensor x = Tensor::empty(context_, {n, source_.features()}, DType::f32, "batch");
    source_.fill(rows, x);
    Tape tape(context_);
    const Posterior q = model_.encode(x);
    const Tensor z = ops::reparameterize(q.mean, q.logvar, context_.generator.next());
    const ops::VaeLoss loss = ops::huber_kl(model_.decode(z), x, q.mean, q.logvar, loss_.huber_delta, kl_weight);
    adam_.zero_grad();
    tape.backward(loss.loss);
    parts = loss.parts.host<float>();
  }
  const double b = static_cast<double>(n);
  return {parts[0] * b, parts[1] * b, parts[2] * b, b};
}

void VaeTrainer::explain_bad_loss(const std::vector<int64_t>& rows, double kl_weight, const Generator& generator) {
  // The weights are those of this step still: the same step again, with every tensor looked at.
  context_.generator = generator;
  struct Guard {  // off again even though train_step is meant to throw
    Context& context;
    const bool before = std::exchange(context.nan_guard, true);
    ~Guard() { context.nan_guard = before; }
  } guard{context_};
  train_step(rows, kl_weight);
  throw Error(ErrorCode::input, "the training loss is not finite, though every tensor of the step is: it overflowed in the sum", "",
              "look for extreme values in the input", "huber_kl");
}

void VaeTrainer::train_epoch() {
  const int64_t epoch = static_cast<int64_t>(at_.epoch) + 1;
  const double kl_weight = kl_weight_of(epoch);
  const std::vector<int64_t> order = shuffled(epoch);
  const int64_t n = static_cast<int64_t>(order.size()), batches = (n + options_.batch_size - 1) / options_.batch_size;
  for (int64_t b = static_cast<int64_t>(at_.batch); b < batches; ++b) {
    // Batches of equal size but for one sample: a last batch of a few samples would weigh them more than the others.
    const std::vector<int64_t> rows(order.begin() + b * n / batches, order.begin() + (b + 1) * n / batches);
    const Generator before = context_.generator;
    const Sums s = train_step(rows, kl_weight);
    if (!std::isfinite(s.loss)) explain_bad_loss(rows, kl_weight, before);
    adam_.step();
    context_.generator.next_step();
    at_.sums.loss += s.loss;
    at_.sums.huber += s.huber;
    at_.sums.kl += s.kl;
    at_.sums.samples += s.samples;
    at_.batch = static_cast<double>(b + 1);
    at_.steps += 1;
    at_.generator_step = context_.generator.step;
    samples_seen_ += static_cast<int64_t>(rows.size());
    if (progress_) progress_->advance(1, fmt::format("epoch {}, loss {:.1f}", epoch, at_.sums.loss / at_.sums.samples));
    if (interrupted()) {
      write_checkpoint();
      throw Error(ErrorCode::interrupted, fmt::format("interrupted in epoch {} after {} of {} batches", epoch, b + 1, batches),
                  checkpoint_path.empty() ? "" : quoted(checkpoint_path, 400), checkpoint_path.empty() ? "" : "continue with --resume");
    }
    if (!checkpoint_path.empty() && seconds_now() - last_checkpoint_ > options_.checkpoint_seconds) write_checkpoint();
  }
}

void VaeTrainer::validate(EpochMetrics& m) {
  m.validation_loss = m.validation_huber = m.validation_kl = std::numeric_limits<double>::quiet_NaN();
  if (validation_rows_.empty()) return;
  const int64_t n = static_cast<int64_t>(validation_rows_.size()), latent = model_.shape().latent;
  double huber = 0, kl = 0;
  std::vector<double> sum(static_cast<size_t>(latent)), squares(static_cast<size_t>(latent));
  for (int64_t first = 0; first < n; first += options_.batch_size) {
    const std::vector<int64_t> rows(validation_rows_.begin() + first, validation_rows_.begin() + std::min(n, first + options_.batch_size));
    Step step(context_);
    Tensor x = Tensor::empty(context_, {static_cast<int64_t>(rows.size()), source_.features()}, DType::f32, "batch");
    source_.fill(rows, x);
    const Posterior q = model_.encode(x);
    const auto parts = ops::huber_kl(model_.decode(q.mean), x, q.mean, q.logvar, loss_.huber_delta, loss_.kl_weight).parts.host<float>();
    huber += static_cast<double>(parts[1]) * static_cast<double>(rows.size());
    kl += static_cast<double>(parts[2]) * static_cast<double>(rows.size());
    const std::vector<float> mean = q.mean.host<float>();
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

TrainResult VaeTrainer::run() {
  const double start = last_checkpoint_ = seconds_now();
  const int64_t n = static_cast<int64_t>(train_rows_.size()), batches = (n + options_.batch_size - 1) / options_.batch_size;
  Progress progress("train", options_.max_epochs * batches, "step");
  progress.advance(static_cast<int64_t>(at_.steps));
  progress_ = &progress;
  samples_seen_ = 0;
  Tensor weights = state_.flat_parameters();
  std::string why = fmt::format("max_epochs {} reached", options_.max_epochs);
  while (at_.finished == 0 && at_.epoch < static_cast<double>(options_.max_epochs)) {
    train_epoch();
    EpochMetrics m;
    m.epoch = static_cast<int64_t>(at_.epoch) + 1;
    m.kl_weight = kl_weight_of(m.epoch);
    m.train_loss = at_.sums.loss / at_.sums.samples;
    m.train_huber = at_.sums.huber / at_.sums.samples;
    m.train_kl = at_.sums.kl / at_.sums.samples;
    validate(m);
    // Weights that have not met the full KL weight are no candidates: their latents are not what the model asks for.
    const bool counts = m.epoch >= std::min(loss_.kl_warmup_epochs, options_.max_epochs);
    m.best = counts && (validation_rows_.empty() || at_.best_epoch == 0 || m.validation_loss < at_.best_validation);
    if (m.best) {
      at_.best_epoch = static_cast<double>(m.epoch);
      at_.best_validation = m.validation_loss;
      at_.best_train = m.train_loss;
      at_.waited = 0;
      if (!validation_rows_.empty()) {
        if (!best_.defined()) best_ = Tensor::empty(context_, weights.shape(), weights.dtype(), "best weights");
        best_.assign(weights);
      }
    } else if (counts && m.epoch > options_.min_epochs) {
      at_.waited += 1;
    }
    at_.epoch += 1;
    at_.batch = 0;
    at_.sums = {};
    at_.last_train = m.train_loss;
    at_.last_validation = m.validation_loss;
    if (on_epoch) on_epoch(m);
    if (!validation_rows_.empty() && at_.waited >= static_cast<double>(std::max<int64_t>(1, options_.patience))) at_.finished = 1;
  }
  if (at_.finished == 1) why = fmt::format("no better validation loss in {} epochs", std::max<int64_t>(1, options_.patience));
  else at_.finished = 2;  // a run that is resumed after its end says the same again
  progress_ = nullptr;
  if (!checkpoint_path.empty()) write_checkpoint();
  if (best_.defined()) weights.assign(best_);
  TrainResult r;
  r.epochs = static_cast<int64_t>(at_.epoch);
  r.best_epoch = static_cast<int64_t>(at_.best_epoch);
  r.steps = static_cast<int64_t>(at_.steps);
  r.skipped_steps = adam_.skipped();
  r.stopped_because = why;
  r.train_loss = at_.best_train;
  r.validation_loss = at_.best_validation;
  r.seconds = seconds_now() - start;
  r.samples_per_second = static_cast<double>(samples_seen_) / std::max(1e-9, r.seconds);
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
  const std::vector<double> position = file.doubles("position");
  PV_CHECK(position.size() * sizeof(double) == sizeof(Position), "resume: the checkpoint is of another version of panvae");
  std::memcpy(static_cast<void*>(&at_), position.data(), sizeof(Position));
  context_.generator = {options_.seed, static_cast<uint32_t>(at_.generator_step), 0};
  return static_cast<int64_t>(at_.epoch);
}

namespace {

// Calls use(x, n) with batches of all samples in order; x lives in a step's arena and its first n rows are samples. All
// batches have one shape (the last is filled up with zeros), so that BLAS treats every row alike: what comes out for a
// sample does not depend on how many others are in the file.
template <class F>
void each_batch(Context& context, BatchSource& source, int64_t batch_size, F&& use) {
  std::vector<int64_t> rows;
  for (int64_t first = 0; first < source.samples(); first += batch_size) {
    throw_if_interrupted();
    rows.resize(static_cast<size_t>(std::min(batch_size, source.samples() - first)));
    std::iota(rows.begin(), rows.end(), first);
    Step step(context);
    const int64_t n = static_cast<int64_t>(rows.size());
    Tensor x = Tensor::zeros(context, {batch_size, source.features()}, DType::f32, "batch");
    Tensor samples = x.part(0, {n, source.features()});
    source.fill(rows, samples);
    use(x, n);
  }
}

void append(std::vector<float>& to, const Tensor& t, int64_t rows) {
  const std::vector<float> values = t.part(0, {rows, t.size(1)}).host<float>();
  to.insert(to.end(), values.begin(), values.end());
}

}  // namespace

Posteriors posteriors(Context& context, RnaVae& model, BatchSource& source, bool with_logvar, int64_t batch_size) {
  Posteriors out;
  out.mean.reserve(static_cast<size_t>(source.samples() * model.shape().latent));
  each_batch(context, source, batch_size, [&](const Tensor& x, int64_t n) {
    const Posterior q = model.encode(x);
    append(out.mean, q.mean, n);
    if (with_logvar) append(out.logvar, q.logvar, n);
  });
  return out;
}

std::vector<float> reconstructions(Context& context, RnaVae& model, BatchSource& source, int64_t batch_size) {
  std::vector<float> out;
  out.reserve(static_cast<size_t>(source.samples() * source.features()));
  each_batch(context, source, batch_size, [&](const Tensor& x, int64_t n) { append(out, model.forward(x), n); });
  return out;
}

}  // namespace panvae
