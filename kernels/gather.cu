// Rows by index, and back; blocks of rows.
//
//   gather_rows       y[i, :] = x[rows[i], :]       2 sizeof(T) bytes an element; a block a row and stretch of up to 2048
//   gather_blocks     y[i, :] = x[rows[i], firsts[i] : firsts[i] + width], of f32, f64 or f16 elements; likewise
//   scatter_add_rows  y[rows[i], :] += x[i, :]      reads x, reads and writes the rows of y that are named; rows are sorted
//                                                   first and summed in the order of the list (row_sums.h); on cuda a
//                                                   short list is read by all rows instead (short_rows.h)
//
// A row or block outside is seen at no cost: a gather gives NaN for it (gather_rows a number of the caller's choice: 0 for the gradient
// of a row that scatter_add_rows has left out), and scatter_add_rows leaves it out, as the gradient of a constant.
#include <limits>

#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/row_sums.h"
#include "kernels/short_rows.h"
#include "kernels/streaming.h"

namespace panvae {

namespace {

template <class T>
struct ScatterSums {
  const T* x;  // [count, columns]
  T* y;        // [target_rows, columns]
  int64_t columns;

  struct Source {
    const T* row;
    __host__ __device__ T operator()(int64_t c) const { return row[c]; }
    void prefetch(int64_t c, int64_t n) const { cpu::prefetch_row(row + c, n); }
  };
  __host__ __device__ T* target(int64_t row) const { return y + row * columns; }
  __host__ __device__ Source source(int64_t index) const { return {x + index * columns}; }
};

// Which part of x [source_rows, source_columns] a block is.
struct BlockPlace {
  int64_t source_rows, source_columns, width;

  __host__ __device__ bool inside(int64_t row, int64_t first) const { return row >= 0 && row < source_rows && first >= 0 && first <= source_columns - width; }
};

template <class T, class From>
__host__ __device__ constexpr T stored_value(From x) {
  if constexpr (std::is_same_v<From, f16>) return static_cast<T>(to_float(x));
  else return x;
}

}  // namespace

namespace cpu {

template <class T>
void gather_rows(Stream&, In<T> x, In<int64_t> rows, Out<T> y, int64_t source_rows, int64_t count, int64_t columns, T outside) {
  if (columns == 0) return;
  const bool streaming = streams(y, count * columns);
  parallel_chunks(count, 1 + 65536 / columns, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (rows[i] >= 0 && rows[i] < source_rows) store_copy(streaming, y + i * columns, x + rows[i] * columns, columns);
      else store_value(streaming, y + i * columns, outside, columns);
    }
    end_stores(streaming);
  });
}

template <class From, class T>
void take_blocks(const From* x, In<int64_t> rows, In<int64_t> firsts, Out<T> y, BlockPlace place, int64_t count) {
  const int64_t width = place.width;
  if (width == 0) return;
  const bool streaming = streams(y, count * width);
  parallel_chunks(count, 1 + 65536 / width, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (!place.inside(rows[i], firsts[i])) {
        store_value(streaming, y + i * width, std::numeric_limits<T>::quiet_NaN(), width);
        continue;
      }
      const From* from = x + rows[i] * place.source_columns + firsts[i];
      if constexpr (std::is_same_v<From, T>) {
        store_copy(streaming, y + i * width, from, width);
      } else {
        store(streaming, y + i * width, width, [=](int64_t first, int64_t n, T* to) {
#pragma omp simd
          for (int64_t j = 0; j < n; ++j) to[j] = stored_value<T>(from[first + j]);
        });
      }
    }
    end_stores(streaming);
  });
}

template <class T>
void gather_blocks(Stream&, In<T> x, In<int64_t> rows, In<int64_t> firsts, Out<T> y, int64_t source_rows, int64_t source_columns, int64_t count,
                   int64_t width) {
  take_blocks(x, rows, firsts, y, {source_rows, source_columns, width}, count);
}
template <class T>
void gather_blocks_f16(Stream&, In<f16> x, In<int64_t> rows, In<int64_t> firsts, Out<T> y, int64_t source_rows, int64_t source_columns, int64_t count,
                       int64_t width) {
  take_blocks(x, rows, firsts, y, {source_rows, source_columns, width}, count);
}

template <class T>
void scatter_add_rows(Stream& stream, In<T> x, In<int64_t> rows, InOut<T> y, int64_t target_rows, int64_t count, int64_t columns, bool accumulate) {
  if (!accumulate) fill<T>(stream, y, target_rows * columns, T(0));
  const RowEntry* entries = sort_rows<int64_t>(stream, rows, count, target_rows, stream.scratch(static_cast<size_t>(sort_rows_bytes(count))));
  add_sorted_rows<T>(ScatterSums<T>{x, y, columns}, entries, count, target_rows, columns, accumulate);
}

}  // namespace cpu

namespace PV_EXEC {

constexpr int kEach = 8;  // columns of a thread

// to [left] = from [left], or `outside`, as far as the block's stretch goes. Rows begin anywhere, so a load has one element: all of a
// thread are under way before the first is stored.
template <class From, class T>
__device__ inline void copy_stretch(const From* from, T* to, int64_t left, bool inside, T outside) {
  const int step = static_cast<int>(blockDim.x), count = static_cast<int>(left < kEach * step ? left : kEach * step);
  T v[kEach];
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int c = static_cast<int>(threadIdx.x) + k * step;
    v[k] = inside && c < count ? stored_value<T>(from[c]) : outside;
  }
#pragma unroll
  for (int k = 0; k < kEach; ++k) {
    const int c = static_cast<int>(threadIdx.x) + k * step;
    if (c < count) to[c] = v[k];
  }
}

template <class T>
__global__ void __launch_bounds__(kBlock)
    gather_rows_kernel(In<T> x, In<int64_t> rows, Out<T> y, int64_t source_rows, int64_t columns, unsigned stretches, T outside) {
  begin_kernel();
  const int64_t i = blockIdx.x / stretches, first = int64_t(blockIdx.x % stretches) * kEach * blockDim.x, row = rows[i];
  const bool inside = row >= 0 && row < source_rows;
  copy_stretch(x + (inside ? row * columns : 0) + first, y + i * columns + first, columns - first, inside, outside);
}

template <class T>
void gather_rows(Stream& stream, In<T> x, In<int64_t> rows, Out<T> y, int64_t source_rows, int64_t count, int64_t columns, T outside) {
  const int block = block_for(columns);
  const int64_t stretches = (columns + kEach * block - 1) / (kEach * block);
  if (count * stretches == 0) return;
  launch(stream, grid_for(count * stretches, 1), block, 0, gather_rows_kernel<T>, x, rows, y, source_rows, columns, static_cast<unsigned>(stretches), outside);
}

template <class From, class T>
__global__ void __launch_bounds__(kBlock)
    gather_blocks_kernel(const From* x, In<int64_t> rows, In<int64_t> firsts, Out<T> y, BlockPlace place, unsigned stretches) {
  begin_kernel();
  const int64_t i = blockIdx.x / stretches, begin = int64_t(blockIdx.x % stretches) * kEach * blockDim.x, row = rows[i], first = firsts[i];
  const bool inside = place.inside(row, first);
  copy_stretch(x + (inside ? row * place.source_columns + first : 0) + begin, y + i * place.width + begin, place.width - begin, inside,
               std::numeric_limits<T>::quiet_NaN());
}

template <class From, class T>
void take_blocks(Stream& stream, const From* x, In<int64_t> rows, In<int64_t> firsts, Out<T> y, BlockPlace place, int64_t count) {
  const int block = block_for(place.width);
  const int64_t stretches = (place.width + kEach * block - 1) / (kEach * block);
  if (count * stretches == 0) return;
  launch(stream, grid_for(count * stretches, 1), block, 0, gather_blocks_kernel<From, T>, x, rows, firsts, y, place, static_cast<unsigned>(stretches));
}

template <class T>
void gather_blocks(Stream& stream, In<T> x, In<int64_t> rows, In<int64_t> firsts, Out<T> y, int64_t source_rows, int64_t source_columns, int64_t count,
                   int64_t width) {
  take_blocks<T, T>(stream, x, rows, firsts, y, {source_rows, source_columns, width}, count);
}
template <class T>
void gather_blocks_f16(Stream& stream, In<f16> x, In<int64_t> rows, In<int64_t> firsts, Out<T> y, int64_t source_rows, int64_t source_columns, int64_t count,
                       int64_t width) {
  take_blocks<f16, T>(stream, x, rows, firsts, y, {source_rows, source_columns, width}, count);
}

template <class T>
void scatter_add_rows(Stream& stream, In<T> x, In<int64_t> rows, InOut<T> y, int64_t target_rows, int64_t count, int64_t columns, bool accumulate) {
  const ScatterSums<T> sums{x, y, columns};
  if (is_short(count, target_rows, columns)) return add_short_rows<T>(stream, sums, rows, count, target_rows, columns, accumulate);
  if (!accumulate) fill<T>(stream, y, target_rows * columns, T(0));
  ScratchPlan plan;
  const int64_t sorting = plan.add<char>(sort_rows_bytes(count)), carries = plan.add<T>(row_carries(count, columns));
  char* memory = stream.scratch<char>(plan.bytes());
  const RowEntry* entries = sort_rows<int64_t>(stream, rows, count, target_rows, memory + sorting);
  add_sorted_rows(stream, sums, entries, count, target_rows, columns, accumulate, reinterpret_cast<T*>(memory + carries));
}

}  // namespace PV_EXEC

PV_INSTANTIATE(gather_rows)
PV_INSTANTIATE(gather_blocks)
PV_INSTANTIATE(gather_blocks_f16)
PV_INSTANTIATE(scatter_add_rows)

}  // namespace panvae
