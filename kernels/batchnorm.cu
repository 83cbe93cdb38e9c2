// Batch normalisation (Ioffe and Szegedy 2015) over x [B, C, L], as PyTorch's BatchNorm1d: one mean and variance a channel,
// over the N = B L elements of batch and length. [B, C] is L = 1.
//
//   train   y = w (x - mean) / sqrt(var + eps) + b, var = 1/N sum (x - mean)^2
//           running_mean = (1 - m) running_mean + m mean, running_var = (1 - m) running_var + m var N / (N - 1)
//   eval    the same with mean and var from the running statistics
//   grad    h = (x - mean) / sqrt(var + eps);  g_b = sum g_y;  g_w = sum g_y h
//           train: g_x = w / sqrt(var + eps) (g_y - 1/N g_b - 1/N h g_w);  eval: g_x = w / sqrt(var + eps) g_y
//
// Bytes (f32): forward 8 N C, gradient 12 N C, where the second pass over a channel finds it in a cache. Means and variances
// are merged pairwise in a fixed order (kernels/moments.h), relative to the channel's first element; a mean is kept in two
// parts. So a deviation of 1 at a mean of 10^4 costs no digits.
//
// simt, cuda: one launch; a block has 8 neighbouring columns of [B, C], a 32-byte sector of each row, or one channel of
// [B, C, L], and goes over it twice. Made for many channels: with few, few blocks are at work.
// cpu: parallel over strips of whole channels; a strip is taken in pieces of at most kWidth columns of [B, C L].
#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/moments.h"

namespace panvae {

namespace {

// A channel's normalisation: h = ((x - mean.large) - mean.small) inverse, inverse = 1 / sqrt(var + eps).
template <class T>
struct Channel {
  TwoPart<T> mean;
  T inverse;

  __host__ __device__ T centred(T x) const { return (x - mean.large) - mean.small; }
};

// statistics [3, C]
template <class T>
__host__ __device__ inline Channel<T> channel_of(const T* statistics, int64_t c, int64_t C) {
  return {{statistics[c], statistics[C + c]}, statistics[2 * C + c]};
}
template <class T>
__host__ __device__ inline void put(T* statistics, int64_t c, int64_t C, const Channel<T>& s) {
  statistics[c] = s.mean.large, statistics[C + c] = s.mean.small, statistics[2 * C + c] = s.inverse;
}
template <class T>
__host__ __device__ inline void update_running(T* running, int64_t c, T momentum, T value) {
  running[c] = (T(1) - momentum) * running[c] + momentum * value;
}
template <class T>
__host__ __device__ inline void put_or_add(T* to, int64_t c, bool add, T value) {
  if (to) to[c] = add ? to[c] + value : value;
}

}  // namespace

namespace cpu {

constexpr int64_t kWidth = 256;  // columns of a piece: 1 KiB of each row of f32
constexpr int64_t kRows = 8;     // whose elements of a column are in registers together

template <class V>
using Columns = V[kWidth];

// x [B, C, L] is a matrix [B, C L] to these loops. A strip is one channel, or as many whole ones as fill a piece.
struct Layout {
  int64_t B, C, L;
  int64_t stride() const { return C * L; }
  double count() const { return static_cast<double>(B * L); }
  int64_t strip() const { return std::max<int64_t>(1, kWidth / L); }

  // f(first channel, channels) for each strip, in parallel.
  template <class F>
  void strips(F&& f) const {
    parallel_chunks((C + strip() - 1) / strip(), 1 + 16384 / (B * strip() * L), [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) f(s * strip(), std::min(strip(), C - s * strip()));
    });
  }
  // f(first column, width) for each piece of a strip. The width of a whole piece is a constant to the loops.
  template <class F>
  void pieces(int64_t channel, int64_t channels, F&& f) const {
    int64_t column = channel * L;
    const int64_t last = column + channels * L;
    for (; column + kWidth <= last; column += kWidth) f(column, std::integral_constant<int64_t, kWidth>{});
    if (column < last) f(column, last - column);
  }
  // f(channel, counted from that of the strip, first column within the piece, columns) for what a piece has of each channel.
  template <class F>
  void parts(int64_t channel, int64_t column, int64_t width, F&& f) const {
    int64_t of = column / L - channel, n = std::min(width, L - column % L);
    for (int64_t c = 0; c < width; ++of, c += n, n = std::min(width - c, L)) f(of, c, n);
  }
};

// Numbers that belong to the channels of a strip, and the same for each column of a piece.
template <class T, int N>
struct Factors {
  Columns<T> of[N];

  void expand(const Layout& layout, int64_t channel, int64_t column, int64_t width, const Factors& channels) {
    if (layout.L == 1) {
      *this = channels;
      return;
    }
    layout.parts(channel, column, width, [&](int64_t from, int64_t c, int64_t n) {
      for (int i = 0; i < N; ++i) std::fill_n(of[i] + c, n, channels.of[i][from]);
    });
  }
};

// The moments of x - origin of columns; T sums `kRows` elements, f64 the rest.
template <class T>
struct ColumnMoments {
  Columns<double> mean, m2;

  template <class W>
  ColumnMoments(const T* x, int64_t stride, int64_t rows, W width, const T* origin) {
    for (int64_t c = 0; c < width; ++c) mean[c] = m2[c] = 0;
    int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) add<kRows>(x + r * stride, stride, r, width, origin);
    for (; r < rows; ++r) add<1>(x + r * stride, stride, r, width, origin);
  }
  // The moments of columns [first, first + n) as those of one set.
  Moments<double> together(int64_t first, int64_t n, int64_t rows) const {
    const double count = static_cast<double>(rows);
    double sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = first; c < first + n; ++c) sum += mean[c];
    const double m = sum / static_cast<double>(n);
#pragma omp simd reduction(+ : square)
    for (int64_t c = first; c < first + n; ++c) square += m2[c] + count * (mean[c] - m) * (mean[c] - m);
    return {count * static_cast<double>(n), m, square};
  }

 private:
  template <int R, class W>
  void add(const T* x, int64_t stride, int64_t before, W width, const T* origin) {
    const double share = static_cast<double>(R) / static_cast<double>(before + R), weight = static_cast<double>(before) * share;
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) {
      T d[R], sum = T(0), square = T(0);
      for (int r = 0; r < R; ++r) d[r] = x[r * stride + c] - origin[c];
      for (int r = 0; r < R; ++r) sum += d[r];
      const T m = sum * (T(1) / R);
      for (int r = 0; r < R; ++r) square += (d[r] - m) * (d[r] - m);
      const double delta = m - mean[c];
      mean[c] += delta * share;
      m2[c] += square + delta * weight * delta;
    }
  }
};

// Sums of grad_y and of grad_y (x - mean) of columns.
template <class T>
struct ColumnSums {
  Columns<double> sum, product;

  template <class W>
  ColumnSums(const T* x, const T* grad_y, int64_t stride, int64_t rows, W width, const T* large, const T* small) {
    for (int64_t c = 0; c < width; ++c) sum[c] = product[c] = 0;
    int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) add<kRows>(x + r * stride, grad_y + r * stride, stride, width, large, small);
    for (; r < rows; ++r) add<1>(x + r * stride, grad_y + r * stride, stride, width, large, small);
  }

 private:
  template <int R, class W>
  void add(const T* x, const T* grad_y, int64_t stride, W width, const T* large, const T* small) {
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) {
      T s = T(0), p = T(0);
      for (int r = 0; r < R; ++r) {
        const T g = grad_y[r * stride + c];
        s += g;
        p += g * ((x[r * stride + c] - large[c]) - small[c]);
      }
      sum[c] += s, product[c] += p;
    }
  }
};

template <class T>
void normalise(const Layout& layout, In<T> x, In<T> weight, In<T> bias, In<T> statistics, Out<T> y, int64_t channel, int64_t channels) {
  Factors<T, 4> factors, f;  // mean, its rest, scale, shift
  for (int64_t i = 0; i < channels; ++i) {
    const int64_t c = channel + i;
    const Channel<T> s = channel_of(statistics, c, layout.C);
    factors.of[0][i] = s.mean.large, factors.of[1][i] = s.mean.small;
    factors.of[2][i] = weight ? weight[c] * s.inverse : s.inverse;
    factors.of[3][i] = bias ? bias[c] : T(0);
  }
  layout.pieces(channel, channels, [&](int64_t column, auto width) {
    f.expand(layout, channel, column, width, factors);
    for (int64_t r = 0; r < layout.B; ++r) {
      const T* from = x + r * layout.stride() + column;
      T* to = y + r * layout.stride() + column;
#pragma omp simd
      for (int64_t c = 0; c < width; ++c) to[c] = ((from[c] - f.of[0][c]) - f.of[1][c]) * f.of[2][c] + f.of[3][c];
    }
  });
}

template <class T>
void batchnorm_train(Stream&, In<T> x, In<T> weight, In<T> bias, int64_t B, int64_t C, int64_t L, T eps, T momentum, InOut<T> running_mean,
                     InOut<T> running_var, Out<T> y, Out<T> statistics) {
  const Layout layout{B, C, L};
  if (B * C * L == 0) return;
  layout.strips([=](int64_t channel, int64_t channels) {
    Columns<double> mean, m2;  // of the channels of the strip, counted from their first elements
    Factors<T, 1> origins, o;
    for (int64_t i = 0; i < channels; ++i) origins.of[0][i] = x[(channel + i) * layout.L];
    layout.pieces(channel, channels, [&](int64_t column, auto width) {
      o.expand(layout, channel, column, width, origins);
      const ColumnMoments<T> columns(x + column, layout.stride(), B, width, o.of[0]);
      if (layout.L == 1) {
        std::copy_n(columns.mean, channels, mean);
        std::copy_n(columns.m2, channels, m2);
        return;
      }
      layout.parts(channel, column, width, [&](int64_t of, int64_t first, int64_t n) {
        const int64_t before = column + first - (channel + of) * layout.L;  // columns of this channel in earlier pieces
        Moments<double> m{static_cast<double>(before * B), mean[of], m2[of]};
        if (before == 0) m = {0, 0, 0};
        m.merge(columns.together(first, n, B));
        mean[of] = m.mean, m2[of] = m.m2;
      });
    });
    const double share = 1 / layout.count(), unbiased = 1 / (layout.count() - 1);
    T *large = statistics + channel, *small = large + C, *inverse = small + C;
#pragma omp simd
    for (int64_t i = 0; i < channels; ++i) {
      const TwoPart<double> m = exact_sum<double>(origins.of[0][i], mean[i]);
      large[i] = static_cast<T>(m.large);
      small[i] = static_cast<T>((m.large - static_cast<double>(large[i])) + m.small);
      inverse[i] = static_cast<T>(1 / std::sqrt(m2[i] * share + static_cast<double>(eps)));
      update_running(running_mean, channel + i, momentum, large[i]);
      update_running(running_var, channel + i, momentum, static_cast<T>(m2[i] * unbiased));
    }
    normalise(layout, x, weight, bias, statistics, y, channel, channels);
  });
}

template <class T>
void batchnorm_eval(Stream&, In<T> x, In<T> weight, In<T> bias, In<T> running_mean, In<T> running_var, int64_t B, int64_t C, int64_t L, T eps, Out<T> y,
                    Out<T> statistics) {
  for (int64_t c = 0; c < C; ++c) put(statistics, c, C, {{running_mean[c], T(0)}, T(1) / std::sqrt(running_var[c] + eps)});
  const Layout layout{B, C, L};
  if (B * C * L == 0) return;
  layout.strips([=](int64_t channel, int64_t channels) { normalise(layout, x, weight, bias, statistics, y, channel, channels); });
}

template <bool Constant, class T>
void gradient(In<T> x, const T* grad_y, In<T> weight, In<T> statistics, int64_t B, int64_t C, int64_t L, T* grad_x, T* grad_weight, T* grad_bias,
              bool add_weight, bool add_bias) {
  const Layout layout{B, C, L};
  if (B * C * L == 0) {
    for (int64_t c = 0; c < C; ++c) put_or_add(grad_weight, c, add_weight, T(0)), put_or_add(grad_bias, c, add_bias, T(0));
    return;
  }
  layout.strips([=](int64_t channel, int64_t channels) {
    Factors<T, 5> factors, f;  // mean, its rest, scale, mean of grad_y, factor of x - mean
    Columns<double> inverse, sum = {}, product = {};
    for (int64_t i = 0; i < channels; ++i) {
      const Channel<T> s = channel_of(statistics, channel + i, C);
      factors.of[0][i] = s.mean.large, factors.of[1][i] = s.mean.small, inverse[i] = s.inverse;
    }
    layout.pieces(channel, channels, [&](int64_t column, auto width) {
      f.expand(layout, channel, column, width, factors);
      const ColumnSums<T> columns(x + column, grad_y + column, layout.stride(), B, width, f.of[0], f.of[1]);
      layout.parts(channel, column, width, [&](int64_t of, int64_t first, int64_t n) {
        for (int64_t c = first; c < first + n; ++c) sum[of] += columns.sum[c], product[of] += columns.product[c];
      });
    });
    const double share = 1 / layout.count();
    for (int64_t i = 0; i < channels; ++i) {
      const int64_t c = channel + i;
      put_or_add(grad_weight, c, add_weight, static_cast<T>(product[i] * inverse[i]));
      put_or_add(grad_bias, c, add_bias, static_cast<T>(sum[i]));
      factors.of[2][i] = static_cast<T>(weight ? weight[c] * inverse[i] : inverse[i]);
      factors.of[3][i] = static_cast<T>(sum[i] * share);
      factors.of[4][i] = static_cast<T>(product[i] * inverse[i] * inverse[i] * share);
    }
    if (!grad_x) return;
    layout.pieces(channel, channels, [&](int64_t column, auto width) {
      f.expand(layout, channel, column, width, factors);
      for (int64_t r = 0; r < B; ++r) {
        const int64_t at = r * layout.stride() + column;
        const T *gy = grad_y + at, *from = x + at;
        T* to = grad_x + at;
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) {
          if constexpr (Constant) to[c] = f.of[2][c] * gy[c];
          else to[c] = f.of[2][c] * ((gy[c] - f.of[3][c]) - ((from[c] - f.of[0][c]) - f.of[1][c]) * f.of[4][c]);
        }
      }
    });
  });
}

template <class T>
void batchnorm_grad(Stream&, In<T> x, In<T> grad_y, In<T> weight, In<T> statistics, int64_t B, int64_t C, int64_t L, bool constant, Out<T> grad_x,
                    InOut<T> grad_weight, InOut<T> grad_bias, bool add_weight, bool add_bias) {
  if (constant) gradient<true>(x, grad_y, weight, statistics, B, C, L, grad_x, grad_weight, grad_bias, add_weight, add_bias);
  else gradient<false>(x, grad_y, weight, statistics, B, C, L, grad_x, grad_weight, grad_bias, add_weight, add_bias);
}

}  // namespace cpu

namespace PV_EXEC {

constexpr int kStrip = 8;  // columns of a block where L = 1
constexpr int kThreads = 1024;

// A thread's way through one channel: element e lies at (e / L C + channel) L + e % L, and the next one is `lanes` further.
// Strips of several columns have L = 1.
template <int W>
struct Walk {
  int64_t element, at, lanes, step, l, step_l, L, wrap;

  __device__ Walk(int64_t channel, int64_t first, int64_t lanes_, int64_t C, int64_t L_) : element(first), lanes(lanes_), L(L_) {
    if constexpr (W > 1) {
      at = first * C + channel;
      step = lanes * C;
    } else {
      l = first % L;
      at = (first / L * C + channel) * L + l;
      step_l = lanes % L;
      step = lanes / L * C * L + step_l;
      wrap = (C - 1) * L;
    }
  }
  __device__ void next() {
    element += lanes;
    at += step;
    if constexpr (W == 1) {
      l += step_l;
      if (l >= L) l -= L, at += wrap;
    }
  }
};

// The place of a thread: blocks hold W neighbouring channels, each of which `lanes` threads share.
template <int W>
struct Place {
  int64_t channel;
  int lane, lanes;
  __device__ Place() : channel(int64_t(blockIdx.x) * W + threadIdx.x % W), lane(threadIdx.x / W), lanes(blockDim.x / W) {}
};

template <class T, int W>
__global__ void __launch_bounds__(kThreads) batchnorm_train_kernel(In<T> x, In<T> weight, In<T> bias, int64_t N, int64_t C, int64_t L, T eps, T momentum,
                                                                   InOut<T> running_mean, InOut<T> running_var, Out<T> y, Out<T> statistics) {
  const Place<W> place;
  const int64_t c = place.channel, last = c < C ? N : 0;
  const T origin = c < C ? x[c * L] : T(0);
  Moments<T> m{T(0), T(0), T(0)};
  for (Walk<W> w(c, place.lane, place.lanes, C, L); w.element < last;)
    add_group(m, [&](T& v) {
      const bool there = w.element < last;
      v = there ? x[w.at] - origin : T(0);
      w.next();
      return there;
    });
  m = merge_columns<W>(m, Moments<T>{T(0), T(0), T(0)});
  if (c >= C) return;
  const TwoPart<T> mean = exact_sum(origin, m.mean);
  const Channel<T> s{mean, T(1) / std::sqrt(m.m2 / T(N) + eps)};
  if (place.lane == 0) {
    put(statistics, c, C, s);
    update_running(running_mean, c, momentum, mean.large);
    update_running(running_var, c, momentum, m.m2 / T(N - 1));
  }
  const T scale = weight ? weight[c] * s.inverse : s.inverse, shift = bias ? bias[c] : T(0);
#pragma unroll kGroup
  for (Walk<W> w(c, place.lane, place.lanes, C, L); w.element < last; w.next()) y[w.at] = s.centred(x[w.at]) * scale + shift;
}

// Blocks of a channel share its elements: block i of `parts` takes stretch i of `stretch` elements.
template <class T, int W>
__global__ void batchnorm_eval_kernel(In<T> x, In<T> weight, In<T> bias, In<T> running_mean, In<T> running_var, int64_t N, int64_t C, int64_t L, T eps,
                                      int64_t parts, int64_t stretch, Out<T> y, Out<T> statistics) {
  const int64_t c = blockIdx.x / parts * W + threadIdx.x % W, first = blockIdx.x % parts * stretch, last = first + stretch < N ? first + stretch : N;
  if (c >= C) return;
  const Channel<T> s{{running_mean[c], T(0)}, T(1) / std::sqrt(running_var[c] + eps)};
  if (first == 0 && threadIdx.x < W) put(statistics, c, C, s);
  const T scale = weight ? weight[c] * s.inverse : s.inverse, shift = bias ? bias[c] : T(0);
#pragma unroll kGroup
  for (Walk<W> w(c, first + threadIdx.x / W, blockDim.x / W, C, L); w.element < last; w.next()) y[w.at] = s.centred(x[w.at]) * scale + shift;
}

template <bool Constant, class T, int W>
__global__ void __launch_bounds__(kThreads) batchnorm_grad_kernel(In<T> x, const T* grad_y, In<T> weight, In<T> statistics, int64_t N, int64_t C, int64_t L,
                                                                  T* grad_x, T* grad_weight, T* grad_bias, bool add_weight, bool add_bias) {
  const Place<W> place;
  const int64_t c = place.channel, last = c < C ? N : 0;
  const Channel<T> s = c < C ? channel_of(statistics, c, C) : Channel<T>{};
  Sums<T> sums{T(0), T(0)};
#pragma unroll kGroup
  for (Walk<W> w(c, place.lane, place.lanes, C, L); w.element < last; w.next()) {
    const T g = grad_y[w.at];
    sums.merge({g, g * s.centred(x[w.at])});
  }
  sums = merge_columns<W>(sums, Sums<T>{T(0), T(0)});
  if (c >= C) return;
  if (place.lane == 0) {
    put_or_add(grad_weight, c, add_weight, sums.b * s.inverse);
    put_or_add(grad_bias, c, add_bias, sums.a);
  }
  if (!grad_x) return;
  const T scale = weight ? weight[c] * s.inverse : s.inverse, mean = sums.a / T(N), slope = sums.b * s.inverse * s.inverse / T(N);
#pragma unroll kGroup
  for (Walk<W> w(c, place.lane, place.lanes, C, L); w.element < last; w.next()) {
    if constexpr (Constant) grad_x[w.at] = scale * grad_y[w.at];
    else grad_x[w.at] = scale * ((grad_y[w.at] - mean) - s.centred(x[w.at]) * slope);
  }
}

template <class T>
void batchnorm_train(Stream& stream, In<T> x, In<T> weight, In<T> bias, int64_t B, int64_t C, int64_t L, T eps, T momentum, InOut<T> running_mean,
                     InOut<T> running_var, Out<T> y, Out<T> statistics) {
  const int64_t N = B * L;
  if (N == 0) return;
  auto run = [&](int W, auto kernel) {
    launch(stream, grid_for(C, W), threads_for(N * W, kThreads), 0, kernel, x, weight, bias, N, C, L, eps, momentum, running_mean, running_var, y, statistics);
  };
  if (L == 1) run(kStrip, batchnorm_train_kernel<T, kStrip>);
  else run(1, batchnorm_train_kernel<T, 1>);
}

template <class T>
void batchnorm_eval(Stream& stream, In<T> x, In<T> weight, In<T> bias, In<T> running_mean, In<T> running_var, int64_t B, int64_t C, int64_t L, T eps, Out<T> y,
                    Out<T> statistics) {
  const int64_t N = B * L;
  auto run = [&](int W, auto kernel) {
    const int64_t stretch = 2 * kGroup * kBlock / W, parts = N == 0 ? 1 : (N + stretch - 1) / stretch;
    launch(stream, grid_for((C + W - 1) / W * parts, 1), kBlock, 0, kernel, x, weight, bias, running_mean, running_var, N, C, L == 0 ? 1 : L, eps, parts,
           stretch, y, statistics);
  };
  if (L == 1) run(kWarp, batchnorm_eval_kernel<T, kWarp>);
  else run(1, batchnorm_eval_kernel<T, 1>);
}

template <class T>
void batchnorm_grad(Stream& stream, In<T> x, In<T> grad_y, In<T> weight, In<T> statistics, int64_t B, int64_t C, int64_t L, bool constant, Out<T> grad_x,
                    InOut<T> grad_weight, InOut<T> grad_bias, bool add_weight, bool add_bias) {
  const int64_t N = B * L;
  auto run = [&](int W, auto kernel) {
    launch(stream, grid_for(C, W), threads_for(N * W, kThreads), 0, kernel, x, grad_y, weight, statistics, N, C, L == 0 ? 1 : L, grad_x, grad_weight, grad_bias,
           add_weight, add_bias);
  };
  if (L == 1) run(kStrip, constant ? batchnorm_grad_kernel<true, T, kStrip> : batchnorm_grad_kernel<false, T, kStrip>);
  else run(1, constant ? batchnorm_grad_kernel<true, T, 1> : batchnorm_grad_kernel<false, T, 1>);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(batchnorm_train)
PV_INSTANTIATE(batchnorm_eval)
PV_INSTANTIATE(batchnorm_grad)

}  // namespace panvae
