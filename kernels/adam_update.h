// What Adam does to one element, for the kernels that do it: kernels/adam.cu and kernels/matmul_adam.cu.
#pragma once
#include <cmath>

#include "kernels/kernels.h"
#include "kernels/language.h"

namespace panvae {

// The constants of one step in the type of the parameters.
template <class T>
struct AdamUpdate {
  T scale, beta1, rest1, beta2, rest2, eps, l2, shrink, step_size, inverse_sqrt_bias2;

  AdamUpdate() = default;
  __host__ __device__ AdamUpdate(const double* slots, AdamOptions o)
      : scale(static_cast<T>(slots[adam_gradient_scale])),
        beta1(static_cast<T>(o.beta1)),
        rest1(static_cast<T>(1 - o.beta1)),
        beta2(static_cast<T>(o.beta2)),
        rest2(static_cast<T>(1 - o.beta2)),
        eps(static_cast<T>(o.eps)),
        l2(static_cast<T>(o.decoupled ? 0 : o.weight_decay)),
        shrink(static_cast<T>(o.decoupled ? 1 - slots[adam_learning_rate] * o.weight_decay : 1)),
        step_size(static_cast<T>(slots[adam_step_size])),
        inverse_sqrt_bias2(static_cast<T>(1 / slots[adam_sqrt_bias2])) {}

  __host__ __device__ void operator()(T& p, T grad, T& m, T& v) const {
    const T g = scale * grad + l2 * p;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * g * g;
    p = shrink * p - step_size * m / (std::sqrt(v) * inverse_sqrt_bias2 + eps);
  }
};

}  // namespace panvae
