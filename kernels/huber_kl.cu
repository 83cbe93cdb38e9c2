// Fused loss of a VAE: Huber reconstruction and Kullback-Leibler divergence to N(0, I), with all gradients, in one pass
// over each tensor (SPEC L1 to L3; Huber 1964; Kingma and Welling 2014, appendix B).
//
//   h(r) = c (r - c / 2), c = clamp(r, -delta, delta), r = pred - target    = r^2 / 2 inside, delta (|r| - delta / 2) outside
//   k    = (mu^2 + exp(l) - 1 - l) / 2, l = clamp(logvar, -15, 15)
//   loss = 1/B sum_b (sum_g h + kl_weight sum_z k)
//   g_pred = c / B;  g_mu = kl_weight mu / B;  g_logvar = kl_weight (exp(l) - 1) / (2 B) within the clamp, else 0
//
// Bytes (f32): 12 B G + 16 B Z (read pred, target, mu, logvar; write the gradients). Parallel over stretches of 4096
// elements of a sample; each leaves its two partial sums (f64), added by one block in fixed order: no atomics. g_pred may
// overwrite pred. A NaN in any input reaches the loss.
#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/huber.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/streaming.h"

namespace panvae {

namespace {

constexpr int64_t kStretch = 4096;

}  // namespace

namespace cpu {

// Loops in functions of their own, which take the scalars by value: a store cannot change them, so they stay in registers.
template <class T>
double huber_sum(Loss<T> f, const T* pred, const T* target, int64_t n) {
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (int64_t i = 0; i < n; ++i) {
    T unused;
    s += f.huber(pred[i], target[i], unused);
  }
  return s;
}
template <class T>
void huber_gradient(Loss<T> f, const T* pred, const T* target, T* grad_pred, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) f.huber(pred[i], target[i], grad_pred[i]);
}

// The elements of all samples lie behind one another, so stretches run over the whole batch and not over each sample.
template <class T>
void huber_kl(Stream& stream, In<T> pred, In<T> target, In<T> mu, In<T> logvar, int64_t B, int64_t G, int64_t Z, T delta, T kl_weight, Out<T> loss,
              Out<T> grad_pred, Out<T> grad_mu, Out<T> grad_logvar) {
  const Loss<T> f{delta, kl_weight, T(1) / static_cast<T>(B)};
  const int64_t huber_stretches = (B * G + kStretch - 1) / kStretch, kl_stretches = (B * Z + kStretch - 1) / kStretch;
  double* partials = stream.scratch<double>(huber_stretches + kl_stretches + 1);
  const bool streaming = streams(grad_pred, B * G, pred, target);
  parallel_chunks(huber_stretches, chunk_of(streaming) / kStretch, [=](int64_t begin, int64_t end) {
    for (int64_t stretch = begin; stretch < end; ++stretch) {
      const int64_t from = stretch * kStretch, n = std::min(kStretch, B * G - from);
      partials[stretch] = huber_sum(f, pred + from, target + from, n);
      // The same elements again, from L1: the sum must be there before grad_pred is written over pred.
      store(streaming, grad_pred + from, n,
            [=](int64_t first, int64_t count, T* to) { huber_gradient(f, pred + from + first, target + from + first, to, count); });
    }
    end_stores(streaming);
  });
  parallel_chunks(B * Z, kStretch, [=](int64_t begin, int64_t end) {
    double s = 0;
    for (int64_t i = begin; i < end; ++i) s += f.kl(mu[i], logvar[i], grad_mu[i], grad_logvar[i]);
    partials[huber_stretches + begin / kStretch] = s;
  });
  double huber = 0, kl = 0;
  for (int64_t i = 0; i < huber_stretches; ++i) huber += partials[i];
  for (int64_t i = 0; i < kl_stretches; ++i) kl += partials[huber_stretches + i];
  huber /= static_cast<double>(B);
  kl /= static_cast<double>(B);
  loss[0] = static_cast<T>(huber + static_cast<double>(kl_weight) * kl);
  loss[1] = static_cast<T>(huber);
  loss[2] = static_cast<T>(kl);
}

}  // namespace cpu

namespace PV_EXEC {

template <class T>
__global__ void huber_kl_kernel(Loss<T> f, const T* pred, In<T> target, In<T> mu, In<T> logvar, int64_t huber_elements, int64_t kl_elements,
                                int64_t huber_stretches, Out<double> partials, T* grad_pred, Out<T> grad_mu, Out<T> grad_logvar) {
  const bool is_huber = blockIdx.x < huber_stretches;
  const int64_t stretch = is_huber ? int64_t(blockIdx.x) : blockIdx.x - huber_stretches, n = is_huber ? huber_elements : kl_elements;
  const int64_t first = stretch * kStretch, last = first + kStretch < n ? first + kStretch : n;
  T s = T(0);
  if (is_huber) {
    for (int64_t i = first + threadIdx.x; i < last; i += blockDim.x) {
      T g;
      s += f.huber(pred[i], target[i], g);
      grad_pred[i] = g;
    }
  } else {
    for (int64_t i = first + threadIdx.x; i < last; i += blockDim.x) s += f.kl(mu[i], logvar[i], grad_mu[i], grad_logvar[i]);
  }
  s = block_sum(s);
  if (threadIdx.x == 0) partials[blockIdx.x] = s;
}

template <class T>
__global__ void huber_kl_total_kernel(In<double> partials, int64_t huber_stretches, int64_t kl_stretches, double inverse_batch, T kl_weight, Out<T> loss) {
  double huber = 0, kl = 0;
  for (int64_t i = threadIdx.x; i < huber_stretches; i += blockDim.x) huber += partials[i];
  for (int64_t i = threadIdx.x; i < kl_stretches; i += blockDim.x) kl += partials[huber_stretches + i];
  huber = block_sum(huber) * inverse_batch;
  kl = block_sum(kl) * inverse_batch;
  if (threadIdx.x == 0) {
    loss[0] = static_cast<T>(huber + static_cast<double>(kl_weight) * kl);
    loss[1] = static_cast<T>(huber);
    loss[2] = static_cast<T>(kl);
  }
}

template <class T>
void huber_kl(Stream& stream, In<T> pred, In<T> target, In<T> mu, In<T> logvar, int64_t B, int64_t G, int64_t Z, T delta, T kl_weight, Out<T> loss,
              Out<T> grad_pred, Out<T> grad_mu, Out<T> grad_logvar) {
  const Loss<T> f{delta, kl_weight, T(1) / static_cast<T>(B)};
  const int64_t huber_stretches = (B * G + kStretch - 1) / kStretch, kl_stretches = (B * Z + kStretch - 1) / kStretch;
  double* partials = stream.scratch<double>(huber_stretches + kl_stretches + 1);
  launch(stream, grid_for(huber_stretches + kl_stretches, 1), kBlock, 0, huber_kl_kernel<T>, f, pred, target, mu, logvar, B * G, B * Z, huber_stretches,
         partials, grad_pred, grad_mu, grad_logvar);
  launch(stream, 1, kBlock, 0, huber_kl_total_kernel<T>, static_cast<In<double>>(partials), huber_stretches, kl_stretches, 1.0 / static_cast<double>(B),
         kl_weight, loss);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(huber_kl)

}  // namespace panvae
