// Normalisation, softmax and GELU, against PyTorch.
#include "engine/layers.h"
#include "torch_reference.h"

namespace panvae::test {
namespace {

TEST(torch, batchnorm1d) {
  const int n = cases_of("batchnorm1d", "x");
  EXPECT_EQ(n, 4);
  for (const Where& w : everywhere())
    for (int i = 0; i < n; ++i) {
      const std::string name = "batchnorm1d." + std::to_string(i), k = name + ".";
      Context c(w.device);
      Tensor x = load(c, k + "x", w.dtype);
      x.require_gradient("x");
      BatchNorm1d layer(x.size(1), options(name)["eps"], options(name)["momentum"]);
      ModuleState state(c, layer, 0, w.dtype);
      state.require_gradients();
      layer.weight.assign(load(c, k + "weight", w.dtype)), layer.bias.assign(load(c, k + "bias", w.dtype));
      layer.running_mean.assign(load(c, k + "running_mean_before", w.dtype)), layer.running_var.assign(load(c, k + "running_var_before", w.dtype));
      layer.set_training(false);
      expect_reference(layer(x), k + "y_eval", w);
      layer.set_training(true);
      Tape tape(c);
      const Tensor y = layer(x);
      tape.backward(objective(c, y, k + "gy", w.dtype));
      expect_reference(y, k + "y_train", w);
      expect_reference(x.gradient(), k + "gx", w);
      expect_reference(layer.weight.gradient(), k + "gweight", w);
      expect_reference(layer.bias.gradient(), k + "gbias", w);
      expect_reference(layer.running_mean, k + "running_mean_after", w);
      expect_reference(layer.running_var, k + "running_var_after", w);
    }
}

TEST(torch, layer_norm) {
  const int n = cases_of("layer_norm", "x");
  EXPECT_EQ(n, 3);
  for (const Where& w : everywhere())
    for (int i = 0; i < n; ++i) {
      const std::string name = "layer_norm." + std::to_string(i), k = name + ".";
      Context c(w.device);
      Tensor x = load(c, k + "x", w.dtype);
      x.require_gradient("x");
      LayerNorm layer(x.size(-1), options(name)["eps"]);
      ModuleState state(c, layer, 0, w.dtype);
      state.require_gradients();
      layer.weight.assign(load(c, k + "weight", w.dtype)), layer.bias.assign(load(c, k + "bias", w.dtype));
      Tape tape(c);
      const Tensor y = layer(x);
      tape.backward(objective(c, y, k + "gy", w.dtype));
      expect_reference(y, k + "y", w);
      expect_reference(x.gradient(), k + "gx", w);
      expect_reference(layer.weight.gradient(), k + "gweight", w);
      expect_reference(layer.bias.gradient(), k + "gbias", w);
    }
}

TEST(torch, softmax_and_gelu) {
  Softmax softmax;
  GELU gelu;
  for (const auto& [op, count] : {std::pair<std::string, int>{"softmax", 3}, {"gelu", 2}}) {
    EXPECT_EQ(cases_of(op, "x"), count);
    Module& layer = op == "gelu" ? static_cast<Module&>(gelu) : softmax;
    for (const Where& w : everywhere())
      for (int i = 0; i < count; ++i) {
        const std::string k = op + "." + std::to_string(i) + ".";
        Context c(w.device);
        Tensor x = load(c, k + "x", w.dtype);
        x.require_gradient("x");
        Tape tape(c);
        const Tensor y = layer(x);
        tape.backward(objective(c, y, k + "gy", w.dtype));
        expect_reference(y, k + "y", w);
        expect_reference(x.gradient(), k + "gx", w);
      }
  }
}

}  // namespace
}  // namespace panvae::test
