// Dropout (Srivastava et al. 2014): y = x m / (1 - rate), m = 0 with probability `rate`, else 1; the gradient is the same
// function of g_y. m is a function of (key, element): element i is kept where word i % 4 of Philox group i / 4 is not below
// rate 2^32. So every device and type drops the same elements, and the gradient draws again instead of storing a mask. A
// dropped NaN or infinity is NaN (x times 0) and stays visible.
//
// 8 n bytes (f32), about 25 integer operations an element. simt, cuda: a thread has a group of four elements. cpu: words are
// drawn for a buffer of elements at a time, in vector code.
#include <algorithm>

#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/normal.h"
#include "kernels/streaming.h"

namespace panvae {

namespace {

template <class T>
struct Mask {
  uint32_t threshold;
  T scale;
  explicit Mask(double rate) : threshold(static_cast<uint32_t>(rate * 4294967296.0)), scale(static_cast<T>(1 / (1 - rate))) {}
  __host__ __device__ T operator()(T x, uint32_t word) const { return x * (word < threshold ? T(0) : scale); }
};

}  // namespace

namespace cpu {

template <class T>
void mask_elements(Mask<T> mask, const T* x, const uint32_t* words, T* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = mask(x[i], words[i]);
}

template <class T>
void dropout(Stream&, In<T> x, Out<T> y, int64_t n, double rate, PhiloxKey given) {
  const PhiloxKey key = given.now();
  const Mask<T> mask(rate);
  const bool streaming = streams(y, n, x);
  parallel_chunks(n, chunk_of(streaming), [=](int64_t begin, int64_t end) {
    store(streaming, y + begin, end - begin, [=](int64_t first, int64_t count, T* to) {
      uint32_t words[kNoise];
      for (int64_t i = begin + first, last = i + count; i < last;) {
        const int64_t within = i % 4, m = std::min(kNoise - within, last - i);
        draw(key, i - within, within + m, words);
        mask_elements(mask, x + i, words + within, to, m);
        i += m, to += m;
      }
    });
    end_stores(streaming);
  });
}

}  // namespace cpu

namespace PV_EXEC {

template <class T>
__global__ void dropout_kernel(const T* x, T* y, int64_t n, Mask<T> mask, PhiloxKey key, bool packed) {
  begin_kernel();
  constexpr int kPacks = 4 / Pack<T>::size;
  const int64_t g = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (4 * g >= n) return;
  const Philox4 bits = key.now().four(static_cast<uint64_t>(g));
  if (packed && 4 * g + 4 <= n) {
    for (int p = 0; p < kPacks; ++p) {
      Pack<T> v = reinterpret_cast<const Pack<T>*>(x)[g * kPacks + p];
      for (int j = 0; j < Pack<T>::size; ++j) v.v[j] = mask(v.v[j], bits.v[p * Pack<T>::size + j]);
      reinterpret_cast<Pack<T>*>(y)[g * kPacks + p] = v;
    }
  } else {
    for (int64_t j = 0; j < 4 && 4 * g + j < n; ++j) y[4 * g + j] = mask(x[4 * g + j], bits.v[j]);
  }
}

template <class T>
void dropout(Stream& stream, In<T> x, Out<T> y, int64_t n, double rate, PhiloxKey key) {
  launch(stream, grid_for((n + 3) / 4, kBlock), kBlock, 0, dropout_kernel<T>, x, y, n, Mask<T>(rate), key, aligned16(x, y));
}

}  // namespace PV_EXEC

PV_INSTANTIATE(dropout)

}  // namespace panvae
