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
// cpu: a convolution is K products with the weights of one tap, each over a shifted view of the input, which BLAS takes as
// it lies in memory where stride is 1: L columns apart, none copied. For stride > 1 the columns of a tap are copied out
// first. Samples run in parallel; the weight gradient instead goes in parallel over blocks of input channels and, for each,
// through all samples in order, so that the sum has one order for any number of threads.
#include <algorithm>
#include <climits>

#include "base/threads.h"
#include "kernels/blas.h"
#include "kernels/instantiate.h"
#include "kernels/tile.h"

namespace panvae {

namespace cpu {

// Outputs t in [first, last) of a tap read x at t stride + offset, which is within [0, L_in).
struct Tap {
  int64_t offset, first, last;
  int64_t count() const { return last - first; }
};
inline Tap tap_of(const Conv1dShape& s, int64_t k) {
  const int64_t offset = k * s.dilation - s.padding;
  const int64_t first = offset >= 0 ? 0 : (-offset + s.stride - 1) / s.stride;
  const int64_t last = s.L_in <= offset ? 0 : std::min(s.L_out, (s.L_in - offset + s.stride - 1) / s.stride);
  return {offset, first, std::max(first, last)};
}

// w [C_out, C_in, K] <-> taps [K, C_out, C_in], so that the weights of a tap are a matrix.
template <class T>
void split_taps(const Conv1dShape& s, const T* w, T* taps) {
  const int64_t channels = s.C_out * s.C_in;
  parallel_chunks(channels, 8192, [=](int64_t begin, int64_t end) {
    for (int64_t k = 0; k < s.K; ++k)
      for (int64_t c = begin; c < end; ++c) taps[k * channels + c] = w[c * s.K + k];
  });
}
template <class T>
void join_taps(const Conv1dShape& s, const T* taps, T* w, bool accumulate) {
  const int64_t channels = s.C_out * s.C_in;
  parallel_chunks(channels, 8192, [=](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      for (int64_t k = 0; k < s.K; ++k) w[c * s.K + k] = taps[k * channels + c] + (accumulate ? w[c * s.K + k] : T(0));
  });
}

// The columns that a tap reads of `rows` channels of one sample, [rows, count], and where they belong in a gradient.
template <class T>
void copy_columns(const Conv1dShape& s, const Tap& tap, const T* x, T* columns, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < tap.count(); ++j) columns[r * tap.count() + j] = x[r * s.L_in + (tap.first + j) * s.stride + tap.offset];
}
template <class T>
void add_columns(const Conv1dShape& s, const Tap& tap, const T* columns, T* x, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < tap.count(); ++j) x[r * s.L_in + (tap.first + j) * s.stride + tap.offset] += columns[r * tap.count() + j];
}

// y [channels, L] before the products are added, and the activation after them.
template <class T>
void begin_sample(T* y, int64_t channels, int64_t L, const Epilogue<T>& e) {
  for (int64_t c = 0; c < channels; ++c) {
    const T start = e.bias ? e.bias[c] : T(0);
    if (!e.accumulate) std::fill(y + c * L, y + (c + 1) * L, start);
    else if (e.bias)
      for (int64_t t = 0; t < L; ++t) y[c * L + t] += start;
  }
}
template <class T>
void end_sample(T* y, int64_t n, const Epilogue<T>& e) {
  if (e.activation == Activation::none) return;
  const T slope = e.activation == Activation::relu ? T(0) : e.slope;
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = y[i] < T(0) ? slope * y[i] : y[i];
}

inline void check_sizes(const Conv1dShape& s) {
  PV_CHECK(std::max(s.C_in, s.C_out) <= INT_MAX && std::max(s.L_in, s.L_out) <= INT_MAX, "conv1d: sizes beyond what BLAS counts");
}

template <class T>
void conv1d(Stream& stream, In<T> x, In<T> w, InOut<T> y, Conv1dShape s, Epilogue<T> e) {
  check_sizes(s);
  if (s.B * s.C_out * s.L_out == 0) return;
  const int64_t column_count = s.stride == 1 ? 0 : s.C_in * s.L_out;
  T* const taps = stream.scratch<T>(s.K * s.C_out * s.C_in + threads() * column_count);
  T* const all_columns = taps + s.K * s.C_out * s.C_in;
  split_taps(s, w, taps);
  parallel_chunks(s.B, 1, [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const T* xb = x + b * s.C_in * s.L_in;
      T* yb = y + b * s.C_out * s.L_out;
      T* columns = all_columns + thread_index() * column_count;
      begin_sample(yb, s.C_out, s.L_out, e);
      for (int64_t k = 0; s.C_in > 0 && k < s.K; ++k) {
        const Tap tap = tap_of(s, k);
        if (tap.count() == 0) continue;
        if (s.stride != 1) copy_columns(s, tap, xb, columns, s.C_in);
        const T* window = s.stride == 1 ? xb + tap.first + tap.offset : columns;
        gemm(false, false, s.C_out, tap.count(), s.C_in, taps + k * s.C_out * s.C_in, s.C_in, window, s.stride == 1 ? s.L_in : tap.count(), T(1),
             yb + tap.first, s.L_out);
      }
      end_sample(yb, s.C_out * s.L_out, e);
    }
  });
}

template <class T>
void conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, Conv1dShape s, Epilogue<T> e) {
  check_sizes(s);
  if (s.B * s.C_in * s.L_in == 0) return;
  const int64_t column_count = s.stride == 1 ? 0 : s.C_in * s.L_out;
  T* const taps = stream.scratch<T>(s.K * s.C_out * s.C_in + threads() * column_count);
  T* const all_columns = taps + s.K * s.C_out * s.C_in;
  split_taps(s, w, taps);
  parallel_chunks(s.B, 1, [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const T* gy = grad_y + b * s.C_out * s.L_out;
      T* gx = grad_x + b * s.C_in * s.L_in;
      T* columns = all_columns + thread_index() * column_count;
      begin_sample(gx, s.C_in, s.L_in, e);
      for (int64_t k = 0; s.C_out > 0 && k < s.K; ++k) {
        const Tap tap = tap_of(s, k);
        if (tap.count() == 0) continue;
        const bool direct = s.stride == 1;
        gemm(true, false, s.C_in, tap.count(), s.C_out, taps + k * s.C_out * s.C_in, s.C_in, gy + tap.first, s.L_out, direct ? T(1) : T(0),
             direct ? gx + tap.first + tap.offset : columns, direct ? s.L_in : tap.count());
        if (!direct) add_columns(s, tap, columns, gx, s.C_in);
      }
      end_sample(gx, s.C_in * s.L_in, e);
    }
  });
}

template <class T>
void conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, Conv1dShape s, bool accumulate) {
  check_sizes(s);
  constexpr int64_t kChannels = 128;  // of a block: enough blocks for the threads, products large enough for BLAS
  const int64_t weights = s.K * s.C_out * s.C_in, column_count = s.stride == 1 ? 0 : kChannels * s.L_out;
  if (weights == 0) return;
  T* const taps = stream.scratch<T>(weights + threads() * column_count);
  std::fill(taps, taps + weights, T(0));
  const int64_t blocks = (s.C_in + kChannels - 1) / kChannels;
  parallel_chunks(blocks * s.K, 1, [=](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const Tap tap = tap_of(s, task % s.K);
      if (tap.count() == 0) continue;
      const int64_t first = task / s.K * kChannels, channels = std::min(kChannels, s.C_in - first);
      T* columns = taps + weights + thread_index() * column_count;
      T* sum = taps + task % s.K * s.C_out * s.C_in + first;
      for (int64_t b = 0; b < s.B; ++b) {
        const T* xb = x + (b * s.C_in + first) * s.L_in;
        if (s.stride != 1) copy_columns(s, tap, xb, columns, channels);
        gemm(false, true, s.C_out, channels, tap.count(), grad_y + b * s.C_out * s.L_out + tap.first, s.L_out,
             s.stride == 1 ? xb + tap.first + tap.offset : columns, s.stride == 1 ? s.L_in : tap.count(), T(1), sum, s.C_in);
      }
    }
  });
  join_taps(s, taps, grad_w, accumulate);
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
  tile_product<T>(stream, Weights<T>{w, s.C_in * s.K}, InputWindows<T>{x, s, true}, ChannelOutput<T>{y, s.C_out, s.L_out, e}, s.C_out, s.B * s.L_out,
                  s.C_in * s.K);
}

template <class T>
void conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, Conv1dShape s, Epilogue<T> e) {
  if (s.B * s.C_in * s.L_in == 0) return;
  tile_product<T>(stream, WeightsByInput<T>{w, s.C_in, s.K}, OutputWindows<T>{grad_y, s}, ChannelOutput<T>{grad_x, s.C_in, s.L_in, e}, s.C_in, s.B * s.L_in,
                  s.C_out * s.K);
}

template <class T>
void conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, Conv1dShape s, bool accumulate) {
  if (s.C_out * s.C_in * s.K == 0) return;
  tile_product<T>(stream, Channels<T>{grad_y, s.C_out, s.L_out}, InputWindows<T>{x, s, false}, WeightOutput<T>{grad_w, s.C_in * s.K, accumulate}, s.C_out,
                  s.C_in * s.K, s.B * s.L_out);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(conv1d)
PV_INSTANTIATE(conv1d_grad_input)
PV_INSTANTIATE(conv1d_grad_weight)

}  // namespace panvae
