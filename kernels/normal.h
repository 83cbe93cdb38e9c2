// Four standard normals from one Philox group, by Box-Muller: (v0, v1) and (v2, v3) are pairs (radius, angle); element
// i % 4 = 0, 2 takes the cosine, 1, 3 the sine. f32 uses 24 bits of each word, f64 all 32.
#pragma once
#include <algorithm>
#include <cmath>

#include "base/philox.h"
#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/vector_math.h"

namespace panvae {

template <class T>
struct Four {
  T v[4];
};

template <class T>
__host__ __device__ inline T uniform_of(uint32_t word) {
  if constexpr (sizeof(T) == 4) return uniform_open(word);
  else return (word + 0.5) * (1.0 / 4294967296.0);
}

// The two normals of two words, in a circle of random radius.
template <class T>
__host__ __device__ inline Circle<T> normal_pair(uint32_t of_radius, uint32_t of_angle) {
  const T radius = std::sqrt(T(-2) * logarithm(uniform_of<T>(of_radius)));
  const Circle<T> unit = circle(uniform_of<T>(of_angle));
  return {radius * unit.cosine, radius * unit.sine};
}
template <class T>
__host__ __device__ inline Four<T> normal4(Philox4 bits) {
  const Circle<T> first = normal_pair<T>(bits.v[0], bits.v[1]), second = normal_pair<T>(bits.v[2], bits.v[3]);
  return {{first.cosine, first.sine, second.cosine, second.sine}};
}

namespace cpu {

// Noise of a stretch at a time, by loops that become vector code.
inline constexpr int64_t kNoise = 256;  // elements drawn together, at most: as many words in the first cache

// words: those of elements first, first + 1, ..., in whole groups: up to 3 more than count, which is at most kNoise. 4 divides first.
inline void draw(PhiloxKey key, int64_t first, int64_t count, uint32_t* words) {
  const int64_t group = first / 4, groups = (count + 3) / 4;
#pragma omp simd
  for (int64_t g = 0; g < groups; ++g) {
    const Philox4 four = key.four(static_cast<uint64_t>(group + g));
    for (int64_t j = 0; j < 4; ++j) words[4 * g + j] = four.v[j];
  }
}
// z: the normals of the same elements, likewise.
template <class T>
void draw_normal(PhiloxKey key, int64_t first, int64_t count, T* z) {
  uint32_t words[kNoise];
  draw(key, first, count, words);
  const int64_t pairs = (count + 1) / 2;
#pragma omp simd
  for (int64_t i = 0; i < pairs; ++i) {
    const Circle<T> pair = normal_pair<T>(words[2 * i], words[2 * i + 1]);
    z[2 * i] = pair.cosine;
    z[2 * i + 1] = pair.sine;
  }
}
// f(first, count) for stretches of up to kNoise elements of the n, on all threads.
template <class F>
void for_noise(int64_t n, F f) {
  parallel_chunks((n + kNoise - 1) / kNoise, 16, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i * kNoise, std::min(kNoise, n - i * kNoise));
  });
}

}  // namespace cpu

namespace PV_EXEC {

// Elements of group g of x [n], 0 behind the end; and back. 16 bytes at a time where `packed` says that the pointer is aligned.
template <class T>
__device__ inline Four<T> load_four(const T* x, int64_t g, int64_t n, bool packed) {
  constexpr int kSize = Pack<T>::size, kPacks = 4 / kSize;
  Four<T> four = {};
  if (packed && 4 * g + 4 <= n) {
#pragma unroll
    for (int j = 0; j < kPacks; ++j) {
      const Pack<T> pack = reinterpret_cast<const Pack<T>*>(x)[kPacks * g + j];
      for (int k = 0; k < kSize; ++k) four.v[kSize * j + k] = pack.v[k];
    }
    return four;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j)
    if (4 * g + j < n) four.v[j] = x[4 * g + j];
  return four;
}
template <class T>
__device__ inline void store_four(const Four<T>& four, T* y, int64_t g, int64_t n, bool packed) {
  constexpr int kSize = Pack<T>::size, kPacks = 4 / kSize;
  if (packed && 4 * g + 4 <= n) {
#pragma unroll
    for (int j = 0; j < kPacks; ++j) {
      Pack<T> pack;
      for (int k = 0; k < kSize; ++k) pack.v[k] = four.v[kSize * j + k];
      reinterpret_cast<Pack<T>*>(y)[kPacks * g + j] = pack;
    }
    return;
  }
#pragma unroll
  for (int j = 0; j < 4; ++j)
    if (4 * g + j < n) y[4 * g + j] = four.v[j];
}

}  // namespace PV_EXEC
}  // namespace panvae
