#include "models/atac_hierarchical_vae.h"

#include "engine/ops/arithmetic.h"
#include "engine/ops/layout.h"

namespace panvae {

namespace {

constexpr int64_t kWindow = 3;  // blocks that a filter sees; with a padding of 1 the sequence keeps its length

AtacHierarchicalVaeShape checked(AtacHierarchicalVaeShape s) {
  PV_CHECK(s.blocks > 0 && s.block_latent > 0 && s.channels > 0 && s.latent > 0 && !s.widths.empty(),
           "hierarchical VAE: {} blocks of {} latents, {} channels, {} widths, {} latents", s.blocks, s.block_latent, s.channels, s.widths.size(), s.latent);
  return s;
}

std::vector<int64_t> decoder_widths(const AtacHierarchicalVaeShape& s) {
  std::vector<int64_t> widths(s.widths.rbegin(), s.widths.rend());
  widths.push_back(s.channels * s.blocks);
  return widths;
}

}  // namespace

AtacHierarchicalVae::Encoder::Encoder(const AtacHierarchicalVaeShape& s)
    : conv(s.block_latent, s.channels, kWindow, {.padding = 1}, true, {Activation::leaky_relu, 0.01}),
      norm(s.channels),
      modules(s.channels * s.blocks, s.widths),
      mean(s.widths.back(), s.latent),
      logvar(s.widths.back(), s.latent) {
  declare_module("conv", conv);
  declare_module("norm", norm);
  declare_module("modules", modules);
  declare_module("mean", mean);
  declare_module("logvar", logvar);
}

Tensor AtacHierarchicalVae::Encoder::hidden(const Tensor& x) {
  const Tensor filtered = norm(conv(x));  // [B, channels, blocks]
  return modules(ops::reshape(filtered, {filtered.size(0), filtered.size(1) * filtered.size(2)}));
}

AtacHierarchicalVae::Decoder::Decoder(const AtacHierarchicalVaeShape& s)
    : modules(s.latent, decoder_widths(s)), conv(s.channels, s.block_latent, kWindow, {.padding = 1}), channels_(s.channels), blocks_(s.blocks) {
  declare_module("modules", modules);
  declare_module("conv", conv);
}

Tensor AtacHierarchicalVae::Decoder::forward(const Tensor& z) {
  return conv(ops::reshape(modules(z), {z.size(0), channels_, blocks_}));
}

AtacHierarchicalVae::AtacHierarchicalVae(AtacHierarchicalVaeShape shape) : shape_(checked(std::move(shape))), encoder_(shape_), decoder_(shape_) {
  declare_module("encoder", encoder_);
  declare_module("decoder", decoder_);
}

Posterior AtacHierarchicalVae::encode(const Tensor& x) {
  PV_CHECK(x.rank() == 2 && x.size(1) == features(), "hierarchical VAE: x{} for {} blocks of {}", x.shape().str(), shape_.blocks, shape_.block_latent);
  const Tensor h = encoder_.hidden(ops::transpose(ops::reshape(x, {x.size(0), shape_.blocks, shape_.block_latent})));
  return posterior_of(encoder_.mean, encoder_.logvar, h);
}

Tensor AtacHierarchicalVae::decode(const Tensor& z) {
  return ops::reshape(ops::transpose(decoder_(z)), {z.size(0), features()});
}

std::vector<NormBeforeLinear> AtacHierarchicalVae::foldable() {
  std::vector<NormBeforeLinear> places{{&encoder_.norm, {&encoder_.modules.first()}}};
  encoder_.modules.add_foldable(places, {&encoder_.mean, &encoder_.logvar});
  decoder_.modules.add_foldable(places, {});  // a convolution is behind it
  return places;
}

}  // namespace panvae
