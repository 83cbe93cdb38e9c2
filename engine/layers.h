// Layers.
#pragma once
#include <cmath>
#include <memory>
#include <vector>

#include "engine/layers/normalization.h"
#include "engine/module.h"
#include "engine/ops/activation.h"
#include "engine/ops/conv.h"
#include "engine/ops/linear.h"

namespace panvae {

// The activation a layer may fuse into the product before it.
struct Fusable {
  Activation activation = Activation::none;
  double slope = 0;
};

// A layer with weights that computes the activation after it in the same kernel: its own, or that of the next layer. What it
// computes stands in forward_with, which Sequential calls.
class FusingLayer : public Module {
 public:
  explicit FusingLayer(Fusable after) : after_(after) {}
  Tensor forward(const Tensor& x) final { return forward_with(x, after_); }
  virtual Tensor forward_with(const Tensor& x, Fusable after) = 0;
  bool has_activation() const { return after_.activation != Activation::none; }
  const Fusable& after() const { return after_; }

 private:
  Fusable after_;
};

// y = act(x W^T + b): x [B, in], W [out, in], b [out], where in and out are the widths of the rows. Starts as PyTorch's nn.Linear: U(-1/sqrt(in), 1/sqrt(in))
// for both.
class Linear : public FusingLayer {
 public:
  Linear(Features in, Features out, bool with_bias = true, Fusable after = {}) : FusingLayer(after), inputs_(in.count), outputs_(out.count) {
    PV_CHECK(in.count > 0 && out.count > 0, "Linear: {} inputs, {} outputs", in.count, out.count);
    const Init init = Init::uniform(1.0 / std::sqrt(static_cast<double>(in.count)));
    declare_parameter("weight", weight, {out.width, in.width}, init, {out.count, in.count});
    if (with_bias) declare_parameter("bias", bias, {out.width}, init, {out.count});
  }
  Tensor forward_with(const Tensor& x, Fusable after) override {
    check_has_memory("Linear", weight);
    return ops::linear(x, weight, bias, after.activation, after.slope);
  }
  int64_t inputs() const { return inputs_; }  // without padding
  int64_t outputs() const { return outputs_; }

  Tensor weight, bias;

 private:
  int64_t inputs_, outputs_;
};

// ops::conv1d: x [B, in, L], weight [out, in, window]. Starts as PyTorch's nn.Conv1d: U(-1/sqrt(in window), 1/sqrt(in window)).
class Conv1d : public FusingLayer {
 public:
  Conv1d(int64_t in, int64_t out, int64_t window, ops::Conv1dOptions options = {}, bool with_bias = true, Fusable after = {})
      : FusingLayer(after), options_(options) {
    PV_CHECK(in > 0 && out > 0 && window > 0, "Conv1d: {} input channels, {} output channels, a window of {}", in, out, window);
    const Init init = Init::uniform(1.0 / std::sqrt(static_cast<double>(in * window)));
    declare_parameter("weight", weight, {out, in, window}, init);
    if (with_bias) declare_parameter("bias", bias, {out}, init);
  }
  Tensor forward_with(const Tensor& x, Fusable after) override {
    check_has_memory("Conv1d", weight);
    return ops::conv1d(x, weight, bias, options_, after.activation, after.slope);
  }

  Tensor weight, bias;

 private:
  ops::Conv1dOptions options_;
};

// ops::conv_transpose1d: x [B, in, L], weight [in, out, window]. Starts as PyTorch's nn.ConvTranspose1d:
// U(-1/sqrt(out window), 1/sqrt(out window)).
class ConvTranspose1d : public FusingLayer {
 public:
  ConvTranspose1d(int64_t in, int64_t out, int64_t window, ops::Conv1dOptions options = {}, bool with_bias = true, Fusable after = {})
      : FusingLayer(after), options_(options) {
    PV_CHECK(in > 0 && out > 0 && window > 0, "ConvTranspose1d: {} input channels, {} output channels, a window of {}", in, out, window);
    const Init init = Init::uniform(1.0 / std::sqrt(static_cast<double>(out * window)));
    declare_parameter("weight", weight, {in, out, window}, init);
    if (with_bias) declare_parameter("bias", bias, {out}, init);
  }
  Tensor forward_with(const Tensor& x, Fusable after) override {
    check_has_memory("ConvTranspose1d", weight);
    return ops::conv_transpose1d(x, weight, bias, options_, after.activation, after.slope);
  }

  Tensor weight, bias;

 private:
  ops::Conv1dOptions options_;
};

class ReLU final : public Module {
 public:
  Tensor forward(const Tensor& x) override { return ops::relu(x); }
};

class LeakyReLU final : public Module {
 public:
  explicit LeakyReLU(double slope = 0.01) : slope_(slope) { PV_CHECK(slope >= 0, "LeakyReLU: slope {} is negative", slope); }
  Tensor forward(const Tensor& x) override { return ops::leaky_relu(x, slope_); }
  double slope() const { return slope_; }

 private:
  double slope_;
};

class GELU : public Module {
 public:
  Tensor forward(const Tensor& x) override { return ops::gelu(x); }
};

// In training each element is dropped with probability `rate` and the others are scaled by 1 / (1 - rate); otherwise x.
class Dropout : public Module {
 public:
  explicit Dropout(double rate = 0.5) : rate_(rate) { PV_CHECK(rate >= 0 && rate < 1, "Dropout: rate {} is not in [0, 1)", rate); }
  Tensor forward(const Tensor& x) override { return training() && rate_ > 0 ? ops::dropout(x, rate_, x.context().generator.next()) : x; }

 private:
  double rate_;
};

// Layers one after the other, named "0", "1", ... A layer with weights followed by a ReLU or LeakyReLU runs as one fused kernel.
class Sequential : public Module {
 public:
  template <class... M>
  explicit Sequential(std::unique_ptr<M>... layers) {
    (add(std::move(layers)), ...);
  }
  void add(std::unique_ptr<Module> layer) {
    PV_CHECK(layer, "sequential: layer {} is null", layers_.size());
    declare_module(std::to_string(layers_.size()), *layer);
    layers_.push_back(std::move(layer));
  }
  size_t size() const { return layers_.size(); }
  Module& operator[](size_t i) { return *layers_[i]; }

  Tensor forward(const Tensor& input) override {
    Tensor x = input;
    for (size_t i = 0; i < layers_.size(); ++i) {
      auto* fusing = dynamic_cast<FusingLayer*>(layers_[i].get());
      const Fusable next = fusing && !fusing->has_activation() && i + 1 < layers_.size() ? fusable(*layers_[i + 1]) : Fusable{};
      if (next.activation == Activation::none) {
        x = layers_[i]->forward(x);
      } else {
        x = fusing->forward_with(x, next);
        ++i;
      }
    }
    return x;
  }

 private:
  static Fusable fusable(Module& m) {
    if (dynamic_cast<ReLU*>(&m)) return {Activation::relu, 0};
    if (auto* leaky = dynamic_cast<LeakyReLU*>(&m)) return {Activation::leaky_relu, leaky->slope()};
    return {};
  }
  std::vector<std::unique_ptr<Module>> layers_;
};

}  // namespace panvae
