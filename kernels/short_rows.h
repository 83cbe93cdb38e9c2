// Rows added into rows, as row_sums.h does it, where the list is short: a block for each row of the target reads the whole list
// and sums what names its row, in the order of the list, in f64. Nothing is sorted, and rows that nobody names become 0 on the
// way, so one launch does what otherwise takes five in a row, each of which waits for the one before.
//
// Bytes: the list (8 a name) once for each block, from L2; what is named once; the target once. `Sums` as in row_sums.h.
#pragma once
#include <cstdint>

#include "kernels/row_sums.h"

namespace panvae::PV_EXEC {

constexpr int kShortList = 2048;  // names
constexpr int kShortBlock = kBlock, kColumnsEach = 2, kColumnsOfBlock = kColumnsEach * kShortBlock;

// Short lists whose reading costs less than sorting, and where no row is likely to be named often: its block is one.
inline bool is_short(int64_t count, int64_t rows, int64_t columns) {
  const int64_t column_blocks = (columns + kColumnsOfBlock - 1) / kColumnsOfBlock;
  return count <= kShortList && count <= 8 * rows && rows <= (int64_t{1} << 21) / (count * column_blocks + 1);
}

// found: places in named [count] that hold `row`, ascending; their number is returned. Every thread of the block calls it.
__device__ inline int find_names(const int64_t* named, int count, int64_t row, unsigned* words, int* found, int* total) {
  constexpr int kRounds = kShortList / kShortBlock;
  static_assert(kShortList == 2 * kWarp * kWarp, "a lane of the first warp has two words");
  const int lane = threadIdx.x % kWarp;
  int64_t name[kRounds];
#pragma unroll
  for (int k = 0; k < kRounds; ++k) {
    const int i = static_cast<int>(threadIdx.x) + k * kShortBlock;
    name[k] = i < count ? named[i] : -1;
  }
#pragma unroll
  for (int k = 0; k < kRounds; ++k) {
    const unsigned word = __ballot_sync(kFullMask, name[k] == row);
    if (lane == 0) words[(threadIdx.x + k * kShortBlock) / kWarp] = word;
  }
  __syncthreads();
  if (threadIdx.x < kWarp) {
    const unsigned pair[2] = {words[2 * lane], words[2 * lane + 1]};
    const int mine = __popc(pair[0]) + __popc(pair[1]);
    int end = mine;
    for (int offset = 1; offset < kWarp; offset *= 2) {
      const int other = __shfl_up_sync(kFullMask, end, offset);
      if (lane >= offset) end += other;
    }
    int* to = found + (end - mine);
    for (int half = 0; half < 2; ++half)
      for (unsigned left = pair[half]; left != 0; left &= left - 1) *to++ = (2 * lane + half) * kWarp + __popc((left & (0u - left)) - 1);
    if (lane == kWarp - 1) *total = end;
  }
  __syncthreads();
  return *total;
}

template <class T, class Sums>
__global__ void __launch_bounds__(kShortBlock)
    short_rows_kernel(Sums sums, const int64_t* named, int count, int64_t columns, unsigned column_blocks, bool accumulate) {
  begin_kernel();
  constexpr int kAhead = 2;
  SHARED(unsigned, words, kShortList / kWarp);
  SHARED(int, found, kShortList);
  SHARED(int, total, 1);
  const int64_t row = blockIdx.x / column_blocks, first = int64_t(blockIdx.x % column_blocks) * kColumnsOfBlock + threadIdx.x;
  const int n = find_names(named, count, row, words, found, total);
  if (n == 0 && accumulate) return;
  double s[kColumnsEach] = {};
  for (int begin = 0; begin < n; begin += kAhead) {
    T value[kAhead][kColumnsEach] = {};
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (begin + j >= n) continue;
      const auto source = sums.source(found[begin + j]);
#pragma unroll
      for (int k = 0; k < kColumnsEach; ++k)
        if (first + k * kShortBlock < columns) value[j][k] = source(first + k * kShortBlock);
    }
#pragma unroll
    for (int j = 0; j < kAhead; ++j)
#pragma unroll
      for (int k = 0; k < kColumnsEach; ++k) s[k] += static_cast<double>(value[j][k]);
  }
  T* y = sums.target(row);
#pragma unroll
  for (int k = 0; k < kColumnsEach; ++k) {
    const int64_t c = first + k * kShortBlock;
    if (c < columns) y[c] = static_cast<T>(accumulate ? static_cast<double>(y[c]) + s[k] : s[k]);
  }
}

// named [count]: rows of the target, of which there are `rows`; others name none. is_short(count, rows, columns) holds.
template <class T, class Sums>
void add_short_rows(Stream& stream, Sums sums, const int64_t* named, int64_t count, int64_t rows, int64_t columns, bool accumulate) {
  if (columns == 0) return;
  const int64_t column_blocks = (columns + kColumnsOfBlock - 1) / kColumnsOfBlock;
  launch(stream, grid_for(rows * column_blocks, 1), kShortBlock, 0, short_rows_kernel<T, Sums>, sums, named, static_cast<int>(count), columns,
         static_cast<unsigned>(column_blocks), accumulate);
}

}  // namespace panvae::PV_EXEC
