// The variational autoencoder of RNA expression (SPEC M6): genes -> hidden -> latent -> hidden -> genes.
#pragma once
#include <numeric>
#include <string>

#include "engine/context.h"
#include "engine/layers.h"
#include "models/vae.h"

namespace panvae {

struct RnaVaeShape {
  int64_t genes = 0;
  int64_t hidden = 1024;
  int64_t latent = 512;
  Fusable activation{Activation::relu, 0};  // between the two layers of encoder and decoder; none: the linear variant
  // Rows of genes are made a multiple of this many numbers wide, with zeros behind the genes (Features). 4 aligns them to 16 bytes.
  int64_t row_multiple = 1;

  // With rows as the device wants them, too: on a GPU products are up to three times as fast where they are aligned. BLAS does not mind.
  RnaVaeShape on(Device device) const {
    RnaVaeShape s = *this;
    if (device.type == DeviceType::cuda) s.row_multiple = std::lcm(row_multiple, int64_t{4});
    return s;
  }
  Features rows() const { return {genes, (genes + row_multiple - 1) / row_multiple * row_multiple}; }
};

class RnaVae : public Vae {
 public:
  explicit RnaVae(RnaVaeShape shape);
  const RnaVaeShape& shape() const { return shape_; }

  int64_t features() const override { return shape_.genes; }
  int64_t latent() const override { return shape_.latent; }
  int64_t width() const override { return shape_.rows().width; }
  Posterior encode(const Tensor& x) override;
  Tensor decode(const Tensor& z) override;
  Linear* last_layer() override { return &decoder_.output; }
  Tensor before_last_layer(const Tensor& z) override { return decoder_.hidden(z); }
  // The metric that the decoder pulls back to the latent space, averaged over samples: G = J J^T, [latent, latent], with
  // J [latent, genes] the Jacobian of the decoder at the mean activation of its hidden units over the latents z [B, latent].
  // |(z - z') G^(1/2)| is the distance of reconstructions to first order.
  Tensor decoder_metric(const Tensor& z);

 private:
  class Encoder : public Module {
   public:
    Encoder(const RnaVaeShape& s);
    Tensor forward(const Tensor& x) override { return mean(hidden(x)); }
    Linear hidden, mean, logvar;
  };
  class Decoder : public Module {
   public:
    Decoder(const RnaVaeShape& s);
    Tensor forward(const Tensor& z) override { return output(hidden(z)); }
    Linear hidden, output;
  };
  RnaVaeShape shape_;
  Encoder encoder_;
  Decoder decoder_;
};

}  // namespace panvae
