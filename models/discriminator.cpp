#include "models/discriminator.h"

#include <string>
#include <utility>

namespace panvae {

Discriminator::Discriminator(DiscriminatorShape shape) : shape_(std::move(shape)) {
  PV_CHECK(shape_.latent > 0, "discriminator: {} latents", shape_.latent);
  int64_t in = shape_.latent;
  auto add = [&](int64_t out, Fusable after) {
    layers_.push_back(std::make_unique<Linear>(in, out, true, after));
    declare_module(std::to_string(layers_.size() - 1), *layers_.back());
    in = out;
  };
  for (int64_t width : shape_.widths) add(width, {Activation::leaky_relu, shape_.slope});
  add(1, {});
}

Tensor Discriminator::forward(const Tensor& z) {
  Tensor h = z;
  for (const auto& layer : layers_) h = layer->forward(h);
  return h;
}

}  // namespace panvae
