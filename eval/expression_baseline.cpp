// How many features differ between two measurements of the same samples: technical replicates, or thinned counts.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/threads.h"
#include "data/preprocess.h"
#include "data/read.h"
#include "eval/expression_parts.h"
#include "eval/thinning.h"

namespace panvae::eval {

namespace {

using Matrix = data::RowMatrix<double>;

// The preprocessing that the observed values went through, which counts have to go through too.
data::Preprocessor frozen_preprocessing(const data::SampleSource& observed) {
  if (!data::holds_preprocessing(observed.frozen()))
    fail_input("the observed values carry no preprocessing, so raw counts cannot be brought to their scale", panvae::quoted(observed.path(), 400),
               "use the .h5ad that 'panvae preprocess' has written, or --baseline techrep without --counts");
  data::Preprocessor p = data::Preprocessor::from(observed.frozen());
  if (p.input_is_log())
    fail_input("the observed values were preprocessed from logs, not from counts", panvae::quoted(observed.path(), 400),
               "preprocess raw counts, or use --baseline techrep without --counts");
  return p;
}

// Counts of some samples, normalised; columns in the order of the preprocessing's features.
Matrix normalised(const data::Preprocessor& preprocessing, const data::SampleSource& counts, const data::Table& obs, Matrix x) {
  data::Dataset<double> d;
  const int64_t n = x.rows();
  d.x = std::move(x);
  d.obs = obs;  // of the observed samples: they have the columns whose effects were removed
  d.var = counts.var();
  d.path = counts.path();
  d.kind = "counts";
  preprocessing.apply(d);
  if (d.samples() != n)
    fail_input("a sample has too few counts to be halved",
               fmt::format("{}, samples {} to {}", panvae::quoted(counts.path(), 400), panvae::quoted(obs.keys.front()), panvae::quoted(obs.keys.back())),
               "leave samples without counts out with --where");
  return std::move(d.x);
}

// Whether replicate a comes before b: by number or by name, unknown ones last. What differs between first and second replicates is
// found where they are first and second in every donor.
bool before(const data::Column& replicate, int64_t a, int64_t b) {
  if (replicate.missing(a) || replicate.missing(b)) return !replicate.missing(a) && replicate.missing(b);
  if (!replicate.numeric) return replicate.text(a) < replicate.text(b);
  return replicate.number[static_cast<size_t>(a)] < replicate.number[static_cast<size_t>(b)];
}

std::vector<std::pair<int64_t, int64_t>> replicate_pairs(const data::Table& obs, const std::vector<int64_t>& rows) {
  const std::vector<std::string> donor = data::donors_of(obs);
  const data::Column *cohort = obs.find("cohort"), *type = obs.find("sample_type"), *replicate = obs.find("replicate");
  const auto text = [](const data::Column* c, int64_t row) { return c ? c->text(row) : std::string(); };
  std::map<std::vector<std::string>, std::vector<int64_t>> groups;  // rows come sorted by name
  for (int64_t row : rows) groups[{donor[static_cast<size_t>(row)], text(cohort, row), text(type, row)}].push_back(row);
  std::vector<std::pair<int64_t, int64_t>> pairs;
  std::string last;
  for (auto& [key, samples] : groups) {
    if (samples.size() < 2 || key.front() == last) continue;  // one pair per donor
    if (replicate) std::stable_sort(samples.begin(), samples.end(), [&](int64_t a, int64_t b) { return before(*replicate, a, b); });
    pairs.emplace_back(samples[0], samples[1]);
    last = key.front();
  }
  if (pairs.size() < 2)
    fail_input(fmt::format("{} donors have technical replicates, and two are needed", pairs.size()),
               fmt::format("{} samples evaluated; replicates share donor, cohort and sample_type", rows.size()), "use --baseline thin --counts RAW.h5ad");
  return pairs;
}

}  // namespace

void run_baseline(const data::SampleSource& observed, const std::vector<int64_t>& rows, const ExpressionOptions& options, ExpressionResult& result) {
  const data::Table& obs = observed.obs();
  const bool thin_counts = options.baseline == Baseline::thin;
  if (thin_counts && !options.counts) fail_usage("thinning needs the raw counts", "--baseline thin", "name them with --counts RAW.h5ad");
  const data::Preprocessor preprocessing = options.counts ? frozen_preprocessing(observed) : data::Preprocessor();
  std::vector<int64_t> first = rows, second;
  if (!thin_counts) {
    first.clear();
    for (const auto& [a, b] : replicate_pairs(obs, rows)) {
      first.push_back(a);
      second.push_back(b);
    }
  }
  result.baseline_pairs = static_cast<int64_t>(first.size());
  const data::SampleSource& source = options.counts ? *options.counts : observed;
  const std::vector<int64_t> at = options.counts ? rows_by_name(source, obs, first, "counts") : first;
  const std::vector<int64_t> other = thin_counts ? std::vector<int64_t>() : options.counts ? rows_by_name(source, obs, second, "counts") : second;
  const std::vector<uint64_t> keys = thin_counts ? thinning_keys(source.var().keys) : std::vector<uint64_t>();

  PairMoments moments(options.counts ? static_cast<int64_t>(preprocessing.features().size()) : observed.features());
  const int64_t step = samples_at_once(source.features());
  for (int64_t begin = 0; begin < result.baseline_pairs; begin += step) {
    const auto count = static_cast<size_t>(std::min(step, result.baseline_pairs - begin)), offset = static_cast<size_t>(begin);
    Matrix a = source.samples_of(std::span(at).subspan(offset, count)), b;
    const std::vector<int64_t> names(first.begin() + begin, first.begin() + begin + static_cast<int64_t>(count));
    const data::Table table = obs.select(names);
    data::Table other_table = table;
    if (thin_counts) {
      b.resize(a.rows(), a.cols());
      for (size_t i = 0; i < count; ++i) {
        const int64_t row = static_cast<int64_t>(i);
        const std::vector<double> half =
            thin(std::span(a.data() + row * a.cols(), static_cast<size_t>(a.cols())), keys, source.var().keys, table.keys[i], options.seed);
        b.row(row) = Eigen::Map<const Eigen::RowVectorXd>(half.data(), a.cols());
        a.row(row) -= b.row(row);
      }
    } else {
      b = source.samples_of(std::span(other).subspan(offset, count));
      other_table = obs.select(std::vector<int64_t>(second.begin() + begin, second.begin() + begin + static_cast<int64_t>(count)));
    }
    if (options.counts) {
      a = normalised(preprocessing, source, table, std::move(a));
      b = normalised(preprocessing, source, other_table, std::move(b));
    }
    moments.add(a, b);
  }
  result.baseline_count = count_de(run_test(options.test, moments), options.lfc, options.fdr);
}

}  // namespace panvae::eval
