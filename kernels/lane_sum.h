// Sums in f64 on the CPU whose order does not depend on threads.
#pragma once
#include <cstdint>

namespace panvae::cpu {

// Sum of f(i) over [0, n) in f64, always in the same order: 32 running sums, so that additions need not wait for each other.
template <class F>
double lane_sum(int64_t n, F f) {
  constexpr int64_t kSums = 32;
  double s[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums)
#pragma omp simd
    for (int64_t j = 0; j < kSums; ++j) s[j] += f(i + j);
  for (int64_t j = 0; i + j < n; ++j) s[j] += f(i + j);
  double total = 0;
  for (double v : s) total += v;
  return total;
}

}  // namespace panvae::cpu
