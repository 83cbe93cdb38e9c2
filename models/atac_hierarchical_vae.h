// The variational autoencoder of a whole ATAC sample (SPEC M4), on the concatenated posterior means of its blocks: a sequence
// of `blocks` positions with block_latent channels. Defaults:
//   Conv1d(512 -> 64, window 3), leaky ReLU, BatchNorm1d - flattened - 2048 - 1024 - {mean, log-variance} 512
//   512 - 1024 - 2048 - 64 blocks - ConvTranspose1d(64 -> 512, window 3)
// Widths are modules of Linear, leaky ReLU and BatchNorm1d (fc_module.h).
#pragma once
#include <vector>

#include "models/fc_module.h"
#include "models/vae.h"

namespace panvae {

struct AtacHierarchicalVaeShape {
  int64_t blocks = 113;
  int64_t block_latent = 512;
  int64_t channels = 64;
  std::vector<int64_t> widths{2048, 1024};
  int64_t latent = 512;
};

class AtacHierarchicalVae : public Vae {
 public:
  explicit AtacHierarchicalVae(AtacHierarchicalVaeShape shape);
  const AtacHierarchicalVaeShape& shape() const { return shape_; }

  int64_t features() const override { return shape_.blocks * shape_.block_latent; }
  int64_t latent() const override { return shape_.latent; }
  int64_t smallest_batch() const override { return 2; }
  // x [B, blocks * block_latent]: block after block, as block_means (atac_inference.h) gives them
  Posterior encode(const Tensor& x) override;
  Tensor decode(const Tensor& z) override;  // z [B, latent] -> [B, blocks * block_latent]
  std::vector<NormBeforeLinear> foldable() override;

 private:
  class Encoder : public Module {
   public:
    explicit Encoder(const AtacHierarchicalVaeShape& s);
    Tensor forward(const Tensor& x) override { return mean(hidden(x)); }
    Tensor hidden(const Tensor& x);  // x [B, block_latent, blocks] -> [B, widths.back()]
    Conv1d conv;
    BatchNorm1d norm;
    FcModules modules;
    Linear mean, logvar;
  };
  class Decoder : public Module {
   public:
    explicit Decoder(const AtacHierarchicalVaeShape& s);
    Tensor forward(const Tensor& z) override;  // z [B, latent] -> [B, block_latent, blocks]
    FcModules modules;
    ConvTranspose1d conv;

   private:
    int64_t channels_, blocks_;
  };
  AtacHierarchicalVaeShape shape_;
  Encoder encoder_;
  Decoder decoder_;
};

}  // namespace panvae
