// Sums. Partial sums cover fixed stretches of the data, are kept in memory and added in a fixed order: the same bits whatever the
// number of threads or the order of blocks.
//
//   sum_rows     [R, C] -> [R]   a block a row; 4 R C bytes
//   sum_columns  [R, C] -> [C]   a block has 8 columns, or 32 where there are many, and all rows up to 1024; of more rows, stripes
//                                of at least 512, whose sums are then added the same way
//   sum_channels [B, C, L] -> [C]  a block a channel; of more than 16384 elements, stretches, whose sums are added as columns
//   sum          [n] -> [1]      stretches of at least 2048, at most 2048 of them, whose sums the last block adds (kernels/last_block.h)
//   sum_squares  [n] -> [1]      likewise; squares are accumulated in f64, so gradients of any size do not overflow
//
// cpu accumulates in f64, simt and cuda in T within a stretch (f64 for sum_squares) and in f64 over stretches.
#include <algorithm>

#include "base/threads.h"
#include "kernels/block_sums.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/lane_sum.h"
#include "kernels/last_block.h"

namespace panvae {

namespace {

constexpr int64_t kStretch = 16384;  // elements of one partial: of sum and sum_squares on cpu, of sum_channels on simt and cuda

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

constexpr int64_t kOneStripe = 1024;  // rows that a block of sum_columns adds alone
constexpr int64_t kStripe = 512;      // rows of one partial where there are more
constexpr int64_t kMostParts = 1024;  // partials of a column or channel
constexpr int64_t kPiece = 2048;      // elements of sum and sum_squares that a block loads at a time
constexpr int64_t kMostPieces = 2048;

template <class T>
__global__ void sum_rows_kernel(In<T> x, Out<T> y, int64_t columns) {
  begin_kernel();
  const T* row = x + int64_t(blockIdx.x) * columns;
  const T s = block_sum(sum_ahead<T>(row, threadIdx.x, columns, blockDim.x));
  if (threadIdx.x == 0) y[blockIdx.x] = s;
}

template <class T>
void sum_rows(Stream& stream, In<T> x, Out<T> y, int64_t rows, int64_t columns) {
  launch(stream, grid_for(rows, 1), threads_ahead(columns, 1024), 0, sum_rows_kernel<T>, x, y, columns);
}

// Block (i, j) adds rows [j stripe, (j + 1) stripe) of W columns; y [stripes, C]. A is the type of the sum.
template <int W, class A, class T>
__global__ void __launch_bounds__(kBlock) column_stripes_kernel(In<T> x, T* y, int64_t rows, int64_t columns, int64_t stripe, bool accumulate) {
  begin_kernel();
  constexpr int kRows = W < kWarp ? kAhead : 2 * kAhead;  // wide blocks have fewer threads a column
  const int64_t c = int64_t(blockIdx.x) * W + threadIdx.x % W, first = blockIdx.y * stripe, last = first + stripe < rows ? first + stripe : rows;
  const int64_t from = (first + threadIdx.x / W) * columns + c, end = c < columns ? last * columns : 0;  // elements of x
  const A s = column_sum<W>(sum_ahead<A, kRows>(x, from, end, blockDim.x / W * columns));
  if (threadIdx.x >= W || c >= columns) return;
  T* to = y + blockIdx.y * columns + c;
  *to = static_cast<T>(s) + (accumulate ? *to : T(0));
}

// Few columns in blocks of a 32-byte sector of each row, so that there are enough blocks; many in whole lines.
template <class A, class T>
void add_stripes(Stream& stream, In<T> x, T* y, int64_t rows, int64_t columns, int64_t stripe, bool accumulate) {
  const int64_t stripes = std::max<int64_t>(1, ceil_div(rows, stripe));
  auto run = [&](int64_t W, auto kernel) {
    launch(stream, dim3(grid_for(columns, W), static_cast<unsigned>(stripes)), kBlock, 0, kernel, x, y, rows, columns, stripe, accumulate);
  };
  if (columns <= kNarrow) run(8, column_stripes_kernel<8, A, T>);
  else run(kWarp, column_stripes_kernel<kWarp, A, T>);
}

template <class T>
void sum_columns(Stream& stream, In<T> x, InOut<T> y, int64_t rows, int64_t columns, bool accumulate) {
  if (rows <= kOneStripe) return add_stripes<T, T>(stream, x, y, rows, columns, kOneStripe, accumulate);
  const int64_t stripe = std::max(kStripe, ceil_div(rows, kMostParts)), stripes = ceil_div(rows, stripe);
  T* partials = stream.scratch<T>(stripes * columns + 1);
  add_stripes<T, T>(stream, x, partials, rows, columns, stripe, false);
  add_stripes<double, T>(stream, partials, y, stripes, columns, stripes, accumulate);
}

// Block (c, i) adds stretch i of channel c; y [stretches, C].
template <class T>
__global__ void __launch_bounds__(2 * kBlock)
    channel_stretches_kernel(In<T> x, T* y, int64_t C, int64_t L, int64_t elements, int64_t stretch, bool accumulate) {
  begin_kernel();
  const int64_t c = blockIdx.x, first = blockIdx.y * stretch, last = first + stretch < elements ? first + stretch : elements;
  T s = T(0), v[kAhead];
#pragma unroll 1
  for (Walk<1> walk(c, first + threadIdx.x, blockDim.x, C, L); walk.element < last;) {
    load_ahead(x, walk, last, v);
#pragma unroll
    for (const T value : v) s += value;
  }
  s = block_sum(s);
  T* to = y + blockIdx.y * C + c;
  if (threadIdx.x == 0) *to = s + (accumulate ? *to : T(0));
}

template <class T>
void sum_channels(Stream& stream, In<T> x, InOut<T> y, int64_t B, int64_t C, int64_t L, bool accumulate) {
  const int64_t elements = B * L, stretch = std::max(kStretch, ceil_div(elements, kMostParts)), stretches = std::max<int64_t>(1, ceil_div(elements, stretch));
  auto run = [&](T* to, bool add) {
    launch(stream, dim3(grid_for(C, 1), static_cast<unsigned>(stretches)), threads_ahead(std::min(elements, stretch), 2 * kBlock), 0,
           channel_stretches_kernel<T>, x, to, C, std::max<int64_t>(L, 1), elements, stretch, add);
  };
  if (stretches == 1) return run(y, accumulate);
  T* partials = stream.scratch<T>(stretches * C + 1);
  run(partials, false);
  add_stripes<double, T>(stream, partials, y, stretches, C, stretches, accumulate);
}

template <bool Squares, class A, class T, class R>
__global__ void __launch_bounds__(kBlock)
    stretches_kernel(In<T> x, A* partials, int64_t n, int64_t stretch, bool packed, unsigned* arrivals, Out<R> y, R factor) {
  begin_kernel();
  constexpr int kSize = Pack<T>::size, kPacks = 2;
  const int64_t first = blockIdx.x * stretch, last = first + stretch < n ? first + stretch : n, packs = packed ? (last - first) / kSize : 0;
  auto term = [](T v) { return Squares ? A(v) * A(v) : A(v); };
  auto terms = [=](const Pack<T>& p) {
    A t = A(0);
#pragma unroll
    for (const T v : p.v) t += term(v);
    return t;
  };
  A s = sum_ahead<A, kPacks>(reinterpret_cast<const Pack<T>*>(x + first), threadIdx.x, packs, blockDim.x, terms);
  s += sum_ahead<A>(x, first + packs * kSize + threadIdx.x, last, blockDim.x, term);
  s = block_sum(s);
  if (threadIdx.x == 0) partials[blockIdx.x] = s;
  if (!last_block(arrivals)) return;
  const double total = block_sum(sum_ahead<double>(partials, threadIdx.x, gridDim.x, blockDim.x));
  if (threadIdx.x == 0) *y = static_cast<R>(factor * total);
}

template <bool Squares, class A, class T, class R>
void stretched_sum(Stream& stream, In<T> x, Out<R> y, int64_t n, R factor) {
  const int64_t stretch = kPiece * std::max<int64_t>(1, ceil_div(n, kPiece * kMostPieces)), stretches = std::max<int64_t>(1, ceil_div(n, stretch));
  A* partials = stream.scratch<A>(stretches);
  launch(stream, grid_for(stretches, 1), kBlock, 0, stretches_kernel<Squares, A, T, R>, x, partials, n, stretch, aligned16(x), arrivals_of(stream), y, factor);
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
