// The loss of one element, and its gradient: what the kernels of the Huber loss share. The formulas stand in huber_kl.cu.
#pragma once
#include "kernels/device_math.h"
#include "kernels/kernels.h"
#include "kernels/vector_math.h"

namespace panvae {

template <class T>
struct Loss {
  T delta, kl_weight, inverse_batch;

  __host__ __device__ T huber(T pred, T target, T& grad) const {
    const T r = pred - target;
    const T c = r < -delta ? -delta : r > delta ? delta : r;
    grad = c * inverse_batch;
    return c * (r - T(0.5) * c);
  }
  __host__ __device__ T kl(T mu, T logvar, T& grad_mu, T& grad_logvar) const {
    const bool low = logvar<T(kLogvarMin), high = logvar> T(kLogvarMax);
    const T l = low ? T(kLogvarMin) : high ? T(kLogvarMax) : logvar;
    const T variance = exponential(l);
    grad_mu = kl_weight * mu * inverse_batch;
    grad_logvar = low || high ? T(0) : kl_weight * T(0.5) * (variance - T(1)) * inverse_batch;
    return T(0.5) * (mu * mu + variance - T(1) - l);
  }
};

}  // namespace panvae
