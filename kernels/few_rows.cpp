// A general product lays out both operands anew for its tiles, in large buffers, which pays where many rows use them. Here b is read once, and of
// the few rows of a, what a block of K needs lies in a cache.
//
// b [N, K], fewest rows: sums of products along both operands' rows, a tile of them in registers, each in as many parts as a vector has lanes.
//           Threads share the rows of b.
// b [N, K], more rows: panels of as many rows of b as a tile has columns; what a block of K needs of a panel is turned in registers, into a
//           buffer that stays in the first two caches while all rows of a use it. Threads share the panels.
// b [K, N]: vectors of a row of b, as it stands, each times a number of every row of a. Threads share the columns.
// While a tile is computed, what the next ones need of b is fetched: from row to row its pieces are far apart, where the processor fetches
// nothing ahead.
#include "kernels/few_rows.h"

#include <algorithm>

#include "base/threads.h"
#include "kernels/register_tile.h"
#include "kernels/streaming.h"

namespace panvae::cpu {

namespace {

constexpr int64_t kLeastBytes = 256 << 10;  // of b: less lies in a cache, laid out or not

// Rows of a up to which BLAS is slower, and from which panels are turned (measured); `columns`: where b is [K, N].
constexpr int64_t kMostRows = 128, kLeastTurned = 13;
#if defined(__AVX512F__)
constexpr int kLeft = 6, kRight = 4;  // rows of a and b whose sums are in registers: 24 of 32, and one vector of each of b's rows
template <class T>
constexpr int64_t kMostRowsColumns = sizeof(T) == 4 ? 96 : 64;
#else
constexpr int kLeft = 5, kRight = 2;  // 10 of 16
template <class T>
constexpr int64_t kMostRowsColumns = 8;
#endif
constexpr int64_t kRowsAtOnce = 128;       // of a
constexpr int64_t kDepthBytes = 20 << 10;  // of a row in a block of K: adding up the lanes at its end costs little then
constexpr int64_t kTurnedDepth = 512;      // numbers of a row of b in a block of K, where panels are turned
constexpr int64_t kPanels = 16;            // of a thread at a time: what they make of c stays in a cache from block to block
constexpr int64_t kDepth = 128;            // rows of b [K, N] in a block
constexpr int64_t kWidthBytes = 2 << 10;   // of each of them, so that the next block, too, is in a cache

template <class T>
void fetch(const T* p) {
  __builtin_prefetch(p, 0, 2);
}

template <class T, int Bytes>
T sum_of_lanes(const T* lanes) {
  if constexpr (Bytes == sizeof(T)) return *lanes;
  else {
    typedef T Half [[gnu::vector_size(Bytes / 2)]];
    Half low, high;
    std::memcpy(&low, lanes, sizeof low);
    std::memcpy(&high, lanes + Bytes / 2 / sizeof(T), sizeof high);
    low += high;
    T sums[Bytes / 2 / sizeof(T)];
    std::memcpy(sums, &low, sizeof low);
    return sum_of_lanes<T, Bytes / 2>(sums);
  }
}

// c [R, C] = a b^T (+ c) over `count` of K; from `next` on lie the C rows that follow.
template <class T, int R, int C>
void dots(const T* a, int64_t lda, const T* b, int64_t ldb, int64_t count, const T* next, bool add, T* c, int64_t ldc) {
  Vector<T> sums[R][C] = {};
  auto step = [&](auto of_a, auto of_b) __attribute__((always_inline)) {  // the sums are in registers only then
    Vector<T> right[C];
#pragma GCC unroll 8
    for (int j = 0; j < C; ++j) in_register<T>(right[j] = of_b(j));
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      Vector<T> left = of_a(i);
      in_register<T>(left);
#pragma GCC unroll 8
      for (int j = 0; j < C; ++j) sums[i][j] += left * right[j];
    }
  };
  int64_t k = 0;
  for (; k + kLanes<T> <= count; k += kLanes<T>) {
    if (next)
      for (int j = 0; j < C; ++j) fetch(next + j * ldb + k);
    step([&](int i) { return load(a + i * lda + k); }, [&](int j) { return load(b + j * ldb + k); });
  }
  if (k < count) {
    const auto rest = [&](const T* from) {
      T lanes[kLanes<T>] = {};
      std::copy_n(from + k, count - k, lanes);
      return load(static_cast<const T*>(lanes));
    };
    step([&](int i) { return rest(a + i * lda); }, [&](int j) { return rest(b + j * ldb); });
  }
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < C; ++j) {
      T lanes[kLanes<T>];
      std::memcpy(lanes, &sums[i][j], sizeof lanes);
      const T sum = sum_of_lanes<T, kVectorBytes>(lanes);
      c[i * ldc + j] = add ? c[i * ldc + j] + sum : sum;
    }
}

template <class T>
void along_rows(int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, bool accumulate, T* c, int64_t ldc) {
  const int64_t groups = parts_of(N, kRight), tiles = parts_of(M, kLeft);
  const int64_t vectors = parts_of(K, kLanes<T>), blocks = parts_of(K, kDepthBytes / static_cast<int64_t>(sizeof(T)));
  parallel_chunks(groups, parts_of(groups, threads()), [&](int64_t begin, int64_t end) {
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t k = part_begin(vectors, blocks, block) * kLanes<T>;
      const int64_t count = std::min(part_begin(vectors, blocks, block + 1) * kLanes<T>, K) - k;
      for (int64_t group = begin; group < end; ++group) {
        const int64_t n = group * kRight;
        const T* const next = group + 1 < end && n + 2 * kRight <= N ? b + (n + kRight) * ldb + k : nullptr;
        for (int64_t tile = 0; tile < tiles; ++tile) {
          const int64_t row = part_begin(M, tiles, tile), rows = part_begin(M, tiles, tile + 1) - row;
          const auto here = [&]<int C>(std::integral_constant<int, C>, int64_t column, const T* ahead) {
            with_constant(
                rows,
                [&]<int R>(std::integral_constant<int, R>) {
                  dots<T, R, C>(a + row * lda + k, lda, b + column * ldb + k, ldb, count, ahead, accumulate || block > 0, c + row * ldc + column, ldc);
                },
                std::make_integer_sequence<int, kLeft>{});
          };
          if (n + kRight <= N) here(std::integral_constant<int, kRight>{}, n, tile == 0 ? next : nullptr);
          else
            for (int64_t column = n; column < N; ++column) here(std::integral_constant<int, 1>{}, column, nullptr);
        }
      }
    }
  });
}

// The rows of a, of a block of K of up to Depth, at a distance that is part of an instruction's address.
template <class T, int64_t Depth>
struct Rows {
  static constexpr int64_t stride = Depth + kLineBytes / static_cast<int64_t>(sizeof(T));  // not a power of two, where rows would meet in the cache
  T values[kRowsAtOnce * stride];

  void take(const T* a, int64_t lda, int64_t rows, int64_t depth) {
    for (int64_t r = 0; r < rows; ++r) std::copy_n(a + r * lda, depth, values + r * stride);
  }
};

// What comes next of b, rows of `width` numbers. A step of a tile uses two lines, so a step of each of several tiles fetches one.
template <class T>
struct Ahead {
  const T* row;
  int64_t stride, width, rows, tiles, column = 0;

  [[gnu::always_inline]] void fetch_line() {
    if (rows <= 0) return;
    fetch(row + column);
    if ((column += kLineBytes / static_cast<int64_t>(sizeof(T))) >= width) column = 0, row += stride, --rows;
  }
  [[gnu::always_inline]] void fetch_of_step() {
    fetch_line();
    if (tiles == 1) fetch_line();
  }
};

// c [R, kBlock] = a b (+ c), a [R, depth], b [depth, kBlock]. Blocks are summed on their own: a chain over all of K would cost digits.
template <class T, int R, int64_t Stride>
void outer_products(const T* a, const T* b, int64_t ldb, int64_t depth, bool add, T* c, int64_t ldc, Ahead<T>& ahead) {
  Vector<T> sums[R][2] = {};
  for (int64_t k = 0; k < depth; ++k, ++a, b += ldb) {
    Vector<T> b0 = load(b), b1 = load(b + kLanes<T>);
    in_register<T>(b0), in_register<T>(b1);
    ahead.fetch_of_step();
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      sums[i][0] += a[i * Stride] * b0;
      sums[i][1] += a[i * Stride] * b1;
    }
  }
  for (int i = 0; i < R; ++i, c += ldc) {
    if (add) sums[i][0] += load(c), sums[i][1] += load(c + kLanes<T>);
    std::memcpy(c, sums[i], sizeof sums[i]);
  }
}

// c [M, columns] = a b (+ c), a [M, depth], b [depth, kBlock], of whose columns c has the first.
template <class T, int64_t Depth>
void times_block(const Rows<T, Depth>& a, int64_t M, const T* b, int64_t ldb, int64_t depth, int64_t columns, bool add, T* c, int64_t ldc, Ahead<T>& ahead) {
  constexpr int64_t width = kBlock<T>;
  T edge[kTile * width];
  const bool whole = columns == width;
  for (int64_t tile = 0; tile < tiles_of(M); ++tile) {
    const int64_t row = tile_begin(M, tile), rows = tile_begin(M, tile + 1) - row;
    T *const to = c + row * ldc, *const sums = whole ? to : edge;
    if (!whole) {
      std::fill(edge, edge + rows * width, T(0));
      if (add)
        for (int64_t r = 0; r < rows; ++r) std::copy_n(to + r * ldc, columns, edge + r * width);
    }
    with_tile_size(rows, [&]<int R>(std::integral_constant<int, R>) {
      outer_products<T, R, a.stride>(a.values + row * a.stride, b, ldb, depth, add, sums, whole ? ldc : width, ahead);
    });
    if (!whole)
      for (int64_t r = 0; r < rows; ++r) std::copy_n(edge + r * width, columns, to + r * ldc);
  }
}

// Turns a square of vectors, v[i][j] <-> v[j][i]: of two rows that lie Half apart, the right half of one and the left half of the other change
// places; then the same within halves.
template <class T, int Half, size_t... J>
[[gnu::always_inline]] inline void exchange(Vector<T>& upper, Vector<T>& lower, std::index_sequence<J...>) {
  constexpr int n = kLanes<T>;
  const Vector<T> left = __builtin_shufflevector(upper, lower, static_cast<int>(J & Half ? n + J - Half : J)...);
  lower = __builtin_shufflevector(upper, lower, static_cast<int>(J & Half ? n + J : J + Half)...);
  upper = left;
}
template <class T, int Half = kLanes<T> / 2>
[[gnu::always_inline]] inline void turn(Vector<T>* v) {
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<T>; ++i)
    if (!(i & Half)) exchange<T, Half>(v[i], v[i + Half], std::make_index_sequence<kLanes<T>>{});
  if constexpr (Half > 1) turn<T, Half / 2>(v);
}

// panel [depth, kBlock] = b^T, b [rows, depth]; zeros in the columns that b has no rows for.
template <class T>
void turn_panel(const T* b, int64_t ldb, int64_t rows, int64_t depth, T* panel) {
  constexpr int64_t lanes = kLanes<T>, width = kBlock<T>;
  if (rows < width) std::fill(panel, panel + depth * width, T(0));
  for (int64_t row = 0; row < rows; row += lanes) {
    int64_t k = 0;
    if (row + lanes <= rows)
      for (; k + lanes <= depth; k += lanes) {
        Vector<T> square[lanes];
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) square[i] = load(b + (row + i) * ldb + k);
        turn<T>(square);
#pragma GCC unroll 16
        for (int i = 0; i < lanes; ++i) std::memcpy(panel + (k + i) * width + row, &square[i], sizeof square[i]);
      }
    for (; k < depth; ++k)
      for (int64_t r = row; r < std::min(row + lanes, rows); ++r) panel[k * width + r] = b[r * ldb + k];
  }
}

template <class T>
void along_turned(int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, bool accumulate, T* c, int64_t ldc) {
  constexpr int64_t width = kBlock<T>;
  const int64_t panels = parts_of(N, width), rounds = parts_of(panels, threads() * kPanels);
  const int64_t vectors = parts_of(K, kLanes<T>), blocks = parts_of(K, kTurnedDepth), tiles = tiles_of(M);
  parallel_chunks(panels, parts_of(panels, threads() * rounds), [&](int64_t begin, int64_t end) {
    Rows<T, kTurnedDepth> rows;
    alignas(kLineBytes) T turned[kTurnedDepth * width];
    const int64_t last = std::min(end * width, N);
    for (int64_t block = 0; block < blocks; ++block) {
      const auto begin_of = [&](int64_t i) { return std::min(part_begin(vectors, blocks, i) * kLanes<T>, K); };
      const int64_t k = begin_of(block), next_k = begin_of(block + 1), depth = next_k - k;
      rows.take(a + k, lda, M, depth);
      for (int64_t column = begin * width; column < last; column += width) {
        const int64_t there = std::min(width, last - column), next = column + width;
        turn_panel(b + column * ldb + k, ldb, there, depth, turned);
        // The next panel, or the first of the next block.
        const bool here = next < last;
        const int64_t ahead_column = here ? next : begin * width, ahead_k = here ? k : next_k, ahead_depth = here ? depth : begin_of(block + 2) - next_k;
        Ahead<T> ahead{b + ahead_column * ldb + ahead_k, ldb, ahead_depth, ahead_depth > 0 ? std::min(width, last - ahead_column) : 0, tiles};
        times_block(rows, M, turned, width, depth, there, accumulate || block > 0, c + column, ldc, ahead);
      }
    }
  });
}

template <class T>
void along_columns(int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, bool accumulate, T* c, int64_t ldc) {
  constexpr int64_t width = kBlock<T>;
  const int64_t columns = parts_of(N, width);
  const int64_t rounds = parts_of(columns, threads() * kWidthBytes / static_cast<int64_t>(sizeof(T)) / width);
  parallel_chunks(columns, parts_of(columns, threads() * rounds), [&](int64_t begin, int64_t end) {
    Rows<T, kDepth> rows;
    T edge[kDepth * width];
    const int64_t first = begin * width, last = std::min(end * width, N);
    for (int64_t k = 0; k < K; k += kDepth) {
      const int64_t depth = std::min(kDepth, K - k);
      rows.take(a + k, lda, M, depth);
      Ahead<T> ahead{b + (k + depth) * ldb + first, ldb, last - first, std::min(kDepth, K - k - depth), tiles_of(M)};
      for (int64_t column = first; column < last; column += width) {
        const int64_t there = std::min(width, last - column);
        const T* from = b + k * ldb + column;
        int64_t from_stride = ldb;
        if (there < width) {  // the last columns, with zeros behind them
          std::fill(edge, edge + depth * width, T(0));
          for (int64_t i = 0; i < depth; ++i) std::copy_n(from + i * ldb, there, edge + i * width);
          from = edge, from_stride = width;
        }
        times_block(rows, M, from, from_stride, depth, there, accumulate || k > 0, c + column, ldc, ahead);
      }
    }
  });
}

}  // namespace

template <class T>
bool few_rows(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K) {
  constexpr int64_t least_sum = 256;  // shorter ones leave no time to add up lanes
#if defined(__FMA__)
  constexpr bool fused = true;
#else
  constexpr bool fused = false;  // compiled for any x86, where BLAS asks which one it is; or for Arm, where nobody has measured
#endif
  if (!fused || transpose_a || N * K * static_cast<int64_t>(sizeof(T)) < kLeastBytes) return false;
  return transpose_b ? M <= kMostRows && K >= least_sum : M <= kMostRowsColumns<T> && N >= 4 * kBlock<T>;
}

template <class T>
void few_rows_product(bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, bool accumulate, T* c, int64_t ldc) {
  if (transpose_b && M < kLeastTurned) return along_rows(M, N, K, a, lda, b, ldb, accumulate, c, ldc);
  for (int64_t row = 0; row < M; row += kRowsAtOnce)
    (transpose_b ? along_turned<T> : along_columns<T>)(std::min(kRowsAtOnce, M - row), N, K, a + row * lda, lda, b, ldb, accumulate, c + row * ldc, ldc);
}

#define PV_FEW_ROWS(T)                                              \
  template bool few_rows<T>(bool, bool, int64_t, int64_t, int64_t); \
  template void few_rows_product<T>(bool, int64_t, int64_t, int64_t, const T*, int64_t, const T*, int64_t, bool, T*, int64_t);
PV_FEW_ROWS(float)
PV_FEW_ROWS(double)
#undef PV_FEW_ROWS

}  // namespace panvae::cpu
