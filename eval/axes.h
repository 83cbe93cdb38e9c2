// Canonical axes of a latent space. A variational autoencoder fixes its latent space only up to rotations of the prior:
// the single units mean nothing, and whoever reads columns one by one (a tree, a person) sees every factor smeared over
// all of them. The axes here are a linear change of basis, fitted on training samples without any label, after which
//   1. distances are those of the decoded data: coordinates are e = (mu - center) G^(1/2), G [Z, Z] the mean metric that
//      the decoder pulls back to the latent space, so |e - e'| is the distance of reconstructions to first order;
//   2. axes are the principal axes of e over the training samples, in order of decreasing variance;
//   3. the leading ones (at least `leading_share` of the variance each) are turned by varimax (Kaiser 1958, raw, over
//      samples) towards simple structure;
//   4. from the first on whose variance over samples is not above the mean posterior variance along it, axes hold what the
//      model itself calls noise, and are zero. The first axis stays even so: no embedding is all zeros.
// Steps 2 and 3 are rotations, so distances stay those of step 1 but for step 4.
#pragma once
#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

struct LatentAxes {
  Eigen::VectorXd center;       // [Z]
  data::RowMatrix<double> map;  // [Z, Z]: canonical = (mu - center) map; columns from `kept` on are zero
  int64_t informative = 0;      // axes that carry more than noise; 0: the posterior has collapsed, or training has hardly begun
  int64_t kept = 0;             // these, but at least one
  int64_t leading = 0;          // of those kept, turned by varimax
};

// mu [n, Z]: posterior means of the training samples, n >= 2; posterior_variance [Z]: their mean over these samples;
// metric [Z, Z]: symmetric, positive semidefinite. ErrorCode::input if mu or the metric is not finite.
LatentAxes fit_latent_axes(const data::RowMatrix<double>& mu, const Eigen::VectorXd& posterior_variance, const data::RowMatrix<double>& metric,
                           double leading_share = 0.01);

// The rotation T [k, k] that maximises the varimax criterion of scores T, scores [n, k] (fixed-point iteration on the
// polar factor, at most 200 rounds). For k < 2 the identity.
data::RowMatrix<double> varimax(const data::RowMatrix<double>& scores);

}  // namespace panvae::eval
