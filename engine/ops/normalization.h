// Normalisation over a batch or over the last dimension.
#pragma once
#include "engine/tape.h"
#include "kernels/kernels.h"

namespace panvae::ops {

namespace detail {

template <class T>
T* data_or_null(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

// Of the parameters of a normalisation, which may be absent: [n], and of the type and context of x.
inline void check_parameter(const char* op, const char* name, const Tensor& p, const Tensor& x, int64_t n) {
  PV_CHECK(!p.defined() || (p.shape() == Shape{n} && p.dtype() == x.dtype() && &p.context() == &x.context()), "{}: {}{} {} for x{} {}", op, name,
           p.shape().str(), dtype_name(p.dtype()), x.shape().str(), dtype_name(x.dtype()));
}

// A gradient that a kernel writes or adds to among others; undefined where nobody wants it.
struct GradientSlot {
  Tensor tensor;
  bool add = false;
  GradientSlot(Grads& g, int input) {
    g.write_or_add(input, [this](Tensor& gradient, bool accumulate) { tensor = gradient, add = accumulate; });
    if (add) tensor.context().join();  // what is there may have been computed aside
  }
};

// x [B, C] or [B, C, L]
struct Channels {
  int64_t B, C, L;
  explicit Channels(const Tensor& x) : B(x.size(0)), C(x.size(1)), L(x.rank() == 3 ? x.size(2) : 1) {}
};

}  // namespace detail

inline OpRule batch_norm_rule(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& running_mean, const Tensor& running_var, bool training) {
  PV_CHECK(x.rank() == 2 || x.rank() == 3, "batch_norm: x{} is neither [batch, channels] nor [batch, channels, length]", x.shape().str());
  PV_CHECK(running_mean.defined() && running_var.defined(), "batch_norm: running_mean or running_var is not there");
  const Tensor* parameters[] = {&weight, &bias, &running_mean, &running_var};
  const char* names[] = {"weight", "bias", "running_mean", "running_var"};
  for (int i = 0; i < 4; ++i) detail::check_parameter("batch_norm", names[i], *parameters[i], x, x.size(1));
  const detail::Channels s(x);
  PV_CHECK(!training || s.B * s.L > 1, "batch_norm: training needs more than one value a channel, x{} has {}", x.shape().str(), s.B * s.L);
  const double n = static_cast<double>(x.count());
  return {x.shape(), (training ? 9 : 4) * n, 2 * n * static_cast<double>(item_bytes(x.dtype()))};
}

// PyTorch's batch_norm over x [B, C] or [B, C, L]; weight and bias [C] or undefined. Training normalises by the batch and
// moves running_mean and running_var [C] towards it by `momentum`; evaluation normalises by these.
inline Tensor batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, Tensor running_mean, Tensor running_var, bool training,
                         double momentum = 0.1, double eps = 1e-5) {
  PV_CHECK(momentum >= 0 && momentum <= 1, "batch_norm: momentum {} is not in [0, 1]", momentum);
  PV_CHECK(eps >= 0, "batch_norm: eps {} is negative", eps);
  Context& context = x.context();
  Tensor y = Tensor::empty(context, batch_norm_rule(x, weight, bias, running_mean, running_var, training).out, x.dtype(), "batch_norm");
  const detail::Channels s(x);
  Tensor statistics = Tensor::empty(context, {3, s.C}, x.dtype(), "batch_norm");  // those that were used, for the gradient
  if (training) {
    dispatch(x.dtype(), "batch_norm", [&]<class T>(T) {
      k::batchnorm_train<T>(context.stream(), x.data<T>(), detail::data_or_null<T>(weight), detail::data_or_null<T>(bias), s.B, s.C, s.L, static_cast<T>(eps),
                            static_cast<T>(momentum), running_mean.data<T>(), running_var.data<T>(), y.data<T>(), statistics.data<T>());
    });
    running_mean.bump_version(), running_var.bump_version();
  } else {
    dispatch(x.dtype(), "batch_norm", [&]<class T>(T) {
      k::batchnorm_eval<T>(context.stream(), x.data<T>(), detail::data_or_null<T>(weight), detail::data_or_null<T>(bias), running_mean.data<T>(),
                           running_var.data<T>(), s.B, s.C, s.L, static_cast<T>(eps), y.data<T>(), statistics.data<T>());
    });
  }
  return record("batch_norm", {x, weight, bias}, y, {x, weight}, [=](Grads& g) {
    const detail::GradientSlot gw(g, 1), gb(g, 2);
    Tensor gx = g.out();  // in place: nobody reads the gradient of y after this
    dispatch(x.dtype(), "batch_norm", [&]<class T>(T) {
      k::batchnorm_grad<T>(x.context().stream(), x.data<T>(), gx.data<T>(), detail::data_or_null<T>(weight), statistics.data<T>(), s.B, s.C, s.L, !training,
                           g.needs(0) ? gx.data<T>() : nullptr, detail::data_or_null<T>(gw.tensor), detail::data_or_null<T>(gb.tensor), gw.add, gb.add);
    });
    g.give(0, gx);
  });
}

// x [..., C]: rows of C elements
inline OpRule row_rule(const char* op, const Tensor& x, double flops_per_element) {
  PV_CHECK(x.rank() >= 1, "{}: x has no dimension", op);
  const double n = static_cast<double>(x.count());
  return {x.shape(), flops_per_element * n, 2 * n * static_cast<double>(item_bytes(x.dtype()))};
}
inline OpRule layer_norm_rule(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const OpRule rule = row_rule("layer_norm", x, 9);
  PV_CHECK(x.size(-1) > 0, "layer_norm: rows of no elements, x{}", x.shape().str());
  detail::check_parameter("layer_norm", "weight", weight, x, x.size(-1));
  detail::check_parameter("layer_norm", "bias", bias, x, x.size(-1));
  return rule;
}

// PyTorch's layer_norm over the last dimension of x; weight and bias [C] or undefined. C = 1: the bias, and no gradient (kernels/layernorm.cu).
inline Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps = 1e-5) {
  PV_CHECK(eps >= 0, "layer_norm: eps {} is negative", eps);
  Context& context = x.context();
  Tensor y = Tensor::empty(context, layer_norm_rule(x, weight, bias).out, x.dtype(), "layer_norm");
  const int64_t C = x.size(-1), R = x.count() / C;
  Tensor statistics = Tensor::empty(context, {3, R}, x.dtype(), "layer_norm");
  dispatch(x.dtype(), "layer_norm", [&]<class T>(T) {
    k::layernorm<T>(context.stream(), x.data<T>(), detail::data_or_null<T>(weight), detail::data_or_null<T>(bias), R, C, static_cast<T>(eps), y.data<T>(),
                    statistics.data<T>());
  });
  return record("layer_norm", {x, weight, bias}, y, {x, weight}, [=](Grads& g) {
    const detail::GradientSlot gw(g, 1), gb(g, 2);
    Tensor gx = g.out();  // in place: nobody reads the gradient of y after this
    dispatch(x.dtype(), "layer_norm", [&]<class T>(T) {
      k::layernorm_grad<T>(x.context().stream(), x.data<T>(), gx.data<T>(), detail::data_or_null<T>(weight), statistics.data<T>(), R, C,
                           g.needs(0) ? gx.data<T>() : nullptr, detail::data_or_null<T>(gw.tensor), detail::data_or_null<T>(gb.tensor), gw.add, gb.add);
    });
    g.give(0, gx);
  });
}

// exp(x) / sum exp(x) over the last dimension. A row with NaN or +infinity, or of -infinity alone, becomes NaN.
inline Tensor softmax(const Tensor& x) {
  Tensor y = Tensor::empty(x.context(), row_rule("softmax", x, 5).out, x.dtype(), "softmax");
  const int64_t C = x.size(-1), R = C == 0 ? 0 : x.count() / C;
  dispatch(x.dtype(), "softmax", [&]<class T>(T) { k::softmax<T>(x.context().stream(), x.data<T>(), y.data<T>(), R, C); });
  return record("softmax", {x}, y, {y}, [=](Grads& g) {
    Tensor gx = g.out();  // in place: nobody reads the gradient of y after this
    dispatch(y.dtype(), "softmax", [&]<class T>(T) { k::softmax_grad<T>(y.context().stream(), y.data<T>(), gx.data<T>(), gx.data<T>(), R, C); });
    g.give(0, gx);
  });
}

}  // namespace panvae::ops
