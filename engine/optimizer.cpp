#include "engine/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace panvae {

Adam::Adam(ModuleState& state, AdamOptions options) : state_(state), options_(options) {
  PV_CHECK(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1, "adam: betas {} and {} must lie in [0, 1)", options.beta1,
           options.beta2);
  PV_CHECK(options.eps > 0 && options.weight_decay >= 0, "adam: eps {}, weight decay {}", options.eps, options.weight_decay);
  state.require_gradients();
  Context& c = state.context();
  const Tensor& p = state.flat_parameters();
  m_ = Tensor::zeros(c, p.shape(), p.dtype(), "first moment");
  v_ = Tensor::zeros(c, p.shape(), p.dtype(), "second moment");
  slots_ = Tensor::zeros(c, {adam_slots}, DType::f64, "adam");
  sum_squares_ = Tensor::zeros(c, {1}, DType::f64, "adam");
}

void Adam::upload_settings() {
  if (learning_rate == uploaded_[0] && max_norm == uploaded_[1]) return;
  const double now[2] = {learning_rate, max_norm};
  static_assert(adam_learning_rate == 0 && adam_max_norm == 1);
  slots_.part(0, {2}).upload(now, 2);
  std::copy(now, now + 2, uploaded_);
}

void Adam::step(const Tensor& losses) {
  Context& c = state_.context();
  Stream& s = c.stream();
  state_.settle_gradients();
  upload_settings();
  const Tensor& p = state_.flat_parameters();
  const Tensor& g = state_.flat_gradients();
  dispatch(p.dtype(), "adam", [&]<class T>(T) {
    k::sum_squares<T>(s, g.data<T>(), sum_squares_.data<double>(), g.count());
    k::adam_prepare<T>(s, sum_squares_.data<double>(), losses.defined() ? losses.data<T>() : nullptr, losses.defined() ? losses.count() : 0,
                       slots_.data<double>(), options_);
    k::adam<T>(s, p.data<T>(), g.data<T>(), m_.data<T>(), v_.data<T>(), p.count(), slots_.data<double>(), options_);
  });
  c.claim_calls("adam", p.shape());
  Tensor flat = p;
  flat.bump_version();
}

int64_t Adam::steps() const {
  return static_cast<int64_t>(slots_.host<double>()[adam_step]);
}
int64_t Adam::skipped() const {
  return static_cast<int64_t>(slots_.host<double>()[adam_skipped]);
}
double Adam::gradient_norm() const {
  return slots_.host<double>()[adam_norm];
}

double clip_grad_norm(ModuleState& state, double max_norm) {
  PV_CHECK(max_norm > 0, "clip_grad_norm: max_norm {} is not positive", max_norm);
  state.settle_gradients();
  Context& c = state.context();
  const Tensor& g = state.flat_gradients();
  Tensor sum = Tensor::empty(c, {1}, DType::f64, "clip");
  dispatch(g.dtype(), "clip", [&]<class T>(T) {
    k::sum_squares<T>(c.stream(), g.data<T>(), sum.data<double>(), g.count());
    k::clip<T>(c.stream(), g.data<T>(), g.count(), sum.data<double>(), static_cast<T>(max_norm));
  });
  c.claim_calls("clip", g.shape());
  return std::sqrt(sum.host<double>()[0]);
}

double Schedule::at(int64_t step) const {
  if (kind == Kind::constant) return base;
  if (step < warmup_steps) return base * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (kind == Kind::warmup || total_steps <= warmup_steps) return base;
  const double t = std::min(1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(total_steps - warmup_steps));
  return floor + (base - floor) * 0.5 * (1.0 + std::cos(std::numbers::pi * t));
}

}  // namespace panvae
