// What a trained model makes of samples, in evaluation mode: a sample's numbers are the same alone or among others.
#pragma once
#include <vector>

#include "engine/batch_source.h"
#include "models/vae.h"

namespace panvae {

// Posterior means, and where asked for log-variances, of all samples of `source` in batches: row-major [samples, latent].
struct Posteriors {
  std::vector<float> mean, logvar;
};
Posteriors posteriors(Context& context, Vae& model, BatchSource& source, bool with_logvar = false, int64_t batch_size = 128);
// What the model decodes from latents z [samples, latent] in host memory: row-major [samples, features]. From the posterior means
// of the model itself reconstructions; from those of another modality in the same space, imputations.
std::vector<float> decodings(Context& context, Vae& model, const float* z, int64_t samples, int64_t batch_size = 128);

}  // namespace panvae
