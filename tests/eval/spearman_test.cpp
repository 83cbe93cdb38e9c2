#include "eval/spearman.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/interrupt.h"
#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using test::gaussian;

TEST(Spearman, RanksAverageTies) {
  EXPECT_EQ(average_ranks(std::vector<double>{10, 20, 10, 5, 10}), (std::vector<double>{3, 5, 3, 1, 3}));
  EXPECT_EQ(average_ranks(std::vector<double>{-0.0, 0.0, 1}), (std::vector<double>{1.5, 1.5, 3}));
  EXPECT_TRUE(average_ranks({}).empty());
}

// Long vectors are sorted another way: both give the definition, the number below and half of those equal.
TEST(Spearman, RanksAreTheDefinitionForShortAndLongVectors) {
  PhiloxSequence random(PhiloxKey{2, 1, 0});
  for (size_t n : {0u, 1u, 2u, 33u, 2047u, 2048u, 5001u})
    for (int kind = 0; kind < 4; ++kind) {
      std::vector<double> v(n), sorted;
      for (double& x : v) {
        x = random.normal();
        if (kind == 1) x = std::round(3 * x);  // ties, negative and zero of both signs
        if (kind == 2) x = static_cast<double>(static_cast<float>(x)) * 1e30;
        if (kind == 3) x = x > 0 ? std::exp(200 * x) : -std::exp(-200 * x);
      }
      sorted = v;
      std::sort(sorted.begin(), sorted.end());
      const std::vector<double> rank = average_ranks(v);
      for (size_t i = 0; i < n; ++i) {
        const auto [low, high] = std::equal_range(sorted.begin(), sorted.end(), v[i]);
        ASSERT_EQ(rank[i], 0.5 * static_cast<double>((low - sorted.begin()) + 1 + (high - sorted.begin()))) << n << " " << kind;
      }
    }
}

// R: cor(c(1,2,3,4,5), c(5,6,7,8,7), method = "spearman") and scipy.stats.spearmanr give 0.8207826816681233.
TEST(Spearman, AgreesWithRAndScipyOnTies) {
  EXPECT_NEAR(spearman(std::vector<double>{1, 2, 3, 4, 5}, std::vector<double>{5, 6, 7, 8, 7}), 0.8207826816681233, 1e-15);
}

TEST(Spearman, AgreesWithTheFormulaWithoutTies) {
  const auto x = gaussian(2, 101, 1);
  std::vector<double> a(x.data(), x.data() + 101), b(x.data() + 101, x.data() + 202);
  const auto r = average_ranks(a), s = average_ranks(b);
  double d2 = 0;
  for (size_t i = 0; i < 101; ++i) d2 += (r[i] - s[i]) * (r[i] - s[i]);
  EXPECT_NEAR(spearman(a, b), 1 - 6 * d2 / (101.0 * (101.0 * 101.0 - 1)), 1e-14);
}

TEST(Spearman, MonotoneIsExactlyOne) {
  std::vector<double> a, b, c;
  for (int i = 0; i < 20011; ++i) a.push_back(std::sin(i)), b.push_back(std::exp(3 * a.back())), c.push_back(-a.back());
  EXPECT_EQ(spearman(a, b), 1.0);
  EXPECT_EQ(spearman(a, c), -1.0);
}

TEST(Spearman, UndefinedIsNaN) {
  EXPECT_TRUE(std::isnan(spearman(std::vector<double>{1, 1, 1}, std::vector<double>{1, 2, 3})));
  EXPECT_TRUE(std::isnan(spearman(std::vector<double>{1}, std::vector<double>{2})));
  EXPECT_TRUE(std::isnan(spearman({}, {})));
}

TEST(Spearman, ConstantColumnsAreCountedAndLeftOut) {
  auto a = gaussian(30, 7, 2), b = a;
  b.col(3).setConstant(2);
  const Correlations c = spearman_columns(a, b);
  EXPECT_EQ(c.undefined, 1);
  EXPECT_TRUE(std::isnan(c.value[3]));
  EXPECT_EQ(c.mean, 1.0);
  const Correlations none = spearman_columns(a.topRows(1), b.topRows(1));
  EXPECT_EQ(none.undefined, 7);
  EXPECT_TRUE(std::isnan(none.mean));
}

TEST(Spearman, RowsAreColumnsOfTheTranspose) {
  const auto a = gaussian(37, 53, 3), b = gaussian(37, 53, 4);
  const data::RowMatrix<double> at = a.transpose(), bt = b.transpose();
  EXPECT_EQ(spearman_rows(a, b).value, spearman_columns(at, bt).value);
}

TEST(Spearman, EachOfManyPairsIsItsOwn) {
  const auto a = gaussian(5000, 6, 9), b = gaussian(5000, 6, 10);
  const Correlations c = spearman_rows(a, b);
  const auto row = [](const data::RowMatrix<double>& m, int64_t i) { return std::span<const double>(m.data() + 6 * i, 6); };
  for (int64_t i = 0; i < 5000; ++i) ASSERT_EQ(c.value[static_cast<size_t>(i)], spearman(row(a, i), row(b, i))) << i;
}

TEST(Spearman, ThreadsDoNotMatter) {
  const auto a = gaussian(300, 41, 5), b = gaussian(300, 41, 6);
  const test::Threads one(1);
  const auto x = spearman_rows(a, b);
  set_threads(3);
  const auto y = spearman_rows(a, b);
  EXPECT_EQ(x.value, y.value);
  EXPECT_EQ(x.mean, y.mean);
}

TEST(Spearman, RefusesWhatCannotBeCompared) {
  auto a = gaussian(3, 4, 7);
  EXPECT_ERROR(ErrorCode::input, "[3, 4] and [4, 3]", spearman_rows(a, data::RowMatrix<double>(a.transpose())));
  auto b = a;
  b(1, 2) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_ERROR(ErrorCode::input, "second matrix, sample 2, feature 3", spearman_rows(a, b));
}

TEST(Spearman, CtrlCStops) {
  const auto a = gaussian(3, 4, 8);
  set_interrupted(true);
  const Error e = test::error_of([&] { spearman_rows(a, a); });
  set_interrupted(false);
  EXPECT_EQ(e.code(), ErrorCode::interrupted);
}

}  // namespace
}  // namespace panvae::eval
