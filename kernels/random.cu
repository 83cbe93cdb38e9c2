// Random tensors, a function of (seed, op, step, element) alone: y[i] from word i % 4 of Philox group i / 4. Parallel over
// groups; 4 n bytes written (f32). The step may stand in memory of the device (PhiloxKey::step_at), here and in all kernels
// that draw.
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/normal.h"

namespace panvae {

namespace {

// u in (0, 1) may round to high where the range is wide; low + u (high - low) is then high itself, which is allowed.
template <class T>
struct Uniform {
  T low, high;
  __host__ __device__ T of(uint32_t word) const { return low + uniform_of<T>(word) * (high - low); }
  __host__ __device__ Four<T> operator()(Philox4 bits) const { return {{of(bits.v[0]), of(bits.v[1]), of(bits.v[2]), of(bits.v[3])}}; }
};
template <class T>
struct Normal {
  T mean, deviation;
  __host__ __device__ T of(T z) const { return mean + deviation * z; }
  __host__ __device__ Four<T> operator()(Philox4 bits) const {
    Four<T> z = normal4<T>(bits);
    for (T& x : z.v) x = of(x);
    return z;
  }
};

}  // namespace

namespace cpu {

template <class T, class From>
void map_stretch(T* y, const From* from, int64_t n, auto f) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = f.of(from[i]);
}

template <class T>
void random_uniform(Stream&, Out<T> y, int64_t n, T low, T high, PhiloxKey given) {
  const PhiloxKey key = given.now();
  for_noise(n, [=](int64_t first, int64_t count) {
    uint32_t words[kNoise];
    draw(key, first, count, words);
    map_stretch<T>(y + first, words, count, Uniform<T>{low, high});
  });
}
template <class T>
void random_normal(Stream&, Out<T> y, int64_t n, T mean, T deviation, PhiloxKey given) {
  const PhiloxKey key = given.now();
  for_noise(n, [=](int64_t first, int64_t count) {
    T z[kNoise];
    draw_normal(key, first, count, z);
    map_stretch<T>(y + first, z, count, Normal<T>{mean, deviation});
  });
}

}  // namespace cpu

namespace PV_EXEC {

template <class T, class F>
__global__ void random_kernel(Out<T> y, int64_t n, F f, PhiloxKey key, bool packed) {
  begin_kernel();
  const int64_t g = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (4 * g < n) store_four(f(key.now().four(static_cast<uint64_t>(g))), y, g, n, packed);
}

template <class T>
void random_uniform(Stream& stream, Out<T> y, int64_t n, T low, T high, PhiloxKey key) {
  launch(stream, grid_for((n + 3) / 4, kBlock), kBlock, 0, random_kernel<T, Uniform<T>>, y, n, Uniform<T>{low, high}, key, aligned16(y));
}
template <class T>
void random_normal(Stream& stream, Out<T> y, int64_t n, T mean, T deviation, PhiloxKey key) {
  launch(stream, grid_for((n + 3) / 4, kBlock), kBlock, 0, random_kernel<T, Normal<T>>, y, n, Normal<T>{mean, deviation}, key, aligned16(y));
}

}  // namespace PV_EXEC

PV_INSTANTIATE(random_uniform)
PV_INSTANTIATE(random_normal)

}  // namespace panvae
