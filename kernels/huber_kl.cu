// Fused loss of a VAE: Huber reconstruction and Kullback-Leibler divergence to N(0, I), with all gradients, in one pass
// over each tensor (SPEC L1 to L3; Huber 1964; Kingma and Welling 2014, appendix B).
//
//   h(r) = c (r - c / 2), c = clamp(r, -delta, delta), r = pred - target    = r^2 / 2 inside, delta (|r| - delta / 2) outside
//   k    = (mu^2 + exp(l) - 1 - l) / 2, l = clamp(logvar, -15, 15)
//   loss = 1/B sum_b (sum_g h + kl_weight sum_z k)
//   g_pred = c / B;  g_mu = kl_weight mu / B;  g_logvar = kl_weight (exp(l) - 1) / (2 B) within the clamp, else 0
//
// Bytes (f32): 12 B G + 16 B Z (read pred, target, mu, logvar; write the gradients). Parallel over stretches of 4096
// elements (2048 on cuda, eight a thread, all loads under way at once); each leaves its partial sum (f64), added by one block
// in fixed order: no atomics. g_pred may overwrite pred. A NaN in any input reaches the loss.
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

constexpr int64_t kPart = 2048;  // elements of a block
constexpr int kTotalBlock = 512;

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

// Blocks of the divergence come first: their exponentials take longest. `packed`: pred, target and grad_pred are aligned.
template <class T>
__global__ void __launch_bounds__(kBlock)
    huber_kl_kernel(Loss<T> f, const T* pred, In<T> target, In<T> mu, In<T> logvar, int64_t huber_elements, int64_t kl_elements, unsigned kl_parts, bool packed,
                    Out<double> partials, T* grad_pred, Out<T> grad_mu, Out<T> grad_logvar) {
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
}

// Both sums in one pass of the block: what a small kernel takes is how often it waits.
template <class T>
__global__ void __launch_bounds__(kTotalBlock)
    huber_kl_total_kernel(In<double> partials, int kl_parts, int parts, double inverse_batch, T kl_weight, Out<T> loss) {
  SHARED(double, of_warp, 2 * kWarp);
  double huber = 0, kl = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < parts; i += kTotalBlock) {
    const double part = partials[i];
    kl += i < kl_parts ? part : 0;
    huber += i < kl_parts ? 0 : part;
  }
  kl = warp_sum(kl);
  huber = warp_sum(huber);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = kTotalBlock / kWarp;
  if (lane == 0) {
    of_warp[warp] = kl;
    of_warp[kWarp + warp] = huber;
  }
  __syncthreads();
  if (warp != 0) return;
  kl = warp_sum(lane < warps ? of_warp[lane] : 0) * inverse_batch;
  huber = warp_sum(lane < warps ? of_warp[kWarp + lane] : 0) * inverse_batch;
  if (lane != 0) return;
  loss[0] = static_cast<T>(huber + static_cast<double>(kl_weight) * kl);
  loss[1] = static_cast<T>(huber);
  loss[2] = static_cast<T>(kl);
}

template <class T>
void huber_kl(Stream& stream, In<T> pred, In<T> target, In<T> mu, In<T> logvar, int64_t B, int64_t G, int64_t Z, T delta, T kl_weight, Out<T> loss,
              Out<T> grad_pred, Out<T> grad_mu, Out<T> grad_logvar) {
  const Loss<T> f{delta, kl_weight, T(1) / static_cast<T>(B)};
  const unsigned kl_parts = grid_for(B * Z, kPart), parts = kl_parts + grid_for(B * G, kPart);
  double* partials = stream.scratch<double>(int64_t{parts} + 1);
  launch(stream, parts, kBlock, 0, huber_kl_kernel<T>, f, pred, target, mu, logvar, B * G, B * Z, kl_parts, aligned16(pred, target, grad_pred), partials,
         grad_pred, grad_mu, grad_logvar);
  launch(stream, 1, kTotalBlock, 0, huber_kl_total_kernel<T>, static_cast<In<double>>(partials), static_cast<int>(kl_parts), static_cast<int>(parts),
         1.0 / static_cast<double>(B), kl_weight, loss);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(huber_kl)

}  // namespace panvae
