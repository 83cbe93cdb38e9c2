// Weight gradient and Adam in one: grad = op(a) op(b) updates p, m and v [M, N] as adam would, and is not written.
//   matmul_adam   grad [M, N] in parts, each taken by adam's formula (kernels/adam_update.h) while it is at hand; the sum of
//                 its squares joins the norm: slots[adam_norm] = sqrt(norm^2 + sum). Nothing where the step is skipped.
//   adam_gate     what adam_prepare decides by before any grad is known: the squares of the gradients that are there, and
//                 for each product the promise that it will be finite, or infinity. By Cauchy and Schwarz no element of
//                 op(a) op(b), nor any part of its sum, is larger than |a| |b|, the root of the product of the sums of
//                 squares: below a quarter of what the type holds, rounding included, it cannot overflow, and a NaN or an
//                 infinity in a or b shows in the sums. So a step is taken as a whole or not at all.
// 2 M N K + 16 M N flops; bytes M K + K N + 6 M N (read and write p, m, v). The product, the sum of squares and Adam as
// three kernels move 3 M N more: grad is written once and read twice.
//
// cpu: panels of grad, each by one call of BLAS on the thread that then updates with it, from the cache. BLAS may round the
// last bit of a panel otherwise than that of a whole product. simt and cuda: the tiles of kernels/tile.h end in the update; the same bits as matmul, then adam.
// The sum of squares is of partial sums in f64, a panel or a tile each, added in fixed order.
#include <algorithm>
#include <climits>
#include <cmath>
#include <limits>

#include "base/threads.h"
#include "kernels/adam_update.h"
#include "kernels/blas.h"
#include "kernels/instantiate.h"
#include "kernels/lane_sum.h"
#include "kernels/tile.h"

namespace panvae {

namespace {

// The sum that adam_prepare takes.
__host__ __device__ inline double gate(const double* squares, int64_t parts, const double* factors, int64_t products, double largest) {
  double sum = 0;
  for (int64_t i = 0; i < parts; ++i) sum += squares[i];
  for (int64_t i = 0; i < products; ++i) {
    const double bound = std::sqrt(factors[2 * i]) * std::sqrt(factors[2 * i + 1]);
    if (!(bound <= largest)) sum += bound * std::numeric_limits<double>::infinity();  // NaN stays NaN
  }
  return sum;
}

__host__ __device__ inline double joined(double norm, double squares) {
  return std::sqrt(norm * norm + squares);
}

}  // namespace

namespace cpu {

// How grad [M, N] is cut: rows x columns, fewer at the edges.
struct Panels {
  int64_t rows, columns, across, count;
};

constexpr int64_t parts_of(int64_t n, int64_t part) {
  return (n + part - 1) / part;
}

// BLAS copies both factors for each panel, the right one once per row of panels: so a panel has some hundred rows. Long rows,
// as p, m and v come from memory; 4 MiB of f32 at most, for the last level of cache. Matrices of few panels are cut finer, so that
// every thread gets several. Parts of a side are equal but for its last.
inline Panels panels_of(int64_t M, int64_t N) {
  constexpr int64_t kRows = 256, kColumns = 4096, kLeastElements = 16384, kEach = 8, kUnit = 16;
  Panels p{std::min(M, kRows), std::min(N, kColumns), 0, 0};
  while (parts_of(M, p.rows) * parts_of(N, p.columns) < kEach * threads() && p.rows * p.columns > kLeastElements) {
    int64_t& longer = p.columns >= p.rows ? p.columns : p.rows;
    longer = (longer + 1) / 2;
  }
  p.rows = parts_of(M, parts_of(M, p.rows));
  p.columns = parts_of(parts_of(N, parts_of(N, p.columns)), kUnit) * kUnit;
  p.across = parts_of(N, p.columns);
  p.count = p.across * parts_of(M, p.rows);
  return p;
}

constexpr int64_t kLine = 64;  // bytes

// Elements by which an address lies behind the begin of a line.
template <class T>
int64_t past_line(const T* x) {
  return static_cast<int64_t>(reinterpret_cast<uintptr_t>(x) % kLine / sizeof(T));
}

// One row of a panel, whole lines at a time from the first that p begins.
template <class T>
void update_row(AdamUpdate<T> update, const T* grad, T* p, T* m, T* v, int64_t n) {
  constexpr int64_t kElements = kLine / static_cast<int64_t>(sizeof(T));
  const int64_t head = std::min(n, (kElements - past_line(p)) % kElements);
#pragma omp simd
  for (int64_t i = 0; i < head; ++i) update(p[i], grad[i], m[i], v[i]);
#pragma omp simd
  for (int64_t i = head; i < n; ++i) update(p[i], grad[i], m[i], v[i]);
}

template <class T>
void matmul_adam(Stream& stream, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> p, InOut<T> m, InOut<T> v, int64_t M, int64_t N, int64_t K,
                 InOut<double> slots, AdamOptions options) {
  if (M == 0 || N == 0 || slots[adam_gradient_scale] == 0) return;
  PV_CHECK(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX, "matmul_adam: sizes {}, {}, {} are beyond what BLAS counts", M, N, K);
  const Panels panels = panels_of(M, N);
  constexpr int64_t kElements = kLine / static_cast<int64_t>(sizeof(T));
  // Rows of a panel lie to lines as those of p do, so that none of the four arrays is read across lines.
  const int64_t stride = panels.columns + (N - panels.columns % kElements + kElements) % kElements;
  const int64_t room = parts_of(panels.rows * stride + kElements, kElements) * kElements;
  const size_t rooms_bytes = static_cast<size_t>(threads() * room) * sizeof(T);
  char* scratch = stream.scratch<char>(static_cast<int64_t>(rooms_bytes + static_cast<size_t>(panels.count) * sizeof(double)));
  T* rooms = reinterpret_cast<T*>(scratch);                            // [threads, room]
  double* squares = reinterpret_cast<double*>(scratch + rooms_bytes);  // [panels]
  const AdamUpdate<T> update(slots, options);
  const int64_t lda = transpose_a ? M : K, ldb = transpose_b ? K : N;
  parallel_chunks(panels.count, 1, [=](int64_t panel, int64_t) {
    const int64_t row0 = panel / panels.across * panels.rows, column0 = panel % panels.across * panels.columns;
    const int64_t rows = std::min(panels.rows, M - row0), columns = std::min(panels.columns, N - column0), at = row0 * N + column0;
    T* grad = rooms + thread_index() * room + past_line(p + at);  // [rows, stride]
    if (K > 0)
      gemm(transpose_a, transpose_b, rows, columns, K, a + row0 * (transpose_a ? 1 : K), lda, b + column0 * (transpose_b ? K : 1), ldb, T(0), grad, stride);
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) {
      T* row = grad + r * stride;
      if (K == 0) std::fill(row, row + columns, T(0));
      sum += lane_sum(columns, [row](int64_t c) { return static_cast<double>(row[c]) * static_cast<double>(row[c]); });
      const int64_t i = at + r * N;
      update_row(update, static_cast<const T*>(row), p + i, m + i, v + i, columns);
    }
    squares[panel] = sum;
  });
  double sum = 0;
  for (int64_t i = 0; i < panels.count; ++i) sum += squares[i];
  slots[adam_norm] = joined(slots[adam_norm], sum);
}

template <class T>
void adam_gate(Stream&, In<T> squares, int64_t parts, In<T> factors, int64_t products, T largest, Out<T> sum_squares) {
  *sum_squares = gate(squares, parts, factors, products, largest);
}

}  // namespace cpu

namespace PV_EXEC {

// One thread's share of a tile of grad goes into the update; end_tile leaves the tile's sum of squares.
template <class T>
struct AdamOutput {
  static constexpr bool medium_tiles = true;
  T *p, *m, *v;  // [M, N]
  int64_t N, cells_across, cells;
  const double* slots;
  AdamOptions options;
  AdamUpdate<T> update;  // made by begin_tile, from what the device holds
  double sum = 0;
  void* scratch = nullptr;  // the sums, of a tile in its first cell of kTileUnit x kTileUnit, 0 in its others

  size_t scratch_bytes() const { return static_cast<size_t>(cells) * sizeof(double); }
  __device__ void begin_tile() { update = AdamUpdate<T>(slots, options); }
  __device__ void store(int64_t row, int64_t column, T grad) {
    if (update.scale == T(0)) return;  // the step is skipped
    sum += static_cast<double>(grad) * static_cast<double>(grad);
    const int64_t i = row * N + column;
    update(p[i], grad, m[i], v[i]);
  }
  __device__ void end_tile(int64_t row0, int64_t row_end, int64_t column0, int64_t column_end) const {
    const double total = block_sum(sum);
    double* sums = static_cast<double*>(scratch);
    const int64_t height = (row_end - row0 + kTileUnit - 1) / kTileUnit, width = (column_end - column0 + kTileUnit - 1) / kTileUnit;
    for (int64_t i = threadIdx.x; i < height * width; i += blockDim.x)
      sums[(row0 / kTileUnit + i / width) * cells_across + column0 / kTileUnit + i % width] = i == 0 ? total : 0.0;
  }
};

// One block: the cells' sums, in fixed order, into the norm.
static __global__ void join_norm_kernel(In<double> squares, int64_t count, InOut<double> slots) {
  double s = 0;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) s += squares[i];
  s = block_sum(s);
  if (threadIdx.x == 0 && slots[adam_gradient_scale] != 0) slots[adam_norm] = joined(slots[adam_norm], s);
}

template <class T>
void matmul_adam(Stream& stream, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> p, InOut<T> m, InOut<T> v, int64_t M, int64_t N, int64_t K,
                 InOut<double> slots, AdamOptions options) {
  if (M == 0 || N == 0) return;
  const MatrixOperand<T> left{a, transpose_a ? M : K, !transpose_a}, right{b, transpose_b ? K : N, transpose_b};
  const int64_t across = (N + kTileUnit - 1) / kTileUnit, cells = across * ((M + kTileUnit - 1) / kTileUnit);
  tile_product<T>(stream, left, right, AdamOutput<T>{p, m, v, N, across, cells, slots, options, {}}, M, N, K);
  // The tiles' sums are where they were: nobody has asked for other scratch since.
  launch(stream, 1, kBlock, 0, join_norm_kernel, static_cast<In<double>>(stream.scratch<double>(cells)), cells, slots);
}

static __global__ void adam_gate_kernel(In<double> squares, int64_t parts, In<double> factors, int64_t products, double largest, Out<double> sum_squares) {
  if (threadIdx.x == 0) *sum_squares = gate(squares, parts, factors, products, largest);
}

template <class T>
void adam_gate(Stream& stream, In<T> squares, int64_t parts, In<T> factors, int64_t products, T largest, Out<T> sum_squares) {
  launch(stream, 1, kWarp, 0, adam_gate_kernel, squares, parts, factors, products, largest, sum_squares);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(matmul_adam)
PV_INSTANTIATE_FOR(adam_gate, double)

}  // namespace panvae
