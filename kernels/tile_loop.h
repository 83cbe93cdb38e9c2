// The inner loops of tiled products (kernels/tile.h): what a block does with a stage in shared memory, in three math modes.
// Which thread keeps which elements of the tile is the loop's business: it shows them by each(f).
//
// A loop is given views of the two operands, so that it does not matter how they were brought there, and `left`, the k that
// the range still has. k is multiplied in whole steps; a step that lies beyond the range is left out, so that loops of longer
// and shorter stages add the same numbers in the same order, to the bit.
#pragma once
#include <cmath>

#include "kernels/device_math.h"

namespace panvae::PV_EXEC {

// ieee: thread (tx, ty) keeps TM x TN elements in groups of four rows and four columns, BM / groups apart, so that a
// warp's reads of a shared row are 16-byte wide and free of bank conflicts. A view: row(k), the elements at k side by side.
template <class T, int BM_, int BN_, int TM, int TN>
struct IeeeLoop {
  static constexpr int BM = BM_, BN = BN_, threads = (BM / TM) * (BN / TN), step = 8;
  static constexpr int row_groups = TM / 4, column_groups = TN / 4;
  T acc[TM][TN] = {};

  // (i, j) of a thread's accumulators -> (row, column) of the tile
  __host__ __device__ static constexpr int row_of(unsigned thread, int i) {
    return i / 4 * (BM / row_groups) + static_cast<int>(thread / (BN / TN) * 4) + i % 4;
  }
  __host__ __device__ static constexpr int column_of(unsigned thread, int j) {
    return j / 4 * (BN / column_groups) + static_cast<int>(thread % (BN / TN) * 4) + j % 4;
  }

  template <int BK, class A, class B>
  __device__ void multiply(const A& a, const B& b, int64_t left) {
    const unsigned thread = threadIdx.x;
#pragma unroll
    for (int k0 = 0; k0 < BK; k0 += step) {
      if (k0 > 0 && k0 >= left) break;
#pragma unroll
      for (int k = k0; k < k0 + step; ++k) {
        T x[TM], y[TN];
#pragma unroll
        for (int i = 0; i < TM; ++i) x[i] = a.row(k)[row_of(thread, i)];
#pragma unroll
        for (int j = 0; j < TN; ++j) y[j] = b.row(k)[column_of(thread, j)];
#pragma unroll
        for (int i = 0; i < TM; ++i)
#pragma unroll
          for (int j = 0; j < TN; ++j) acc[i][j] = std::fma(x[i], y[j], acc[i][j]);  // by name: a compiler may contract one loop and not another
      }
    }
  }
  template <class F>
  __device__ void each(F f) const {
    const unsigned thread = threadIdx.x;
#pragma unroll
    for (int i = 0; i < TM; ++i)
#pragma unroll
      for (int j = 0; j < TN; ++j) f(row_of(thread, i), column_of(thread, j), acc[i][j]);
  }
};

// tf32 and bf16: WARPS_M x WARPS_N warps, each with a tile of fragments of 16 x 8. A view: word(row, w), the operand of the
// instruction: k = w rounded to tf32, or the pair of k = 2 w and 2 w + 1 in bf16. A fragment reads the same words (row g or
// g + 8, word t or t + 4) in both, which is how the two instructions lay out their operands (PTX ISA, mma.m16n8k8 and
// mma.m16n8k16; namespace fragment).
template <MathMode mode_, int BM_, int BN_, int WARPS_M, int WARPS_N>
struct MmaLoop {
  static constexpr MathMode mode = mode_;
  static constexpr int BM = BM_, BN = BN_, threads = WARPS_M * WARPS_N * kWarp, step = 16;
  static constexpr int pack = mode == MathMode::bf16 ? 2 : 1;
  static constexpr int warp_m = BM / WARPS_M, warp_n = BN / WARPS_N, fragments_m = warp_m / 16, fragments_n = warp_n / 8;
  static_assert(warp_m % 16 == 0 && warp_n % 8 == 0);
  float acc[fragments_m][fragments_n][4] = {};

  // Where the tile of a thread's warp begins; element e of fragment (i, j) of a thread -> (row, column) of the block's tile.
  __host__ __device__ static constexpr int warp_row(unsigned thread) { return static_cast<int>(thread / (kWarp * WARPS_N) * warp_m); }
  __host__ __device__ static constexpr int warp_column(unsigned thread) { return static_cast<int>(thread / kWarp % WARPS_N * warp_n); }
  __host__ __device__ static constexpr fragment::Place place_of(unsigned thread, int i, int j, int e) {
    const fragment::Place p = fragment::d(static_cast<int>(thread % kWarp), e);
    return {warp_row(thread) + i * 16 + p.row, warp_column(thread) + j * 8 + p.col};
  }

  template <int BK, class A, class B>
  __device__ void multiply(const A& a, const B& b, int64_t left) {
    const unsigned thread = threadIdx.x;
    const int g = static_cast<int>(thread % kWarp / 4), t = static_cast<int>(thread % 4);
#pragma unroll
    for (int k0 = 0; k0 < BK; k0 += step) {
      if (k0 > 0 && k0 >= left) break;
#pragma unroll
      for (int w = k0 / pack; w < (k0 + step) / pack; w += 8) {
        uint32_t x[fragments_m][4], y[fragments_n][2];
#pragma unroll
        for (int i = 0; i < fragments_m; ++i) {
          const int r = warp_row(thread) + i * 16 + g;
          x[i][0] = a.word(r, w + t);
          x[i][1] = a.word(r + 8, w + t);
          x[i][2] = a.word(r, w + t + 4);
          x[i][3] = a.word(r + 8, w + t + 4);
        }
#pragma unroll
        for (int j = 0; j < fragments_n; ++j) {
          const int r = warp_column(thread) + j * 8 + g;
          y[j][0] = b.word(r, w + t);
          y[j][1] = b.word(r, w + t + 4);
        }
#pragma unroll
        for (int i = 0; i < fragments_m; ++i)
#pragma unroll
          for (int j = 0; j < fragments_n; ++j) {
            if constexpr (mode == MathMode::tf32) mma_tf32(acc[i][j], x[i], y[j]);
            else mma_bf16(acc[i][j], x[i], y[j]);
          }
      }
    }
  }
  template <class F>
  __device__ void each(F f) const {
    const unsigned thread = threadIdx.x;
#pragma unroll
    for (int i = 0; i < fragments_m; ++i)
#pragma unroll
      for (int j = 0; j < fragments_n; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const fragment::Place p = place_of(thread, i, j, e);
          f(p.row, p.col, acc[i][j][e]);
        }
  }
};

}  // namespace panvae::PV_EXEC
