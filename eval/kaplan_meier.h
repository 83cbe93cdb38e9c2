// Survival curves and what is built on them: Kaplan-Meier, the log-rank test, the Brier score of predicted curves.
#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

// The product-limit estimate (Kaplan and Meier, JASA 53, 1958), a row per distinct time, ascending:
//   survival        prod over times s <= t of 1 - d(s) / n(s)
//   standard_error  Greenwood: survival * sqrt(sum of d / (n (n - d))); NaN where survival is 0
//   lower, upper    95 %: exp(log(survival) -+ z * standard_error / survival), at most 1, as R's survfit does by default; NaN
//                   where survival is 0
// Patients censored at a time are still at risk of the events at that time.
struct KaplanMeier {
  std::vector<double> time;
  std::vector<int64_t> at_risk, events, censored;
  std::vector<double> survival, standard_error, lower, upper;
  double at(double t) const;  // 1 before the first time; stays at the last value after the last time
  // The first time at which survival is at most 1/2 (where it is 1/2 over a stretch, the middle of it, as R's); NaN if it
  // never is.
  double median() const;
};
// time [n] finite, event [n] 1 or 0. No rows give an empty curve.
KaplanMeier kaplan_meier(std::span<const double> time, std::span<const uint8_t> event);

// G, the probability of being still under observation: the product-limit estimate with censoring as the event. Those who
// die at a time leave before those censored at it: a factor 1 - c(t) / (n(t) - d(t)).
class CensoringDistribution {
 public:
  CensoringDistribution(std::span<const double> time, std::span<const uint8_t> event);
  double before(double t) const;  // G(t-): product over times s < t
  double at(double t) const;      // G(t): over s <= t. Both keep the last value after the last time.
  // The first time at which G is 0, infinity if it never is.
  double zero_from() const;

 private:
  std::vector<double> time_, value_;  // where patients are censored, ascending
};

// The log-rank test of k groups (Mantel, Cancer Chemotherapy Reports 50, 1966): observed less expected events with their
// hypergeometric variance, summed over times and strata; chi-square with as many degrees of freedom as groups with an
// expected event, less one. R's survdiff.
struct LogRank {
  std::vector<int64_t> n, observed;    // per group
  std::vector<double> expected;        // per group
  double chi_square = 0, p_value = 1;  // NaN where there are no degrees of freedom
  int degrees = 0;
};
// group [n] codes 0 to k-1; stratum [n] codes from 0, or empty.
LogRank log_rank(std::span<const double> time, std::span<const uint8_t> event, std::span<const int32_t> group, int32_t k,
                 std::span<const int32_t> stratum = {});

// The Brier score at each of `at` (Graf et al., Statistics in Medicine 18, 1999), patients weighted by the inverse
// probability of being observed:
//   1/n sum of S(t|i)^2 [T_i <= t, event] / G(T_i-) + (1 - S(t|i))^2 [T_i > t] / G(t)
// survival [n, times]: predicted. NaN where G is 0. Without censoring it is the mean squared error.
std::vector<double> brier_scores(std::span<const double> at, std::span<const double> time, std::span<const uint8_t> event,
                                 const data::RowMatrix<double>& survival, const CensoringDistribution& g);
// Its mean over time, by the trapezoid rule. At least two times, ascending.
double integrated_brier(std::span<const double> at, std::span<const double> scores);

// The quantile of R's type 7, numpy's default: linear between order statistics. NaN for no values.
double quantile(std::vector<double> values, double p);

}  // namespace panvae::eval
