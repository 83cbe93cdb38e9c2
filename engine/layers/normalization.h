// Layers that normalise.
#pragma once
#include "engine/module.h"
#include "engine/ops/normalization.h"

namespace panvae {

// PyTorch's nn.BatchNorm1d over [B, channels] or [B, channels, L]. In training a batch is normalised by its own mean and
// variance, and the running ones follow by `momentum`; otherwise by the running ones.
class BatchNorm1d : public Module {
 public:
  explicit BatchNorm1d(int64_t channels, double eps = 1e-5, double momentum = 0.1) : eps_(eps), momentum_(momentum) {
    PV_CHECK(channels > 0, "BatchNorm1d: {} channels", channels);
    declare_parameter("weight", weight, {channels}, Init::constant(1));
    declare_parameter("bias", bias, {channels}, Init::constant(0));
    declare_buffer("running_mean", running_mean, {channels}, Init::constant(0));
    declare_buffer("running_var", running_var, {channels}, Init::constant(1));
  }
  Tensor forward(const Tensor& x) override {
    check_has_memory("BatchNorm1d", weight);
    return folded ? x : ops::batch_norm(x, weight, bias, running_mean, running_var, training(), momentum_, eps_);
  }
  double eps() const { return eps_; }
  double momentum() const { return momentum_; }

  Tensor weight, bias, running_mean, running_var;
  bool folded = false;  // the layers behind it do its work: see Folded (engine/layers/fold.h)

 private:
  double eps_, momentum_;
};

// PyTorch's nn.LayerNorm over the last dimension, of `features` elements. Of one, nothing of x is left but the bias (kernels/layernorm.cu).
class LayerNorm : public Module {
 public:
  explicit LayerNorm(int64_t features, double eps = 1e-5) : eps_(eps) {
    PV_CHECK(features > 0, "LayerNorm: {} features", features);
    declare_parameter("weight", weight, {features}, Init::constant(1));
    declare_parameter("bias", bias, {features}, Init::constant(0));
  }
  Tensor forward(const Tensor& x) override {
    check_has_memory("LayerNorm", weight);
    return ops::layer_norm(x, weight, bias, eps_);
  }

  Tensor weight, bias;

 private:
  double eps_;
};

class Softmax : public Module {
 public:
  Tensor forward(const Tensor& x) override { return ops::softmax(x); }
};

}  // namespace panvae
