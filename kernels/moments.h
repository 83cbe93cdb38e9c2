// Mean and variance by pairwise merging (Welford 1962; Chan, Golub, LeVeque 1979), in an order that depends on the problem
// alone. Never E[x^2] - E[x]^2, which loses all digits where the mean is large against the deviation.
#pragma once
#include <bit>

#include "kernels/device_math.h"

namespace panvae {

// Of a set of numbers: how many, their mean, the sum of squares of their distances from it.
template <class T>
struct Moments {
  using Item = T;
  T count, mean, m2;

  __host__ __device__ void merge(const Moments& o) {
    const T total = count + o.count, share = total > T(0) ? o.count / total : T(0), d = o.mean - mean;
    mean += d * share;
    m2 += o.m2 + d * (count * share) * d;  // this order: a first set (count = 0) adds exactly 0, however large d is
    count = total;
  }
};

// A number as the sum of two, the second far smaller: a mean of 10^4 at a deviation of 1 has only three digits behind the
// point in f32, and its rest has the others. x - mean is then (x - large) - small.
template <class T>
struct TwoPart {
  T large, small;
};
template <class T>
__host__ __device__ TwoPart<T> exact_sum(T a, T b) {  // Knuth's TwoSum
  const T s = a + b, from_b = s - a;
  return {s, (a - (s - from_b)) + (b - from_b)};
}

namespace PV_EXEC {

// Other things to merge: a sum, two, the largest.
template <class T>
struct Sum {
  using Item = T;
  T value;
  __device__ void merge(const Sum& o) { value += o.value; }
};
template <class T>
struct Sums {
  using Item = T;
  T a, b;
  __device__ void merge(const Sums& o) { a += o.a, b += o.b; }
};
template <class T>
struct Largest {
  using Item = T;
  T value;
  __device__ void merge(const Largest& o) { value = o.value > value ? o.value : value; }
};

// A struct of Items from another lane.
template <class V>
__device__ V shuffle_xor(const V& v, int offset) {
  using Item = typename V::Item;
  struct Items {
    Item at[sizeof(V) / sizeof(Item)];
  };
  Items items = std::bit_cast<Items>(v);
  for (Item& i : items.at) i = __shfl_xor_sync(kFullMask, i, offset);
  return std::bit_cast<V>(items);
}

// Merges V over the threads of the block that share threadIdx.x % W, and gives each of them the result. `none` is the V of
// nothing. blockDim.x is a multiple of 32, W divides 32; all threads must call it. Calls may follow each other: `partial` was
// read before the second barrier of the last call, `total` is written behind the first of the next.
template <int W, class V>
__device__ V merge_columns(V mine, V none) {
  SHARED(V, partial, 32 * W);
  SHARED(V, total, W);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  for (int offset = kWarp / 2; offset >= W; offset /= 2) mine.merge(shuffle_xor(mine, offset));
  if (lane < W) partial[warp * W + lane] = mine;
  __syncthreads();
  for (int column = warp; column < W; column += warps) {
    V v = lane < warps ? partial[lane * W + column] : none;
    for (int offset = kWarp / 2; offset > 0; offset /= 2) v.merge(shuffle_xor(v, offset));
    if (lane == 0) total[column] = v;
  }
  __syncthreads();
  return total[threadIdx.x % W];
}
// Likewise behind one barrier, for a block of Threads: each warp merges what all of them have left in `partial`, of
// kPartials<W, Threads>, which is of this call alone.
template <int W, int Threads>
constexpr int kPartials = Threads / kWarp* W;
template <int W, int Threads, class V>
__device__ V merge_in_each_warp(V mine, V none, V* partial) {
  constexpr int kAll = kPartials<W, Threads>, kAtOnce = kAll < kWarp ? kAll : kWarp;
  static_assert(kAll % kAtOnce == 0 && kWarp % kAtOnce == 0);
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int offset = kWarp / 2; offset >= W; offset /= 2) mine.merge(shuffle_xor(mine, offset));
  if (lane < W) partial[threadIdx.x / kWarp * W + lane] = mine;
  __syncthreads();
  V total = none;
#pragma unroll
  for (int i = 0; i < kAll; i += kAtOnce) total.merge(partial[i + lane % kAtOnce]);
#pragma unroll
  for (int offset = kAtOnce / 2; offset >= W; offset /= 2) total.merge(shuffle_xor(total, offset));
  return total;
}
template <class V>
__device__ V merge_block(V mine, V none) {
  return merge_columns<1>(mine, none);
}

// Adds up to G numbers, whose loads are under way together: next(v) puts the next one into v and returns true, or 0 and
// false behind the last.
constexpr int kGroup = 4;
template <int G = kGroup, class T, class F>
__device__ void add_group(Moments<T>& m, F next) {
  T v[G], sum = T(0), square = T(0);
  int count = 0;
#pragma unroll
  for (int j = 0; j < G; ++j) count += next(v[j]);
#pragma unroll
  for (int j = 0; j < G; ++j) sum += v[j];
  const T mean = sum / T(count);
#pragma unroll
  for (int j = 0; j < G; ++j) square += j < count ? (v[j] - mean) * (v[j] - mean) : T(0);
  m.merge({T(count), mean, square});
}

// Adds the first `count` of the numbers v, less `origin`.
template <int N, class T>
__device__ void add_loaded(Moments<T>& m, const T (&v)[N], int count, T origin) {
  int j = 0;
  add_group<N>(m, [&](T& d) {
    const bool there = j < count;
    d = there ? v[j] - origin : T(0);
    ++j;
    return there;
  });
}

// Threads for `n` elements in all: a group for each, or more.
inline unsigned threads_for(int64_t n, int64_t most) {
  const int64_t threads = ((n + kGroup - 1) / kGroup + kWarp - 1) / kWarp * kWarp;
  return static_cast<unsigned>(threads < kWarp ? kWarp : threads > most ? most : threads);
}

}  // namespace PV_EXEC
}  // namespace panvae
