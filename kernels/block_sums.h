// What kernels of sums share: loads that are under way together, sums of columns over a block, the way through a channel.
// A thread that waits for each of its numbers takes longer for one than for the adding of a hundred; so numbers are loaded
// in groups, which must be read before anything is stored: a store might change what is read behind it.
#pragma once
#include <cstdint>

#include "kernels/device_math.h"

namespace panvae::PV_EXEC {

constexpr int kAhead = 8;  // loads of a thread that are under way together

// Threads for n numbers in all: one for each group, or fewer.
inline unsigned threads_ahead(int64_t n, int64_t most) {
  const int64_t threads = ((n + kAhead - 1) / kAhead + kWarp - 1) / kWarp * kWarp;
  return static_cast<unsigned>(threads < kWarp ? kWarp : threads > most ? most : threads);
}

// Sum of term(x[i]) for i = first, first + step, ... below last, with N loads under way together. A is the type of the sum.
template <class A, int N = kAhead, class V, class F>
__device__ A sum_ahead(const V* x, int64_t first, int64_t last, int64_t step, F term) {
  A s = A(0);
#pragma unroll 1
  for (int64_t i = first; i < last;) {
    V v[N];
#pragma unroll
    for (int j = 0; j < N; ++j, i += step) v[j] = i < last ? x[i] : V{};
#pragma unroll
    for (int j = 0; j < N; ++j) s += term(v[j]);
  }
  return s;
}
template <class A, int N = kAhead, class V>
__device__ A sum_ahead(const V* x, int64_t first, int64_t last, int64_t step) {
  return sum_ahead<A, N>(x, first, last, step, [](V v) { return A(v); });
}

// Columns up to which blocks of sums over rows have 8 of them, which makes two blocks for each of the 132 processors of a H100.
constexpr int64_t kNarrow = 2112;

// The sum over the threads of the block that share threadIdx.x % W, valid in the first W threads. blockDim.x is a multiple of
// 32, W divides 32; all threads must call it, once.
template <int W, class T>
__device__ T column_sum(T v) {
  SHARED(T, partial, 32 * W);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  for (int offset = kWarp / 2; offset >= W; offset /= 2) v += __shfl_xor_sync(kFullMask, v, offset);
  if (lane < W) partial[warp * W + lane] = v;
  __syncthreads();
  T total = T(0);
  if (threadIdx.x < W)
    for (int i = 0; i < warps; ++i) total += partial[i * W + lane];
  return total;
}

// A thread's way through one channel of [B, C, L]: element e lies at (e / L C + channel) L + e % L, and the next one is
// `lanes` further. Strips of several columns, W > 1, have L = 1. I is the type of indices: 64 bits divide slowly.
template <int W, class I = int64_t>
struct Walk {
  I element, at, lanes, step, l, step_l, L, wrap;

  __device__ Walk(I channel, I first, I lanes_, I C, I L_) : element(first), lanes(lanes_), L(L_) {
    if constexpr (W > 1) {
      at = first * C + channel;
      step = lanes * C;
    } else {
      l = first % L;
      at = (first / L * C + channel) * L + l;
      step_l = lanes % L;
      step = lanes / L * C * L + step_l;
      wrap = (C - 1) * L;
    }
  }
  __device__ void next() {
    element += lanes;
    at += step;
    if constexpr (W == 1) {
      l += step_l;
      if (l >= L) l -= L, at += wrap;
    }
  }
};

// The next numbers of x on the way, up to element `last`; 0 behind it. Returns how many there are.
template <int N, int W, class I, class T>
__device__ int load_ahead(const T* x, Walk<W, I>& walk, I last, T (&v)[N]) {
  int count = 0;
#pragma unroll
  for (int j = 0; j < N; ++j, walk.next()) {
    const bool there = walk.element < last;
    v[j] = there ? x[walk.at] : T(0);
    count += there;
  }
  return count;
}

}  // namespace panvae::PV_EXEC
