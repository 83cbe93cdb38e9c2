#include "engine/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
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
  sum_squares_ = Tensor::zeros(c, {2 + static_cast<int64_t>(state.entries().size())}, DType::f64, "adam");
}

void Adam::upload_settings() {
  PV_CHECK(learning_rate >= 0 && std::isfinite(learning_rate), "adam: a learning rate of {}", learning_rate);
  PV_CHECK(max_norm >= 0, "adam: max_norm {} is negative", max_norm);
  if (learning_rate == uploaded_[0] && max_norm == uploaded_[1]) return;
  const double now[2] = {learning_rate, max_norm};
  static_assert(adam_learning_rate == 0 && adam_max_norm == 1);
  slots_.part(0, {2}).upload(now, 2);
  std::copy(now, now + 2, uploaded_);
}

void Adam::step(const Tensor& losses) {
  if (losses.defined()) check_same_context("adam", state_.flat_parameters(), losses);
  state_.settle_gradients(max_norm > 0);  // clipping needs the norm before the update, hence all gradients
  upload_settings();
  // Products with their places; between them, ranges whose gradients are written.
  std::vector<Range> ranges;
  std::vector<const ModuleState::Entry*> products;
  const std::vector<ModuleState::Entry>& entries = state_.entries();
  const int64_t count = state_.flat_parameters().count();
  int64_t first = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const ModuleState::Entry& e = entries[i];
    if (!e.tensor.variable()->product) continue;
    e.tensor.variable()->product->check_unchanged(e.name);
    products.push_back(&e);
    if (e.offset > first) ranges.push_back({first, e.offset - first});
    first = i + 1 < entries.size() ? entries[i + 1].offset : count;
  }
  if (count > first || products.empty()) ranges.push_back({first, count - first});
  update_ranges(ranges, products, losses);
  for (const ModuleState::Entry* e : products) {
    e->tensor.variable()->product.reset();
    e->tensor.variable()->used_up = true;
  }
  Tensor flat = state_.flat_parameters();
  flat.context().claim_calls("adam", flat.shape());
  flat.bump_version();
}

void Adam::update_ranges(const std::vector<Range>& ranges, const std::vector<const ModuleState::Entry*>& products, const Tensor& losses) {
  Context& c = state_.context();
  Stream& s = c.stream();
  const Tensor &p = state_.flat_parameters(), &g = state_.flat_gradients();
  double *total = sum_squares_.data<double>(), *squares = products.empty() ? total : total + 1, *slots = slots_.data<double>();
  dispatch(p.dtype(), "adam", [&]<class T>(T) {
    for (size_t i = 0; i < ranges.size(); ++i) {
      const Context::Aside aside(c, i > 0);
      k::sum_squares<T>(c.stream(), g.data<T>() + ranges[i].first, squares + i, ranges[i].count);
    }
    c.join();
    if (!products.empty()) {
      const Tensor& factors = state_.factor_squares();
      for (size_t i = 0; i < state_.entries().size(); ++i) {  // who keeps none this time may have kept one
        const Variable& v = *state_.entries()[i].tensor.variable();
        if (v.keeps_product && !v.product) k::fill<double>(s, v.factor_squares->data<double>(), 2, 0.0);
      }
      const double largest = static_cast<double>(std::numeric_limits<T>::max()) / 4;
      k::adam_gate<double>(s, squares, static_cast<int64_t>(ranges.size()), factors.data<double>(), factors.size(0), largest, total);
    }
    k::adam_prepare<T>(s, total, losses.defined() ? losses.data<T>() : nullptr, losses.defined() ? losses.count() : 0, slots, options_);
    for (const Range& r : ranges) {
      const Context::Aside aside(c, !products.empty());  // beside the first product, which takes a while to fill the card
      k::adam<T>(c.stream(), p.data<T>() + r.first, g.data<T>() + r.first, m_.data<T>() + r.first, v_.data<T>() + r.first, r.count, slots, options_);
    }
    std::vector<const ModuleState::Entry*> in_panels;
    for (const ModuleState::Entry* e : products) {
      const MatrixProduct& product = *e->tensor.variable()->product;
      if (!product.best_kept()) {
        in_panels.push_back(e);
        continue;
      }
      const int64_t M = e->tensor.size(0), N = e->tensor.size(1), K = product.a.size(product.transpose_a ? 0 : 1);
      k::matmul_adam<T>(s, product.a.data<T>(), product.transpose_a, product.b.data<T>(), product.transpose_b, p.data<T>() + e->offset,
                        m_.data<T>() + e->offset, v_.data<T>() + e->offset, M, N, K, slots, options_);
    }
    if (!in_panels.empty()) update_by_panels<T>(in_panels);
    c.join();
  });
}

// Rows of a panel of some numbers, each of N of them: in whole tiles of the products that make it, where there is more than one.
static int64_t panel_rows(int64_t N, int64_t numbers) {
  constexpr int64_t kTile = 128;
  const int64_t rows = std::max<int64_t>(1, numbers / std::max<int64_t>(1, N));
  return rows < kTile ? rows : rows / kTile * kTile;
}

// A panel of a gradient is computed, by a library, where the next update finds it in the cache of a GPU: two panels take half of the
// 50 MB of a H100. Two, so that while a step is captured the next is computed aside, beside the update with the last.
template <class T>
void Adam::update_by_panels(const std::vector<const ModuleState::Entry*>& products) {
  Context& c = state_.context();
  const Tensor& p = state_.flat_parameters();
  struct Panel {
    const ModuleState::Entry* weight;
    int64_t first, rows;
  };
  std::vector<Panel> panels;
  int64_t largest = 0, stretches = 0;
  for (const ModuleState::Entry* e : products) {
    const int64_t M = e->tensor.size(0), N = e->tensor.size(1), height = panel_rows(N, panel_bytes / static_cast<int64_t>(sizeof(T)));
    for (int64_t first = 0; first < M; first += height) {
      panels.push_back({e, first, std::min(height, M - first)});
      largest = std::max(largest, panels.back().rows * N);
      stretches += adam_stretches(panels.back().rows * N);
    }
  }
  const Tensor room[2] = {Tensor::empty(c, {largest}, p.dtype(), "gradient"), Tensor::empty(c, {largest}, p.dtype(), "gradient")};
  const Tensor squares = Tensor::empty(c, {stretches}, DType::f64, "adam");
  const auto compute = [&](size_t i) {
    if (i >= panels.size()) return;
    const Panel& panel = panels[i];
    const MatrixProduct& product = *panel.weight->tensor.variable()->product;
    const Context::Aside aside(c, true);
    k::matmul_rows<T>(c.stream(), product.a.data<T>(), product.transpose_a, product.b.data<T>(), product.transpose_b, room[i % 2].data<T>(),
                      panel.weight->tensor.size(0), panel.weight->tensor.size(1), product.a.size(product.transpose_a ? 0 : 1), panel.first, panel.rows);
  };
  double* to = squares.data<double>();
  compute(0);
  for (size_t i = 0; i < panels.size(); ++i) {
    const Panel& panel = panels[i];
    const int64_t N = panel.weight->tensor.size(1), at = panel.weight->offset + panel.first * N, count = panel.rows * N;
    c.join();        // for this panel
    compute(i + 1);  // where the one before this lies, whose update is behind us in the stream
    k::adam_summing<T>(c.stream(), p.data<T>() + at, room[i % 2].data<T>(), m_.data<T>() + at, v_.data<T>() + at, count, slots_.data<double>(), options_, to);
    to += adam_stretches(count);
  }
  k::adam_join_norm<double>(c.stream(), squares.data<double>(), stretches, slots_.data<double>());
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
  Tensor g = state.flat_gradients();
  Tensor sum = Tensor::empty(c, {1}, DType::f64, "clip");
  dispatch(g.dtype(), "clip", [&]<class T>(T) {
    k::sum_squares<T>(c.stream(), g.data<T>(), sum.data<double>(), g.count());
    k::clip<T>(c.stream(), g.data<T>(), g.count(), sum.data<double>(), static_cast<T>(max_norm));
  });
  g.bump_version();
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
