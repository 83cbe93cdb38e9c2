// bias_activation: y = act(y + bias[channel]) in place, y [A, C, L]: the end of a product (A rows, C columns, L = 1) or of
// a convolution (A samples, C channels of length L) that a library has computed: BLAS on cpu, a vendor's on cuda. The tiles
// of tile.h end their own products; the vendor's ReLU would make 0 of NaN, and it has no leaky one.
// Every element is read and written once, 16 bytes a thread where y is aligned: 2 sizeof(T) bytes an element.
#include "base/threads.h"
#include "kernels/device_math.h"
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

// Pieces of V (T, or a pack of T), one a thread; the last may be cut. I is the type of indices: 32 bits divide faster.
template <class T, class V, class I>
__global__ void bias_activation_kernel(InOut<T> y, int64_t elements, I C, I L, In<T> bias, Activation activation, T slope) {
  begin_kernel();
  constexpr int kSize = sizeof(V) / sizeof(T);
  const int64_t first = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * kSize;
  if (first >= elements) return;
  const int n = first + kSize <= elements ? kSize : static_cast<int>(elements - first);
  alignas(V) T v[kSize] = {};
  if (n == kSize) *reinterpret_cast<V*>(v) = *reinterpret_cast<const V*>(y + first);
  else {
#pragma unroll
    for (int j = 0; j < kSize; ++j)
      if (j < n) v[j] = y[first + j];
  }
  if (bias) {
    const I row = static_cast<I>(first) / L;
    I channel = row % C, place = static_cast<I>(first) - row * L;
#pragma unroll
    for (int j = 0; j < kSize; ++j) {
      v[j] += bias[channel];
      if (++place < L) continue;
      place = 0;
      if (++channel == C) channel = 0;
    }
  }
#pragma unroll
  for (int j = 0; j < kSize; ++j) v[j] = activate(v[j], activation, slope);
  if (n == kSize) *reinterpret_cast<V*>(y + first) = *reinterpret_cast<const V*>(v);
  else {
#pragma unroll
    for (int j = 0; j < kSize; ++j)
      if (j < n) y[first + j] = v[j];
  }
}

template <class T, class V>
void end_pieces(Stream& stream, InOut<T> y, int64_t A, int64_t C, int64_t L, In<T> bias, Activation activation, T slope) {
  const int64_t elements = A * C * L;
  const unsigned grid = grid_for(elements, kBlock * static_cast<int64_t>(sizeof(V) / sizeof(T)));
  if (elements <= stream.short_index)
    launch(stream, grid, kBlock, 0, bias_activation_kernel<T, V, uint32_t>, y, elements, static_cast<uint32_t>(C), static_cast<uint32_t>(L), bias, activation,
           slope);
  else launch(stream, grid, kBlock, 0, bias_activation_kernel<T, V, int64_t>, y, elements, C, L, bias, activation, slope);
}

template <class T>
void bias_activation(Stream& stream, InOut<T> y, int64_t A, int64_t C, int64_t L, In<T> bias, Activation activation, T slope) {
  if (aligned16(y)) end_pieces<T, Pack<T>>(stream, y, A, C, L, bias, activation, slope);
  else end_pieces<T, T>(stream, y, A, C, L, bias, activation, slope);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(bias_activation)

}  // namespace panvae
