#include "engine/ops/activation.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/linear.h"
#include "engine/ops/vae.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

double n_of(const Sizes& s) {
  return static_cast<double>(s[0]);
}

// What all elementwise cases share: sizes, and the work of `reads` inputs, one output and `operations` an element.
void elementwise(OpCase& c, double reads, double operations) {
  c.sizes = elementwise_sizes();
  c.op_sizes = small_op_sizes();
  c.dims = {"N"};
  c.bench = elementwise_bench();
  c.flops = [=](const Sizes& s) { return operations * n_of(s); };
  c.bytes = [=](const Sizes& s, double item) { return (reads + 1) * n_of(s) * item; };
  c.op_inputs = [](const Sizes& s) { return one_input(s); };
}

std::vector<OpInput> two_inputs(const Sizes& s) {
  return {{{s[0]}}, {{s[0]}}};
}

// y = f(a, b); variants 1 and 2 write over a and over b.
template <class F>
void binary(OpCase& c, F kernel_and_formula) {
  elementwise(c, 2, 1);
  c.variants = 3;
  c.op_inputs = two_inputs;
  c.body([=]<class T>(Run<T>& r, const Sizes& s) {
    const auto a = r.in(s[0], specials()), b = r.in(s[0], uniform(-2, 2));
    const auto y = r.variant == 0 ? r.out(s[0]) : r.over(r.variant == 1 ? a : b);
    kernel_and_formula(r, a, b, y, s[0]);
  });
}

const Case fill("fill", [](OpCase& c) {
  elementwise(c, 0, 0);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto y = r.out(s[0]);
    r.call([=](Stream& stream) { k::fill<T>(stream, y, s[0], T(-2.5)); });
    r.exactly(y, [](int64_t) { return -2.5; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return times_constant(x[0],
                          [](Tensor& y) { dispatch(y.dtype(), "fill", [&]<class T>(T) { k::fill<T>(y.context().stream(), y.data<T>(), y.count(), T(3)); }); });
  };
});

const Case copy("copy", [](OpCase& c) {  // add's backward is two copies
  elementwise(c, 1, 0);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0], specials()), y = r.out(s[0]);
    r.call([=](Stream& stream) { k::copy<T>(stream, x, y, s[0]); });
    r.exactly(y, [&](int64_t i) { return x[i]; });
  });
  c.op_inputs = two_inputs;
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::add(x[0], x[1]); };
});

const Case add("add", [](OpCase& c) {
  binary(c, []<class T>(Run<T>& r, auto& a, auto& b, auto& y, int64_t n) {
    r.call([=](Stream& stream) { k::add<T>(stream, a, b, y, n); });
    r.expect(y, 1.01, [&](int64_t i) { return a[i] + b[i]; });
  });
  // x + x needs an addition of gradients as well.
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::add(ops::add(x[0], x[1]), x[0]); };
});

const Case sub("sub", [](OpCase& c) {
  binary(c, []<class T>(Run<T>& r, auto& a, auto& b, auto& y, int64_t n) {
    r.call([=](Stream& stream) { k::sub<T>(stream, a, b, y, n); });
    r.expect(y, 1.01, [&](int64_t i) { return a[i] - b[i]; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::sub(x[0], x[1]); };
});

const Case mul("mul", [](OpCase& c) {
  binary(c, []<class T>(Run<T>& r, auto& a, auto& b, auto& y, int64_t n) {
    r.call([=](Stream& stream) { k::mul<T>(stream, a, b, y, n); });
    r.expect(y, 1.01, [&](int64_t i) { return a[i] * b[i]; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::mul(ops::mul(x[0], x[1]), x[1]); };
});

const Case scale("scale", [](OpCase& c) {
  elementwise(c, 1, 1);
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0], specials());
    const auto y = r.variant == 0 ? r.out(s[0]) : r.over(x);
    const T factor = T(0.3);
    r.call([=](Stream& stream) { k::scale<T>(stream, x, y, s[0], factor); });
    r.expect(y, 1.01, [&](int64_t i) { return factor * x[i]; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::scale(x[0], -1.75); };
});

const Case axpy("axpy", [](OpCase& c) {
  elementwise(c, 2, 2);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0], specials()), y = r.inout(s[0]);
    const double factor = T(-0.7);
    r.call([=](Stream& stream) { k::axpy<T>(stream, x, y, s[0], T(-0.7)); });
    r.expect(
        y, 2.01, [&](int64_t i) { return y[i] + factor * x[i]; }, [&](int64_t i) { return std::abs(y[i]) + std::abs(factor * x[i]); });
  });
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0]}}, {{s[0]}, uniform(-1, 1), false}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return times_constant(x[0], [&](Tensor& y) {
      dispatch(y.dtype(), "axpy", [&]<class T>(T) {
        k::copy<T>(y.context().stream(), x[1].data<T>(), y.data<T>(), y.count());
        k::axpy<T>(y.context().stream(), x[1].data<T>(), y.data<T>(), y.count(), T(0.5));
      });
    });
  };
});

// A loss that is scaled afterwards reaches the gradients of huber_kl through scale_by.
const Case scale_by("scale_by", [](OpCase& c) {
  elementwise(c, 1, 1);
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0], specials()), factor = r.in(1, uniform(1, 2));
    const auto y = r.variant == 0 ? r.out(s[0]) : r.over(x);
    r.call([=](Stream& stream) { k::scale_by<T>(stream, x, factor, y, s[0]); });
    r.expect(y, 1.01, [&](int64_t i) { return factor[0] * x[i]; });
  });
  c.op_inputs = [](const Sizes& s) {
    return std::vector<OpInput>{{{1, s[0]}, uniform(-0.4, 0.4)}, {{1, s[0]}, uniform(-0.4, 0.4), false}, {{1, 3}}, {{1, 3}}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::scale(ops::huber_kl(x[0], x[1], x[2], x[3], 1.0, 0.5).loss, 3.0); };
});

const Case spread("spread", [](OpCase& c) {  // the backward of a sum
  elementwise(c, 0, 1);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto value = r.in(1, uniform(1, 2)), y = r.out(s[0]);
    const double factor = T(0.1);
    r.call([=](Stream& stream) { k::spread<T>(stream, value, y, s[0], T(0.1)); });
    r.expect(y, 1.01, [&](int64_t) { return factor * value[0]; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::mean(x[0]); };
});

const Case relu("relu", [](OpCase& c) {
  elementwise(c, 1, 1);
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0], specials());
    const auto y = r.variant == 0 ? r.out(s[0]) : r.over(x);
    r.call([=](Stream& stream) { k::relu<T>(stream, x, y, s[0]); });
    r.exactly(y, [&](int64_t i) { return std::isnan(x[i]) || x[i] > 0 ? x[i] : 0.0; });
  });
  c.op_inputs = [](const Sizes& s) { return one_input(s, away_from_zero()); };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::relu(x[0]); };
});

const Case relu_grad("relu_grad", [](OpCase& c) {
  elementwise(c, 2, 1);
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto y = r.in(s[0], uniform(-1, 1)), grad_y = r.in(s[0], uniform(-3, 3));
    const auto grad_x = r.variant == 0 ? r.out(s[0]) : r.over(grad_y);
    r.call([=](Stream& stream) { k::relu_grad<T>(stream, y, grad_y, grad_x, s[0]); });
    r.exactly(grad_x, [&](int64_t i) { return y[i] > 0 ? grad_y[i] : 0.0; });
  });
  c.op_inputs = [](const Sizes& s) { return one_input(s, away_from_zero()); };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::relu(ops::scale(ops::relu(x[0]), 2.0)); };
});

const Case leaky_relu("leaky_relu", [](OpCase& c) {
  elementwise(c, 1, 2);
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0], specials());
    const auto y = r.variant == 0 ? r.out(s[0]) : r.over(x);
    const double slope = T(0.01);
    r.call([=](Stream& stream) { k::leaky_relu<T>(stream, x, y, s[0], T(0.01)); });
    r.expect(y, 1.01, [&](int64_t i) { return x[i] < 0 ? slope * x[i] : x[i]; });
  });
  c.op_inputs = [](const Sizes& s) { return one_input(s, away_from_zero()); };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::leaky_relu(x[0], 0.01); };
});

const Case leaky_relu_grad("leaky_relu_grad", [](OpCase& c) {
  elementwise(c, 2, 2);
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto y = r.in(s[0], uniform(-1, 1)), grad_y = r.in(s[0], uniform(-3, 3));
    const auto grad_x = r.variant == 0 ? r.out(s[0]) : r.over(grad_y);
    const double slope = T(0.2);
    r.call([=](Stream& stream) { k::leaky_relu_grad<T>(stream, y, grad_y, grad_x, s[0], T(0.2)); });
    r.expect(grad_x, 1.01, [&](int64_t i) { return y[i] > 0 ? grad_y[i] : slope * grad_y[i]; });
  });
  c.op_inputs = [](const Sizes& s) { return one_input(s, away_from_zero()); };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::leaky_relu(ops::scale(ops::leaky_relu(x[0], 0.2), 2.0), 0.5); };
});

double normal_below(double x) {
  return 0.5 * std::erfc(-x / std::sqrt(2.0));
}
// In f32 both are right to four units of 1, as a formula with erf is.
constexpr double kGeluUnits = 6;

const Case gelu("gelu", [](OpCase& c) {
  elementwise(c, 1, 20);
  c.variants = 3;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0], r.variant == 2 ? specials() : uniform(-8, 8));
    const auto y = r.variant == 0 ? r.out(s[0]) : r.over(x);
    r.call([=](Stream& stream) { k::gelu<T>(stream, x, y, s[0]); });
    r.expect(
        y, kGeluUnits, [&](int64_t i) { return x[i] * normal_below(x[i]); }, [&](int64_t i) { return x[i]; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::gelu(x[0]); };
});

const Case gelu_grad("gelu_grad", [](OpCase& c) {
  elementwise(c, 2, 22);
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0], uniform(-8, 8)), grad_y = r.in(s[0], uniform(-3, 3));
    const auto grad_x = r.variant == 0 ? r.out(s[0]) : r.over(grad_y);
    r.call([=](Stream& stream) { k::gelu_grad<T>(stream, x, grad_y, grad_x, s[0]); });
    const double factor = 1 / std::sqrt(2 * std::acos(-1.0));
    r.expect(
        grad_x, kGeluUnits, [&](int64_t i) { return grad_y[i] * (normal_below(x[i]) + x[i] * factor * std::exp(-x[i] * x[i] / 2)); },
        [&](int64_t i) { return grad_y[i]; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::gelu(ops::scale(ops::gelu(x[0]), 2.0)); };
});

}  // namespace
}  // namespace panvae::cases
