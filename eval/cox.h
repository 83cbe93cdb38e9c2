// Cox proportional hazards: which linear predictor orders the patients by their hazard.
//
// With eta_i = x_i b and w_i = exp(eta_i), the partial log-likelihood (Cox, JRSS B 34, 1972) with Efron's treatment of ties
// (JASA 72, 1977): at each time with m events D among those at risk R,
//   l(b) = sum over times of [ sum_D eta - sum_{k<m} log(S_R - k/m S_D) ],   S_A = sum of w over A,
// a sum over strata where there are any. Breslow's has k = 0 throughout. The penalty is p(b) = sum_j penalty_j / 2 b_j^2, of the
// columns as they are given: R's ridge(x, theta, scale = FALSE) is penalty = theta, scikit-survival's alpha the same.
// l - p is maximised by Newton steps, halved until they do not make it worse, until |1 - l_new / l_old| < tolerance (or l
// changes by less than that where it is below 1), and then on until the steps are small, so that coefficients do not depend on the tolerance.
//
// With c_i the events' weights summed over the times at which i is at risk and M [events, d] the means of x over the risk
// sets, the information is X^T diag(w c) X - M^T M: two products in place of a d x d update at each event. O(n d^2 + d^3) per
// step, O(n d) memory. Sums over a risk set are kept relative to the largest weight in it: no spread of eta makes them 0 or infinite.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

struct CoxOptions {
  std::vector<double> penalty;  // [d], each >= 0, or empty: none
  bool breslow = false;         // Breslow's ties instead of Efron's
  int max_iterations = 60;
  double tolerance = 1e-9;
};

struct CoxFit {
  Eigen::VectorXd coefficient;  // [d], per unit of the column; 0 where dropped
  // [d]: square roots of the diagonal of (information + penalty)^-1, NaN where dropped. With a penalty R calls these se, from
  // its `var`; they describe the penalised estimate's curvature, not its error about an unbiased one.
  Eigen::VectorXd standard_error;
  Eigen::VectorXd mean;       // [d], of the rows fitted on: the linear predictor is (x - mean) coefficient
  double loglik_null = 0;     // l(0)
  double loglik = 0;          // l(b), without the penalty
  double penalty = 0;         // p(b)
  int64_t n = 0, events = 0;  // rows, and events among them
  int iterations = 0;
  bool converged = false;  // else the likelihood still rose after max_iterations
  // Columns left out, ascending. constant: one value in all rows. aliased: a linear combination of the columns before it
  // among the patients ever at risk, up to a constant in each stratum; penalised columns never are, the penalty decides.
  std::vector<int64_t> constant, aliased;
  // Columns whose coefficient went on growing while the likelihood no longer did (monotone likelihood: some value is had by
  // no patient who died, say). The maximum is at infinity; the coefficient is where the search stopped.
  std::vector<int64_t> diverging;
  int64_t rank() const { return coefficient.size() - static_cast<int64_t>(constant.size() + aliased.size()); }
};

// time [n] >= 0 is not asked for, only finite; event [n] 1 or 0; x [n, d]; stratum [n] codes from 0, or empty: one stratum.
// ErrorCode::input: no event, values that are not finite (naming row and column, from 1).
CoxFit fit_cox(std::span<const double> time, std::span<const uint8_t> event, const data::RowMatrix<double>& x, std::span<const int32_t> stratum = {},
               const CoxOptions& options = {});

// The linear predictor of each row: (x - mean) coefficient. [n, d] -> [n]. The higher, the earlier the death.
std::vector<double> linear_predictor(const CoxFit& fit, const data::RowMatrix<double>& x);

// l(b) alone, for any b [d]; gradient [d] and information [d, d] of l where asked for, penalty apart. What the tests check.
double cox_loglik(std::span<const double> time, std::span<const uint8_t> event, const data::RowMatrix<double>& x, std::span<const int32_t> stratum,
                  const Eigen::VectorXd& b, bool breslow = false, Eigen::VectorXd* gradient = nullptr, Eigen::MatrixXd* information = nullptr);

// The cumulative baseline hazard H0 of each stratum, at the mean of x: a patient's survival is S(t | x) = exp(-H0(t) exp(eta)),
// eta = (x - mean) b. Its steps are sum_{k<m} 1 / (S_R - k/m S_D), those of the likelihood's ties. Its logarithm, since neither factor
// need be a number where the predictors are far from 0: S(t | x) = exp(-exp(log H0(t) + eta)).
struct BaselineHazard {
  struct Steps {
    std::vector<double> time, log_cumulative;  // ascending
    double log_at(double t) const;             // -infinity before the first step
    double at(double t) const;                 // H0(t), which may be beyond the range of doubles
  };
  std::vector<Steps> strata;  // by code
};
BaselineHazard baseline_hazard(const CoxFit& fit, std::span<const double> time, std::span<const uint8_t> event, const data::RowMatrix<double>& x,
                               std::span<const int32_t> stratum = {}, bool breslow = false);

}  // namespace panvae::eval
