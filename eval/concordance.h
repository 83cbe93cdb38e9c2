// C-statistics: of two patients, does the one predicted to be at higher risk die first?
//
// A pair (i, j) is usable if i died and j is known to have lived longer: event_i and (T_i < T_j, or T_i = T_j and j censored).
// Two deaths at one time are not usable. It scores 1 if risk_i > risk_j, 1/2 if the risks are equal to within
// `tie_tolerance`, else 0; C is the weighted mean score.
//   Harrell (JAMA 247, 1982)                   every pair weighs 1. R's concordance(), lifelines, scikit-survival.
//   Uno (Statistics in Medicine 30, 2011)      G(T_i-)^-2, for T_i < tau: pairs count as if nobody were censored. G is the
//                                              Kaplan-Meier estimate of being under observation (eval/kaplan_meier.h).
// Others differ where deaths and losses share a time (scikit-survival #428): R's timewt = "n/G2" has G(T-), T <= ymax and G from
// the same patients (tau_inclusive); scikit-survival has G(T) of other patients (right).
// Strata: pairs within a stratum only, summed over strata; G stays that of all patients.
// O(n log n): patients by falling time, a Fenwick tree over the ranks of their risks. The result does not depend on the
// order of the patients.
#pragma once
#include <cstdint>
#include <limits>
#include <span>

#include "eval/kaplan_meier.h"

namespace panvae::eval {

struct ConcordanceOptions {
  const CensoringDistribution* censoring = nullptr;      // none: Harrell
  double tau = std::numeric_limits<double>::infinity();  // deaths from then on do not count
  bool tau_inclusive = false;                            // T_i <= tau in place of T_i < tau
  bool right = false;                                    // G(T_i) in place of G(T_i-)
  double tie_tolerance = 1e-8;
};

struct Concordance {
  double concordant = 0, discordant = 0, tied = 0;  // weights of usable pairs, by their score: 1, 0, 1/2
  int64_t pairs = 0;                                // usable
  int64_t tied_times = 0;                           // pairs of deaths at one time
  double c() const;                                 // in [0, 1]; NaN where there is no usable pair
};

// risk, time [n] finite; event [n] 1 or 0; stratum [n] codes, or empty: one. ErrorCode::input: a risk or time that is not
// finite; a death whose G is 0, naming tau.
Concordance concordance(std::span<const double> risk, std::span<const double> time, std::span<const uint8_t> event, std::span<const int32_t> stratum = {},
                        const ConcordanceOptions& options = {});

}  // namespace panvae::eval
