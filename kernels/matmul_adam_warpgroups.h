// matmul_adam of a weight's gradient, a^T b with a [K, M] and b [K, N], by warpgroups (compute capability 9.0): one block a
// multiprocessor, half of whose warps multiply while the other half updates, so that arithmetic hides behind memory.
//
//   cut        the shorter side of grad is cut into strips of 128, the longer one into as many ranges as give each multiprocessor a
//              block. A block has one strip of one range, in tiles of 128 x 64. The blocks of one range meet the same part of the longer side's
//              operand at the same time, so it comes from memory once
//   product    threads 0 to 255, two warpgroups. Of the operand of the shorter side [128, K] is brought to shared memory once and stays. Of the
//              other, the moving one, come 64 rows and two chunks of k at a time, by way of registers: both lie with k outermost, products by
//              warpgroups want it innermost, and rounding to nearest is not theirs. Each warpgroup has 64 x 64 of a tile
//   update     threads 256 to 511 take a finished tile from shared memory and update p, m and v, the quads that follow being under way
//
// One tile is updated while the next is computed; barriers of half of the block keep each half in step, two of the whole pass tiles on.
// Shared memory is kept small, since what is left of it is the cache through which the update's numbers come.
// Sums are over k in order, and depend on nothing but sizes. (Tiles handed out by a counter, to blocks as they get on, are no faster on a H100.)
#pragma once
#include "kernels/adam_update.h"
#include "kernels/block_sums.h"
#include "kernels/last_block.h"
#include "kernels/tile.h"

namespace panvae::PV_EXEC {

namespace warpgroups {

inline constexpr int kFixed = 128, kMoving = 64;         // rows of the operands in a tile
inline constexpr int kHalf = 256, kThreads = 2 * kHalf;  // threads that multiply, and all
inline constexpr int kChunkBytes = kFixed * kWarpgroupRowBytes, kStageBytes = 2 * kMoving * kWarpgroupRowBytes;
inline constexpr int kMostChunks = 8;
inline constexpr int kTileNumbers = kFixed * kMoving;
inline constexpr int kUnit = 32;  // ranges of the longer side are multiples of it: of whole lines of memory
enum Barrier { multiplying = 1, tile_ready = 2, tile_taken = 3 };

template <MathMode mode>
constexpr int chunk_numbers() {
  return mode == MathMode::tf32 ? 32 : 64;
}
template <MathMode mode>
constexpr int64_t most_k() {
  return kMostChunks * chunk_numbers<mode>();
}

// Chunks of K, in pairs.
template <MathMode mode>
__host__ __device__ constexpr int pairs_of(int64_t K) {
  return static_cast<int>((K + 2 * chunk_numbers<mode>() - 1) / (2 * chunk_numbers<mode>()));
}
template <MathMode mode>
size_t shared_bytes(int64_t K) {
  return static_cast<size_t>(kWarpgroupAlignment + 2 * pairs_of<mode>(K) * kChunkBytes + 2 * kStageBytes) + kTileNumbers * sizeof(float);
}

struct Cut {
  int strips, ranges;  // of the shorter side, of the longer one
};
inline Cut cut(int64_t M, int64_t N) {
  const int64_t strips = (std::min(M, N) + kFixed - 1) / kFixed, tiles = (std::max(M, N) + kMoving - 1) / kMoving;
  return {static_cast<int>(strips), static_cast<int>(std::clamp<int64_t>(kFewBlocks / strips, 1, tiles))};
}

// Four rows by kDepth k of an operand that is stored [K, rows], as it passes through a thread's registers.
template <MathMode mode>
struct Piece {
  static constexpr int kDepth = mode == MathMode::tf32 ? 4 : 8;  // numbers of 16 bytes in shared memory
  Four<float> x[kDepth];

  // from: row and k of the first; zeros where there is nothing.
  __device__ void load(const float* from, int64_t stride, bool rows_there, int64_t k_left) {
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
      x[i] = rows_there && i < k_left ? load_four(from) : Four<float>{};
      from = opaque(from + stride);
    }
  }
  __device__ void store(unsigned char* chunk, int row0, int sixteen) const {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      Four<uint32_t> words;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if constexpr (mode == MathMode::tf32) words.v[i] = to_tf32(x[i].v[j]);
        else words.v[i] = pack_bf16(x[2 * i].v[j], x[2 * i + 1].v[j]);
      }
      const int row = row0 + j;
      store_four(reinterpret_cast<uint32_t*>(chunk + row * kWarpgroupRowBytes + warpgroup_chunk(row, sixteen) * 16), words);
    }
  }
};

// Which rows and k a thread brings: a warp has 8 pieces side by side by 4 deep, a quarter of it 2 by 4, which is whole sectors of memory read and
// 32 banks written.
__device__ inline int piece_row(int thread) {
  return (thread % kWarp / 8 * 2 + thread % 2) * 4;
}
__device__ inline int piece_depth(int thread) {
  return thread % 8 / 2;
}

// Where a number of a tile of grad lies: [rows, columns], the quads of four rows in different banks.
template <int kColumns>
__device__ inline int place_in_tile(int row, int column) {
  return row * kColumns + ((column / 4) ^ (row % 4 * 2)) * 4 + column % 4;
}

struct Weight {
  float *p, *m, *v;  // [M, N]
  int M, N, K;
};

// The part of grad that a block has. kTall: the longer side is M.
template <bool kTall>
struct Share {
  int strip0, begin, end, tiles;
  __device__ Share(const Weight& w, const Cut& cut) {
    const int length = kTall ? w.M : w.N, units = (length + kUnit - 1) / kUnit, range = static_cast<int>(blockIdx.x) / cut.strips;
    strip0 = static_cast<int>(blockIdx.x) % cut.strips * kFixed;
    begin = static_cast<int>(int64_t{units} * range / cut.ranges) * kUnit;
    end = min(length, static_cast<int>(int64_t{units} * (range + 1) / cut.ranges) * kUnit);
    tiles = (end - begin + kMoving - 1) / kMoving;
  }
  __device__ int row0(int tile) const { return kTall ? begin + tile * kMoving : strip0; }
  __device__ int column0(int tile) const { return kTall ? strip0 : begin + tile * kMoving; }
};

template <MathMode mode, bool kTall>
__device__ void multiply(const float* a, const float* b, const Weight& w, const Share<kTall>& share, unsigned char* resident, unsigned char* stages,
                         float* grads) {
  constexpr int kNumbers = chunk_numbers<mode>(), kDepth = Piece<mode>::kDepth, kColumns = kTall ? kFixed : kMoving;
  const float *const fixed = kTall ? b : a, *const moving = kTall ? a : b;
  const int fixed_rows = kTall ? w.N : w.M, moving_rows = kTall ? w.M : w.N;
  const int thread = static_cast<int>(threadIdx.x), group = thread / 128, pairs = pairs_of<mode>(w.K);
  {
    // 32 x 8 pieces a chunk; in tf32 four chunks under way, in bf16 one, whose pieces take twice the registers.
    const int row = thread / kWarp % 4 * 32 + piece_row(thread), sixteen = thread / 128 * 4 + piece_depth(thread);
    constexpr int kUnderWay = mode == MathMode::tf32 ? 4 : 1;
#pragma unroll 1
    for (int c0 = 0; c0 < 2 * pairs; c0 += kUnderWay) {
      Piece<mode> pieces[kUnderWay];
#pragma unroll
      for (int c = 0; c < kUnderWay; ++c) {
        const int k = (c0 + c) * kNumbers + sixteen * kDepth;
        pieces[c].load(fixed + int64_t{k} * fixed_rows + share.strip0 + row, fixed_rows, share.strip0 + row < fixed_rows, w.K - k);
      }
#pragma unroll
      for (int c = 0; c < kUnderWay; ++c)
        if (c0 + c < 2 * pairs) pieces[c].store(resident + (c0 + c) * kChunkBytes, row, sixteen);
    }
  }
  // 16 x 8 pieces a chunk.
  const int row = thread / kWarp % 2 * 32 + piece_row(thread), depth = thread / 64 * 4 + piece_depth(thread);
  Piece<mode> held;
  int next_tile = 0, next_pair = 0;
  auto load = [&] {
    const int k = next_pair * 2 * kNumbers + depth * kDepth, at = share.begin + next_tile * kMoving + row;
    held.load(moving + int64_t{k} * moving_rows + at, moving_rows, next_tile < share.tiles && at < moving_rows, w.K - k);
    if (++next_pair == pairs) next_pair = 0, ++next_tile;
  };
  load();
  int side = 0;
#pragma unroll 1
  for (int tile = 0; tile < share.tiles; ++tile) {
    float sums[32];
#pragma unroll
    for (float& s : sums) s = 0;
#pragma unroll 1
    for (int pair = 0; pair < pairs; ++pair, side ^= 1) {
      unsigned char* const stage = stages + side * kStageBytes;
      held.store(stage + depth / 8 * (kStageBytes / 2), row, depth % 8);
      load();
      fence_shared();
      // Behind the barrier the stage is there for all, and none multiplies the one before, whose place is free.
      warpgroup_wait();
      barrier_sync(multiplying, kHalf);
      warpgroup_fence();
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const unsigned char* const of_fixed = resident + (2 * pair + half) * kChunkBytes + group * (kChunkBytes / 2);
        const unsigned char* const of_moving = stage + half * (kStageBytes / 2);
#pragma unroll
        for (int part = 0; part < 4; ++part) warpgroup_mma<mode>(sums, kTall ? of_moving : of_fixed, kTall ? of_fixed : of_moving, part);
      }
      warpgroup_commit();
    }
    warpgroup_wait();
    if (tile > 0) barrier_sync(tile_taken, kThreads);
#pragma unroll
    for (int i = 0; i < 32; i += 2) {  // two neighbours of a row
      const fragment::Place at = fragment::warpgroup(thread % 128, i);
      const int tile_row = at.row + (kTall ? 0 : group * 64), tile_column = at.col + (kTall ? group * 64 : 0);
      *reinterpret_cast<float2*>(grads + place_in_tile<kColumns>(tile_row, tile_column)) = make_float2(sums[i], sums[i + 1]);
    }
    barrier_arrive(tile_ready, kThreads);
  }
}

// Returns the thread's sum of squares of grad.
template <bool kTall>
__device__ double update_tiles(const Weight& w, const Share<kTall>& share, const AdamUpdate<float>& update, const float* grads) {
  constexpr int kColumns = kTall ? kFixed : kMoving, kRowsOfWarp = kWarp * 4 / kColumns;  // a warp's quads are these rows
  constexpr int kQuads = 2, kRows = kQuads * kRowsOfWarp, kStep = kHalf / kWarp * kRows, kRounds = kTileNumbers / kColumns / (2 * kStep);
  static_assert(kRounds * 2 * kStep * kColumns == kTileNumbers);
  struct Quad {
    Four<float> p, m, v;
  };
  const int thread = static_cast<int>(threadIdx.x) - kHalf, lane = thread % kWarp;
  const int first_row = thread / kWarp * kRows + lane / (kWarp / kRowsOfWarp), column = lane % (kWarp / kRowsOfWarp) * 4;
  const int64_t N = w.N, next_quad = kRowsOfWarp * N;
  double sum = 0;
  Quad even[kQuads], odd[kQuads];
  // `left` rows from the one at `at` on are of this block's part.
  auto begin = [&](int tile, int64_t& at, int& left) {
    const int row = share.row0(tile) + first_row, in_row = share.column0(tile) + column;
    at = row * N + in_row;
    left = tile < share.tiles && in_row < (kTall ? w.N : share.end) ? (kTall ? share.end : w.M) - row : 0;
  };
  auto load = [&](Quad(&to)[kQuads], int64_t at, int left) {
#pragma unroll
    for (int i = 0; i < kQuads; ++i)
      if (i * kRowsOfWarp < left) to[i] = {load_four(w.p + at + i * next_quad), load_four(w.m + at + i * next_quad), load_four(w.v + at + i * next_quad)};
  };
  auto take = [&](Quad(&quads)[kQuads], int64_t at, int left, int row) {
#pragma unroll
    for (int i = 0; i < kQuads; ++i) {
      if (i * kRowsOfWarp >= left) continue;
      const Four<float> grad = load_four(grads + place_in_tile<kColumns>(row + i * kRowsOfWarp, column));
      Quad& q = quads[i];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        sum += static_cast<double>(grad.v[e]) * static_cast<double>(grad.v[e]);
        update(q.p.v[e], grad.v[e], q.m.v[e], q.v.v[e]);
      }
      store_four(w.p + at + i * next_quad, q.p);
      store_four(w.m + at + i * next_quad, q.m);
      store_four(w.v + at + i * next_quad, q.v);
    }
  };
  int64_t at;
  int left;
  begin(0, at, left);
  load(even, at, left);
#pragma unroll 1
  for (int tile = 0; tile < share.tiles; ++tile) {
    barrier_sync(tile_ready, kThreads);
    int row = first_row;
#pragma unroll 1
    for (int round = 0; round < kRounds; ++round) {
      const int64_t at_odd = at + kStep * N;
      const int left_odd = left - kStep, row_odd = row + kStep;
      load(odd, at_odd, left_odd);
      take(even, at, left, row);
      if (round + 1 < kRounds) at = at_odd + kStep * N, left = left_odd - kStep, row = row_odd + kStep;
      else begin(tile + 1, at, left);  // its numbers are under way while its gradient may still be computed
      load(even, at, left);
      take(odd, at_odd, left_odd, row_odd);
    }
    if (tile + 1 < share.tiles) barrier_arrive(tile_taken, kThreads);
  }
  return sum;
}

// One block a multiprocessor.
template <MathMode mode, bool kTall>
__global__ void __launch_bounds__(kThreads, 1)
    matmul_adam_kernel(const float* a, const float* b, Weight weight, Cut cut, double* slots, AdamOptions options, double* squares, unsigned* arrivals) {
  begin_kernel();
  if constexpr (kWarpgroupCode) {
    if (slots[adam_gradient_scale] == 0) return;  // the step is skipped
    DYN_SHARED(unsigned char, shared);
    unsigned char* const resident = shared + (kWarpgroupAlignment - reinterpret_cast<uintptr_t>(shared) % kWarpgroupAlignment) % kWarpgroupAlignment;
    unsigned char* const stages = resident + 2 * pairs_of<mode>(weight.K) * kChunkBytes;
    float* const grads = reinterpret_cast<float*>(stages + 2 * kStageBytes);
    const Share<kTall> share(weight, cut);
    double sum = 0;
    if (threadIdx.x < kHalf) multiply<mode>(a, b, weight, share, resident, stages, grads);
    else sum = update_tiles(weight, share, AdamUpdate<float>(slots, options), grads);
    sum = block_sum(sum);
    if (threadIdx.x == 0) squares[blockIdx.x] = sum;
    if (!last_block(arrivals)) return;
    const double total = block_sum(sum_ahead<double>(squares, threadIdx.x, gridDim.x, blockDim.x));  // in an order that sizes fix
    if (threadIdx.x == 0) slots[adam_norm] = joined_norm(slots[adam_norm], total);
  }
}

}  // namespace warpgroups

// Whether factors of such sizes are taken, addresses that are multiples of 16 given; in math mode ieee none is.
inline bool warpgroups_take(int device, MathMode mode, bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K) {
  const int64_t most_k = mode == MathMode::tf32 ? warpgroups::most_k<MathMode::tf32>() : mode == MathMode::bf16 ? warpgroups::most_k<MathMode::bf16>() : 0;
  return transpose_a && !transpose_b && K > 0 && K <= most_k && std::max(M, N) <= kMostAddressed && M % 4 == 0 && N % 4 == 0 && warpgroups_multiply(device);
}

template <MathMode mode>
void matmul_adam_by_warpgroups(Stream& stream, const float* a, const float* b, float* p, float* m, float* v, int64_t M, int64_t N, int64_t K, double* slots,
                               AdamOptions options) {
  using namespace warpgroups;
  const Cut c = cut(M, N);
  const int blocks = c.strips * c.ranges;
  double* squares = stream.scratch<double>(blocks);
  const auto run = [&](auto kernel) {
    launch(stream, static_cast<unsigned>(blocks), kThreads, shared_bytes<mode>(K), kernel, a, b,
           Weight{p, m, v, static_cast<int>(M), static_cast<int>(N), static_cast<int>(K)}, c, slots, options, squares, arrivals_of(stream));
  };
  if (M > N) run(matmul_adam_kernel<mode, true>);
  else run(matmul_adam_kernel<mode, false>);
}

}  // namespace panvae::PV_EXEC
