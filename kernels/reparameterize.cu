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

template <class T>
__host__ __device__ inline void reparameterize_group(const T* mu, const T* logvar, T* z, int64_t g, int64_t n, PhiloxKey key) {
  const Four<T> eps = normal4<T>(key.four(static_cast<uint64_t>(g)));
  for (int64_t j = 0; j < 4 && 4 * g + j < n; ++j) {
    const int64_t i = 4 * g + j;
    z[i] = mu[i] + std::exp(T(0.5) * clamped_logvar(logvar[i])) * eps.v[j];
  }
}

template <class T>
__host__ __device__ inline void reparameterize_grad_group(const T* logvar, const T* grad_z, T* grad_logvar, int64_t g, int64_t n, PhiloxKey key) {
  const Four<T> eps = normal4<T>(key.four(static_cast<uint64_t>(g)));
  for (int64_t j = 0; j < 4 && 4 * g + j < n; ++j) {
    const int64_t i = 4 * g + j;
    const bool outside = logvar[i] < T(kLogvarMin) || logvar[i] > T(kLogvarMax);
    grad_logvar[i] = outside ? T(0) : grad_z[i] * eps.v[j] * T(0.5) * std::exp(T(0.5) * logvar[i]);
  }
}

}  // namespace

namespace cpu {

template <class T>
void reparameterize(Stream&, In<T> mu, In<T> logvar, Out<T> z, int64_t n, PhiloxKey given) {
  const PhiloxKey key = given.now();
  parallel_chunks((n + 3) / 4, 1024, [=](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) reparameterize_group(mu, logvar, z, g, n, key);
  });
}
template <class T>
void reparameterize_grad(Stream&, In<T> logvar, In<T> grad_z, Out<T> grad_logvar, int64_t n, PhiloxKey given) {
  const PhiloxKey key = given.now();
  parallel_chunks((n + 3) / 4, 1024, [=](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) reparameterize_grad_group(logvar, grad_z, grad_logvar, g, n, key);
  });
}

}  // namespace cpu

namespace PV_EXEC {

template <class T>
__global__ void reparameterize_kernel(In<T> mu, In<T> logvar, Out<T> z, int64_t n, PhiloxKey key) {
  const int64_t g = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (4 * g < n) reparameterize_group(mu, logvar, z, g, n, key.now());
}
template <class T>
__global__ void reparameterize_grad_kernel(In<T> logvar, In<T> grad_z, Out<T> grad_logvar, int64_t n, PhiloxKey key) {
  const int64_t g = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (4 * g < n) reparameterize_grad_group(logvar, grad_z, grad_logvar, g, n, key.now());
}

template <class T>
void reparameterize(Stream& stream, In<T> mu, In<T> logvar, Out<T> z, int64_t n, PhiloxKey key) {
  launch(stream, grid_for((n + 3) / 4, kBlock), kBlock, 0, reparameterize_kernel<T>, mu, logvar, z, n, key);
}
template <class T>
void reparameterize_grad(Stream& stream, In<T> logvar, In<T> grad_z, Out<T> grad_logvar, int64_t n, PhiloxKey key) {
  launch(stream, grid_for((n + 3) / 4, kBlock), kBlock, 0, reparameterize_grad_kernel<T>, logvar, grad_z, grad_logvar, n, key);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(reparameterize)
PV_INSTANTIATE(reparameterize_grad)

}  // namespace panvae
