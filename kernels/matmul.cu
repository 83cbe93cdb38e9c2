// Matrix product with epilogue: c [M, N] = act(op(a) op(b) [+ c] + bias), row-major, any size, any transpose.
// 2 M N K flops; bytes M K + K N + M N at least. cpu: BLAS, or kernels/few_rows.h, then the epilogue over c. simt and cuda: the tiles of
// kernels/tile.h, deterministic also where k is split.
#include <algorithm>
#include <climits>
#include <cmath>

#include "base/threads.h"
#include "kernels/few_rows.h"
#include "kernels/instantiate.h"
#include "kernels/tile.h"
#include "kernels/vendor.h"

namespace panvae {

namespace cpu {

template <class T>
void matmul(Stream& stream, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> c, int64_t M, int64_t N, int64_t K, Epilogue<T> e) {
  if (M == 0 || N == 0) return;
  PV_CHECK(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX, "matmul: sizes {}, {}, {} are beyond what BLAS counts", M, N, K);
  if (K > 0) product<T>(transpose_a, transpose_b, M, N, K, a, transpose_a ? M : K, b, transpose_b ? K : N, e.accumulate, c, N);
  else if (!e.accumulate) std::fill(c, c + M * N, T(0));
  if (e.bias || e.activation != Activation::none) bias_activation<T>(stream, c, M, N, 1, e.bias, e.activation, e.slope);
}

template <class T>
void matmul_rows(Stream&, In<T> a, bool transpose_a, In<T> b, bool transpose_b, Out<T> c, int64_t M, int64_t N, int64_t K, int64_t first, int64_t rows) {
  if (rows == 0 || N == 0) return;
  PV_CHECK(M <= INT_MAX && N <= INT_MAX && K <= INT_MAX, "matmul_rows: sizes {}, {}, {} are beyond what BLAS counts", M, N, K);
  if (K > 0) product<T>(transpose_a, transpose_b, rows, N, K, a + (transpose_a ? first : first * K), transpose_a ? M : K, b, transpose_b ? K : N, false, c, N);
  else std::fill(c, c + rows * N, T(0));
}

}  // namespace cpu

namespace PV_EXEC {

template <class T>
struct MatrixOutput {
  T* c;
  int64_t N;
  Epilogue<T> e;
  __device__ void store(int64_t row, int64_t column, T x) const {
    if (e.accumulate) x += c[row * N + column];
    if (e.bias) x += e.bias[column];
    c[row * N + column] = activate(x, e.activation, e.slope);
  }
  struct Quad {
    Four<T> c, bias;
  };
  __device__ bool wide() const { return aligned_rows(c, N) && reinterpret_cast<uintptr_t>(e.bias) % 16 == 0; }
  __device__ Quad load_quad(int64_t row, int64_t column) const {
    Quad q{};
    if (e.accumulate) q.c = load_four(c + row * N + column);
    if (e.bias) q.bias = load_four(e.bias + column);
    return q;
  }
  __device__ void store_quad(int64_t row, int64_t column, const T (&sums)[4], const Quad& q) const {
    Four<T> y;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      T x = sums[i];
      if (e.accumulate) x += q.c.v[i];
      if (e.bias) x += q.bias.v[i];
      y.v[i] = activate(x, e.activation, e.slope);
    }
    store_four(c + row * N + column, y);
  }
};

// `stride` is the distance of a's rows as they are stored.
template <class T>
void product(Stream& stream, const T* a, bool transpose_a, int64_t stride, const T* b, bool transpose_b, T* c, int64_t M, int64_t N, int64_t K,
             const Epilogue<T>& e) {
  if (vendor::matmul<T>(stream, a, transpose_a, stride, b, transpose_b, c, M, N, K, e)) return;
  const MatrixOperand<T> left{a, stride, !transpose_a}, right{b, transpose_b ? K : N, transpose_b};
  tile_product<T>(stream, left, right, MatrixOutput<T>{c, N, e}, M, N, K);
}

template <class T>
void matmul(Stream& stream, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> c, int64_t M, int64_t N, int64_t K, Epilogue<T> e) {
  if (M == 0 || N == 0) return;
  product<T>(stream, a, transpose_a, transpose_a ? M : K, b, transpose_b, c, M, N, K, e);
}

template <class T>
void matmul_rows(Stream& stream, In<T> a, bool transpose_a, In<T> b, bool transpose_b, Out<T> c, int64_t M, int64_t N, int64_t K, int64_t first, int64_t rows) {
  if (rows == 0 || N == 0) return;
  product<T>(stream, a + (transpose_a ? first : first * K), transpose_a, transpose_a ? M : K, b, transpose_b, c, rows, N, K, {});
}

}  // namespace PV_EXEC

#ifdef __CUDACC__
bool multiplies_by_warpgroups(const Stream& stream) {
  return stream.math != MathMode::ieee && cuda::warpgroups_multiply(stream.device().index);
}
#endif

PV_INSTANTIATE(matmul)
PV_INSTANTIATE(matmul_rows)

}  // namespace panvae
