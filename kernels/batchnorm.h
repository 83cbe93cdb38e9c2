// What the kernels of batch normalisation share: running statistics, and the sums of columns on cpu.
#pragma once
#include "kernels/normalisation.h"

namespace panvae {

template <class T>
__host__ __device__ inline void update_running(T* running, int64_t c, T momentum, T value) {
  running[c] = (T(1) - momentum) * running[c] + momentum * value;
}

namespace PV_EXEC {

// One instruction of the special unit and two more, where a root and a division are some fifty.
__device__ inline float inverse_root(float v) {
  return rsqrtf(v);
}
__device__ inline double inverse_root(double v) {
  return rsqrt(v);
}

}  // namespace PV_EXEC

namespace cpu {

constexpr int64_t kRows = 8;  // whose elements of a column are in registers together

// mean and m2 of each column over `before` rows, with R more; x - origin counts.
template <int R, class T>
void add_moments(const T* x, int64_t stride, int64_t columns, int64_t before, const T* origin, T* mean, T* m2) {
  const T share = static_cast<T>(static_cast<double>(R) / static_cast<double>(before + R)), weight = share * static_cast<T>(before);
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) {
    T d[R], sum = T(0), square = T(0);
    for (int r = 0; r < R; ++r) d[r] = x[r * stride + c] - origin[c];
    for (int r = 0; r < R; ++r) sum += d[r];
    const T m = sum * (T(1) / R);
    for (int r = 0; r < R; ++r) square += (d[r] - m) * (d[r] - m);
    const T delta = m - mean[c];
    mean[c] += delta * share;
    m2[c] += square + delta * weight * delta;
  }
}
// f.template operator()<R>(first row) for groups of `Group` rows and the single rows behind them.
template <int64_t Group = kRows, class F>
void by_rows(int64_t rows, F&& f) {
  int64_t r = 0;
  for (; r + Group <= rows; r += Group) f.template operator()<Group>(r);
  for (; r < rows; ++r) f.template operator()<1>(r);
}
// Likewise of several arrays at once: rows a multiple of two pages apart share the sets of a first cache, which hold few of their lines.
template <class T, class F>
void by_rows_of_arrays(int64_t rows, int64_t stride, F&& f) {
  if (stride * static_cast<int64_t>(sizeof(T)) % 8192 == 0) by_rows<kRows / 2>(rows, f);
  else by_rows(rows, f);
}

}  // namespace cpu

}  // namespace panvae
