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

 protected:
  // The two layers that an encoder ends in, of h [B, hidden]. Each alone leaves most of a GPU idle: in a recorded step they run side by side.
  static Posterior posterior_of(Linear& mean, Linear& logvar, const Tensor& h) {
    Context& context = h.context();
    Posterior q;
    {
      const Context::Aside aside(context, true);
      q.mean = mean(h);
    }
    q.logvar = logvar(h);
    context.join();
    return q;
  }
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
