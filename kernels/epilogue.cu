// bias_activation: y = act(y + bias[channel]) in place, y [A, C, L]: the end of a product (A rows, C columns, L = 1) or of
// a convolution (A samples, C channels of length L) that a library has computed: BLAS on cpu, a vendor's on cuda. The tiles
// of tile.h end their own products; the vendor's ReLU would make 0 of NaN, and it has no leaky one.
// One thread an element, which is read and written once: 2 sizeof(T) bytes an element.
#include "base/threads.h"
#include "kernels/instantiate.h"
#include "kernels/tile.h"

namespace panvae {

namespace cpu {

// One row of `length` for each of A samples (L = 1), or of A C channels.
template <class T, class F>
void each_row(T* y, int64_t A, int64_t C, int64_t L, const T* bias, F activation) {
  const int64_t rows = L == 1 ? A : A * C, length = L == 1 ? C : L;
  parallel_chunks(rows, 1 + 16384 / length, [=](int64_t begin, int64_t end) {
    const F f = activation;  // a copy that no store can change: it stays in registers
    for (int64_t r = begin; r < end; ++r) {
      T* row = y + r * length;
      if (bias && L == 1) {
#pragma omp simd
        for (int64_t i = 0; i < length; ++i) row[i] = f(row[i] + bias[i]);
      } else {
        const T b = bias ? bias[r % C] : T(-0.0);  // which adds nothing, to -0 neither
#pragma omp simd
        for (int64_t i = 0; i < length; ++i) row[i] = f(row[i] + b);
      }
    }
  });
}

template <class T>
void bias_activation(Stream&, InOut<T> y, int64_t A, int64_t C, int64_t L, In<T> bias, Activation activation, T slope) {
  if (A * C * L == 0) return;
  if (activation == Activation::relu) each_row(y, A, C, L, bias, [](T x) { return x < T(0) ? T(0) : x; });
  else if (activation == Activation::leaky_relu) each_row(y, A, C, L, bias, [=](T x) { return x * (x < T(0) ? slope : T(1)); });
  else if (bias) each_row(y, A, C, L, bias, [](T x) { return x; });
}

}  // namespace cpu

namespace PV_EXEC {

template <class T>
__global__ void bias_activation_kernel(InOut<T> y, int64_t elements, int64_t C, int64_t L, In<T> bias, Activation activation, T slope) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= elements) return;
  const T x = bias ? y[i] + bias[i / L % C] : y[i];
  y[i] = activate(x, activation, slope);
}

template <class T>
void bias_activation(Stream& stream, InOut<T> y, int64_t A, int64_t C, int64_t L, In<T> bias, Activation activation, T slope) {
  launch(stream, grid_for(A * C * L, kBlock), kBlock, 0, bias_activation_kernel<T>, y, A * C * L, C, L, bias, activation, slope);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(bias_activation)

}  // namespace panvae
