// What the launchers of products and convolutions ask first: has a library of the vendor computed this? False: compute it
// yourself. On simt never; on cuda kernels/cuda/vendor.cpp answers, by the rules of kernels/provider.h.
#pragma once
#include "kernels/kernels.h"

namespace panvae {

namespace simt::vendor {
template <class T>
constexpr bool matmul(Stream&, In<T>, bool, int64_t, In<T>, bool, InOut<T>, int64_t, int64_t, int64_t, const Epilogue<T>&) {
  return false;
}
template <class T>
constexpr bool conv1d(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, const Epilogue<T>&) {
  return false;
}
template <class T>
constexpr bool conv1d_grad_input(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, const Epilogue<T>&) {
  return false;
}
template <class T>
constexpr bool conv1d_grad_weight(Stream&, In<T>, In<T>, InOut<T>, const Conv1dShape&, bool) {
  return false;
}
}  // namespace simt::vendor

// The arguments are those of the kernels of the same name, and the distance of a's rows as they are stored, which is their length
// where a is the whole of a matrix. The result is not empty; the operands may be.
namespace cuda::vendor {
template <class T>
bool matmul(Stream& stream, In<T> a, bool transpose_a, int64_t stride_a, In<T> b, bool transpose_b, InOut<T> c, int64_t M, int64_t N, int64_t K,
            const Epilogue<T>& epilogue);
template <class T>
bool conv1d(Stream& stream, In<T> x, In<T> w, InOut<T> y, const Conv1dShape& shape, const Epilogue<T>& epilogue);
template <class T>
bool conv1d_grad_input(Stream& stream, In<T> grad_y, In<T> w, InOut<T> grad_x, const Conv1dShape& shape, const Epilogue<T>& epilogue);
template <class T>
bool conv1d_grad_weight(Stream& stream, In<T> x, In<T> grad_y, InOut<T> grad_w, const Conv1dShape& shape, bool accumulate);
}  // namespace cuda::vendor

}  // namespace panvae
