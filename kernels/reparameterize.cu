// Reparameterisation (Kingma and Welling 2014): z = mu + exp(l / 2) eps, l = clamp(logvar, -15, 15), eps ~ N(0, 1).
// Gradients: g_mu = g_z;  g_logvar = g_z eps exp(l / 2) / 2 within the clamp, 0 outside. eps is a function of (key,
// element) and is drawn again in the gradient: nothing is stored. Parallel over groups of four elements; 12 n bytes each
// way (f32), about 100 integer operations a group for the noise.
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
__host__ __device__ inline T reparameterized(T mu, T logvar, T eps) {
  return mu + exponential(T(0.5) * clamped_logvar(logvar)) * eps;
}
template <class T>
__host__ __device__ inline T logvar_gradient(T logvar, T grad_z, T eps) {
  const bool outside = logvar < T(kLogvarMin) || logvar > T(kLogvarMax);
  const T inside = grad_z * eps * T(0.5) * exponential(T(0.5) * logvar);
  return outside ? T(0) : inside;
}

}  // namespace

namespace cpu {

template <class T>
void reparameterize_stretch(const T* mu, const T* logvar, const T* eps, T* z, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) z[i] = reparameterized(mu[i], logvar[i], eps[i]);
}
template <class T>
void reparameterize_grad_stretch(const T* logvar, const T* grad_z, const T* eps, T* grad_logvar, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) grad_logvar[i] = logvar_gradient(logvar[i], grad_z[i], eps[i]);
}

template <class T>
void reparameterize(Stream&, In<T> mu, In<T> logvar, Out<T> z, int64_t n, PhiloxKey given) {
  const PhiloxKey key = given.now();
  for_noise(n, [=](int64_t first, int64_t count) {
    T eps[kNoise];
    draw_normal(key, first, count, eps);
    reparameterize_stretch<T>(mu + first, logvar + first, eps, z + first, count);
  });
}
template <class T>
void reparameterize_grad(Stream&, In<T> logvar, In<T> grad_z, Out<T> grad_logvar, int64_t n, PhiloxKey given) {
  const PhiloxKey key = given.now();
  for_noise(n, [=](int64_t first, int64_t count) {
    T eps[kNoise];
    draw_normal(key, first, count, eps);
    reparameterize_grad_stretch<T>(logvar + first, grad_z + first, eps, grad_logvar + first, count);
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
  const Four<T> eps = normal4<T>(key.now().four(static_cast<uint64_t>(g)));
  Four<T> out;
  for (int j = 0; j < 4; ++j) out.v[j] = reparameterized(m.v[j], l.v[j], eps.v[j]);
  store_four(out, z, g, n, packed);
}
template <class T>
__global__ void reparameterize_grad_kernel(In<T> logvar, In<T> grad_z, Out<T> grad_logvar, int64_t n, PhiloxKey key, bool packed) {
  begin_kernel();
  const int64_t g = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (4 * g >= n) return;
  const Four<T> l = load_four(logvar, g, n, packed), gz = load_four(grad_z, g, n, packed);
  const Four<T> eps = normal4<T>(key.now().four(static_cast<uint64_t>(g)));
  Four<T> gl;
  for (int j = 0; j < 4; ++j) gl.v[j] = logvar_gradient(l.v[j], gz.v[j], eps.v[j]);
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
