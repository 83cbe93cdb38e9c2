// The CPU side of kernels/matmul_adam.cu.
#pragma once
#include "kernels/kernels.h"

namespace panvae::cpu {

// grad = op(a) op(b) updates p, m and v [M, N] as adam would. Returns the sum of grad's squares.
template <class T>
double direct_matmul_adam(Stream& stream, In<T> a, bool transpose_a, In<T> b, bool transpose_b, InOut<T> p, InOut<T> m, InOut<T> v, int64_t M, int64_t N,
                          int64_t K, const double* slots, AdamOptions options);

}  // namespace panvae::cpu
