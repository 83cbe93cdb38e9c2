// The adversary of a co-embedding (SPEC M7): tells from an embedding which modality it came from. Defaults:
//   latents - 256 - 128 - 1
// with leaky ReLU of slope 0.2 between, no normalisation, no dropout. What comes out is a logit: above 0 it says RNA.
#pragma once
#include <memory>
#include <vector>

#include "engine/layers.h"

namespace panvae {

struct DiscriminatorShape {
  int64_t latent = 512;
  std::vector<int64_t> widths{256, 128};
  double slope = 0.2;
};

class Discriminator : public Module {
 public:
  explicit Discriminator(DiscriminatorShape shape);
  const DiscriminatorShape& shape() const { return shape_; }
  Tensor forward(const Tensor& z) override;  // z [B, latent] -> [B, 1]

 private:
  DiscriminatorShape shape_;
  std::vector<std::unique_ptr<Linear>> layers_;  // named "0", "1", ...
};

}  // namespace panvae
