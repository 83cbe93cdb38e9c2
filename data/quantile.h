// Quantile normalisation with averaged ties and missing values (Bolstad et al., Bioinformatics 2003; the treatment of
// ties and missing values is that of limma's normalizeQuantiles, as docs/preprocessing.md states it).
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

namespace panvae::data {

// Ranks 1..n, ties averaged. NaN ranks NaN and does not count.
void average_ranks(const double* values, int64_t n, double* ranks);

class QuantileReference {
 public:
  QuantileReference() = default;
  explicit QuantileReference(std::vector<double> quantiles) : quantiles_(std::move(quantiles)) {}

  // The mean over samples of their sorted values. `row(i, out)` delivers sample i [features]; it is called from several
  // threads. A sample with missing values enters by its interpolated quantiles. The result does not depend on threads.
  static QuantileReference fit(int64_t samples, int64_t features, const std::function<void(int64_t, double*)>& row);

  // Maps one sample onto the reference, in place: rank -> position (rank - 1) / (m - 1) among its m values -> quantile.
  // NaN stays NaN.
  void map(double* values) const;

  int64_t features() const { return static_cast<int64_t>(quantiles_.size()); }
  const std::vector<double>& quantiles() const { return quantiles_; }

 private:
  double at(double position) const;  // position in [0, 1]
  std::vector<double> quantiles_;    // ascending
};

}  // namespace panvae::data
