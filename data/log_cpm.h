// Counts to log2 counts per million, as edgeR defines them (Robinson, McCarthy & Smyth, Bioinformatics 2010), and TMM
// factors (Robinson & Oshlack, Genome Biology 2010). Formulas: docs/preprocessing.md.
#pragma once
#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace panvae::data {

// log2((c + p) / (L + 2 p) * 1e6) with p = prior_count * L / mean_library; L: effective library size of the sample.
struct LogCpm {
  double prior_count = 2, mean_library = 1;
  // out [n]; NaN counts (features that were not measured) stay NaN. In place is allowed where T is double.
  template <class T>
  void row(const T* counts, int64_t n, double library, double* out) const;
};

// Trimmed mean of M-values against one reference sample. Frozen, it gives a new sample the factor it would have had.
struct Tmm {
  std::vector<double> reference;  // counts of the reference sample [features]
  double reference_library = 0;
  double scale = 1;  // geometric mean of the training factors, which divides every factor

  // Raw counts of one sample in the reference's features (NaN: not measured) -> factor, before division by `scale`.
  double raw_factor(const double* counts, double library) const;
  double factor(const double* counts, double library) const { return raw_factor(counts, library) / scale; }
};

// Chooses the reference among `rows` (upper quartile of counts per library nearest to the mean of all; where the median quartile
// is 0, the largest sum of square roots of counts; the first of equals) and scales the factors of `rows` to a geometric mean of 1.
// x: counts [samples, features]; library [samples].
template <class Matrix>
Tmm fit_tmm(const Matrix& x, const std::vector<double>& library, const std::vector<int64_t>& rows);

}  // namespace panvae::data
