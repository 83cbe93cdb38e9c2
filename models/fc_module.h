// The fully connected module of the ATAC networks (SPEC M1): Linear, leaky ReLU with slope 0.01, BatchNorm1d.
#pragma once
#include <memory>
#include <vector>

#include "engine/layers.h"
#include "engine/layers/fold.h"
#include "engine/ops/fused.h"

namespace panvae {

class FcModule : public Module {
 public:
  FcModule(int64_t in, int64_t out) : linear(in, out, true, {Activation::leaky_relu, 0.01}), norm(out) {
    declare_module("linear", linear);
    declare_module("norm", norm);
  }
  Tensor forward(const Tensor& x) override {  // x [B, in] -> [B, out]
    if (!norm.training() || !x.context().fuses()) return norm(linear(x));
    return ops::linear_batch_norm(x, linear.weight, linear.bias, linear.after().activation, linear.after().slope, norm.weight, norm.bias, norm.running_mean,
                                  norm.running_var, norm.momentum(), norm.eps());
  }

  Linear linear;
  BatchNorm1d norm;
};

// Modules one after the other, named "0", "1", ...: in -> widths[0] -> widths[1] ...
class FcModules : public Module {
 public:
  FcModules(int64_t in, const std::vector<int64_t>& widths) {
    for (int64_t width : widths) {
      modules_.push_back(std::make_unique<FcModule>(in, width));
      declare_module(std::to_string(modules_.size() - 1), *modules_.back());
      in = width;
    }
  }
  Tensor forward(const Tensor& x) override {
    Tensor h = x;
    for (const auto& m : modules_) h = m->forward(h);
    return h;
  }
  Linear& first() { return modules_.front()->linear; }
  // What can be folded in evaluation, where `behind` are the layers that alone read what comes out; none: the last
  // normalisation stays.
  void add_foldable(std::vector<NormBeforeLinear>& places, const std::vector<Linear*>& behind) {
    for (size_t i = 0; i < modules_.size(); ++i) {
      const std::vector<Linear*> next = i + 1 < modules_.size() ? std::vector<Linear*>{&modules_[i + 1]->linear} : behind;
      if (!next.empty()) places.push_back({&modules_[i]->norm, next});
    }
  }

 private:
  std::vector<std::unique_ptr<FcModule>> modules_;
};

}  // namespace panvae
