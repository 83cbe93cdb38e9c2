// The last linear layer of a decoder and the loss of a VAE (kernels/huber_kl.cu) in one, h [R, H], w [G, H]:
//
//   pred = h w^T + bias, [R, G], is computed, compared with the target and forgotten: what is stored is the gradient with
//   respect to it, or nothing where no gradient is wanted.
//
// One after the other the product writes pred, the loss reads it and writes its gradient. Here bytes (f32) are
// 4 (R H + G H + 2 R G + 4 B Z): those of pred, written and read, are saved, and without a gradient those of it.
// The gradients of h and w are products of grad_pred, as ever. A loss is summed in T over a row of a panel (cpu) or a tile, then
// in f64 in an order that depends on sizes alone.
//
// cpu: panels of columns in parallel; a panel's product (kernels/few_rows.h) is made on the thread's own core, into a buffer of some rows
// that stays in its L2, where bias, loss and gradient follow in one sweep.
// simt, cuda: the output of the product's tiles is the loss; each tile leaves its sum. Where a vendor's library computes the product,
// huber_kl follows it in place.
#include <algorithm>
#include <climits>

#include "base/threads.h"
#include "kernels/block_sums.h"
#include "kernels/few_rows.h"
#include "kernels/huber.h"
#include "kernels/instantiate.h"
#include "kernels/streaming.h"
#include "kernels/tile.h"
#include "kernels/vendor.h"

namespace panvae {

namespace {
void expect_summands(const void* grad_pred, const void* grad_bias) {
  PV_CHECK(grad_pred || !grad_bias, "linear_huber_kl: the gradient of the bias is the sum of that of the predictions, which is not asked for");
}
}  // namespace

namespace cpu {

constexpr int64_t kColumns = 256, kRowsAtOnce = 256;  // of a buffer: 256 KiB in f32

// The sum of the losses of a row; pred becomes the gradient, which is added to grad_sum.
template <class T>
T huber_row(Loss<T> f, T* pred, const T* bias, const T* target, int64_t n, T* grad_sum) {
  T s = T(0);
#pragma omp simd reduction(+ : s)
  for (int64_t i = 0; i < n; ++i) {
    T g;
    s += f.huber(pred[i] + bias[i], target[i], g);
    pred[i] = g;
    grad_sum[i] += g;
  }
  return s;
}

template <class T>
void linear_huber_kl(Stream& stream, In<T> h, In<T> w, In<T> bias, In<T> target, In<T> mu, In<T> logvar, int64_t B, int64_t R, int64_t G, int64_t H, int64_t Z,
                     T delta, T kl_weight, Out<T> loss, Out<T> grad_pred, Out<T> grad_bias, Out<T> grad_mu, Out<T> grad_logvar) {
  expect_summands(grad_pred, grad_bias);
  PV_CHECK(R <= INT_MAX && H <= INT_MAX, "linear_huber_kl: sizes {}, {} are beyond what BLAS counts", R, H);
  huber_kl<T>(stream, nullptr, nullptr, mu, logvar, B, 0, Z, delta, kl_weight, loss, nullptr, grad_mu, grad_logvar);
  const Loss<T> f{delta, kl_weight, T(1) / static_cast<T>(B)};
  const int64_t panels = (G + kColumns - 1) / kColumns;
  // A buffer for each thread at the begin of a line, and the panels' sums.
  constexpr int64_t kBuffer = kColumns * kRowsAtOnce;
  T* const buffers = stream.scratch<T>(threads() * kBuffer + panels * static_cast<int64_t>(sizeof(double) / sizeof(T)));
  double* const partials = reinterpret_cast<double*>(buffers + threads() * kBuffer);
  const bool streaming = grad_pred && streams(grad_pred, R * G, target);
  parallel_chunks(panels, 1, [=](int64_t panel, int64_t, int64_t thread) {
    T* const pred = buffers + thread * kBuffer;
    const int64_t first = panel * kColumns, columns = std::min(kColumns, G - first);
    T shift[kColumns];
    double grad_sum[kColumns] = {}, sum = 0;
    for (int64_t c = 0; c < columns; ++c) shift[c] = bias ? bias[first + c] : T(0);
    for (int64_t row = 0; row < R; row += kRowsAtOnce) {
      const int64_t rows = std::min(kRowsAtOnce, R - row);
      if (H > 0) product<T>(false, true, rows, columns, H, h + row * H, H, w + first * H, H, false, pred, columns);
      else std::fill_n(pred, rows * columns, T(0));
      T grad[kColumns] = {};
      for (int64_t r = 0; r < rows; ++r) {
        // Rows of a panel are short and lie on other pages, where the processor fetches nothing ahead.
        if (r + 1 < rows)
          for (int64_t c = 0; c < columns; c += kLineBytes / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(target + (row + r + 1) * G + first + c);
        sum +=
            static_cast<double>(huber_row(f, pred + r * columns, static_cast<const T*>(shift), target + (row + r) * G + first, columns, static_cast<T*>(grad)));
        if (grad_pred) store_copy(streaming, grad_pred + (row + r) * G + first, static_cast<const T*>(pred) + r * columns, columns);
      }
      for (int64_t c = 0; c < columns; ++c) grad_sum[c] += static_cast<double>(grad[c]);
    }
    end_stores(streaming);
    partials[panel] = sum;
    if (grad_bias)
      for (int64_t c = 0; c < columns; ++c) grad_bias[first + c] = static_cast<T>(grad_sum[c]);
  });
  double huber = 0;
  for (int64_t p = 0; p < panels; ++p) huber += partials[p];
  huber /= static_cast<double>(B);
  loss[0] = static_cast<T>(huber + static_cast<double>(kl_weight) * static_cast<double>(loss[2]));
  loss[1] = static_cast<T>(huber);
}

}  // namespace cpu

namespace PV_EXEC {

template <class T>
struct HuberOutput {
  Loss<T> f;
  const T *bias, *target;  // [G] or null, [R, G]
  T* grad_pred;            // [R, G] or null
  int64_t R, G;
  T sum = T(0);             // of this thread
  void* scratch = nullptr;  // sums [R / kTileUnit, G / kTileUnit] of f64; of a tile that covers several of these, 0 in all but one

  static int64_t units(int64_t n) { return (n + kTileUnit - 1) / kTileUnit; }
  size_t scratch_bytes() const { return static_cast<size_t>(units(R) * units(G)) * sizeof(double); }
  __device__ void store(int64_t row, int64_t column, T pred) {
    const int64_t at = row * G + column;
    T g;
    sum += f.huber(bias ? pred + bias[column] : pred, target[at], g);
    if (grad_pred) grad_pred[at] = g;
  }
  struct Quad {
    Four<T> bias, target;
  };
  __device__ bool wide() const {
    return aligned_rows(target, G) && reinterpret_cast<uintptr_t>(bias) % 16 == 0 && reinterpret_cast<uintptr_t>(grad_pred) % 16 == 0;
  }
  __device__ Quad load_quad(int64_t row, int64_t column) const { return {bias ? load_four(bias + column) : Four<T>{}, load_four(target + row * G + column)}; }
  __device__ void store_quad(int64_t row, int64_t column, const T (&pred)[4], const Quad& q) {
    Four<T> g;
#pragma unroll
    for (int i = 0; i < 4; ++i) sum += f.huber(bias ? pred[i] + q.bias.v[i] : pred[i], q.target.v[i], g.v[i]);
    if (grad_pred) store_four(grad_pred + row * G + column, g);
  }
  __device__ void end_tile(int64_t row0, int64_t row_end, int64_t column0, int64_t column_end) const {
    const T total = block_sum(sum);
    if (threadIdx.x > 0) return;
    const int64_t stride = (G + kTileUnit - 1) / kTileUnit;
    for (int64_t row = row0; row < row_end; row += kTileUnit)
      for (int64_t column = column0; column < column_end; column += kTileUnit)
        static_cast<double*>(scratch)[row / kTileUnit * stride + column / kTileUnit] = row == row0 && column == column0 ? static_cast<double>(total) : 0.0;
  }
};

// loss[2] is there
template <class T>
__global__ void linear_huber_kl_total_kernel(In<double> sums, int64_t count, double inverse_batch, T kl_weight, InOut<T> loss) {
  begin_kernel();
  const double huber = block_sum(sum_ahead<double>(sums, threadIdx.x, count, blockDim.x)) * inverse_batch;
  if (threadIdx.x > 0) return;
  loss[0] = static_cast<T>(huber + static_cast<double>(kl_weight) * static_cast<double>(loss[2]));
  loss[1] = static_cast<T>(huber);
}

template <class T>
void linear_huber_kl(Stream& stream, In<T> h, In<T> w, In<T> bias, In<T> target, In<T> mu, In<T> logvar, int64_t B, int64_t R, int64_t G, int64_t H, int64_t Z,
                     T delta, T kl_weight, Out<T> loss, Out<T> grad_pred, Out<T> grad_bias, Out<T> grad_mu, Out<T> grad_logvar) {
  expect_summands(grad_pred, grad_bias);
  Epilogue<T> e;
  e.bias = bias;
  if (grad_pred && R * G > 0 && vendor::matmul<T>(stream, h, false, H, w, true, grad_pred, R, G, H, e)) {
    huber_kl<T>(stream, grad_pred, target, mu, logvar, B, R / B * G, Z, delta, kl_weight, loss, grad_pred, grad_mu, grad_logvar);
  } else {
    huber_kl<T>(stream, nullptr, nullptr, mu, logvar, B, 0, Z, delta, kl_weight, loss, nullptr, grad_mu, grad_logvar);
    if (R * G > 0) {
      const HuberOutput<T> output{Loss<T>{delta, kl_weight, T(1) / static_cast<T>(B)}, bias, target, grad_pred, R, G};
      tile_product<T>(stream, RowsOperand<T>{h, H}, RowsOperand<T>{w, H}, output, R, G, H);
      const auto sums = static_cast<const double*>(stream.scratch(output.scratch_bytes()));
      launch(stream, 1, kBlock, 0, linear_huber_kl_total_kernel<T>, sums, static_cast<int64_t>(output.scratch_bytes() / sizeof(double)),
             1.0 / static_cast<double>(B), kl_weight, loss);
    }
  }
  if (grad_bias) sum_columns<T>(stream, grad_pred, grad_bias, R, G, false);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(linear_huber_kl)

}  // namespace panvae
