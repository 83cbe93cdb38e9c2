// Layers that normalise: what they do beside the numbers, which tests/cases and torch_test.cpp check.
#include "engine/layers/normalization.h"

#include <cmath>

#include "base/threads.h"
#include "engine/layers.h"
#include "engine/ops/arithmetic.h"
#include "helpers.h"

namespace panvae::test {
namespace {

std::vector<float> column(const std::vector<float>& matrix, size_t columns, size_t at) {
  std::vector<float> v;
  for (size_t i = at; i < matrix.size(); i += columns) v.push_back(matrix[i]);
  return v;
}

TEST(batch_norm, starts_as_pytorch_does) {
  Context c;
  BatchNorm1d layer(3);
  ModuleState state(c, layer, 1);
  EXPECT_EQ(layer.weight.host<float>(), (std::vector<float>{1, 1, 1}));
  EXPECT_EQ(layer.bias.host<float>(), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(layer.running_mean.host<float>(), (std::vector<float>{0, 0, 0}));
  EXPECT_EQ(layer.running_var.host<float>(), (std::vector<float>{1, 1, 1}));
  EXPECT_EQ(state.parameter_count(), 6);
  ASSERT_EQ(state.buffer_entries().size(), 2u);
  EXPECT_EQ(state.buffer_entries()[1].name, "running_var");
}

// 1, 3: mean 2, variance 1 over N and 2 over N - 1.
TEST(batch_norm, running_variance_is_the_unbiased_one_and_evaluation_leaves_it) {
  for (Device device : host_devices()) {
    Context c(device);
    BatchNorm1d layer(1, 0, 0.5);
    ModuleState state(c, layer, 1);
    const Tensor x = tensor(c, {2, 1}, {1, 3});
    EXPECT_EQ(layer(x).host<float>(), (std::vector<float>{-1, 1}));
    EXPECT_EQ(layer.running_mean.host<float>(), std::vector<float>{1});
    EXPECT_EQ(layer.running_var.host<float>(), std::vector<float>{1.5});
    layer.set_training(false);
    const float h = 1 / std::sqrt(1.5f);
    const std::vector<float> y = layer(x).host<float>();
    EXPECT_FLOAT_EQ(y[0], 0);
    EXPECT_FLOAT_EQ(y[1], 2 * h);
    EXPECT_EQ(layer.running_mean.host<float>(), std::vector<float>{1});
    EXPECT_EQ(layer.running_var.host<float>(), std::vector<float>{1.5});
    EXPECT_EQ(layer(tensor(c, {1, 1}, {1})).host<float>(), std::vector<float>{0}) << "one value is enough for evaluation";
    EXPECT_EQ(layer(tensor(c, {0, 1}, {})).count(), 0);
  }
}

TEST(batch_norm, refuses_what_has_no_variance_and_what_does_not_fit) {
  for (Device device : host_devices()) {
    Context c(device);
    BatchNorm1d layer(4);
    ModuleState state(c, layer, 1);
    auto message = [&](Shape s) { return error_of([&] { layer(Tensor::zeros(c, s)); }).message(); };
    EXPECT_CONTAINS(message({1, 4}), "batch_norm: training needs more than one value a channel, x[1, 4] has 1");
    EXPECT_CONTAINS(message({1, 4, 1}), "x[1, 4, 1] has 1");
    EXPECT_CONTAINS(message({0, 4}), "x[0, 4] has 0");
    EXPECT_CONTAINS(message({2, 3}), "batch_norm: weight[4] F32 for x[2, 3] F32");
    EXPECT_CONTAINS(message({8}), "x[8] is neither [batch, channels] nor [batch, channels, length]");
    EXPECT_CONTAINS(message({2, 4, 1, 1}), "is neither");
    EXPECT_NO_THROW(layer(Tensor::zeros(c, {1, 4, 2})));
    EXPECT_CONTAINS(error_of([&] { layer(Tensor::zeros(c, {2, 4}, DType::f64)); }).message(), "weight[4] F32 for x[2, 4] F64");
    EXPECT_CONTAINS(error_of([&] { ops::batch_norm(Tensor::zeros(c, {2, 4}), {}, {}, {}, {}, true); }).message(), "running_mean");
    EXPECT_CONTAINS(error_of([&] {
                      ops::batch_norm(Tensor::zeros(c, {2, 4}), {}, {}, layer.running_mean, layer.running_var, true, 1.5);
                    }).message(),
                    "momentum 1.5");
    EXPECT_CONTAINS(error_of([&] { BatchNorm1d(0); }).message(), "BatchNorm1d: 0 channels");
  }
}

// A mean of 10^4 leaves f32 three digits behind the point; the mean has more, so output and gradient must.
TEST(batch_norm, a_large_mean_costs_no_digits) {
  constexpr int64_t B = 300, C = 3;
  std::vector<float> values(static_cast<size_t>(B * C)), gradient(values.size());
  PhiloxSequence draw({5, 0, 0});
  for (float& v : values) v = 1e4f + static_cast<float>(draw.normal());
  for (float& v : gradient) v = static_cast<float>(draw.normal());
  for (Device device : host_devices()) {
    Context c(device);
    std::vector<double> y[2], gx[2];
    for (int wide : {0, 1}) {
      const DType type = wide ? DType::f64 : DType::f32;
      auto load = [&](const std::vector<float>& v) {
        return wide ? Tensor::from(c, {B, C}, std::vector<double>(v.begin(), v.end())) : Tensor::from(c, {B, C}, v);
      };
      Tensor x = load(values);
      x.require_gradient("x");
      BatchNorm1d layer(C);
      ModuleState state(c, layer, 1, type);
      Tape tape(c);
      const Tensor out = layer(x);
      tape.backward(ops::sum(ops::mul(out, load(gradient))));
      auto doubles = [&](const Tensor& t) {
        if (wide) return t.host<double>();
        const std::vector<float> v = t.host<float>();
        return std::vector<double>(v.begin(), v.end());
      };
      y[wide] = doubles(out), gx[wide] = doubles(x.gradient());
    }
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_NEAR(y[0][i], y[1][i], 2e-6) << to_string(device) << " " << i;
      ASSERT_NEAR(gx[0][i], gx[1][i], 2e-6) << to_string(device) << " " << i;
    }
  }
}

TEST(batch_norm, a_nan_stays_in_its_channel_and_is_seen) {
  for (Device device : host_devices())
    for (float bad : {NAN, INFINITY}) {
      Context c(device);
      BatchNorm1d layer(3);
      ModuleState state(c, layer, 1);
      std::vector<float> values = ramp(30);
      values[16] = bad;
      const std::vector<float> y = layer(tensor(c, {10, 3}, values)).host<float>(), mean = layer.running_mean.host<float>();
      for (float v : column(y, 3, 1)) EXPECT_TRUE(std::isnan(v));
      for (float v : column(y, 3, 0)) EXPECT_TRUE(std::isfinite(v));
      EXPECT_FALSE(std::isfinite(mean[1]));
      EXPECT_TRUE(std::isfinite(mean[0]) && std::isfinite(mean[2]));
    }
}

TEST(batch_norm, running_statistics_are_written_in_place) {
  Context c;
  BatchNorm1d layer(2);
  ModuleState state(c, layer, 1);
  const uint64_t before = layer.running_mean.version();
  layer(tensor(c, {2, 2}, {1, 2, 3, 5}));
  EXPECT_GT(layer.running_mean.version(), before);
}

// One layer in evaluation and one in training share the memory of their buffers: the gradient of the first must not mind.
TEST(batch_norm, a_frozen_layer_beside_a_training_one_has_its_gradient) {
  Context c;
  class Two : public Module {
   public:
    Two() { declare_module("first", first), declare_module("second", second); }
    Tensor forward(const Tensor& x) override { return second(first(x)); }
    BatchNorm1d first{2}, second{2};
  } net;
  ModuleState state(c, net, 1);
  state.require_gradients();
  net.first.set_training(false);
  Tape tape(c);
  const Tensor y = net(tensor(c, {3, 2}, {1, 2, 3, 5, 8, 13}));
  EXPECT_NO_THROW(tape.backward(ops::sum(ops::mul(y, y))));
  EXPECT_TRUE(net.first.weight.gradient().defined());
}

TEST(batch_norm, the_number_of_threads_does_not_show) {
  const int64_t sizes[][3] = {{37, 700, 1}, {20, 9, 301}};
  for (const auto& s : sizes) {
    std::vector<float> results[2];
    const int usual = threads();
    for (int many : {0, 1}) {
      set_threads(many ? 3 : 1);
      Context c;
      Tensor x = Tensor::from(c, {s[0], s[1], s[2]}, ramp(static_cast<size_t>(s[0] * s[1] * s[2]), 3));
      x.require_gradient("x");
      BatchNorm1d layer(s[1]);
      ModuleState state(c, layer, 1);
      state.require_gradients();
      Tape tape(c);
      const Tensor y = layer(x);
      tape.backward(ops::sum(ops::mul(y, ops::mul(y, x))));
      for (const Tensor& t : {y, x.gradient(), layer.weight.gradient(), layer.running_var})
        for (float v : t.host<float>()) results[many].push_back(v);
    }
    set_threads(usual);
    EXPECT_EQ(results[0], results[1]);
  }
}

TEST(layer_norm, refuses_what_does_not_fit) {
  Context c;
  LayerNorm layer(4);
  ModuleState state(c, layer, 1);
  EXPECT_CONTAINS(error_of([&] { layer(Tensor::zeros(c, {2, 3})); }).message(), "layer_norm: weight[4] F32 for x[2, 3] F32");
  EXPECT_CONTAINS(error_of([&] { ops::layer_norm(Tensor::zeros(c, {2, 0}), {}, {}); }).message(), "rows of no elements");
  EXPECT_CONTAINS(error_of([&] { ops::layer_norm(Tensor::zeros(c, {2, 4}), {}, {}, -1); }).message(), "eps -1");
  EXPECT_CONTAINS(error_of([&] { LayerNorm(0); }).message(), "LayerNorm: 0 features");
  EXPECT_EQ(layer(Tensor::zeros(c, {0, 4})).count(), 0);
  EXPECT_EQ(layer(tensor(c, {4}, {1, 1, 1, 1})).host<float>(), std::vector<float>(4, 0)) << "one row, without variance";
}

// Rows of one element: x is its own mean. PyTorch 2.15, nn.LayerNorm(1) with weight 1.1 and bias -0.3: y is -0.3, the bias' gradient -5.2, that
// of x 0 but for 1.5e-5 (f32, the rounding of 1.1 * 0.7 over sqrt(1e-5)), that of the weight 0 but for what 1e6 loses to its mean.
TEST(layer_norm, one_feature_leaves_the_bias) {
  for (Device device : host_devices())
    for (const double eps : {1e-5, 1.0}) {
      SCOPED_TRACE(to_string(device) + ", eps " + std::to_string(eps));
      Context c(device);
      LayerNorm layer(1, eps);
      ModuleState state(c, layer, 1);
      layer.weight.assign(tensor(c, {1}, {1.1f}));
      layer.bias.assign(tensor(c, {1}, {-0.3f}));
      state.require_gradients();
      Tensor x = tensor(c, {5, 1}, {2.5f, -1, 1e6f, 0, 0.1f});
      x.require_gradient("x");
      Tape tape(c);
      const Tensor y = layer(x);
      tape.backward(ops::sum(ops::mul(y, tensor(c, {5, 1}, {0.3f, 0.7f, -1.9f, -4.4f, 0.1f}))));
      EXPECT_EQ(y.host<float>(), std::vector<float>(5, -0.3f));
      EXPECT_EQ(layer.weight.gradient().host<float>(), std::vector<float>{0});
      EXPECT_NEAR(layer.bias.gradient().host<float>()[0], -5.2, 1e-6);
      const std::vector<float> gx = x.gradient().host<float>(), g = {0.3f, 0.7f, -1.9f, -4.4f, 0.1f};
      for (size_t i = 0; i < 5; ++i) EXPECT_LE(std::abs(gx[i]), std::abs(1.1 * g[i]) * 0x1p-24 / std::sqrt(eps) * 1.001) << i;
    }
}

TEST(softmax, rows_sum_to_one_whatever_their_level) {
  for (Device device : host_devices()) {
    Context c(device);
    const std::vector<float> y = ops::softmax(tensor(c, {3, 2}, {1000, 1000, -3e38f, 3e38f, -1e-30f, 0})).host<float>();
    EXPECT_EQ(y, (std::vector<float>{0.5f, 0.5f, 0, 1, 0.5f, 0.5f}));
    EXPECT_EQ(ops::softmax(Tensor::zeros(c, {3, 0})).count(), 0);
  }
}

TEST(dropout, drops_about_the_rate_and_scales_the_rest_in_training_alone) {
  for (Device device : host_devices()) {
    Context c(device, 11);
    Dropout layer(0.25);
    const int64_t n = 20000;
    const Tensor x = tensor(c, {n}, std::vector<float>(static_cast<size_t>(n), 3.0f));
    const std::vector<float> y = layer(x).host<float>(), again = layer(x).host<float>();
    int64_t dropped = 0, both = 0;
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_TRUE(y[i] == 0 || y[i] == 4);
      dropped += y[i] == 0, both += y[i] == 0 && again[i] == 0;
    }
    EXPECT_NEAR(static_cast<double>(dropped) / n, 0.25, 0.01);
    EXPECT_NEAR(static_cast<double>(both) / n, 0.0625, 0.007) << "each call draws anew";
    layer.set_training(false);
    const uint32_t op = c.generator.op;
    EXPECT_EQ(layer(x).host<float>(), x.host<float>());
    EXPECT_EQ(c.generator.op, op) << "evaluation draws nothing";
    EXPECT_EQ(Dropout(0)(x).host<float>(), x.host<float>());
  }
}

TEST(dropout, the_gradient_is_zero_where_the_output_is) {
  for (Device device : host_devices()) {
    Context c(device, 3);
    const Tensor x = parameter(c, {1003}, std::vector<float>(1003, 1.0f), "x");
    Tape tape(c);
    const Tensor y = ops::dropout(x, 0.5, c.generator.next());
    tape.backward(ops::sum(y));
    EXPECT_EQ(x.gradient().host<float>(), y.host<float>());
  }
}

TEST(dropout, refuses_a_rate_that_leaves_nothing) {
  Context c;
  for (double rate : {1.0, -0.1, 1.5, static_cast<double>(NAN)}) {
    EXPECT_CONTAINS(error_of([&] { ops::dropout(Tensor::zeros(c, {2}), rate, {}); }).message(), "is not in [0, 1)");
    EXPECT_CONTAINS(error_of([&] { Dropout layer(rate); }).message(), "is not in [0, 1)");
  }
}

}  // namespace
}  // namespace panvae::test
