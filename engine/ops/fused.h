// Ops that do the work of several with fewer passes over memory. Each says what it equals, to rounding; docs/kernels.md says
// what it saves.
#pragma once
#include "engine/ops/linear.h"
#include "engine/ops/normalization.h"
#include "engine/ops/vae.h"

namespace panvae::ops {

// x [B, in], weight [out, in], bias [out] or undefined; the others [out], those of the affine map may be undefined
inline OpRule linear_batch_norm_rule(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& norm_weight, const Tensor& norm_bias,
                                     const Tensor& running_mean, const Tensor& running_var) {
  OpRule rule = linear_rule(x, weight, bias);
  PV_CHECK(running_mean.defined() && running_var.defined(), "batch_norm: running_mean or running_var is not there");
  const Tensor* parameters[] = {&norm_weight, &norm_bias, &running_mean, &running_var};
  const char* names[] = {"weight", "bias", "running_mean", "running_var"};
  for (int i = 0; i < 4; ++i) detail::check_parameter("linear_batch_norm", names[i], *parameters[i], x, weight.size(0));
  const int64_t M = rule.out[0];
  PV_CHECK(M > 1, "batch_norm: training needs more than one value a channel, x{} has {}", rule.out.str(), M);
  const double n = static_cast<double>(rule.out.count()), k = static_cast<double>(x.size(1));
  rule.flops = n * (2 * k + 11);
  rule.bytes += n * static_cast<double>(item_bytes(x.dtype()));
  return rule;
}

// batch_norm(linear(x, weight, bias, activation, slope), ...) in training, [B, out]: the batch statistics are gathered as the
// product is stored.
inline Tensor linear_batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, Activation activation, double slope, const Tensor& norm_weight,
                                const Tensor& norm_bias, Tensor running_mean, Tensor running_var, double momentum = 0.1, double eps = 1e-5) {
  PV_CHECK(slope >= 0, "linear: slope {} is negative", slope);
  PV_CHECK(momentum >= 0 && momentum <= 1, "batch_norm: momentum {} is not in [0, 1]", momentum);
  PV_CHECK(eps >= 0, "batch_norm: eps {} is negative", eps);
  const Shape out = linear_batch_norm_rule(x, weight, bias, norm_weight, norm_bias, running_mean, running_var).out;
  Context& context = x.context();
  const int64_t M = out[0], N = out[1];
  Tensor h = Tensor::empty(context, out, x.dtype(), "linear_batch_norm"), y = Tensor::empty(context, out, x.dtype(), "linear_batch_norm"),
         statistics = Tensor::empty(context, {3, N}, x.dtype(), "linear_batch_norm");
  dispatch(x.dtype(), "linear_batch_norm", [&]<class T>(T) {
    k::linear_batchnorm<T>(context.stream(), x.data<T>(), weight.data<T>(), detail::linear_epilogue<T>(bias, activation, slope),
                           detail::data_or_null<T>(norm_weight), detail::data_or_null<T>(norm_bias), M, N, x.size(1), static_cast<T>(eps),
                           static_cast<T>(momentum), running_mean.data<T>(), running_var.data<T>(), h.data<T>(), y.data<T>(), statistics.data<T>());
  });
  running_mean.bump_version(), running_var.bump_version();
  return record("linear_batch_norm", {x, weight, bias, norm_weight, norm_bias}, y, {x, weight, norm_weight}, [=](Grads& g) {
    const detail::GradientSlot gw(g, 3), gb(g, 4);
    Tensor gh = g.out();  // in place: nobody reads the gradient of y after this
    dispatch(x.dtype(), "linear_batch_norm", [&]<class T>(T) {
      k::batchnorm_grad<T>(x.context().stream(), h.data<T>(), gh.data<T>(), detail::data_or_null<T>(norm_weight), statistics.data<T>(), M, N, 1, false,
                           gh.data<T>(), detail::data_or_null<T>(gw.tensor), detail::data_or_null<T>(gb.tensor), gw.add, gb.add);
    });
    gh = detail::through_activation(h, gh, activation, slope);
    detail::give_product_gradients(g, gh, x, weight);
    detail::give_bias_gradient(g, gh);
  });
}

// h [R, H], weight [G, H], bias [G] or undefined, target [R, G], mu and logvar [B, Z], R a multiple of B
inline OpRule linear_huber_kl_rule(const Tensor& h, const Tensor& weight, const Tensor& bias, const Tensor& target, const Tensor& mu, const Tensor& logvar) {
  const OpRule product = linear_rule(h, weight, bias);
  PV_CHECK(product.out == target.shape(), "linear_huber_kl: a product{} against target{}", product.out.str(), target.shape().str());
  PV_CHECK(mu.rank() == 2 && mu.shape() == logvar.shape(), "linear_huber_kl: mu{} with logvar{}", mu.shape().str(), logvar.shape().str());
  PV_CHECK(mu.size(0) > 0, "linear_huber_kl: an empty batch");
  PV_CHECK(h.size(0) > 0 && h.size(0) % mu.size(0) == 0, "linear_huber_kl: {} rows for a batch of {}", h.size(0), mu.size(0));
  for (const Tensor* t : {&target, &mu, &logvar}) {
    PV_CHECK(t->dtype() == h.dtype(), "linear_huber_kl: tensors of different types");
    check_same_context("linear_huber_kl", h, *t);
  }
  PV_CHECK(!target.needs_gradient(), "linear_huber_kl: target needs a gradient, which this op does not give");
  const double n = static_cast<double>(target.count()), latents = static_cast<double>(mu.count());
  return {{1},
          n * (2 * static_cast<double>(h.size(1)) + 9) + 20 * latents,
          (static_cast<double>(h.count() + weight.count()) + 2 * n + 4 * latents) * static_cast<double>(item_bytes(h.dtype()))};
}

// huber_kl(linear(h, weight, bias), target, mu, logvar, delta, kl_weight), where a sample of the batch B may have several rows.
// The reconstruction linear(h, weight, bias) is never stored; its gradient is where one is wanted.
inline VaeLoss linear_huber_kl(const Tensor& h, const Tensor& weight, const Tensor& bias, const Tensor& target, const Tensor& mu, const Tensor& logvar,
                               double delta, double kl_weight) {
  PV_CHECK(delta > 0, "linear_huber_kl: delta {} is not positive", delta);
  linear_huber_kl_rule(h, weight, bias, target, mu, logvar);
  Context& context = h.context();
  const int64_t B = mu.size(0), R = h.size(0), G = weight.size(0), Z = mu.size(1);
  auto make = [&](Shape shape) { return Tensor::empty(context, shape, h.dtype(), "linear_huber_kl"); };
  const bool wanted = context.tape() && (h.needs_gradient() || weight.needs_gradient() || bias.needs_gradient());
  Tensor parts = make({3}), grad_mu = make(mu.shape()), grad_logvar = make(mu.shape()), grad_pred, grad_bias;
  if (wanted) grad_pred = make(target.shape());
  if (wanted && bias.needs_gradient()) grad_bias = make({G});
  dispatch(h.dtype(), "linear_huber_kl", [&]<class T>(T) {
    k::linear_huber_kl<T>(context.stream(), h.data<T>(), weight.data<T>(), detail::data_or_null<T>(bias), target.data<T>(), mu.data<T>(), logvar.data<T>(), B,
                          R, G, h.size(1), Z, static_cast<T>(delta), static_cast<T>(kl_weight), parts.data<T>(), detail::data_or_null<T>(grad_pred),
                          detail::data_or_null<T>(grad_bias), grad_mu.data<T>(), grad_logvar.data<T>());
  });
  Tensor loss = record("linear_huber_kl", {h, weight, bias, mu, logvar}, parts.part(0, {1}), {h, weight}, [=](Grads& g) {
    if (grad_pred.defined()) {
      if (!g.out_is_one())
        dispatch(h.dtype(), "linear_huber_kl",
                 [&]<class T>(T) { k::scale_by<T>(h.context().stream(), grad_pred.data<T>(), g.out().data<T>(), grad_pred.data<T>(), grad_pred.count()); });
      detail::give_product_gradients(g, grad_pred, h, weight);
    }
    g.give_scaled(2, grad_bias);
    g.give_scaled(3, grad_mu);
    g.give_scaled(4, grad_logvar);
  });
  return {loss, parts};
}

}  // namespace panvae::ops
