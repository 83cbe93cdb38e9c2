#include "models/coembed_losses.h"

#include <optional>

#include "engine/ops/arithmetic.h"
#include "engine/ops/linear.h"
#include "engine/ops/losses.h"

namespace panvae {

namespace {

// Mean binary cross-entropy against one label for all. That against 1 is that of -x against 0.
Tensor cross_entropy(const Tensor& logits, bool label) {
  const Tensor zeros = Tensor::zeros(logits.context(), logits.shape(), logits.dtype(), "labels");
  return ops::bce_with_logits(label ? ops::scale(logits, -1) : logits, zeros);
}

Tensor half_sum(const Tensor& a, const Tensor& b) {
  return ops::scale(ops::add(a, b), 0.5);
}

}  // namespace

DiscriminatorLoss discriminator_loss(Discriminator& discriminator, const Tensor& rna, const Tensor& atac) {
  DiscriminatorLoss out;
  out.rna_logits = discriminator(rna);
  out.atac_logits = discriminator(atac);
  out.loss = half_sum(cross_entropy(out.rna_logits, true), cross_entropy(out.atac_logits, false));
  return out;
}

Tensor generator_loss(Discriminator& discriminator, const Tensor& rna, const Tensor& atac, GeneratorLoss kind) {
  const Constant constant(discriminator);
  if (kind == GeneratorLoss::negative) return ops::scale(discriminator_loss(discriminator, rna, atac).loss, -1);
  return half_sum(cross_entropy(discriminator(rna), false), cross_entropy(discriminator(atac), true));
}

Tensor cycle_loss(Vae& to, const Tensor& z, CycleFreeze freeze) {
  const Tensor decoded = to.decode(freeze == CycleFreeze::encoders ? z.detach() : z);
  std::optional<Constant> constant;
  if (freeze == CycleFreeze::encoders) constant.emplace(to);
  return ops::mse(to.encode(decoded).mean, freeze == CycleFreeze::none ? z : z.detach());
}

Tensor pair_loss(const Tensor& rna, const Tensor& atac, const Tensor& weights) {
  PV_CHECK(rna.rank() == 2 && rna.shape() == atac.shape() && rna.count() > 0, "pair_loss: rna{} against atac{}", rna.shape().str(), atac.shape().str());
  PV_CHECK(weights.shape() == Shape{rna.size(0)}, "pair_loss: weights{} for {} pairs", weights.shape().str(), rna.size(0));
  const Tensor difference = ops::sub(rna, atac);
  const Tensor weighted = ops::matmul(weights.view({1, rna.size(0)}), ops::mul(difference, difference));  // [1, latent]
  return ops::scale(ops::sum(weighted), 1.0 / static_cast<double>(rna.count()));
}

}  // namespace panvae
