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
Posteriors posteriors(Context& context, Vae& model, BatchSource& source, bool with_logvar = false, int64_t batch_size = 64);
// What `to` decodes from the posterior means of `from`, row-major [samples, features of `to`]: one modality imputed from the
// other, where both share a space.
std::vector<float> translations(Context& context, Vae& from, Vae& to, BatchSource& source, int64_t batch_size = 64);
// Reconstructions from the posterior mean, row-major [samples, features], in the units of the source.
std::vector<float> reconstructions(Context& context, Vae& model, BatchSource& source, int64_t batch_size = 64);

}  // namespace panvae
