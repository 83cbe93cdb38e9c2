// Reparameterisation (Kingma and Welling 2014): z = mu + exp(l / 2) eps, l = clamp(logvar, -15, 15), eps ~ N(0, 1).
// Gradients: g_mu = g_z;  g_logvar = g_z eps exp(l / 2) / 2 within the clamp, 0 outside. eps is a function of (key,
// element) and is drawn again in the gradient: nothing is stored. Parallel over groups of four elements; 12 n bytes each
// way (f32), about 100 integer operations a group for the noise.
#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/normal.h"

namespace panvae {

namespace {

template <class T>
__host__ __device__ inline T clamped_logvar(T logvar) {
  // Written so that a NaN stays one.
  return logvar < T(kLogvarMin) ? T(kLogvarMin) : logvar > T(kLogvarMax) ? T(kLogvarMax) : logvar;
}

// The first `count` elements of a group.
template <class T>
__host__ __device__ inline void reparameterize_group(const T* mu, const T* logvar, T* z, const Four<T>& eps, int64_t count) {
  for (int64_t j = 0; j < 4 && j < count; ++j) z[j] = mu[j] + std::exp(T(0.5) * clamped_logvar(logvar[j])) * eps.v[j];
}

template <class T>
__host__ __device__ inline void reparameterize_grad_group(const T* logvar, const T* grad_z, T* grad_logvar, const Four<T>& eps, int64_t count) {
  for (int64_t j = 0; j < 4 && j < count; ++j) {
    const bool outside = logvar[j] < T(kLogvarMin) || logvar[j] > T(kLogvarMax);
    grad_logvar[j] = outside ? T(0) : grad_z[j] * eps.v[j] * T(0.5) * std::exp(T(0.5) * logvar[j]);
  }
}

}  // namespace

namespace cpu {

template <class T>
void reparameterize(Stream&, In<T> mu, In<T> logvar, Out<T> z, int64_t n, PhiloxKey given) {
  const PhiloxKey key = given.now();
  parallel_chunks((n + 3) / 4, 1024, [=](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g)
      reparameterize_group(mu + 4 * g, logvar + 4 * g, z + 4 * g, normal4<T>(key.four(static_cast<uint64_t>(g))), n - 4 * g);
  });
}
template <class T>
void reparameterize_grad(Stream&, In<T> logvar, In<T> grad_z, Out<T> grad_logvar, int64_t n, PhiloxKey given) {
  const PhiloxKey key = given.now();
  parallel_chunks((n + 3) / 4, 1024, [=](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g)
      reparameterize_grad_group(logvar + 4 * g, grad_z + 4 * g, grad_logvar + 4 * g, normal4<T>(key.four(static_cast<uint64_t>(g))), n - 4 * g);
  });
}

}  // namespace cpu

namespace PV_EXEC {

// What is read comes in while the noise is drawn.
template <class T>
__global__ void reparameterize_kernel(In<T> mu, In<T> logvar, Out<T> z, int64_t n, PhiloxKey key, bool packed) {
  begin_kernel();
  const int64_t g = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (4 * g >= n) return;
  const Four<T> m = load_four(mu, g, n, packed), l = load_four(logvar, g, n, packed);
  Four<T> out;
  reparameterize_group(m.v, l.v, out.v, normal4<T>(key.now().four(static_cast<uint64_t>(g))), 4);
  store_four(out, z, g, n, packed);
}
template <class T>
__global__ void reparameterize_grad_kernel(In<T> logvar, In<T> grad_z, Out<T> grad_logvar, int64_t n, PhiloxKey key, bool packed) {
  begin_kernel();
  const int64_t g = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (4 * g >= n) return;
  const Four<T> l = load_four(logvar, g, n, packed), gz = load_four(grad_z, g, n, packed);
  Four<T> gl;
  reparameterize_grad_group(l.v, gz.v, gl.v, normal4<T>(key.now().four(static_cast<uint64_t>(g))), 4);
  store_four(gl, grad_logvar, g, n, packed);
}

template <class T>
void reparameterize(Stream& stream, In<T> mu, In<T> logvar, Out<T> z, int64_t n, PhiloxKey key) {
  launch(stream, grid_for((n + 3) / 4, kBlock), kBlock, 0, reparameterize_kernel<T>, mu, logvar, z, n, key, aligned16(mu, logvar, z));
}
template <class T>
void reparameterize_grad(Stream& stream, In<T> logvar, In<T> grad_z, Out<T> grad_logvar, int64_t n, PhiloxKey key) {
  launch(stream, grid_for((n + 3) / 4, kBlock), kBlock, 0, reparameterize_grad_kernel<T>, logvar, grad_z, grad_logvar, n, key,
         aligned16(logvar, grad_z, grad_logvar));
}

}  // namespace PV_EXEC

PV_INSTANTIATE(reparameterize)
PV_INSTANTIATE(reparameterize_grad)

}  // namespace panvae
