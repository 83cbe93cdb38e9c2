// Sums. Partial sums cover fixed stretches of the data, are kept in memory and added in a fixed second pass: no atomics,
// the same bits whatever the number of threads or the order of blocks.
//
//   sum_rows     [R, C] -> [R]   a block a row; 4 R C bytes
//   sum_columns  [R, C] -> [C]   blocks of 256 columns x 64 rows, then the partials of a column in row order
//   sum_channels [B, C, L] -> [C]  stretches of 16384 elements of a channel, then the partials of a channel in order
//   sum          [n] -> [1]      stretches of 16384, then the partials in order by one block
//   sum_squares  [n] -> [1]      likewise; squares are accumulated in f64, so gradients of any size do not overflow
//
// cpu accumulates in f64, simt and cuda in T within a stretch (f64 for sum_squares) and in f64 over stretches.
#include <algorithm>

#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/lane_sum.h"

namespace panvae {

namespace {

constexpr int64_t kStretch = 16384;  // elements of one partial of sum and sum_squares
constexpr int64_t kStripe = 64;      // rows of one partial of sum_columns

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

namespace cpu {

template <class T>
void sum_rows(Stream&, In<T> x, Out<T> y, int64_t rows, int64_t columns) {
  parallel_chunks(rows, 1 + 16384 / (columns + 1), [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* row = x + r * columns;
      y[r] = static_cast<T>(lane_sum(columns, [row](int64_t c) { return static_cast<double>(row[c]); }));
    }
  });
}

template <class T>
void sum_columns(Stream&, In<T> x, InOut<T> y, int64_t rows, int64_t columns, bool accumulate) {
  constexpr int64_t kWidth = 256, kRows = 8;  // rows that are added before the sums are touched
  parallel_chunks(columns, kWidth, [=](int64_t begin, int64_t end) {
    double s[kWidth] = {};
    const int64_t n = end - begin;
    int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) {
      const T* row = x + r * columns + begin;
#pragma omp simd
      for (int64_t c = 0; c < n; ++c) {
        double t = 0;
        for (int64_t i = 0; i < kRows; ++i) t += row[i * columns + c];
        s[c] += t;
      }
    }
    for (; r < rows; ++r)
      for (int64_t c = 0; c < n; ++c) s[c] += x[r * columns + begin + c];
    for (int64_t c = 0; c < n; ++c) y[begin + c] = static_cast<T>(s[c]) + (accumulate ? y[begin + c] : T(0));
  });
}

template <class T>
void sum_channels(Stream&, In<T> x, InOut<T> y, int64_t B, int64_t C, int64_t L, bool accumulate) {
  // Neighbouring channels together: one alone is read in runs of L, each on another page of memory.
  constexpr int64_t kMost = 64, kTasks = 8;
  parallel_chunks(C, std::clamp<int64_t>(C / kTasks, 1, kMost), [=](int64_t begin, int64_t end) {
    double s[kMost] = {};
    for (int64_t b = 0; b < B; ++b)
      for (int64_t c = begin; c < end; ++c) {
        const T* p = x + (b * C + c) * L;
        s[c - begin] += lane_sum(L, [p](int64_t l) { return static_cast<double>(p[l]); });
      }
    for (int64_t c = begin; c < end; ++c) y[c] = static_cast<T>(s[c - begin]) + (accumulate ? y[c] : T(0));
  });
}

// Sum of f(x[i]) in f64 over fixed stretches; `partials` holds one double a stretch.
template <class T, class F>
double stretched_sum(const T* x, int64_t n, double* partials, F f) {
  parallel_chunks(n, kStretch, [=](int64_t begin, int64_t end) {
    partials[begin / kStretch] = lane_sum(end - begin, [=](int64_t i) { return f(static_cast<double>(x[begin + i])); });
  });
  double total = 0;
  for (int64_t i = 0; i < ceil_div(n, kStretch); ++i) total += partials[i];
  return total;
}

template <class T>
void sum(Stream& stream, In<T> x, Out<T> y, int64_t n, T factor) {
  *y = static_cast<T>(factor * stretched_sum(x, n, stream.scratch<double>(ceil_div(n, kStretch) + 1), [](double v) { return v; }));
}

template <class T>
void sum_squares(Stream& stream, In<T> x, Out<double> y, int64_t n) {
  *y = stretched_sum(x, n, stream.scratch<double>(ceil_div(n, kStretch) + 1), [](double v) { return v * v; });
}

}  // namespace cpu

namespace PV_EXEC {

template <class T>
__global__ void sum_rows_kernel(In<T> x, Out<T> y, int64_t columns) {
  const T* row = x + int64_t(blockIdx.x) * columns;
  T s = T(0);
  for (int64_t c = threadIdx.x; c < columns; c += blockDim.x) s += row[c];
  s = block_sum(s);
  if (threadIdx.x == 0) y[blockIdx.x] = s;
}

template <class T>
void sum_rows(Stream& stream, In<T> x, Out<T> y, int64_t rows, int64_t columns) {
  launch(stream, grid_for(rows, 1), kBlock, 0, sum_rows_kernel<T>, x, y, columns);
}

// partials [stripes, C]
template <class T>
__global__ void column_stripes_kernel(In<T> x, Out<T> partials, int64_t rows, int64_t columns, int64_t column_blocks) {
  const int64_t c = blockIdx.x % column_blocks * blockDim.x + threadIdx.x, stripe = blockIdx.x / column_blocks;
  if (c >= columns) return;
  const int64_t first = stripe * kStripe, last = first + kStripe < rows ? first + kStripe : rows;
  T s = T(0);
  for (int64_t r = first; r < last; ++r) s += x[r * columns + c];
  partials[stripe * columns + c] = s;
}

template <class T>
__global__ void column_total_kernel(In<T> partials, InOut<T> y, int64_t stripes, int64_t columns, bool accumulate) {
  const int64_t c = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= columns) return;
  double s = 0;
  for (int64_t i = 0; i < stripes; ++i) s += partials[i * columns + c];
  y[c] = static_cast<T>(s) + (accumulate ? y[c] : T(0));
}

template <class T>
void sum_columns(Stream& stream, In<T> x, InOut<T> y, int64_t rows, int64_t columns, bool accumulate) {
  if (columns == 0) return;
  const int64_t stripes = ceil_div(rows, kStripe), column_blocks = ceil_div(columns, kBlock);
  T* partials = stream.scratch<T>(stripes * columns + 1);
  launch(stream, grid_for(stripes * column_blocks, 1), kBlock, 0, column_stripes_kernel<T>, x, partials, rows, columns, column_blocks);
  launch(stream, grid_for(columns, kBlock), kBlock, 0, column_total_kernel<T>, static_cast<In<T>>(partials), y, stripes, columns, accumulate);
}

// partials [stretches, C]; element i of a channel is (b, l) = (i / L, i % L).
template <class T>
__global__ void channel_stretches_kernel(In<T> x, Out<T> partials, int64_t C, int64_t L, int64_t elements) {
  const int64_t c = blockIdx.x % C, stretch = blockIdx.x / C;
  const int64_t first = stretch * kStretch, last = first + kStretch < elements ? first + kStretch : elements;
  T s = T(0);
  for (int64_t i = first + threadIdx.x; i < last; i += blockDim.x) s += x[(i / L * C + c) * L + i % L];
  s = block_sum(s);
  if (threadIdx.x == 0) partials[stretch * C + c] = s;
}

template <class T>
void sum_channels(Stream& stream, In<T> x, InOut<T> y, int64_t B, int64_t C, int64_t L, bool accumulate) {
  if (C == 0) return;
  const int64_t stretches = ceil_div(B * L, kStretch);
  T* partials = stream.scratch<T>(stretches * C + 1);
  launch(stream, grid_for(stretches * C, 1), kBlock, 0, channel_stretches_kernel<T>, x, partials, C, L, B * L);
  launch(stream, grid_for(C, kBlock), kBlock, 0, column_total_kernel<T>, static_cast<In<T>>(partials), y, stretches, C, accumulate);
}

template <bool Squares, class A, class T>
__global__ void stretches_kernel(In<T> x, Out<double> partials, int64_t n) {
  const int64_t first = blockIdx.x * kStretch, last = first + kStretch < n ? first + kStretch : n;
  A s = A(0);
  for (int64_t i = first + threadIdx.x; i < last; i += blockDim.x) s += Squares ? A(x[i]) * A(x[i]) : A(x[i]);
  s = block_sum(s);
  if (threadIdx.x == 0) partials[blockIdx.x] = s;
}

template <class T>
__global__ void total_kernel(In<double> partials, Out<T> y, int64_t count, T factor) {
  double s = 0;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) s += partials[i];
  s = block_sum(s);
  if (threadIdx.x == 0) *y = static_cast<T>(factor * s);
}

template <bool Squares, class A, class T, class R>
void stretched_sum(Stream& stream, In<T> x, Out<R> y, int64_t n, R factor) {
  const int64_t stretches = ceil_div(n, kStretch);
  double* partials = stream.scratch<double>(stretches + 1);
  launch(stream, grid_for(stretches, 1), kBlock, 0, stretches_kernel<Squares, A, T>, x, partials, n);
  launch(stream, 1, kBlock, 0, total_kernel<R>, static_cast<In<double>>(partials), y, stretches, factor);
}

template <class T>
void sum(Stream& stream, In<T> x, Out<T> y, int64_t n, T factor) {
  stretched_sum<false, T>(stream, x, y, n, factor);
}

template <class T>
void sum_squares(Stream& stream, In<T> x, Out<double> y, int64_t n) {
  stretched_sum<true, double>(stream, x, y, n, 1.0);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(sum_rows)
PV_INSTANTIATE(sum_columns)
PV_INSTANTIATE(sum_channels)
PV_INSTANTIATE(sum)
PV_INSTANTIATE(sum_squares)

}  // namespace panvae
