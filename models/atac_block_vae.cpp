#include "models/atac_block_vae.h"

namespace panvae {

namespace {

AtacBlockVaeShape checked(AtacBlockVaeShape s) {
  PV_CHECK(s.block > 0 && s.latent > 0 && !s.widths.empty(), "block VAE: blocks of {} peaks, {} widths, {} latents", s.block, s.widths.size(), s.latent);
  return s;
}

}  // namespace

std::vector<int64_t> mirrored_block_widths(const std::vector<int64_t>& widths) {
  std::vector<int64_t> mirrored(widths.rbegin() + (widths.size() > 1 ? 1 : 0), widths.rend());
  return mirrored;
}

AtacBlockVae::Encoder::Encoder(const AtacBlockVaeShape& s) : modules(s.block, s.widths), mean(s.widths.back(), s.latent), logvar(s.widths.back(), s.latent) {
  declare_module("modules", modules);
  declare_module("mean", mean);
  declare_module("logvar", logvar);
}

AtacBlockVae::Decoder::Decoder(const AtacBlockVaeShape& s) : modules(s.latent, mirrored_block_widths(s.widths)), output(s.widths.front(), s.block) {
  declare_module("modules", modules);
  declare_module("output", output);
}

AtacBlockVae::AtacBlockVae(AtacBlockVaeShape shape) : shape_(checked(std::move(shape))), encoder_(shape_), decoder_(shape_) {
  declare_module("encoder", encoder_);
  declare_module("decoder", decoder_);
}

Posterior AtacBlockVae::encode(const Tensor& x) {
  const Tensor h = encoder_.modules(x);
  return posterior_of(encoder_.mean, encoder_.logvar, h);
}

Tensor AtacBlockVae::decode(const Tensor& z) {
  return decoder_(z);
}

std::vector<NormBeforeLinear> AtacBlockVae::foldable() {
  std::vector<NormBeforeLinear> places;
  encoder_.modules.add_foldable(places, {&encoder_.mean, &encoder_.logvar});
  decoder_.modules.add_foldable(places, {&decoder_.output});
  return places;
}

}  // namespace panvae
