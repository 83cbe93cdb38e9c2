// Rows added into rows: target(r) (+)= the sum of source(e) over all entries e that name r. The gradient of a gather, hence
// of everything that takes rows by index. An order that does not depend on threads comes from sorting: entries are put in
// the order of their rows (sort_rows, stable), so those of a row lie side by side, first come first; then each row is
// summed in that order. The cost grows with the entries, not with the rows of the target.
//
//   cpu   the owner of a row's first entry sums the whole row, in f64
//   cuda  a block sums kRowStretch entries, in T. What belongs to a row that began in an earlier stretch is kept aside
//         (carries) and added by the owner of the row's first stretch, in f64: a row named a million times is still
//         summed by many blocks
//
// `Sums` says what is added where: T* target(row) is the begin of a row of the target, source(index)(c) column c of what
// entry `index` adds; source(index).prefetch(c, n) asks for the memory of n columns from c on.
#pragma once
#include <algorithm>
#include <cstdint>

#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/kernels.h"

namespace panvae {

// Entry `index` of the caller's list names `row` of the target.
struct alignas(16) RowEntry {
  int64_t row, index;
};

inline constexpr int64_t kRowStretch = 32;

// Plans several arrays in one block of scratch, each aligned for 16-byte loads.
class ScratchPlan {
 public:
  template <class V>
  int64_t add(int64_t count) {
    const int64_t offset = bytes_;
    bytes_ += (count * static_cast<int64_t>(sizeof(V)) + 15) / 16 * 16;
    return offset;
  }
  int64_t bytes() const { return bytes_ + 16; }

 private:
  int64_t bytes_ = 0;
};

// sort_rows.cu: rows [count] in [0, limit) are sorted, stable; others are taken for `limit`, so they stand at the end.
// `memory` has sort_rows_bytes(count) bytes; the result lies in it. I is int64_t.
inline int64_t sort_rows_bytes(int64_t count) {
  // entries twice, and counts: 256 for every 2048 entries on simt and cuda, 2048 for every 16384 on cpu
  return 2 * count * static_cast<int64_t>(sizeof(RowEntry)) + (count / 16384 + 2) * 2048 * static_cast<int64_t>(sizeof(int64_t));
}
namespace cpu {
template <class I>
const RowEntry* sort_rows(Stream& stream, In<I> rows, int64_t count, int64_t limit, void* memory);
}
namespace PV_EXEC {
template <class I>
const RowEntry* sort_rows(Stream& stream, In<I> rows, int64_t count, int64_t limit, void* memory);
}

inline int64_t row_carries(int64_t count, int64_t columns) {
  return (count + kRowStretch - 1) / kRowStretch * columns;
}

namespace cpu {

// Sorted entries read rows in an order that no hardware foresees.
template <class T>
void prefetch_row(const T* row, int64_t n) {
  for (int64_t c = 0; c < n; c += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(row + c);
}

template <class A, class Source>
void add_row(Source source, int64_t left, int64_t width, A* s, bool accumulate) {
  if (accumulate) {
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) s[c] += static_cast<A>(source(left + c));
  } else {
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) s[c] = static_cast<A>(source(left + c));
  }
}

template <class T, class Sums>
void add_sorted_rows(Sums sums, const RowEntry* entries, int64_t count, int64_t limit, int64_t columns, bool accumulate) {
  constexpr int64_t kWidth = 256, kAhead = 8;
  const int64_t column_blocks = (columns + kWidth - 1) / kWidth, stretch = 16 + 16384 / (columns + 1), stretches = (count + stretch - 1) / stretch;
  parallel_chunks(stretches * column_blocks, 1, [=](int64_t item, int64_t item_end) {
    for (; item < item_end; ++item) {
      const int64_t first = item / column_blocks * stretch, last = first + stretch < count ? first + stretch : count;
      const int64_t left = item % column_blocks * kWidth, width = left + kWidth < columns ? kWidth : columns - left;
      auto ahead = [=](int64_t i) {
        if (i + kAhead < count && entries[i + kAhead].row < limit) sums.source(entries[i + kAhead].index).prefetch(left, width);
      };
      for (int64_t i = first; i < last && entries[i].row < limit; ++i) {
        const int64_t row = entries[i].row;
        if (i > 0 && entries[i - 1].row == row) continue;
        T* y = sums.target(row) + left;
        if (i + 1 == count || entries[i + 1].row != row) {  // alone: no sum to round
          ahead(i);
          add_row(sums.source(entries[i].index), left, width, y, accumulate);
          continue;
        }
        double s[kWidth];
        std::fill_n(s, width, 0.0);
        for (int64_t j = i; j < count && entries[j].row == row; ++j) {
          ahead(j);
          add_row(sums.source(entries[j].index), left, width, s, true);
        }
        for (int64_t c = 0; c < width; ++c) y[c] = static_cast<T>(accumulate ? y[c] + s[c] : s[c]);
      }
    }
  });
}

}  // namespace cpu

namespace PV_EXEC {

// Threads of a block whose threads take the columns of a row.
inline int block_for(int64_t columns) {
  return columns >= kBlock ? kBlock : columns <= kWarp ? kWarp : static_cast<int>((columns + kWarp - 1) / kWarp * kWarp);
}

// What the entries add is looked up once for the block; then a thread has kAhead loads under way, since rows lie anywhere.
template <class T, class Sums>
__global__ void row_stretch_kernel(Sums sums, const RowEntry* entries, int64_t count, int64_t limit, int64_t columns, int64_t column_blocks, bool accumulate,
                                   T* carries) {
  begin_kernel();
  constexpr int kAhead = 8;
  SHARED(typename Sums::Source, sources, kRowStretch);
  SHARED(int64_t, rows, kRowStretch + 1);
  const int64_t stretch = blockIdx.x / column_blocks, c = blockIdx.x % column_blocks * blockDim.x + threadIdx.x, first = stretch * kRowStretch;
  const int n = static_cast<int>(first + kRowStretch < count ? kRowStretch : count - first);
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    const RowEntry e = entries[first + i];
    rows[i] = e.row;
    if (e.row < limit) sources[i] = sums.source(e.index);
  }
  if (threadIdx.x == 0) rows[n] = limit;
  __syncthreads();
  if (c >= columns) return;
  bool carried = first > 0 && entries[first - 1].row == rows[0];
  T s = T(0);
  for (int begin = 0; begin < n && rows[begin] < limit; begin += kAhead) {
    T value[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) value[j] = begin + j < n && rows[begin + j] < limit ? sources[begin + j](c) : T(0);
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int i = begin + j;
      if (i >= n || rows[i] >= limit) break;
      s += value[j];
      if (rows[i + 1] == rows[i]) continue;
      if (carried) {
        carries[stretch * columns + c] = s;
      } else {
        T* y = sums.target(rows[i]) + c;
        *y = accumulate ? *y + s : s;
      }
      carried = false;
      s = T(0);
    }
  }
}

// One block a stretch (but the last): if a row begins in it and goes on behind it, what was kept aside is added.
template <class T, class Sums>
__global__ void row_carries_kernel(Sums sums, const RowEntry* entries, int64_t count, int64_t limit, int64_t columns, int64_t column_blocks, In<T> carries) {
  begin_kernel();
  const int64_t stretch = blockIdx.x / column_blocks, c = blockIdx.x % column_blocks * blockDim.x + threadIdx.x;
  const int64_t first = stretch * kRowStretch, end = first + kRowStretch, row = entries[end - 1].row;
  if (c >= columns || row >= limit || entries[end].row != row) return;
  if (first > 0 && entries[first - 1].row == row) return;  // it began earlier
  double s = 0;
  for (int64_t i = end; i < count && entries[i].row == row; i += kRowStretch) s += carries[i / kRowStretch * columns + c];
  T* y = sums.target(row) + c;
  *y = static_cast<T>(*y + s);
}

// carries: row_carries(count, columns) of T
template <class T, class Sums>
void add_sorted_rows(Stream& stream, Sums sums, const RowEntry* entries, int64_t count, int64_t limit, int64_t columns, bool accumulate, T* carries) {
  if (count == 0 || columns == 0) return;
  const int block = block_for(columns);
  const int64_t column_blocks = (columns + block - 1) / block, stretches = (count + kRowStretch - 1) / kRowStretch;
  launch(stream, grid_for(stretches * column_blocks, 1), block, 0, row_stretch_kernel<T, Sums>, sums, entries, count, limit, columns, column_blocks, accumulate,
         carries);
  launch(stream, grid_for((stretches - 1) * column_blocks, 1), block, 0, row_carries_kernel<T, Sums>, sums, entries, count, limit, columns, column_blocks,
         static_cast<In<T>>(carries));
}

}  // namespace PV_EXEC
}  // namespace panvae
