// Do two groups of donors look alike? Ages by the two-sample test of Kolmogorov and Smirnov, factors (cohort, sex, ethnicity) by
// Pearson's chi-squared test of homogeneity. `panvae match` compares so the donors it has matched with all there are (SPEC X4).
//
//   D = max |F_a(x) - F_b(x)|, p = Q(D sqrt(n m / (n + m))), Q(t) = 2 sum_k (-1)^(k-1) exp(-2 k^2 t^2), the limiting law: as
//   ks.test(exact = FALSE) of R, whose series ends 1e-5 early; with ties (whole years) p is somewhat too large.
//   chi2 = sum (observed - expected)^2 / expected over 2 x K cells, K the levels that occur, p = P[chi2(K - 1) >= chi2]: as
//   chisq.test(correct = FALSE) of R. `low_cells` counts the expected values below 5, with which p is rough.
// Where one group is a part of the other, as matched donors are of all, the two are more alike than independent ones, and p is
// too large: it then measures how far apart they are and tests nothing.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/table.h"

namespace panvae::eval {

struct AgeComparison {
  int64_t n_a = 0, n_b = 0;                      // donors with an age
  double mean_a = 0, mean_b = 0, ks = 0, p = 0;  // NaN where a group has none
};
struct FactorComparison {
  std::string column;
  std::vector<std::string> levels;        // sorted, those that occur; one whatever its case, as it is spelt first
  std::vector<int64_t> count_a, count_b;  // donors, per level
  int64_t df = 0, low_cells = 0;
  double chi2 = 0, p = 0;  // NaN with fewer than two levels or an empty group
};
struct PopulationComparison {
  int64_t donors_a = 0, donors_b = 0;
  bool has_age = false;
  AgeComparison age;
  std::vector<FactorComparison> factors;  // of cohort, sex, ethnicity those that both tables have
};

// Rows of two tables of samples. A donor counts once, with the sample whose name comes first; missing values are left out.
PopulationComparison compare_populations(const data::Table& a, std::span<const int64_t> rows_a, const data::Table& b, std::span<const int64_t> rows_b);

AgeComparison compare_numbers(std::vector<double> a, std::vector<double> b);  // NaN is left out
Json to_json(const PopulationComparison& comparison);

}  // namespace panvae::eval
