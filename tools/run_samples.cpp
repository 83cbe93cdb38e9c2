#include "tools/run_samples.h"

#include <algorithm>

#include "base/log.h"
#include "data/read.h"

namespace panvae::tools {

namespace {

constexpr int64_t kChunkBytes = int64_t{256} << 20;  // of doubles

data::ReadOptions reading(data::ReadOptions options) {
  if (options.missing == data::Missing::mean) options.missing = data::Missing::keep;  // filled with the run's training means
  return options;
}

std::span<const float> values_of(const data::RowMatrix<float>& x, int64_t row) {
  return {x.data() + row * x.cols(), static_cast<size_t>(x.cols())};
}

}  // namespace

RunSamples::RunSamples(const Run& run, const std::string& path, const data::ReadOptions& options, const std::string& input,
                       std::optional<data::UnknownBatch> unknown_batch)
    : run_(run), source_(path, reading(options)), row_of_(data::all_rows(source_.samples())), obs_(source_.obs()), path_(path), how_(input) {
  if (!run.preprocess.empty()) {
    preprocessor_ = data::Preprocessor::from(run.preprocess);
    unknown_batch_ = unknown_batch.value_or(preprocessor_->unknown_batch());
  }
  // Where the file does not say what it holds, some of its samples do.
  const int64_t at_once = std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(1, source_.features() * static_cast<int64_t>(sizeof(double))));
  const int64_t some = std::min(samples(), source_.kind().empty() ? at_once : 1);
  const data::Dataset<double> few = read(std::span(row_of_).first(static_cast<size_t>(some)));
  if (how_.empty()) {
    how_ = found_out(few);
    log::info("{} is taken as {} (--input says otherwise)", quoted(path, 200), how_);
  }
  if (how_ != "processed") {
    if (!preprocessor_)
      fail_input("the run holds no preprocessing, so it cannot take " + how_, quoted(path, 400),
                 "preprocess the samples as the training matrix was, and say --input processed");
    const bool logs = preprocessor_->input_is_log();
    if ((how_ == "log") != logs)
      fail_input(fmt::format("the run was preprocessed from {}, not from {}", logs ? "logs" : "counts", how_), quoted(path, 400),
                 "give it the same kind of input");
  } else if (!preprocessor_ && source_.var().keys != run.features) {
    fail_input("its features are not those of the run, in the same order", quoted(path, 400), "give it the features the run was trained on");
  }
  if (preprocessor_) {
    preprocessor_->check(few, how_ == "processed");
    if (how_ == "counts") leave_out_empty();
    const bool preprocessed = data::holds_preprocessing(source_.frozen());
    if (how_ == "processed" && preprocessed && !data::same_fit(source_.frozen(), run.preprocess))
      log::warning(
          "{} was preprocessed by another fit than the run's training samples: its values are on another scale, and its embedding is off; "
          "give raw counts, or preprocess them with --like RUN",
          quoted(path, 200));
    if (how_ == "processed" && !preprocessed && input.empty()) preprocessor_->refuse_other_scales(few);
  }
  as_stored_ = source_.holds_floats() && (!preprocessor_ || (how_ == "processed" && source_.var().keys == preprocessor_->features()));
  const int64_t first = 0;
  features_ = prepared(std::span(&first, samples() > 0 ? 1 : 0)).var;
}

// What preprocess wrote is recognised by its frozen steps; anything else by its numbers.
std::string RunSamples::found_out(const data::Dataset<double>& few) const {
  const std::string kind = few.kind.empty() ? data::detect_kind(few.x) : few.kind;
  if (kind == "counts") return "counts";
  if (!source_.frozen().empty() || !preprocessor_) return "processed";
  if (preprocessor_->input_is_log()) return "log";
  return kind.empty() ? "counts" : "processed";  // expected counts are fractions, and no log is that large
}

void RunSamples::leave_out_empty() {
  const std::vector<int64_t> counted = preprocessor_->counted_features(source_.var());
  std::vector<int64_t> kept, empty;
  source_.for_samples(row_of_, [&](int64_t i, const double* values) {
    const bool any = std::any_of(counted.begin(), counted.end(), [&](int64_t c) { return values[c] != 0; });
    (any ? kept : empty).push_back(i);
  });
  if (empty.empty()) return;
  if (kept.empty()) fail_input("no sample has any count in the features of the model", quoted(path_, 400), "is it the right matrix?");
  log::warning("{} sample{} without counts in the features of the model left out ({}, first {})", empty.size(), empty.size() == 1 ? "" : "s",
               quoted(path_, 200), quoted(obs_.keys[static_cast<size_t>(empty.front())]));
  row_of_ = std::move(kept);
  obs_ = source_.obs().select(row_of_);
}

std::vector<int64_t> RunSamples::in_file(std::span<const int64_t> rows) const {
  std::vector<int64_t> out;
  out.reserve(rows.size());
  for (int64_t row : rows) out.push_back(row_of_[static_cast<size_t>(row)]);
  return out;
}

data::Dataset<double> RunSamples::read(std::span<const int64_t> rows) const {
  data::Dataset<double> d;
  d.x = source_.samples_of(in_file(rows));
  d.obs = obs_.select({rows.begin(), rows.end()});
  d.var = source_.var();
  d.kind = source_.kind();
  d.path = path_;
  return d;
}

data::Dataset<double> RunSamples::prepared(std::span<const int64_t> rows) const {
  data::Dataset<double> d = read(rows);
  if (!preprocessor_) return d;
  if (how_ == "processed") preprocessor_->align(d, data::Say::errors);
  else preprocessor_->apply(d, unknown_batch_, data::Say::errors);
  return d;
}

void RunSamples::for_preprocessed(std::span<const int64_t> rows, const std::function<void(int64_t first, data::RowMatrix<float>& x)>& use) const {
  const int64_t widest = std::max(source_.features(), static_cast<int64_t>(run_.features.size()));
  const int64_t at_once = std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(1, widest * static_cast<int64_t>(sizeof(double))));
  data::RowMatrix<float> x;
  for (int64_t first = 0; first < static_cast<int64_t>(rows.size()); first += at_once) {
    const int64_t n = std::min(at_once, static_cast<int64_t>(rows.size()) - first);
    const std::span<const int64_t> some = rows.subspan(static_cast<size_t>(first), static_cast<size_t>(n));
    if (as_stored_) {
      x.resize(n, source_.features());
      source_.floats_of(in_file(some), x.data());
    } else {
      x = prepared(some).x.cast<float>();
    }
    use(first, x);
  }
}

void RunSamples::for_chunks(std::span<const int64_t> rows, const std::function<void(int64_t first, const data::RowMatrix<float>& x)>& use) const {
  for_preprocessed(rows, [&](int64_t first, data::RowMatrix<float>& x) {
    run_.scale.apply(x);
    use(first, x);
  });
}

void RunSamples::for_values(std::span<const int64_t> rows, const std::function<void(int64_t i, std::span<const float> values)>& use) const {
  for_preprocessed(rows, [&](int64_t first, data::RowMatrix<float>& x) {
    for (int64_t i = 0; i < x.rows(); ++i) use(first + i, values_of(x, i));
  });
}

data::RowMatrix<float> embedding_of(Context& context, const Run& run, const RunSamples& samples, bool canonical) {
  const int64_t latent = run.model->latent();
  data::RowMatrix<float> z(samples.samples(), latent);
  samples.for_chunks(data::all_rows(samples.samples()), [&](int64_t first, const data::RowMatrix<float>& x) {
    const Posteriors q = run.model->posteriors(context, x.data(), x.rows());
    z.middleRows(first, x.rows()) = Eigen::Map<const data::RowMatrix<float>>(q.mean.data(), x.rows(), latent);
  });
  if (canonical)
    for (int64_t r = 0; r < z.rows(); ++r) z.row(r) = ((z.row(r).cast<double>() - run.axes.center.transpose()) * run.axes.map).cast<float>();
  return z;
}

void for_reconstructions(Context& context, const Run& run, const RunSamples& samples, std::span<const int64_t> rows, const ReconstructionUse& use) {
  const size_t p = run.features.size();
  std::vector<float> decoded(p);
  samples.for_preprocessed(rows, [&](int64_t first, data::RowMatrix<float>& x) {
    data::RowMatrix<float> scaled = x;
    run.scale.apply(scaled);
    run.model->reconstruct(context, scaled.data(), scaled.rows(), [&](int64_t i, const float* values) {
      for (size_t c = 0; c < p; ++c) decoded[c] = run.scale.inverse(values[c], c);
      use(first + i, values_of(x, i), decoded);
    });
  });
}

}  // namespace panvae::tools
