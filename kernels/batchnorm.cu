// Batch normalisation (Ioffe and Szegedy 2015) over x [B, C, L], as PyTorch's BatchNorm1d: one mean and variance a channel,
// over the N = B L elements of batch and length. [B, C] is L = 1.
//
//   train   y = w (x - mean) / sqrt(var + eps) + b, var = 1/N sum (x - mean)^2
//           running_mean = (1 - m) running_mean + m mean, running_var = (1 - m) running_var + m var N / (N - 1)
//   eval    the same with mean and var from the running statistics
//   grad    h = (x - mean) / sqrt(var + eps);  g_b = sum g_y;  g_w = sum g_y h
//           train: g_x = w / sqrt(var + eps) (g_y - 1/N g_b - 1/N h g_w);  eval: g_x = w / sqrt(var + eps) g_y
//
// Bytes (f32): forward 8 N C, gradient 12 N C, where the second pass over a channel finds it in a cache. Sums are taken in a
// fixed order, relative to the channel's first element, those of squares from the mean; a mean is kept in two parts. So a
// deviation of 1 at a mean of 10^4 costs no digits.
//
// simt, cuda: a block has 8 neighbouring columns of [B, C], a 32-byte sector of each row, or one channel of [B, C, L]. Up to
// N = 1024 or 8192 its numbers stay in registers: one launch, each number is read once. Of more, up to 32 blocks share a
// channel: one launch for their parts, one whose blocks merge them, read again, and write. Mean and variance are two plain
// sums over the block: no thread waits for divisions, as in merging moments. Evaluation of [B, C] moves packs of columns where
// they are aligned.
// cpu: parallel over tiles of some rows; see Tiles.
#include <algorithm>
#include <cmath>

#include "kernels/batchnorm.h"
#include "kernels/block_sums.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"

namespace panvae {

namespace cpu {

constexpr int64_t kBand = 2048;     // columns of [B, C L] that are swept together, in whole channels
constexpr int64_t kTile = 65536;    // elements of a tile
constexpr int64_t kPiece = 512;     // elements that are summed in T, before their sum is added in f64
constexpr int64_t kManyRows = 64;   // from which on elements of a channel of L > 1 are columns of their own
constexpr int64_t kTogether = 256;  // columns whose stripes are put together at a time

// Memory is read in long runs, which the processor fetches ahead: [B, C L] is cut into tiles of whole channels and some
// rows. First each tile leaves a pair of numbers for each channel; then those of a channel are put together in order; then
// each tile is written, by the thread that has read it and may have it in its cache. The cut depends on sizes alone.
struct Tiles {
  int64_t B, C, L;
  int64_t channels, rows, bands, stripes;  // of a tile; how many of them

  // [B, C, L] of many rows is [B, C L, 1] here: runs of L elements are too short to be swept one by one.
  Tiles(int64_t B_, int64_t C_, int64_t L_) : B(B_), C(B_ < kManyRows ? C_ : C_ * L_), L(B_ < kManyRows ? L_ : 1) {
    channels = std::clamp<int64_t>(kBand / L, 1, C);
    rows = std::clamp<int64_t>(kTile / (channels * L) / kRows * kRows, kRows, 256);
    bands = (C + channels - 1) / channels, stripes = (B + rows - 1) / rows;
  }
  struct Tile {
    int64_t stripe, channel, channels, row, rows;
  };
  // Passes follow each other within one parallel region: to open one takes microseconds, as the passes of small sizes do.
  template <class F>
  void in_parallel(F passes) const {
    if (stripes * bands == 1) return passes();
#pragma omp parallel
    passes();
  }
  // A pass: f(tile) for each tile, each by one thread; then all threads wait for each other.
  template <class F>
  void each(F f) const {
#pragma omp for schedule(static)
    for (int64_t t = 0; t < stripes * bands; ++t) {
      const int64_t stripe = t / bands, channel = t % bands * channels, row = stripe * rows;
      f(Tile{stripe, channel, std::min(channels, C - channel), row, std::min(rows, B - row)});
    }
  }
  // A pass over channels that have `width` columns each: f(begin, end), at most kTogether columns or one channel.
  template <class F>
  void each_channels(int64_t width, F f) const {
    const int64_t all = C / width, some = std::max<int64_t>(1, kTogether / width);
#pragma omp for schedule(static)
    for (int64_t begin = 0; begin < all; begin += some) f(begin, std::min(all, begin + some));
  }
  int64_t rows_of(int64_t stripe) const {
    return std::min(rows, B - stripe * rows);
  }
};

// f(first column, count) for the columns of R rows of a tile, piece by piece, while the rows behind them are fetched into the
// second cache: so many rows side by side are more than processors fetch ahead on their own.
template <int64_t R, class T, class F>
void each_piece(const Tiles::Tile& tile, int64_t row, const T* x, int64_t stride, F&& f) {
  constexpr int64_t kColumns = 64, kLine = 64 / static_cast<int64_t>(sizeof(T));
  const int64_t ahead = std::min(R, tile.rows - row - R);
  for (int64_t first = 0; first < tile.channels; first += kColumns) {
    const int64_t n = std::min(kColumns, tile.channels - first);
    for (int64_t r = 0; r < ahead; ++r)
      for (int64_t c = first; c < first + n; c += kLine) __builtin_prefetch(x + (row + R + r) * stride + c, 0, 2);
    f(first, n);
  }
}

// Sum of f(i), i < n.
template <class F>
double sum_of(int64_t n, F f) {
  double total = 0;
  for (int64_t first = 0; first < n; first += kPiece) {
    const int64_t last = std::min(n, first + kPiece);
    decltype(f(first)) s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = first; i < last; ++i) s += f(i);
    total += static_cast<double>(s);
  }
  return total;
}

// add_moments for channels of L > 1 elements.
template <int R, class T>
void add_moments_of_runs(const T* x, int64_t stride, int64_t channels, int64_t L, int64_t before, const T* origin, T* mean, T* m2) {
  const double count = static_cast<double>(R * L), share = static_cast<double>(R) / static_cast<double>(before + R),
               weight = static_cast<double>(before * L) * share;
  for (int64_t c = 0; c < channels; ++c) {
    const T* run = x + c * L;
    const T first = origin[c];
    const double m = sum_of(L,
                            [=](int64_t l) {
                              T s = T(0);
                              for (int r = 0; r < R; ++r) s += run[r * stride + l] - first;
                              return s;
                            }) /
                     count;
    const T large = static_cast<T>(m), small = static_cast<T>(m - static_cast<double>(large));
    const double square = sum_of(L, [=](int64_t l) {
      T s = T(0);
      for (int r = 0; r < R; ++r) {
        const T d = ((run[r * stride + l] - first) - large) - small;
        s += d * d;
      }
      return s;
    });
    const double delta = m - mean[c];
    mean[c] = static_cast<T>(mean[c] + delta * share);
    m2[c] = static_cast<T>(m2[c] + square + delta * weight * delta);
  }
}

// Adds R rows to the sums of grad_y and of grad_y (x - mean) of each column, and of each channel of L > 1 elements.
template <int R, class T>
void add_sums(const T* x, const T* grad_y, int64_t stride, int64_t columns, const T* large, const T* small, T* sum, T* product) {
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) {
    T s = T(0), p = T(0);
    for (int r = 0; r < R; ++r) {
      const T g = grad_y[r * stride + c];
      s += g;
      p += g * ((x[r * stride + c] - large[c]) - small[c]);
    }
    sum[c] += s, product[c] += p;
  }
}
template <int R, class T>
void add_sums_of_runs(const T* x, const T* grad_y, int64_t stride, int64_t channels, int64_t L, const T* large, const T* small, T* sum, T* product) {
  for (int64_t c = 0; c < channels; ++c) {
    const T *run = x + c * L, *g = grad_y + c * L;
    const T mean = large[c], rest = small[c];
    double total = 0, total_product = 0;
    for (int64_t first = 0; first < L; first += kPiece) {
      const int64_t last = std::min(L, first + kPiece);
      T s = T(0), p = T(0);
#pragma omp simd reduction(+ : s, p)
      for (int64_t l = first; l < last; ++l)
        for (int r = 0; r < R; ++r) {
          const T gy = g[r * stride + l];
          s += gy;
          p += gy * ((run[r * stride + l] - mean) - rest);
        }
      total += static_cast<double>(s), total_product += static_cast<double>(p);
    }
    sum[c] += static_cast<T>(total), product[c] += static_cast<T>(total_product);
  }
}

// y = ((x - large) - small) scale + shift; factors [4, C]
template <class T>
void normalise(const Tiles& tiles, In<T> x, In<T> factors, Out<T> y) {
  const int64_t stride = tiles.C * tiles.L, L = tiles.L, C = tiles.C;
  tiles.each([=](Tiles::Tile tile) {
    const T *large = factors + tile.channel, *small = large + C, *scale = small + C, *shift = scale + C;
    const int64_t at = tile.row * stride + tile.channel * L;
    if (L == 1) {
      by_rows(tile.rows, [&]<int64_t R>(int64_t row) {
        const T* from = x + at + row * stride;
        T* to = y + at + row * stride;
#pragma omp simd
        for (int64_t c = 0; c < tile.channels; ++c) {
          const T a = large[c], b = small[c], f = scale[c], s = shift[c];
          T v[R];  // read before they are written: rows apart by a power of two look alike to the processor
          for (int64_t r = 0; r < R; ++r) v[r] = ((from[r * stride + c] - a) - b) * f + s;
          for (int64_t r = 0; r < R; ++r) to[r * stride + c] = v[r];
        }
      });
      return;
    }
    for (int64_t r = 0; r < tile.rows; ++r)
      for (int64_t c = 0; c < tile.channels; ++c) {
        const T* from = x + at + r * stride + c * L;
        T* to = y + at + r * stride + c * L;
        const T a = large[c], b = small[c], f = scale[c], s = shift[c];
#pragma omp simd
        for (int64_t l = 0; l < L; ++l) to[l] = ((from[l] - a) - b) * f + s;
      }
  });
}

// to [C, width]: value(c) in each column of channel c, begin <= c < end
template <class T, class F>
void spread_out(int64_t begin, int64_t end, int64_t width, T* to, F value) {
  if (width == 1)
    for (int64_t c = begin; c < end; ++c) to[c] = value(c);
  else
    for (int64_t c = begin; c < end; ++c) std::fill_n(to + c * width, width, value(c));
}

// Factors of `normalise` [4, C, width] from statistics, of channels begin to end.
template <class T>
void find_factors(int64_t begin, int64_t end, int64_t C, int64_t width, In<T> weight, In<T> bias, In<T> statistics, Out<T> factors) {
  const int64_t columns = C * width;
  spread_out(begin, end, width, factors, [=](int64_t c) { return statistics[c]; });
  spread_out(begin, end, width, factors + columns, [=](int64_t c) { return statistics[C + c]; });
  spread_out(begin, end, width, factors + 2 * columns, [=](int64_t c) { return weight ? weight[c] * statistics[2 * C + c] : statistics[2 * C + c]; });
  spread_out(begin, end, width, factors + 3 * columns, [=](int64_t c) { return bias ? bias[c] : T(0); });
}

// mean and m2 of columns [first, first + n), n <= kTogether, from those of the stripes: parts [stripes, 2, tiles.C].
template <class T>
void put_stripes_together(const Tiles& tiles, const T* parts, int64_t first, int64_t n, double* mean, double* m2) {
  std::fill_n(mean, n, 0.0);
  std::fill_n(m2, n, 0.0);
  int64_t before = 0;
  for (int64_t stripe = 0; stripe < tiles.stripes; ++stripe) {
    const int64_t rows = tiles.rows_of(stripe);
    const double share = static_cast<double>(rows) / static_cast<double>(before + rows), weight = static_cast<double>(before * tiles.L) * share;
    const T *part_mean = parts + 2 * stripe * tiles.C + first, *part_m2 = part_mean + tiles.C;
#pragma omp simd
    for (int64_t c = 0; c < n; ++c) {
      const double delta = part_mean[c] - mean[c];
      mean[c] += delta * share;
      m2[c] += part_m2[c] + delta * weight * delta;
    }
    before += rows;
  }
}

// Likewise of a channel that has `width` columns.
template <class T>
void put_columns_together(const Tiles& tiles, const T* parts, int64_t first, int64_t width, double& mean, double& m2) {
  const double rows = static_cast<double>(tiles.B);
  mean = m2 = 0;
  for (int64_t at = 0; at < width; at += kTogether) {
    const int64_t n = std::min(kTogether, width - at);
    double means[kTogether], squares[kTogether], sum = 0, square = 0;
    put_stripes_together(tiles, parts, first + at, n, static_cast<double*>(means), static_cast<double*>(squares));
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < n; ++c) sum += means[c];
    const double middle = sum / static_cast<double>(n);
#pragma omp simd reduction(+ : square)
    for (int64_t c = 0; c < n; ++c) square += squares[c] + rows * ((means[c] - middle) * (means[c] - middle));
    const double delta = middle - mean, share = static_cast<double>(n) / static_cast<double>(at + n);
    mean += delta * share;
    m2 += square + delta * (rows * static_cast<double>(at) * share) * delta;
  }
}

template <class T>
void batchnorm_train(Stream& stream, In<T> x, In<T> weight, In<T> bias, int64_t B, int64_t C, int64_t L, T eps, T momentum, InOut<T> running_mean,
                     InOut<T> running_var, Out<T> y, Out<T> statistics) {
  if (B * C * L == 0) return;
  const Tiles tiles(B, C, L);
  const int64_t stride = C * L, columns = tiles.C, width = columns / C;
  T* const parts = stream.scratch<T>((2 * tiles.stripes + 5) * columns);  // mean and m2 [stripes, 2, columns]
  T *const origin = parts + 2 * tiles.stripes * columns, *const factors = origin + columns;
  spread_out(0, C, width, origin, [=](int64_t c) { return x[c * L]; });
  const auto sweep = [=](Tiles::Tile tile) {
    T *mean = parts + 2 * tile.stripe * columns + tile.channel, *m2 = mean + columns;
    const T *from = x + tile.row * stride + tile.channel * tiles.L, *first = origin + tile.channel;
    std::fill_n(mean, tile.channels, T(0));
    std::fill_n(m2, tile.channels, T(0));
    by_rows(tile.rows, [&]<int64_t R>(int64_t r) {
      const T* row = from + r * stride;
      if (tiles.L == 1) each_piece<R>(tile, r, from, stride, [&](int64_t c, int64_t n) { add_moments<R>(row + c, stride, n, r, first + c, mean + c, m2 + c); });
      else add_moments_of_runs<R>(row, stride, tile.channels, tiles.L, r, first, mean, m2);
    });
  };
  const auto merge = [=](int64_t begin, int64_t end) {
    double mean[kTogether], m2[kTogether];
    if (width == 1) put_stripes_together(tiles, static_cast<const T*>(parts), begin, end - begin, static_cast<double*>(mean), static_cast<double*>(m2));
    else
      for (int64_t c = begin; c < end; ++c) put_columns_together(tiles, static_cast<const T*>(parts), c * width, width, mean[c - begin], m2[c - begin]);
    const double count = static_cast<double>(B * L);
    T *large = statistics, *small = large + C, *inverse = small + C;
#pragma omp simd
    for (int64_t c = begin; c < end; ++c) {
      const double square = m2[c - begin];
      const TwoPart<double> m = exact_sum<double>(origin[c * width], mean[c - begin]);
      large[c] = static_cast<T>(m.large);
      small[c] = static_cast<T>((m.large - static_cast<double>(large[c])) + m.small);
      inverse[c] = static_cast<T>(1 / std::sqrt(square / count + static_cast<double>(eps)));
      update_running(running_mean, c, momentum, large[c]);
      update_running(running_var, c, momentum, static_cast<T>(square / (count - 1)));
    }
    find_factors(begin, end, C, width, weight, bias, static_cast<In<T>>(statistics), factors);
  };
  tiles.in_parallel([&] {
    tiles.each(sweep);
    tiles.each_channels(width, merge);
    normalise(tiles, x, static_cast<In<T>>(factors), y);
  });
}

template <class T>
void batchnorm_eval(Stream& stream, In<T> x, In<T> weight, In<T> bias, In<T> running_mean, In<T> running_var, int64_t B, int64_t C, int64_t L, T eps, Out<T> y,
                    Out<T> statistics) {
  const auto find = [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t c = begin; c < end; ++c) put(statistics, c, C, {{running_mean[c], T(0)}, T(1) / std::sqrt(running_var[c] + eps)});
  };
  if (B * C * L == 0) return find(0, C);
  const Tiles tiles(B, C, L);
  const int64_t width = tiles.C / C;
  T* const factors = stream.scratch<T>(4 * tiles.C);
  tiles.in_parallel([&] {
    tiles.each_channels(width, [=](int64_t begin, int64_t end) {
      find(begin, end);
      find_factors(begin, end, C, width, weight, bias, static_cast<In<T>>(statistics), factors);
    });
    normalise(tiles, x, static_cast<In<T>>(factors), y);
  });
}

// factors [5, C]: mean, its rest, scale, mean of grad_y, factor of x - mean. Constant statistics need the scale alone.
template <bool Constant, class T>
void input_gradient(const Tiles& tiles, In<T> x, const T* grad_y, In<T> factors, T* grad_x) {
  const int64_t stride = tiles.C * tiles.L, L = tiles.L, C = tiles.C;
  tiles.each([=](Tiles::Tile tile) {
    const T *large = factors + tile.channel, *small = large + C, *scale = small + C, *mean = scale + C, *slope = mean + C;
    const int64_t at = tile.row * stride + tile.channel * L;
    auto gradient = [](T x_, T g, T a, T b, T f, T m, T s) { return Constant ? f * g : f * ((g - m) - ((x_ - a) - b) * s); };
    if (L == 1) {
      by_rows_of_arrays<T>(tile.rows, stride, [&]<int64_t R>(int64_t row) {
        const T *from = x + at + row * stride, *gy = grad_y + at + row * stride;
        T* to = grad_x + at + row * stride;
#pragma omp simd
        for (int64_t c = 0; c < tile.channels; ++c) {
          const T a = large[c], b = small[c], f = scale[c], m = mean[c], s = slope[c];
          T v[R];
          for (int64_t r = 0; r < R; ++r) v[r] = gradient(from[r * stride + c], gy[r * stride + c], a, b, f, m, s);
          for (int64_t r = 0; r < R; ++r) to[r * stride + c] = v[r];
        }
      });
      return;
    }
    for (int64_t r = 0; r < tile.rows; ++r)
      for (int64_t c = 0; c < tile.channels; ++c) {
        const int64_t run = at + r * stride + c * L;
        const T *from = x + run, *gy = grad_y + run;
        T* to = grad_x + run;
        const T a = large[c], b = small[c], f = scale[c], m = mean[c], s = slope[c];
#pragma omp simd
        for (int64_t l = 0; l < L; ++l) to[l] = gradient(from[l], gy[l], a, b, f, m, s);
      }
  });
}

template <class T>
void batchnorm_grad(Stream& stream, In<T> x, In<T> grad_y, In<T> weight, In<T> statistics, int64_t B, int64_t C, int64_t L, bool constant, Out<T> grad_x,
                    InOut<T> grad_weight, InOut<T> grad_bias, bool add_weight, bool add_bias) {
  if (B * C * L == 0) {
    for (int64_t c = 0; c < C; ++c) put_or_add(grad_weight, c, add_weight, T(0)), put_or_add(grad_bias, c, add_bias, T(0));
    return;
  }
  const Tiles tiles(B, C, L);
  const int64_t stride = C * L, columns = tiles.C, width = columns / C;
  T* const parts = stream.scratch<T>((2 * tiles.stripes + 5) * columns);  // sums [stripes, 2, columns]
  T* const factors = parts + 2 * tiles.stripes * columns;
  for (int64_t part = 0; part < 2; ++part) spread_out(0, C, width, factors + part * columns, [=](int64_t c) { return statistics[part * C + c]; });
  const auto sweep = [=](Tiles::Tile tile) {
    T *sum = parts + 2 * tile.stripe * columns + tile.channel, *product = sum + columns;
    const int64_t at = tile.row * stride + tile.channel * tiles.L;
    const T *from = x + at, *gy = grad_y + at, *large = factors + tile.channel, *small = large + columns;
    std::fill_n(sum, tile.channels, T(0));
    std::fill_n(product, tile.channels, T(0));
    by_rows_of_arrays<T>(tile.rows, stride, [&]<int64_t R>(int64_t r) {
      if (tiles.L == 1) add_sums<R>(from + r * stride, gy + r * stride, stride, tile.channels, large, small, sum, product);
      else add_sums_of_runs<R>(from + r * stride, gy + r * stride, stride, tile.channels, tiles.L, large, small, sum, product);
    });
  };
  const auto merge = [=](int64_t begin, int64_t end) {
    double sum[kTogether] = {}, product[kTogether] = {};
    for (int64_t stripe = 0; stripe < tiles.stripes; ++stripe) {
      const T *part_sum = parts + 2 * stripe * columns + begin * width, *part_product = part_sum + columns;
      if (width == 1) {
#pragma omp simd
        for (int64_t c = 0; c < end - begin; ++c) sum[c] += part_sum[c], product[c] += part_product[c];
      } else {
        for (int64_t c = 0; c < end - begin; ++c) {
          double s = 0, p = 0;
#pragma omp simd reduction(+ : s, p)
          for (int64_t i = c * width; i < (c + 1) * width; ++i) s += part_sum[i], p += part_product[i];
          sum[c] += s, product[c] += p;
        }
      }
    }
    const double share = 1 / static_cast<double>(B * L);
    for (int64_t c = begin; c < end; ++c) {
      const double inverse = statistics[2 * C + c], s = sum[c - begin], p = product[c - begin] * inverse;
      put_or_add(grad_weight, c, add_weight, static_cast<T>(p));
      put_or_add(grad_bias, c, add_bias, static_cast<T>(s));
      const T found[] = {static_cast<T>(weight ? weight[c] * inverse : inverse), static_cast<T>(s * share), static_cast<T>(p * inverse * share)};
      for (int64_t i = 0; i < 3; ++i) std::fill_n(factors + (2 + i) * columns + c * width, width, found[i]);
    }
  };
  tiles.in_parallel([&] {
    tiles.each(sweep);
    tiles.each_channels(width, merge);
    if (!grad_x) return;
    if (constant) input_gradient<true>(tiles, x, grad_y, static_cast<In<T>>(factors), grad_x);
    else input_gradient<false>(tiles, x, grad_y, static_cast<In<T>>(factors), grad_x);
  });
}

}  // namespace cpu

namespace PV_EXEC {

constexpr int kStrip = 8;                    // columns of a block where L = 1
constexpr int64_t kShortIndex = 0x7FFFFFFF;  // elements up to which indices have 32 bits
constexpr int kPart = 16;                    // numbers of a thread where blocks share a channel
constexpr int kMostParts = kWarp;            // blocks that share a channel
constexpr int64_t kMostStretches = 4096;     // likewise in evaluation

// Numbers of a thread, K of a channel that are Lanes apart, and where they lie.
template <class T, int K, int Lanes, class I>
struct Group {
  T v[K] = {};
  I at[K], left;  // left: elements of the channel from the first of them on

  // Places behind the end are the first one, so that loads need no condition. The compiler shall know nothing of a place: it
  // would compute it once more where it is stored to.
  template <int W>
  __device__ void place(Walk<W, I>& walk, I last) {
    left = walk.element < last ? last - walk.element : I(0);
#pragma unroll
    for (int j = 0; j < K; ++j, walk.next()) {
      at[j] = j == 0 || has(j) ? walk.at : at[0];
      if constexpr (sizeof(I) == 4) asm volatile("" : "+r"(at[j]));
    }
  }
  __device__ bool has(int j) const {
    return left > static_cast<I>(j * Lanes);
  }
  __device__ void load(const T* x) {
    if (left == 0) return;
#pragma unroll
    for (int j = 0; j < K; ++j) v[j] = x[at[j]];
  }
  __device__ void centre(const Channel<T>& s) {
#pragma unroll
    for (int j = 0; j < K; ++j) v[j] = s.centred(v[j]);
  }
  // y = f(j) where there is an element j.
  template <class F>
  __device__ void store(T* y, F f) const {
#pragma unroll
    for (int j = 0; j < K; ++j)
      if (has(j)) y[at[j]] = f(j);
  }
  // The sum of term(v[j]) over what there is, in four parts: K in a row would wait for each other.
  template <class F>
  __device__ T sum(F term) const {
    T s[4] = {};
#pragma unroll
    for (int j = 0; j < K; ++j)
      if (has(j)) s[j % 4] += term(v[j]);
    return (s[0] + s[1]) + (s[2] + s[3]);
  }
};

// Elements first <= e < last of channel c. A block has W neighbouring channels, each shared by Threads / W threads; blocks may
// share a channel, each with a stretch of its elements, the last one with what is left.
template <int W, int Threads, class I>
struct Place {
  I c, first, last;
  bool there, leads;  // leads: of the threads of all blocks that have the channel

  // W = 1: plus a 0 of which the compiler does not know that it is one. Numbers that all threads of a block have in common, as
  // those of a channel, it would move to registers of the block, and wait for them before the loads behind them begin.
  __device__ Place(I N, I C)
      : c(blockIdx.x * I(W) + (W > 1 ? threadIdx.x % W : threadIdx.x >= blockDim.x)),
        first(0),
        last(c < C ? N : I(0)),
        there(c < C),
        leads(there && threadIdx.x < W) {}
  __device__ Place(I N, I C, I stretch) : Place(N, C) {
    leads = leads && blockIdx.y == 0;
    first = blockIdx.y * stretch;
    last = !there ? first : stretch < N - first ? first + stretch : N;
  }
  __device__ Walk<W, I> walk(I C, I L) const { return {c, first + threadIdx.x / W, Threads / W, C, L}; }
};

// Of some numbers of a channel: the distance of their mean from the channel's first element, and m2.
template <class T>
struct PartMoments {
  T distance, m2;
};

// Of those that the block has, in each of its threads. Kept: they are K for each thread, or fewer, and stay in `some`, less
// their mean; else threads merge theirs as they read them. Mean and variance are two plain sums over the block, that of x and
// that of squared distances from the mean: no division stands in the way, as it would where moments are merged.
template <int W, int Threads, bool Kept, class T, int K, class I>
__device__ PartMoments<T> part_of_block(const T* x, Walk<W, I> walk, I last, T origin, T share, Group<T, K, Threads / W, I>& some) {
  constexpr int kBank = kPartials<W, Threads>;
  SHARED(Sum<T>, partial, 2 * kBank);
  Moments<T> m{T(0), T(0), T(0)};
  T sum = T(0);
  if constexpr (Kept) {
    some.place(walk, last);
    some.load(x);
    sum = some.sum([=](T v) { return v - origin; });
  } else {
#pragma unroll 1
    while (walk.element < last) {
      const int count = load_ahead(x, walk, last, some.v);
      add_loaded(m, some.v, count, origin);
    }
    sum = m.count * m.mean;
  }
  const T distance = merge_in_each_warp<W, Threads>(Sum<T>{sum}, Sum<T>{T(0)}, partial).value * share;
  T square = m.m2 + m.count * ((m.mean - distance) * (m.mean - distance));
  if constexpr (Kept) {
    some.centre({exact_sum(origin, distance), T(0)});
    square = some.sum([](T v) { return v * v; });
  }
  return {distance, merge_in_each_warp<W, Threads>(Sum<T>{square}, Sum<T>{T(0)}, partial + kBank).value};
}

// A channel's mean and variance at the end of training's sums: what its leading thread writes, and what was before.
template <class T>
struct Training {
  T share, share_but_one, eps, momentum;  // 1 / N, 1 / (N - 1)
  T *running_mean, *running_var, *statistics;

  // The running statistics are read ahead: after the sums nothing would be left to do until they come.
  struct Before {
    T mean, var;
  };
  __device__ Before before(int64_t c, bool leads) const { return leads ? Before{running_mean[c], running_var[c]} : Before{T(0), T(0)}; }
  __device__ Channel<T> end(int64_t c, int64_t C, T origin, PartMoments<T> all, Before old, bool leads) const {
    const Channel<T> s{exact_sum(origin, all.distance), inverse_root(all.m2 * share + eps)};
    if (leads) {
      auto moved = [this](T from, T value) { return (T(1) - momentum) * from + momentum * value; };
      put(statistics, c, C, s);
      running_mean[c] = moved(old.mean, s.mean.large);
      running_var[c] = moved(old.var, all.m2 * share_but_one);
    }
    return s;
  }
};

template <class T, int W, int K, int Threads>
__global__ void __launch_bounds__(Threads)
    batchnorm_train_kernel(In<T> x, In<T> weight, In<T> bias, uint32_t N, uint32_t C, uint32_t L, Training<T> training, Out<T> y) {
  const Place<W, Threads, uint32_t> place(N, C);
  const uint32_t c = place.c;
  const T origin = place.there ? x[c * L] : T(0);
  const T w = place.there && weight ? weight[c] : T(1), shift = place.there && bias ? bias[c] : T(0);
  const auto before = training.before(c, place.leads);
  Group<T, K, Threads / W, uint32_t> some;
  const PartMoments<T> all = part_of_block<W, Threads, true>(x, place.walk(C, L), place.last, origin, training.share, some);
  if (!place.there) return;
  const T scale = w * training.end(c, C, origin, all, before, place.leads).inverse;
  some.store(y, [&](int j) { return some.v[j] * scale + shift; });
}

// parts [C, gridDim.y]; share: 1 / elements of a part, and of the last one
template <class T, int W, int K, bool Kept, class I>
__global__ void __launch_bounds__(kBlock) batchnorm_parts_kernel(In<T> x, I N, I C, I L, I stretch, T share, T share_of_last, PartMoments<T>* parts) {
  const Place<W, kBlock, I> place(N, C, stretch);
  const T origin = place.there ? x[place.c * L] : T(0);
  Group<T, K, kBlock / W, I> some;
  const PartMoments<T> part = part_of_block<W, kBlock, Kept>(x, place.walk(C, L), place.last, origin, blockIdx.y + 1 < gridDim.y ? share : share_of_last, some);
  if (place.there && threadIdx.x < W) parts[place.c * gridDim.y + blockIdx.y] = part;
}

// V over the parts of a channel, kMostParts or fewer, of which each lane of a warp has W: number part_of<W>(j), j < W.
template <int W>
__device__ unsigned part_of(int j) {
  return threadIdx.x % kWarp / W + j * (kWarp / W);
}
template <int W, class F>
__device__ auto merge_parts(F mine) {
  auto all = mine(0);
#pragma unroll
  for (int j = 1; j < W; ++j) all.merge(mine(j));
#pragma unroll
  for (int offset = kWarp / 2; offset >= W; offset /= 2) all.merge(shuffle_xor(all, offset));
  return all;
}

// Where the statistics of a channel come from: the parts of its blocks, or the running statistics. `read` gives a function
// that ends with them.
template <class T>
struct FromParts {
  const T* x;
  const PartMoments<T>* parts;
  Training<T> training;

  template <int W, class P, class I>
  __device__ auto read(const P& place, I N, I C, I L, I stretch) const {
    const T origin = place.there ? x[place.c * L] : T(0);
    const auto before = training.before(place.c, place.leads);
    return [=, to = training, all = parts] {
      PartMoments<T> part[W];
      T count[W];
#pragma unroll
      for (int j = 0; j < W; ++j) {
        const I i = part_of<W>(j), first = i * stretch;
        const bool has = place.there && i < gridDim.y;
        part[j] = has ? all[place.c * gridDim.y + i] : PartMoments<T>{T(0), T(0)};
        count[j] = has ? T(stretch < N - first ? stretch : N - first) : T(0);
      }
      const T distance = merge_parts<W>([&](int j) { return Sum<T>{count[j] * part[j].distance}; }).value * to.share;
      const T m2 = merge_parts<W>([&](int j) {
                     const T d = part[j].distance - distance;
                     return Sum<T>{part[j].m2 + count[j] * (d * d)};
                   }).value;
      return place.there ? to.end(place.c, C, origin, {distance, m2}, before, place.leads) : Channel<T>{};
    };
  }
};
template <class T>
struct FromRunning {
  const T *mean, *var;
  T eps;
  T* statistics;

  template <int W, class P, class I>
  __device__ auto read(const P& place, I, I C, I, I) const {
    const T m = place.there ? mean[place.c] : T(0), v = place.there ? var[place.c] : T(1);
    return [=, to = statistics, e = eps] {
      const Channel<T> s{{m, T(0)}, inverse_root(v + e)};
      if (place.leads) put(to, place.c, C, s);
      return s;
    };
  }
};

// The compiler moves no load over the barrier: without it those of x, whose places take longest to compute, would begin when
// the parts are there.
template <class T, int W, int K, class From, class I>
__global__ void __launch_bounds__(kBlock) batchnorm_normalise_kernel(In<T> x, In<T> weight, In<T> bias, I N, I C, I L, I stretch, From from, Out<T> y) {
  const Place<W, kBlock, I> place(N, C, stretch);
  const T w = place.there && weight ? weight[place.c] : T(1), shift = place.there && bias ? bias[place.c] : T(0);
  const auto statistics = from.template read<W>(place, N, C, L, stretch);
  Walk<W, I> walk = place.walk(C, L);
  Group<T, K, kBlock / W, I> some;
  some.place(walk, place.last);
  some.load(x);
  __syncthreads();
  const Channel<T> s = statistics();
  const T scale = w * s.inverse;
  for (;;) {
    some.store(y, [&](int j) { return s.centred(some.v[j]) * scale + shift; });
    if (walk.element >= place.last) return;
    some.place(walk, place.last);
    some.load(x);
  }
}

// Rows of L = 1: V, T or a pack of T, in kPacks columns of V; a block takes kRows rows at a time.
constexpr int kRowThreads = 128, kRows = 32;
template <class T, class V>
constexpr int kPacks = sizeof(V) > sizeof(T) ? 8 : kWarp;
template <class T, class V, class I>
__global__ void __launch_bounds__(kRowThreads)
    batchnorm_eval_rows_kernel(In<T> x, In<T> weight, In<T> bias, In<T> running_mean, In<T> running_var, I N, I C, T eps, Out<T> y, Out<T> statistics) {
  constexpr int kSize = sizeof(V) / sizeof(T), kColumns = kPacks<T, V>, kLanes = kRowThreads / kColumns, K = kRows / kLanes;
  struct Numbers {
    alignas(V) T v[kSize];
  };
  const I c = (blockIdx.x * I(kColumns) + threadIdx.x % kColumns) * kSize, first = blockIdx.y * I(kRows) + threadIdx.x / kColumns,
          stride = gridDim.y * I(kRows);
  if (c >= C) return;
  auto load = [](const T* from) { return std::bit_cast<Numbers>(*reinterpret_cast<const V*>(from)); };
  Numbers some[K];
  auto load_rows = [&](I row) {
#pragma unroll
    for (int k = 0; k < K; ++k)
      if (row + k * kLanes < N) some[k] = load(x + (row + k * kLanes) * C + c);
  };
  load_rows(first);
  Numbers w, shift;
  if (weight) w = load(weight + c);
  if (bias) shift = load(bias + c);
  const Numbers mean = load(running_mean + c), var = load(running_var + c);
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    const Channel<T> s{{mean.v[i], T(0)}, inverse_root(var.v[i] + eps)};
    w.v[i] = weight ? w.v[i] * s.inverse : s.inverse;
    shift.v[i] = bias ? shift.v[i] : T(0);
    if (blockIdx.y == 0 && threadIdx.x < kColumns) put(statistics, c + i, C, s);
  }
  for (I row = first; row < N;) {
#pragma unroll
    for (int k = 0; k < K; ++k) {
      if (row + k * kLanes >= N) continue;
#pragma unroll
      for (int i = 0; i < kSize; ++i) some[k].v[i] = (some[k].v[i] - mean.v[i]) * w.v[i] + shift.v[i];
      *reinterpret_cast<V*>(y + (row + k * kLanes) * C + c) = std::bit_cast<V>(some[k]);
    }
    row += stride;
    load_rows(row);
  }
}

// What the gradient makes of a channel's sums of grad_y and grad_y (x - mean).
template <class T>
struct Gradient {
  T share;  // 1 / N
  bool constant;
  const T* weight;
  T *grad_weight, *grad_bias;
  bool add_weight, add_bias;

  struct Factors {
    bool constant;
    T scale, mean, slope;
    __device__ T operator()(T g, T centred) const { return constant ? scale * g : scale * ((g - mean) - centred * slope); }
  };
  __device__ T weight_of(int64_t c, bool there) const { return there && weight ? weight[c] : T(1); }
  __device__ Factors end(int64_t c, T w, T inverse, Sums<T> sums, bool leads) const {
    if (leads) {
      put_or_add(grad_weight, c, add_weight, sums.b * inverse);
      put_or_add(grad_bias, c, add_bias, sums.a);
    }
    return {constant, w * inverse, sums.a * share, sums.b * inverse * inverse * share};
  }
};

// Numbers of a thread: grad_y and x - mean.
template <class T, int K, int Lanes, class I>
struct Pairs {
  Group<T, K, Lanes, I> g, x;

  template <int W>
  __device__ void load(const T* grad_y, const T* from, Walk<W, I>& walk, I last) {
    g.place(walk, last);
    x = g;
    g.load(grad_y);
    x.load(from);
  }
  __device__ Sums<T> sums() const {
    Sums<T> s{T(0), T(0)};
#pragma unroll
    for (int j = 0; j < K; ++j)
      if (g.has(j)) s.merge({g.v[j], g.v[j] * x.v[j]});
    return s;
  }
  __device__ void store(T* grad_x, const typename Gradient<T>::Factors& f) const {
    g.store(grad_x, [&](int j) { return f(g.v[j], x.v[j]); });
  }
};

template <class T, int W, int K, int Threads>
__global__ void __launch_bounds__(Threads)
    batchnorm_grad_kernel(In<T> x, const T* grad_y, In<T> statistics, uint32_t N, uint32_t C, uint32_t L, Gradient<T> gradient, T* grad_x) {
  SHARED(Sums<T>, partial, (kPartials<W, Threads>));
  const Place<W, Threads, uint32_t> place(N, C);
  Walk<W, uint32_t> walk = place.walk(C, L);
  Pairs<T, K, Threads / W, uint32_t> some;
  some.load(grad_y, x, walk, place.last);
  const Channel<T> s = place.there ? channel_of(statistics, place.c, C) : Channel<T>{};
  const T w = gradient.weight_of(place.c, place.there);
  some.x.centre(s);
  const Sums<T> sums = merge_in_each_warp<W, Threads>(some.sums(), Sums<T>{T(0), T(0)}, partial);
  const auto factors = gradient.end(place.c, w, s.inverse, sums, place.leads);
  if (grad_x) some.store(grad_x, factors);
}

// parts [C, gridDim.y]
template <class T, int W, int K, class I>
__global__ void __launch_bounds__(kBlock) batchnorm_grad_parts_kernel(In<T> x, const T* grad_y, In<T> statistics, I N, I C, I L, I stretch, Sums<T>* parts) {
  SHARED(Sums<T>, partial, (kPartials<W, kBlock>));
  const Place<W, kBlock, I> place(N, C, stretch);
  Walk<W, I> walk = place.walk(C, L);
  const Channel<T> s = place.there ? channel_of(statistics, place.c, C) : Channel<T>{};
  Sums<T> sums{T(0), T(0)};
#pragma unroll 1
  while (walk.element < place.last) {
    Pairs<T, K, kBlock / W, I> some;
    some.load(grad_y, x, walk, place.last);
    some.x.centre(s);
    sums.merge(some.sums());
  }
  sums = merge_in_each_warp<W, kBlock>(sums, Sums<T>{T(0), T(0)}, partial);
  if (place.there && threadIdx.x < W) parts[place.c * gridDim.y + blockIdx.y] = sums;
}

// `count` parts; without grad_x the grid's y dimension is 1.
template <class T, int W, int K, class I>
__global__ void __launch_bounds__(kBlock) batchnorm_grad_write_kernel(In<T> x, const T* grad_y, In<T> statistics, I N, I C, I L, I stretch, unsigned count,
                                                                      const Sums<T>* parts, Gradient<T> gradient, T* grad_x) {
  const Place<W, kBlock, I> place(N, C, stretch);
  Walk<W, I> walk = place.walk(C, L);
  const Channel<T> s = place.there ? channel_of(statistics, place.c, C) : Channel<T>{};
  const T w = gradient.weight_of(place.c, place.there);
  Pairs<T, K, kBlock / W, I> some;
  some.load(grad_y, x, walk, grad_x ? place.last : place.first);
  __syncthreads();  // as above
  Sums<T> part[W];
#pragma unroll
  for (int j = 0; j < W; ++j) {
    const unsigned i = part_of<W>(j);
    part[j] = place.there && i < count ? parts[place.c * count + i] : Sums<T>{T(0), T(0)};
  }
  const Sums<T> sums = merge_parts<W>([&](int j) { return part[j]; });
  const auto factors = gradient.end(place.c, w, s.inverse, sums, place.leads);
  if (!grad_x) return;
  for (;;) {
    some.x.centre(s);
    some.store(grad_x, factors);
    if (walk.element >= place.last) return;
    some.load(grad_y, x, walk, place.last);
  }
}

// How the N elements of a channel are given to blocks: `parts` of them, of `stretch` elements each, a multiple of `lanes`; up to
// `most`, and no more than have `each` elements.
struct Cut {
  int64_t stretch, parts;
  Cut(int64_t N, int64_t lanes, int64_t each, int64_t most) {
    const int64_t wanted = std::clamp<int64_t>((N + each - 1) / each, 1, most), share = std::max<int64_t>(1, (N + wanted - 1) / wanted);
    stretch = (share + lanes - 1) / lanes * lanes;
    parts = std::max<int64_t>(1, (N + stretch - 1) / stretch);
  }
};

// Calls one of two for C channels of N elements: in_registers.operator()<W, K, Threads>() where a block keeps those of a channel,
// else in_parts.operator()<W, I>().
template <class F, class G>
void by_size(int64_t N, int64_t C, int64_t L, F in_registers, G in_parts) {
  const bool short_index = N * C <= kShortIndex;
  if (L == 1) {
    if (!short_index) in_parts.template operator()<kStrip, int64_t>();
    else if (N <= 8 * 64 / kStrip) in_registers.template operator()<kStrip, 8, 64>();
    else if (N <= 8 * 256 / kStrip) in_registers.template operator()<kStrip, 8, 256>();
    else if (N <= 16 * 512 / kStrip) in_registers.template operator()<kStrip, 16, 512>();
    else in_parts.template operator()<kStrip, uint32_t>();
  } else {
    if (!short_index) in_parts.template operator()<1, int64_t>();
    else if (N <= 8 * 256) in_registers.template operator()<1, 8, 256>();
    else if (N <= 16 * 512) in_registers.template operator()<1, 16, 512>();
    else in_parts.template operator()<1, uint32_t>();
  }
}

template <class T>
void batchnorm_train(Stream& stream, In<T> x, In<T> weight, In<T> bias, int64_t B, int64_t C, int64_t L, T eps, T momentum, InOut<T> running_mean,
                     InOut<T> running_var, Out<T> y, Out<T> statistics) {
  const int64_t N = B * L;
  if (N == 0) return;
  const Training<T> training{T(1) / T(N), T(1) / T(N - 1), eps, momentum, running_mean, running_var, statistics};
  by_size(
      N, C, L,
      [&]<int W, int K, int Threads>() {
        launch(stream, grid_for(C, W), Threads, 0, batchnorm_train_kernel<T, W, K, Threads>, x, weight, bias, static_cast<uint32_t>(N),
               static_cast<uint32_t>(C), static_cast<uint32_t>(L), training, y);
      },
      [&]<int W, class I>() {
        constexpr int64_t kLanes = kBlock / W, kKept = kPart * kLanes;
        const Cut cut(N, kLanes, kKept, kMostParts);
        const dim3 grid(grid_for(C, W), static_cast<unsigned>(cut.parts));
        const I n = static_cast<I>(N), channels = static_cast<I>(C), length = static_cast<I>(L), stretch = static_cast<I>(cut.stretch);
        PartMoments<T>* const parts = stream.scratch<PartMoments<T>>(C * cut.parts);
        const auto find = cut.stretch <= kKept ? batchnorm_parts_kernel<T, W, kPart, true, I> : batchnorm_parts_kernel<T, W, kAhead, false, I>;
        launch(stream, grid, kBlock, 0, find, x, n, channels, length, stretch, T(1) / T(cut.stretch), T(1) / T(N - (cut.parts - 1) * cut.stretch), parts);
        launch(stream, grid, kBlock, 0, batchnorm_normalise_kernel<T, W, kPart, FromParts<T>, I>, x, weight, bias, n, channels, length, stretch,
               FromParts<T>{x, parts, training}, y);
      });
}

template <class T>
void batchnorm_eval(Stream& stream, In<T> x, In<T> weight, In<T> bias, In<T> running_mean, In<T> running_var, int64_t B, int64_t C, int64_t L, T eps, Out<T> y,
                    Out<T> statistics) {
  const int64_t N = B * L;
  auto rows = [&]<class V, class I>() {
    constexpr int64_t kColumns = kPacks<T, V> * static_cast<int64_t>(sizeof(V) / sizeof(T));
    launch(stream, dim3(grid_for(C, kColumns), static_cast<unsigned>(Cut(N, kRows, kRows, kMostStretches).parts)), kRowThreads, 0,
           batchnorm_eval_rows_kernel<T, V, I>, x, weight, bias, running_mean, running_var, static_cast<I>(N), static_cast<I>(C), eps, y, statistics);
  };
  auto channels = [&]<class I>() {
    const Cut cut(N, kBlock, kAhead * kBlock, kMostStretches);
    launch(stream, dim3(grid_for(C, 1), static_cast<unsigned>(cut.parts)), kBlock, 0, batchnorm_normalise_kernel<T, 1, kAhead, FromRunning<T>, I>, x, weight,
           bias, static_cast<I>(N), static_cast<I>(C), static_cast<I>(L == 0 ? 1 : L), static_cast<I>(cut.stretch),
           FromRunning<T>{running_mean, running_var, eps, statistics}, y);
  };
  const bool short_index = N * C <= kShortIndex;
  if (L != 1) short_index ? channels.template operator()<uint32_t>() : channels.template operator()<int64_t>();
  else if (!short_index) rows.template operator()<T, int64_t>();
  else if (C % Pack<T>::size == 0 && aligned16(x, weight, bias, running_mean, running_var, y)) rows.template operator()<Pack<T>, uint32_t>();
  else rows.template operator()<T, uint32_t>();
}

template <class T>
void batchnorm_grad(Stream& stream, In<T> x, In<T> grad_y, In<T> weight, In<T> statistics, int64_t B, int64_t C, int64_t L, bool constant, Out<T> grad_x,
                    InOut<T> grad_weight, InOut<T> grad_bias, bool add_weight, bool add_bias) {
  const int64_t N = B * L;
  const Gradient<T> gradient{T(1) / T(N), constant, weight, grad_weight, grad_bias, add_weight, add_bias};
  by_size(
      N, C, L,
      [&]<int W, int K, int Threads>() {
        launch(stream, grid_for(C, W), Threads, 0, batchnorm_grad_kernel<T, W, K, Threads>, x, grad_y, statistics, static_cast<uint32_t>(N),
               static_cast<uint32_t>(C), static_cast<uint32_t>(L == 0 ? 1 : L), gradient, grad_x);
      },
      [&]<int W, class I>() {
        const Cut cut(N, kBlock / W, kAhead * kBlock / W, kMostParts);
        const unsigned parts = static_cast<unsigned>(cut.parts), strips = grid_for(C, W);
        const I n = static_cast<I>(N), channels = static_cast<I>(C), length = static_cast<I>(L), stretch = static_cast<I>(cut.stretch);
        Sums<T>* const sums = stream.scratch<Sums<T>>(C * cut.parts);
        launch(stream, dim3(strips, parts), kBlock, 0, batchnorm_grad_parts_kernel<T, W, kAhead, I>, x, grad_y, statistics, n, channels, length, stretch, sums);
        launch(stream, dim3(strips, grad_x ? parts : 1), kBlock, 0, batchnorm_grad_write_kernel<T, W, kAhead, I>, x, grad_y, statistics, n, channels, length,
               stretch, parts, static_cast<const Sums<T>*>(sums), gradient, grad_x);
      });
}

}  // namespace PV_EXEC

PV_INSTANTIATE(batchnorm_train)
PV_INSTANTIATE(batchnorm_eval)
PV_INSTANTIATE(batchnorm_grad)

}  // namespace panvae
