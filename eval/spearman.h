// Spearman correlation (SPEC E12): the Pearson correlation of ranks, ties given the average of their ranks, as scipy's
// spearmanr and R's cor(method = "spearman") compute it.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

// Ranks 1 to n, ties averaged (R: rank(ties.method = "average")). O(n log n). Values must not be NaN.
std::vector<double> average_ranks(std::span<const double> values);

// In [-1, 1]; NaN where one of the two is constant or shorter than two, for which no correlation is defined. Sums of
// ranks are exact in doubles up to n = 300,000, so equal orders give exactly 1.
double spearman(std::span<const double> a, std::span<const double> b);

// The same from the ranks of the two, as average_ranks() gives them.
double spearman_of_ranks(std::span<const double> a, std::span<const double> b);

struct Correlations {
  std::vector<double> value;  // one per row or column; NaN where undefined
  double mean = 0;            // of the defined ones; NaN if there is none
  int64_t undefined = 0;      // constant in one of the matrices
};
// Rows (samples, across features) and columns (features, across samples) of two matrices of one shape, in parallel. The
// result does not depend on the number of threads. ErrorCode::input: shapes that differ, values that are not finite.
Correlations spearman_rows(const data::RowMatrix<double>& a, const data::RowMatrix<double>& b);
Correlations spearman_columns(const data::RowMatrix<double>& a, const data::RowMatrix<double>& b);

}  // namespace panvae::eval
