// The weight gradient a row of tiles at a time, and Adam on the row before. A tile, up to kTile rows by two vectors, is summed in
// registers over all of K. After each tile the update goes on by as many elements, in the order of memory, and while a tile is
// computed, p, m and v of the elements that follow are fetched. So arithmetic and memory overlap, where a product and then an
// update would wait for one after the other; grad itself never leaves the cache.
//
// A task is some columns of grad by many rows: its part of op(b) is laid out for the tiles once and stays in L2, that of op(a)
// for each row of tiles, in L1. The order of every sum depends on sizes alone: the same bits for any number of threads.
#include "kernels/matmul_adam_direct.h"

#include <algorithm>
#include <cmath>

#include "base/threads.h"
#include "kernels/adam_update.h"
#include "kernels/register_tile.h"
#include "kernels/streaming.h"

namespace panvae::cpu {

namespace {

constexpr int64_t kPanelBytes = 512 << 10;  // of op(b) that a task has laid out: half of a usual L2

// How grad, in tiles by blocks of columns, is shared: panels of columns, whose part of op(b) a task lays out, by groups of rows.
// All are as large but for one tile or block. A thread has rows of its own: threads side by side in the same rows were slower.
struct Tasks {
  int64_t tiles, blocks, panels, groups, widest;

  Tasks(int64_t tiles_, int64_t blocks_, int64_t most_blocks) : tiles(tiles_), blocks(blocks_) {
    constexpr int64_t kLeastTiles = 4;  // worth laying out op(b)
    const int64_t most_groups = std::max<int64_t>(tiles / kLeastTiles, 1);
    panels = std::clamp(parts_of(threads(), most_groups), parts_of(blocks, most_blocks), blocks);
    groups = std::min<int64_t>(threads(), most_groups);
    widest = parts_of(blocks, panels);
  }
  int64_t block_of(int64_t panel) const { return blocks * panel / panels; }
  int64_t tile_of(int64_t group) const { return tiles * group / groups; }
};

template <class T>
struct Problem {
  In<T> a, b;
  bool transpose_a, transpose_b;
  InOut<T> p, m, v;
  int64_t M, N, K;
};

// to [K][rows] = op(a) at these rows, turned; room for kTile more behind it
template <class T>
void lay_out_rows(const Problem<T>& d, int64_t row, int64_t rows, T* to) {
  if (d.transpose_a && row + kTile <= d.M) {
    for (int64_t k = 0; k < d.K; ++k) std::memcpy(to + k * rows, d.a + k * d.M + row, kTile * sizeof(T));  // of a size the compiler knows
    return;
  }
  for (int64_t k = 0; k < d.K; ++k, to += rows)
    for (int64_t r = 0; r < rows; ++r) to[r] = d.transpose_a ? d.a[k * d.M + row + r] : d.a[(row + r) * d.K + k];
}

// to [block][K][kBlock] = op(b) at these columns, zeros behind the last
template <class T>
void lay_out_columns(const Problem<T>& d, int64_t column, int64_t columns, T* to) {
  constexpr int64_t width = kBlock<T>;
  for (int64_t k = 0; k < d.K; ++k)
    for (int64_t c = 0; c < columns; c += width) {
      const int64_t count = std::min(width, columns - c);
      T* block = to + (c / width * d.K + k) * width;
      const T* from = d.b + k * d.N + column + c;
      if (!d.transpose_b && count == width) {
        std::memcpy(block, from, width * sizeof(T));
        continue;
      }
      for (int64_t i = 0; i < count; ++i) block[i] = d.transpose_b ? d.b[(column + c + i) * d.K + k] : from[i];
      std::fill(block + count, block + width, T(0));
    }
}

// Element (row, column) of the update that follows, in p, m and v from their own (0, 0) on.
template <class T>
struct Ahead {
  const T *p, *m, *v;
  int64_t stride, rows, width, row, column;

  // Fetches kBlock elements, into L2 to be read, and steps on: into L1 to be written, an update alone took half as long again. Inlined
  // by force: what only fetches is otherwise taken for a call without effect.
  [[gnu::always_inline]] void fetch() {
    if (row >= rows) return;
    for (const T* x : {p, m, v}) {
      const char* from = reinterpret_cast<const char*>(x + row * stride + column);
      for (size_t i = 0; i < kBlock<T> * sizeof(T); i += kLineBytes) __builtin_prefetch(from + i, 0, 2);
    }
    column += kBlock<T>;
    if (column >= width) column -= width, ++row;
  }
};

// sums [N][stride] = a^T b, a [K][N], b [K][kBlock]; a piece of what is ahead is fetched after each Nth part of the way. Returns the
// sum of their squares, which T adds up in each lane: a conversion of each of them took a seventh of the time of 32 samples.
template <class T, int N>
double tile(const T* a, const T* b, int64_t K, Ahead<T> ahead, T* sums, int64_t stride) {
  Vector<T> acc[N][2] = {};
  for (int part = 0; part < N; ++part) {
    for (int64_t k = K * part / N; k < K * (part + 1) / N; ++k, a += N, b += kBlock<T>) {
      const Vector<T> b0 = load(b), b1 = load(b + kLanes<T>);
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        acc[n][0] += a[n] * b0;
        acc[n][1] += a[n] * b1;
      }
    }
    ahead.fetch();
  }
  Vector<T> squares[2] = {};
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      std::memcpy(sums + n * stride + i * kLanes<T>, &acc[n][i], sizeof acc[n][i]);
      squares[i] += acc[n][i] * acc[n][i];
    }
  squares[0] += squares[1];
  double sum = 0;
  for (int64_t i = 0; i < kLanes<T>; ++i) sum += static_cast<double>(squares[0][i]);
  return sum;
}

// The same in doubles, where T has no room for the squares.
template <class T>
double squares_in_double(const T* sums, int64_t rows, int64_t stride) {
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r)
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < kBlock<T>; ++i) sum += static_cast<double>(sums[r * stride + i]) * static_cast<double>(sums[r * stride + i]);
  return sum;
}
// Below it, squares that T rounds to zero or to few digits count; above T's largest number the sum is infinite.
constexpr double kLeastSquares = 1e-28;

// Elements of T from the line's begin to p. A vector that is stored across two lines takes three times as long.
template <class T>
int64_t past_line(const T* p) {
  return static_cast<int64_t>(reinterpret_cast<uintptr_t>(p) % kLineBytes / sizeof(T));
}

template <class T>
void update_run(AdamUpdate<T> update, const T* grad, T* p, T* m, T* v, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) update(p[i], grad[i], m[i], v[i]);
}

}  // namespace

template <class T>
double direct_matmul_adam(Stream& stream, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> p, InOut<T> m, InOut<T> v, int64_t M, int64_t N,
                          int64_t K, const double* slots, AdamOptions options) {
  const Problem<T> d{a, b, transpose_a, transpose_b, p, m, v, M, N, K};
  constexpr int64_t width = kBlock<T>, item = sizeof(T);
  const int64_t tiles = tiles_of(M), blocks = parts_of(N, width);
  const Tasks tasks(tiles, blocks, std::max<int64_t>(kPanelBytes / (std::max<int64_t>(K, 1) * item * width), 1));
  const int64_t panel = tasks.widest * width, room = parts_of(K * (panel + kTile) + kTile + 2 * kTile * panel, kLineBytes) * kLineBytes,
                bytes = threads() * room * item;
  char* const scratch = stream.scratch<char>(bytes + tiles * blocks * static_cast<int64_t>(sizeof(double)));
  T* const rooms = reinterpret_cast<T*>(scratch);                      // [threads, room]
  double* const squares = reinterpret_cast<double*>(scratch + bytes);  // [tiles, blocks]
  const AdamUpdate<T> update(slots, options);
  parallel_chunks(tasks.panels * tasks.groups, 1, [&](int64_t task, int64_t, int64_t thread) {
    const int64_t first_block = tasks.block_of(task % tasks.panels), blocks_here = tasks.block_of(task % tasks.panels + 1) - first_block;
    const int64_t column0 = first_block * width, columns_up = blocks_here * width, columns = std::min(columns_up, N - column0);
    const int64_t first = tasks.tile_of(task / tasks.panels), last = tasks.tile_of(task / tasks.panels + 1);
    // Two rows of tiles of grad: one is computed, the other goes into the update.
    T *const right = rooms + thread * room, *const grads = right + K * panel, *const left = grads + 2 * kTile * panel;
    auto grad_of = [&](int64_t t) { return grads + t % 2 * kTile * panel; };
    auto row_of = [&](int64_t t) { return tile_begin(M, t); };
    int64_t row = 0, column = 0;  // of the row of tiles in the update: where it stands
    auto go_on = [&](int64_t t, int64_t count) {
      const int64_t rows = row_of(t + 1) - row_of(t), at = row_of(t) * N + column0;
      while (count > 0 && row < rows) {
        const int64_t i = at + row * N + column, left_of_row = columns_up - column;
        // Ends with a line or the row, so that what follows begins with one.
        const int64_t run = count < left_of_row ? std::max<int64_t>(count - past_line(p + i + count), 0) : left_of_row;
        if (run == 0) return;
        update_run(update, static_cast<const T*>(grad_of(t)) + row * panel + column, p + i, m + i, v + i, std::min(run, columns - column));
        count -= run, column += run;
        if (column == columns_up) column = 0, ++row;
      }
    };
    lay_out_columns(d, column0, columns, right);
    for (int64_t t = first; t < last; ++t) {
      const int64_t rows = row_of(t + 1) - row_of(t);
      lay_out_rows(d, row_of(t), rows, left);
      row = column = 0;
      for (int64_t block = 0; block < blocks_here; ++block) {
        T* const sums = grad_of(t) + block * width;
        Ahead<T> ahead{};
        if (t > first) {
          const int64_t from = row_of(t - 1) * N + column0, next = row * columns_up + column + kTile * width;
          ahead = {p + from, m + from, v + from, N, row_of(t + 1) - row_of(t - 1), columns_up, next / columns_up, next % columns_up};
        }
        double& square = squares[t * blocks + first_block + block];
        with_tile_size(rows, [&]<int R>(std::integral_constant<int, R>) { square = tile<T, R>(left, right + block * width * K, K, ahead, sums, panel); });
        if (!(square >= kLeastSquares && std::isfinite(square))) square = squares_in_double(sums, rows, panel);
        if (t > first) go_on(t - 1, kTile * width);
      }
      if (t > first) go_on(t - 1, kTile * columns_up);
    }
    row = column = 0;
    go_on(last - 1, kTile * columns_up);
  });
  double sum = 0;
  for (int64_t i = 0; i < tiles * blocks; ++i) sum += squares[i];
  return sum;
}

#define PV_DIRECT(T) \
  template double direct_matmul_adam<T>(Stream&, In<T>, bool, In<T>, bool, InOut<T>, InOut<T>, InOut<T>, int64_t, int64_t, int64_t, const double*, AdamOptions);
PV_DIRECT(float)
PV_DIRECT(double)
#undef PV_DIRECT

}  // namespace panvae::cpu
