// Triplet loss (SPEC L6; Schroff, Kalenichenko and Philbin 2015, with distances that are not squared), the rows taken by
// index: a = x[anchors[t]], p = y[positives[t]], n = y[negatives[t]], all of D columns.
//
//   d(u, v) = sqrt(|u - v|^2 + 1e-12)                   v_t = d(a, p) - d(a, n) + margin
//   loss = 1/T sum_t max(v_t, 0)
//   g_a = (a - p) / (T d(a, p)) - (a - n) / (T d(a, n));  g_p = -(a - p) / (T d(a, p));  g_n = (a - n) / (T d(a, n))
//
// where v_t >= 0, else 0. 1e-12 keeps the gradient of identical points finite (it is 0 there) and moves no distance above
// 1e-4 by more than 5e-9; PyTorch's own functions add 1e-6 to each difference, which is not symmetric.
//
// A block a triplet computes both distances and leaves v_t and the two factors 1 / (T d); v_t are added by one block in
// fixed order. The gradients are sums over the triplets that name a row: all 3 T rows are sorted together and the sums of
// a row made in the order of the list (row_sums.h), reading the rows again instead of storing 3 T D values;
// on cuda a short list is not sorted, but read by all rows (short_rows.h). A triplet
// without loss names no row, so it costs nothing there. Bytes (f32): about 12 T D for the distances, 28 T D for the
// gradients, 4 (N + M) D to write them.
//
// An index outside makes the loss NaN and names no row. A NaN in a row that is used reaches the loss.
#include <cmath>
#include <limits>

#include "base/threads.h"
#include "kernels/device_math.h"
#include "kernels/instantiate.h"
#include "kernels/kernels.h"
#include "kernels/row_sums.h"
#include "kernels/short_rows.h"

namespace panvae {

namespace {

// From the squared distances to the triplet's loss and the factors of its gradients.
template <class A>
struct Hinge {
  A margin, inverse_count;

  __host__ __device__ A operator()(A positive, A negative, A& to_positive, A& to_negative) const {
    const A dp = std::sqrt(positive + A(1e-12)), dn = std::sqrt(negative + A(1e-12)), v = dp - dn + margin;
    const bool off = v < A(0);  // a NaN is not
    to_positive = off ? A(0) : inverse_count / dp;
    to_negative = off ? A(0) : inverse_count / dn;
    return off ? A(0) : v;
  }
};

// What the triplets add to the gradients. Target rows are those of grad_x, then those of grad_y; where both are one
// tensor, they are the same rows. Entry t, T + t or 2 T + t is the anchor, positive or negative of triplet t.
template <class T>
struct TripletSums {
  const T *x, *y;
  const int64_t *anchors, *positives, *negatives;
  int64_t N, M, D, count;
  T *grad_x, *grad_y;  // null where not wanted
  const T* factors;    // [T, 2]

  __host__ __device__ int64_t x_rows() const { return grad_x ? N : 0; }
  __host__ __device__ int64_t y_begin() const { return grad_x == grad_y ? 0 : x_rows(); }
  __host__ __device__ int64_t rows() const { return grad_x == grad_y ? x_rows() : x_rows() + (grad_y ? M : 0); }
  __host__ __device__ bool inside(int64_t t) const {
    return anchors[t] >= 0 && anchors[t] < N && positives[t] >= 0 && positives[t] < M && negatives[t] >= 0 && negatives[t] < M;
  }
  // The rows that triplet t names, `rows()` for none.
  __host__ __device__ void name_rows(int64_t t, bool active, int64_t* named) const {
    named[t] = active && grad_x ? anchors[t] : rows();
    named[count + t] = active && grad_y ? y_begin() + positives[t] : rows();
    named[2 * count + t] = active && grad_y ? y_begin() + negatives[t] : rows();
  }

  struct Source {
    const T *a, *p, *n;
    T to_positive, to_negative;
    int64_t part;
    __host__ __device__ T operator()(int64_t c) const {
      if (part == 0) return to_positive * (a[c] - p[c]) - to_negative * (a[c] - n[c]);
      return part == 1 ? to_positive * (p[c] - a[c]) : to_negative * (a[c] - n[c]);
    }
    void prefetch(int64_t c, int64_t columns) const {
      cpu::prefetch_row(a + c, columns);
      if (part != 2) cpu::prefetch_row(p + c, columns);
      if (part != 1) cpu::prefetch_row(n + c, columns);
    }
  };
  __host__ __device__ T* target(int64_t row) const { return row < x_rows() ? grad_x + row * D : grad_y + (row - y_begin()) * D; }
  __host__ __device__ Source source(int64_t index) const {
    const int64_t part = index < count ? 0 : index < 2 * count ? 1 : 2, t = index - part * count;
    return {x + anchors[t] * D, y + positives[t] * D, y + negatives[t] * D, factors[2 * t], factors[2 * t + 1], part};
  }
};

}  // namespace

namespace cpu {

template <class T>
void triplet(Stream& stream, In<T> x, In<T> y, In<int64_t> anchors, In<int64_t> positives, In<int64_t> negatives, int64_t N, int64_t M, int64_t D,
             int64_t count, T margin, Out<T> loss, Out<T> grad_x, Out<T> grad_y) {
  ScratchPlan plan;
  const int64_t values_at = plan.add<double>(count), factors_at = plan.add<T>(2 * count), named_at = plan.add<int64_t>(3 * count),
                sorting_at = plan.add<char>(sort_rows_bytes(3 * count));
  char* memory = stream.scratch<char>(plan.bytes());
  double* values = reinterpret_cast<double*>(memory + values_at);
  T* factors = reinterpret_cast<T*>(memory + factors_at);
  int64_t* named = reinterpret_cast<int64_t*>(memory + named_at);
  const TripletSums<T> sums{x, y, anchors, positives, negatives, N, M, D, count, grad_x, grad_y, factors};
  const Hinge<double> hinge{static_cast<double>(margin), 1.0 / static_cast<double>(count)};
  parallel_chunks(count, 1 + 16384 / (D + 1), [=](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const bool inside = sums.inside(t);
      double positive = 0, negative = 0;
      if (inside) {
        const T *a = x + anchors[t] * D, *p = y + positives[t] * D, *n = y + negatives[t] * D;
#pragma omp simd reduction(+ : positive, negative)
        for (int64_t c = 0; c < D; ++c) {
          const double to_p = static_cast<double>(a[c]) - static_cast<double>(p[c]), to_n = static_cast<double>(a[c]) - static_cast<double>(n[c]);
          positive += to_p * to_p;
          negative += to_n * to_n;
        }
      }
      double to_positive, to_negative;
      const double v = hinge(positive, negative, to_positive, to_negative);
      values[t] = inside ? v : std::numeric_limits<double>::quiet_NaN();
      factors[2 * t] = static_cast<T>(to_positive);
      factors[2 * t + 1] = static_cast<T>(to_negative);
      sums.name_rows(t, inside && !(to_positive == 0 && to_negative == 0), named);
    }
  });
  double total = 0;
  for (int64_t t = 0; t < count; ++t) total += values[t];
  *loss = static_cast<T>(total / static_cast<double>(count));
  if (grad_x) fill<T>(stream, grad_x, N * D, T(0));
  if (grad_y && grad_y != grad_x) fill<T>(stream, grad_y, M * D, T(0));
  if (sums.rows() == 0) return;
  const RowEntry* entries = sort_rows<int64_t>(stream, named, 3 * count, sums.rows(), memory + sorting_at);
  add_sorted_rows<T>(sums, entries, 3 * count, sums.rows(), D, false);
}

}  // namespace cpu

namespace PV_EXEC {

template <class T>
__global__ void triplet_kernel(TripletSums<T> sums, Hinge<T> hinge, Out<double> values, Out<T> factors, Out<int64_t> named) {
  begin_kernel();
  const int64_t t = blockIdx.x;
  const bool inside = sums.inside(t);
  T positive = T(0), negative = T(0);
  if (inside) {
    const T *a = sums.x + sums.anchors[t] * sums.D, *p = sums.y + sums.positives[t] * sums.D, *n = sums.y + sums.negatives[t] * sums.D;
    for (int64_t c = threadIdx.x; c < sums.D; c += blockDim.x) {
      const T to_p = a[c] - p[c], to_n = a[c] - n[c];
      positive += to_p * to_p;
      negative += to_n * to_n;
    }
  }
  positive = block_sum(positive);
  negative = block_sum(negative);
  if (threadIdx.x != 0) return;
  T to_positive, to_negative;
  const T v = hinge(positive, negative, to_positive, to_negative);
  values[t] = inside ? static_cast<double>(v) : std::numeric_limits<double>::quiet_NaN();
  factors[2 * t] = to_positive;
  factors[2 * t + 1] = to_negative;
  sums.name_rows(t, inside && !(to_positive == T(0) && to_negative == T(0)), named);
}

template <class T>
__global__ void triplet_total_kernel(In<double> values, int64_t count, Out<T> loss) {
  begin_kernel();
  double s = 0;
  for (int64_t t = threadIdx.x; t < count; t += blockDim.x) s += values[t];
  s = block_sum(s);
  if (threadIdx.x == 0) *loss = static_cast<T>(s / static_cast<double>(count));
}

template <class T>
void triplet(Stream& stream, In<T> x, In<T> y, In<int64_t> anchors, In<int64_t> positives, In<int64_t> negatives, int64_t N, int64_t M, int64_t D,
             int64_t count, T margin, Out<T> loss, Out<T> grad_x, Out<T> grad_y) {
  ScratchPlan plan;
  const int64_t values_at = plan.add<double>(count), factors_at = plan.add<T>(2 * count), named_at = plan.add<int64_t>(3 * count),
                sorting_at = plan.add<char>(sort_rows_bytes(3 * count)), carries_at = plan.add<T>(row_carries(3 * count, D));
  char* memory = stream.scratch<char>(plan.bytes());
  double* values = reinterpret_cast<double*>(memory + values_at);
  T* factors = reinterpret_cast<T*>(memory + factors_at);
  int64_t* named = reinterpret_cast<int64_t*>(memory + named_at);
  const TripletSums<T> sums{x, y, anchors, positives, negatives, N, M, D, count, grad_x, grad_y, factors};
  const Hinge<T> hinge{margin, T(1) / static_cast<T>(count)};
  launch(stream, grid_for(count, 1), block_for(D), 0, triplet_kernel<T>, sums, hinge, values, factors, named);
  launch(stream, 1, kBlock, 0, triplet_total_kernel<T>, static_cast<In<double>>(values), count, loss);
  if (is_short(3 * count, sums.rows(), D)) return add_short_rows<T>(stream, sums, named, 3 * count, sums.rows(), D, false);
  if (grad_x) fill<T>(stream, grad_x, N * D, T(0));
  if (grad_y && grad_y != grad_x) fill<T>(stream, grad_y, M * D, T(0));
  if (sums.rows() == 0) return;
  const RowEntry* entries = sort_rows<int64_t>(stream, named, 3 * count, sums.rows(), memory + sorting_at);
  add_sorted_rows(stream, sums, entries, 3 * count, sums.rows(), D, false, reinterpret_cast<T*>(memory + carries_at));
}

}  // namespace PV_EXEC

PV_INSTANTIATE(triplet)

}  // namespace panvae
