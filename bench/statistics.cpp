#include "bench/statistics.h"

#include <algorithm>
#include <cmath>

namespace panvae::bench {

std::pair<size_t, size_t> median_ranks(size_t n) {
  if (n < 6) return {0, 0};
  const double samples = static_cast<double>(n);
  size_t k = 0;
  if (n > 200) {
    k = static_cast<size_t>(samples / 2 - 0.98 * std::sqrt(samples));  // 1.96 standard deviations, each sqrt(n) / 2
  } else {
    double probability = std::pow(0.5, samples), below = 0;  // P(X = k), P(X < k + 1)
    for (;; ++k) {
      below += probability;
      if (below > 0.025) break;
      probability *= (samples - static_cast<double>(k)) / static_cast<double>(k + 1);
    }
  }
  return {k, n + 1 - k};
}

double quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return 0;
  const double at = q * static_cast<double>(sorted.size() - 1);
  const size_t i = static_cast<size_t>(at);
  if (i + 1 >= sorted.size()) return sorted.back();
  return sorted[i] + (at - static_cast<double>(i)) * (sorted[i + 1] - sorted[i]);
}

Summary summarise(std::vector<double> values) {
  Summary s;
  s.samples = values.size();
  if (values.empty()) return s;
  std::sort(values.begin(), values.end());
  s.median = quantile(values, 0.5);
  s.p20 = quantile(values, 0.2);
  s.p80 = quantile(values, 0.8);
  const auto [from, to] = median_ranks(values.size());
  s.low = from ? values[from - 1] : values.front();
  s.high = to ? values[to - 1] : values.back();
  return s;
}

}  // namespace panvae::bench
