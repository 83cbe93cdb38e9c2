// Layers.
#pragma once
#include <cmath>
#include <memory>
#include <vector>

#include "engine/module.h"
#include "engine/ops/activation.h"
#include "engine/ops/linear.h"

namespace panvae {

// The activation a layer may fuse into the product before it.
struct Fusable {
  Activation activation = Activation::none;
  double slope = 0;
};

// y = act(x W^T + b): x [B, in], W [out, in], b [out]. Starts as PyTorch's nn.Linear: U(-1/sqrt(in), 1/sqrt(in)) for both.
class Linear : public Module {
 public:
  Linear(int64_t in, int64_t out, bool with_bias = true, Fusable after = {}) : after_(after) {
    PV_CHECK(in > 0 && out > 0, "Linear: {} inputs, {} outputs", in, out);
    const Init init = Init::uniform(1.0 / std::sqrt(static_cast<double>(in)));
    declare_parameter("weight", weight, {out, in}, init);
    if (with_bias) declare_parameter("bias", bias, {out}, init);
  }
  Tensor forward(const Tensor& x) override { return forward_with(x, after_); }
  Tensor forward_with(const Tensor& x, Fusable after) { return ops::linear(x, weight, bias, after.activation, after.slope); }
  bool has_activation() const { return after_.activation != Activation::none; }

  Tensor weight, bias;

 private:
  Fusable after_;
};

class ReLU : public Module {
 public:
  Tensor forward(const Tensor& x) override { return ops::relu(x); }
};

class LeakyReLU : public Module {
 public:
  explicit LeakyReLU(double slope = 0.01) : slope_(slope) { PV_CHECK(slope >= 0, "LeakyReLU: slope {} is negative", slope); }
  Tensor forward(const Tensor& x) override { return ops::leaky_relu(x, slope_); }
  double slope() const { return slope_; }

 private:
  double slope_;
};

// Layers one after the other, named "0", "1", ... A Linear followed by a ReLU or LeakyReLU runs as one fused kernel.
class Sequential : public Module {
 public:
  template <class... M>
  explicit Sequential(std::unique_ptr<M>... layers) {
    (add(std::move(layers)), ...);
  }
  void add(std::unique_ptr<Module> layer) {
    declare_module(std::to_string(layers_.size()), *layer);
    layers_.push_back(std::move(layer));
  }
  size_t size() const { return layers_.size(); }
  Module& operator[](size_t i) { return *layers_[i]; }

  Tensor forward(const Tensor& input) override {
    Tensor x = input;
    for (size_t i = 0; i < layers_.size(); ++i) {
      auto* linear = dynamic_cast<Linear*>(layers_[i].get());
      const Fusable next = linear && !linear->has_activation() && i + 1 < layers_.size() ? fusable(*layers_[i + 1]) : Fusable{};
      if (next.activation == Activation::none) {
        x = layers_[i]->forward(x);
      } else {
        x = linear->forward_with(x, next);
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
