// Pointwise nonlinearities, and dropout.
#pragma once
#include "engine/tape.h"
#include "kernels/kernels.h"

namespace panvae::ops {

// One read and one write an element; the comparison and the product count as two operations.
inline OpRule pointwise_rule(const Tensor& x, double flops_per_element) {
  const double n = static_cast<double>(x.count());
  return {x.shape(), flops_per_element * n, 2 * n * static_cast<double>(item_bytes(x.dtype()))};
}

// y = max(x, 0), NaN kept. The gradient at 0 is 0, as PyTorch's.
inline Tensor relu(const Tensor& x) {
  Tensor y = Tensor::empty(x.context(), pointwise_rule(x, 1).out, x.dtype(), "relu");
  dispatch(x.dtype(), "relu", [&]<class T>(T) { k::relu<T>(x.context().stream(), x.data<T>(), y.data<T>(), x.count()); });
  return record("relu", {x}, y, {y}, [y](Grads& g) {
    g.write(0, [&](Tensor& gx) {
      dispatch(y.dtype(), "relu", [&]<class T>(T) { k::relu_grad<T>(y.context().stream(), y.data<T>(), g.out().data<T>(), gx.data<T>(), y.count()); });
    });
  });
}

// y = x for x >= 0, slope * x below; slope in [0, inf). The gradient at 0 is slope, as PyTorch's.
inline Tensor leaky_relu(const Tensor& x, double slope = 0.01) {
  PV_CHECK(slope >= 0, "leaky_relu: slope {} is negative", slope);
  Tensor y = Tensor::empty(x.context(), pointwise_rule(x, 2).out, x.dtype(), "leaky_relu");
  dispatch(x.dtype(), "leaky_relu", [&]<class T>(T) { k::leaky_relu<T>(x.context().stream(), x.data<T>(), y.data<T>(), x.count(), static_cast<T>(slope)); });
  return record("leaky_relu", {x}, y, {y}, [y, slope](Grads& g) {
    g.write(0, [&](Tensor& gx) {
      dispatch(y.dtype(), "leaky_relu", [&]<class T>(T) {
        k::leaky_relu_grad<T>(y.context().stream(), y.data<T>(), g.out().data<T>(), gx.data<T>(), y.count(), static_cast<T>(slope));
      });
    });
  });
}

// y = x P(x), P the standard normal distribution: the exact GELU, by erf.
inline Tensor gelu(const Tensor& x) {
  Tensor y = Tensor::empty(x.context(), pointwise_rule(x, 20).out, x.dtype(), "gelu");
  dispatch(x.dtype(), "gelu", [&]<class T>(T) { k::gelu<T>(x.context().stream(), x.data<T>(), y.data<T>(), x.count()); });
  return record("gelu", {x}, y, {x}, [x](Grads& g) {
    g.write(0, [&](Tensor& gx) {
      dispatch(x.dtype(), "gelu", [&]<class T>(T) { k::gelu_grad<T>(x.context().stream(), x.data<T>(), g.out().data<T>(), gx.data<T>(), x.count()); });
    });
  });
}

// x / (1 - rate), or 0 with probability `rate`, by the stream `key`; the gradient draws again. rate in [0, 1).
inline Tensor dropout(const Tensor& x, double rate, PhiloxKey key) {
  PV_CHECK(rate >= 0 && rate < 1, "dropout: rate {} is not in [0, 1)", rate);
  if (rate == 0) return x;
  Tensor y = Tensor::empty(x.context(), pointwise_rule(x, 26).out, x.dtype(), "dropout");
  dispatch(x.dtype(), "dropout", [&]<class T>(T) { k::dropout<T>(x.context().stream(), x.data<T>(), y.data<T>(), x.count(), rate, key); });
  return record("dropout", {x}, y, {}, [rate, key](Grads& g) {
    g.write(0, [&](Tensor& gx) {
      dispatch(gx.dtype(), "dropout", [&]<class T>(T) { k::dropout<T>(gx.context().stream(), g.out().data<T>(), gx.data<T>(), gx.count(), rate, key); });
    });
  });
}

namespace detail {

// For layers with a fused activation: dL/d(before it) from dL/dy, written over dL/dy, which nobody reads after this.
inline Tensor through_activation(const Tensor& y, const Tensor& grad_y, Activation activation, double slope) {
  if (activation == Activation::none) return grad_y;
  dispatch(grad_y.dtype(), "activation", [&]<class T>(T) {
    const T s = activation == Activation::relu ? T(0) : static_cast<T>(slope);
    k::leaky_relu_grad<T>(y.context().stream(), y.data<T>(), grad_y.data<T>(), grad_y.data<T>(), y.count(), s);
  });
  return grad_y;
}

}  // namespace detail

}  // namespace panvae::ops
