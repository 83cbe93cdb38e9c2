// Sums, differences, products, and reductions to one number.
#pragma once
#include "engine/tape.h"
#include "kernels/kernels.h"

namespace panvae::ops {

namespace detail {

inline OpRule same_shape_rule(const char* op, const Tensor& a, const Tensor& b) {
  PV_CHECK(a.shape() == b.shape() && a.dtype() == b.dtype(), "{}: {} {} with {} {}", op, a.shape().str(), dtype_name(a.dtype()), b.shape().str(),
           dtype_name(b.dtype()));
  check_same_context(op, a, b);
  const double n = static_cast<double>(a.count());
  return {a.shape(), n, 3 * n * static_cast<double>(item_bytes(a.dtype()))};
}

}  // namespace detail

inline Tensor add(const Tensor& a, const Tensor& b) {
  Tensor y = Tensor::empty(a.context(), detail::same_shape_rule("add", a, b).out, a.dtype(), "add");
  dispatch(a.dtype(), "add", [&]<class T>(T) { k::add<T>(a.context().stream(), a.data<T>(), b.data<T>(), y.data<T>(), y.count()); });
  return record("add", {a, b}, y, {}, [](Grads& g) {
    for (int input : {0, 1}) {
      g.write(input, [&](Tensor& gx) {
        dispatch(gx.dtype(), "add", [&]<class T>(T) { k::copy<T>(gx.context().stream(), g.out().data<T>(), gx.data<T>(), gx.count()); });
      });
    }
  });
}

inline Tensor sub(const Tensor& a, const Tensor& b) {
  Tensor y = Tensor::empty(a.context(), detail::same_shape_rule("sub", a, b).out, a.dtype(), "sub");
  dispatch(a.dtype(), "sub", [&]<class T>(T) { k::sub<T>(a.context().stream(), a.data<T>(), b.data<T>(), y.data<T>(), y.count()); });
  return record("sub", {a, b}, y, {}, [](Grads& g) {
    for (int input : {0, 1}) {
      g.write(input, [&](Tensor& gx) {
        dispatch(gx.dtype(), "sub",
                 [&]<class T>(T) { k::scale<T>(gx.context().stream(), g.out().data<T>(), gx.data<T>(), gx.count(), input == 0 ? T(1) : T(-1)); });
      });
    }
  });
}

inline Tensor mul(const Tensor& a, const Tensor& b) {
  Tensor y = Tensor::empty(a.context(), detail::same_shape_rule("mul", a, b).out, a.dtype(), "mul");
  dispatch(a.dtype(), "mul", [&]<class T>(T) { k::mul<T>(a.context().stream(), a.data<T>(), b.data<T>(), y.data<T>(), y.count()); });
  return record("mul", {a, b}, y, {a, b}, [a, b](Grads& g) {
    for (int input : {0, 1}) {
      const Tensor& other = input == 0 ? b : a;
      g.write(input, [&](Tensor& gx) {
        dispatch(gx.dtype(), "mul", [&]<class T>(T) { k::mul<T>(gx.context().stream(), g.out().data<T>(), other.data<T>(), gx.data<T>(), gx.count()); });
      });
    }
  });
}

inline Tensor scale(const Tensor& x, double factor) {
  const OpRule rule{x.shape(), static_cast<double>(x.count()), 2.0 * static_cast<double>(x.count() * item_bytes(x.dtype()))};
  Tensor y = Tensor::empty(x.context(), rule.out, x.dtype(), "scale");
  dispatch(x.dtype(), "scale", [&]<class T>(T) { k::scale<T>(x.context().stream(), x.data<T>(), y.data<T>(), y.count(), static_cast<T>(factor)); });
  return record("scale", {x}, y, {}, [factor](Grads& g) {
    g.write(0, [&](Tensor& gx) {
      dispatch(gx.dtype(), "scale",
               [&]<class T>(T) { k::scale<T>(gx.context().stream(), g.out().data<T>(), gx.data<T>(), gx.count(), static_cast<T>(factor)); });
    });
  });
}

namespace detail {

// factor * (sum of all), [1]; dx = factor * dy everywhere
inline Tensor scaled_sum(const char* op, const Tensor& x, double factor) {
  Tensor y = Tensor::empty(x.context(), {1}, x.dtype(), op);
  dispatch(x.dtype(), op, [&]<class T>(T) { k::sum<T>(x.context().stream(), x.data<T>(), y.data<T>(), x.count(), static_cast<T>(factor)); });
  return record(op, {x}, y, {}, [factor](Grads& g) {
    g.write(0, [&](Tensor& gx) {
      dispatch(gx.dtype(), "sum",
               [&]<class T>(T) { k::spread<T>(gx.context().stream(), g.out().data<T>(), gx.data<T>(), gx.count(), static_cast<T>(factor)); });
    });
  });
}

}  // namespace detail

inline Tensor sum(const Tensor& x) {
  return detail::scaled_sum("sum", x, 1.0);
}
inline Tensor mean(const Tensor& x) {
  PV_CHECK(x.count() > 0, "mean: of no elements");
  return detail::scaled_sum("mean", x, 1.0 / static_cast<double>(x.count()));
}

// The same elements under another shape; no copy.
inline Tensor reshape(const Tensor& x, Shape shape) {
  return record("reshape", {x}, x.view(shape), {}, [](Grads& g) { g.give(0, g.out()); });
}

}  // namespace panvae::ops
