// Agreement with edgeR 3.40 and limma 3.54 on the counts of tests/reference/stats.
#include <cmath>

#include "data/preprocess.h"
#include "support.h"

namespace panvae::data::test {
namespace {

ReadOptions with_obs() {
  ReadOptions o;
  o.obs_table = reference("counts_obs.tsv");
  return o;
}

PreprocessOptions plain() {
  PreprocessOptions o;
  o.fit_on_all = true;
  o.variance.kind = VarianceFilter::Kind::none;
  o.batch = false;
  o.quantile = false;
  return o;
}

template <class T>
double largest_difference(const Dataset<T>& ours, const std::string& expected_name) {
  const Dataset<double> expected = read_dataset<double>(reference(expected_name));
  EXPECT_EQ(ours.var.keys, expected.var.keys);
  EXPECT_EQ(ours.obs.keys, expected.obs.keys);
  return (ours.x.template cast<double>() - expected.x).cwiseAbs().maxCoeff();
}

TEST(PreprocessReference, LogCpmIsEdgeRs) {
  Dataset<double> data = read_dataset<double>(reference("counts.tsv"), with_obs());
  Preprocessor p;
  const PreprocessReport report = p.fit(data, plain());
  EXPECT_EQ(report.dropped_features_zero, 260 - data.features());
  const double d = largest_difference(data, "expected_logcpm.tsv");
  RecordProperty("largest_difference", std::to_string(d));
  EXPECT_LT(d, 1e-6);
}

TEST(PreprocessReference, QuantilesAreLimmas) {
  Dataset<double> data = read_dataset<double>(reference("counts.tsv"), with_obs());
  PreprocessOptions o = plain();
  o.quantile = true;
  Preprocessor().fit(data, o);
  EXPECT_LT(largest_difference(data, "expected_quantile.tsv"), 1e-6);
}

TEST(PreprocessReference, BatchRemovalIsLimmas) {
  PreprocessOptions o = plain();
  o.quantile = o.batch = true;
  o.batch_keys = {"batch"};
  o.covariates = {"sex", "age"};
  o.preserve = {"cohort"};
  Dataset<double> data = read_dataset<double>(reference("counts.tsv"), with_obs());
  const PreprocessReport report = Preprocessor().fit(data, o);
  EXPECT_TRUE(report.aliased.empty());
  EXPECT_LT(largest_difference(data, "expected_batch_removed.tsv"), 1e-6);
  Dataset<float> single = read_dataset<float>(reference("counts.tsv"), with_obs());
  Preprocessor().fit(single, o);
  EXPECT_LT(largest_difference(single, "expected_batch_removed.tsv"), 1e-4);
}

TEST(PreprocessReference, TmmFactorsAreEdgeRs) {
  Dataset<double> data = read_dataset<double>(reference("counts.tsv"), with_obs());
  PreprocessOptions o = plain();
  o.tmm = true;
  const PreprocessReport report = Preprocessor().fit(data, o);
  const Table expected = read_table(reference("expected_tmm.tsv"));
  ASSERT_EQ(report.tmm_factors.size(), expected.keys.size());
  double d = 0;
  for (size_t i = 0; i < report.tmm_factors.size(); ++i) d = std::max(d, std::abs(report.tmm_factors[i] - expected.at("tmm").number[i]));
  EXPECT_LT(d, 1e-9);
}

// Three quarters of the features are zero in most samples, not in all: the upper quartiles no longer say which sample is the
// reference. The factors are those of edgeR 3.40, calcNormFactors.
TEST(PreprocessReference, TmmFactorsOfSparseCountsAreEdgeRs) {
  RowMatrix<double> x(5, 13);
  x << 5, 9, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,     //
      7, 4, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,      //
      300, 50, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  //
      10, 12, 9, 3, 4, 6, 2, 8, 1, 5, 7, 0, 3,    //
      20, 9, 30, 2, 8, 7, 4, 16, 2, 9, 3, 1, 0;
  Dataset<double> data = dataset(x);
  PreprocessOptions o = plain();
  o.tmm = true;
  const PreprocessReport report = Preprocessor().fit(data, o);
  const double expected[] = {2.06047590962134, 1.13908182749334, 1.02666258810691, 0.60265385534211, 0.68862353222620};
  ASSERT_EQ(report.tmm_factors.size(), std::size(expected));
  for (size_t i = 0; i < std::size(expected); ++i) EXPECT_NEAR(report.tmm_factors[i], expected[i], 1e-12) << "sample " << i + 1;
}

// Quartiles of four values lie a quarter of the way from the third to the last: 5.75, 5.25 and 8 of 16 counts, of which the first is nearest
// to the mean. The third values alone, 4, 5 and 8, would have the second.
TEST(PreprocessReference, TheReferenceOfTmmIsThatOfInterpolatedQuartiles) {
  RowMatrix<double> x(3, 4);
  x << 11, 0, 4, 1, 3, 6, 2, 5, 8, 0, 8, 0;
  EXPECT_EQ(fit_tmm(x, {16, 16, 16}, {0, 1, 2}).reference, (std::vector<double>{11, 0, 4, 1}));
}

// As which.min and which.max have it.
TEST(PreprocessReference, OfEqualSamplesTheFirstIsTheReferenceOfTmm) {
  RowMatrix<double> dense(2, 5), sparse(2, 9);
  dense << 1, 1, 2, 4, 8,  // quartiles 4 and 6 of 16 counts: both 1 / 16 from their mean
      0, 1, 1, 6, 8;
  sparse << 4, 0, 0, 0, 0, 0, 0, 0, 0,  // quartiles of 0, and equal sums of square roots
      0, 0, 1, 0, 1, 0, 0, 0, 0;
  for (const RowMatrix<double>& x : {dense, sparse}) {
    const std::vector<double> library = {x.row(0).sum(), x.row(1).sum()};
    for (const int64_t first : {0, 1}) {
      const Tmm tmm = fit_tmm(x, library, {first, 1 - first});
      EXPECT_EQ(tmm.reference, std::vector<double>(x.row(first).begin(), x.row(first).end())) << x << "\nsample " << first << " comes first";
      EXPECT_EQ(tmm.reference_library, library[static_cast<size_t>(first)]);
    }
  }
}

}  // namespace
}  // namespace panvae::data::test
