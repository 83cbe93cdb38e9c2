// Convolution over the last dimension, its gradients, and with them the transposed convolution (Conv1dShape has the formula;
// PyTorch's conv1d and conv_transpose1d, without groups).
//
//   conv1d       y[b, o, t]  = act(sum_i,k w[o, i, k] x[b, i, t stride - padding + k dilation] [+ y] + bias[o])
//   grad_input   gx[b, i, u] = act(sum_o,k w[o, i, k] gy[b, o, (u + padding - k dilation) / stride] [+ gx] + bias[i]), over the
//                k whose quotient is whole and within [0, L_out). With gy as the input, this is the transposed convolution
//   grad_weight  gw[o, i, k] [+]= sum_b,t gy[b, o, t] x[b, i, t stride - padding + k dilation]
//
// Each is 2 B C_out L_out C_in K flops (grad_input multiplies zeros besides, where stride > 1).
//
// simt and cuda: products of the tiles in kernels/tile.h whose operands are windows of x or gy, read in place (an implicit
// matrix product: no copy of the windows is ever made). Rows are output channels, columns are (sample, position) or
// (channel, tap); deterministic, also where the sum over samples is split.
//
// cpu: direct convolution in registers (kernels/conv1d_direct.cpp).
#include "kernels/conv1d_direct.h"
#include "kernels/instantiate.h"
#include "kernels/tile.h"
#include "kernels/vendor.h"

namespace panvae {

namespace cpu {

template <class T>
void conv1d(Stream& stream, In<T> x, In<T> w, InOut<T> y, Conv1dShape s, Epilogue<T> e) {
  direct_conv1d(stream, x, w, y, s, e);
}
template <class T>
void conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, Conv1dShape s, Epilogue<T> e) {
  direct_conv1d_grad_input(stream, grad_y, w, grad_x, s, e);
}
template <class T>
void conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, Conv1dShape s, bool accumulate) {
  direct_conv1d_grad_weight(stream, x, grad_y, grad_w, s, accumulate);
}

}  // namespace cpu

namespace PV_EXEC {

// Element ((b, t), (c, tap)) of the windows that an output position reads of x.
template <class T>
struct InputWindows {
  const T* x;
  Conv1dShape s;
  bool by_output;  // rows are output positions and k goes over (channel, tap), else the other way round
  __device__ bool k_contiguous() const { return !by_output; }
  __device__ T at(int64_t row, int64_t k) const {
    const int64_t position = by_output ? row : k, weight = by_output ? k : row;
    const int64_t b = position / s.L_out, t = position % s.L_out, c = weight / s.K, tap = weight % s.K;
    const int64_t u = t * s.stride - s.padding + tap * s.dilation;
    return u >= 0 && u < s.L_in ? x[(b * s.C_in + c) * s.L_in + u] : T(0);
  }
};

// Element ((b, u), (c, tap)) of the output gradients that an input position contributed to.
template <class T>
struct OutputWindows {
  const T* grad_y;
  Conv1dShape s;
  __device__ bool k_contiguous() const { return false; }
  __device__ T at(int64_t row, int64_t k) const {
    const int64_t b = row / s.L_in, u = row % s.L_in, c = k / s.K, tap = k % s.K;
    const int64_t from = u + s.padding - tap * s.dilation, t = from / s.stride;
    return from >= 0 && from % s.stride == 0 && t < s.L_out ? grad_y[(b * s.C_out + c) * s.L_out + t] : T(0);
  }
};

// Element (o, (i, tap)) of w, and element (i, (o, tap)) of it.
template <class T>
struct Weights {
  const T* w;
  int64_t row_stride;  // C_in K
  __device__ bool k_contiguous() const { return true; }
  __device__ T at(int64_t row, int64_t k) const { return w[row * row_stride + k]; }
};
template <class T>
struct WeightsByInput {
  const T* w;
  int64_t C_in, K;
  __device__ bool k_contiguous() const { return true; }
  __device__ T at(int64_t row, int64_t k) const { return w[(k / K * C_in + row) * K + k % K]; }
};

// Element (c, (b, t)) of a tensor [B, C, L].
template <class T>
struct Channels {
  const T* p;
  int64_t C, L;
  __device__ bool k_contiguous() const { return true; }
  __device__ T at(int64_t row, int64_t k) const { return p[(k / L * C + row) * L + k % L]; }
};
template <class T>
struct ChannelOutput {
  T* p;
  int64_t C, L;
  Epilogue<T> e;
  __device__ void store(int64_t row, int64_t column, T x) const {
    T& y = p[(column / L * C + row) * L + column % L];
    if (e.accumulate) x += y;
    if (e.bias) x += e.bias[row];
    y = activate(x, e.activation, e.slope);
  }
};
template <class T>
struct WeightOutput {
  T* w;
  int64_t row_stride;
  bool accumulate;
  __device__ void store(int64_t row, int64_t column, T x) const {
    T& y = w[row * row_stride + column];
    y = accumulate ? x + y : x;
  }
};

template <class T>
void conv1d(Stream& stream, In<T> x, In<T> w, InOut<T> y, Conv1dShape s, Epilogue<T> e) {
  if (s.B * s.C_out * s.L_out == 0) return;
  if (vendor::conv1d<T>(stream, x, w, y, s, e)) return;
  tile_product<T>(stream, Weights<T>{w, s.C_in * s.K}, InputWindows<T>{x, s, true}, ChannelOutput<T>{y, s.C_out, s.L_out, e}, s.C_out, s.B * s.L_out,
                  s.C_in * s.K);
}

template <class T>
void conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, Conv1dShape s, Epilogue<T> e) {
  if (s.B * s.C_in * s.L_in == 0) return;
  if (vendor::conv1d_grad_input<T>(stream, grad_y, w, grad_x, s, e)) return;
  tile_product<T>(stream, WeightsByInput<T>{w, s.C_in, s.K}, OutputWindows<T>{grad_y, s}, ChannelOutput<T>{grad_x, s.C_in, s.L_in, e}, s.C_in, s.B * s.L_in,
                  s.C_out * s.K);
}

template <class T>
void conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, Conv1dShape s, bool accumulate) {
  if (s.C_out * s.C_in * s.K == 0) return;
  if (vendor::conv1d_grad_weight<T>(stream, x, grad_y, grad_w, s, accumulate)) return;
  tile_product<T>(stream, Channels<T>{grad_y, s.C_out, s.L_out}, InputWindows<T>{x, s, false}, WeightOutput<T>{grad_w, s.C_in * s.K, accumulate}, s.C_out,
                  s.C_in * s.K, s.B * s.L_out);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(conv1d)
PV_INSTANTIATE(conv1d_grad_input)
PV_INSTANTIATE(conv1d_grad_weight)

}  // namespace panvae
