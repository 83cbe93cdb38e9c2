// Losses that are means over elements, each with its gradient in one pass.
//
//   mse              l = (x - t)^2                                 g = 2 (x - t) / n
//   bce_with_logits  l = max(x, 0) - x t + log(1 + exp(-|x|))      g = (1 / (1 + exp(-x)) - t) / n, t in [0, 1]
//                    = -t log s(x) - (1 - t) log(1 - s(x)) with s(x) = 1 / (1 + exp(-x)), in a form that neither
//                    overflows nor cancels (SPEC L4)
//
// Bytes (f32): 12 n (read x and t, write g). Parallel over stretches of 2048 elements (on simt and cuda of 1024 where there
// are few), whose sums (f64; in T within a stretch on simt and cuda, where the last block adds them) are added in fixed order. g may
// overwrite x. A NaN in an input reaches the loss.
#include <algorithm>

#include "base/threads.h"
#include "kernels/block_sums.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/last_block.h"
#include "kernels/streaming.h"
#include "kernels/vector_math.h"

namespace panvae {

namespace {

constexpr int64_t kStretch = 2048;

template <class T>
struct SquaredError {
  T inverse_count;
  __host__ __device__ T operator()(T x, T target, T& grad) const {
    const T d = x - target;
    grad = T(2) * inverse_count * d;
    return d * d;
  }
};

template <class T>
struct LogitEntropy {
  T inverse_count;
  __host__ __device__ T operator()(T x, T target, T& grad) const {
    const T e = exponential(x < T(0) ? x : -x), above = T(1) / (T(1) + e);
    grad = ((x < T(0) ? e * above : above) - target) * inverse_count;
    return (x < T(0) ? T(0) : x) - x * target + log_1_plus(e);
  }
};

}  // namespace

namespace cpu {

// A call of its own: within the lambda, whose pointers a store might change, the compiler makes gathers instead of vectors.
template <class T, class F>
__attribute__((noinline)) double stretch_loss(F f, const T* x, const T* target, T* grad_x, int64_t n) {
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (int64_t i = 0; i < n; ++i) {
    T g;
    s += static_cast<double>(f(x[i], target[i], g));
    grad_x[i] = g;
  }
  return s;
}

template <class T, class F>
void mean_loss(Stream& stream, F f, const T* x, In<T> target, int64_t n, Out<T> loss, T* grad_x) {
  const int64_t stretches = (n + kStretch - 1) / kStretch;
  double* partials = stream.scratch<double>(stretches + 1);
  const bool streaming = streams(grad_x, n, static_cast<const T*>(x), target);
  parallel_chunks(stretches, chunk_of(streaming) / kStretch, [=](int64_t begin, int64_t end) {
    T buffer[kStretch];
    for (int64_t stretch = begin; stretch < end; ++stretch) {
      const int64_t from = stretch * kStretch, count = std::min(kStretch, n - from);
      partials[stretch] = stretch_loss(f, x + from, target + from, streaming ? buffer : grad_x + from, count);
      if (streaming) store_copy(true, grad_x + from, static_cast<const T*>(buffer), count);
    }
    end_stores(streaming);
  });
  double total = 0;
  for (int64_t i = 0; i < stretches; ++i) total += partials[i];
  *loss = static_cast<T>(total / static_cast<double>(n));
}

}  // namespace cpu

namespace PV_EXEC {

constexpr int64_t kShort = 1024, kFew = 256;  // a stretch where those of kStretch are fewer than kFew: enough blocks for all processors

// Sum over elements [first, last), S at a time, both multiples of S. Read in groups before they are stored: grad_x may be x.
template <int S, class T, class F>
__device__ T add_losses(F f, const T* x, const T* target, T* grad_x, int64_t first, int64_t last) {
  struct alignas(S * sizeof(T)) Some {
    T v[S];
  };
  constexpr int kGroup = 2;
  const Some *const xs = reinterpret_cast<const Some*>(x), *const targets = reinterpret_cast<const Some*>(target);
  Some* const grads = reinterpret_cast<Some*>(grad_x);
  T s = T(0);
#pragma unroll 1
  for (int64_t i = first / S + threadIdx.x; i < last / S; i += kGroup * blockDim.x) {
    Some a[kGroup], t[kGroup];
#pragma unroll
    for (int j = 0; j < kGroup; ++j) {
      const int64_t at = i + j * blockDim.x;
      a[j] = at < last / S ? xs[at] : Some{};
      t[j] = at < last / S ? targets[at] : Some{};
    }
#pragma unroll
    for (int j = 0; j < kGroup; ++j) {
      const int64_t at = i + j * blockDim.x;
      if (at >= last / S) break;
      Some g;
#pragma unroll
      for (int k = 0; k < S; ++k) s += f(a[j].v[k], t[j].v[k], g.v[k]);
      grads[at] = g;
    }
  }
  return s;
}

// Five blocks at a time on a processor, as many as without the end of the last one.
template <class T, class F>
__global__ void __launch_bounds__(kBlock, 5)
    mean_loss_kernel(F f, const T* x, In<T> target, int64_t n, int64_t stretch, bool packed, T* partials, unsigned* arrivals, Out<T> loss, T* grad_x) {
  begin_kernel();
  constexpr int kSize = Pack<T>::size;
  const int64_t first = blockIdx.x * stretch, last = first + stretch < n ? first + stretch : n, rest = packed ? last / kSize * kSize : first;
  T s = add_losses<kSize>(f, x, target, grad_x, first, rest);
  s += add_losses<1>(f, x, target, grad_x, rest, last);
  s = block_sum(s);
  if (threadIdx.x == 0) partials[blockIdx.x] = s;
  if (!last_block(arrivals)) return;
  const double total = block_sum(sum_ahead<double>(partials, threadIdx.x, gridDim.x, blockDim.x));
  if (threadIdx.x == 0) *loss = static_cast<T>(total / static_cast<double>(n));
}

template <class T, class F>
void mean_loss(Stream& stream, F f, const T* x, In<T> target, int64_t n, Out<T> loss, T* grad_x) {
  const int64_t stretch = n < kFew * kStretch ? kShort : kStretch, stretches = std::max<int64_t>(1, (n + stretch - 1) / stretch);
  T* partials = stream.scratch<T>(stretches);
  launch(stream, grid_for(stretches, 1), kBlock, 0, mean_loss_kernel<T, F>, f, x, target, n, stretch, aligned16(x, target, grad_x), partials,
         arrivals_of(stream), loss, grad_x);
}

}  // namespace PV_EXEC

// clang-format off
#define PV_MEAN_LOSS(name, F)                                                                    \
  namespace cpu {                                                                                \
  template <class T>                                                                             \
  void name(Stream& stream, In<T> x, In<T> target, int64_t n, Out<T> loss, Out<T> grad_x) {      \
    mean_loss(stream, F<T>{T(1) / static_cast<T>(n)}, x, target, n, loss, grad_x);               \
  }                                                                                              \
  }                                                                                              \
  namespace PV_EXEC {                                                                            \
  template <class T>                                                                             \
  void name(Stream& stream, In<T> x, In<T> target, int64_t n, Out<T> loss, Out<T> grad_x) {      \
    mean_loss(stream, F<T>{T(1) / static_cast<T>(n)}, x, target, n, loss, grad_x);               \
  }                                                                                              \
  }                                                                                              \
  PV_INSTANTIATE(name)

PV_MEAN_LOSS(mse, SquaredError)
PV_MEAN_LOSS(bce_with_logits, LogitEntropy)

// clang-format on
}  // namespace panvae
