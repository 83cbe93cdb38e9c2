// Small device functions that several kernels share: sums over warps and blocks in a fixed order, wide loads, grid sizes.
#pragma once
#include <cstdint>

#include "base/error.h"
#include "kernels/language.h"

namespace panvae {

inline constexpr int kBlock = 256;  // threads per block of the elementwise and reduction kernels

// Blocks for n elements at `per_block` each; the grid's x dimension holds 2^31 - 1.
inline unsigned grid_for(int64_t n, int64_t per_block) {
  const int64_t blocks = (n + per_block - 1) / per_block;
  PV_CHECK(blocks <= 0x7FFFFFFF, "launch: {} elements are more than one grid holds", n);
  return static_cast<unsigned>(blocks);
}

// 16 bytes of T, moved by one load or store where pointers are aligned.
template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / sizeof(T);
  T v[size];
};
template <class... P>
bool aligned16(P... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

namespace PV_EXEC {

template <class T>
__device__ inline T warp_sum(T v) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, offset);
  return v;
}

// The sum over the block, valid in thread 0. blockDim.x is a multiple of 32, at most 1024; all threads must call it.
template <class T>
__device__ inline T block_sum(T v) {
  SHARED(T, partial, 32);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  v = warp_sum(v);
  if (lane == 0) partial[warp] = v;
  __syncthreads();
  T total = T(0);
  if (warp == 0) total = warp_sum(lane < warps ? partial[lane] : T(0));
  __syncthreads();  // `partial` may be used again by the next call
  return total;
}

}  // namespace PV_EXEC
}  // namespace panvae
