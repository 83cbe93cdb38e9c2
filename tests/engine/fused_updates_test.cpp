// Weight gradients that Adam computes together with its update: the same training as without, whatever is asked of them.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/layers.h"
#include "engine/ops/arithmetic.h"
#include "engine/optimizer.h"
#include "helpers.h"

namespace panvae::test {
namespace {

constexpr int64_t kBatch = 9, kIn = 21, kHidden = 34, kOut = 13;

// A linear layer, one that is passed twice, one that has no part in the loss, and one at the end.
class Net : public Module {
 public:
  Net() : first(kIn, kHidden, true, {Activation::leaky_relu, 0.1}), twice(kHidden, kHidden), unused(kIn, kOut), last(kHidden, kOut, false) {
    declare_module("first", first);
    declare_module("twice", twice);
    declare_module("unused", unused);
    declare_module("last", last);
  }
  Tensor forward(const Tensor& x) override { return last(twice(twice(first(x)))); }

  Linear first, twice, unused, last;
};

struct Plan {
  Device device = {};
  Provider provider = Provider::automatic;
  int64_t panel_bytes = int64_t{16} << 20;
  AdamOptions adam = {};
  int backwards = 1;  // before each step
  double max_norm = 0;
  std::function<void(Net&, int64_t step)> before_step = {};  // behind the backward passes
  float spoilt = 0;                                          // an element of x in step 2, where not 0
};

struct Trained {
  std::vector<double> weights, first, second, norms;
  int64_t steps = 0, skipped = 0, kept = 0;  // products that reached the optimizer
};

std::vector<double> in_doubles(const Tensor& t) {
  if (t.dtype() == DType::f64) return t.host<double>();
  const auto v = t.host<float>();
  return {v.begin(), v.end()};
}

template <class T>
Trained train(const Plan& s, bool keep, int64_t steps = 5) {
  Context c(s.device);
  c.stream().provider = s.provider;
  Net net;
  ModuleState state(c, net, 3, dtype_of<T>());
  Adam adam(state, s.adam);
  adam.learning_rate = 1e-2;
  adam.max_norm = s.max_norm;
  adam.panel_bytes = s.panel_bytes;
  state.keep_products(keep ? KeptProducts::all : KeptProducts::none);
  Trained t;
  for (int64_t step = 0; step < steps; ++step) {
    const Step scope(c);
    adam.zero_grad();
    for (int pass = 0; pass < s.backwards; ++pass) {
      std::vector<T> x(static_cast<size_t>(kBatch * kIn)), y(static_cast<size_t>(kBatch * kOut));
      for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<T>(i * 7 + static_cast<size_t>(step * 13 + pass * 5)));
      for (size_t i = 0; i < y.size(); ++i) y[i] = std::cos(static_cast<T>(i * 3));
      if (s.spoilt != 0 && step == 2) x[7] = static_cast<T>(s.spoilt);
      Tape tape(c);
      const Tensor error = ops::sub(net(Tensor::from(c, {kBatch, kIn}, x)), Tensor::from(c, {kBatch, kOut}, y));
      tape.backward(ops::mean(ops::mul(error, error)));
    }
    if (s.before_step) s.before_step(net, step);
    for (const ModuleState::Entry& e : state.entries()) t.kept += e.tensor.variable()->product != nullptr;
    adam.step();
    t.norms.push_back(adam.gradient_norm());
  }
  t.weights = in_doubles(state.flat_parameters());
  t.first = in_doubles(adam.first_moment());
  t.second = in_doubles(adam.second_moment());
  t.steps = adam.steps();
  t.skipped = adam.skipped();
  return t;
}

void expect_near(const std::vector<double>& a, const std::vector<double>& b, double tolerance, const char* what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  double largest = 0, worst = 0;
  for (double v : b)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (a[i] == b[i]) continue;
    if (const double d = std::abs(a[i] - b[i]); !(d <= worst)) worst = d;
  }
  EXPECT_LE(worst, tolerance * largest) << what;
}

// simt computes both by the same tiles: the same bits. On cpu a written gradient is BLAS's, which rounds otherwise; and where
// a gradient is written, another kernel updates with it, in which compilers may contract the update otherwise.
template <class T>
void expect_same_training(const Plan& s, int64_t kept, double tolerance) {
  const Trained with = train<T>(s, true), without = train<T>(s, false);
  EXPECT_EQ(with.kept, kept);
  EXPECT_EQ(without.kept, 0);
  EXPECT_EQ(with.steps, without.steps);
  EXPECT_EQ(with.skipped, without.skipped);
  const bool exactly = s.device.type == DeviceType::simt && s.provider != Provider::vendor;
  expect_near(with.weights, without.weights, exactly ? 0 : tolerance, "weights");
  expect_near(with.first, without.first, exactly ? 0 : tolerance, "first moment");
  expect_near(with.second, without.second, exactly ? 0 : tolerance, "second moment");
  expect_near(with.norms, without.norms, tolerance, "gradient norms");  // sums in another order
}

void expect_same_training(Plan s, int64_t kept) {
  for (Device device : host_devices()) {
    SCOPED_TRACE(to_string(device));
    s.device = device;
    expect_same_training<double>(s, kept, 1e-12);
    expect_same_training<float>(s, kept, 1e-5);
  }
}

// Products by a library, which simt's own stand in for: a panel is written, and updated with by itself.
void expect_same_training_with_a_library(Plan s, int64_t kept) {
  s.device = {DeviceType::simt, 0};
  s.provider = Provider::vendor;
  for (int64_t bytes : {int64_t{16} << 20, int64_t{1000}, int64_t{1}}) {  // the whole; some panels of different heights; row by row
    s.panel_bytes = bytes;
    expect_same_training<double>(s, kept, 1e-12);
    expect_same_training<float>(s, kept, 1e-5);
  }
}

constexpr int64_t kSteps = 5, kOnce = 2;  // weights that one product of a step makes: first and last

TEST(fused_updates, weights_used_once_are_updated_with_their_products_and_others_as_ever) {
  expect_same_training(Plan{}, kOnce * kSteps);
}

TEST(fused_updates, weight_decay_of_both_kinds) {
  expect_same_training({.adam = {.weight_decay = 0.1}}, kOnce * kSteps);
  expect_same_training({.adam = {.beta1 = 0.8, .beta2 = 0.9, .eps = 1e-4, .weight_decay = 0.1, .decoupled = true}}, kOnce * kSteps);
}

TEST(fused_updates, products_of_a_library_are_computed_and_updated_with_panel_by_panel) {
  expect_same_training_with_a_library({}, kOnce * kSteps);
  expect_same_training_with_a_library({.adam = {.weight_decay = 0.1}}, kOnce * kSteps);
  expect_same_training_with_a_library({.max_norm = 0.05}, kOnce * kSteps);
  expect_same_training_with_a_library({.spoilt = INFINITY}, kOnce * kSteps);
}

TEST(fused_updates, two_backward_passes_add_up) {
  expect_same_training({.backwards = 2}, 0);
}

TEST(fused_updates, clipping_computes_the_gradients_first) {
  expect_same_training({.max_norm = 0.05}, kOnce * kSteps);
}

TEST(fused_updates, a_gradient_that_is_asked_for_is_there) {
  expect_same_training({.before_step =
                            [](Net& net, int64_t) {
                              EXPECT_EQ(net.first.weight.gradient().shape(), (Shape{kHidden, kIn}));
                              EXPECT_TRUE(net.first.weight.gradient().defined());
                            }},
                       kSteps);
}

TEST(fused_updates, hooks_see_and_change_the_gradient) {
  for (Device device : host_devices()) {
    std::vector<double> weights[2];
    for (bool keep : {false, true}) {
      Context c(device);
      Net net;
      ModuleState state(c, net, 3);
      Adam adam(state);
      state.keep_products(keep ? KeptProducts::all : KeptProducts::none);
      int seen = 0;
      net.first.weight.variable()->hooks.push_back([&](Tensor& g) {
        ++seen;
        g.assign(Tensor::from(c, g.shape(), ramp(static_cast<size_t>(g.count()))));
      });
      const Tensor x = tensor(c, {kBatch, kIn}, ramp(kBatch * kIn));
      adam.zero_grad();
      Tape tape(c);
      tape.backward(ops::mean(net(x)));
      EXPECT_EQ(seen, 1);
      EXPECT_EQ(net.first.weight.variable()->product, nullptr);
      EXPECT_EQ(net.last.weight.variable()->product != nullptr, keep);
      adam.step();
      weights[keep] = in_doubles(state.flat_parameters());
    }
    expect_near(weights[1], weights[0], 1e-6, "weights");
  }
}

// A step is taken as a whole or not at all, by the same rule with and without.
TEST(fused_updates, a_step_whose_gradient_is_not_finite_is_skipped_and_counted) {
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    for (Device device : host_devices()) {
      const Plan s{.device = device, .spoilt = bad};
      const Trained with = train<float>(s, true), without = train<float>(s, false);
      EXPECT_EQ(with.skipped, 1);
      EXPECT_EQ(with.steps, kSteps - 1);
      EXPECT_FALSE(std::isfinite(with.norms[2]));
      EXPECT_TRUE(std::isfinite(with.norms[3])) << "training goes on";
      for (double v : with.weights) ASSERT_TRUE(std::isfinite(v));
      expect_near(with.weights, without.weights, 1e-5, "weights");
    }
  }
}

// The loss may be finite where a weight's gradient is not: here only the product overflows, and no gradient that is written shows it.
// Written gradients lie in stretches between the products that are kept; each of them decides.
TEST(fused_updates, a_gradient_between_two_products_is_looked_at) {
  for (Device device : host_devices())
    for (size_t bad = 0; bad < 3; ++bad) {
      Context c(device);
      Sequential net(std::make_unique<Linear>(kIn, kHidden), std::make_unique<Linear>(kHidden, kHidden), std::make_unique<Linear>(kHidden, kOut));
      const auto layer = [&](size_t i) -> Linear& { return dynamic_cast<Linear&>(net[i]); };
      ModuleState state(c, net, 3);
      Adam adam(state);
      state.keep_products(KeptProducts::all);
      layer(bad).bias.variable()->hooks.push_back(
          [&](Tensor& g) { g.assign(Tensor::from(c, g.shape(), std::vector<float>(static_cast<size_t>(g.count()), std::numeric_limits<float>::infinity()))); });
      const std::vector<float> before = state.flat_parameters().host<float>();
      adam.zero_grad();
      Tape tape(c);
      tape.backward(ops::mean(net(tensor(c, {kBatch, kIn}, ramp(kBatch * kIn)))));
      for (size_t i = 0; i < 3; ++i) EXPECT_NE(layer(i).weight.variable()->product, nullptr);
      adam.step();
      EXPECT_EQ(adam.skipped(), 1) << "layer " << bad << " on " << to_string(device);
      EXPECT_EQ(state.flat_parameters().host<float>(), before);
    }
}

TEST(fused_updates, a_product_that_overflows_skips_the_step) {
  for (Device device : host_devices()) {
    Context c(device);
    Sequential net(std::make_unique<Linear>(2, 3, false));
    ModuleState state(c, net, 1);
    Adam adam(state);
    state.keep_products(KeptProducts::all);
    auto step = [&](float x, double factor) {
      adam.zero_grad();
      Tape tape(c);
      tape.backward(ops::scale(ops::sum(net(tensor(c, {1, 2}, {x, 1}))), factor));
      adam.step();
      return in_doubles(state.flat_parameters());
    };
    const auto once = step(1, 1);
    EXPECT_EQ(step(1e30f, 1e20), once);
    EXPECT_EQ(adam.skipped(), 1);
    EXPECT_EQ(adam.gradient_norm(), std::numeric_limits<double>::infinity());
    EXPECT_NE(step(1, 1), once);
    EXPECT_EQ(adam.steps(), 2);
    EXPECT_NEAR(adam.gradient_norm(), std::sqrt(6.0), 1e-6);
  }
}

// Steps are decided by the factors of what is kept now: not by those of an earlier step, whose product was no number.
TEST(fused_updates, factors_of_before_decide_nothing) {
  for (Device device : host_devices()) {
    Context c(device);
    Linear first(2, 3, false), second(3, 2, false);
    struct Both : Module {
      Both(Linear& a, Linear& b) {
        declare_module("first", a);
        declare_module("second", b);
      }
      Tensor forward(const Tensor& x) override { return x; }
    } net(first, second);
    ModuleState state(c, net, 1);
    Adam adam(state);
    state.keep_products(KeptProducts::all);
    auto step = [&](float x) {
      adam.zero_grad();
      Tape tape(c);
      tape.backward(ops::sum(second(first(tensor(c, {1, 2}, {x, 1})))));
      adam.step();
    };
    step(std::numeric_limits<float>::quiet_NaN());
    EXPECT_EQ(adam.skipped(), 1);
    // From now on the first weight's gradient is written, the second's is still a product.
    first.weight.variable()->hooks.push_back([](Tensor&) {});
    step(1);
    EXPECT_EQ(adam.steps(), 1);
    EXPECT_EQ(adam.skipped(), 1);
    step(std::numeric_limits<float>::infinity());
    EXPECT_EQ(adam.skipped(), 2);
    step(1);
    EXPECT_EQ(adam.steps(), 2);
  }
}

TEST(fused_updates, the_best_alone_are_kept_where_asked) {
  const auto kept = [](Device device, Provider provider, KeptProducts which) {
    Context c(device);
    c.stream().provider = provider;
    Linear net(2, 3, false);
    ModuleState state(c, net, 1);
    state.require_gradients();
    state.keep_products(which);
    Tape tape(c);
    tape.backward(ops::sum(net(tensor(c, {1, 2}, {1, 2}))));
    return net.weight.variable()->product != nullptr;
  };
  constexpr Device cpu{DeviceType::cpu, 0}, simt{DeviceType::simt, 0};
  for (const Provider p : {Provider::automatic, Provider::ours, Provider::vendor}) {
    EXPECT_TRUE(kept(cpu, p, KeptProducts::best));
    EXPECT_EQ(kept(simt, p, KeptProducts::best), p != Provider::vendor);
    EXPECT_TRUE(kept(simt, p, KeptProducts::all));
    EXPECT_FALSE(kept(simt, p, KeptProducts::none));
  }
}

// The gradient of one is a product with the other: both must be computed before either is changed.
TEST(fused_updates, a_product_of_two_parameters) {
  struct Two : Module {
    Two() {
      declare_parameter("a", a, {5, 7}, Init::uniform(1));
      declare_parameter("b", b, {7, 4}, Init::uniform(1));
    }
    Tensor forward(const Tensor&) override { return ops::matmul(a, b); }
    Tensor a, b;
  };
  for (Device device : host_devices()) {
    std::vector<double> weights[2];
    for (bool keep : {false, true}) {
      Context c(device);
      Two two;
      ModuleState state(c, two, 3);
      Adam adam(state);
      adam.learning_rate = 0.1;
      state.keep_products(keep ? KeptProducts::all : KeptProducts::none);
      for (int i = 0; i < 3; ++i) {
        adam.zero_grad();
        Tape tape(c);
        const Tensor y = two({});
        tape.backward(ops::mean(ops::mul(y, y)));
        adam.step();
      }
      weights[keep] = in_doubles(state.flat_parameters());
    }
    EXPECT_EQ(weights[1], weights[0]);
  }
}

class fused_update_errors : public testing::Test {
 protected:
  fused_update_errors() : net(std::make_unique<Linear>(2, 3)), state(c, net, 1), adam(state) { state.keep_products(KeptProducts::all); }
  Linear& layer() { return static_cast<Linear&>(net[0]); }
  void backward(const Tensor& x) {
    Tape tape(c);
    tape.backward(ops::sum(net(x)));
  }
  Context c;
  Sequential net;
  ModuleState state;
  Adam adam;
};

TEST_F(fused_update_errors, a_gradient_is_gone_with_its_step) {
  const Tensor x = tensor(c, {2, 2}, {1, 2, 3, 4});
  backward(x);
  adam.step();
  EXPECT_FALSE(layer().weight.gradient().defined());
  for (const auto& again :
       {std::function<void()>([&] { backward(x); }), std::function<void()>([&] { adam.step(); }), std::function<void()>([&] { clip_grad_norm(state, 1); })}) {
    const Error e = error_of(again);
    EXPECT_CONTAINS(e.message(), "gradient of 0.weight was used up");
    EXPECT_CONTAINS(e.message(), "zero_grad()");
  }
  adam.zero_grad();
  backward(x);
  EXPECT_EQ(layer().weight.gradient().host<float>(), (std::vector<float>{4, 6, 4, 6, 4, 6}));
}

TEST_F(fused_update_errors, factors_must_live_until_the_step) {
  for (int i = 0; i < 2; ++i) {  // the first finds out how large the arena must be
    const Step scope(c);
    adam.zero_grad();
    backward(tensor(c, {2, 2}, {1, 2, 3, 4}));
  }
  const Error e = error_of([&] { adam.step(); });
  EXPECT_CONTAINS(e.message(), "0.weight");
  EXPECT_CONTAINS(e.message(), "before the Step ends");
}

TEST_F(fused_update_errors, factors_must_not_change) {
  Tensor x = tensor(c, {2, 2}, {1, 2, 3, 4});
  const auto before = state.flat_parameters().host<float>();
  backward(x);
  x.assign(tensor(c, {2, 2}, {0, 0, 0, 0}));
  EXPECT_CONTAINS(error_of([&] { adam.step(); }).message(), "0.weight: a tensor of shape [2, 2] that its gradient needs was changed in place");
  EXPECT_EQ(state.flat_parameters().host<float>(), before);
}

TEST_F(fused_update_errors, the_guard_computes_gradients_to_look_at_them) {
  c.nan_guard = true;
  backward(tensor(c, {1, 2}, {1, 2}));
  EXPECT_EQ(layer().weight.variable()->product, nullptr);
  EXPECT_EQ(layer().weight.gradient().host<float>(), (std::vector<float>{1, 2, 1, 2, 1, 2}));
}

TEST_F(fused_update_errors, kept_products_may_be_switched_off_again) {
  state.keep_products(KeptProducts::none);
  backward(tensor(c, {1, 2}, {1, 2}));
  EXPECT_EQ(layer().weight.variable()->product, nullptr);
  adam.step();
  EXPECT_TRUE(layer().weight.gradient().defined()) << "it was written";
}

// Where no gradient is written the buffer stays as it was made: on cpu, untouched memory.
TEST(fused_updates, the_gradient_of_a_fused_weight_is_never_written) {
  Context c;
  Net net;
  ModuleState state(c, net, 3);
  Adam adam(state);
  state.keep_products(KeptProducts::all);
  auto part = [&](const char* name) {
    for (const ModuleState::Entry& e : state.entries())
      if (e.name == name) return state.flat_gradients().part(e.offset, {e.tensor.count()});
    return Tensor();
  };
  for (const char* name : {"first.weight", "last.weight"})
    part(name).assign(Tensor::from(c, {part(name).count()}, std::vector<float>(static_cast<size_t>(part(name).count()), NAN)));
  adam.zero_grad();
  Tape tape(c);
  tape.backward(ops::mean(net(tensor(c, {kBatch, kIn}, ramp(kBatch * kIn)))));
  adam.step();
  for (const char* name : {"first.weight", "last.weight"})
    for (float v : part(name).host<float>()) ASSERT_TRUE(std::isnan(v)) << name;
  for (float v : state.flat_parameters().host<float>()) ASSERT_TRUE(std::isfinite(v));
}

}  // namespace
}  // namespace panvae::test
