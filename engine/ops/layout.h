// Where elements lie: joining, cutting, turning, taking rows by index. (A tensor under another shape: reshape, arithmetic.h.)
#pragma once
#include <limits>

#include "engine/tape.h"
#include "kernels/kernels.h"

namespace panvae::ops {

namespace detail {

// A tensor seen along one dimension: `outer` times `size` times `inner` elements.
struct Along {
  int dimension;
  int64_t outer = 1, size, inner = 1;
  Along(const char* op, const Shape& shape, int which) : dimension(which < 0 ? which + shape.rank() : which) {
    PV_CHECK(dimension >= 0 && dimension < shape.rank(), "{}: no dimension {} in {}", op, which, shape.str());
    size = shape[dimension];
    for (int i = 0; i < dimension; ++i) outer *= shape[i];
    for (int i = dimension + 1; i < shape.rank(); ++i) inner *= shape[i];
  }
};

inline Shape with_size(const Shape& shape, int dimension, int64_t size) {
  Shape out;
  for (int i = 0; i < shape.rank(); ++i) out.append(i == dimension ? size : shape[i]);
  return out;
}

// Moves [outer, columns]: x from element `x_first` on, with rows x_stride apart, to y.
inline void copy_strided(const Tensor& x, int64_t x_first, int64_t x_stride, Tensor& y, int64_t y_first, int64_t y_stride, int64_t rows, int64_t columns,
                         bool accumulate) {
  dispatch(x.dtype(), "copy", [&]<class T>(T) {
    k::copy_strided<T>(x.context().stream(), x.data<T>() + x_first, x_stride, y.data<T>() + y_first, y_stride, rows, columns, accumulate);
  });
}

inline void fill_zero(Tensor& t) {
  dispatch(t.dtype(), "fill", [&]<class T>(T) { k::fill<T>(t.context().stream(), t.data<T>(), t.count(), T(0)); });
}

inline OpRule copy_rule(const Shape& out, DType dtype) {
  return {out, 0, 2.0 * static_cast<double>(out.count() * item_bytes(dtype))};
}

}  // namespace detail

// Tensors of one shape but for the size of `dimension` (negative: from the end), which are added.
inline OpRule concat_rule(const std::vector<Tensor>& parts, int dimension) {
  PV_CHECK(!parts.empty(), "concat: of no tensors");
  const Tensor& first = parts.front();
  const detail::Along a("concat", first.shape(), dimension);
  int64_t size = 0;
  for (const Tensor& t : parts) {
    PV_CHECK(t.rank() == first.rank() && t.shape() == detail::with_size(first.shape(), a.dimension, t.size(a.dimension)),
             "concat: {} and {} differ not only in dimension {}", first.shape().str(), t.shape().str(), a.dimension);
    PV_CHECK(t.dtype() == first.dtype(), "concat: tensors of two types, {} and {}", dtype_name(first.dtype()), dtype_name(t.dtype()));
    check_same_context("concat", first, t);
    size += t.size(a.dimension);
  }
  return detail::copy_rule(detail::with_size(first.shape(), a.dimension, size), first.dtype());
}

inline Tensor concat(const std::vector<Tensor>& parts, int dimension) {
  const OpRule rule = concat_rule(parts, dimension);
  const detail::Along whole("concat", rule.out, dimension);
  const int64_t stride = whole.size * whole.inner;
  Tensor y = Tensor::empty(parts.front().context(), rule.out, parts.front().dtype(), "concat");
  std::vector<int64_t> widths;
  int64_t at = 0;
  for (const Tensor& t : parts) {
    widths.push_back(t.size(whole.dimension) * whole.inner);
    detail::copy_strided(t, 0, widths.back(), y, at, stride, whole.outer, widths.back(), false);
    at += widths.back();
  }
  return record("concat", parts, y, {}, [widths, stride, rows = whole.outer](Grads& g) {
    int64_t from = 0;
    for (size_t i = 0; i < widths.size(); ++i) {
      g.write_or_add(static_cast<int>(i), [&](Tensor& gx, bool add) { detail::copy_strided(g.out(), from, stride, gx, 0, widths[i], rows, widths[i], add); });
      from += widths[i];
    }
  });
}

inline OpRule slice_rule(const Tensor& x, int dimension, int64_t begin, int64_t end) {
  const detail::Along a("slice", x.shape(), dimension);
  PV_CHECK(begin >= 0 && begin <= end && end <= a.size, "slice: [{}, {}) of dimension {} of {}", begin, end, a.dimension, x.shape().str());
  return detail::copy_rule(detail::with_size(x.shape(), a.dimension, end - begin), x.dtype());
}

// The elements [begin, end) of a dimension (negative: from the end); a copy.
inline Tensor slice(const Tensor& x, int dimension, int64_t begin, int64_t end) {
  Tensor y = Tensor::empty(x.context(), slice_rule(x, dimension, begin, end).out, x.dtype(), "slice");
  const detail::Along a("slice", x.shape(), dimension);
  const int64_t stride = a.size * a.inner, first = begin * a.inner, width = (end - begin) * a.inner;
  detail::copy_strided(x, first, stride, y, 0, width, a.outer, width, false);
  return record("slice", {x}, y, {}, [=, rows = a.outer](Grads& g) {
    g.write_or_add(0, [&](Tensor& gx, bool add) {
      if (!add) detail::fill_zero(gx);
      detail::copy_strided(g.out(), 0, width, gx, first, stride, rows, width, add);
    });
  });
}

inline OpRule transpose_rule(const Tensor& x) {
  PV_CHECK(x.rank() == 2 || x.rank() == 3, "transpose: x{} has neither two nor three dimensions", x.shape().str());
  return detail::copy_rule(x.rank() == 2 ? Shape{x.size(1), x.size(0)} : Shape{x.size(0), x.size(2), x.size(1)}, x.dtype());
}

// The last two dimensions exchanged: x [R, C] or [B, R, C].
inline Tensor transpose(const Tensor& x) {
  const int64_t B = x.rank() == 3 ? x.size(0) : 1;
  Tensor y = Tensor::empty(x.context(), transpose_rule(x).out, x.dtype(), "transpose");
  auto turn = [B](const Tensor& from, Tensor& to) {
    dispatch(from.dtype(), "transpose",
             [&]<class T>(T) { k::transpose<T>(from.context().stream(), from.data<T>(), to.data<T>(), B, from.size(-2), from.size(-1)); });
  };
  turn(x, y);
  return record("transpose", {x}, y, {}, [turn](Grads& g) { g.write(0, [&](Tensor& gx) { turn(g.out(), gx); }); });
}

// x [N, C] by rows [count] of i64
inline OpRule gather_rows_rule(const Tensor& x, const Tensor& rows) {
  PV_CHECK(x.rank() == 2 && rows.rank() == 1 && rows.dtype() == DType::i64, "gather_rows: x{} by rows{} {}", x.shape().str(), rows.shape().str(),
           dtype_name(rows.dtype()));
  check_same_context("gather_rows", x, rows);
  OpRule rule = detail::copy_rule({rows.size(0), x.size(1)}, x.dtype());
  rule.bytes += 8.0 * static_cast<double>(rows.size(0));
  return rule;
}

// y[i, :] = x[rows[i], :], [count, C]. A row outside is not an error but NaN: only the device sees the numbers.
inline Tensor gather_rows(const Tensor& x, const Tensor& rows) {
  Tensor y = Tensor::empty(x.context(), gather_rows_rule(x, rows).out, x.dtype(), "gather_rows");
  dispatch(x.dtype(), "gather_rows", [&]<class T>(T) {
    k::gather_rows<T>(x.context().stream(), x.data<T>(), rows.data<int64_t>(), y.data<T>(), x.size(0), rows.size(0), x.size(1),
                      std::numeric_limits<T>::quiet_NaN());
  });
  return record("gather_rows", {x}, y, {rows}, [rows](Grads& g) {
    g.write_or_add(0, [&](Tensor& gx, bool add) {
      dispatch(gx.dtype(), "gather_rows", [&]<class T>(T) {
        k::scatter_add_rows<T>(gx.context().stream(), g.out().data<T>(), rows.data<int64_t>(), gx.data<T>(), gx.size(0), rows.size(0), gx.size(1), add);
      });
    });
  });
}

// x [count, C] by rows [count] of i64
inline OpRule scatter_add_rows_rule(const Tensor& x, const Tensor& rows, int64_t target_rows) {
  PV_CHECK(x.rank() == 2 && rows.shape() == Shape{x.size(0)} && rows.dtype() == DType::i64 && target_rows >= 0, "scatter_add_rows: x{} by rows{} {} to {} rows",
           x.shape().str(), rows.shape().str(), dtype_name(rows.dtype()), target_rows);
  check_same_context("scatter_add_rows", x, rows);
  const Shape out{target_rows, x.size(1)};
  return {out, static_cast<double>(x.count()), static_cast<double>((x.count() + out.count()) * item_bytes(x.dtype()) + 8 * x.size(0))};
}

// y[r, :] = the sum of x[i, :] over all i with rows[i] = r, [target_rows, C]; the same bits each time. Rows outside are left
// out: their gradient is 0.
inline Tensor scatter_add_rows(const Tensor& x, const Tensor& rows, int64_t target_rows) {
  Tensor y = Tensor::empty(x.context(), scatter_add_rows_rule(x, rows, target_rows).out, x.dtype(), "scatter_add_rows");
  dispatch(x.dtype(), "scatter_add_rows", [&]<class T>(T) {
    k::scatter_add_rows<T>(x.context().stream(), x.data<T>(), rows.data<int64_t>(), y.data<T>(), target_rows, x.size(0), x.size(1), false);
  });
  return record("scatter_add_rows", {x}, y, {rows}, [rows](Grads& g) {
    g.write(0, [&](Tensor& gx) {
      dispatch(gx.dtype(), "scatter_add_rows", [&]<class T>(T) {
        k::gather_rows<T>(gx.context().stream(), g.out().data<T>(), rows.data<int64_t>(), gx.data<T>(), g.out().size(0), rows.size(0), gx.size(1), T(0));
      });
    });
  });
}

}  // namespace panvae::ops
