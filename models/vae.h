// What every variational autoencoder here is: an encoder that gives a posterior, and a decoder.
#pragma once
#include <vector>

#include "engine/layers.h"
#include "engine/layers/fold.h"

namespace panvae {

struct Posterior {
  Tensor mean;    // [B, latent], the embedding
  Tensor logvar;  // [B, latent]
};

class Vae : public Module {
 public:
  virtual int64_t features() const = 0;
  virtual int64_t latent() const = 0;
  // Of the rows that hold features on the device: zeros lie behind them where it is more than features().
  virtual int64_t width() const { return features(); }
  virtual Posterior encode(const Tensor& x) = 0;  // x [B, width]
  virtual Tensor decode(const Tensor& z) = 0;     // z [B, latent] -> [B, width]
  // The fewest rows that a training batch may have: batch normalisation needs two.
  virtual int64_t smallest_batch() const { return 1; }

  // The layer that decode ends in, where that is a linear one without activation: decode(z) is (*last_layer())(before_last_layer(z)).
  // Null where it ends otherwise.
  virtual Linear* last_layer() { return nullptr; }
  virtual Tensor before_last_layer(const Tensor& z) { return z; }
  // Where evaluation may fold batch normalisation into the linear layers behind it.
  virtual std::vector<NormBeforeLinear> foldable() { return {}; }

  // The reconstruction from the posterior mean.
  Tensor forward(const Tensor& x) override { return decode(encode(x).mean); }
};

// The parameters of a module as constants for as long as this lives: what is computed meanwhile passes gradients on to its
// inputs, and none to the parameters.
class Constant {
 public:
  explicit Constant(Module& module) : parameters_(module.parameters()) {
    kept_.reserve(parameters_.size());
    for (const NamedTensor& p : parameters_) {
      kept_.push_back(*p.tensor);
      *p.tensor = p.tensor->detach();
    }
  }
  ~Constant() {
    for (size_t i = 0; i < parameters_.size(); ++i) *parameters_[i].tensor = kept_[i];
  }
  Constant(const Constant&) = delete;
  Constant& operator=(const Constant&) = delete;

 private:
  std::vector<NamedTensor> parameters_;
  std::vector<Tensor> kept_;
};

// Evaluation mode of a module (batch normalisation by running statistics) for as long as this lives.
class Evaluation {
 public:
  explicit Evaluation(Module& module) : module_(module), before_(module.training()) { module.set_training(false); }
  ~Evaluation() { module_.set_training(before_); }
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

 private:
  Module& module_;
  bool before_;
};

// Evaluation mode for inference, when weights rest: batch normalisation is folded into the layers behind it.
class Inference {
 public:
  explicit Inference(Vae& model) : evaluation_(model), folded_(model.foldable()) {}

 private:
  Evaluation evaluation_;
  Folded folded_;
};

}  // namespace panvae
