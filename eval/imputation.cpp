#include "eval/imputation.h"

#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "eval/spearman.h"

namespace panvae::eval {

namespace {

ImputationScores scores(const data::RowMatrix<double>& observed, const data::RowMatrix<double>& predicted) {
  return {spearman_rows(observed, predicted).mean, spearman_columns(observed, predicted).mean,
          (observed - predicted).squaredNorm() / static_cast<double>(observed.size())};
}

Json number(double v) {
  return std::isfinite(v) ? Json(v) : Json(nullptr);
}

}  // namespace

ImputationResult evaluate_imputation(const data::RowMatrix<double>& observed, const data::RowMatrix<double>& imputed,
                                     const data::RowMatrix<double>& cohort_mean) {
  PV_CHECK(
      observed.rows() == imputed.rows() && observed.rows() == cohort_mean.rows() && observed.cols() == imputed.cols() && observed.cols() == cohort_mean.cols(),
      "imputation: matrices of different shapes");
  if (observed.rows() < 2)
    fail_input(fmt::format("{} pairs to judge an imputation by", observed.rows()), {}, "at least two judged samples need a partner of their donor");
  ImputationResult r;
  r.pairs = observed.rows();
  r.features = observed.cols();
  r.imputed = scores(observed, imputed);
  r.cohort_mean = scores(observed, cohort_mean);
  r.r2_over_cohort_mean =
      r.cohort_mean.mean_squared_error > 0 ? 1 - r.imputed.mean_squared_error / r.cohort_mean.mean_squared_error : std::numeric_limits<double>::quiet_NaN();
  r.spearman_beyond_cohort_mean = spearman_columns(observed - cohort_mean, imputed - cohort_mean).mean;
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
