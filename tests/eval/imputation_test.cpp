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
  const ImputationResult r = evaluate_imputation(observed, imputed, mean, std::vector<int32_t>{0, 0, 0});
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
  const std::vector<int32_t> cohort = {0, 0, 1, 1};
  const ImputationResult r = evaluate_imputation(observed, mean, mean, cohort);
  EXPECT_DOUBLE_EQ(r.r2_over_cohort_mean, 0);
  EXPECT_TRUE(std::isnan(r.spearman_beyond_cohort_mean));
  EXPECT_DOUBLE_EQ(r.imputed.mean_squared_error, r.cohort_mean.mean_squared_error);
  EXPECT_TRUE(std::isnan(evaluate_imputation(mean, observed, mean, cohort).r2_over_cohort_mean)) << "nothing to explain";
}

// The mean of the training samples has an error of its own. Taken from both sides it would make them alike: what knows the cohort,
// or nothing at all, would seem to know the donor.
TEST(Imputation, what_knows_the_cohort_knows_nothing_beyond_it) {
  const int64_t cohorts = 8, each = 8, features = 200;
  const data::RowMatrix<double> truth = test::gaussian(cohorts, features, 1), learned = truth + 0.3 * test::gaussian(cohorts, features, 2),
                                of_others = truth + 0.3 * test::gaussian(cohorts, features, 3), donors = test::gaussian(cohorts * each, features, 4),
                                noise = 0.01 * test::gaussian(cohorts * each, features, 5);
  data::RowMatrix<double> observed(cohorts * each, features), mean = observed, by_cohort = observed;
  std::vector<int32_t> cohort;
  for (int64_t i = 0; i < observed.rows(); ++i) {
    cohort.push_back(static_cast<int32_t>(i % cohorts));
    observed.row(i) = truth.row(i % cohorts) + donors.row(i);
    mean.row(i) = learned.row(i % cohorts);
    by_cohort.row(i) = of_others.row(i % cohorts) + noise.row(i);
  }
  const auto beyond = [&](const data::RowMatrix<double>& imputed) { return evaluate_imputation(observed, imputed, mean, cohort).spearman_beyond_cohort_mean; };
  EXPECT_NEAR(beyond(by_cohort), 0, 0.03);
  EXPECT_NEAR(beyond(noise), 0, 0.03);
  EXPECT_GT(beyond(by_cohort + donors), 0.95);
}

// Those who are alone in their cohort, and those whose cohort is unknown, have nobody to be compared with.
TEST(Imputation, pairs_without_others_of_their_cohort_do_not_count) {
  // Beyond the mean of the three that count, nothing at all would rank third of the observed and second of the imputed.
  const auto observed = matrix(6, 1, {1, 2, 4, 90, 50, 60});
  const auto imputed = matrix(6, 1, {2, 5, 6, 7, 9, 8});
  EXPECT_DOUBLE_EQ(evaluate_imputation(observed, imputed, observed, std::vector<int32_t>{0, 0, 0, 1, -1, -1}).spearman_beyond_cohort_mean, 1);
  EXPECT_TRUE(std::isnan(evaluate_imputation(observed, imputed, observed, std::vector<int32_t>{0, 1, 2, 3, 4, -1}).spearman_beyond_cohort_mean));
}

TEST(Imputation, needs_two_pairs) {
  const auto one = matrix(1, 2, {1, 2});
  EXPECT_THROW(evaluate_imputation(one, one, one, std::vector<int32_t>{0}), Error);
}

}  // namespace
}  // namespace panvae::eval
