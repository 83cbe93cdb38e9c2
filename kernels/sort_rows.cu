// A stable sort of row numbers with the place each had in the list: radix sort from the least significant digit on (Knuth,
// The Art of Computer Programming 3, section 5.2.5).
//
// A pass puts entry e behind all entries with a smaller digit and behind those with the same digit that stand before it:
// position = (smaller digits in all tiles) + (this digit in earlier tiles) + (this digit earlier in the tile). The first
// two are counted before, the last is found by walking the tile in order. On a GPU each warp walks 32 entries at a time,
// and lanes with the same digit find each other by ballots, one for each bit of the digit. Counts are integers, so atomics
// on them give the same sums in any order, and every position is a function of the input alone.
//
// Bytes: 32 a pass and entry, and 8 to read the list; scratch 32 an entry. cuda takes digits of 8 bits; up to kTile
// entries are sorted by one block in one launch, more take three launches a pass. cpu takes as few passes as digits of at
// most 11 bits allow.
#include <bit>

#include "kernels/instantiate.h"
#include "kernels/row_sums.h"

namespace panvae {

namespace {

// Where a pass reads: the caller's list at first, then what the pass before it wrote.
struct Entries {
  const int64_t* rows;  // or null
  const RowEntry* entries;
  int64_t limit;

  __host__ __device__ RowEntry operator[](int64_t i) const {
    if (!rows) return entries[i];
    const int64_t row = rows[i];
    return {row >= 0 && row < limit ? row : limit, i};
  }
};

// The parts of `memory`.
struct Memory {
  RowEntry *a, *b;
  int64_t* counts;  // [digits][tiles], and [digits] behind them

  Memory(void* memory, int64_t count) {
    a = static_cast<RowEntry*>(memory);
    b = a + count;
    counts = reinterpret_cast<int64_t*>(b + count);
  }
};

// Bits of the numbers up to and including `limit`, which stands for rows outside.
inline int bits_for(int64_t limit) {
  return limit == 0 ? 1 : std::bit_width(static_cast<uint64_t>(limit));
}

}  // namespace

namespace cpu {

template <class I>
const RowEntry* sort_rows(Stream&, In<I> rows, int64_t count, int64_t limit, void* memory) {
  constexpr int64_t kTile = 16384;
  constexpr int kMostBits = 11, kMostDigits = 1 << kMostBits;
  const int bits = bits_for(limit), passes = (bits + kMostBits - 1) / kMostBits, digit_bits = (bits + passes - 1) / passes;
  const int64_t tiles = (count + kTile - 1) / kTile, digits = int64_t{1} << digit_bits;
  const Memory m(memory, count);
  Entries from{rows, nullptr, limit};
  RowEntry* to = m.a;
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = pass * digit_bits;
    parallel_chunks(count, kTile, [=](int64_t begin, int64_t end) {
      int64_t n[kMostDigits] = {};
      for (int64_t i = begin; i < end; ++i) ++n[from[i].row >> shift & (digits - 1)];
      for (int64_t d = 0; d < digits; ++d) m.counts[d * tiles + begin / kTile] = n[d];
    });
    int64_t before = 0;
    for (int64_t i = 0; i < digits * tiles; ++i) {
      const int64_t n = m.counts[i];
      m.counts[i] = before;
      before += n;
    }
    parallel_chunks(count, kTile, [=](int64_t begin, int64_t end) {
      int64_t next[kMostDigits];
      for (int64_t d = 0; d < digits; ++d) next[d] = m.counts[d * tiles + begin / kTile];
      for (int64_t i = begin; i < end; ++i) {
        const RowEntry e = from[i];
        to[next[e.row >> shift & (digits - 1)]++] = e;
      }
    });
    from = {nullptr, to, limit};
    to = to == m.a ? m.b : m.a;
  }
  return from.entries;
}

}  // namespace cpu

namespace PV_EXEC {

constexpr int kSortBlock = 512;
constexpr int64_t kTile = 2048;
constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits;

__device__ inline int digit_of(const RowEntry& e, int shift) {
  return static_cast<int>(e.row >> shift & (kDigits - 1));
}

// The warp's part of a tile [first, last): the same number of whole rounds of 32 for each warp, but for the last.
struct Part {
  int64_t begin, end;
};
__device__ inline Part part_of_warp(int64_t first, int64_t last) {
  const int64_t warps = blockDim.x / kWarp, rounds = (last - first + warps * kWarp - 1) / (warps * kWarp);
  const int64_t begin = first + threadIdx.x / kWarp * rounds * kWarp, end = begin + rounds * kWarp;
  return {begin < last ? begin : last, end < last ? end : last};
}

// counts [warps][kDigits] of the tile's entries; ends with a barrier.
__device__ inline void count_tile(Entries from, int64_t first, int64_t last, int shift, unsigned* counts) {
  const int warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int i = threadIdx.x; i < warps * kDigits; i += blockDim.x) counts[i] = 0;
  __syncthreads();
  const Part part = part_of_warp(first, last);
  for (int64_t i = part.begin + lane; i < part.end; i += kWarp) atomicAdd(&counts[warp * kDigits + digit_of(from[i], shift)], 1u);
  __syncthreads();
}

// base[d] becomes the number of entries with a digit below d, of totals[d] entries with digit d; for the first warp.
__device__ inline void sum_smaller(const int64_t* totals, int64_t* base) {
  constexpr int kEach = kDigits / kWarp;
  const int lane = threadIdx.x;
  int64_t mine = 0;
  for (int d = lane * kEach; d < (lane + 1) * kEach; ++d) mine += totals[d];
  int64_t before = mine;
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const int64_t other = __shfl_up_sync(kFullMask, before, offset);
    if (lane >= offset) before += other;
  }
  before -= mine;
  for (int d = lane * kEach; d < (lane + 1) * kEach; ++d) {
    base[d] = before;
    before += totals[d];
  }
}

// Moves the tile's entries to their positions. counts [warps][kDigits] become the entries of the same digit in the warps
// before; base[d] is where the tile's entries with digit d begin.
__device__ inline void scatter_tile(Entries from, int64_t first, int64_t last, int shift, unsigned* counts, const int64_t* base, RowEntry* to) {
  const int warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp;
  for (int d = threadIdx.x; d < kDigits; d += blockDim.x) {
    unsigned before = 0;
    for (int w = 0; w < warps; ++w) {
      const unsigned n = counts[w * kDigits + d];
      counts[w * kDigits + d] = before;
      before += n;
    }
  }
  __syncthreads();
  unsigned* mine = counts + threadIdx.x / kWarp * kDigits;
  const Part part = part_of_warp(first, last);
  for (int64_t round = part.begin; round < part.end; round += kWarp) {
    const int64_t i = round + lane;
    const bool there = i < part.end;
    const RowEntry e = there ? from[i] : RowEntry{0, 0};
    const int digit = digit_of(e, shift);
    unsigned peers = __ballot_sync(kFullMask, there);
    for (int bit = 0; bit < kDigitBits; ++bit) {
      const bool set = digit >> bit & 1;
      const unsigned with = __ballot_sync(kFullMask, set);
      peers &= set ? with : ~with;
    }
    const int rank = __popc(peers & ((1u << lane) - 1));
    if (there) to[base[digit] + mine[digit] + rank] = e;
    __syncwarp();
    if (there && rank == 0) mine[digit] += __popc(peers);
    __syncwarp();
  }
}

// All passes over up to kTile entries.
__global__ void sort_tile_kernel(Entries from, int64_t count, int passes, RowEntry* a, RowEntry* b) {
  begin_kernel();
  DYN_SHARED(unsigned, counts);
  SHARED(int64_t, totals, kDigits);
  SHARED(int64_t, base, kDigits);
  const int warps = blockDim.x / kWarp;
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = pass * kDigitBits;
    count_tile(from, 0, count, shift, counts);
    for (int d = threadIdx.x; d < kDigits; d += blockDim.x) {
      int64_t n = 0;
      for (int w = 0; w < warps; ++w) n += counts[w * kDigits + d];
      totals[d] = n;
    }
    __syncthreads();
    if (threadIdx.x < kWarp) sum_smaller(totals, base);
    __syncthreads();
    RowEntry* to = pass % 2 ? b : a;
    scatter_tile(from, 0, count, shift, counts, base, to);
    from.rows = nullptr;
    from.entries = to;
    __syncthreads();
  }
}

// counts [kDigits][tiles]; a block a tile
__global__ void count_tiles_kernel(Entries from, int64_t count, int shift, int64_t* counts) {
  begin_kernel();
  DYN_SHARED(unsigned, of_warp);
  const int warps = blockDim.x / kWarp;
  const int64_t first = blockIdx.x * kTile, last = first + kTile < count ? first + kTile : count;
  count_tile(from, first, last, shift, of_warp);
  for (int d = threadIdx.x; d < kDigits; d += blockDim.x) {
    int64_t n = 0;
    for (int w = 0; w < warps; ++w) n += of_warp[w * kDigits + d];
    counts[d * int64_t(gridDim.x) + blockIdx.x] = n;
  }
}

// Each count becomes the sum of the counts of the tiles before; totals[d] their sum. A warp takes digits in turn, and kEach tiles a
// lane at once: what it waits for is mostly memory.
__global__ void scan_tiles_kernel(int64_t* counts, int64_t* totals, int64_t tiles) {
  begin_kernel();
  constexpr int kEach = 4;
  const int lane = threadIdx.x % kWarp, warps = static_cast<int>(gridDim.x * blockDim.x) / kWarp;
  for (int digit = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) / kWarp; digit < kDigits; digit += warps) {
    int64_t before = 0;
    for (int64_t round = 0; round < tiles; round += kWarp * kEach) {
      const int64_t tile = round + lane * kEach;
      int64_t* place = counts + digit * tiles + tile;
      int64_t n[kEach], mine = 0;
#pragma unroll
      for (int k = 0; k < kEach; ++k) n[k] = tile + k < tiles ? place[k] : 0;
#pragma unroll
      for (int k = 0; k < kEach; ++k) mine += n[k];
      int64_t sum = mine;
      for (int offset = 1; offset < kWarp; offset *= 2) {
        const int64_t other = __shfl_up_sync(kFullMask, sum, offset);
        if (lane >= offset) sum += other;
      }
      int64_t earlier = before + sum - mine;
#pragma unroll
      for (int k = 0; k < kEach; ++k) {
        if (tile + k < tiles) place[k] = earlier;
        earlier += n[k];
      }
      before += __shfl_sync(kFullMask, sum, kWarp - 1);
    }
    if (lane == 0) totals[digit] = before;
  }
}

__global__ void scatter_tiles_kernel(Entries from, int64_t count, int shift, const int64_t* counts, const int64_t* totals, RowEntry* to) {
  begin_kernel();
  DYN_SHARED(unsigned, of_warp);
  SHARED(int64_t, base, kDigits);
  const int64_t first = blockIdx.x * kTile, last = first + kTile < count ? first + kTile : count;
  count_tile(from, first, last, shift, of_warp);
  if (threadIdx.x < kWarp) sum_smaller(totals, base);
  __syncthreads();
  for (int d = threadIdx.x; d < kDigits; d += blockDim.x) base[d] += counts[d * int64_t(gridDim.x) + blockIdx.x];
  scatter_tile(from, first, last, shift, of_warp, base, to);  // its first barrier also stands before the use of base
}

template <class I>
const RowEntry* sort_rows(Stream& stream, In<I> rows, int64_t count, int64_t limit, void* memory) {
  const int64_t tiles = (count + kTile - 1) / kTile;
  const Memory m(memory, count);
  int64_t* totals = m.counts + kDigits * tiles;
  constexpr size_t kCounts = kSortBlock / kWarp * kDigits * sizeof(unsigned);
  const int passes = (bits_for(limit) + kDigitBits - 1) / kDigitBits;
  Entries from{rows, nullptr, limit};
  if (tiles <= 1) {
    launch(stream, static_cast<unsigned>(tiles), kSortBlock, kCounts, sort_tile_kernel, from, count, passes, m.a, m.b);
    return passes % 2 ? m.a : m.b;
  }
  RowEntry* to = m.a;
  for (int pass = 0; pass < passes; ++pass) {
    const int shift = pass * kDigitBits;
    launch(stream, grid_for(tiles, 1), kSortBlock, kCounts, count_tiles_kernel, from, count, shift, m.counts);
    launch(stream, kDigits * kWarp / kBlock, kBlock, 0, scan_tiles_kernel, m.counts, totals, tiles);  // a warp a digit
    launch(stream, grid_for(tiles, 1), kSortBlock, kCounts, scatter_tiles_kernel, from, count, shift, static_cast<const int64_t*>(m.counts),
           static_cast<const int64_t*>(totals), to);
    from = {nullptr, to, limit};
    to = to == m.a ? m.b : m.a;
  }
  return from.entries;
}

}  // namespace PV_EXEC

PV_INSTANTIATE_FOR(sort_rows, int64_t)

}  // namespace panvae
