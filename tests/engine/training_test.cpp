// Whole training steps of a net with every kind of layer, through the CUDA sources on the CPU: equal to the cpu executor,
// and to each other bit for bit in every order of threads. (The same for the RNA VAE: tests/models/trainer_test.cpp.)
#include <gtest/gtest.h>

#include "engine/layers.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/vae.h"
#include "engine/optimizer.h"
#include "helpers.h"

namespace panvae::test {
namespace {

constexpr int64_t kBatch = 18, kIn = 24, kChannels = 5, kLength = 13, kFilters = 4, kOut = 7, kSteps = 3;

// Linear, leaky ReLU, BatchNorm over [B, C]; as [B, channels, length]: Conv1d, leaky ReLU, BatchNorm over [B, C, L], and a
// transposed convolution back; Linear.
class Net : public Module {
 public:
  Net()
      : first_(kIn, kChannels * kLength, true, {Activation::leaky_relu, 0.01}),
        norm_(kChannels * kLength),
        conv_(kChannels, kFilters, 3, {.stride = 2, .padding = 1}, true, {Activation::leaky_relu, 0.01}),
        conv_norm_(kFilters),
        back_(kFilters, kChannels, 3, {.stride = 2, .padding = 1}),
        last_(kChannels * kLength, kOut) {
    declare_module("first", first_);
    declare_module("norm", norm_);
    declare_module("conv", conv_);
    declare_module("conv_norm", conv_norm_);
    declare_module("back", back_);
    declare_module("last", last_);
  }
  Tensor forward(const Tensor& x) override {
    const int64_t batch = x.size(0);
    const Tensor hidden = norm_(first_(x));
    const Tensor filtered = conv_norm_(conv_(ops::reshape(hidden, {batch, kChannels, kLength})));
    return last_(ops::reshape(back_(filtered), {batch, kChannels * kLength}));
  }

 private:
  Linear first_;
  BatchNorm1d norm_;
  Conv1d conv_;
  BatchNorm1d conv_norm_;
  ConvTranspose1d back_;
  Linear last_;
};

struct Trained {
  std::vector<float> losses, weights, buffers, predictions;
};

Trained train(Device device, simt::Options order) {
  Context c(device);
  c.stream().simt = order;
  Net net;
  ModuleState state(c, net, 3);
  Adam adam(state, {.weight_decay = 1e-3});
  adam.learning_rate = 1e-2;
  Trained t;
  std::vector<float> x(static_cast<size_t>(kBatch * kIn)), y(static_cast<size_t>(kBatch * kOut));
  for (int64_t step = 0; step < kSteps; ++step) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i * 7 + static_cast<size_t>(step) * 13));
    for (size_t i = 0; i < y.size(); ++i) y[i] = std::cos(static_cast<float>(i * 3));
    {
      Step scope(c);
      Tape tape(c);
      const Tensor error = ops::sub(net(Tensor::from(c, {kBatch, kIn}, x)), Tensor::from(c, {kBatch, kOut}, y));
      const Tensor loss = ops::mean(ops::mul(error, error));
      t.losses.push_back(static_cast<float>(loss.item()));
      adam.zero_grad();
      tape.backward(loss);
    }
    adam.step();
  }
  t.weights = state.flat_parameters().host<float>();
  t.buffers = state.flat_buffers().host<float>();
  net.set_training(false);
  t.predictions = net(Tensor::from(c, {kBatch, kIn}, x)).host<float>();
  return t;
}

void expect_near(const std::vector<float>& a, const std::vector<float>& b, const char* what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  float largest = 0, worst = 0;
  for (float v : b) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < a.size(); ++i)
    if (const float d = std::abs(a[i] - b[i]); !(d <= worst)) worst = d;
  EXPECT_LE(worst, 1e-5f * largest) << what;
}

TEST(training, three_steps_on_simt_equal_cpu_and_do_not_depend_on_the_order_of_threads) {
  const Trained cpu = train({DeviceType::cpu, 0}, {});
  EXPECT_LT(cpu.losses.back(), cpu.losses.front());
  const Trained forward = train({DeviceType::simt, 0}, {simt::Order::forward, 1, 1});
  expect_near(forward.losses, cpu.losses, "losses");
  expect_near(forward.weights, cpu.weights, "weights");
  expect_near(forward.buffers, cpu.buffers, "running statistics");
  expect_near(forward.predictions, cpu.predictions, "predictions with running statistics");
  for (const simt::Options& o : {simt::Options{simt::Order::reverse, 1, 1}, {simt::Order::random, 1, 1}, {simt::Order::random, 2, 2}}) {
    const Trained other = train({DeviceType::simt, 0}, o);
    EXPECT_EQ(other.losses, forward.losses);
    EXPECT_EQ(other.weights, forward.weights);
    EXPECT_EQ(other.buffers, forward.buffers);
    EXPECT_EQ(other.predictions, forward.predictions);
  }
}

}  // namespace
}  // namespace panvae::test
