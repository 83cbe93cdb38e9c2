// Four standard normals from one Philox group, by Box-Muller: (v0, v1) and (v2, v3) are pairs (radius, angle); element
// i % 4 = 0, 2 takes the cosine, 1, 3 the sine. f32 uses 24 bits of each word, f64 all 32.
#pragma once
#include <cmath>

#include "base/philox.h"
#include "kernels/device_math.h"

namespace panvae {

template <class T>
struct Four {
  T v[4];
};

template <class T>
__host__ __device__ inline Four<T> uniform4(Philox4 bits) {
  Four<T> u;
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4) u.v[i] = uniform_open(bits.v[i]);
    else u.v[i] = (bits.v[i] + 0.5) * (1.0 / 4294967296.0);
  }
  return u;
}

template <class T>
__host__ __device__ inline Four<T> normal4(Philox4 bits) {
  const Four<T> u = uniform4<T>(bits);
  Four<T> z;
  for (int i = 0; i < 4; i += 2) {
    const T radius = std::sqrt(T(-2) * std::log(u.v[i])), angle = T(6.283185307179586476925) * u.v[i + 1];
    z.v[i] = radius * std::cos(angle);
    z.v[i + 1] = radius * std::sin(angle);
  }
  return z;
}

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
