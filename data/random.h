// Samplers for simulation. Written out rather than taken from <random>, whose results differ between standard libraries.
#pragma once
#include <cmath>

#include "base/philox.h"

namespace panvae::data {

// Gamma(shape, scale 1): Marsaglia & Tsang, ACM TOMS 26 (2000); shapes below 1 by their boost.
inline double gamma_draw(PhiloxSequence& random, double shape) {
  if (shape < 1) return gamma_draw(random, shape + 1) * std::pow(1 - random.uniform(), 1 / shape);
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = random.normal(), v = 1 + c * x;
    if (v <= 0) continue;
    const double v3 = v * v * v, u = 1 - random.uniform();
    if (u < 1 - 0.0331 * x * x * x * x || std::log(u) < 0.5 * x * x + d * (1 - v3 + std::log(v3))) return d * v3;
  }
}

// Poisson(mean): by inversion below 10, else PTRS (Hoermann, Insurance: Mathematics and Economics 12, 1993).
inline double poisson_draw(PhiloxSequence& random, double mean) {
  if (!(mean > 0)) return 0;
  if (mean < 10) {
    double p = std::exp(-mean), u = random.uniform(), k = 0;
    while (u > p && k < 200) {
      u -= p;
      ++k;
      p *= mean / k;
    }
    return k;
  }
  const double b = 0.931 + 2.53 * std::sqrt(mean), a = -0.059 + 0.02483 * b, inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), v_r = 0.9277 - 3.6224 / (b - 2);
  for (;;) {
    const double u = random.uniform() - 0.5, v = 1 - random.uniform(), us = 0.5 - std::abs(u);
    const double k = std::floor((2 * a / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= v_r) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (std::log(v * inverse_alpha / (a / (us * us) + b)) <= k * std::log(mean) - mean - std::lgamma(k + 1)) return k;
  }
}

// Negative binomial with variance mean + dispersion * mean^2, as a Poisson of a Gamma.
inline double negative_binomial_draw(PhiloxSequence& random, double mean, double dispersion) {
  if (!(dispersion > 0)) return poisson_draw(random, mean);
  return poisson_draw(random, mean * dispersion * gamma_draw(random, 1 / dispersion));
}

}  // namespace panvae::data
