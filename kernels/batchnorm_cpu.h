// Batch normalisation on the CPU (kernels/batchnorm.cu has the formulas): parallel over tiles of some rows.
#pragma once
#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "kernels/batchnorm.h"
#include "kernels/kernels.h"

namespace panvae {

namespace cpu {

constexpr int64_t kBand = 2048;     // columns of [B, C L] that are swept together, in whole channels
constexpr int64_t kTile = 65536;    // elements of a tile
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
  // A pass: f(tile) for each tile.
  template <class F>
  void each(F f) const {
    parallel_chunks(stripes * bands, 1, [&](int64_t t, int64_t) {
      const int64_t stripe = t / bands, channel = t % bands * channels, row = stripe * rows;
      f(Tile{stripe, channel, std::min(channels, C - channel), row, std::min(rows, B - row)});
    });
  }
  // A pass over channels that have `width` columns each: f(begin, end), at most kTogether columns or one channel.
  template <class F>
  void each_channels(int64_t width, F f) const {
    parallel_chunks(C / width, std::max<int64_t>(1, kTogether / width), f);
  }
  int64_t rows_of(int64_t stripe) const { return std::min(rows, B - stripe * rows); }
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
  tiles.each(sweep);
  tiles.each_channels(width, merge);
  normalise(tiles, x, static_cast<In<T>>(factors), y);
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
  tiles.each_channels(width, [=](int64_t begin, int64_t end) {
    find(begin, end);
    find_factors(begin, end, C, width, weight, bias, static_cast<In<T>>(statistics), factors);
  });
  normalise(tiles, x, static_cast<In<T>>(factors), y);
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
  tiles.each(sweep);
  tiles.each_channels(width, merge);
  if (!grad_x) return;
  if (constant) input_gradient<true>(tiles, x, grad_y, static_cast<In<T>>(factors), grad_x);
  else input_gradient<false>(tiles, x, grad_y, static_cast<In<T>>(factors), grad_x);
}

}  // namespace cpu

}  // namespace panvae
