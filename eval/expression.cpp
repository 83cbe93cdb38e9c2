#include "eval/expression.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/threads.h"
#include "data/peaks.h"
#include "data/read.h"
#include "eval/expression_parts.h"
#include "eval/spearman.h"
#include "eval/warnings.h"

namespace panvae::eval {

namespace {

using Matrix = data::RowMatrix<double>;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Where each feature of `observed` stands in `reconstructed`; empty where they stand alike.
std::vector<int64_t> match_features(const data::SampleSource& observed, const data::SampleSource& reconstructed) {
  const auto refuse = [](const data::SampleSource& has, const data::SampleSource& lacks, const auto& row_of) {
    int64_t missing = 0;
    std::string first;
    for (const std::string& name : has.var().keys)
      if (!row_of.count(name) && missing++ == 0) first = name;
    if (missing)
      fail_input(fmt::format("{} of {} features are not in the other matrix", missing, has.features()),
                 fmt::format("feature {} of {} is not in {}", panvae::quoted(first), panvae::quoted(has.path(), 400), panvae::quoted(lacks.path(), 400)),
                 "compare matrices of the same features: a reconstruction has those of the preprocessed matrix it is made from");
  };
  if (observed.var().keys == reconstructed.var().keys) return {};
  const auto row_of = reconstructed.var().row_of();
  refuse(observed, reconstructed, row_of);
  if (reconstructed.features() > observed.features()) refuse(reconstructed, observed, observed.var().row_of());
  std::vector<int64_t> column;
  for (const std::string& name : observed.var().keys) column.push_back(row_of.at(name));
  return column;
}

void refuse_counts(const data::SampleSource& source, const Matrix& x, std::vector<std::string>& warnings) {
  const std::string kind = source.kind().empty() && data::detect_kind(x) == "counts" ? "counts" : source.kind();
  if (kind == "counts" || kind == "embedding")
    fail_input(kind == "counts" ? "the values look like counts, and fold changes need log2 values" : "an embedding has no values of features",
               panvae::quoted(source.path(), 400),
               kind == "counts" ? "compare the output of 'panvae preprocess' with that of 'panvae reconstruct'" : "name the reconstructed values");
  if (kind == "z")
    warnings.push_back(fmt::format("the values of {} are standardised: fold changes are in standard deviations, not log2", panvae::quoted(source.path(), 400)));
}

// Features [first, first + count) of the samples, in the order of `rows`; feature j is column[j] of the source, j where
// `column` is empty.
Matrix load(const data::SampleSource& source, const std::vector<int64_t>& rows, const std::vector<int64_t>& column, int64_t first, int64_t count) {
  Matrix x(static_cast<int64_t>(rows.size()), count);
  source.for_samples(rows, [&](int64_t i, const double* values) {
    double* to = x.data() + i * count;
    if (column.empty()) std::copy(values + first, values + first + count, to);
    else
      for (int64_t j = 0; j < count; ++j) to[j] = values[column[static_cast<size_t>(first + j)]];
  });
  return x;
}

// Spearman of each column of a with that of b, appended to `out`. Columns are turned into rows in tiles, since walking down
// a column of half a million features touches a page of memory for each value.
void column_correlations(const Matrix& a, const Matrix& b, std::vector<double>& out) {
  const int64_t n = a.rows(), g = a.cols();
  const size_t before = out.size();
  out.resize(before + static_cast<size_t>(g), kNaN);
  constexpr int64_t kTile = 64, kSlice = kTile * 256;
  for (int64_t slice = 0; slice < g; slice += kSlice) {
    throw_if_interrupted();
    parallel_chunks(std::min(kSlice, g - slice), kTile, [&](int64_t begin, int64_t end) {
      const int64_t first = slice + begin, count = end - begin;
      std::vector<double> x(static_cast<size_t>(count * n)), y(x.size());
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < count; ++j) {
          x[static_cast<size_t>(j * n + i)] = a(i, first + j);
          y[static_cast<size_t>(j * n + i)] = b(i, first + j);
        }
      const auto constant = [n](const double* v) { return std::all_of(v, v + n, [v](double w) { return w == v[0]; }); };
      for (int64_t j = 0; j < count; ++j) {
        const std::span<const double> u(x.data() + j * n, static_cast<size_t>(n)), v(y.data() + j * n, static_cast<size_t>(n));
        if (!constant(u.data()) && !constant(v.data())) out[before + static_cast<size_t>(first + j)] = spearman(u, v);
      }
    });
  }
}

double mean_of_defined(const std::vector<double>& values, int64_t& undefined) {
  double sum = 0;
  undefined = 0;
  for (double v : values) {
    if (std::isnan(v)) ++undefined;
    else sum += v;
  }
  const auto defined = static_cast<int64_t>(values.size()) - undefined;
  return defined ? sum / static_cast<double>(defined) : kNaN;
}

// A row of the result from its moments and correlations.
void finish(ExpressionRow& row, const PairMoments& m, const ExpressionOptions& options) {
  row.test = run_test(options.test, m);
  row.count = count_de(row.test, options.lfc, options.fdr);
  row.spearman_per_sample_mean = mean_of_defined(row.spearman_per_sample, row.undefined_samples);
  row.spearman_per_feature_mean = mean_of_defined(row.spearman_per_feature, row.undefined_features);
  double residual = 0, total = 0;
  for (size_t i = 0; i < m.a.mean.size(); ++i) {
    residual += m.difference.m2[i] + static_cast<double>(m.difference.n) * m.difference.mean[i] * m.difference.mean[i];
    total += m.a.m2[i];
  }
  row.r2 = total > 0 ? 1 - residual / total : kNaN;
}

// What is predicted for each evaluated sample without any model: the mean of its cohort, of all samples where it has none.
struct CohortMeans {
  Matrix mean;                    // [cohorts, features]
  std::vector<int64_t> class_of;  // [evaluated samples]
  std::string from;
};
CohortMeans cohort_means(const data::SampleSource& observed, const std::vector<int64_t>& rows, ExpressionResult& result) {
  const data::Table& obs = observed.obs();
  const data::Column* cohort = obs.find("cohort");
  const auto name = [&](int64_t row) { return cohort ? cohort->text(row) : std::string(); };
  std::map<std::string, int64_t> code;
  for (int64_t row : rows) code.emplace(name(row), 0);
  int64_t next = 0;
  for (auto& [text, c] : code) c = next++;
  CohortMeans out;
  for (int64_t row : rows) out.class_of.push_back(code.at(name(row)));
  result.cohorts = next;

  std::vector<std::vector<int64_t>> members(static_cast<size_t>(next));
  const auto unknown = code.find("");
  const auto give = [&](const std::vector<int64_t>& from) {
    for (int64_t row : from) {
      const std::string text = name(row);
      if (const auto at = code.find(text); at != code.end() && at != unknown) members[static_cast<size_t>(at->second)].push_back(row);
      if (unknown != code.end()) members[static_cast<size_t>(unknown->second)].push_back(row);
    }
  };
  out.from = "train";
  if (obs.find("split")) give(data::rows_of_split(obs, "train"));
  int64_t without = 0;
  std::string example;
  for (const auto& [text, c] : code)
    if (members[static_cast<size_t>(c)].empty() && without++ == 0) example = text;
  if (without) {
    // Half of the rows from here and half from there would be neither: all take their own mean.
    out.from = "evaluated";
    for (auto& m : members) m.clear();
    give(rows);
    result.warnings.push_back(fmt::format(
        "{}: the cohort-mean row predicts the mean of the evaluated samples themselves, which a model cannot know",
        obs.find("split") ? fmt::format("{} cohorts have no training samples{}", without, example.empty() ? "" : fmt::format(" ({})", panvae::quoted(example)))
                          : "there is no split"));
  }
  out.mean.resize(next, observed.features());
  const int64_t step = samples_at_once(observed.features());
  for (int64_t c = 0; c < next; ++c) {
    auto& of_cohort = members[static_cast<size_t>(c)];
    sort_by_name(of_cohort, obs);
    Moments m(observed.features());
    for (size_t first = 0; first < of_cohort.size(); first += static_cast<size_t>(step))
      m.add(observed.samples_of(std::span(of_cohort).subspan(first, std::min(static_cast<size_t>(step), of_cohort.size() - first))));
    out.mean.row(c) = Eigen::Map<const Eigen::RowVectorXd>(m.mean.data(), observed.features());
  }
  return out;
}

std::vector<int64_t> evaluated_rows(const data::SampleSource& observed, const ExpressionOptions& options, ExpressionResult& r) {
  const data::Table& obs = observed.obs();
  const Selection selection = select_evaluated(obs, options.on);
  r.on = selection.name();
  std::vector<int64_t> rows = selection.rows;
  if (!options.cohort.empty()) {
    const data::Column& cohort = obs.at("cohort");
    std::erase_if(rows, [&](int64_t row) { return cohort.text(row) != options.cohort; });
    if (rows.empty()) {
      std::set<std::string> names;
      for (int64_t row : selection.rows)
        if (!cohort.missing(row)) names.insert(cohort.text(row));
      std::string known;
      int64_t listed = 0;
      for (const std::string& name : names)
        if (listed++ < 40) known += (known.empty() ? "" : ", ") + name;
      fail_input(fmt::format("no evaluated sample is of cohort {}", panvae::quoted(options.cohort)),
                 fmt::format("{} samples ({})", selection.rows.size(), r.on), known.empty() ? "check the column cohort" : fmt::format("there are {}", known));
    }
  }
  if (rows.size() < 2)
    fail_input("a test needs at least two samples",
               fmt::format("{} samples evaluated ({}){}", rows.size(), r.on, options.cohort.empty() ? "" : ", --cohort " + options.cohort),
               "use --on all, or another cohort");
  sort_by_name(rows, obs);
  return rows;
}

void add_warnings(ExpressionResult& r) {
  const ModalityWords w = words_of(r.modality);
  const std::string features = w.features, feature = features.substr(0, features.size() - 1);
  if (r.n < 10) r.warnings.push_back(fmt::format("{} samples: a test of so few finds little, so few {} {} say little", r.n, w.differential, features));
  if (r.donors < r.n) r.warnings.push_back(fmt::format("{} samples are of {} donors: the test takes replicates of a donor for independent", r.n, r.donors));
  const DifferenceTest& t = r.reconstruction.test;
  if (t.untestable)
    r.warnings.push_back(fmt::format("{} {} have neither a difference nor a variance: they are not tested and not counted by FDR", t.untestable, features));
  else if (t.without_variance) r.warnings.push_back(fmt::format("{} {} have differences without any variance", t.without_variance, features));
  if (r.reconstruction.undefined_features)
    r.warnings.push_back(fmt::format("{} {} are constant over the samples in one of the matrices: their Spearman is not defined and left out of the mean",
                                     r.reconstruction.undefined_features, features));
  if (r.reconstruction.undefined_samples)
    r.warnings.push_back(fmt::format("{} samples are constant over the {} in one of the matrices: their Spearman is not defined and left out of the mean",
                                     r.reconstruction.undefined_samples, features));
  if (r.cohort_mean.count.de <= r.reconstruction.count.de && t.untestable < static_cast<int64_t>(r.features.size()))
    r.warnings.push_back(
        fmt::format("predicting the cohort mean gives {0} {2} {3}, the reconstruction {1}: the number of {2} {3} alone says nothing for it, read it "
                    "beside Spearman per {4} and R2",
                    r.cohort_mean.count.de, r.reconstruction.count.de, w.differential, features, feature));
  if (r.baseline != Baseline::none && 2 * r.baseline_pairs < r.n)
    r.warnings.push_back(fmt::format("the baseline compares {} pairs, the reconstruction {}: fewer pairs find fewer differences, so the ratio is too high",
                                     r.baseline_pairs, r.n));
}

}  // namespace

ExpressionTest parse_expression_test(const std::string& text) {
  for (auto test : {ExpressionTest::paired, ExpressionTest::limma, ExpressionTest::limma_trend, ExpressionTest::welch})
    if (text == name_of(test)) return test;
  fail_usage(fmt::format("no test is called {}", panvae::quoted(text)), "--test", "say paired, limma, limma-trend or welch");
}

Baseline parse_baseline(const std::string& text) {
  if (text.empty()) return Baseline::none;
  for (auto baseline : {Baseline::none, Baseline::techrep, Baseline::thin})
    if (text == name_of(baseline)) return baseline;
  fail_usage(fmt::format("no baseline is called {}", panvae::quoted(text)), "--baseline", "say techrep or thin");
}

std::string name_of(ExpressionTest test) {
  switch (test) {
    case ExpressionTest::paired:
      return "paired";
    case ExpressionTest::limma:
      return "limma";
    case ExpressionTest::limma_trend:
      return "limma-trend";
    default:
      return "welch";
  }
}

std::string name_of(Baseline baseline) {
  return baseline == Baseline::techrep ? "techrep" : baseline == Baseline::thin ? "thin" : "none";
}

DeCount count_de(const DifferenceTest& test, double lfc, double fdr) {
  DeCount c;
  for (size_t i = 0; i < test.effect.size(); ++i)
    if (std::abs(test.effect[i]) > lfc && test.fdr[i] < fdr) ++(test.effect[i] > 0 ? c.up : c.down);
  c.de = c.up + c.down;
  return c;
}

void PairMoments::add(const Matrix& first, const Matrix& second) {
  a.add(first);
  b.add(second);
  difference.add_differences(first, second);
}

DifferenceTest run_test(ExpressionTest test, const PairMoments& m) {
  switch (test) {
    case ExpressionTest::paired:
      return moderated_one_sample(m.difference);
    case ExpressionTest::limma:
      return moderated_two_sample(m.a, m.b, false);
    case ExpressionTest::limma_trend:
      return moderated_two_sample(m.a, m.b, true);
    default:
      return welch(m.a, m.b);
  }
}

std::vector<int64_t> rows_by_name(const data::SampleSource& source, const data::Table& obs, const std::vector<int64_t>& rows, const std::string& role) {
  const auto row_of = source.obs().row_of();
  std::vector<int64_t> out;
  int64_t missing = 0;
  std::string first;
  for (int64_t row : rows) {
    const std::string& name = obs.keys[static_cast<size_t>(row)];
    const auto at = row_of.find(name);
    if (at != row_of.end()) out.push_back(at->second);
    else if (missing++ == 0) first = name;
  }
  if (missing)
    fail_input(fmt::format("{} of {} evaluated samples are not in the {}", missing, rows.size(), role),
               fmt::format("sample {}, {}", panvae::quoted(first), panvae::quoted(source.path(), 400)),
               "give both matrices the same samples, or select those that both have with --where, --cohort or --on");
  return out;
}

int64_t samples_at_once(int64_t features) {
  return std::clamp<int64_t>((int64_t{1} << 28) / (8 * std::max<int64_t>(features, 1)), 1, 64);
}

ExpressionResult evaluate_expression(const data::SampleSource& observed, const data::SampleSource& reconstructed, const ExpressionOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (!(options.lfc >= 0)) fail_usage(fmt::format("a fold change of {}", options.lfc), "--lfc", "it is 0 or more");
  if (!(options.fdr >= 0 && options.fdr <= 1)) fail_usage(fmt::format("a false discovery rate of {}", options.fdr), "--fdr", "it is between 0 and 1");
  ExpressionResult r;
  r.test = options.test;
  r.lfc = options.lfc;
  r.fdr = options.fdr;
  r.cohort = options.cohort;
  r.baseline = options.baseline;
  r.modality = data::modality_of(observed.var(), observed.frozen());
  const std::vector<int64_t> rows = evaluated_rows(observed, options, r);
  const std::vector<int64_t> theirs = rows_by_name(reconstructed, observed.obs(), rows, "reconstruction");
  const std::vector<int64_t> column = match_features(observed, reconstructed);
  if (reconstructed.samples() > static_cast<int64_t>(rows.size()))
    log::info("{} of {} reconstructed samples are evaluated", rows.size(), reconstructed.samples());
  const auto n = static_cast<int64_t>(rows.size());
  const int64_t g = observed.features();
  r.n = n;
  r.features = observed.var().keys;
  const std::vector<std::string> donors = data::donors_of(observed.obs());
  std::set<std::string> distinct;
  for (int64_t row : rows) {
    r.samples.push_back(observed.obs().keys[static_cast<size_t>(row)]);
    distinct.insert(donors[static_cast<size_t>(row)]);
  }
  r.donors = static_cast<int64_t>(distinct.size());
  {
    const std::vector<int64_t> few(rows.begin(), rows.begin() + std::min<int64_t>(n, 4)), their_few(theirs.begin(), theirs.begin() + std::min<int64_t>(n, 4));
    refuse_counts(observed, observed.samples_of(few), r.warnings);
    refuse_counts(reconstructed, reconstructed.samples_of(their_few), r.warnings);
  }
  const CohortMeans means = cohort_means(observed, rows, r);
  r.cohort_mean_from = means.from;

  // Features in ranges: moments, and correlations across samples.
  PairMoments moments, mean_moments;
  const int64_t width = std::max<int64_t>(1024, options.memory_bytes / (16 * n));
  for (int64_t first = 0; first < g; first += width) {
    const int64_t count = std::min(width, g - first);
    const Matrix x = load(observed, rows, {}, first, count);
    Matrix y = load(reconstructed, theirs, column, first, count);
    const auto compare = [&](PairMoments& into, ExpressionRow& row) {
      PairMoments part(count);
      part.add(x, y);
      into.a.append(part.a);
      into.b.append(part.b);
      into.difference.append(part.difference);
      column_correlations(x, y, row.spearman_per_feature);
    };
    compare(moments, r.reconstruction);
    for (int64_t i = 0; i < n; ++i) y.row(i) = means.mean.row(means.class_of[static_cast<size_t>(i)]).segment(first, count);
    compare(mean_moments, r.cohort_mean);
  }

  // Samples a few at a time: correlations across features.
  std::vector<std::vector<double>> mean_ranks(static_cast<size_t>(means.mean.rows()));
  for (size_t c = 0; c < mean_ranks.size(); ++c)
    mean_ranks[c] = average_ranks(std::span(means.mean.data() + static_cast<int64_t>(c) * g, static_cast<size_t>(g)));
  r.reconstruction.spearman_per_sample.assign(rows.size(), kNaN);
  r.cohort_mean.spearman_per_sample.assign(rows.size(), kNaN);
  const int64_t step = samples_at_once(g);
  for (int64_t first = 0; first < n; first += step) {
    throw_if_interrupted();
    const int64_t count = std::min(step, n - first);
    const Matrix x = observed.samples_of(std::span(rows).subspan(static_cast<size_t>(first), static_cast<size_t>(count)));
    const Matrix y = load(reconstructed, std::vector<int64_t>(theirs.begin() + first, theirs.begin() + first + count), column, 0, g);
    parallel_chunks(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto at = static_cast<size_t>(first + i), size = static_cast<size_t>(g);
        const std::vector<double> rank = average_ranks(std::span(x.data() + i * g, size));
        r.reconstruction.spearman_per_sample[at] = spearman_of_ranks(rank, average_ranks(std::span(y.data() + i * g, size)));
        r.cohort_mean.spearman_per_sample[at] = spearman_of_ranks(rank, mean_ranks[static_cast<size_t>(means.class_of[at])]);
      }
    });
  }

  finish(r.reconstruction, moments, options);
  finish(r.cohort_mean, mean_moments, options);
  r.mean_observed = std::move(moments.a.mean);
  r.mean_reconstructed = std::move(moments.b.mean);
  r.ratio = kNaN;
  if (options.baseline != Baseline::none) {
    run_baseline(observed, rows, options, r);
    r.ratio = static_cast<double>(r.reconstruction.count.de) / static_cast<double>(std::max<int64_t>(1, r.baseline_count.de));
  }
  add_warnings(r);
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return r;
}

}  // namespace panvae::eval
