// Weight gradient and Adam in one: grad = op(a) op(b) updates p, m and v [M, N] as adam would, and is not written.
//   matmul_adam   grad [M, N] in parts, each taken by adam's formula (kernels/adam_update.h) while it is at hand; the sum of
//                 its squares joins the norm: slots[adam_norm] = sqrt(norm^2 + sum). Nothing where the step is skipped.
//   adam_summing  adam over a gradient [n] that is written, with the sum of squares of each stretch of it: for products that a
//                 library computes faster than ours and Adam together. Bytes: 28 n, as adam's.
//   adam_join_norm  such sums into the norm, as matmul_adam's join it: slots[adam_norm] = sqrt(norm^2 + sum of them).
//   adam_gate     what adam_prepare decides by before any grad is known: the squares of the gradients that are there, and
//                 for each product the promise that it will be finite, or infinity. By Cauchy and Schwarz no element of
//                 op(a) op(b), nor any part of its sum, is larger than |a| |b|, the root of the product of the sums of
//                 squares: below a quarter of what the type holds, rounding included, it cannot overflow, and a NaN or an
//                 infinity in a or b shows in the sums. So a step is taken as a whole or not at all.
// 2 M N K + 16 M N flops; bytes M K + K N + 6 M N (read and write p, m, v). The product, the sum of squares and Adam as
// three kernels move 3 M N more: grad is written once and read twice.
//
// cpu: tiles of grad in registers (kernels/matmul_adam_direct.cpp), which round otherwise than BLAS does. simt and cuda: in tf32 and bf16, where the device
// multiplies by warpgroups and both factors have k outermost, as a weight's gradient has them, kernels/matmul_adam_warpgroups.h: last bits may
// differ from those of a product by matmul. Else the tiles of kernels/tile.h end in the update; grad has the bits of matmul, and the update is adam's
// but for what compilers contract. The sum of squares is of partial sums in f64, of a tile, a row of tiles or a block each, added in fixed order.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/threads.h"
#include "kernels/adam_update.h"
#include "kernels/block_sums.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/matmul_adam_direct.h"
#include "kernels/matmul_adam_warpgroups.h"
#include "kernels/provider.h"
#include "kernels/tile.h"

namespace panvae {

namespace {

// What a product adds to the sum that adam_prepare takes.
__host__ __device__ inline double gate(const double* factors, double largest) {
  const double bound = std::sqrt(factors[0]) * std::sqrt(factors[1]);
  return bound <= largest ? 0.0 : bound * std::numeric_limits<double>::infinity();  // NaN stays NaN
}

}  // namespace

namespace cpu {

template <class T>
void matmul_adam(Stream& stream, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> p, InOut<T> m, InOut<T> v, int64_t M, int64_t N, int64_t K,
                 InOut<double> slots, AdamOptions options) {
  if (M == 0 || N == 0 || slots[adam_gradient_scale] == 0) return;
  slots[adam_norm] = joined_norm(slots[adam_norm], direct_matmul_adam(stream, a, transpose_a, b, transpose_b, p, m, v, M, N, K, slots, options));
}

template <class T>
void adam_summing(Stream&, InOut<T> p, In<T> grad, InOut<T> m, InOut<T> v, int64_t n, In<double> slots, AdamOptions options, Out<double> squares) {
  if (slots[adam_gradient_scale] == 0) {
    std::fill_n(squares, adam_stretches(n), 0.0);
    return;
  }
  const AdamUpdate<T> update(slots, options);
  parallel_chunks(n, kAdamStretch, [=](int64_t begin, int64_t end) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = begin; i < end; ++i) {
      sum += static_cast<double>(grad[i]) * static_cast<double>(grad[i]);
      update(p[i], grad[i], m[i], v[i]);
    }
    squares[begin / kAdamStretch] = sum;
  });
}

template <class T>
void adam_join_norm(Stream&, In<T> squares, int64_t count, InOut<T> slots) {
  double total = 0;
  for (int64_t i = 0; i < count; ++i) total += squares[i];
  if (slots[adam_gradient_scale] != 0) slots[adam_norm] = joined_norm(slots[adam_norm], total);
}

template <class T>
void adam_gate(Stream&, In<T> squares, int64_t parts, In<T> factors, int64_t products, T largest, Out<T> sum_squares) {
  double sum = 0;
  for (int64_t i = 0; i < parts; ++i) sum += squares[i];
  for (int64_t i = 0; i < products; ++i) sum += gate(factors + 2 * i, largest);
  *sum_squares = sum;
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
  struct Quad {
    Four<T> p, m, v;
  };
  __device__ bool wide() const { return aligned_rows(p, N) && aligned_rows(m, N) && aligned_rows(v, N); }
  __device__ Quad load_quad(int64_t row, int64_t column) const {
    const int64_t i = row * N + column;
    return {load_four(p + i), load_four(m + i), load_four(v + i)};
  }
  __device__ void store_quad(int64_t row, int64_t column, const T (&grads)[4], Quad q) {
    if (update.scale == T(0)) return;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sum += static_cast<double>(grads[i]) * static_cast<double>(grads[i]);
      update(q.p.v[i], grads[i], q.m.v[i], q.v.v[i]);
    }
    const int64_t i = row * N + column;
    store_four(p + i, q.p);
    store_four(m + i, q.m);
    store_four(v + i, q.v);
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
  begin_kernel();
  const double s = block_sum(sum_ahead<double>(squares, threadIdx.x, count, blockDim.x));
  if (threadIdx.x == 0 && slots[adam_gradient_scale] != 0) slots[adam_norm] = joined_norm(slots[adam_norm], s);
}

template <class T>
void matmul_adam(Stream& stream, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> p, InOut<T> m, InOut<T> v, int64_t M, int64_t N, int64_t K,
                 InOut<double> slots, AdamOptions options) {
  if (M == 0 || N == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    if (aligned16(a, b, p, m, v) && warpgroups_take(stream.device().index, stream.math, transpose_a, transpose_b, M, N, K)) {
      if (stream.math == MathMode::tf32) return matmul_adam_by_warpgroups<MathMode::tf32>(stream, a, b, p, m, v, M, N, K, slots, options);
      return matmul_adam_by_warpgroups<MathMode::bf16>(stream, a, b, p, m, v, M, N, K, slots, options);
    }
  }
  const MatrixOperand<T> left{a, transpose_a ? M : K, !transpose_a}, right{b, transpose_b ? K : N, transpose_b};
  const int64_t across = (N + kTileUnit - 1) / kTileUnit, cells = across * ((M + kTileUnit - 1) / kTileUnit);
  tile_product<T>(stream, left, right, AdamOutput<T>{p, m, v, N, across, cells, slots, options, {}}, M, N, K);
  // The tiles' sums are where they were: nobody has asked for other scratch since.
  launch(stream, 1, kBlock, 0, join_norm_kernel, static_cast<In<double>>(stream.scratch<double>(cells)), cells, slots);
}

// A block has one stretch, by P (T, or a pack of T); the last block also has what is behind the last pack.
template <class T, class P>
__global__ void adam_summing_kernel(T* p, const T* grad, T* m, T* v, int64_t n, In<double> slots, AdamOptions options, double* squares) {
  begin_kernel();
  constexpr int kSize = sizeof(P) / sizeof(T);
  if (slots[adam_gradient_scale] == 0) {
    if (threadIdx.x == 0) squares[blockIdx.x] = 0;
    return;
  }
  const AdamUpdate<T> update(slots, options);
  const int64_t packs = n / kSize, first = int64_t(blockIdx.x) * (kAdamStretch / kSize);
  double sum = 0;
  auto take = [&](T& pp, T g, T& mm, T& vv) {
    sum += static_cast<double>(g) * static_cast<double>(g);
    update(pp, g, mm, vv);
  };
#pragma unroll 1
  for (int j = threadIdx.x; j < kAdamStretch / kSize; j += blockDim.x) {
    const int64_t i = first + j;
    if (i >= packs) break;
    take_pack<P>(p, grad, m, v, i, take);
  }
  if (blockIdx.x + 1 == gridDim.x && threadIdx.x == 0)
    for (int64_t i = packs * kSize; i < n; ++i) take(p[i], grad[i], m[i], v[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) squares[blockIdx.x] = sum;
}

template <class T>
void adam_summing(Stream& stream, InOut<T> p, In<T> grad, InOut<T> m, InOut<T> v, int64_t n, In<double> slots, AdamOptions options, Out<double> squares) {
  if (n == 0) return;
  const auto run = [&](auto kernel) {
    launch(stream, grid_for(adam_stretches(n), 1), kBlock, 0, kernel, static_cast<T*>(p), static_cast<const T*>(grad), static_cast<T*>(m), static_cast<T*>(v),
           n, slots, options, static_cast<double*>(squares));
  };
  if (aligned16(p, grad, m, v)) run(adam_summing_kernel<T, Pack<T>>);
  else run(adam_summing_kernel<T, T>);
}

template <class T>
void adam_join_norm(Stream& stream, In<T> squares, int64_t count, InOut<T> slots) {
  launch(stream, 1, 4 * kBlock, 0, join_norm_kernel, squares, count, slots);
}

static __global__ void adam_gate_kernel(In<double> squares, int64_t parts, In<double> factors, int64_t products, double largest, Out<double> sum_squares) {
  begin_kernel();
  double sum = 0;
  for (int64_t i = threadIdx.x; i < parts; i += blockDim.x) sum += squares[i];
  for (int64_t i = threadIdx.x; i < products; i += blockDim.x) sum += gate(factors + 2 * i, largest);
  sum = warp_sum(sum);
  if (threadIdx.x == 0) *sum_squares = sum;
}

template <class T>
void adam_gate(Stream& stream, In<T> squares, int64_t parts, In<T> factors, int64_t products, T largest, Out<T> sum_squares) {
  launch(stream, 1, kWarp, 0, adam_gate_kernel, squares, parts, factors, products, largest, sum_squares);
}

}  // namespace PV_EXEC

#ifdef __CUDACC__
bool updates_by_warpgroups(const Stream& stream, bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K) {
  return cuda::warpgroups_take(stream.device().index, stream.math, transpose_a, transpose_b, M, N, K);
}
#endif

PV_INSTANTIATE(matmul_adam)
PV_INSTANTIATE(adam_summing)
PV_INSTANTIATE_FOR(adam_join_norm, double)
PV_INSTANTIATE_FOR(adam_gate, double)

}  // namespace panvae
