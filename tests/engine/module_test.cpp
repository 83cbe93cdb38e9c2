#include "engine/module.h"

#include <cmath>
#include <limits>

#include "engine/layers.h"
#include "engine/optimizer.h"
#include "helpers.h"

namespace panvae::test {
namespace {

class Net : public Module {
 public:
  Net() : first(5, 3), second(3, 2, false) {
    declare_module("first", first);
    declare_module("second", second);
    declare_parameter("scale", scale, {2}, Init::constant(0.5));
    declare_buffer("mean", mean, {3}, Init::constant(2));
  }
  Tensor forward(const Tensor& x) override { return second(first(x)); }
  Linear first, second;
  Tensor scale, mean;
};

TEST(module, names_are_paths_in_the_order_of_declaration) {
  Net net;
  std::vector<std::string> names;
  for (const auto& p : net.parameters()) names.push_back(p.name);
  EXPECT_EQ(names, (std::vector<std::string>{"scale", "first.weight", "first.bias", "second.weight"}));
  EXPECT_EQ(net.parameters("model.")[1].name, "model.first.weight");
  ASSERT_EQ(net.buffers().size(), 1u);
  EXPECT_EQ(net.buffers()[0].name, "mean");
}

TEST(module, state_puts_all_in_flat_buffers) {
  Context c;
  Net net;
  ModuleState state(c, net, 1);
  EXPECT_EQ(state.parameter_count(), 2 + 15 + 3 + 6);
  std::vector<bool> covered(static_cast<size_t>(state.flat_parameters().count()));
  for (const auto& e : state.entries()) {
    EXPECT_TRUE(e.tensor.same_memory(state.flat_parameters())) << e.name;
    EXPECT_EQ(e.tensor.data<float>(), state.flat_parameters().data<float>() + e.offset) << e.name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(e.tensor.bytes()) % 64, 0u) << e.name;
    for (int64_t i = 0; i < e.tensor.count(); ++i) {
      EXPECT_FALSE(covered[static_cast<size_t>(e.offset + i)]) << e.name << " overlaps";
      covered[static_cast<size_t>(e.offset + i)] = true;
    }
  }
  const std::vector<float> flat = state.flat_parameters().host<float>();
  for (size_t i = 0; i < flat.size(); ++i)
    if (!covered[i]) {
      EXPECT_EQ(flat[i], 0) << "padding";
    }
  EXPECT_TRUE(net.first.weight.same_memory(state.flat_parameters()));
  EXPECT_EQ(net.mean.host<float>(), (std::vector<float>{2, 2, 2}));
  EXPECT_EQ(net.scale.host<float>(), (std::vector<float>{0.5, 0.5}));
  EXPECT_FALSE(state.flat_gradients().defined());
  EXPECT_FALSE(net.first.weight.needs_gradient());
}

TEST(module, initial_values_follow_seed_and_place_on_every_device) {
  std::vector<float> weights[3];
  for (int i = 0; i < 3; ++i) {
    Context c(Device{i == 1 ? DeviceType::simt : DeviceType::cpu, 0});
    Net net;
    ModuleState state(c, net, i == 2 ? 8 : 7);
    weights[i] = state.flat_parameters().host<float>();
  }
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_NE(weights[0], weights[2]);
}

// Padded weights are drawn in their place: the same numbers, zeros behind them, and no second copy in memory.
TEST(module, padded_weights_start_as_those_without_padding_and_in_no_more_memory) {
  struct Size {
    int64_t rows, columns, width;
  };
  // Rows that overlap their own places, rows that do not, few long ones, and one.
  for (const Size& size : {Size{2000, 1501, 1504}, {1500, 900, 2048}, {7, 300001, 300004}, {3, 1, 4}, {1, 5, 8}})
    for (Device device : host_devices()) {
      SCOPED_TRACE(fmt::format("{} x {} in {} on {}", size.rows, size.columns, size.width, to_string(device)));
      const auto made = [&](int64_t width, std::vector<float>& values) {
        Context c(device);
        Linear layer(Features(size.columns, width), size.rows), back(size.rows, Features(size.columns, width));
        ModuleState state(c, layer, 7), second(c, back, 8);
        for (const ModuleState* s : {&state, &second}) {
          const std::vector<float> v = s->unpadded<float>(s->flat_parameters());
          values.insert(values.end(), v.begin(), v.end());
          for (const auto& e : s->entries()) {
            const std::vector<float> all = e.tensor.host<float>();
            const auto zeros = std::count(all.begin(), all.end(), 0.0f), padding = e.tensor.count() - e.used.count();
            EXPECT_GE(zeros, padding) << e.name;
            EXPECT_LE(zeros, padding + 2) << e.name << ": drawn numbers are hardly ever 0";
          }
        }
        return c.memory().peak_bytes() - 4 * (state.flat_parameters().count() + second.flat_parameters().count());
      };
      std::vector<float> plain, padded;
      const int64_t beside_plain = made(size.columns, plain), beside_padded = made(size.width, padded);
      EXPECT_EQ(padded, plain);
      EXPECT_LE(beside_padded, beside_plain + (3 << 20)) << "bytes beside the parameters";
    }
}

TEST(module, a_linear_layer_starts_within_its_bound) {
  Context c;
  Linear layer(100, 50);
  ModuleState state(c, layer, 3);
  double sum = 0, largest = 0;
  const std::vector<float> w = layer.weight.host<float>();
  for (float v : w) sum += v, largest = std::max<double>(largest, std::abs(v));
  EXPECT_LE(largest, 0.1);
  EXPECT_GT(largest, 0.0995);
  EXPECT_NEAR(sum / 5000, 0, 4 * 0.1 / std::sqrt(3.0 * 5000));
  EXPECT_NE(w[0], layer.bias.host<float>()[0]) << "each parameter has a stream of its own";
}

TEST(module, gradients_are_views_of_one_buffer_and_padding_stays_zero) {
  Context c;
  Net net;
  ModuleState state(c, net, 1);
  state.require_gradients();
  const void* before = state.flat_gradients().bytes();
  state.require_gradients();
  EXPECT_EQ(state.flat_gradients().bytes(), before) << "asking twice makes no second buffer";
  Tape tape(c);
  tape.backward(ops::sum(net(tensor(c, {4, 5}, ramp(20)))));
  for (const auto& e : state.entries()) {
    if (e.name == "scale") {
      EXPECT_FALSE(e.tensor.gradient().defined());
      continue;
    }
    ASSERT_TRUE(e.tensor.gradient().defined()) << e.name;
    EXPECT_EQ(e.tensor.gradient().data<float>(), state.flat_gradients().data<float>() + e.offset) << e.name;
  }
  state.settle_gradients();
  EXPECT_EQ(state.flat_gradients().part(0, {16}).host<float>(), std::vector<float>(16, 0.0f)) << "unused parameter and padding";
  state.forget_gradients();
  EXPECT_FALSE(net.first.weight.gradient().defined());
}

// One of two names would hold numbers that nobody reads, in every file, too.
TEST(module, what_is_declared_twice_is_named) {
  struct Shared : Module {
    explicit Shared(const char* name) {
      declare_module("first", layer);
      declare_module(name, layer);
    }
    Tensor forward(const Tensor& x) override { return layer(layer(x)); }
    Linear layer{2, 2};
  };
  struct SameName : Module {
    SameName() {
      declare_parameter("scale", scale, {2}, Init::constant(1));
      declare_buffer("scale", mean, {2}, Init::constant(1));
    }
    Tensor forward(const Tensor& x) override { return x; }
    Tensor scale, mean;
  };
  Context c;
  Shared shared("again"), twice("first");
  SameName same;
  EXPECT_CONTAINS(error_of([&] { ModuleState(c, shared, 0); }).message(), "first.weight and again.weight are one tensor");
  EXPECT_CONTAINS(error_of([&] { ModuleState(c, twice, 0); }).message(), "two tensors have the name first.weight");
  EXPECT_CONTAINS(error_of([&] { ModuleState(c, same, 0); }).message(), "two tensors have the name scale");
}

TEST(module, gradients_that_nobody_asked_for_are_an_error) {
  Context c;
  Net net;
  ModuleState state(c, net, 1);
  Adam adam(state);
  state.release_gradients();
  EXPECT_CONTAINS(error_of([&] { state.forget_gradients(); }).message(), "there are no gradients");
  EXPECT_CONTAINS(error_of([&] { adam.zero_grad(); }).message(), "there are no gradients");
  EXPECT_CONTAINS(error_of([&] { adam.step(); }).message(), "there are no gradients");
  EXPECT_CONTAINS(error_of([&] { clip_grad_norm(state, 1); }).message(), "there are no gradients");
}

TEST(module, a_state_whose_module_was_put_into_another_is_not_trained) {
  Context c;
  Linear layer(2, 3);
  ModuleState first(c, layer, 1);
  Adam adam(first);
  ModuleState second(c, layer, 2);
  for (const auto& use : {std::function<void()>([&] { adam.step(); }), std::function<void()>([&] { clip_grad_norm(first, 1); })})
    EXPECT_CONTAINS(error_of(use).message(), "weight was put into another ModuleState since");
  Adam other(second);
  other.step();
}

TEST(module, a_state_whose_module_was_put_into_another_leaves_it_alone) {
  Context c;
  Linear layer(2, 3);
  ModuleState first(c, layer, 1), trained(c, layer, 2);
  trained.require_gradients();
  ModuleState last(c, layer, 3);
  last.require_gradients();
  for (const auto& ask : {std::function<void()>([&] { first.require_gradients(); }), std::function<void()>([&] { Adam adam(first); })})
    EXPECT_CONTAINS(error_of(ask).message(), "weight was put into another ModuleState since");
  trained.release_gradients();
  EXPECT_TRUE(layer.weight.same_memory(last.flat_parameters()));
  EXPECT_TRUE(layer.weight.needs_gradient());
}

// Their memory would be the next step's too, but for the first step, which has no arena yet.
TEST(module, gradients_and_optimizers_are_not_made_within_a_step) {
  Context c;
  Linear layer(2, 3);
  ModuleState state(c, layer, 1);
  {
    const Step step(c);
    EXPECT_CONTAINS(error_of([&] { state.require_gradients(); }).message(), "cannot be made within a step");
    EXPECT_CONTAINS(error_of([&] { Adam adam(state); }).message(), "cannot be made within a step");
  }
  const Adam adam(state);
  EXPECT_TRUE(layer.weight.needs_gradient());
}

TEST(adam, refuses_rates_that_are_no_rates) {
  Context c;
  Net net;
  ModuleState state(c, net, 1);
  Adam adam(state);
  const std::vector<float> before = state.flat_parameters().host<float>();
  for (double rate : {-1e-3, std::nan(""), std::numeric_limits<double>::infinity()}) {
    adam.learning_rate = rate;
    EXPECT_CONTAINS(error_of([&] { adam.step(); }).message(), "adam: a learning rate of");
  }
  adam.learning_rate = 0;
  adam.max_norm = -1;
  EXPECT_CONTAINS(error_of([&] { adam.step(); }).message(), "adam: max_norm -1 is negative");
  adam.max_norm = 0;
  adam.step();
  EXPECT_EQ(state.flat_parameters().host<float>(), before);
}

// Rate and norm are looked at in each step, whichever of them has changed: against the update by hand.
TEST(adam, refuses_losses_of_another_context) {
  Context c, other;
  Linear layer(2, 1);
  ModuleState state(c, layer, 0);
  Adam adam(state);
  EXPECT_CONTAINS(error_of([&] { adam.step(Tensor::zeros(other, {1})); }).message(), "adam: tensors of two contexts");
}

TEST(adam, takes_the_rate_and_the_norm_of_each_step) {
  for (Device device : host_devices()) {
    Context c(device);
    Net net;
    ModuleState state(c, net, 1);
    Adam adam(state);
    double m = 0, v = 0, expected = static_cast<double>(net.scale.host<float>()[0]);
    const double norm = std::sqrt(static_cast<double>(net.scale.count()));
    int64_t step = 0;
    for (const auto& [rate, most] : {std::pair{1e-2, 0.0}, {1e-3, 0.0}, {1e-3, 0.1}, {1e-3, 0.5}, {2e-2, 0.5}, {0.0, 0.5}, {5e-3, 0.0}}) {
      adam.learning_rate = rate;
      adam.max_norm = most;
      adam.zero_grad();
      Tape tape(c);
      tape.backward(ops::sum(net.scale));
      adam.step();
      const double g = most > 0 ? std::min(1.0, most / norm) : 1;
      m = 0.9 * m + 0.1 * g, v = 0.999 * v + 0.001 * g * g, ++step;
      expected -= rate * m / (1 - std::pow(0.9, step)) / (std::sqrt(v / (1 - std::pow(0.999, step))) + 1e-8);
      EXPECT_NEAR(net.scale.host<float>()[0], expected, 2e-6) << "step " << step << " on " << to_string(device);
    }
  }
}

// Of finite gradients, too, whichever of the losses it is.
TEST(adam, a_loss_that_is_not_finite_skips_the_step) {
  for (Device device : host_devices()) {
    Context c(device);
    Net net;
    ModuleState state(c, net, 1);
    Adam adam(state);
    adam.zero_grad();
    Tape tape(c);
    tape.backward(ops::sum(net.scale));
    const std::vector<float> before = state.flat_parameters().host<float>();
    const float infinite = std::numeric_limits<float>::infinity();
    for (const std::vector<float>& losses : {std::vector<float>{infinite, 1, 2}, {1, std::nanf(""), 2}, {1, 2, -infinite}}) {
      adam.step(Tensor::from(c, {3}, losses));
      EXPECT_EQ(state.flat_parameters().host<float>(), before) << to_string(device);
    }
    EXPECT_EQ(adam.skipped(), 3);
    adam.step(Tensor::from(c, {3}, std::vector<float>{1, 2, 3}));
    EXPECT_EQ(adam.skipped(), 3);
    EXPECT_NE(state.flat_parameters().host<float>(), before);
  }
}

// The scalars of a checkpoint hold the learning rate of their time.
TEST(adam, goes_on_with_its_own_rate_after_its_scalars_were_read) {
  Context c;
  Net net;
  ModuleState state(c, net, 1);
  Adam adam(state);
  std::vector<double> scalars;
  auto step = [&](double rate) {  // of Adam's first steps, by a constant gradient, each is as long as the rate
    adam.learning_rate = rate;
    adam.zero_grad();
    const float before = net.scale.host<float>()[0];
    Tape tape(c);
    tape.backward(ops::sum(net.scale));
    adam.step();
    return before - net.scale.host<float>()[0];
  };
  EXPECT_NEAR(step(0.01), 0.01, 1e-6);
  scalars = adam.slots().host<double>();
  EXPECT_NEAR(step(0.002), 0.002, 1e-6);
  adam.slots().upload(scalars.data(), static_cast<int64_t>(scalars.size()));
  EXPECT_NEAR(step(0.002), 0.00233, 1e-5) << "by the corrections of step 2 again";
}

TEST(module, set_training_reaches_all) {
  Net net;
  net.set_training(false);
  EXPECT_FALSE(net.first.training());
  EXPECT_FALSE(net.training());
}

TEST(module, a_part_that_was_in_evaluation_mode_is_so_after_an_evaluation) {
  Net net;
  net.second.set_training(false);
  {
    const Evaluation evaluation(net);
    EXPECT_FALSE(net.training() || net.first.training() || net.second.training());
  }
  EXPECT_TRUE(net.training() && net.first.training());
  EXPECT_FALSE(net.second.training());
}

Tensor run(Module& m, Context& c, ModuleState& state, std::vector<float>& gradients) {
  state.require_gradients();
  state.forget_gradients();
  Tape tape(c);
  const Tensor y = m(tensor(c, {6, 7}, ramp(42)));
  tape.backward(ops::sum(ops::mul(y, y)));
  gradients = state.flat_gradients().host<float>();
  return y;
}

TEST(sequential, fused_equals_unfused_bit_for_bit) {
  for (Device device : host_devices()) {
    Context c(device);
    Sequential fused(std::make_unique<Linear>(7, 33), std::make_unique<ReLU>(), std::make_unique<Linear>(33, 9, false), std::make_unique<LeakyReLU>(0.2),
                     std::make_unique<Linear>(9, 4));
    ModuleState state(c, fused, 5);
    std::vector<float> a, b;
    const Tensor y = run(fused, c, state, a);

    class Unfused : public Module {
     public:
      explicit Unfused(Sequential& s_) : s(s_) {}
      Tensor forward(const Tensor& x) override {
        Tensor h = x;
        for (size_t i = 0; i < s.size(); ++i) h = s[i](h);
        return h;
      }
      Sequential& s;
    } unfused(fused);
    const Tensor z = run(unfused, c, state, b);
    EXPECT_EQ(y.host<float>(), z.host<float>()) << to_string(device);
    EXPECT_EQ(a, b) << to_string(device);
  }
}

// A layer that computes something else in forward() would be passed by where it is fused: there is no such layer.
static_assert(std::is_final_v<ReLU> && std::is_final_v<LeakyReLU>);
class HalvedLinear : public Linear {
 public:
  using Linear::Linear;
  Tensor forward_with(const Tensor& x, Fusable after) override { return ops::scale(Linear::forward_with(x, after), 0.5); }
};
TEST(sequential, calls_what_a_layer_of_its_own_computes) {
  Context c;
  Sequential alone(std::make_unique<HalvedLinear>(2, 2)), fused(std::make_unique<HalvedLinear>(2, 2), std::make_unique<ReLU>());
  const ModuleState first(c, alone, 1), second(c, fused, 1);
  const Tensor x = tensor(c, {3, 2}, ramp(6));
  EXPECT_EQ(fused(x).host<float>(), ops::relu(alone(x)).host<float>());
}

TEST(sequential, refuses_a_layer_that_is_null) {
  Sequential s;
  EXPECT_CONTAINS(error_of([&] { s.add(nullptr); }).message(), "layer 0 is null");
}

// Gradients go through what is frozen, to what lies before it.
TEST(module, a_constant_part_gets_no_gradients_and_passes_them_on) {
  Context c;
  Linear before(3, 4), frozen(4, 2);
  ModuleState first(c, before, 1), second(c, frozen, 2);
  first.require_gradients(), second.require_gradients();
  const auto pass = [&] {
    first.forget_gradients(), second.forget_gradients();
    Tape tape(c);
    const Tensor y = frozen(before(tensor(c, {5, 3}, ramp(15))));
    tape.backward(ops::sum(ops::mul(y, y)));
    return before.weight.gradient().host<float>();
  };
  const std::vector<float> whole = pass();
  EXPECT_TRUE(frozen.weight.gradient().defined());
  {
    const Constant constant(frozen);
    EXPECT_EQ(pass(), whole);
    EXPECT_FALSE(frozen.weight.needs_gradient());
  }
  EXPECT_FALSE(frozen.weight.gradient().defined()) << "none was written meanwhile";
  EXPECT_EQ(pass(), whole);
  EXPECT_TRUE(frozen.weight.gradient().defined());
}

// Gradients would end the constancy at once, and its end would take away a newer state's tensors.
TEST(module, a_constant_part_stays_constant_whatever_is_asked_for) {
  Context c;
  Net net;
  ModuleState state(c, net, 1);
  {
    const Constant constant(net.second);
    EXPECT_CONTAINS(error_of([&] { Adam adam(state); }).message(), "gradients are asked for while a part of the module is Constant");
    EXPECT_CONTAINS(error_of([&] { ModuleState other(c, net, 2); }).message(), "a state is made while a part of the module is Constant");
    EXPECT_FALSE(net.second.weight.needs_gradient());
  }
  state.require_gradients();
  EXPECT_TRUE(net.second.weight.needs_gradient());
  {
    const Constant constant(net);
    EXPECT_CONTAINS(error_of([&] { state.release_gradients(); }).message(), "gradients are released while a part of the module is Constant");
  }
  EXPECT_TRUE(net.second.weight.needs_gradient());
}

TEST(sequential, fuses_at_all) {
  Context c;
  Sequential s(std::make_unique<Linear>(7, 3), std::make_unique<ReLU>());
  ModuleState state(c, s, 5);
  state.require_gradients();
  Tape tape(c);
  s(tensor(c, {2, 7}, ramp(14)));
  EXPECT_EQ(tape.size(), 1u) << "one node for layer and activation";
  EXPECT_EQ(state.entries()[0].name, "0.weight");
}

TEST(layers, say_that_they_have_no_memory_yet) {
  Context c;
  const Tensor rows = Tensor::zeros(c, {2, 3}), signal = Tensor::zeros(c, {2, 3, 5});
  Linear linear(3, 2);
  Conv1d conv(3, 2, 1);
  ConvTranspose1d transposed(3, 2, 1);
  BatchNorm1d batch_norm(3);
  LayerNorm layer_norm(3);
  const auto message = [](Module& layer, const Tensor& x) { return error_of([&] { layer(x); }).message(); };
  EXPECT_CONTAINS(message(linear, rows), "Linear: used before its parameters have memory: make a ModuleState");
  EXPECT_CONTAINS(message(conv, signal), "Conv1d: used before");
  EXPECT_CONTAINS(message(transposed, signal), "ConvTranspose1d: used before");
  EXPECT_CONTAINS(message(batch_norm, rows), "BatchNorm1d: used before");
  EXPECT_CONTAINS(message(layer_norm, rows), "LayerNorm: used before");
  ModuleState state(c, layer_norm, 0);
  EXPECT_NO_THROW(layer_norm(rows));
}

TEST(layers, refuse_senseless_sizes) {
  error_of([] { Linear(0, 3); });
  error_of([] { Linear(3, -1); });
  error_of([] { LeakyReLU(-0.1); });
}

}  // namespace
}  // namespace panvae::test
