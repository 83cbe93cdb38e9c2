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

RunSamples::RunSamples(const Run& run, const std::string& path, const data::ReadOptions& options, const std::string& input)
    : run_(run), source_(path, reading(options)), path_(path), how_(input) {
  const bool has_preprocessing = !run.preprocess.empty();
  if (how_.empty()) {
    // A file that preprocess wrote is recognised by its frozen steps; anything else by its numbers.
    std::string kind = source_.kind();
    if (kind.empty()) {
      const std::vector<int64_t> rows = data::all_rows(source_.samples());
      const int64_t few = std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(1, source_.features() * static_cast<int64_t>(sizeof(double))));
      kind = data::detect_kind(source_.samples_of(std::span(rows).first(static_cast<size_t>(std::min(few, samples())))));
    }
    if (!source_.frozen().empty() && kind != "counts") how_ = "processed";
    else if (kind == "counts") how_ = "counts";
    else how_ = has_preprocessing && data::Preprocessor::from(run.preprocess).input_is_log() ? "log" : "processed";
    log::info("{} is taken as {} (--input says otherwise)", quoted(path, 200), how_);
  }
  if (how_ != "processed") {
    if (!has_preprocessing)
      fail_input("the run holds no preprocessing, so it cannot take " + how_, quoted(path, 400),
                 "preprocess the samples as the training matrix was, and say --input processed");
    const bool logs = data::Preprocessor::from(run.preprocess).input_is_log();
    if ((how_ == "log") != logs)
      fail_input(fmt::format("the run was preprocessed from {}, not from {}", logs ? "logs" : "counts", how_), quoted(path, 400),
                 "give it the same kind of input");
  } else if (!has_preprocessing && source_.var().keys != run.features) {
    fail_input("its features are not those of the run, in the same order", quoted(path, 400), "give it the features the run was trained on");
  }
  as_stored_ = source_.holds_floats() &&
               (!has_preprocessing || (how_ == "processed" && source_.var().keys == data::Preprocessor::from(run.preprocess).frozen().features));
  // Also says what of the model's features is in the file.
  const int64_t first = 0;
  features_ = prepared(std::span(&first, samples() > 0 ? 1 : 0), true).var;
}

data::Dataset<double> RunSamples::prepared(std::span<const int64_t> rows, bool say_coverage) const {
  data::Dataset<double> d;
  d.x = source_.samples_of(rows);
  d.obs = source_.obs().select({rows.begin(), rows.end()});
  d.var = source_.var();
  d.kind = source_.kind();
  d.path = path_;
  if (run_.preprocess.empty()) return d;
  const data::Preprocessor p = data::Preprocessor::from(run_.preprocess);
  const data::PreprocessReport report = how_ == "processed" ? p.align(d) : p.apply(d);
  if (say_coverage && report.coverage < 1)
    log::warning("{:.1f} % of the model's features are in {}; the others take their training mean", 100 * report.coverage, quoted(path_, 200));
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
      source_.floats_of(some, x.data());
    } else {
      x = prepared(some, false).x.cast<float>();
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
