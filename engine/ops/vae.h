// The ops of a variational autoencoder.
#pragma once
#include "engine/tape.h"
#include "kernels/kernels.h"

namespace panvae::ops {

// z = mu + exp(logvar / 2) * eps with eps ~ N(0, 1) of the stream `key`; logvar is clamped to [-15, 15] (SPEC L3). The
// noise is drawn again in backward.
inline Tensor reparameterize(const Tensor& mu, const Tensor& logvar, PhiloxKey key) {
  PV_CHECK(mu.shape() == logvar.shape() && mu.dtype() == logvar.dtype(), "reparameterize: mu{} with logvar{}", mu.shape().str(), logvar.shape().str());
  check_same_context("reparameterize", mu, logvar);
  Tensor z = Tensor::empty(mu.context(), mu.shape(), mu.dtype(), "reparameterize");
  dispatch(mu.dtype(), "reparameterize",
           [&]<class T>(T) { k::reparameterize<T>(mu.context().stream(), mu.data<T>(), logvar.data<T>(), z.data<T>(), z.count(), key); });
  return record("reparameterize", {mu, logvar}, z, {logvar}, [logvar, key](Grads& g) {
    g.write(1, [&](Tensor& gl) {
      dispatch(gl.dtype(), "reparameterize",
               [&]<class T>(T) { k::reparameterize_grad<T>(gl.context().stream(), logvar.data<T>(), g.out().data<T>(), gl.data<T>(), gl.count(), key); });
    });
    g.give(0, g.out());
  });
}

struct VaeLoss {
  Tensor loss;   // [1], differentiable: huber + kl_weight * kl
  Tensor parts;  // [3]: loss, huber, kl, for reading
};

inline OpRule huber_kl_rule(const Tensor& pred, const Tensor& target, const Tensor& mu, const Tensor& logvar) {
  PV_CHECK(pred.rank() == 2 && pred.shape() == target.shape(), "huber_kl: pred{} against target{}", pred.shape().str(), target.shape().str());
  PV_CHECK(mu.rank() == 2 && mu.shape() == logvar.shape() && mu.size(0) == pred.size(0), "huber_kl: mu{} and logvar{} for a batch of {}", mu.shape().str(),
           logvar.shape().str(), pred.size(0));
  PV_CHECK(pred.size(0) > 0, "huber_kl: an empty batch");
  PV_CHECK(pred.dtype() == target.dtype() && pred.dtype() == mu.dtype() && pred.dtype() == logvar.dtype(), "huber_kl: tensors of different types");
  for (const Tensor* t : {&target, &mu, &logvar}) check_same_context("huber_kl", pred, *t);
  PV_CHECK(!target.needs_gradient(), "huber_kl: target needs a gradient, which this op does not give");
  const double elements = static_cast<double>(pred.count()), latents = static_cast<double>(mu.count()), item = static_cast<double>(item_bytes(pred.dtype()));
  return {{1}, 8 * elements + 20 * latents, item * (3 * elements + 4 * latents)};
}

// Mean over the batch of [sum over features of Huber_delta(pred - target) + kl_weight * sum over latents of
// KL(N(mu, exp(logvar)) || N(0, 1))] (SPEC L1 to L3). pred, target [B, G]; mu, logvar [B, Z]. The gradients are computed
// along with the loss.
inline VaeLoss huber_kl(const Tensor& pred, const Tensor& target, const Tensor& mu, const Tensor& logvar, double delta, double kl_weight) {
  PV_CHECK(delta > 0, "huber_kl: delta {} is not positive", delta);
  huber_kl_rule(pred, target, mu, logvar);
  Context& context = pred.context();
  Tensor parts = Tensor::empty(context, {3}, pred.dtype(), "huber_kl");
  Tensor grad_pred = Tensor::empty(context, pred.shape(), pred.dtype(), "huber_kl"), grad_mu = Tensor::empty(context, mu.shape(), mu.dtype(), "huber_kl"),
         grad_logvar = Tensor::empty(context, mu.shape(), mu.dtype(), "huber_kl");
  dispatch(pred.dtype(), "huber_kl", [&]<class T>(T) {
    k::huber_kl<T>(context.stream(), pred.data<T>(), target.data<T>(), mu.data<T>(), logvar.data<T>(), pred.size(0), pred.size(1), mu.size(1),
                   static_cast<T>(delta), static_cast<T>(kl_weight), parts.data<T>(), grad_pred.data<T>(), grad_mu.data<T>(), grad_logvar.data<T>());
  });
  Tensor loss = record("huber_kl", {pred, mu, logvar}, parts.part(0, {1}), {grad_pred, grad_mu, grad_logvar}, [grad_pred, grad_mu, grad_logvar](Grads& g) {
    g.give_scaled(0, grad_pred);
    g.give_scaled(1, grad_mu);
    g.give_scaled(2, grad_logvar);
  });
  return {loss, parts};
}

}  // namespace panvae::ops
