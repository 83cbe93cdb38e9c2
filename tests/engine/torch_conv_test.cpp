// Convolutions against PyTorch.
#include "engine/layers.h"
#include "engine/ops/conv.h"
#include "torch_reference.h"

namespace panvae::test {
namespace {

ops::Conv1dOptions conv_options(const std::string& name) {
  return {.stride = options(name)["stride"], .padding = options(name)["padding"]};
}

TEST(torch, conv1d) {
  const int n = cases_of("conv1d", "x");
  EXPECT_EQ(n, 5);
  for (const Where& w : everywhere())
    for (int i = 0; i < n; ++i) {
      const std::string name = "conv1d." + std::to_string(i), k = name + ".";
      Context c(w.device);
      Tensor x = load(c, k + "x", w.dtype), weight = load(c, k + "weight", w.dtype), bias = load(c, k + "bias", w.dtype);
      x.require_gradient("x"), weight.require_gradient("weight"), bias.require_gradient("bias");
      Tape tape(c);
      const Tensor y = ops::conv1d(x, weight, bias, conv_options(name));
      tape.backward(objective(c, y, k + "gy", w.dtype));
      expect_reference(y, k + "y", w);
      expect_reference(x.gradient(), k + "gx", w);
      expect_reference(weight.gradient(), k + "gweight", w);
      expect_reference(bias.gradient(), k + "gbias", w);
    }
}

// The transposed convolution of gy by the same weight is PyTorch's input gradient; its own gradient is the convolution.
TEST(torch, conv_transpose1d) {
  for (const Where& w : everywhere())
    for (int i = 0; i < cases_of("conv1d", "x"); ++i) {
      const std::string name = "conv1d." + std::to_string(i), k = name + ".";
      Context c(w.device);
      Tensor gy = load(c, k + "gy", w.dtype), weight = load(c, k + "weight", w.dtype);
      const Tensor x = load(c, k + "x", w.dtype), bias = load(c, k + "bias", w.dtype);
      gy.require_gradient("gy"), weight.require_gradient("weight");
      ops::Conv1dOptions o = conv_options(name);
      o.output_padding = x.size(2) - ((gy.size(2) - 1) * o.stride - 2 * o.padding + weight.size(2));
      Tape tape(c);
      const Tensor gx = ops::conv_transpose1d(gy, weight, {}, o);
      tape.backward(ops::sum(ops::mul(gx, x)));
      expect_reference(gx, k + "gx", w);
      expect_reference(weight.gradient(), k + "gweight", w);
      std::vector<double> without_bias = values(k + "y");
      const std::vector<double> b = values(k + "bias");
      for (size_t j = 0; j < without_bias.size(); ++j) without_bias[j] -= b[j / static_cast<size_t>(gy.size(2)) % b.size()];
      expect_values(doubles(gy.gradient()), without_bias, w, k + "y without bias");
    }
}

TEST(conv, layers_fuse_the_activation_behind_them) {
  for (Device d : host_devices()) {
    Context c(d);
    Sequential fused(std::make_unique<Conv1d>(3, 4, 3, ops::Conv1dOptions{.padding = 1}), std::make_unique<LeakyReLU>(0.1),
                     std::make_unique<ConvTranspose1d>(4, 2, 3, ops::Conv1dOptions{.stride = 2}), std::make_unique<ReLU>());
    ModuleState state(c, fused, 5);
    const Tensor x = Tensor::from(c, {2, 3, 5}, std::vector<float>(30, 0.7f));
    const Tensor y = fused(x);
    auto& first = dynamic_cast<Conv1d&>(fused[0]);
    auto& second = dynamic_cast<ConvTranspose1d&>(fused[2]);
    const Tensor hidden = ops::leaky_relu(ops::conv1d(x, first.weight, first.bias, {.padding = 1}), 0.1);
    const Tensor expected = ops::relu(ops::conv_transpose1d(hidden, second.weight, second.bias, {.stride = 2}));
    EXPECT_EQ(y.shape(), (Shape{2, 2, 11}));
    EXPECT_EQ(y.host<float>(), expected.host<float>());
    const float bound = 1 / std::sqrt(9.0f);
    float largest = 0;
    for (float v : first.weight.host<float>()) largest = std::max(largest, std::abs(v));
    EXPECT_LE(largest, bound);
    EXPECT_GT(largest, 0.8f * bound);
  }
}

TEST(conv, sizes_that_do_not_fit_are_named) {
  Context c;
  const Tensor x = Tensor::zeros(c, {2, 3, 5}), w = Tensor::zeros(c, {4, 3, 3}), bias = Tensor::zeros(c, {4});
  EXPECT_CONTAINS(error_of([&] { ops::conv1d(x, Tensor::zeros(c, {4, 2, 3}), bias); }).message(), "3 channels against 2");
  EXPECT_CONTAINS(error_of([&] { ops::conv1d(x, Tensor::zeros(c, {4, 3, 6}), bias); }).message(), "shorter than the window of 6 positions");
  EXPECT_CONTAINS(error_of([&] { ops::conv1d(x, w, Tensor::zeros(c, {3})); }).message(), "bias[3] for 4 output channels");
  EXPECT_CONTAINS(error_of([&] { ops::conv1d(x, w, bias, {.stride = 0}); }).message(), "stride 0");
  EXPECT_CONTAINS(error_of([&] { ops::conv1d(Tensor::zeros(c, {2, 3}), w, bias); }).message(), "three dimensions");
  EXPECT_CONTAINS(error_of([&] { ops::conv_transpose1d(x, w, {}); }).message(), "3 channels against 4");
  EXPECT_CONTAINS(error_of([&] { ops::conv_transpose1d(x, Tensor::zeros(c, {3, 4, 3}), {}, {.output_padding = 1}); }).message(), "output padding 1");
  EXPECT_CONTAINS(error_of([&] { ops::conv_transpose1d(x, Tensor::zeros(c, {3, 4, 1}), {}, {.padding = 3}); }).message(), "leaves -1 positions");
}

}  // namespace
}  // namespace panvae::test
