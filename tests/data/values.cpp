// Values of a matrix: of what range, of what kind, and what stands for those that are missing.
#include <cmath>
#include <limits>

#include "data/quantile.h"
#include "support.h"

namespace panvae::data::test {
namespace {

using TextInput = Files;

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
  const double d = std::sqrt(1.5 * 1.24);
  EXPECT_EQ(kind({{0.2 + d}, {0.2}, {0.2 - d}}), "z") << "the variance is 1.24, around a mean of 0.2";
  for (const double mean : {0.3, -0.3}) EXPECT_EQ(kind({{mean + a}, {mean}, {mean - a}}), "log") << "the mean is " << mean;
  EXPECT_EQ(kind({{a, 1}, {0, 1}, {-a, 1}}), "log") << "a constant of 1";
  EXPECT_EQ(kind({{0.1}, {0.1}, {0.1}}), "log") << "nothing is negative";
  EXPECT_EQ(kind({{1.1, 0}, {-1.1, 0}}), "log") << "of two samples nothing can be said";
  EXPECT_EQ(kind({{a, kMissing, kMissing}, {kMissing, a, kMissing}, {0, 0, kMissing}, {-a, -a, kMissing}, {kMissing, kMissing, kMissing}}), "z");
}

// Up to 1999 features are all looked at, from 2000 on every second of them, and so on.
TEST(Kind, ManyFeatures) {
  for (const int64_t odd : {0, 1, 1001, 1499}) {
    RowMatrix<double> x(3, 1500);
    x.row(0).setConstant(std::sqrt(1.5)), x.row(1).setZero(), x.row(2).setConstant(-std::sqrt(1.5));
    EXPECT_EQ(detect_kind(x), "z");
    x.col(odd) *= 2;
    EXPECT_EQ(detect_kind(x), "log") << "feature " << odd;
  }
  for (const auto& [rows, columns] : {std::pair{0, 3}, {3, 0}}) EXPECT_EQ(detect_kind(RowMatrix<double>(rows, columns)), "") << "nothing is of no kind";
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

// Beyond the range of double: zero or infinite by its size, however it is written.
TEST_F(TextInput, NumbersOutOfRange) {
  const std::string zeros(400, '0');
  for (const std::string& tiny :
       {std::string("1e-400"), "0." + zeros + "1", "." + zeros + "1", "000." + zeros + "1", "-." + zeros + "1", "0." + zeros + "1e20"}) {
    double x = 1;
    EXPECT_TRUE(parse_number(tiny, x)) << tiny;
    EXPECT_EQ(x, 0) << tiny;
  }
  for (const std::string& huge : {std::string("1e400"), "1" + zeros, "1" + zeros + "e-1", std::string("0.00001e500"), std::string("1e99999999999999999999")}) {
    double x = 1;
    EXPECT_TRUE(parse_number(huge, x)) << huge;
    EXPECT_EQ(x, std::numeric_limits<double>::infinity()) << huge;
    EXPECT_TRUE(parse_number("-" + huge, x)) << huge;
    EXPECT_EQ(x, -std::numeric_limits<double>::infinity()) << huge;
  }
  EXPECT_EQ(read_dataset<double>(put("long.tsv", "s\tA\tB\nx\t1" + zeros + "e-400\t0012345678901234567890\n")).x(0, 0), 1);
  EXPECT_EQ(read_dataset<double>(path("long.tsv")).x(0, 1), 12345678901234567890.0);
}

TEST_F(TextInput, BeyondFloatIsRefusedAsFloatOnly) {
  const std::string file = put("m.tsv", "s\tA\nx\t1e300\n");
  EXPECT_EQ(read_dataset<double>(file).x(0, 0), 1e300);
  expect_names(error_of([&] { read_dataset<float>(file); }), {"too large", "'x'", "'A'"});
  EXPECT_EQ(read_dataset<double>(put("tiny.tsv", "s\tA\nx\t1e-999\n")).x(0, 0), 0);
}

TEST_F(TextInput, TheFirstOfSeveralMissingValuesIsNamed) {
  const std::string file = put("m.tsv", "s\tA\tB\nx\t1\t2\ny\t1\tNA\nz\tNA\t3\n");
  expect_names(error_of([&] { read_dataset<double>(file); }), {"2 values are missing or NaN", "first sample 'y', feature 'B'"});
}

TEST_F(TextInput, MissingValuesTakeTrainingMeans) {
  const std::string m = put("m.tsv", "s\tA\tB\nx\t1.5\t1\ny\tNA\t2\nz\t4.5\t3\n");
  ReadOptions o;
  o.missing = Missing::mean;
  EXPECT_EQ(read_dataset<double>(m, o).x(1, 0), 3);
  o.obs_table = put("obs.tsv", "sample\tsplit\nx\ttrain\ny\tholdout\nz\tvalidation\n");
  EXPECT_EQ(read_dataset<double>(m, o).x(1, 0), 1.5);
  o.obs_table = put("obs2.tsv", "sample\tsplit\nx\tholdout\ny\ttrain\nz\tholdout\n");
  expect_names(error_of([&] { read_dataset<double>(m, o); }), {"without a value", "'A'"});
  o.obs_table = put("obs3.tsv", "sample\tsplit\nx\ttest\ny\ttrain\nz\tholdout\n");
  expect_names(error_of([&] { read_dataset<double>(m, o); }), {"'test'", "'x'", "--split-key"});
}

TEST_F(TextInput, KindsAreRecognised) {
  EXPECT_EQ(detect_kind<double>(RowMatrix<double>::Constant(2, 2, 3)), "counts");
  RowMatrix<double> x = RowMatrix<double>::Random(400, 8) * std::sqrt(3.0);
  EXPECT_EQ(detect_kind<double>(x), "z");
  x.col(3).setZero();  // a constant feature is standardised to zeros
  EXPECT_EQ(detect_kind<double>(x), "z");
  x = (x.array() * 2 + 8).matrix().eval();
  EXPECT_EQ(detect_kind<double>(x), "log");
  x(0, 0) = 99.5;
  EXPECT_EQ(detect_kind<double>(x), "log");
  x(0, 0) = 100;
  EXPECT_EQ(detect_kind<double>(x), "") << "no log2 is so large";
  x(0, 0) = 12345.5;
  EXPECT_EQ(detect_kind<double>(x), "");
}

}  // namespace
}  // namespace panvae::data::test
