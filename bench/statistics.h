// What a set of timings says, and how sure it is.
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

namespace panvae::bench {

struct Summary {
  size_t samples = 0;
  double median = 0, p20 = 0, p80 = 0;
  double low = 0, high = 0;  // 95 % interval of the median; of fewer than 6 samples, all they span
  // Half of the interval, in parts of the median.
  double half_width() const { return median > 0 ? (high - low) / 2 / median : 0; }
};

// Ranks, from 1, of the order statistics of n samples that enclose the median of their distribution, whatever that is,
// with at least 95 %: the widest k with P(Binomial(n, 1/2) < k) <= 2.5 % gives k and n + 1 - k. {0, 0} below n = 6.
std::pair<size_t, size_t> median_ranks(size_t n);

// The quantile q in [0, 1] of sorted values, interpolated between neighbours (R's type 7).
double quantile(const std::vector<double>& sorted, double q);

Summary summarise(std::vector<double> values);

}  // namespace panvae::bench
