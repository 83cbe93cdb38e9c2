#include "bench/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/philox.h"

namespace panvae::bench {
namespace {

using Ranks = std::pair<size_t, size_t>;

// Tables of order statistics, for instance Conover, Practical Nonparametric Statistics, for the median at 95 %.
TEST(statistics, ranks_of_the_median_are_those_of_the_tables) {
  EXPECT_EQ(median_ranks(5), Ranks(0, 0));
  EXPECT_EQ(median_ranks(6), Ranks(1, 6));
  EXPECT_EQ(median_ranks(8), Ranks(1, 8));
  EXPECT_EQ(median_ranks(9), Ranks(2, 8));
  EXPECT_EQ(median_ranks(10), Ranks(2, 9));
  EXPECT_EQ(median_ranks(20), Ranks(6, 15));
  EXPECT_EQ(median_ranks(50), Ranks(18, 33));
  EXPECT_EQ(median_ranks(100), Ranks(40, 61));
}

TEST(statistics, ranks_by_the_normal_approximation_join_the_exact_ones) {
  const Ranks exact = median_ranks(200), approximate = median_ranks(201);
  EXPECT_LE(exact.first, approximate.first);
  EXPECT_LE(approximate.first, exact.first + 1);
  EXPECT_EQ(approximate.second, 202 - approximate.first);
}

TEST(statistics, summary_of_known_values) {
  const Summary s = summarise({9, 1, 3, 7, 5, 2, 8, 4, 6, 10, 11});
  EXPECT_EQ(s.samples, 11u);
  EXPECT_EQ(s.median, 6);
  EXPECT_EQ(s.p20, 3);
  EXPECT_EQ(s.p80, 9);
  EXPECT_EQ(s.low, 2);  // ranks 2 and 10 of 11
  EXPECT_EQ(s.high, 10);
  EXPECT_DOUBLE_EQ(s.half_width(), 4.0 / 6);
}

TEST(statistics, few_values_span_all_they_have) {
  EXPECT_EQ(summarise({}).samples, 0u);
  EXPECT_EQ(summarise({}).half_width(), 0);
  const Summary one = summarise({3}), two = summarise({4, 2});
  EXPECT_EQ(one.median, 3);
  EXPECT_EQ(one.low, 3);
  EXPECT_EQ(one.high, 3);
  EXPECT_EQ(two.median, 3);
  EXPECT_EQ(two.low, 2);
  EXPECT_EQ(two.high, 4);
}

TEST(statistics, quantiles_are_interpolated) {
  const std::vector<double> v{10, 20, 30, 40};
  EXPECT_EQ(quantile(v, 0), 10);
  EXPECT_EQ(quantile(v, 1), 40);
  EXPECT_EQ(quantile(v, 0.5), 25);
  EXPECT_NEAR(quantile(v, 0.2), 16, 1e-12);  // R: quantile(c(10, 20, 30, 40), 0.2)
  EXPECT_EQ(quantile({}, 0.5), 0);
}

// The interval holds the true median as often as it says, of a skewed distribution too.
TEST(statistics, the_interval_covers_the_median) {
  for (const size_t n : {7u, 21u, 60u, 250u}) {
    int covered = 0;
    constexpr int kTrials = 4000;
    for (int trial = 0; trial < kTrials; ++trial) {
      PhiloxSequence draw({11, static_cast<uint32_t>(trial), static_cast<uint32_t>(n)});
      std::vector<double> values(n);
      for (double& x : values) x = 1 - std::log(1 - draw.uniform());  // 1 + exponential: median 1 + ln 2
      const Summary s = summarise(values);
      covered += s.low <= 1 + std::log(2.0) && 1 + std::log(2.0) <= s.high;
    }
    const double rate = static_cast<double>(covered) / kTrials;
    EXPECT_GE(rate, 0.94) << n;  // 95 % but for the error of 4000 trials
    EXPECT_LE(rate, 0.99) << n;
  }
}

}  // namespace
}  // namespace panvae::bench
