// The variational autoencoder of blocks of contiguous peaks (SPEC M2): one network for all blocks. Widths 2048, 1024, 512:
//   block - 2048 - 1024 - 512 - {mean, log-variance}; latent - 1024 - 2048 - block
// Each arrow into a width is a module of Linear, leaky ReLU and BatchNorm1d; the heads and the output are linear alone.
#pragma once
#include <vector>

#include "models/fc_module.h"
#include "models/vae.h"

namespace panvae {

struct AtacBlockVaeShape {
  int64_t block = 5000;  // peaks
  std::vector<int64_t> widths{2048, 1024, 512};
  int64_t latent = 512;
};

class AtacBlockVae : public Vae {
 public:
  explicit AtacBlockVae(AtacBlockVaeShape shape);
  const AtacBlockVaeShape& shape() const { return shape_; }

  int64_t features() const override { return shape_.block; }
  int64_t latent() const override { return shape_.latent; }
  int64_t smallest_batch() const override { return 2; }
  Posterior encode(const Tensor& x) override;  // x [B, block]
  Tensor decode(const Tensor& z) override;     // z [B, latent] -> [B, block]
  Linear* last_layer() override { return &decoder_.output; }
  Tensor before_last_layer(const Tensor& z) override { return decoder_.modules(z); }
  std::vector<NormBeforeLinear> foldable() override;

 private:
  class Encoder : public Module {
   public:
    explicit Encoder(const AtacBlockVaeShape& s);
    Tensor forward(const Tensor& x) override { return mean(modules(x)); }
    FcModules modules;
    Linear mean, logvar;
  };
  class Decoder : public Module {
   public:
    explicit Decoder(const AtacBlockVaeShape& s);
    Tensor forward(const Tensor& z) override { return output(modules(z)); }
    FcModules modules;
    Linear output;
  };
  AtacBlockVaeShape shape_;
  Encoder encoder_;
  Decoder decoder_;
};

// The widths of the decoder's modules: those of the encoder backwards without the innermost, which the latents stand for. A
// single width stays.
std::vector<int64_t> mirrored_block_widths(const std::vector<int64_t>& widths);

}  // namespace panvae
