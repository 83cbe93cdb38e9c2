// A main loop of tiled products (kernels/tile.h) by warpgroups, compute capability 9.0 alone: BM x BN of c, 64 rows a warpgroup.
//
//   operands   matrices in f32. A stage is 32 of k: each thread loads its pieces of both operands while the stage before is multiplied,
//              rounds them (to nearest, which products by warpgroups would not), and stores them to one of two places in shared memory,
//              rows of 128 bytes with k innermost. As bf16 half of each row stays empty: then both modes move alike
//   pieces     16 bytes in shared memory, 4 numbers of tf32 or 8 of bf16, of one row. Where an operand has k innermost, neighbouring lanes
//              have a row's pieces, loaded 16 bytes at a time; else neighbouring rows, one number of each k at a time
//   barrier    one a stage: behind it the stage is there for all, and the products before it have ended, whose place is next
// Sums are over k in order, and depend on nothing but sizes. They are not those of the other loops to the last bit.
#pragma once
#include "kernels/tile_operand.h"

namespace panvae::PV_EXEC {

inline constexpr int kWarpgroupStep = 32, kWarpgroupThreads = 128;
inline constexpr int kWarpgroupRowBytes = 128, kWarpgroupAlignment = 1024;  // of operands in shared memory (kernels/language.h)

template <MathMode mode_, int BM_, int BN_>
struct WarpgroupLoop {
  static constexpr MathMode mode = mode_;
  static constexpr int BM = BM_, BN = BN_, threads = BM / 64 * kWarpgroupThreads, quads = BN / 8;
  float acc[BN / 2] = {};

  // Of eight columns a thread has two in each of two rows, its neighbour the two beside them: of such a pair the first takes the upper
  // row of four, the second the lower one.
  __host__ __device__ static constexpr fragment::Place place_of(unsigned thread, int q) {
    const fragment::Place mine = fragment::warpgroup(static_cast<int>(thread % kWarpgroupThreads), 4 * q + static_cast<int>(thread % 2) * 2);
    return {static_cast<int>(thread / kWarpgroupThreads) * 64 + mine.row, mine.col / 4 * 4};
  }
  __device__ void quad(int q, float (&sums)[4]) const {
    const bool lower = threadIdx.x % 2;
    const float *const two = acc + 4 * q, mine[2] = {lower ? two[2] : two[0], lower ? two[3] : two[1]};
    float theirs[2] = {lower ? two[0] : two[2], lower ? two[1] : two[3]};
    for (float& x : theirs) x = __shfl_xor_sync(kFullMask, x, 1);
#pragma unroll
    for (int e = 0; e < 2; ++e) sums[e] = lower ? theirs[e] : mine[e], sums[2 + e] = lower ? mine[e] : theirs[e];
  }
};

// A thread's pieces of a stage of an operand, as they pass through its registers.
template <MathMode mode, int ROWS, int THREADS, bool kContiguous>
struct WarpgroupPieces {
  static constexpr int kNumbers = mode == MathMode::tf32 ? 4 : 8, kDeep = kWarpgroupStep / kNumbers, kPieces = ROWS * kDeep / THREADS;
  static constexpr int kRowsOn = kContiguous ? THREADS / kDeep : 0, kDeepOn = kContiguous ? 0 : THREADS / ROWS;  // from piece to piece
  static_assert(kPieces * THREADS == ROWS * kDeep && THREADS % kDeep == 0 && (kContiguous || THREADS % ROWS == 0));
  float x[kPieces][kNumbers];

  // The first piece. Eight lanes store at a time: as tf32 all pieces of a row, as bf16 those of two rows that are four apart, else
  // eight neighbouring rows; always 32 banks.
  __host__ __device__ static constexpr int row(int thread) {
    if (!kContiguous) return thread % ROWS;
    const int r = thread / kDeep;
    return mode == MathMode::tf32 ? r : (r & ~7) | (r & 1) << 2 | (r >> 1 & 3);
  }
  __host__ __device__ static constexpr int depth(int thread) { return thread / (kContiguous ? 1 : ROWS) % kDeep; }

  // Where piece i goes, in bytes.
  __host__ __device__ static constexpr unsigned place(int thread, int i) {
    const auto r = static_cast<unsigned>(row(thread) + i * kRowsOn), c = static_cast<unsigned>(depth(thread) + i * kDeepOn);
    return r * kWarpgroupRowBytes + warpgroup_chunk(r, c) * 16;
  }

  // The next stage, from k0 on. Most lie within the matrix; at its edges each number is looked at, and what is not there is 0.
  template <class Operand>
  __device__ void load(const Operand& m, bool wide, int row0, int rows, int k0, int k_end) {
    const int64_t stride = m.stride;
    const int thread = static_cast<int>(threadIdx.x), first = row0 + row(thread), k = k0 + depth(thread) * kNumbers;
    const float* from = m.data + (kContiguous ? first * stride + k : k * stride + first);
    const int64_t on = kContiguous ? kRowsOn * stride : kDeepOn * kNumbers * stride;
    if (row0 + ROWS <= rows && k0 + kWarpgroupStep <= k_end && (wide || !kContiguous)) {
#pragma unroll
      for (int i = 0; i < kPieces; ++i, from += on) {
        if constexpr (kContiguous) {
#pragma unroll
          for (int j = 0; j < kNumbers; j += 4) {
            const Four<float> four = load_four(from + j);
#pragma unroll
            for (int e = 0; e < 4; ++e) x[i][j + e] = four.v[e];
          }
        } else {
#pragma unroll
          for (int j = 0; j < kNumbers; ++j) x[i][j] = from[j * stride];
        }
      }
    } else {
#pragma unroll
      for (int i = 0; i < kPieces; ++i, from = opaque(from + on)) {
        const int left = first + i * kRowsOn < rows ? k_end - (k + i * kDeepOn * kNumbers) : 0;
#pragma unroll
        for (int j = 0; j < kNumbers; ++j) x[i][j] = j < left ? from[j * (kContiguous ? 1 : stride)] : 0.0f;
      }
    }
  }
  __device__ void store(unsigned char* stage) const {
    const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      Four<uint32_t> words;
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        if constexpr (mode == MathMode::tf32) words.v[w] = tf32_of_product(x[i][w]);
        else words.v[w] = pack_bf16(x[i][2 * w], x[i][2 * w + 1]);
      }
      store_four(reinterpret_cast<uint32_t*>(stage + place(thread, i)), words);
    }
  }
};

template <class InnerLoop, bool kContiguousA, bool kContiguousB>
struct WarpgroupMain {
  using Loop = InnerLoop;
  static constexpr bool has_code = kWarpgroupCode;
  static constexpr int blocks = Loop::BM == 128 ? 2 : 1, kBytesA = Loop::BM * kWarpgroupRowBytes, kStageBytes = kBytesA + Loop::BN * kWarpgroupRowBytes;
  static constexpr size_t shared_bytes = kWarpgroupAlignment + 2 * kStageBytes;

  template <class A, class B>
  __device__ static void run(Loop& loop, const A& a, const B& b, const TileRange& r) {
    constexpr int kParts = Loop::mode == MathMode::tf32 ? 4 : 2;
    DYN_SHARED(unsigned char, shared);
    unsigned char* const stages = shared + (kWarpgroupAlignment - reinterpret_cast<uintptr_t>(shared) % kWarpgroupAlignment) % kWarpgroupAlignment;
    const int group = static_cast<int>(threadIdx.x) / kWarpgroupThreads;
    const bool wide_a = a.wide(), wide_b = b.wide();
    WarpgroupPieces<Loop::mode, Loop::BM, Loop::threads, kContiguousA> of_a;
    WarpgroupPieces<Loop::mode, Loop::BN, Loop::threads, kContiguousB> of_b;
    const int row0 = static_cast<int>(r.row0), rows = static_cast<int>(r.rows), column0 = static_cast<int>(r.column0), columns = static_cast<int>(r.columns);
    const int k_end = static_cast<int>(r.k_end);
    auto load = [&](int k0) {
      of_a.load(a, wide_a, row0, rows, k0, k_end);
      of_b.load(b, wide_b, column0, columns, k0, k_end);
    };
    load(static_cast<int>(r.k_begin));
    int side = 0;
#pragma unroll 1
    for (int k0 = static_cast<int>(r.k_begin); k0 < k_end; k0 += kWarpgroupStep, side ^= 1) {
      unsigned char *const stage_a = stages + side * kStageBytes, *const stage_b = stage_a + kBytesA;
      of_a.store(stage_a);
      of_b.store(stage_b);
      if (k0 + kWarpgroupStep < k_end) load(k0 + kWarpgroupStep);
      fence_shared();
      warpgroup_wait();
      __syncthreads();
      warpgroup_fence();
#pragma unroll
      for (int part = 0; part < kParts; ++part) warpgroup_mma<Loop::mode>(loop.acc, stage_a + group * 64 * kWarpgroupRowBytes, stage_b, part);
      warpgroup_commit();
    }
    warpgroup_wait(loop.acc);
  }
};

// Whether the code that is being compiled may be run: a main loop that names what it needs is empty where that is missing.
template <class Main>
__host__ __device__ constexpr bool has_code() {
  if constexpr (requires { Main::has_code; }) return Main::has_code;
  else return true;
}

}  // namespace panvae::PV_EXEC
