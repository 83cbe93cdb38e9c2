// How well one modality is imputed from the other: profiles imputed for held-out samples against those observed in the same
// donors, beside the predictor that knows no more than the cohort: the mean of its training samples.
#pragma once
#include <cstdint>
#include <span>

#include "base/json.h"
#include "data/dataset.h"

namespace panvae::eval {

struct ImputationScores {
  double spearman_per_sample_mean = 0;   // across features, mean of the pairs
  double spearman_per_feature_mean = 0;  // across pairs, mean of the features; NaN where none varies
  double mean_squared_error = 0;
};

struct ImputationResult {
  int64_t pairs = 0, features = 0;
  ImputationScores imputed, cohort_mean;
  // 1 - squared error of the imputation / squared error of the cohort mean: above 0 it knows more than the cohort.
  double r2_over_cohort_mean = 0;
  // Per feature, Spearman of imputed and observed across pairs, each less its own mean over the judged pairs of the cohort; mean
  // of the features: what is known of a donor beyond the cohort. NaN where nothing varies. The training mean, taken from both,
  // would leave its own error in both: a constant prediction then scored 0.09 (470 training samples of 12 cohorts).
  double spearman_beyond_cohort_mean = 0;
};

// All [pairs, features], in the units of the preprocessed data; cohort [pairs]: codes, -1 where unknown: such a pair, and one alone
// in its cohort, tells nothing beyond the cohort. ErrorCode::input for fewer than two pairs.
ImputationResult evaluate_imputation(const data::RowMatrix<double>& observed, const data::RowMatrix<double>& imputed,
                                     const data::RowMatrix<double>& cohort_mean, std::span<const int32_t> cohort);
Json to_json(const ImputationResult& result);

}  // namespace panvae::eval
