#include "data/preprocess.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/threads.h"
#include "data/large_dataset.h"
#include "data/peaks.h"
#include "data/read.h"
#include "data/variance_filter.h"

namespace panvae::data {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// No sample has so many reads, and from 2^53 on a number does not tell its neighbours apart: a fault of the file, or of who wrote it.
constexpr double kLargestCount = 1e12;

// Whether the sums of samples, empty ones aside, are those of values per million, or of another fixed total: TPM, CPM. Nobody sequences
// samples to the same thousandth.
bool sums_are_fixed(std::vector<double> sums) {
  std::erase(sums, 0.0);
  if (sums.empty()) return false;
  constexpr double kEqual = 1e-3, kMillion = 1e6;
  const auto [least, most] = std::minmax_element(sums.begin(), sums.end());
  const auto near = [](double a, double b) { return std::abs(a - b) <= kEqual * b; };
  return (near(*least, kMillion) && near(*most, kMillion)) || (sums.size() > 2 && near(*least, *most));
}

// Whether counts may have been read with their separators of thousands as decimal points: 9072, written 9.072, is a fraction of three digits
// from 1.000 on, of which most end in another digit than 0, while no whole number has more than three digits.
template <class T, class Matrix>
bool may_be_thousands(const Matrix& x) {
  const auto samples = static_cast<size_t>(x.rows());
  std::vector<int64_t> fractions(samples, 0), of_three(samples, 0);
  std::vector<uint8_t> others(samples, 0);
  over_rows(x, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < x.cols(); ++c) {
        const auto v = static_cast<double>(x(r, c)), thousand = std::round(v * 1000);
        const auto at = static_cast<size_t>(r);
        if (v == std::floor(v)) {
          others[at] |= v > 999;
          continue;
        }
        ++fractions[at];
        of_three[at] += std::fmod(thousand, 10) != 0;
        // As near as its type tells them apart.
        others[at] |= v < 1 || v >= 1000 || std::abs(v - thousand / 1000) > std::numeric_limits<T>::epsilon() * v;
      }
  });
  const auto sum = [](const std::vector<int64_t>& v) { return std::accumulate(v.begin(), v.end(), int64_t{0}); };
  return std::none_of(others.begin(), others.end(), [](uint8_t o) { return o != 0; }) && 2 * sum(of_three) > sum(fractions);
}

template <class T, class Matrix>
void check_counts(const Dataset<T, Matrix>& data, Say say) {
  const int64_t n = data.samples(), g = data.features();
  const std::string kind = data.kind.empty() ? detect_kind(data.x) : data.kind;
  // Of each sample the first value that is no count at all, the first that is a fraction, and how many are; and its sum.
  const auto samples = static_cast<size_t>(n);
  std::vector<int64_t> first(samples, -1), fraction(samples, -1), fractions(samples, 0);
  std::vector<double> sums(samples, 0);
  over_rows(data.x, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < g && first[static_cast<size_t>(r)] < 0; ++c) {
        const T v = data.x(r, c);
        sum += static_cast<double>(v);
        if (!(v >= 0 && v <= T(kLargestCount))) first[static_cast<size_t>(r)] = c;
        else if (v != std::floor(v) && fractions[static_cast<size_t>(r)]++ == 0) fraction[static_cast<size_t>(r)] = c;
      }
      sums[static_cast<size_t>(r)] = sum;
    }
  });
  const auto place = [&](int64_t r, int64_t c) {
    return fmt::format("{}, sample {}, feature {}", quoted(data.path, 400), quoted(data.obs.keys[static_cast<size_t>(r)]),
                       quoted(data.var.keys[static_cast<size_t>(c)]));
  };
  for (int64_t r = 0; r < n; ++r)
    if (const int64_t c = first[static_cast<size_t>(r)]; c >= 0) {
      const T v = data.x(r, c);
      fail_input(std::isnan(v) ? std::string("a missing count")
                 : v < 0       ? fmt::format("a negative count, {}", v)
                               : fmt::format("a count of {}, more than any sequencing gives", v),
                 place(r, c), "counts are whole numbers from 0; for log values say --input log");
    }
  const int64_t r = std::find_if(fraction.begin(), fraction.end(), [](int64_t c) { return c >= 0; }) - fraction.begin();
  const std::string where = r < n ? place(r, fraction[static_cast<size_t>(r)]) : quoted(data.path, 400);
  const std::string example = r < n ? fmt::format(", {} for instance", data.x(r, fraction[static_cast<size_t>(r)])) : "";
  std::string meant;
  if (r < n && may_be_thousands<T>(data.x)) {
    const auto v = static_cast<double>(data.x(r, fraction[static_cast<size_t>(r)]));
    meant = fmt::format("{:.3f} may mean {:.0f}, written with a separator of thousands", v, 1000 * v);
  }
  if (kind == "log" || kind == "z" || kind == "embedding")
    fail_input((kind == "log" ? "the values look like logs, not counts" : fmt::format("the values are of kind {}, not counts", kind)) + example, where,
               !meant.empty()                 ? meant + ": write counts without these, or say --input log"
               : data.path.ends_with(".h5ad") ? "start from raw counts (in FILE.h5ad:layers/counts or FILE.h5ad:raw/X?), or say --input log"
                                              : "start from raw counts, or say --input log");
  // Expected counts (RSEM, salmon) are fractions; normalised values are too, and where a part of the features is left, only their owner knows.
  const bool fixed = sums_are_fixed(sums);
  if (r == n) {
    if (fixed && say == Say::all)
      log::warning("the counts of every sample of {} add up to {:.6g}: are they rounded TPM or CPM? Whole numbers are taken as counts", quoted(data.path, 200),
                   *std::max_element(sums.begin(), sums.end()));
    return;
  }
  if (fixed)
    fail_input(fmt::format("the values of every sample add up to {:.6g}: they are normalised (TPM, CPM), not counts{}", sums[static_cast<size_t>(r)], example),
               where, "start from raw or expected counts, or take their logs and say --input log");
  if (data.kind == "counts" || say == Say::errors) return;  // said before
  if (!meant.empty()) {
    log::warning(
        "{}: none of the counts is above 999, and all that are no whole numbers have three digits behind the point, as if it separated "
        "thousands: {}. Taken as fractions ({}): if they are none, write the counts without separators",
        quoted(data.path, 400), meant, where);
    return;
  }
  log::warning("{} of the counts are fractions{} ({}): taken as expected counts; normalised values would be wrong here",
               std::accumulate(fractions.begin(), fractions.end(), int64_t{0}), example, where);
}

// Sum of each row over `columns` (-1: absent) in their order, NaN left out.
template <class Matrix>
std::vector<double> row_sums(const Matrix& x, const std::vector<int64_t>& columns) {
  std::vector<double> sums(static_cast<size_t>(x.rows()), 0);
  over_rows(x, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      double s = 0;
      for (int64_t c : columns)
        if (c >= 0) s += static_cast<double>(x(r, c));
      sums[static_cast<size_t>(r)] = s;
    }
  });
  return sums;
}

// Mean of each column over `rows`, NaN left out; NaN where nothing is left.
template <class Matrix, class Weight>
std::vector<double> column_means(const Matrix& x, const std::vector<int64_t>& rows, Weight&& weight) {
  std::vector<double> means(static_cast<size_t>(x.cols()), 0);
  over_columns(x, 512, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> count(static_cast<size_t>(end - begin), 0);
    for (int64_t r : rows) {
      const double w = weight(r);
      for (int64_t c = begin; c < end; ++c) {
        const auto v = static_cast<double>(x(r, c));
        if (std::isnan(v)) continue;
        means[static_cast<size_t>(c)] += v * w;
        ++count[static_cast<size_t>(c - begin)];
      }
    }
    for (int64_t c = begin; c < end; ++c) {
      const int64_t k = count[static_cast<size_t>(c - begin)];
      means[static_cast<size_t>(c)] = k ? means[static_cast<size_t>(c)] / static_cast<double>(k) : nan;
    }
  });
  return means;
}

template <class Matrix>
void fill_rows(Matrix& x, const std::vector<double>& means) {
  over_rows(x, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < x.cols(); ++c)
        if (std::isnan(x(r, c))) x(r, c) = static_cast<typename Matrix::Scalar>(means[static_cast<size_t>(c)]);
  });
}

NamedArray vector_array(std::vector<double> values) {
  return {{static_cast<int64_t>(values.size())}, std::move(values)};
}

struct Spread {
  double mean = 0, deviation = 0;
};
Spread spread_of(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  if (values.empty()) return {};
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (double v : values) squares += (v - mean) * (v - mean);
  return {mean, std::sqrt(squares / n)};
}

// Ensembl writes the version of a gene behind a point.
std::string without_version(const std::string& name) {
  const size_t point = name.rfind('.');
  const bool version =
      name.starts_with("ENS") && point != std::string::npos && point + 1 < name.size() && name.find_first_not_of("0123456789", point + 1) == std::string::npos;
  return version ? name.substr(0, point) : name;
}

// Less than half of `features` are in `var`, where they stand at `columns` (-1: absent). The names shown are of those that were not found.
[[noreturn]] void fail_coverage(const std::vector<std::string>& features, const std::vector<int64_t>& columns, int64_t found, const Table& var,
                                const std::string& path) {
  const auto absent = static_cast<size_t>(std::find(columns.begin(), columns.end(), -1) - columns.begin());
  std::set<std::string> names, unversioned;
  for (const std::string& name : features) names.insert(name), unversioned.insert(without_version(name));
  std::string other;
  int64_t alike = 0;
  for (const std::string& name : var.keys) {
    if (other.empty() && !names.contains(name)) other = name;
    alike += unversioned.contains(without_version(name));
  }
  std::string where = quoted(path, 400);
  if (!other.empty()) where += fmt::format(", features such as {} where the model has {}", quoted(other), quoted(features[absent]));
  else where += fmt::format(", {} features; absent are {} and others", var.rows(), quoted(features[absent]));
  fail_input(fmt::format("only {} of {} features of the model are in the data", found, features.size()), where,
             2 * alike >= static_cast<int64_t>(features.size())
                 ? "versions of Ensembl identifiers (the numbers behind the point) keep them apart: rename the features as the model names them"
                 : "rename the features as the model names them (same annotation, same identifiers)");
}

}  // namespace

template <class T, class Matrix>
void Preprocessor::drop_empty(Dataset<T, Matrix>& data, PreprocessReport& report) {
  check_counts(data, Say::all);
  data.kind = "counts";
  const int64_t n = data.samples(), g = data.features();
  std::vector<uint8_t> seen(static_cast<size_t>(g), 0);
  over_columns(data.x, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < n; ++r)
      for (int64_t c = begin; c < end; ++c) seen[static_cast<size_t>(c)] |= data.x(r, c) > 0;
  });
  std::vector<int64_t> columns;
  for (int64_t c = 0; c < g; ++c)
    if (seen[static_cast<size_t>(c)]) columns.push_back(c);
  const std::vector<double> sums = row_sums(data.x, columns);
  std::vector<int64_t> rows;
  for (int64_t r = 0; r < n; ++r)
    if (sums[static_cast<size_t>(r)] > 0) rows.push_back(r);
  if (rows.empty()) fail_input("no sample has any count", quoted(data.path, 400), "is it the right matrix?");
  if (static_cast<int64_t>(rows.size()) < n) {
    report.dropped_samples += n - static_cast<int64_t>(rows.size());
    log::warning("{} samples without counts dropped", n - static_cast<int64_t>(rows.size()));
    select_samples(data, rows);
  }
  if (static_cast<int64_t>(columns.size()) < g) {
    report.dropped_features_zero += g - static_cast<int64_t>(columns.size());
    log::info("{} features dropped that are zero in every sample", g - static_cast<int64_t>(columns.size()));
    select_features(data, columns);
  }
}
template void Preprocessor::drop_empty(Dataset<float>&, PreprocessReport&);
template void Preprocessor::drop_empty(Dataset<double>&, PreprocessReport&);
template void Preprocessor::drop_empty(LargeDataset<float>&, PreprocessReport&);

template <class T, class Matrix>
PreprocessReport Preprocessor::fit(Dataset<T, Matrix>& data, const PreprocessOptions& options) {
  PreprocessReport report;
  if (!(options.prior_count > 0) || !std::isfinite(options.prior_count)) fail_usage("the prior count must be above 0", "--prior-count", "2 is edgeR's");
  if (options.input_is_log && options.tmm) fail_usage("TMM factors need counts", "--tmm", "leave it out with --input log");
  if (options.input_is_log && data.kind == "counts") log::warning("the values look like counts, but are taken as logs (--input log)");
  // Scores of accessibility lie nowhere; counts are of peaks.
  if (options.modality == "atac" && (!options.input_is_log || has_positions(data.var))) sort_peaks(data);
  if (!options.input_is_log) drop_empty(data, report);
  const std::vector<int64_t> rows = options.fit_on_all ? all_rows(data.samples()) : training_rows(data.obs);
  if (rows.size() < 2)
    fail_input(fmt::format("{} training sample{}, at least 2 are needed", rows.size(), rows.size() == 1 ? "" : "s"), quoted(data.path, 400),
               "fit on more samples, hold out fewer, or apply a fit that exists with --like");
  report.training_samples = static_cast<int64_t>(rows.size());
  fit_steps(data, rows, options, report);
  data.frozen = frozen_;
  data.kind = "log";
  return report;
}
template PreprocessReport Preprocessor::fit(Dataset<float>&, const PreprocessOptions&);
template PreprocessReport Preprocessor::fit(Dataset<double>&, const PreprocessOptions&);
template PreprocessReport Preprocessor::fit(LargeDataset<float>&, const PreprocessOptions&);

template <class T, class Matrix>
void Preprocessor::fit_steps(Dataset<T, Matrix>& data, const std::vector<int64_t>& rows, const PreprocessOptions& options, PreprocessReport& report) {
  const int64_t n = data.samples(), all = data.features();
  const bool counts = !options.input_is_log;
  *this = Preprocessor();
  Json& settings = frozen_.settings;
  settings["format"] = 1;
  settings["modality"] = options.modality;
  settings["input"] = counts ? "counts" : "log";
  settings["var_filter"] = options.variance.text();
  settings["fit_on"] = options.fit_on_all ? "all" : "train";
  settings["training_samples"] = rows.size();
  settings["quantile"] = options.quantile;
  settings["unknown_batch"] = options.unknown_batch == UnknownBatch::error ? "error" : "zero";

  // Library sizes over all features of step 1, those included that the variance filter drops.
  std::vector<double> library(static_cast<size_t>(n), 0);
  std::vector<double> share;
  if (counts) {
    library = row_sums(data.x, all_rows(all));
    share = column_means(data.x, rows, [&](int64_t r) { return 1 / library[static_cast<size_t>(r)]; });
    if (options.tmm) {
      tmm_on_ = true;
      tmm_ = fit_tmm(data.x, library, rows);
      report.tmm_factors.resize(static_cast<size_t>(n));
      over_rows(data.x, 4, [&](int64_t begin, int64_t end) {
        std::vector<double> row(static_cast<size_t>(all));
        for (int64_t r = begin; r < end; ++r) {
          std::copy(data.x.data() + r * all, data.x.data() + (r + 1) * all, row.begin());
          report.tmm_factors[static_cast<size_t>(r)] = tmm_.factor(row.data(), library[static_cast<size_t>(r)]);
        }
      });
      for (int64_t r = 0; r < n; ++r) library[static_cast<size_t>(r)] *= report.tmm_factors[static_cast<size_t>(r)];
      settings["tmm_reference_library"] = tmm_.reference_library;
      settings["tmm_scale"] = tmm_.scale;
    }
    log_cpm_.prior_count = options.prior_count;
    double sum = 0;
    for (int64_t r : rows) sum += library[static_cast<size_t>(r)];
    log_cpm_.mean_library = sum / static_cast<double>(rows.size());
    settings["prior_count"] = options.prior_count;
    settings["tmm"] = options.tmm;
    settings["mean_library"] = log_cpm_.mean_library;
  }

  // Row r as logs, whatever the input, before quantile normalisation.
  auto log_row = [&](int64_t r, double* out) {
    const int64_t g = data.features();
    const T* row = data.x.data() + r * g;
    if (counts) log_cpm_.row(row, g, library[static_cast<size_t>(r)], out);
    else std::copy(row, row + g, out);
    release_rows(data.x, r, r + 1);
  };
  const std::vector<bool> keep = variable_features(data.x, rows, options.variance, log_row);
  std::vector<int64_t> kept, dropped;
  for (int64_t c = 0; c < all; ++c) (keep[static_cast<size_t>(c)] ? kept : dropped).push_back(c);
  if (kept.empty())
    fail_input("no feature is left after the variance filter", quoted(data.path, 400),
               fmt::format("a milder one than {}, or --var-filter none", options.variance.text()));
  report.dropped_features_variance = static_cast<int64_t>(dropped.size());
  if (!dropped.empty()) log::info("{} features dropped that hardly vary over the training samples ({})", dropped.size(), options.variance.text());
  if (counts) {
    // In the order kept, dropped: what a new sample's library size and TMM factor are computed over.
    auto reorder = [&](const std::vector<double>& v) {
      std::vector<double> out;
      for (int64_t c : kept) out.push_back(v[static_cast<size_t>(c)]);
      for (int64_t c : dropped) out.push_back(v[static_cast<size_t>(c)]);
      return out;
    };
    frozen_.arrays["library_share"] = vector_array(reorder(share));
    if (tmm_on_) frozen_.arrays["tmm_reference"] = vector_array(tmm_.reference = reorder(tmm_.reference));
    Json others = Json::array();
    for (int64_t c : dropped) others.push_back(data.var.keys[static_cast<size_t>(c)]);
    settings["other_features"] = std::move(others);
  }
  if (!dropped.empty()) select_features(data, kept);
  frozen_.features = data.var.keys;
  if (options.modality == "atac" && has_positions(data.var)) store_peaks(frozen_, peaks_of(data.var, data.path));
  const int64_t g = data.features();

  if (options.quantile) {
    reference_ = QuantileReference::fit(static_cast<int64_t>(rows.size()), g, [&](int64_t i, double* out) { log_row(rows[static_cast<size_t>(i)], out); });
    frozen_.arrays["quantile_reference"] = vector_array(reference_.quantiles());
  }
  over_rows(data.x, 4, [&](int64_t begin, int64_t end) {
    std::vector<double> values(static_cast<size_t>(g));
    for (int64_t r = begin; r < end; ++r) {
      log_row(r, values.data());
      if (options.quantile) reference_.map(values.data());
      std::copy(values.begin(), values.end(), data.x.data() + r * g);
    }
  });

  // Where a gene that a new sample lacks would stand among its others.
  frozen_.arrays["quantile_mean"] = vector_array(column_means(data.x, rows, [](int64_t) { return 1.0; }));

  if (options.batch && (!options.batch_keys.empty() || !options.covariates.empty())) {
    effects_ = BatchEffects(data.obs, rows, options.batch_keys, options.covariates);
    if (!effects_.empty()) {
      effects_.fit(data.x, data.obs, rows, options.preserve);
      report.aliased = effects_.aliased();
      int64_t missing = 0;
      const Eigen::MatrixXd encoded = effects_.encode(data.obs, options.unknown_batch, missing);
      if (missing > 0) log::info("{} missing values of batch or covariate columns: means, or a level of their own", missing);
      over_rows(data.x, 16, [&](int64_t begin, int64_t end) {
        std::vector<double> values(static_cast<size_t>(g));
        for (int64_t r = begin; r < end; ++r) {
          std::copy(data.x.data() + r * g, data.x.data() + (r + 1) * g, values.begin());
          effects_.subtract(encoded, r, values.data());
          std::copy(values.begin(), values.end(), data.x.data() + r * g);
        }
      });
      settings["batch"] = effects_.settings();
      settings["batch"]["preserve"] = options.preserve;
      const RowMatrix<double>& b = effects_.coefficients();
      frozen_.arrays["batch_coefficients"] = {{b.rows(), b.cols()}, std::vector<double>(b.data(), b.data() + b.size())};
    }
  }
  std::vector<double> means = column_means(data.x, rows, [](int64_t) { return 1.0; });
  for (int64_t c = 0; c < g; ++c)
    if (std::isnan(means[static_cast<size_t>(c)]))
      fail_input("a feature without a value in the training samples",
                 fmt::format("{}, feature {}", quoted(data.path, 400), quoted(data.var.keys[static_cast<size_t>(c)])), "take it out of the file");
  if (!counts) fill_rows(data.x, means);
  frozen_.arrays["feature_mean"] = vector_array(std::move(means));
}

std::vector<int64_t> Preprocessor::match(const Table& var, const std::vector<std::string>& names) {
  const auto column_of = var.row_of();
  std::vector<int64_t> columns;
  columns.reserve(names.size());
  for (const std::string& name : names) {
    const auto at = column_of.find(name);
    columns.push_back(at == column_of.end() ? -1 : at->second);
  }
  return columns;
}

double Preprocessor::checked_coverage(const std::vector<int64_t>& columns, const Table& var, const std::string& path, Say say) const {
  const auto found = static_cast<int64_t>(columns.size()) - std::count(columns.begin(), columns.end(), -1);
  const double coverage = static_cast<double>(found) / static_cast<double>(columns.size());
  if (2 * found < static_cast<int64_t>(columns.size())) fail_coverage(frozen_.features, columns, found, var, path);
  if (say == Say::all && found < static_cast<int64_t>(columns.size()))
    log::warning("{} of {} features of the model are in the data ({:.1f} %); the others take their training means", found, columns.size(), 100 * coverage);
  return coverage;
}

Table Preprocessor::feature_table(const std::string& key_name) const {
  Table var;
  var.key_name = key_name;
  var.keys = frozen_.features;
  if (const Peaks peaks = stored_peaks(frozen_); peaks.size() > 0) set_peak_columns(var, peaks);
  return var;
}

std::vector<int64_t> Preprocessor::measured(const Table& var) const {
  std::vector<int64_t> columns = match(var, frozen_.features);
  if (!input_is_log()) {
    const std::vector<int64_t> others = match(var, frozen_.settings.at("other_features").get<std::vector<std::string>>());
    columns.insert(columns.end(), others.begin(), others.end());
  }
  return columns;
}

std::vector<int64_t> Preprocessor::counted_features(const Table& var) const {
  std::vector<int64_t> columns = measured(var);
  std::erase(columns, -1);
  return columns;
}

void Preprocessor::check(const Dataset<double>& data, bool processed) const {
  if (!processed && !input_is_log()) check_counts(data, Say::all);
  checked_coverage(match(data.var, frozen_.features), data.var, data.path, Say::all);
}

void Preprocessor::refuse_other_scales(const Dataset<double>& data) const {
  if (reference_.features() == 0) return;
  // After the quantile step all samples have the values of the reference; ties and features that are absent change little of their
  // mean and spread. Removing the effects of batches of few samples adds spread (1.26 times that of the reference, on simulated peaks).
  constexpr double kTolerance = 0.25;
  const double widest = effects_.empty() ? 1 + kTolerance : 1.5;
  std::vector<int64_t> columns = match(data.var, frozen_.features);
  std::vector<double> usual;
  for (size_t c = 0; c < columns.size(); ++c)
    if (columns[c] >= 0) usual.push_back(feature_mean()[c]);
  std::erase(columns, -1);
  const Spread all = spread_of(feature_mean()), present = spread_of(usual), reference = spread_of(reference_.quantiles());
  const double mean = present.mean, deviation = all.deviation > 0 ? reference.deviation * present.deviation / all.deviation : reference.deviation;
  for (int64_t r = 0; r < data.samples(); ++r) {
    std::vector<double> values;
    for (int64_t c : columns)
      if (!std::isnan(data.x(r, c))) values.push_back(data.x(r, c));
    const Spread sample = spread_of(values);
    const bool as_wide = sample.deviation >= (1 - kTolerance) * deviation && sample.deviation <= widest * deviation;
    if (std::abs(sample.mean - mean) <= kTolerance * deviation && as_wide) continue;
    fail_input(fmt::format("the values are neither counts nor on the scale of the preprocessed training samples: mean {:.4g}, standard deviation {:.4g} "
                           "over the features, where {:.4g} and {:.4g} are expected",
                           sample.mean, sample.deviation, mean, deviation),
               fmt::format("{}, sample {}", quoted(data.path, 400), quoted(data.obs.keys[static_cast<size_t>(r)])),
               "start from raw or expected counts; values that were preprocessed elsewhere in the very same way are taken with --input processed");
  }
}

template <class T, class Matrix>
PreprocessReport Preprocessor::apply(Dataset<T, Matrix>& data, UnknownBatch unknown, Say say) const {
  PreprocessReport report;
  const auto g = static_cast<int64_t>(frozen_.features.size());
  PV_CHECK(g > 0, "preprocess: not fitted");
  const bool counts = !input_is_log();
  if (counts) check_counts(data, say);
  const std::vector<int64_t> measured = this->measured(data.var);  // kept, then others: the features of library sizes
  const std::vector<int64_t> columns(measured.begin(), measured.begin() + g);
  report.coverage = checked_coverage(columns, data.var, data.path, say);
  std::vector<double> library(static_cast<size_t>(data.samples()), 0);
  if (counts) {
    library = row_sums(data.x, measured);
    std::vector<int64_t> rows;
    for (int64_t r = 0; r < data.samples(); ++r)
      if (library[static_cast<size_t>(r)] > 0) rows.push_back(r);
    if (rows.empty()) fail_input("no sample has any count in the features of the model", quoted(data.path, 400), "is it the right matrix?");
    if (static_cast<int64_t>(rows.size()) < data.samples()) {
      report.dropped_samples = data.samples() - static_cast<int64_t>(rows.size());
      log::warning("{} samples without counts dropped", report.dropped_samples);
      select_samples(data, rows);
      library = row_sums(data.x, measured);
    }
    // The share of a library that the missing features hold on average is added, so that a sample keeps its scale.
    const std::vector<double>& share = frozen_.arrays.at("library_share").values;
    double present = 0, total = 0;
    for (size_t i = 0; i < share.size(); ++i) {
      total += share[i];
      if (measured[i] >= 0) present += share[i];
    }
    if (present < total && present > 0)
      for (double& l : library) l *= total / present;
  }
  int64_t missing = 0;
  const Eigen::MatrixXd encoded = effects_.empty() ? Eigen::MatrixXd() : effects_.encode(data.obs, unknown, missing);
  if (missing > 0) log::info("{} missing values of batch or covariate columns: means, or a level of their own", missing);
  const std::vector<double>& means = feature_mean();
  const std::vector<double>& usual = frozen_.arrays.at("quantile_mean").values;
  std::vector<int64_t> absent;
  for (int64_t c = 0; c < g; ++c)
    if (columns[static_cast<size_t>(c)] < 0) absent.push_back(c);
  Matrix out = matrix_like(data.x, data.samples(), g);
  over_rows(out, 4, [&](int64_t begin, int64_t end) {
    std::vector<double> row(measured.size()), values(static_cast<size_t>(g));
    for (int64_t r = begin; r < end; ++r) {
      for (size_t i = 0; i < measured.size(); ++i) row[i] = measured[i] < 0 ? nan : static_cast<double>(data.x(r, measured[i]));
      release_rows(data.x, r, r + 1);
      if (counts) {
        const double l = library[static_cast<size_t>(r)];
        log_cpm_.row(row.data(), g, tmm_on_ ? l * tmm_.factor(row.data(), l) : l, values.data());
      } else {
        std::copy(row.begin(), row.begin() + g, values.begin());
      }
      // Absent genes stand in at their usual value while the others are ranked; else every rank would shift.
      for (int64_t c : absent) values[static_cast<size_t>(c)] = usual[static_cast<size_t>(c)];
      if (reference_.features() > 0) reference_.map(values.data());
      if (!effects_.empty()) effects_.subtract(encoded, r, values.data());
      for (int64_t c : absent) values[static_cast<size_t>(c)] = nan;
      for (int64_t c = 0; c < g; ++c)
        out(r, c) = static_cast<T>(std::isnan(values[static_cast<size_t>(c)]) ? means[static_cast<size_t>(c)] : values[static_cast<size_t>(c)]);
    }
  });
  data.x = std::move(out);
  data.var = feature_table(data.var.key_name);
  data.frozen = frozen_;
  data.kind = "log";
  return report;
}
template PreprocessReport Preprocessor::apply(Dataset<float>&, UnknownBatch, Say) const;
template PreprocessReport Preprocessor::apply(Dataset<double>&, UnknownBatch, Say) const;
template PreprocessReport Preprocessor::apply(LargeDataset<float>&, UnknownBatch, Say) const;

template <class T>
PreprocessReport Preprocessor::align(Dataset<T>& data, Say say) const {
  PreprocessReport report;
  const std::vector<int64_t> columns = match(data.var, frozen_.features);
  report.coverage = checked_coverage(columns, data.var, data.path, say);
  if (data.var.keys != frozen_.features) {
    const std::vector<double>& means = feature_mean();
    RowMatrix<T> out(data.samples(), static_cast<int64_t>(columns.size()));
    for (int64_t r = 0; r < out.rows(); ++r)
      for (int64_t c = 0; c < out.cols(); ++c)
        out(r, c) = columns[static_cast<size_t>(c)] < 0 ? static_cast<T>(means[static_cast<size_t>(c)]) : data.x(r, columns[static_cast<size_t>(c)]);
    data.x = std::move(out);
    data.var = feature_table(data.var.key_name);
  }
  fill_rows(data.x, feature_mean());
  data.kind = "log";
  return report;
}
template PreprocessReport Preprocessor::align(Dataset<float>&, Say) const;
template PreprocessReport Preprocessor::align(Dataset<double>&, Say) const;

}  // namespace panvae::data
