// Batch normalisation in evaluation multiplies each channel by a constant and adds another: y = s x + t with
// s = weight / sqrt(running_var + eps), t = bias - s running_mean. A linear layer behind it can do that with weights of its own:
//   W y + b = W' x + b',   W' = W diag(s),   b' = b + W t
// Equal to rounding: b' and W' x are of the size of W s mean, so where a mean is many deviations off, as many times the
// rounding of W y remains.
#pragma once
#include <vector>

#include "engine/layers.h"

namespace panvae {

// A batch normalisation and the layers that read what it gives, which nobody else does. Their inputs are its channels, or
// channels x positions one after the other.
struct NormBeforeLinear {
  BatchNorm1d* norm;
  std::vector<Linear*> next;
};

// For as long as this lives the layers have folded weights and the normalisations pass on what they get. The modules must be
// in evaluation mode, and their own weights must rest: they are read once, and stand again afterwards. Does nothing in a
// context that does not fuse, and at places that are folded already. An error leaves everything as it was.
class Folded {
 public:
  explicit Folded(const std::vector<NormBeforeLinear>& places) {
    try {
      for (const auto& [norm, next] : places) {
        if (norm->folded || !norm->weight.context().fuses()) continue;
        PV_CHECK(!norm->training(), "fold: a batch normalisation in training mode");
        for (Linear* layer : next) fold(*norm, *layer);
        norms_.push_back(norm);
        norm->folded = true;
      }
    } catch (...) {
      unfold();
      throw;
    }
  }
  ~Folded() { unfold(); }
  Folded(const Folded&) = delete;
  Folded& operator=(const Folded&) = delete;

 private:
  struct Kept {
    Linear* layer;
    Tensor weight, bias;
  };
  void unfold() {
    for (const Kept& k : kept_) k.layer->weight = k.weight, k.layer->bias = k.bias;
    for (BatchNorm1d* norm : norms_) norm->folded = false;
  }
  void fold(const BatchNorm1d& norm, Linear& layer) {
    const Tensor w = layer.weight.detach(), b = layer.bias.defined() ? layer.bias.detach() : Tensor();
    const Tensor scale = norm.weight.detach(), shift = norm.bias.detach();
    const int64_t out = w.size(0), channels = scale.size(0);
    PV_CHECK(w.size(1) % channels == 0, "fold: {} channels before a layer of {} inputs", channels, w.size(1));
    const int64_t length = w.size(1) / channels;
    Context& context = w.context();
    const Tensor none = Tensor::zeros(context, {channels}, w.dtype(), "folded weights");
    const Tensor zeros = Tensor::zeros(context, {1, channels, length}, w.dtype(), "folded weights");
    // The op itself makes both: s of W by a mean and a bias of 0, t of zeros.
    const Tensor scaled = ops::batch_norm(w.view({out, channels, length}), scale, Tensor(), none, norm.running_var, false, norm.momentum(), norm.eps());
    const Tensor offset = ops::batch_norm(zeros, scale, shift, norm.running_mean, norm.running_var, false, norm.momentum(), norm.eps());
    kept_.push_back({&layer, layer.weight, layer.bias});
    layer.bias = ops::linear(offset.view({1, w.size(1)}), w, b).view({out});
    layer.weight = scaled.view({out, w.size(1)});
  }
  std::vector<Kept> kept_;
  std::vector<BatchNorm1d*> norms_;
};

}  // namespace panvae
