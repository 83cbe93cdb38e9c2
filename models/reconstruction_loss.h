// The loss of a reconstruction.
#pragma once
#include "engine/ops/vae.h"
#include "models/vae.h"

namespace panvae {

// ops::huber_kl of model.decode(z) against target [R, features]; a sample of the posterior's batch B has R / B rows. Where the
// context fuses ops and the decoder ends in a linear layer, by ops::linear_huber_kl, which stores no reconstruction.
ops::VaeLoss reconstruction_loss(Vae& model, const Tensor& z, const Tensor& target, const Posterior& posterior, double huber_delta, double kl_weight);

}  // namespace panvae
