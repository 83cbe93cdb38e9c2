// Casts between the computing types (f32, f64) and the storage types (f32, bf16). To bf16 they round to nearest, ties to
// even, through f32. Elementwise: (sizeof from + sizeof to) n bytes, order-free.
#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/streaming.h"

namespace panvae {

namespace {

template <class To, class From>
constexpr To cast_value(From x) {
  if constexpr (std::is_same_v<To, bf16>) return to_bf16(static_cast<float>(x));
  else if constexpr (std::is_same_v<From, bf16>) return static_cast<To>(to_float(x));
  else return static_cast<To>(x);
}

}  // namespace

namespace cpu {

template <class To, class From>
void cast(const From* x, To* y, int64_t n) {
  const bool streaming = streams(y, n, x);
  parallel_chunks(n, chunk_of(streaming), [=](int64_t begin, int64_t end) {
    if constexpr (std::is_same_v<To, From>) {
      store_copy(streaming, y + begin, x + begin, end - begin);
    } else {
      store(streaming, y + begin, end - begin, [=](int64_t first, int64_t count, To* to) {
        const From* from = x + begin + first;
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) to[i] = cast_value<To>(from[i]);
      });
    }
    end_stores(streaming);
  });
}

template <class T>
void cast_to_f32(Stream&, In<T> x, Out<float> y, int64_t n) {
  cast(x, y, n);
}
template <class T>
void cast_from_f32(Stream&, In<float> x, Out<T> y, int64_t n) {
  cast(x, y, n);
}
template <class T>
void cast_to_bf16(Stream&, In<T> x, Out<bf16> y, int64_t n) {
  cast(x, y, n);
}
template <class T>
void cast_from_bf16(Stream&, In<bf16> x, Out<T> y, int64_t n) {
  cast(x, y, n);
}

}  // namespace cpu

namespace PV_EXEC {

template <class To, class From>
__global__ void cast_kernel(const From* x, To* y, int64_t n) {
  begin_kernel();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < n) y[i] = cast_value<To>(x[i]);
}

template <class To, class From>
void cast(Stream& stream, const From* x, To* y, int64_t n) {
  launch(stream, grid_for(n, kBlock), kBlock, 0, cast_kernel<To, From>, x, y, n);
}

template <class T>
void cast_to_f32(Stream& s, In<T> x, Out<float> y, int64_t n) {
  cast(s, x, y, n);
}
template <class T>
void cast_from_f32(Stream& s, In<float> x, Out<T> y, int64_t n) {
  cast(s, x, y, n);
}
template <class T>
void cast_to_bf16(Stream& s, In<T> x, Out<bf16> y, int64_t n) {
  cast(s, x, y, n);
}
template <class T>
void cast_from_bf16(Stream& s, In<bf16> x, Out<T> y, int64_t n) {
  cast(s, x, y, n);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(cast_to_f32)
PV_INSTANTIATE(cast_from_f32)
PV_INSTANTIATE(cast_to_bf16)
PV_INSTANTIATE(cast_from_bf16)

}  // namespace panvae
