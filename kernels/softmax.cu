// Softmax of the rows of x [R, C], and its gradient:
//   y = exp(x - max) / sum exp(x - max);  g_x = y (g_y - sum_c g_y y)
// The largest element is taken off first, so nothing overflows. A row with a NaN, with +infinity, or of -infinity alone, has
// no softmax and becomes NaN throughout, as in PyTorch.
//
// Bytes (f32): 8 R C and 12 R C, where a row stays in a cache. simt, cuda: a block a row, reductions in a fixed tree.
#include <algorithm>
#include <limits>

#include "base/threads.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/moments.h"
#include "kernels/vector_math.h"

namespace panvae {

namespace cpu {

constexpr int64_t kPiece = 256;  // elements of a row that are summed in T, one by one at worst, before their sum is added in f64

template <class T>
T largest(const T* x, int64_t n) {
  T m = -std::numeric_limits<T>::infinity();
#pragma omp simd reduction(max : m)
  for (int64_t c = 0; c < n; ++c) m = x[c] > m ? x[c] : m;
  return m;
}
template <class T>
T exponentials(const T* x, T* y, int64_t n, T m) {  // y may be x
  T s = T(0);
#pragma omp simd reduction(+ : s)
  for (int64_t c = 0; c < n; ++c) {
    y[c] = exponential(x[c] - m);
    s += y[c];
  }
  return s;
}
template <class T>
T product(const T* a, const T* b, int64_t n) {
  T s = T(0);
#pragma omp simd reduction(+ : s)
  for (int64_t c = 0; c < n; ++c) s += a[c] * b[c];
  return s;
}

// f(first, count) summed over the pieces of a row.
template <class F>
double over_pieces(int64_t C, F f) {
  double s = 0;
  for (int64_t c = 0; c < C; c += kPiece) s += f(c, std::min(kPiece, C - c));
  return s;
}

template <class T>
void softmax(Stream&, In<T> x, Out<T> y, int64_t R, int64_t C) {
  if (C == 0) return;
  parallel_chunks(R, 1 + 16384 / C, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* from = x + r * C;
      T* to = y + r * C;
      const T m = largest(from, C);
      const T inverse = static_cast<T>(1 / over_pieces(C, [=](int64_t c, int64_t n) { return exponentials(from + c, to + c, n, m); }));
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) to[c] *= inverse;
    }
  });
}

template <class T>
void softmax_grad(Stream&, In<T> y, In<T> grad_y, Out<T> grad_x, int64_t R, int64_t C) {
  if (C == 0) return;
  parallel_chunks(R, 1 + 16384 / C, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T *p = y + r * C, *g = grad_y + r * C;
      T* to = grad_x + r * C;
      const T s = static_cast<T>(over_pieces(C, [=](int64_t c, int64_t n) { return product(p + c, g + c, n); }));
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) to[c] = p[c] * (g[c] - s);
    }
  });
}

}  // namespace cpu

namespace PV_EXEC {

template <class T>
__global__ void __launch_bounds__(kBlock) softmax_kernel(const T* x, T* y, int64_t C) {
  begin_kernel();
  constexpr T kNone = -std::numeric_limits<T>::infinity();
  const int64_t first = int64_t(blockIdx.x) * C;
  Largest<T> m{kNone};
#pragma unroll kGroup
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) m.merge({x[first + c]});
  m = merge_block(m, Largest<T>{kNone});
  Sums<T> s{T(0), T(0)};
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
    const T e = exponential(x[first + c] - m.value);
    y[first + c] = e;
    s.a += e;
  }
  s = merge_block(s, Sums<T>{T(0), T(0)});
  const T inverse = T(1) / s.a;
#pragma unroll kGroup
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) y[first + c] *= inverse;
}

template <class T>
__global__ void __launch_bounds__(kBlock) softmax_grad_kernel(In<T> y, const T* grad_y, T* grad_x, int64_t C) {
  begin_kernel();
  const int64_t first = int64_t(blockIdx.x) * C;
  Sums<T> s{T(0), T(0)};
#pragma unroll kGroup
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) s.a += y[first + c] * grad_y[first + c];
  s = merge_block(s, Sums<T>{T(0), T(0)});
#pragma unroll kGroup
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) grad_x[first + c] = y[first + c] * (grad_y[first + c] - s.a);
}

template <class T>
void softmax(Stream& stream, In<T> x, Out<T> y, int64_t R, int64_t C) {
  if (C > 0) launch(stream, grid_for(R, 1), threads_for(C, kBlock), 0, softmax_kernel<T>, x, y, C);
}

template <class T>
void softmax_grad(Stream& stream, In<T> y, In<T> grad_y, Out<T> grad_x, int64_t R, int64_t C) {
  if (C > 0) launch(stream, grid_for(R, 1), threads_for(C, kBlock), 0, softmax_grad_kernel<T>, y, grad_y, grad_x, C);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(softmax)
PV_INSTANTIATE(softmax_grad)

}  // namespace panvae
