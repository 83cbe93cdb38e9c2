// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), as PyTorch defines them, over flat buffers:
//   adam_prepare   norm = sqrt(sum of squares of the gradient); scale = min(1, max_norm / (norm + 1e-6)) or 1;
//                  if norm and losses are finite: t += 1, step size = lr / (1 - beta1^t), sqrt_bias2 = sqrt(1 - beta2^t)
//                  else: scale = 0, skipped += 1, and adam leaves everything as it is
//   adam           g = scale grad [+ wd p];  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//                  [p -= lr wd p];  p -= step_size m / (sqrt(v) / sqrt_bias2 + eps)
//   clip           x *= min(1, max_norm / (norm + 1e-6))
// All scalars live on the device: no transfer and no synchronisation in a step, and a captured graph stays right.
// Bytes of adam: 28 n (f32: read p, g, m, v; write p, m, v). Elementwise, order-free.
#include <cmath>

#include "base/threads.h"
#include "kernels/adam_update.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"

namespace panvae {

namespace {

constexpr double kNormEpsilon = 1e-6;  // torch.nn.utils.clip_grad_norm_

struct Before {  // slots that adam_prepare reads
  double rate, max_norm, step, skipped;
};

// power1, power2: beta1^t, beta2^t of the step t that begins.
__host__ __device__ inline void prepare(double sum_squares, bool finite, Before before, double power1, double power2, double* slots) {
  const double norm = std::sqrt(sum_squares), divisor = norm + kNormEpsilon;
  slots[adam_norm] = norm;
  if (!finite || !std::isfinite(norm)) {
    slots[adam_gradient_scale] = 0;
    slots[adam_skipped] = before.skipped + 1;
    return;
  }
  slots[adam_step] = before.step + 1;
  slots[adam_gradient_scale] = before.max_norm > 0 && divisor > before.max_norm ? before.max_norm / divisor : 1;
  slots[adam_step_size] = before.rate / (1 - power1);
  slots[adam_sqrt_bias2] = std::sqrt(1 - power2);
}

}  // namespace

namespace cpu {

template <class T>
void adam_prepare(Stream&, In<double> sum_squares, In<T> losses, int64_t count, InOut<double> slots, AdamOptions options) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) finite = finite && std::isfinite(losses[i]);
  const Before before{slots[adam_learning_rate], slots[adam_max_norm], slots[adam_step], slots[adam_skipped]};
  const double t = before.step + 1;
  prepare(*sum_squares, finite, before, std::pow(options.beta1, t), std::pow(options.beta2, t), slots);
}

template <class T>
void adam(Stream&, InOut<T> p, In<T> grad, InOut<T> m, InOut<T> v, int64_t n, In<double> slots, AdamOptions options) {
  if (slots[adam_gradient_scale] == 0) return;
  const AdamUpdate<T> update(slots, options);
  parallel_chunks(n, 16384, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) update(p[i], grad[i], m[i], v[i]);
  });
}

template <class T>
void clip(Stream&, InOut<T> x, int64_t n, In<double> sum_squares, T max_norm) {
  const double norm = std::sqrt(*sum_squares) + kNormEpsilon;
  if (!(norm > max_norm)) return;
  const T factor = static_cast<T>(max_norm / norm);
  parallel_chunks(n, 16384, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) x[i] *= factor;
  });
}

}  // namespace cpu

namespace PV_EXEC {

// One warp, whose loads are under way together, a slot and a loss in each lane. Two lanes compute a power each in the time of one: that is a
// chain of some seventy f64 operations.
template <class T>
__global__ void adam_prepare_kernel(In<double> sum_squares, In<T> losses, int64_t count, double* slots, AdamOptions options) {
  begin_kernel();
  static_assert(adam_slots <= kWarp);
  const int lane = threadIdx.x;
  const double slot = lane < adam_slots ? slots[lane] : 0, squares = *sum_squares;
  bool finite = true;
#pragma unroll 1
  for (int64_t i = lane; i < count; i += kWarp) finite = std::isfinite(losses[i]) && finite;
  finite = __all_sync(kFullMask, finite);
  const double rate = __shfl_sync(kFullMask, slot, adam_learning_rate), max_norm = __shfl_sync(kFullMask, slot, adam_max_norm);
  const double step = __shfl_sync(kFullMask, slot, adam_step), skipped = __shfl_sync(kFullMask, slot, adam_skipped);
  const double power = std::pow(lane == 1 ? options.beta2 : options.beta1, step + 1);
  const double power1 = __shfl_sync(kFullMask, power, 0), power2 = __shfl_sync(kFullMask, power, 1);
  __syncwarp();  // all have read the slots
  if (lane == 0) prepare(squares, finite, {rate, max_norm, step, skipped}, power1, power2, slots);
}

template <class T>
void adam_prepare(Stream& stream, In<double> sum_squares, In<T> losses, int64_t count, InOut<double> slots, AdamOptions options) {
  launch(stream, 1, kWarp, 0, adam_prepare_kernel<T>, sum_squares, losses, count, slots, options);
}

// A thread has one P (T, or a pack of T); the thread behind the last has what is behind the last pack.
template <class T, class P>
__global__ void adam_kernel(T* p, const T* grad, T* m, T* v, int64_t n, In<double> slots, AdamOptions options) {
  begin_kernel();
  constexpr int kSize = sizeof(P) / sizeof(T);
  // From the end: the sum of squares has just read the gradient from the begin, and left as much of its end as the cache holds.
  const int64_t i = int64_t(gridDim.x - 1 - blockIdx.x) * blockDim.x + threadIdx.x, packs = n / kSize;
  if (i > packs || slots[adam_gradient_scale] == 0) return;
  const AdamUpdate<T> update(slots, options);
  if (i < packs) take_pack<P>(p, grad, m, v, i, update);
  else
    for (int64_t j = packs * kSize; j < n; ++j) update(p[j], grad[j], m[j], v[j]);
}

template <class T>
void adam(Stream& stream, InOut<T> p, In<T> grad, InOut<T> m, InOut<T> v, int64_t n, In<double> slots, AdamOptions options) {
  if (n == 0) return;
  const auto run = [&]<class P>() {
    constexpr int64_t kSize = sizeof(P) / sizeof(T);
    launch(stream, grid_for(n / kSize + 1, kBlock), kBlock, 0, adam_kernel<T, P>, p, grad, m, v, n, slots, options);
  };
  if (aligned16(p, grad, m, v)) run.template operator()<Pack<T>>();
  else run.template operator()<T>();
}

template <class T>
__global__ void clip_kernel(InOut<T> x, int64_t n, In<double> sum_squares, T max_norm) {
  begin_kernel();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const double norm = std::sqrt(*sum_squares) + kNormEpsilon;
  if (i < n && norm > max_norm) x[i] *= static_cast<T>(max_norm / norm);
}

template <class T>
void clip(Stream& stream, InOut<T> x, int64_t n, In<double> sum_squares, T max_norm) {
  launch(stream, grid_for(n, kBlock), kBlock, 0, clip_kernel<T>, x, n, sum_squares, max_norm);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(adam_prepare)
PV_INSTANTIATE(adam)
PV_INSTANTIATE(clip)

}  // namespace panvae
