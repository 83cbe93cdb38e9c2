#include "models/rna_vae.h"

namespace panvae {

RnaVae::Encoder::Encoder(const RnaVaeShape& s) : hidden(s.genes, s.hidden, true, s.activation), mean(s.hidden, s.latent), logvar(s.hidden, s.latent) {
  declare_module("hidden", hidden);
  declare_module("mean", mean);
  declare_module("logvar", logvar);
}

RnaVae::Decoder::Decoder(const RnaVaeShape& s) : hidden(s.latent, s.hidden, true, s.activation), output(s.hidden, s.genes) {
  declare_module("hidden", hidden);
  declare_module("output", output);
}

RnaVae::RnaVae(RnaVaeShape shape) : shape_(shape), encoder_(shape), decoder_(shape) {
  declare_module("encoder", encoder_);
  declare_module("decoder", decoder_);
}

Posterior RnaVae::encode(const Tensor& x) {
  const Tensor h = encoder_.hidden(x);
  return {encoder_.mean(h), encoder_.logvar(h)};
}

Tensor RnaVae::decode(const Tensor& z) { return decoder_(z); }

}  // namespace panvae
