// Where elements lie.
//
//   copy_strided  y[r y_stride + c] (+)= x[r x_stride + c]    concatenation, slices, and their gradients: a tensor seen as
//                                                            [rows, columns], rows at a distance
//   transpose     y[b, c, r] = x[b, r, c]
//
// Bytes: 2 sizeof(T) an element, 3 where it is added. Every element is written by one thread, so any order of threads
// gives the same bits. copy_strided moves 16 bytes a thread where pointers, strides and columns allow. transpose takes
// 32 x 64 tiles through shared memory: both sides move whole lines, eight elements a thread at once, and a row of 65 there
// keeps the elements of a column in different banks.
#include <algorithm>
#include <cstring>

#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/streaming.h"

namespace panvae {

namespace cpu {

template <class T>
void copy_strided(Stream&, In<T> x, int64_t x_stride, InOut<T> y, int64_t y_stride, int64_t rows, int64_t columns, bool accumulate) {
  const bool streaming = !accumulate && columns * static_cast<int64_t>(sizeof(T)) >= 1024 && streams(y, rows * columns);
  // Chunks of elements, not of rows: there may be one long row, or many short ones.
  parallel_chunks(rows * columns, chunk_of(streaming), [=](int64_t begin, int64_t end) {
    int64_t r = begin / columns, c = begin % columns;
    for (int64_t i = begin; i < end; c = 0, ++r) {
      const int64_t n = std::min(columns - c, end - i);
      const T* from = x + r * x_stride + c;
      T* to = y + r * y_stride + c;
      if (accumulate) {
#pragma omp simd
        for (int64_t j = 0; j < n; ++j) to[j] += from[j];
      } else if (n >= 64) {
        store_copy(streaming, to, from, n);
      } else {
#pragma omp simd
        for (int64_t j = 0; j < n; ++j) to[j] = from[j];
      }
      i += n;
    }
    end_stores(streaming);
  });
}

// kSize cache lines of kSize elements. Interleaving line i with line i + kSize / 2, log2(kSize) times, transposes them; the
// compiler makes shuffles of it.
template <class T>
struct Square {
  static constexpr int kSize = 64 / sizeof(T);

  static void interleave(const T* from, T* to) {
    for (int i = 0; i < kSize / 2; ++i) {
      const T *a = from + i * kSize, *b = a + kSize / 2 * kSize;
      T* pairs = to + 2 * i * kSize;
#pragma omp simd
      for (int j = 0; j < kSize; ++j) {
        pairs[2 * j] = a[j];
        pairs[2 * j + 1] = b[j];
      }
    }
  }
  static void transpose(const T* x, int64_t x_stride, T* y, int64_t y_stride) {
    static_assert(kSize == 8 || kSize == 16);
    alignas(64) T lines[kSize * kSize], other[kSize * kSize];
    for (int i = 0; i < kSize; ++i) std::memcpy(lines + i * kSize, x + i * x_stride, kSize * sizeof(T));
    interleave(lines, other);
    interleave(other, lines);
    interleave(lines, other);
    if constexpr (kSize == 16) interleave(other, lines);
    const T* turned = kSize == 16 ? lines : other;
    for (int i = 0; i < kSize; ++i) std::memcpy(y + i * y_stride, turned + i * kSize, kSize * sizeof(T));
  }
};

template <class T>
void transpose(Stream& stream, In<T> x, Out<T> y, int64_t B, int64_t R, int64_t C) {
  if (R == 1 || C == 1) return copy<T>(stream, x, y, B * R * C);
  constexpr int64_t kSize = Square<T>::kSize, kDown = 4 * kSize, kAcross = 32 * kSize;
  const int64_t down = (R + kDown - 1) / kDown, across = (C + kAcross - 1) / kAcross;
  parallel_chunks(B * down * across, 1, [=](int64_t tile, int64_t end) {
    for (; tile < end; ++tile) {
      const int64_t b = tile / (down * across), top = tile % down * kDown, left = tile / down % across * kAcross;
      const int64_t bottom = std::min(R, top + kDown), right = std::min(C, left + kAcross);
      const int64_t whole_bottom = bottom - (bottom - top) % kSize, whole_right = right - (right - left) % kSize;
      const T* from = x + b * R * C;
      T* to = y + b * R * C;
      for (int64_t r = top; r < whole_bottom; r += kSize)
        for (int64_t c = left; c < whole_right; c += kSize) Square<T>::transpose(from + r * C + c, C, to + c * R + r, R);
      for (int64_t j = left; j < whole_right; ++j)
        for (int64_t i = whole_bottom; i < bottom; ++i) to[j * R + i] = from[i * C + j];
      for (int64_t j = whole_right; j < right; ++j)
        for (int64_t i = top; i < bottom; ++i) to[j * R + i] = from[i * C + j];
    }
  });
}

}  // namespace cpu

namespace PV_EXEC {

// Pieces of V (T, or a pack of T), `pieces` a row. I is the type of indices: 32 bits divide faster.
template <class T, class V, class I>
__global__ void copy_strided_kernel(In<T> x, int64_t x_stride, InOut<T> y, int64_t y_stride, int64_t total, I pieces, bool accumulate) {
  begin_kernel();
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= total) return;
  constexpr int kSize = sizeof(V) / sizeof(T);
  const I r = static_cast<I>(i) / pieces, c = static_cast<I>(i) - r * pieces;
  const T* from = x + int64_t(r) * x_stride + int64_t(c) * kSize;
  T* to = y + int64_t(r) * y_stride + int64_t(c) * kSize;
  if constexpr (kSize == 1) {
    *to = accumulate ? *to + *from : *from;
  } else {
    V v = *reinterpret_cast<const V*>(from);
    if (accumulate) {
      const V old = *reinterpret_cast<const V*>(to);
      for (int j = 0; j < kSize; ++j) v.v[j] += old.v[j];
    }
    *reinterpret_cast<V*>(to) = v;
  }
}

template <class T, class V>
void copy_pieces(Stream& stream, In<T> x, int64_t x_stride, InOut<T> y, int64_t y_stride, int64_t rows, int64_t pieces, bool accumulate) {
  const int64_t total = rows * pieces;
  if (total <= stream.short_index)
    launch(stream, grid_for(total, kBlock), kBlock, 0, copy_strided_kernel<T, V, uint32_t>, x, x_stride, y, y_stride, total, static_cast<uint32_t>(pieces),
           accumulate);
  else launch(stream, grid_for(total, kBlock), kBlock, 0, copy_strided_kernel<T, V, int64_t>, x, x_stride, y, y_stride, total, pieces, accumulate);
}

template <class T>
void copy_strided(Stream& stream, In<T> x, int64_t x_stride, InOut<T> y, int64_t y_stride, int64_t rows, int64_t columns, bool accumulate) {
  if (rows * columns == 0) return;
  constexpr int64_t kSize = Pack<T>::size;
  if (aligned16(x, y) && columns % kSize == 0 && (rows == 1 || (x_stride % kSize == 0 && y_stride % kSize == 0)))
    copy_pieces<T, Pack<T>>(stream, x, x_stride, y, y_stride, rows, columns / kSize, accumulate);
  else copy_pieces<T, T>(stream, x, x_stride, y, y_stride, rows, columns, accumulate);
}

// Tiles of x: kDown rows by kAcross columns, all loads of a thread under way before the first is waited for.
constexpr int kDown = kWarp, kAcross = 2 * kWarp, kWarps = kBlock / kWarp;

template <class T>
__global__ void __launch_bounds__(kBlock) transpose_kernel(In<T> x, Out<T> y, int64_t R, int64_t C, unsigned down, unsigned across) {
  begin_kernel();
  using Row = T[kAcross + 1];
  SHARED(Row, tile, kDown);
  const unsigned above = blockIdx.x / across;
  const int64_t b = above / down, r0 = int64_t(above % down) * kDown, c0 = int64_t(blockIdx.x % across) * kAcross;
  const int rows = static_cast<int>(R - r0 < kDown ? R - r0 : kDown), columns = static_cast<int>(C - c0 < kAcross ? C - c0 : kAcross);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const T* from = x + (b * R + r0 + warp) * C + c0 + lane;
  T v[kDown / kWarps][kAcross / kWarp];
#pragma unroll
  for (int i = 0; i < kDown / kWarps; ++i, from += kWarps * C)
#pragma unroll
    for (int j = 0; j < kAcross / kWarp; ++j) v[i][j] = warp + i * kWarps < rows && lane + j * kWarp < columns ? from[j * kWarp] : T(0);
#pragma unroll
  for (int i = 0; i < kDown / kWarps; ++i)
#pragma unroll
    for (int j = 0; j < kAcross / kWarp; ++j) tile[warp + i * kWarps][lane + j * kWarp] = v[i][j];
  __syncthreads();
  if (lane >= rows) return;
  T* to = y + (b * C + c0 + warp) * R + r0 + lane;
#pragma unroll
  for (int k = 0; k < kAcross / kWarps; ++k, to += kWarps * R)
    if (warp + k * kWarps < columns) *to = tile[lane][warp + k * kWarps];
}

template <class T>
void transpose(Stream& stream, In<T> x, Out<T> y, int64_t B, int64_t R, int64_t C) {
  if (R == 1 || C == 1) return copy<T>(stream, x, y, B * R * C);
  const int64_t down = (R + kDown - 1) / kDown, across = (C + kAcross - 1) / kAcross;
  const unsigned tiles = grid_for(B * down * across, 1);  // so `down` and `across` are numbers of 32 bits, too
  launch(stream, tiles, kBlock, 0, transpose_kernel<T>, x, y, R, C, static_cast<unsigned>(down), static_cast<unsigned>(across));
}

}  // namespace PV_EXEC

PV_INSTANTIATE(copy_strided)
PV_INSTANTIATE(transpose)

}  // namespace panvae
