// Which features vary enough, by hand: at a threshold, beside it, and over the rows asked for alone.
#include "data/variance_filter.h"

#include "support.h"

namespace panvae::data::test {
namespace {

std::vector<bool> kept(const RowMatrix<double>& x, int64_t rows, const std::string& filter) {
  std::vector<int64_t> judged;
  for (int64_t r = 0; r < rows; ++r) judged.push_back(r);
  return variable_features(x, judged, VarianceFilter::parse(filter),
                           [&](int64_t r, double* out) { std::copy(x.data() + r * x.cols(), x.data() + (r + 1) * x.cols(), out); });
}
using Flags = std::vector<bool>;

// Of ten samples none, one, six and nine differ from the most frequent value; an eleventh, which is not asked for, in all.
TEST(VarianceFilters, NearZeroVarianceIsTheShareThatDiffers) {
  RowMatrix<double> x(11, 4);
  for (int64_t i = 0; i < 10; ++i) x.row(i) << 5, i == 3 ? 1 : 0, i < 4 ? 0 : i < 7 ? 1 : 2, static_cast<double>(i);
  x.row(10).setConstant(99);
  EXPECT_EQ(kept(x, 10, "nzv:0"), (Flags{false, true, true, true})) << "a constant is never kept";
  EXPECT_EQ(kept(x, 10, "nzv:0.1"), (Flags{false, true, true, true})) << "one of ten is a share of 0.1";
  EXPECT_EQ(kept(x, 10, "nzv:0.11"), (Flags{false, false, true, true}));
  EXPECT_EQ(kept(x, 10, "nzv:0.6"), (Flags{false, false, true, true}));
  EXPECT_EQ(kept(x, 10, "nzv:0.65"), (Flags{false, false, false, true})) << "no value has a majority";
  EXPECT_EQ(kept(x, 10, "nzv:0.9"), (Flags{false, false, false, true}));
  EXPECT_EQ(kept(x, 11, "nzv:0"), (Flags{true, true, true, true}));
}

// 1 and 3: the mean is 2, the variance (n - 1) 2, and 2 / 2^2 = 0.5.
TEST(VarianceFilters, SquaredCoefficientOfVariation) {
  RowMatrix<double> x(3, 3);
  x << 1, 0, 2, 3, 0, 2, 100, 1, 3;
  EXPECT_EQ(kept(x, 2, "cv2:0.5"), (Flags{true, false, false}));
  EXPECT_EQ(kept(x, 2, "cv2:0.51"), (Flags{false, false, false}));
  EXPECT_EQ(kept(x, 2, "cv2:0"), (Flags{true, false, false})) << "constants, and a mean of zero, are never kept";
}

// The lowest are dropped, as many as whole features fit in the share; of equal ones the first.
TEST(VarianceFilters, QuantileOfTheVariances) {
  RowMatrix<double> x(3, 5);
  x << 0, 0, 0, 0, 0, 4, 1, 3, 1, 2, 0, 9, 0, 0, 0;
  EXPECT_EQ(kept(x, 2, "quantile:0"), (Flags{true, true, true, true, true}));
  EXPECT_EQ(kept(x, 2, "quantile:0.2"), (Flags{true, false, true, true, true}));
  EXPECT_EQ(kept(x, 2, "quantile:0.5"), (Flags{true, false, true, false, true}));
  EXPECT_EQ(kept(x, 2, "quantile:0.8"), (Flags{true, false, false, false, false}));
  RowMatrix<double> hundred(2, 100);
  for (int64_t c = 0; c < 100; ++c) hundred.col(c) << 0, static_cast<double>(c);
  for (const int64_t share : {7, 28, 29, 57, 58}) {
    const Flags flags = kept(hundred, 2, fmt::format("quantile:0.{:02}", share));
    EXPECT_EQ(std::count(flags.begin(), flags.end(), false), share);
  }
}

}  // namespace
}  // namespace panvae::data::test
