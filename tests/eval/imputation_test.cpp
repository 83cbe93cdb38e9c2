#include "eval/imputation.h"

#include <cmath>

#include "eval/spearman.h"
#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

data::RowMatrix<double> matrix(int64_t rows, int64_t columns, const std::vector<double>& v) {
  return Eigen::Map<const data::RowMatrix<double>>(v.data(), rows, columns);
}

TEST(Imputation, by_hand) {
  // Three samples, four features; the cohort's mean is the same for all.
  const auto observed = matrix(3, 4, {1, 2, 3, 4, 2, 3, 4, 5, 3, 4, 5, 6});
  const auto imputed = matrix(3, 4, {1, 2, 4, 3, 2, 3, 4, 5, 4, 5, 6, 7});
  const auto mean = matrix(3, 4, {2, 3, 4, 5, 2, 3, 4, 5, 2, 3, 4, 5});
  const ImputationResult r = evaluate_imputation(observed, imputed, mean);
  EXPECT_EQ(r.pairs, 3);
  EXPECT_EQ(r.features, 4);
  EXPECT_NEAR(r.imputed.spearman_per_sample_mean, (0.8 + 1 + 1) / 3, 1e-12);
  EXPECT_NEAR(r.imputed.spearman_per_feature_mean, (1 + 1 + spearman(std::vector<double>{3, 4, 5}, std::vector<double>{4, 4, 6}) + 1) / 4, 1e-12);
  EXPECT_NEAR(r.imputed.mean_squared_error, (2 + 4) / 12.0, 1e-12);
  EXPECT_NEAR(r.cohort_mean.spearman_per_sample_mean, 1, 1e-12);
  EXPECT_TRUE(std::isnan(r.cohort_mean.spearman_per_feature_mean)) << "the same for all samples";
  EXPECT_NEAR(r.cohort_mean.mean_squared_error, 8 / 12.0, 1e-12);
  EXPECT_NEAR(r.r2_over_cohort_mean, 1 - 6.0 / 8, 1e-12);
  // Beyond the mean: residuals of the observed are -1, 0, 1 in each feature.
  EXPECT_NEAR(r.spearman_beyond_cohort_mean, r.imputed.spearman_per_feature_mean, 1e-12);
  EXPECT_TRUE(to_json(r)["cohort_mean_spearman_per_feature_mean"].is_null());
  EXPECT_DOUBLE_EQ(to_json(r)["mean_squared_error"].get<double>(), 0.5);
}

TEST(Imputation, json_names_each_number) {
  ImputationResult r;
  r.pairs = 7;
  r.imputed = {0.5, 0.25, 2};
  r.cohort_mean = {0.125, std::nan(""), 4};
  r.r2_over_cohort_mean = 0.75;
  r.spearman_beyond_cohort_mean = -0.5;
  EXPECT_EQ(to_json(r), Json::parse(R"({"judged_pairs": 7, "spearman_per_sample_mean": 0.5, "spearman_per_feature_mean": 0.25, "mean_squared_error": 2.0,
    "cohort_mean_spearman_per_sample_mean": 0.125, "cohort_mean_spearman_per_feature_mean": null, "cohort_mean_mean_squared_error": 4.0,
    "r2_over_cohort_mean": 0.75, "spearman_beyond_cohort_mean": -0.5})"));
}

TEST(Imputation, the_cohort_mean_itself_knows_nothing_beyond_it) {
  const auto observed = matrix(4, 2, {1, 5, 2, 3, 7, 1, 9, 2});
  const auto mean = matrix(4, 2, {1.5, 4, 1.5, 4, 8, 1.5, 8, 1.5});
  const ImputationResult r = evaluate_imputation(observed, mean, mean);
  EXPECT_DOUBLE_EQ(r.r2_over_cohort_mean, 0);
  EXPECT_TRUE(std::isnan(r.spearman_beyond_cohort_mean));
  EXPECT_DOUBLE_EQ(r.imputed.mean_squared_error, r.cohort_mean.mean_squared_error);
  EXPECT_TRUE(std::isnan(evaluate_imputation(mean, observed, mean).r2_over_cohort_mean)) << "nothing to explain";
}

TEST(Imputation, needs_two_pairs) {
  const auto one = matrix(1, 2, {1, 2});
  EXPECT_THROW(evaluate_imputation(one, one, one), Error);
}

}  // namespace
}  // namespace panvae::eval
