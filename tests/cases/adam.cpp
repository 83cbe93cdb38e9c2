// The optimizer's kernels against the formulas of the papers. They have no gradient: in grad and graph they make the
// constant factor of a product.
#include "adam_formulas.h"
#include "engine/ops/arithmetic.h"

namespace panvae::cases {
namespace {

// A product with p after one step of the optimizer over it.
Tensor stepped(const std::vector<Tensor>& x, const Sizes&) {
  return times_constant(x[0], [&](Tensor& p) {
    Context& context = p.context();
    const Tensor slots = Tensor::from(context, {adam_slots}, slots_of({}, 1));
    Tensor m = Tensor::zeros(context, p.shape(), p.dtype()), v = Tensor::zeros(context, p.shape(), p.dtype());
    dispatch(p.dtype(), "adam", [&]<class T>(T) {
      k::fill<T>(context.stream(), p.data<T>(), p.count(), T(1));
      k::adam<T>(context.stream(), p.data<T>(), x[1].data<T>(), m.data<T>(), v.data<T>(), p.count(), slots.data<double>(), AdamOptions{});
    });
  });
}
std::vector<OpInput> with_gradient(const Sizes& s) {
  return {{{s[0]}}, {{s[0]}, uniform(0.5, 1), false}};
}

// Variants: Adam, AdamW, Adam with L2, a step that is skipped.
const Case adam("adam", [](OpCase& c) {
  c.sizes = {{0}, {1}, {3}, {31}, {1029}, {16385}};
  c.dims = {"N"};
  c.bench = {{41369565}};  // parameters of the RNA VAE
  c.variants = 4;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const AdamOptions o = options_of(r.variant);
    const double scale = r.variant == 3 ? 0 : T(0.5);
    const auto p = r.inout(s[0]), grad = r.in(s[0]), m = r.inout(s[0]), v = r.inout(s[0], uniform(0, 1));
    const auto slots = r.template in<double>(adam_slots, list(slots_of(o, scale)));
    r.call([=](Stream& stream) { k::adam<T>(stream, p, grad, m, v, s[0], slots, o); });
    expect_step(r, o, scale, p, grad, m, v);
  });
  c.flops = [](const Sizes& s) { return 14 * static_cast<double>(s[0]); };
  c.bytes = [](const Sizes& s, double item) { return 7 * static_cast<double>(s[0]) * item; };
  c.op_sizes = small_op_sizes();
  c.op_inputs = with_gradient;
  c.op = stepped;
});

// What the loss of a step may be, and how many there are; a step with one that is not finite is skipped.
std::vector<double> losses_of(int64_t kind) {
  const double bad = kind == 3 ? std::nan("") : kind == 4 ? -std::numeric_limits<double>::infinity() : 2;
  return kind == 0 ? std::vector<double>{} : kind == 1 ? std::vector<double>{-3} : std::vector<double>{1, 0, bad};
}

// sizes: max_norm in tenths, sum of squares (-1: NaN, -2: infinite), steps before, kind of the losses
const Case adam_prepare("adam_prepare", [](OpCase& c) {
  c.label = [](const Sizes&) { return std::string("one"); };
  c.bench = {{10, 9, 5, 0}};
  c.sizes = {{0, 9, 0, 0},   {10, 9, 0, 1}, {100, 9, 41, 2}, {5, 0, 3, 0},  {30, 9, 7, 2}, {0, -1, 2, 0},
             {10, -2, 2, 1}, {10, 9, 5, 3}, {0, 9, 5, 4},    {0, -1, 5, 3}, {0, 0, 0, 4}};
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const AdamOptions o = options_of(r.variant);
    const double max_norm = static_cast<double>(s[0]) / 10, steps = static_cast<double>(s[2]), rate = 2e-3;
    const double squares = s[1] == -1 ? std::nan("") : s[1] == -2 ? std::numeric_limits<double>::infinity() : static_cast<double>(s[1]);
    const std::vector<double> given = losses_of(s[3]);
    const int64_t count = static_cast<int64_t>(given.size());
    const auto sum = r.template in<double>(1, list({squares}));
    const auto losses = r.in(count, list(given));
    std::vector<double> before(adam_slots, 0.125);
    before[adam_learning_rate] = rate;
    before[adam_max_norm] = max_norm;
    before[adam_step] = steps;
    before[adam_skipped] = 2;
    const auto slots = r.template inout<double>(adam_slots, list(before));
    r.call([=](Stream& stream) { k::adam_prepare<T>(stream, sum, losses, count, slots, o); });
    const double norm = std::sqrt(squares);
    std::vector<double> after = before;
    after[adam_norm] = norm;
    if (!std::isfinite(norm) || s[3] > 2) {
      after[adam_gradient_scale] = 0;
      after[adam_skipped] = 3;
    } else {
      after[adam_step] = steps + 1;
      after[adam_gradient_scale] = max_norm == 0 ? 1 : std::min(1.0, max_norm / (norm + 1e-6));
      after[adam_step_size] = rate / (1 - std::pow(o.beta1, steps + 1));
      after[adam_sqrt_bias2] = std::sqrt(1 - std::pow(o.beta2, steps + 1));
    }
    r.expect(slots, 8, [&](int64_t i) { return after[static_cast<size_t>(i)]; });
  });
  c.flops = [](const Sizes&) { return 10.0; };
  c.bytes = [](const Sizes&, double) { return 8.0 * static_cast<double>(adam_slots); };
  c.op_sizes = small_op_sizes();
  c.op_inputs = with_gradient;
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    Context& context = x[0].context();
    std::vector<double> start(adam_slots, 0.0);
    start[adam_learning_rate] = 1e-2;
    const Tensor slots = Tensor::from(context, {adam_slots}, start), squares = Tensor::from(context, {1}, std::vector<double>{4.0});
    k::adam_prepare<double>(context.stream(), squares.data<double>(), nullptr, 0, slots.data<double>(), AdamOptions{});
    return times_constant(x[0], [&](Tensor& p) {
      Tensor m = Tensor::zeros(context, p.shape(), p.dtype()), v = Tensor::zeros(context, p.shape(), p.dtype());
      dispatch(p.dtype(), "adam", [&]<class T>(T) {
        k::fill<T>(context.stream(), p.data<T>(), s[0], T(1));
        k::adam<T>(context.stream(), p.data<T>(), x[1].data<T>(), m.data<T>(), v.data<T>(), s[0], slots.data<double>(), AdamOptions{});
      });
    });
  };
});

// Variants: norm above the limit, and below it, where nothing may change by a single bit.
const Case clip("clip", [](OpCase& c) {
  c.sizes = elementwise_sizes();
  c.dims = {"N"};
  c.bench = elementwise_bench();
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.inout(s[0]);
    const auto squares = r.template in<double>(1, list({r.variant == 0 ? 16.0 : 0.01}));
    const double limit = T(0.7);
    r.call([=](Stream& stream) { k::clip<T>(stream, x, s[0], squares, T(0.7)); });
    if (r.variant == 0) r.expect(x, 3, [&](int64_t i) { return x[i] * (limit / (4 + 1e-6)); });
    else r.exactly(x, [&](int64_t i) { return x[i]; });
  });
  c.flops = [](const Sizes& s) { return static_cast<double>(s[0]); };
  c.bytes = [](const Sizes& s, double item) { return 2 * static_cast<double>(s[0]) * item; };
  c.op_sizes = small_op_sizes();
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0]}}, {{s[0]}, uniform(-1, 1), false}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return times_constant(x[0], [&](Tensor& y) {
      const Tensor squares = Tensor::from(y.context(), {1}, std::vector<double>{9.0});
      dispatch(y.dtype(), "clip", [&]<class T>(T) {
        k::copy<T>(y.context().stream(), x[1].data<T>(), y.data<T>(), y.count());
        k::clip<T>(y.context().stream(), y.data<T>(), y.count(), squares.data<double>(), T(1.5));
      });
    });
  };
});

}  // namespace
}  // namespace panvae::cases
