// Losses that are one number; the gradients are computed along with it. The loss of a VAE is in vae.h.
#pragma once
#include "engine/tape.h"
#include "kernels/kernels.h"

namespace panvae::ops {

namespace detail {

inline OpRule mean_loss_rule(const char* op, const Tensor& x, const Tensor& target, double flops_per_element) {
  PV_CHECK(x.shape() == target.shape() && x.dtype() == target.dtype(), "{}: {} {} against {} {}", op, x.shape().str(), dtype_name(x.dtype()),
           target.shape().str(), dtype_name(target.dtype()));
  check_same_context(op, x, target);
  PV_CHECK(x.count() > 0, "{}: of no elements", op);
  const double n = static_cast<double>(x.count());
  return {{1}, flops_per_element * n, 3 * n * static_cast<double>(item_bytes(x.dtype()))};
}

}  // namespace detail

inline OpRule mse_rule(const Tensor& x, const Tensor& target) {
  return detail::mean_loss_rule("mse", x, target, 5);
}

// The mean of (x - target)^2 over all elements, [1]. Either may need a gradient.
inline Tensor mse(const Tensor& x, const Tensor& target) {
  Context& context = x.context();
  Tensor loss = Tensor::empty(context, mse_rule(x, target).out, x.dtype(), "mse"), grad = Tensor::empty(context, x.shape(), x.dtype(), "mse");
  dispatch(x.dtype(), "mse", [&]<class T>(T) { k::mse<T>(context.stream(), x.data<T>(), target.data<T>(), x.count(), loss.data<T>(), grad.data<T>()); });
  return record("mse", {x, target}, loss, {grad}, [grad](Grads& g) {
    if (g.needs(1)) {
      Tensor negative = Tensor::empty(grad.context(), grad.shape(), grad.dtype(), "mse");
      dispatch(grad.dtype(), "mse", [&]<class T>(T) { k::scale<T>(grad.context().stream(), grad.data<T>(), negative.data<T>(), grad.count(), T(-1)); });
      g.give_scaled(1, negative);
    }
    g.give_scaled(0, grad);
  });
}

inline OpRule bce_with_logits_rule(const Tensor& x, const Tensor& target) {
  OpRule rule = detail::mean_loss_rule("bce_with_logits", x, target, 40);
  PV_CHECK(!target.needs_gradient(), "bce_with_logits: target needs a gradient, which this op does not give");
  return rule;
}

// The mean over all elements of the binary cross-entropy between `target` in [0, 1] and the probability 1 / (1 + exp(-x)),
// [1].
inline Tensor bce_with_logits(const Tensor& x, const Tensor& target) {
  Context& context = x.context();
  Tensor loss = Tensor::empty(context, bce_with_logits_rule(x, target).out, x.dtype(), "bce_with_logits"),
         grad = Tensor::empty(context, x.shape(), x.dtype(), "bce_with_logits");
  dispatch(x.dtype(), "bce_with_logits",
           [&]<class T>(T) { k::bce_with_logits<T>(context.stream(), x.data<T>(), target.data<T>(), x.count(), loss.data<T>(), grad.data<T>()); });
  return record("bce_with_logits", {x}, loss, {grad}, [grad](Grads& g) { g.give_scaled(0, grad); });
}

// x [N, D], y [M, D]; anchors, positives and negatives [T] of i64
inline OpRule triplet_rule(const Tensor& x, const Tensor& y, const Tensor& anchors, const Tensor& positives, const Tensor& negatives) {
  PV_CHECK(x.rank() == 2 && y.rank() == 2 && x.size(1) == y.size(1) && x.dtype() == y.dtype(), "triplet: x{} {} with y{} {}", x.shape().str(),
           dtype_name(x.dtype()), y.shape().str(), dtype_name(y.dtype()));
  for (const Tensor* t : {&anchors, &positives, &negatives}) {
    PV_CHECK(t->rank() == 1 && t->dtype() == DType::i64, "triplet: rows{} {} are no list of i64", t->shape().str(), dtype_name(t->dtype()));
    PV_CHECK(t->count() == anchors.count(), "triplet: {} anchors, {} positives, {} negatives", anchors.count(), positives.count(), negatives.count());
  }
  for (const Tensor* t : {&y, &anchors, &positives, &negatives}) check_same_context("triplet", x, *t);
  PV_CHECK(anchors.count() > 0, "triplet: no triplets");
  const double elements = static_cast<double>(anchors.count() * x.size(1)), written = static_cast<double>(x.count() + y.count());
  return {{1}, 20 * elements, (3 * elements + written) * static_cast<double>(item_bytes(x.dtype())) + 24.0 * static_cast<double>(anchors.count())};
}

// The mean over the triplets of max(|a - p| - |a - n| + margin, 0), [1]: a = x[anchors[t]], p = y[positives[t]],
// n = y[negatives[t]], L2 distances that are not squared (SPEC L6; 1e-12 stands under the root, so a distance of 0 has the gradient 0). y may be x.
// Rows without a triplet get the gradient 0. A row outside makes the loss NaN: only the device sees the numbers.
inline Tensor triplet(const Tensor& x, const Tensor& y, const Tensor& anchors, const Tensor& positives, const Tensor& negatives, double margin = 1) {
  const OpRule rule = triplet_rule(x, y, anchors, positives, negatives);
  Context& context = x.context();
  const bool one = x.needs_gradient() && x.variable() == y.variable() && x.same_memory(y) && x.shape() == y.shape();
  Tensor loss = Tensor::empty(context, rule.out, x.dtype(), "triplet"), grad_x, grad_y;
  if (context.tape() && x.needs_gradient()) grad_x = Tensor::empty(context, x.shape(), x.dtype(), "triplet");
  if (context.tape() && y.needs_gradient()) grad_y = one ? grad_x : Tensor::empty(context, y.shape(), y.dtype(), "triplet");
  dispatch(x.dtype(), "triplet", [&]<class T>(T) {
    k::triplet<T>(context.stream(), x.data<T>(), y.data<T>(), anchors.data<int64_t>(), positives.data<int64_t>(), negatives.data<int64_t>(), x.size(0),
                  y.size(0), x.size(1), anchors.count(), static_cast<T>(margin), loss.data<T>(), grad_x.defined() ? grad_x.data<T>() : nullptr,
                  grad_y.defined() ? grad_y.data<T>() : nullptr);
  });
  if (one) return record("triplet", {x}, loss, {grad_x}, [grad_x](Grads& g) { g.give_scaled(0, grad_x); });
  return record("triplet", {x, y}, loss, {grad_x, grad_y}, [grad_x, grad_y](Grads& g) {
    g.give_scaled(0, grad_x);
    g.give_scaled(1, grad_y);
  });
}

}  // namespace panvae::ops
