// Differences of means, feature by feature, with variances that borrow strength from all features: the moderated t of
// Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004), with an optional trend of the prior in the mean as in Law et al., Genome
// Biology 15 (2014), and Welch's t beside it. Numbers agree with limma 3.54 (lmFit, eBayes(trend =)) and R's t.test.
//
// With s2_g the residual variance of feature g on d degrees of freedom, G features:
//   e_g = log s2_g - digamma(d/2) + log(d/2)                 s2 floored at 1e-5 of its median (of the positive ones
//                                                            where the median is 0) for this step alone
//   without trend  em = mean e, ev = var e (n - 1)
//   with trend     em_g = regression of e on a natural cubic spline of the feature's mean with 4 degrees of freedom
//                  (3 below 30 features, 2 below 6, no trend below 3; knots at quantiles of type 7, boundary knots at the range),
//                  ev = RSS / (G - degrees of freedom)
//   v = ev - trigamma(d/2)
//   v > 0   d0 = 2 trigamma^-1(v),  s0^2 = exp(em + digamma(d0/2) - log(d0/2))
//   else    d0 infinite,            s0^2 = mean s2 without trend, exp(em_g) with it
//   posterior  s~2 = (d0 s0^2 + d s2) / (d0 + d),  t = effect / (u s~),  df = min(d + d0, G d)
// One-sample: u = 1/sqrt(n). Two-sample: pooled variance, d = n_a + n_b - 2, u = sqrt(1/n_a + 1/n_b).
//
// Where there is no variance: if s~ is 0, t is +-infinite and p 0 for an effect that is not 0 (a difference without any
// noise), and both are NaN (not testable, counted) for one that is 0.
#pragma once
#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

// Mean and sum of squared deviations of each feature, one sample after the other (Welford 1962): 16 bytes a feature,
// however many samples. The same samples in the same order give the same bits for any number of threads and any blocks.
struct Moments {
  explicit Moments(int64_t features) : mean(static_cast<size_t>(features), 0), m2(static_cast<size_t>(features), 0) {}
  int64_t n = 0;
  std::vector<double> mean, m2;

  int64_t features() const { return static_cast<int64_t>(mean.size()); }
  void add(const data::RowMatrix<double>& block);                                            // [samples, features]
  void add_differences(const data::RowMatrix<double>& a, const data::RowMatrix<double>& b);  // of b - a
  void append(const Moments& more);                                                          // other features of the same samples
  double variance(int64_t feature) const;                                                    // n - 1
};

struct DifferenceTest {
  std::vector<double> effect, t, p, fdr;  // NaN where not testable
  double residual_df = 0;                 // d; NaN for Welch, where each feature has its own
  double prior_df = 0;                    // d0, may be infinite; 0 for Welch
  double prior_variance = 0;              // s0^2; NaN with trend and for Welch
  int64_t untestable = 0;                 // features with NaN
  int64_t without_variance = 0;           // features whose residual variance is exactly 0
};

// Is the mean of each feature 0? For pairs: the moments of their differences. n >= 2.
DifferenceTest moderated_one_sample(const Moments& difference);
// mean(b) - mean(a); the groups share their variance. n_a + n_b >= 3, both >= 1.
DifferenceTest moderated_two_sample(const Moments& a, const Moments& b, bool trend);
// mean(b) - mean(a), each group with its own variance, Satterthwaite's degrees of freedom. Both n >= 2.
DifferenceTest welch(const Moments& a, const Moments& b);

// Benjamini and Hochberg, JRSS B 57 (1995): q_(i) = min over k >= i of min(1, m p_(k) / k), as R's p.adjust(, "BH").
// NaN stays NaN and does not count to m.
std::vector<double> benjamini_hochberg(const std::vector<double>& p);

// The prior of the variances, as above. `trend`: mean of each feature, or null.
struct VariancePrior {
  double df = 0;                 // d0
  std::vector<double> variance;  // s0^2: one value, or with trend one per feature
};
VariancePrior fit_variance_prior(const std::vector<double>& s2, double d, const std::vector<double>* trend);

}  // namespace panvae::eval
