// Where the elements of a stage lie in shared memory, and which thread copies which of them. constexpr, so that tests can
// prove what matters (tests/kernels/tile_test.cpp): every element has one place and is copied once, and no warp's
// access, copying or reading, has bank conflicts.
//
// A stage is ROWS x BK elements of an operand as they are in memory (f32, not yet rounded), copied asynchronously: 16 bytes
// at a time (wide) where four neighbours in memory stay neighbours here, else 4 (narrow).
#pragma once
#include "kernels/language.h"

namespace panvae::stage {

// Unsigned, whose division by powers of two is a shift.
struct Place {
  unsigned row, k;
  bool operator==(const Place&) const = default;
};

// For ieee, whose threads read four neighbouring rows at one k: [k][row], the rows of four elements more. An operand that is
// contiguous along k is transposed by narrow copies: a warp takes 8 k of 4 rows, whole sectors of memory, to 32 banks.
template <int ROWS_, int BK_>
struct Padded {
  static constexpr int ROWS = ROWS_, BK = BK_, stride = ROWS + 4, size = BK * stride;
  static constexpr bool takes_wide(bool k_contiguous) { return !k_contiguous; }
  __host__ __device__ static constexpr unsigned offset(unsigned row, unsigned k) { return k * stride + row; }
  // The first of the four elements of copy e.
  __host__ __device__ static constexpr Place wide(unsigned e) { return {e % (ROWS / 4) * 4, e / (ROWS / 4)}; }
  __host__ __device__ static constexpr Place narrow(bool k_contiguous, unsigned e) {
    if (!k_contiguous) return {e % ROWS, e / ROWS};
    return {e / 8 % 4 + e / (4 * BK) * 4, e % 8 + e / 32 % (BK / 8) * 8};
  }
};

// For tensor cores, in the order of the operand's own memory. Chunks of four elements are permuted by XOR, such that the
// lanes of a read of 16 bytes find 32 banks, a quarter of a warp at a time: lane (g, t) = (lane / 4, lane % 4) reads of the four
// rows from 4 g and the four k from 4 t on, a row or a k at a time as they lie in memory (MmaLoop).
template <int ROWS_, int BK_, bool kContiguous>
struct Swizzled;

// [row][k]
template <int ROWS_, int BK_>
struct Swizzled<ROWS_, BK_, true> {
  static constexpr int ROWS = ROWS_, BK = BK_, size = ROWS * BK;
  static_assert(BK == 32, "a row is eight chunks");
  static constexpr bool takes_wide(bool) { return true; }
  __host__ __device__ static constexpr unsigned offset(unsigned row, unsigned k) { return row * BK + ((k / 4) ^ (row & 4)) * 4 + k % 4; }
  __host__ __device__ static constexpr Place wide(unsigned e) { return {e / (BK / 4), e % (BK / 4) * 4}; }
  __host__ __device__ static constexpr Place narrow(bool, unsigned e) { return {e / BK, e % BK}; }
};

// [k][row]
template <int ROWS_, int BK_>
struct Swizzled<ROWS_, BK_, false> {
  static constexpr int ROWS = ROWS_, BK = BK_, size = ROWS * BK;
  static_assert(ROWS % 32 == 0, "a row of the array is whole groups of eight chunks");
  static constexpr bool takes_wide(bool) { return true; }
  __host__ __device__ static constexpr unsigned offset(unsigned row, unsigned k) { return k * ROWS + ((row / 4) ^ ((k >> 2 & 3) << 1)) * 4 + row % 4; }
  __host__ __device__ static constexpr Place wide(unsigned e) { return {e % (ROWS / 4) * 4, e / (ROWS / 4)}; }
  __host__ __device__ static constexpr Place narrow(bool, unsigned e) { return {e % ROWS, e / ROWS}; }
};

}  // namespace panvae::stage
