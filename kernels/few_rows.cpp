// A general product lays out its large operand anew for the tiles, which pays where many rows use it. Here each number of b is read once, as it
// stands, and used by all rows of a, of which there are few.
//
// b [N, K]: sums of products along both operands' rows, a tile of them in registers, each in as many parts as a vector has lanes; K in blocks,
//           for which a stays in a cache. Threads share the rows of b.
// b [K, N]: vectors of a row of b, each times a number of every row of a; K in blocks, whose part of a is turned, so that what a step needs lies
//           side by side. Threads share the columns.
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

#if defined(__AVX512F__)
constexpr int kLeft = 6, kRight = 4;  // rows of a and b whose sums are in registers: 24 of 32, and one vector of each of b's rows
// Rows of a up to which BLAS is slower (measured); `columns`: where b is [K, N].
constexpr int64_t kMostRows = 96;
template <class T>
constexpr int64_t kMostRowsColumns = sizeof(T) == 4 ? 64 : 32;
#else
constexpr int kLeft = 5, kRight = 2;  // 10 of 16
constexpr int64_t kMostRows = 16;
template <class T>
constexpr int64_t kMostRowsColumns = 8;
#endif
constexpr int64_t kTurnedRows = 64;        // of a at once
constexpr int64_t kDepthBytes = 20 << 10;  // of a row in a block of K: adding up the lanes at its end costs little then
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

// The lines of b that the next block of K needs, in the order in which they lie.
template <class T>
struct Ahead {
  const T* row;
  int64_t stride, width, rows, column;

  [[gnu::always_inline]] void fetch_block() {
    if (rows <= 0) return;
    for (size_t i = 0; i < kBlock<T> * sizeof(T); i += kLineBytes) fetch(reinterpret_cast<const char*>(row + column) + i);
    if ((column += kBlock<T>) >= width) column = 0, row += stride, --rows;
  }
};

// c [R, kBlock] = a^T b (+ c), a [depth, R], b [depth, kBlock]. Blocks are summed on their own: a chain over all of K would cost digits.
template <class T, int R>
void outer_products(const T* a, const T* b, int64_t ldb, int64_t depth, bool add, T* c, int64_t ldc, Ahead<T>* ahead) {
  Vector<T> sums[R][2] = {};
  for (int64_t k = 0; k < depth; ++k, a += R, b += ldb) {
    Vector<T> b0 = load(b), b1 = load(b + kLanes<T>);
    in_register<T>(b0), in_register<T>(b1);
    if (ahead) ahead->fetch_block();
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      sums[i][0] += a[i] * b0;
      sums[i][1] += a[i] * b1;
    }
  }
  for (int i = 0; i < R; ++i, c += ldc) {
    if (add) sums[i][0] += load(c), sums[i][1] += load(c + kLanes<T>);
    std::memcpy(c, sums[i], sizeof sums[i]);
  }
}

template <class T>
void along_columns(int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, bool accumulate, T* c, int64_t ldc) {
  constexpr int64_t width = kBlock<T>;
  const int64_t columns = parts_of(N, width), tiles = tiles_of(M);
  const int64_t rounds = parts_of(columns, threads() * kWidthBytes / static_cast<int64_t>(sizeof(T)) / width);
  parallel_chunks(columns, parts_of(columns, threads() * rounds), [&](int64_t begin, int64_t end) {
    T turned[kTurnedRows * kDepth], edge_b[kDepth * width], edge_c[kTile * width];
    const int64_t first = begin * width, last = std::min(end * width, N);
    for (int64_t k = 0; k < K; k += kDepth) {
      const int64_t depth = std::min(kDepth, K - k);
      const bool add = accumulate || k > 0;
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const int64_t row = tile_begin(M, tile), rows = tile_begin(M, tile + 1) - row;
        T* to = turned + row * depth;
        for (int64_t i = 0; i < depth; ++i)
          for (int64_t r = 0; r < rows; ++r) *to++ = a[(row + r) * lda + k + i];
      }
      Ahead<T> ahead{b + (k + depth) * ldb + first, ldb, last - first, std::min(kDepth, K - k - depth), 0};
      for (int64_t column = first; column < last; column += width) {
        const int64_t there = std::min(width, last - column);
        const T* from = b + k * ldb + column;
        int64_t from_stride = ldb;
        if (there < width) {  // the last columns, with zeros behind them
          std::fill(edge_b, edge_b + depth * width, T(0));
          for (int64_t i = 0; i < depth; ++i) std::copy_n(from + i * ldb, there, edge_b + i * width);
          from = edge_b, from_stride = width;
        }
        for (int64_t tile = 0; tile < tiles; ++tile) {
          const int64_t row = tile_begin(M, tile), rows = tile_begin(M, tile + 1) - row;
          T *to = c + row * ldc + column, *sums = to;
          int64_t stride = ldc;
          if (there < width) {
            std::fill(edge_c, edge_c + rows * width, T(0));
            if (add)
              for (int64_t r = 0; r < rows; ++r) std::copy_n(to + r * ldc, there, edge_c + r * width);
            sums = edge_c, stride = width;
          }
          with_tile_size(rows, [&]<int R>(std::integral_constant<int, R>) {
            outer_products<T, R>(turned + row * depth, from, from_stride, depth, add, sums, stride, tile == 0 ? &ahead : nullptr);
          });
          if (there < width)
            for (int64_t r = 0; r < rows; ++r) std::copy_n(edge_c + r * width, there, to + r * ldc);
        }
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
  if (transpose_b) {
    along_rows(M, N, K, a, lda, b, ldb, accumulate, c, ldc);
    return;
  }
  for (int64_t row = 0; row < M; row += kTurnedRows)
    along_columns(std::min(kTurnedRows, M - row), N, K, a + row * lda, lda, b, ldb, accumulate, c + row * ldc, ldc);
}

#define PV_FEW_ROWS(T)                                              \
  template bool few_rows<T>(bool, bool, int64_t, int64_t, int64_t); \
  template void few_rows_product<T>(bool, int64_t, int64_t, int64_t, const T*, int64_t, const T*, int64_t, bool, T*, int64_t);
PV_FEW_ROWS(float)
PV_FEW_ROWS(double)
#undef PV_FEW_ROWS

}  // namespace panvae::cpu
