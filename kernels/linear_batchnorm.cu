// A linear layer in training and the batch normalisation behind it, x [M, K], w [N, K]:
//
//   h = act(x w^T + b);  y = normalised h, by the mean and variance of its columns (kernels/batchnorm.cu, with L = 1)
//
// One after the other they read h twice: for its statistics, and to normalise it. Here the statistics are gathered where h
// is stored, which leaves one pass. Bytes (f32): 4 (M K + N K + 2 M N), of which h is kept for the gradient. Statistics are
// merged in an order that depends on the sizes alone (kernels/moments.h), relative to the column's first element.
//
// cpu: the product (kernels/few_rows.h); then panels of columns, in which h gets bias and activation and gives its moments, eight rows
// at a time in L1, and is normalised while the panel is in L2.
// simt, cuda: each tile of the product leaves mean and m2 of slots of 16 rows, read again from the cache that has just taken
// them; a second kernel merges the slots of a column in order, a third normalises. Where a vendor's library computes the
// product, batchnorm_train follows it.
#include <algorithm>
#include <climits>
#include <cmath>

#include "base/threads.h"
#include "kernels/batchnorm.h"
#include "kernels/few_rows.h"
#include "kernels/instantiate.h"
#include "kernels/tile.h"
#include "kernels/vendor.h"

namespace panvae {

namespace cpu {

constexpr int64_t kPanel = 256;   // columns
constexpr int64_t kStripe = 256;  // rows whose moments are summed in T

// What the rows of a panel need to know of its columns.
template <class T>
struct PanelColumns {
  T bias[kPanel], origin[kPanel], large[kPanel], small[kPanel], scale[kPanel], shift[kPanel];
  double mean[kPanel] = {}, m2[kPanel] = {};
};

template <int R, class T, class F>
void end_rows(F activation, T* h, int64_t stride, int64_t columns, const T* bias) {
  for (int r = 0; r < R; ++r) {
    T* row = h + r * stride;
#pragma omp simd
    for (int64_t c = 0; c < columns; ++c) row[c] = activation(row[c] + bias[c]);
  }
}

template <class T>
void normalise_row(const PanelColumns<T>& p, const T* h, T* y, int64_t columns) {
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) y[c] = ((h[c] - p.large[c]) - p.small[c]) * p.scale[c] + p.shift[c];
}

// The first `columns` columns of h [M, N], a product so far, to the end, and their moments.
template <class T, class F>
void end_panel(F activation, PanelColumns<T>& p, T* h, int64_t M, int64_t N, int64_t columns) {
  for (int64_t row = 0; row < M; row += kStripe) {
    const int64_t rows = std::min(kStripe, M - row);
    T mean[kPanel] = {}, m2[kPanel] = {};
    by_rows(rows, [&]<int64_t R>(int64_t r) {
      T* from = h + (row + r) * N;
      end_rows<R>(activation, from, N, columns, static_cast<const T*>(p.bias));
      if (row + r == 0) std::copy_n(from, columns, p.origin);
      add_moments<R>(static_cast<const T*>(from), N, columns, r, static_cast<const T*>(p.origin), static_cast<T*>(mean), static_cast<T*>(m2));
    });
    const double share = static_cast<double>(rows) / static_cast<double>(row + rows), weight = static_cast<double>(row) * share;
    for (int64_t c = 0; c < columns; ++c) {
      const double delta = mean[c] - p.mean[c];
      p.mean[c] += delta * share;
      p.m2[c] += m2[c] + delta * weight * delta;
    }
  }
}

template <class T>
void linear_batchnorm(Stream&, In<T> x, In<T> w, Epilogue<T> e, In<T> weight, In<T> bias, int64_t M, int64_t N, int64_t K, T eps, T momentum,
                      InOut<T> running_mean, InOut<T> running_var, Out<T> h, Out<T> y, Out<T> statistics) {
  if (M * N == 0) return;
  PV_CHECK(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX, "linear_batchnorm: sizes {}, {}, {} are beyond what BLAS counts", M, N, K);
  if (K > 0) product<T>(false, true, M, N, K, x, K, w, K, false, h, N);
  else std::fill(h, h + M * N, T(0));
  const double count = static_cast<double>(M);
  parallel_chunks(N, kPanel, [=](int64_t begin, int64_t end) {
    const int64_t columns = end - begin;
    PanelColumns<T> p;
    for (int64_t c = 0; c < columns; ++c) p.bias[c] = e.bias ? e.bias[begin + c] : T(-0.0);  // which adds nothing, to -0 neither
    const T slope = e.slope;
    if (e.activation == Activation::relu) end_panel([](T v) { return v < T(0) ? T(0) : v; }, p, h + begin, M, N, columns);
    else if (e.activation == Activation::leaky_relu) end_panel([=](T v) { return v * (v < T(0) ? slope : T(1)); }, p, h + begin, M, N, columns);
    else end_panel([](T v) { return v; }, p, h + begin, M, N, columns);
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t at = begin + c;
      const TwoPart<double> m = exact_sum<double>(p.origin[c], p.mean[c]);
      p.large[c] = static_cast<T>(m.large);
      p.small[c] = static_cast<T>((m.large - static_cast<double>(p.large[c])) + m.small);
      const T inverse = static_cast<T>(1 / std::sqrt(p.m2[c] / count + static_cast<double>(eps)));
      put(statistics, at, N, {{p.large[c], p.small[c]}, inverse});
      update_running(running_mean, at, momentum, p.large[c]);
      update_running(running_var, at, momentum, static_cast<T>(p.m2[c] / (count - 1)));
      p.scale[c] = weight ? weight[at] * inverse : inverse;
      p.shift[c] = bias ? bias[at] : T(0);
    }
    for (int64_t row = 0; row < M; ++row) normalise_row(p, static_cast<const T*>(h) + row * N + begin, y + row * N + begin, columns);
  });
}

}  // namespace cpu

namespace PV_EXEC {

constexpr int kSlot = 16;  // rows; kTileUnit is a multiple
constexpr int64_t kRowsOfBlock = 64;

template <class T>
struct SlotsOutput {
  T* h;  // [M, N]
  int64_t M, N;
  Epilogue<T> e;
  void* scratch = nullptr;  // slots [M / kSlot, 2, N]: the mean less the slot's first element, m2

  size_t scratch_bytes() const { return static_cast<size_t>((M + kSlot - 1) / kSlot * 2 * N) * sizeof(T); }
  __device__ void store(int64_t row, int64_t column, T v) const {
    if (e.bias) v += e.bias[column];
    h[row * N + column] = activate(v, e.activation, e.slope);
  }
  using Quad = Four<T>;  // of the bias
  __device__ bool wide() const { return aligned_rows(h, N) && reinterpret_cast<uintptr_t>(e.bias) % 16 == 0; }
  __device__ Quad load_quad(int64_t, int64_t column) const { return e.bias ? load_four(e.bias + column) : Quad{}; }
  __device__ void store_quad(int64_t row, int64_t column, const T (&sums)[4], const Quad& bias) const {
    Quad v;
#pragma unroll
    for (int i = 0; i < 4; ++i) v.v[i] = activate(e.bias ? sums[i] + bias.v[i] : sums[i], e.activation, e.slope);
    store_four(h + row * N + column, v);
  }
  __device__ void end_tile(int64_t row0, int64_t row_end, int64_t column0, int64_t column_end) const {
    __syncthreads();  // all of the tile is there
    const int columns = static_cast<int>(column_end - column0), parts = (static_cast<int>(row_end - row0) + kSlot - 1) / kSlot;
    for (int i = threadIdx.x; i < parts * columns; i += blockDim.x) {
      const int64_t first = row0 + i / columns * kSlot, last = first + kSlot < row_end ? first + kSlot : row_end, column = column0 + i % columns;
      const T origin = h[first * N + column];
      Moments<T> m{T(0), T(0), T(0)};
      for (int64_t row = first; row < last;)
        add_group(m, [&](T& v) {
          const bool there = row < last;
          v = there ? h[row * N + column] - origin : T(0);
          ++row;
          return there;
        });
      T* slot = static_cast<T*>(scratch) + first / kSlot * 2 * N + column;
      slot[0] = m.mean;
      slot[N] = m.m2;
    }
  }
};

template <class T>
__global__ void linear_batchnorm_total_kernel(In<T> h, In<T> slots, int64_t M, int64_t N, T eps, T momentum, InOut<T> running_mean, InOut<T> running_var,
                                              Out<T> statistics) {
  begin_kernel();
  const int64_t c = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= N) return;
  const T origin = h[c];
  Moments<T> m{T(0), T(0), T(0)};
  for (int64_t first = 0; first < M; first += kSlot) {
    const T* slot = slots + first / kSlot * 2 * N + c;
    m.merge({T(first + kSlot < M ? kSlot : M - first), (h[first * N + c] - origin) + slot[0], slot[N]});
  }
  const TwoPart<T> mean = exact_sum(origin, m.mean);
  put(statistics, c, N, Normaliser<T>{mean, T(1) / std::sqrt(m.m2 / T(M) + eps)});
  update_running(running_mean, c, momentum, mean.large);
  update_running(running_var, c, momentum, m.m2 / T(M - 1));
}

// A block has kWarp columns of kRowsOfBlock rows.
template <class T>
__global__ void linear_batchnorm_write_kernel(In<T> h, In<T> weight, In<T> bias, In<T> statistics, int64_t M, int64_t N, int64_t parts, Out<T> y) {
  begin_kernel();
  const int64_t c = blockIdx.x / parts * kWarp + threadIdx.x % kWarp, first = blockIdx.x % parts * kRowsOfBlock;
  if (c >= N) return;
  const Normaliser<T> s = normaliser_of(statistics, c, N);
  const T scale = weight ? weight[c] * s.inverse : s.inverse, shift = bias ? bias[c] : T(0);
  const int64_t last = first + kRowsOfBlock < M ? first + kRowsOfBlock : M;
#pragma unroll kGroup
  for (int64_t row = first + threadIdx.x / kWarp; row < last; row += blockDim.x / kWarp) y[row * N + c] = s.centred(h[row * N + c]) * scale + shift;
}

template <class T>
void linear_batchnorm(Stream& stream, In<T> x, In<T> w, Epilogue<T> e, In<T> weight, In<T> bias, int64_t M, int64_t N, int64_t K, T eps, T momentum,
                      InOut<T> running_mean, InOut<T> running_var, Out<T> h, Out<T> y, Out<T> statistics) {
  if (M * N == 0) return;
  if (vendor::matmul<T>(stream, x, false, K, w, true, h, M, N, K, e))
    return batchnorm_train<T>(stream, h, weight, bias, M, N, 1, eps, momentum, running_mean, running_var, y, statistics);
  const SlotsOutput<T> output{h, M, N, e};
  tile_product<T>(stream, RowsOperand<T>{x, K}, RowsOperand<T>{w, K}, output, M, N, K);
  const auto slots = static_cast<const T*>(stream.scratch(output.scratch_bytes()));
  launch(stream, grid_for(N, kBlock), kBlock, 0, linear_batchnorm_total_kernel<T>, static_cast<In<T>>(h), slots, M, N, eps, momentum, running_mean, running_var,
         statistics);
  const int64_t parts = (M + kRowsOfBlock - 1) / kRowsOfBlock;
  launch(stream, grid_for((N + kWarp - 1) / kWarp * parts, 1), kBlock, 0, linear_batchnorm_write_kernel<T>, static_cast<In<T>>(h), weight, bias,
         static_cast<In<T>>(statistics), M, N, parts, y);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(linear_batchnorm)

}  // namespace panvae
