// The terms that make one space of two (SPEC L4 to L7), on posterior means z [B, latent]. Each is one number, [1]. Batches of
// the two modalities may differ in size.
#pragma once
#include "models/discriminator.h"
#include "models/vae.h"

namespace panvae {

// The discriminator's binary cross-entropy, RNA being 1 and ATAC 0: the mean of both modalities' means, so that they count
// alike. Embeddings enter as they are: detach them to teach the discriminator alone.
struct DiscriminatorLoss {
  Tensor loss;
  Tensor rna_logits, atac_logits;  // [B, 1]
};
DiscriminatorLoss discriminator_loss(Discriminator& discriminator, const Tensor& rna, const Tensor& atac);

// What the encoders are taught against it; the discriminator's weights are constants.
//   flipped    its loss with the labels exchanged: strong gradients where it is sure (the non-saturating loss)
//   negative   its loss times -1, the paper's "opposite" to the letter
enum class GeneratorLoss { flipped, negative };
Tensor generator_loss(Discriminator& discriminator, const Tensor& rna, const Tensor& atac, GeneratorLoss kind);

// Cycle consistency of one direction: mean squared difference, over samples and latents, between z = E_from(x) and
// E_to(D_to(z)). What is learned from it:
//   encoders   E_from(x) and the weights of E_to are constants: D_to alone
//   target     only the left-hand z is a constant: E_from, through D_to, and E_to learn too
//   none       nothing is: z is moved towards its image as well
enum class CycleFreeze { encoders, target, none };
Tensor cycle_loss(Vae& to, const Tensor& z, CycleFreeze freeze);

// Matched pairs: 1 / (P latent) sum over pairs of w_i |rna_i - atac_i|^2; rna and atac [P, latent], weights [P] of their type.
Tensor pair_loss(const Tensor& rna, const Tensor& atac, const Tensor& weights);

}  // namespace panvae
