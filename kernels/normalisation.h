// What the kernels of batch and layer normalisation share: how a number is normalised, where statistics lie, and sums on cpu.
#pragma once
#include <algorithm>

#include "kernels/moments.h"

namespace panvae {

// Of a channel or a row: h = (x - mean) inverse, inverse = 1 / sqrt(var + eps), with a mean in two parts.
template <class T>
struct Normaliser {
  TwoPart<T> mean;
  T inverse;

  __host__ __device__ T centred(T x) const { return (x - mean.large) - mean.small; }
  __host__ __device__ T operator()(T x) const { return centred(x) * inverse; }
};

// statistics [3, n]: both parts of the mean, and the inverse, of n channels or rows
template <class T>
__host__ __device__ inline Normaliser<T> normaliser_of(const T* statistics, int64_t i, int64_t n) {
  return {{statistics[i], statistics[n + i]}, statistics[2 * n + i]};
}
template <class T>
__host__ __device__ inline void put(T* statistics, int64_t i, int64_t n, const Normaliser<T>& s) {
  statistics[i] = s.mean.large, statistics[n + i] = s.mean.small, statistics[2 * n + i] = s.inverse;
}
// A gradient of weight or bias, which may not be asked for.
template <class T>
__host__ __device__ inline void put_or_add(T* to, int64_t i, bool add, T value) {
  if (to) to[i] = add ? to[i] + value : value;
}

namespace cpu {

constexpr int64_t kPiece = 512;  // elements that are summed in T, before their sum is added in f64

// Sum of f(i), i < n.
template <class F>
double sum_of(int64_t n, F f) {
  double total = 0;
  for (int64_t first = 0; first < n; first += kPiece) {
    const int64_t last = std::min(n, first + kPiece);
    decltype(f(first)) s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = first; i < last; ++i) s += f(i);
    total += static_cast<double>(s);
  }
  return total;
}

}  // namespace cpu

}  // namespace panvae
