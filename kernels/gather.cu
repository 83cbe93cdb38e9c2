// gather_rows: y[i, :] = x[rows[i], :]. One block a row (and stretch of 1024 columns), 2 sizeof(T) bytes an element read
// and written once; no two threads write one element.
#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/streaming.h"

namespace panvae {

namespace cpu {

template <class T>
void gather_rows(Stream&, In<T> x, In<int64_t> rows, Out<T> y, int64_t count, int64_t columns) {
  if (columns == 0) return;
  const bool streaming = streams(y, count * columns);
  parallel_chunks(count, 1 + 65536 / columns, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) store_copy(streaming, y + i * columns, x + rows[i] * columns, columns);
    end_stores(streaming);
  });
}

}  // namespace cpu

namespace PV_EXEC {

constexpr int64_t kStretch = 1024;

template <class T>
__global__ void gather_rows_kernel(In<T> x, In<int64_t> rows, Out<T> y, int64_t columns, int64_t stretches) {
  const int64_t row = blockIdx.x / stretches, first = blockIdx.x % stretches * kStretch;
  const int64_t last = first + kStretch < columns ? first + kStretch : columns;
  const T* from = x + rows[row] * columns;
  T* to = y + row * columns;
  for (int64_t c = first + threadIdx.x; c < last; c += blockDim.x) to[c] = from[c];
}

template <class T>
void gather_rows(Stream& stream, In<T> x, In<int64_t> rows, Out<T> y, int64_t count, int64_t columns) {
  const int64_t stretches = (columns + kStretch - 1) / kStretch;
  if (count * stretches == 0) return;
  launch(stream, grid_for(count * stretches, 1), kBlock, 0, gather_rows_kernel<T>, x, rows, y, columns, stretches);
}

}  // namespace PV_EXEC

PV_INSTANTIATE(gather_rows)

}  // namespace panvae
