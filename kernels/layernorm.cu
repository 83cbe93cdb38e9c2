// Layer normalisation (Ba, Kiros and Hinton 2016) of the rows of x [R, C]:
//   y = w h + b, h = (x - mean) / sqrt(var + eps), mean and var = 1/C sum (x - mean)^2 of the row
//   g_b = sum_r g_y;  g_w = sum_r g_y h;  g_x = (w g_y - 1/C sum_c w g_y - 1/C h sum_c w g_y h) / sqrt(var + eps)
//
// Bytes (f32): forward 8 R C, gradient 12 R C where a row stays in a cache. Means and variances as in batchnorm.cu: merged
// pairwise, relative to the first element, a mean in two parts.
//
// C = 1: x is its own mean, so y = b and g_w = 0, exactly, whatever x is, and g_x is 0 but for the rounding of w g_y over sqrt(eps).
// PyTorch 2.15 answers the same in g_x and keeps in g_w what rounding left of large x.
//
// simt, cuda: a block a row; for g_w and g_b a block has 8 neighbouring columns, or 32 where there are many. cpu: chunks of
// kChunk rows, whose shares of g_w and g_b are added in order.
#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "kernels/block_sums.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/normalisation.h"

namespace panvae {

namespace cpu {

constexpr int64_t kChunk = 32;  // rows

template <class T>
Normaliser<T> row_moments(const T* x, int64_t C, T eps) {
  const T origin = x[0];
  const double count = static_cast<double>(C), mean = sum_of(C, [=](int64_t c) { return x[c] - origin; }) / count;
  const T m = static_cast<T>(mean), rest = static_cast<T>(mean - static_cast<double>(m));
  const double variance = sum_of(C,
                                 [=](int64_t c) {
                                   const T d = ((x[c] - origin) - m) - rest;
                                   return d * d;
                                 }) /
                          count;
  const TwoPart<double> sum = exact_sum<double>(origin, mean);
  const T large = static_cast<T>(sum.large);
  return {{large, static_cast<T>((sum.large - static_cast<double>(large)) + sum.small)}, static_cast<T>(1 / std::sqrt(variance + static_cast<double>(eps)))};
}

template <class T>
void layernorm(Stream&, In<T> x, In<T> weight, In<T> bias, int64_t R, int64_t C, T eps, Out<T> y, Out<T> statistics) {
  parallel_chunks(R, 1 + 16384 / C, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* from = x + r * C;
      T* to = y + r * C;
      const Normaliser<T> row = row_moments(from, C, eps);
      put(statistics, r, R, row);
      if (weight && bias) {
#pragma omp simd
        for (int64_t c = 0; c < C; ++c) to[c] = row(from[c]) * weight[c] + bias[c];
      } else {
        for (int64_t c = 0; c < C; ++c) to[c] = row(from[c]) * (weight ? weight[c] : T(1)) + (bias ? bias[c] : T(0));
      }
    }
  });
}

template <class T>
void layernorm_grad(Stream& stream, In<T> x, In<T> grad_y, In<T> weight, In<T> statistics, int64_t R, int64_t C, Out<T> grad_x, InOut<T> grad_weight,
                    InOut<T> grad_bias, bool add_weight, bool add_bias) {
  const int64_t chunks = (R + kChunk - 1) / kChunk;
  T* const shares = stream.scratch<T>(2 * chunks * C + C + 1);  // of g_w [chunks, C] and g_b [chunks, C]; and weights
  T* const scale = shares + 2 * chunks * C;
  for (int64_t c = 0; c < C; ++c) scale[c] = weight ? weight[c] : T(1);
  parallel_chunks(R, kChunk, [=](int64_t begin, int64_t end) {
    T *const of_weight = shares + begin / kChunk * C, *const of_bias = of_weight + chunks * C;
    std::fill_n(of_weight, C, T(0));
    std::fill_n(of_bias, C, T(0));
    for (int64_t r = begin; r < end; ++r) {
      const T *const from = x + r * C, *const gy = grad_y + r * C;
      const Normaliser<T> row = normaliser_of(statistics, r, R);
      if (grad_weight || grad_bias) {
#pragma omp simd
        for (int64_t c = 0; c < C; ++c) of_weight[c] += gy[c] * row(from[c]), of_bias[c] += gy[c];
      }
      if (!grad_x) continue;
      const double count = static_cast<double>(C);
      const T mean = static_cast<T>(sum_of(C, [=](int64_t c) { return scale[c] * gy[c]; }) / count),
              slope = static_cast<T>(sum_of(C, [=](int64_t c) { return scale[c] * gy[c] * row(from[c]); }) / count);
      T* const to = grad_x + r * C;
#pragma omp simd
      for (int64_t c = 0; c < C; ++c) to[c] = row.inverse * ((scale[c] * gy[c] - mean) - row(from[c]) * slope);
    }
  });
  parallel_chunks(C, 1024, [=](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      double w = 0, b = 0;
      for (int64_t i = 0; i < chunks; ++i) w += shares[i * C + c], b += shares[(chunks + i) * C + c];
      put_or_add(grad_weight, c, add_weight, static_cast<T>(w));
      put_or_add(grad_bias, c, add_bias, static_cast<T>(b));
    }
  });
}

}  // namespace cpu

namespace PV_EXEC {

constexpr int kMost = 512;  // threads of a row; of f32, two such blocks fit on a processor

// Numbers of a thread that are loaded together: 32 bytes.
template <class T>
constexpr int kTogether = 32 / sizeof(T);

// Numbers first, first + step, ... of a row of C; 0 behind its end. Returns how many there are.
template <int N, class T>
__device__ int load_row(const T* row, int64_t first, int64_t C, int64_t step, T (&v)[N]) {
  int count = 0;
#pragma unroll
  for (int j = 0; j < N; ++j, first += step) {
    v[j] = first < C ? row[first] : T(0);
    count += first < C;
  }
  return count;
}

template <class T>
__global__ void __launch_bounds__(kMost, 8 / sizeof(T))
    layernorm_kernel(In<T> x, In<T> weight, In<T> bias, int64_t R, int64_t C, T eps, Out<T> y, Out<T> statistics) {
  begin_kernel();
  constexpr int N = kTogether<T>;
  const int64_t r = blockIdx.x, step = blockDim.x;
  const T *const from = x + r * C, origin = from[0];
  T v[N] = {}, w[N], b[N];
  Moments<T> m{T(0), T(0), T(0)};
#pragma unroll 1
  for (int64_t c = threadIdx.x; c < C; c += N * step) {
    const int count = load_row(from, c, C, step, v);
    add_loaded(m, v, count, origin);
  }
  auto load_affine = [&](int64_t c) {
#pragma unroll
    for (int j = 0; j < N; ++j, c += step) w[j] = weight && c < C ? weight[c] : T(1), b[j] = bias && c < C ? bias[c] : T(0);
  };
  load_affine(threadIdx.x);  // on its way while the row is summed
  m = merge_block(m, Moments<T>{T(0), T(0), T(0)});
  const Normaliser<T> row{exact_sum(origin, m.mean), T(1) / std::sqrt(m.m2 / T(C) + eps)};
  if (threadIdx.x == 0) put(statistics, r, R, row);
#pragma unroll 1
  for (int64_t c = threadIdx.x; c < C;) {
    if (C > N * step) load_row(from, c, C, step, v);  // else the whole row is in registers
#pragma unroll
    for (int j = 0; j < N; ++j, c += step)
      if (c < C) y[r * C + c] = row(v[j]) * w[j] + b[j];
    load_affine(c);
  }
}

template <class T>
__global__ void __launch_bounds__(kMost, 2) layernorm_rows_kernel(In<T> x, const T* grad_y, In<T> weight, In<T> statistics, int64_t R, int64_t C, T* grad_x) {
  begin_kernel();
  constexpr int N = kTogether<T> / 2;  // of three arrays
  const int64_t r = blockIdx.x, first = r * C, step = blockDim.x;
  const Normaliser<T> row = normaliser_of(statistics, r, R);
  T g[N] = {}, v[N] = {};
  auto load = [&](int64_t c) {
    T w[N];
    load_row(grad_y + first, c, C, step, g);
    load_row(x + first, c, C, step, v);
#pragma unroll
    for (int j = 0; j < N; ++j, c += step) w[j] = weight && c < C ? weight[c] : T(1);
#pragma unroll
    for (int j = 0; j < N; ++j) g[j] *= w[j];
  };
  Sums<T> sums{T(0), T(0)};
#pragma unroll 1
  for (int64_t c = threadIdx.x; c < C; c += N * step) {
    load(c);
#pragma unroll
    for (int j = 0; j < N; ++j) sums.merge({g[j], g[j] * row(v[j])});
  }
  sums = merge_block(sums, Sums<T>{T(0), T(0)});
  const T mean = sums.a / T(C), slope = sums.b / T(C);
#pragma unroll 1
  for (int64_t c = threadIdx.x; c < C;) {
    if (C > N * step) load(c);
#pragma unroll
    for (int j = 0; j < N; ++j, c += step)
      if (c < C) grad_x[first + c] = row.inverse * ((g[j] - mean) - row(v[j]) * slope);
  }
}

template <class T, int W>
__global__ void __launch_bounds__(kBlock)
    layernorm_columns_kernel(In<T> x, In<T> grad_y, In<T> statistics, int64_t R, int64_t C, T* grad_weight, T* grad_bias, bool add_weight, bool add_bias) {
  begin_kernel();
  constexpr int N = kTogether<T>;
  const int64_t c = int64_t(blockIdx.x) * W + threadIdx.x % W, step = blockDim.x / W;
  Sums<T> sums{T(0), T(0)};
#pragma unroll 1
  for (int64_t r = threadIdx.x / W; r < R;) {
    T g[N], v[N];
    Normaliser<T> row[N];
#pragma unroll
    for (int j = 0; j < N; ++j, r += step) {
      const bool there = r < R && c < C;
      g[j] = there ? grad_y[r * C + c] : T(0);
      v[j] = there ? x[r * C + c] : T(0);
      row[j] = there ? normaliser_of(statistics, r, R) : Normaliser<T>{};
    }
#pragma unroll
    for (int j = 0; j < N; ++j) sums.merge({g[j], g[j] * row[j](v[j])});
  }
  sums = merge_columns<W>(sums, Sums<T>{T(0), T(0)});
  if (threadIdx.x >= W || c >= C) return;
  put_or_add(grad_weight, c, add_weight, sums.b);
  put_or_add(grad_bias, c, add_bias, sums.a);
}

template <class T>
void layernorm(Stream& stream, In<T> x, In<T> weight, In<T> bias, int64_t R, int64_t C, T eps, Out<T> y, Out<T> statistics) {
  launch(stream, grid_for(R, 1), threads_ahead(C, kMost), 0, layernorm_kernel<T>, x, weight, bias, R, C, eps, y, statistics);
}

template <class T>
void layernorm_grad(Stream& stream, In<T> x, In<T> grad_y, In<T> weight, In<T> statistics, int64_t R, int64_t C, Out<T> grad_x, InOut<T> grad_weight,
                    InOut<T> grad_bias, bool add_weight, bool add_bias) {
  // grad_x may be grad_y, so the sums over rows come first.
  auto sum_over_rows = [&](int W, auto kernel) {
    launch(stream, grid_for(C, W), threads_ahead(R * W, kBlock), 0, kernel, x, grad_y, statistics, R, C, grad_weight, grad_bias, add_weight, add_bias);
  };
  if (grad_weight || grad_bias) {
    if (C <= kNarrow) sum_over_rows(8, layernorm_columns_kernel<T, 8>);
    else sum_over_rows(kWarp, layernorm_columns_kernel<T, kWarp>);
  }
  if (grad_x) launch(stream, grid_for(R, 1), threads_ahead(2 * C, kMost), 0, layernorm_rows_kernel<T>, x, grad_y, weight, statistics, R, C, grad_x);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(layernorm)
PV_INSTANTIATE(layernorm_grad)

}  // namespace panvae
