#include "eval/imputation.h"

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "eval/moderated_t.h"
#include "eval/spearman.h"

namespace panvae::eval {

namespace {

ImputationScores scores(const data::RowMatrix<double>& observed, const data::RowMatrix<double>& predicted) {
  return {spearman_rows(observed, predicted).mean, spearman_columns(observed, predicted).mean,
          (observed - predicted).squaredNorm() / static_cast<double>(observed.size())};
}

// Rows less the mean of those of their cohort, ordered by cohort; those without a cohort and those alone in one are left out.
data::RowMatrix<double> within_cohorts(const data::RowMatrix<double>& x, std::span<const int32_t> cohort) {
  std::map<int32_t, std::vector<int64_t>> members;
  for (size_t i = 0; i < cohort.size(); ++i)
    if (cohort[i] >= 0) members[cohort[i]].push_back(static_cast<int64_t>(i));
  std::erase_if(members, [](const auto& m) { return m.second.size() < 2; });
  int64_t rows = 0;
  for (const auto& [code, of] : members) rows += static_cast<int64_t>(of.size());
  data::RowMatrix<double> out(rows, x.cols());
  int64_t first = 0;
  for (const auto& [code, of] : members) {
    const auto n = static_cast<int64_t>(of.size());
    for (int64_t i = 0; i < n; ++i) out.row(first + i) = x.row(of[static_cast<size_t>(i)]);
    // A running mean of equal values is exactly that value, so that what does not vary within a cohort leaves zeros.
    Moments m(x.cols());
    m.add(out.middleRows(first, n));
    out.middleRows(first, n).rowwise() -= Eigen::Map<const Eigen::RowVectorXd>(m.mean.data(), x.cols());
    first += n;
  }
  return out;
}

Json number(double v) {
  return std::isfinite(v) ? Json(v) : Json(nullptr);
}

}  // namespace

ImputationResult evaluate_imputation(const data::RowMatrix<double>& observed, const data::RowMatrix<double>& imputed,
                                     const data::RowMatrix<double>& cohort_mean, std::span<const int32_t> cohort) {
  PV_CHECK(
      observed.rows() == imputed.rows() && observed.rows() == cohort_mean.rows() && observed.cols() == imputed.cols() && observed.cols() == cohort_mean.cols(),
      "imputation: matrices of different shapes");
  PV_CHECK(cohort.size() == static_cast<size_t>(observed.rows()), "imputation: {} cohorts of {} pairs", cohort.size(), observed.rows());
  if (observed.rows() < 2)
    fail_input(fmt::format("{} pairs to judge an imputation by", observed.rows()), {}, "at least two judged samples need a partner of their donor");
  ImputationResult r;
  r.pairs = observed.rows();
  r.features = observed.cols();
  r.imputed = scores(observed, imputed);
  r.cohort_mean = scores(observed, cohort_mean);
  r.r2_over_cohort_mean =
      r.cohort_mean.mean_squared_error > 0 ? 1 - r.imputed.mean_squared_error / r.cohort_mean.mean_squared_error : std::numeric_limits<double>::quiet_NaN();
  r.spearman_beyond_cohort_mean = spearman_columns(within_cohorts(observed, cohort), within_cohorts(imputed, cohort)).mean;
  return r;
}

Json to_json(const ImputationResult& r) {
  return {{"judged_pairs", r.pairs},
          {"spearman_per_sample_mean", number(r.imputed.spearman_per_sample_mean)},
          {"spearman_per_feature_mean", number(r.imputed.spearman_per_feature_mean)},
          {"mean_squared_error", number(r.imputed.mean_squared_error)},
          {"cohort_mean_spearman_per_sample_mean", number(r.cohort_mean.spearman_per_sample_mean)},
          {"cohort_mean_spearman_per_feature_mean", number(r.cohort_mean.spearman_per_feature_mean)},
          {"cohort_mean_mean_squared_error", number(r.cohort_mean.mean_squared_error)},
          {"r2_over_cohort_mean", number(r.r2_over_cohort_mean)},
          {"spearman_beyond_cohort_mean", number(r.spearman_beyond_cohort_mean)}};
}

}  // namespace panvae::eval
