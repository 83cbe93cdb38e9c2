// What a matrix holds, told by its values alone.
#include <cmath>

#include "data/quantile.h"
#include "support.h"

namespace panvae::data::test {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

std::string kind(const std::vector<std::vector<double>>& rows) {
  RowMatrix<double> x(static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows[0].size()));
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.cols(); ++c) x(r, c) = rows[static_cast<size_t>(r)][static_cast<size_t>(c)];
  return detect_kind(x);
}

TEST(Kind, CountsAreWholeAndNotNegative) {
  EXPECT_EQ(kind({{0, 1e6}, {kMissing, 7}}), "counts");
  EXPECT_EQ(kind({{0, 1}, {kMissing, -7}}), "log");
  EXPECT_EQ(kind({{0, 1}, {0.5, 7}}), "log");
}

TEST(Kind, LogsStayBelowAHundred) {
  EXPECT_EQ(kind({{0.5, 99.9}}), "log");
  EXPECT_EQ(kind({{0.5, 100}}), "");
  EXPECT_EQ(kind({{0.5, -100}}), "");
}

// Columns of mean 0 and deviation 1; a constant of 0 among them; values that are missing count for nothing.
TEST(Kind, StandardisedFeatures) {
  const double a = std::sqrt(1.5);
  EXPECT_EQ(kind({{a, 0}, {0, 0}, {-a, 0}}), "z");
  EXPECT_EQ(kind({{2 * a, 0}, {0, 0}, {-2 * a, 0}}), "log") << "the deviation is 2";
  const double b = std::sqrt(1.2), c = std::sqrt(1.3);  // as of a few of the samples that were standardised
  EXPECT_EQ(kind({{a * b, 0}, {0, 0}, {-a * b, 0}}), "z") << "the variance is 1.2";
  EXPECT_EQ(kind({{a * c, 0}, {0, 0}, {-a * c, 0}}), "log") << "the variance is 1.3";
  EXPECT_EQ(kind({{a, 1}, {0, 1}, {-a, 1}}), "log") << "a constant of 1";
  EXPECT_EQ(kind({{0.1}, {0.1}, {0.1}}), "log") << "nothing is negative";
  EXPECT_EQ(kind({{1.1, 0}, {-1.1, 0}}), "log") << "of two samples nothing can be said";
  EXPECT_EQ(kind({{a, kMissing, kMissing}, {kMissing, a, kMissing}, {0, 0, kMissing}, {-a, -a, kMissing}, {kMissing, kMissing, kMissing}}), "z");
}

// Three values of five: quantile k is theirs at k / 4 of the way from the first to the last.
TEST(Quantile, AnIncompleteSampleEntersByInterpolatedQuantiles) {
  const QuantileReference q = QuantileReference::fit(1, 5, [](int64_t, double* out) {
    const double values[] = {3, kMissing, 1, 9, kMissing};
    std::copy(std::begin(values), std::end(values), out);
  });
  EXPECT_EQ(q.quantiles(), (std::vector<double>{1, 2, 3, 6, 9}));
  double sample[] = {7, kMissing, 5, kMissing, kMissing};  // of two values the first and the last quantile
  q.map(sample);
  EXPECT_EQ(sample[0], 9);
  EXPECT_EQ(sample[2], 1);
  EXPECT_TRUE(std::isnan(sample[1]) && std::isnan(sample[3]) && std::isnan(sample[4]));
}

}  // namespace
}  // namespace panvae::data::test
