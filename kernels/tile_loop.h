// The inner loops of tiled products (kernels/tile.h): what a block does with a stage in shared memory, in three math modes.
// Which thread keeps which elements of the tile is the loop's business: it has them in quads, four neighbours of a row, and
// says where quad q of a thread begins (place_of) and what it holds (quad).
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
  static constexpr int quads = TM * column_groups;
  __host__ __device__ static constexpr fragment::Place place_of(unsigned thread, int q) {
    return {row_of(thread, q / column_groups), column_of(thread, q % column_groups * 4)};
  }
  __device__ void quad(int q, T (&sums)[4]) const {
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[e] = acc[q / column_groups][q % column_groups * 4 + e];
  }
};

// tf32 and bf16: WARPS_M x WARPS_N warps, each with a tile of fragments of 16 x 8 (PTX ISA, mma.m16n8k8 and mma.m16n8k16;
// namespace fragment). Which k and which rows of a tile are which of a fragment is free, as long as both operands and the result
// agree. So a lane (g, t) = (lane / 4, lane % 4) takes what is read 16 bytes at a time, however an operand lies: of a step of 16
// k the four from 4 t on, of a group of 32 rows the four from 4 g on. Of those four rows, row i is row g of fragment half i; of
// those four k, tf32 multiplies two at a time (as k = t and t + 4 of the instruction), bf16 all (as two pairs). In c a lane has
// eight neighbouring columns.
// A view: read(row, k, words), the operands of the instructions, of four rows and four k: words[row][k] rounded to tf32, or
// words[row][k / 2], pairs in bf16.
template <MathMode mode_, int BM_, int BN_, int WARPS_M, int WARPS_N>
struct MmaLoop {
  static constexpr MathMode mode = mode_;
  static constexpr int BM = BM_, BN = BN_, threads = WARPS_M * WARPS_N * kWarp, step = 16;
  static constexpr int words = mode == MathMode::bf16 ? 2 : 4;  // of a row in a step, a lane
  static constexpr int warp_m = BM / WARPS_M, warp_n = BN / WARPS_N, fragments_m = warp_m / 16, fragments_n = warp_n / 8;
  static constexpr int groups_m = warp_m / 32, groups_n = warp_n / 32;
  static_assert(warp_m % 32 == 0 && warp_n % 32 == 0);
  float acc[fragments_m][fragments_n][4] = {};

  // Where the tile of a thread's warp begins.
  __host__ __device__ static constexpr int warp_row(unsigned thread) { return static_cast<int>(thread / (kWarp * WARPS_N) * warp_m); }
  __host__ __device__ static constexpr int warp_column(unsigned thread) { return static_cast<int>(thread / kWarp % WARPS_N * warp_n); }

  // Quads: of a row of a lane two in each group of columns.
  static constexpr int quads = 2 * fragments_m * 2 * groups_n;
  __host__ __device__ static constexpr fragment::Place place_of(unsigned thread, int q) {
    const int row = q / (2 * groups_n), g = static_cast<int>(thread % kWarp / 4), t = static_cast<int>(thread % 4);
    return {warp_row(thread) + row / 4 * 32 + 4 * g + row % 4, warp_column(thread) + q / 2 % groups_n * 32 + 8 * t + q % 2 * 4};
  }
  __device__ void quad(int q, float (&sums)[4]) const {
    const int row = q / (2 * groups_n);
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[e] = acc[row / 2][q / 2 % groups_n * 4 + e][row % 2 * 2 + q % 2];
  }

  template <int BK, class A, class B>
  __device__ void multiply(const A& a, const B& b, int64_t left) {
    const unsigned thread = threadIdx.x;
    const int g = static_cast<int>(thread % kWarp / 4), t = static_cast<int>(thread % 4);
#pragma unroll
    for (int k0 = 0; k0 < BK; k0 += step) {
      if (k0 > 0 && k0 >= left) break;
      uint32_t y[groups_n][4][words];
#pragma unroll
      for (int j = 0; j < groups_n; ++j) b.read(warp_column(thread) + j * 32 + 4 * g, k0 + 4 * t, y[j]);
#pragma unroll
      for (int group = 0; group < groups_m; ++group) {
        uint32_t x[4][words];
        a.read(warp_row(thread) + group * 32 + 4 * g, k0 + 4 * t, x);
#pragma unroll
        for (int w = 0; w < words; w += 2)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const auto &upper = x[2 * i], &lower = x[2 * i + 1];
            const uint32_t of_a[4] = {upper[w], lower[w], upper[w + 1], lower[w + 1]};
#pragma unroll
            for (int j = 0; j < fragments_n; ++j) {
              const uint32_t of_b[2] = {y[j / 4][j % 4][w], y[j / 4][j % 4][w + 1]};
              if constexpr (mode == MathMode::tf32) mma_tf32(acc[2 * group + i][j], of_a, of_b);
              else mma_bf16(acc[2 * group + i][j], of_a, of_b);
            }
          }
      }
    }
  }
};

}  // namespace panvae::PV_EXEC
