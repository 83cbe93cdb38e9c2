#include "models/rna_vae.h"

namespace panvae {

RnaVae::Encoder::Encoder(const RnaVaeShape& s) : hidden(s.rows(), s.hidden, true, s.activation), mean(s.hidden, s.latent), logvar(s.hidden, s.latent) {
  declare_module("hidden", hidden);
  declare_module("mean", mean);
  declare_module("logvar", logvar);
}

RnaVae::Decoder::Decoder(const RnaVaeShape& s) : hidden(s.latent, s.hidden, true, s.activation), output(s.hidden, s.rows()) {
  declare_module("hidden", hidden);
  declare_module("output", output);
}

RnaVae::RnaVae(RnaVaeShape shape) : shape_(shape), encoder_(shape), decoder_(shape) {
  declare_module("encoder", encoder_);
  declare_module("decoder", decoder_);
}

Posterior RnaVae::encode(const Tensor& x) {
  const Tensor h = encoder_.hidden(x);
  return posterior_of(encoder_.mean, encoder_.logvar, h);
}

Tensor RnaVae::decoder_metric(const Tensor& z) {
  // Slope of each hidden unit, averaged over the samples: 1 where it is active, the activation's slope where not.
  Context& context = z.context();
  const std::vector<float> h = decoder_.hidden(z).host<float>();
  const int64_t samples = z.size(0), hidden = shape_.hidden;
  const double off = shape_.activation.activation == Activation::none ? 1.0 : shape_.activation.slope;
  std::vector<double> slope(static_cast<size_t>(hidden));
  for (size_t i = 0; i < h.size(); ++i) slope[i % static_cast<size_t>(hidden)] += (h[i] > 0 ? 1.0 : off) / static_cast<double>(samples);
  std::vector<float> scaled = decoder_.hidden.weight.host<float>();  // [hidden, latent]
  for (size_t i = 0; i < scaled.size(); ++i) scaled[i] = static_cast<float>(scaled[i] * slope[i / static_cast<size_t>(shape_.latent)]);
  const Tensor a = Tensor::from(context, {hidden, shape_.latent}, scaled);
  const Tensor gram = ops::matmul(decoder_.output.weight.detach(), decoder_.output.weight.detach(), true, false);  // [hidden, hidden]
  return ops::matmul(a, ops::matmul(gram, a), true, false);
}

Tensor RnaVae::decode(const Tensor& z) {
  return decoder_(z);
}

}  // namespace panvae
