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

// Operands. at(row, k) divides numbers of 64 bits, which every size needs; of_row and of_k numbers of 31, by multiplication.

// What a row or a k contributes to the place of an element of a tensor: that of its last dimension, and the address but for it.
struct WindowPart {
  int64_t offset;
  int position;
};
// Positions fit 31 bits, padding included.
inline bool addressable_windows(const Conv1dShape& s) {
  return s.L_in + 2 * s.padding <= kMostAddressed;
}

// Element ((b, t), (c, tap)) of the windows that an output position reads of x. By output: rows are output positions and k
// goes over (channel, tap); else the other way round.
template <class T, bool kByOutput>
struct InputWindows {
  const T* data;
  Conv1dShape s;
  Divider length{s.L_out}, taps{s.K};
  int step = static_cast<int>(s.stride), padding = static_cast<int>(s.padding), dilation = static_cast<int>(s.dilation), L_in = static_cast<int>(s.L_in);
  __host__ __device__ static constexpr bool k_contiguous() { return !kByOutput; }
  __device__ T at(int64_t row, int64_t k) const {
    const int64_t position = kByOutput ? row : k, weight = kByOutput ? k : row;
    const int64_t b = position / s.L_out, t = position % s.L_out, c = weight / s.K, tap = weight % s.K, u = t * s.stride - s.padding + tap * s.dilation;
    return u >= 0 && u < s.L_in ? data[(b * s.C_in + c) * s.L_in + u] : T(0);
  }
  bool addressable() const { return addressable_windows(s); }
  __device__ WindowPart of_position(int n) const {
    const int b = length.quotient(n), t = n - b * static_cast<int>(s.L_out);
    return {b * s.C_in * s.L_in, t * step - padding};
  }
  __device__ WindowPart of_weight(int n) const {
    const int c = taps.quotient(n), tap = n - c * static_cast<int>(s.K);
    return {int64_t{c} * L_in, tap * dilation};
  }
  __device__ WindowPart of_row(int row) const { return kByOutput ? of_position(row) : of_weight(row); }
  __device__ WindowPart of_k(int k) const { return kByOutput ? of_weight(k) : of_position(k); }
  __device__ const T* address(WindowPart x, WindowPart y) const {
    const int u = x.position + y.position;
    return static_cast<unsigned>(u) < static_cast<unsigned>(L_in) ? data + (x.offset + y.offset + u) : nullptr;
  }
  __device__ static bool wide() { return false; }  // windows begin anywhere
};

// Element ((b, u), (c, tap)) of the output gradients that an input position contributed to.
template <class T>
struct OutputWindows {
  const T* data;
  Conv1dShape s;
  Divider length{s.L_in}, taps{s.K}, by_stride{s.stride};
  int padding = static_cast<int>(s.padding), dilation = static_cast<int>(s.dilation), L_out = static_cast<int>(s.L_out);
  __host__ __device__ static constexpr bool k_contiguous() { return false; }
  __device__ T at(int64_t row, int64_t k) const {
    const int64_t b = row / s.L_in, u = row % s.L_in, c = k / s.K, tap = k % s.K;
    const int64_t from = u + s.padding - tap * s.dilation, t = from / s.stride;
    return from >= 0 && from % s.stride == 0 && t < s.L_out ? data[(b * s.C_out + c) * s.L_out + t] : T(0);
  }
  bool addressable() const { return addressable_windows(s); }
  __device__ WindowPart of_row(int row) const {
    const int b = length.quotient(row);
    return {b * s.C_out * s.L_out, row - b * static_cast<int>(s.L_in) + padding};
  }
  __device__ WindowPart of_k(int k) const {
    const int c = taps.quotient(k), tap = k - c * static_cast<int>(s.K);
    return {int64_t{c} * L_out, -tap * dilation};
  }
  __device__ const T* address(WindowPart x, WindowPart y) const {
    const int from = x.position + y.position;
    int t = from;
    if (s.stride > 1) {
      if (from < 0) return nullptr;
      t = by_stride.quotient(from);
      if (t * static_cast<int>(s.stride) != from) return nullptr;
    }
    return static_cast<unsigned>(t) < static_cast<unsigned>(L_out) ? data + (x.offset + y.offset + t) : nullptr;
  }
  __device__ static bool wide() { return false; }
};

// Element (o, (i, tap)) of w, and element (i, (o, tap)) of it.
template <class T>
using Weights = RowsOperand<T>;  // of a stride of C_in K
template <class T>
struct WeightsByInput {
  const T* data;
  int64_t C_in, K;
  Divider taps{K};
  __host__ __device__ static constexpr bool k_contiguous() { return true; }
  __device__ T at(int64_t row, int64_t k) const { return data[(k / K * C_in + row) * K + k % K]; }
  __device__ int64_t of_row(int row) const { return row * K; }
  __device__ int64_t of_k(int k) const {
    const int o = taps.quotient(k);
    return o * C_in * K + (k - o * static_cast<int>(K));
  }
  __device__ const T* address(int64_t of_row, int64_t of_k) const { return data + (of_row + of_k); }
  __device__ static bool wide() { return false; }  // but for runs of K
};

// Element (c, (b, t)) of a tensor [B, C, L].
template <class T>
struct Channels {
  const T* data;
  int64_t C, L;
  Divider length{L};
  __host__ __device__ static constexpr bool k_contiguous() { return true; }
  __device__ T at(int64_t row, int64_t k) const { return data[(k / L * C + row) * L + k % L]; }
  __device__ int64_t of_row(int row) const { return row * L; }
  __device__ int64_t of_k(int k) const {
    const int b = length.quotient(k);
    return b * C * L + (k - b * static_cast<int>(L));
  }
  __device__ const T* address(int64_t of_row, int64_t of_k) const { return data + (of_row + of_k); }
  __device__ bool wide() const { return aligned_rows(data, L); }
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
  tile_product<T>(stream, Weights<T>{w, s.C_in * s.K}, InputWindows<T, true>{x, s}, ChannelOutput<T>{y, s.C_out, s.L_out, e}, s.C_out, s.B * s.L_out,
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
  tile_product<T>(stream, Channels<T>{grad_y, s.C_out, s.L_out}, InputWindows<T, false>{x, s}, WeightOutput<T>{grad_w, s.C_in * s.K, accumulate}, s.C_out,
                  s.C_in * s.K, s.B * s.L_out);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(conv1d)
PV_INSTANTIATE(conv1d_grad_input)
PV_INSTANTIATE(conv1d_grad_weight)

}  // namespace panvae
