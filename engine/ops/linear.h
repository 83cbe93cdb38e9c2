// Products.
#pragma once
#include "engine/ops/activation.h"

namespace panvae::ops {

// a [M, K] (or [K, M] if transposed) by b [K, N] (or [N, K])
inline OpRule matmul_rule(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b) {
  PV_CHECK(a.rank() == 2 && b.rank() == 2 && a.dtype() == b.dtype(), "matmul: {} {} by {} {}", a.shape().str(), dtype_name(a.dtype()), b.shape().str(),
           dtype_name(b.dtype()));
  check_same_context("matmul", a, b);
  const int64_t M = a.size(transpose_a ? 1 : 0), K = a.size(transpose_a ? 0 : 1), N = b.size(transpose_b ? 0 : 1);
  PV_CHECK(b.size(transpose_b ? 1 : 0) == K, "matmul: {}{} by {}{}: the inner sizes differ", a.shape().str(), transpose_a ? "^T" : "", b.shape().str(),
           transpose_b ? "^T" : "");
  const double m = static_cast<double>(M), n = static_cast<double>(N), kk = static_cast<double>(K);
  return {{M, N}, 2 * m * n * kk, (m * kk + kk * n + m * n) * static_cast<double>(item_bytes(a.dtype()))};
}

// op(a) op(b), op = transpose where asked
inline Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false) {
  Tensor c = Tensor::empty(a.context(), matmul_rule(a, transpose_a, b, transpose_b).out, a.dtype(), "matmul");
  MatrixProduct(a, transpose_a, b, transpose_b).into(c, false);
  return record("matmul", {a, b}, c, {a, b}, [a, b, transpose_a, transpose_b](Grads& g) {
    // c = A B: dA = G B^T, dB = A^T G; where a (or b) is stored transposed, its gradient is the transpose of that.
    if (transpose_a) g.write_product(0, b, transpose_b, g.out(), true);
    else g.write_product(0, g.out(), false, b, !transpose_b);
    if (transpose_b) g.write_product(1, g.out(), true, a, transpose_a);
    else g.write_product(1, a, !transpose_a, g.out(), false);
  });
}

// x [B, in], weight [out, in], bias [out] or undefined
inline OpRule linear_rule(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  PV_CHECK(x.rank() == 2 && weight.rank() == 2 && x.size(1) == weight.size(1), "linear: x{} against W{}", x.shape().str(), weight.shape().str());
  PV_CHECK(x.dtype() == weight.dtype(), "linear: x {} against W {}", dtype_name(x.dtype()), dtype_name(weight.dtype()));
  check_same_context("linear", x, weight);
  PV_CHECK(!bias.defined() || (bias.shape() == Shape{weight.size(0)} && bias.dtype() == x.dtype()), "linear: bias{} for W{}", bias.shape().str(),
           weight.shape().str());
  if (bias.defined()) check_same_context("linear", x, bias);
  OpRule r = matmul_rule(x, false, weight, true);
  if (bias.defined()) r.flops += static_cast<double>(r.out.count());
  return r;
}

namespace detail {

// What dL/d(x W^T) gives to the first two inputs of an op: x and weight; and what dL/d(x W^T + bias) gives to the third.
inline void give_product_gradients(Grads& g, const Tensor& gy, const Tensor& x, const Tensor& weight) {
  g.write_product(0, gy, false, weight, false);
  g.write_product(1, gy, true, x, false);
}
inline void give_bias_gradient(Grads& g, const Tensor& gy) {
  g.write_or_add(2, [&](Tensor& gb, bool add) {
    dispatch(gy.dtype(), "linear", [&]<class T>(T) { k::sum_columns<T>(gy.context().stream(), gy.data<T>(), gb.data<T>(), gy.size(0), gy.size(1), add); });
  });
}
template <class T>
Epilogue<T> linear_epilogue(const Tensor& bias, Activation activation, double slope) {
  Epilogue<T> e;
  e.bias = bias.defined() ? bias.data<T>() : nullptr;
  e.activation = activation;
  e.slope = static_cast<T>(slope);
  return e;
}

}  // namespace detail

// y = act(x W^T + bias), [B, out]: one fused kernel. weight and bias as PyTorch's nn.Linear stores them.
inline Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation = Activation::none, double slope = 0.01) {
  PV_CHECK(slope >= 0, "linear: slope {} is negative", slope);
  Tensor y = Tensor::empty(x.context(), linear_rule(x, weight, bias).out, x.dtype(), "linear");
  dispatch(x.dtype(), "linear", [&]<class T>(T) {
    k::matmul<T>(x.context().stream(), x.data<T>(), false, weight.data<T>(), true, y.data<T>(), y.size(0), y.size(1), x.size(1),
                 detail::linear_epilogue<T>(bias, activation, slope));
  });
  auto backward = [x, weight, y = activation == Activation::none ? Tensor() : y, activation, slope](Grads& g) {
    const Tensor gy = detail::through_activation(y, g.out(), activation, slope);
    detail::give_product_gradients(g, gy, x, weight);
    detail::give_bias_gradient(g, gy);
  };
  if (activation == Activation::none) return record("linear", {x, weight, bias}, y, {x, weight}, std::move(backward));
  return record("linear", {x, weight, bias}, y, {x, weight, y}, std::move(backward));
}

}  // namespace panvae::ops
