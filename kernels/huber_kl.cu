// Fused loss of a VAE: Huber reconstruction and Kullback-Leibler divergence to N(0, I), with all gradients, in one pass
// over each tensor (SPEC L1 to L3; Huber 1964; Kingma and Welling 2014, appendix B).
//
//   h(r) = c (r - c / 2), c = clamp(r, -delta, delta), r = pred - target    = r^2 / 2 inside, delta (|r| - delta / 2) outside
//   k    = (mu^2 + exp(l) - 1 - l) / 2, l = clamp(logvar, -15, 15)
//   loss = 1/B sum_b (sum_g h + kl_weight sum_z k)
//   g_pred = c / B;  g_mu = kl_weight mu / B;  g_logvar = kl_weight (exp(l) - 1) / (2 B) within the clamp, else 0
//
// Bytes (f32): 12 B G + 16 B Z (read pred, target, mu, logvar; write the gradients). Parallel over stretches of 4096
// elements (2048 on cuda, eight a thread, all loads under way at once); each leaves its partial sum, and they are added in f64 in
// fixed order, on cuda by the block that comes last (kernels/last_block.h). g_pred may overwrite pred. A NaN in any input reaches the loss.
#include <algorithm>

#include "base/threads.h"
#include "kernels/block_sums.h"
#include "kernels/device_math.h"
#include "kernels/huber.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/last_block.h"
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
template <class T>
double kl_sum(Loss<T> f, const T* mu, const T* logvar, T* grad_mu, T* grad_logvar, int64_t n) {
  double s = 0;
#pragma omp simd reduction(+ : s)
  for (int64_t i = 0; i < n; ++i) s += f.kl(mu[i], logvar[i], grad_mu[i], grad_logvar[i]);
  return s;
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
    partials[huber_stretches + begin / kStretch] = kl_sum<T>(f, mu + begin, logvar + begin, grad_mu + begin, grad_logvar + begin, end - begin);
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

constexpr int64_t kPart = 2048;  // elements of a block

// The loss of `pieces` of V (T, or a pack of T), kPieces a thread. All are read before the first is written: grad_pred may be pred.
template <class T, class V>
__device__ inline T huber_pieces(Loss<T> f, const T* pred, const T* target, T* grad_pred, int pieces) {
  constexpr int kSize = sizeof(V) / sizeof(T), kPieces = static_cast<int>(kPart) / kSize / kBlock;
  V p[kPieces], t[kPieces];
#pragma unroll
  for (int k = 0; k < kPieces; ++k) {
    const int i = threadIdx.x + k * kBlock;
    if (i >= pieces) continue;
    p[k] = reinterpret_cast<const V*>(pred)[i];
    t[k] = reinterpret_cast<const V*>(target)[i];
  }
  T s = T(0);
#pragma unroll
  for (int k = 0; k < kPieces; ++k) {
    const int i = threadIdx.x + k * kBlock;
    if (i >= pieces) continue;
    if constexpr (kSize == 1) {
      s += f.huber(p[k], t[k], p[k]);
    } else {
#pragma unroll
      for (int j = 0; j < kSize; ++j) s += f.huber(p[k].v[j], t[k].v[j], p[k].v[j]);
    }
    reinterpret_cast<V*>(grad_pred)[i] = p[k];
  }
  return s;
}

// All parts by one block: those of the divergence, which are few, by its last warp, the others by its other warps. What the end of a
// kernel takes is how often it waits, so 12 loads of a thread are under way at once.
template <class T>
__device__ inline void huber_kl_total(const T* partials, unsigned kl_parts, double inverse_batch, T kl_weight, T* loss) {
  constexpr int kLoads = 12, kHuber = kBlock - kWarp;
  SHARED(double, of_warp, kBlock / kWarp);
  const bool is_kl = threadIdx.x >= kHuber;
  const unsigned first = is_kl ? threadIdx.x - kHuber : kl_parts + threadIdx.x, last = is_kl ? kl_parts : gridDim.x;
  const double s = warp_sum(sum_ahead<double, kLoads>(partials, first, last, is_kl ? kWarp : kHuber));
  if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = s;
  __syncthreads();
  if (threadIdx.x > 0) return;
  double huber = 0;
#pragma unroll
  for (int i = 0; i < kHuber / kWarp; ++i) huber += of_warp[i];
  huber *= inverse_batch;
  const double kl = of_warp[kHuber / kWarp] * inverse_batch;
  loss[0] = static_cast<T>(huber + static_cast<double>(kl_weight) * kl);
  loss[1] = static_cast<T>(huber);
  loss[2] = static_cast<T>(kl);
}

// Blocks of the divergence come first: their exponentials take longest. `packed`: pred, target and grad_pred are aligned.
template <class T>
__global__ void __launch_bounds__(kBlock)
    huber_kl_kernel(Loss<T> f, const T* pred, In<T> target, In<T> mu, In<T> logvar, int64_t huber_elements, int64_t kl_elements, unsigned kl_parts, bool packed,
                    double inverse_batch, T* partials, unsigned* arrivals, Out<T> loss, T* grad_pred, Out<T> grad_mu, Out<T> grad_logvar) {
  begin_kernel();
  const bool is_kl = blockIdx.x < kl_parts;
  const int64_t n = is_kl ? kl_elements : huber_elements, first = int64_t(is_kl ? blockIdx.x : blockIdx.x - kl_parts) * kPart;
  const int count = static_cast<int>(first + kPart < n ? kPart : n - first);
  T s = T(0);
  if (is_kl) {
    constexpr int kEach = kPart / kBlock;
    T m[kEach], l[kEach];
#pragma unroll
    for (int k = 0; k < kEach; ++k) {
      const int i = threadIdx.x + k * kBlock;
      m[k] = i < count ? mu[first + i] : T(0);
      l[k] = i < count ? logvar[first + i] : T(0);
    }
#pragma unroll
    for (int k = 0; k < kEach; ++k) {
      const int i = threadIdx.x + k * kBlock;
      if (i < count) s += f.kl(m[k], l[k], grad_mu[first + i], grad_logvar[first + i]);
    }
  } else if (packed && count == kPart) {
    s = huber_pieces<T, Pack<T>>(f, pred + first, target + first, grad_pred + first, count / Pack<T>::size);
  } else {
    s = huber_pieces<T, T>(f, pred + first, target + first, grad_pred + first, count);
  }
  s = block_sum(s);
  if (threadIdx.x == 0) partials[blockIdx.x] = s;
  if (last_block(arrivals)) huber_kl_total(partials, kl_parts, inverse_batch, f.kl_weight, loss);
}

template <class T>
void huber_kl(Stream& stream, In<T> pred, In<T> target, In<T> mu, In<T> logvar, int64_t B, int64_t G, int64_t Z, T delta, T kl_weight, Out<T> loss,
              Out<T> grad_pred, Out<T> grad_mu, Out<T> grad_logvar) {
  const Loss<T> f{delta, kl_weight, T(1) / static_cast<T>(B)};
  const unsigned kl_parts = grid_for(B * Z, kPart), parts = kl_parts + grid_for(B * G, kPart);
  T* partials = stream.scratch<T>(std::max(parts, 1u));
  launch(stream, std::max(parts, 1u), kBlock, 0, huber_kl_kernel<T>, f, pred, target, mu, logvar, B * G, B * Z, kl_parts, aligned16(pred, target, grad_pred),
         1.0 / static_cast<double>(B), partials, arrivals_of(stream), loss, grad_pred, grad_mu, grad_logvar);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(huber_kl)

}  // namespace panvae
