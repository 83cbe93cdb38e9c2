// What Adam does to one element and to one pack, for the kernels that do it: kernels/adam.cu, kernels/matmul_adam.cu and
// kernels/matmul_adam_warpgroups.h.
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

// A norm, and squares that join it.
__host__ __device__ inline double joined_norm(double norm, double squares) {
  return std::sqrt(norm * norm + squares);
}

namespace PV_EXEC {

// The i-th P (T, or a pack of T) of each array through take(p, grad, m, v), element by element.
template <class P, class T, class Take>
__device__ inline void take_pack(T* p, const T* grad, T* m, T* v, int64_t i, Take take) {
  constexpr int kSize = sizeof(P) / sizeof(T);
  alignas(P) T pp[kSize], gg[kSize], mm[kSize], vv[kSize];
  const auto load = [i](T* to, const T* from) { *reinterpret_cast<P*>(to) = reinterpret_cast<const P*>(from)[i]; };
  const auto store = [i](T* to, const T* from) { reinterpret_cast<P*>(to)[i] = *reinterpret_cast<const P*>(from); };
  load(pp, p), load(gg, grad), load(mm, m), load(vv, v);
#pragma unroll
  for (int j = 0; j < kSize; ++j) take(pp[j], gg[j], mm[j], vv[j]);
  store(p, pp), store(m, mm), store(v, vv);
}

}  // namespace PV_EXEC
}  // namespace panvae
