#include "data/log_cpm.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/threads.h"
#include "data/large_dataset.h"
#include "data/quantile.h"

namespace panvae::data {

template <class T>
void LogCpm::row(const T* counts, int64_t n, double library, double* out) const {
  const double prior = prior_count * library / mean_library;
  const double shift = std::log2(1e6 / (library + 2 * prior));
  for (int64_t i = 0; i < n; ++i) out[i] = std::log2(static_cast<double>(counts[i]) + prior) + shift;
}
template void LogCpm::row(const float*, int64_t, double, double*) const;
template void LogCpm::row(const double*, int64_t, double, double*) const;

double Tmm::raw_factor(const double* counts, double library) const {
  // M and A of features with counts in both samples; others have no finite ratio (a prior of none).
  std::vector<double> m, a, weight;
  double largest = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double y = counts[i], r = reference[i];
    if (!(y > 0) || !(r > 0)) continue;
    // The ratio first, then its logarithm: small counts tie often, and ties must stay ties for the trimming by ranks.
    m.push_back(std::log2((y / library) / (r / reference_library)));
    a.push_back((std::log2(y / library) + std::log2(r / reference_library)) / 2);
    // Inverse of the variance of M by the delta method for binomial counts.
    weight.push_back(1 / ((library - y) / library / y + (reference_library - r) / reference_library / r));
    largest = std::max(largest, std::abs(m.back()));
  }
  if (m.empty() || largest < 1e-6) return 1;
  const auto n = static_cast<double>(m.size());
  const double low_m = std::floor(n * 0.3) + 1, high_m = n + 1 - low_m, low_a = std::floor(n * 0.05) + 1, high_a = n + 1 - low_a;
  std::vector<double> rank_m(m.size()), rank_a(m.size());
  average_ranks(m.data(), static_cast<int64_t>(m.size()), rank_m.data());
  average_ranks(a.data(), static_cast<int64_t>(a.size()), rank_a.data());
  double sum = 0, weights = 0;
  for (size_t i = 0; i < m.size(); ++i) {
    if (rank_m[i] < low_m || rank_m[i] > high_m || rank_a[i] < low_a || rank_a[i] > high_a) continue;
    sum += m[i] * weight[i];
    weights += weight[i];
  }
  return weights > 0 && std::isfinite(sum / weights) ? std::exp2(sum / weights) : 1;
}

template <class Matrix>
Tmm fit_tmm(const Matrix& x, const std::vector<double>& library, const std::vector<int64_t>& rows) {
  const int64_t g = x.cols(), n = static_cast<int64_t>(rows.size());
  std::vector<double> upper(static_cast<size_t>(n));
  parallel_chunks(n, 4, [&](int64_t begin, int64_t end) {
    std::vector<double> sorted(static_cast<size_t>(g));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t r = rows[static_cast<size_t>(i)];
      std::copy(x.data() + r * g, x.data() + (r + 1) * g, sorted.begin());
      release_rows(x, r, r + 1);
      std::sort(sorted.begin(), sorted.end());
      // Quantile of type 7 (R's default).
      const double at = 0.75 * static_cast<double>(g - 1);
      const auto k = static_cast<size_t>(at);
      const double next = sorted[std::min(k + 1, static_cast<size_t>(g - 1))];
      upper[static_cast<size_t>(i)] = (sorted[k] + (at - static_cast<double>(k)) * (next - sorted[k])) / library[static_cast<size_t>(r)];
    }
  });
  const double mean = std::accumulate(upper.begin(), upper.end(), 0.0) / static_cast<double>(n);
  int64_t best = 0;
  std::vector<double> sorted = upper;
  std::sort(sorted.begin(), sorted.end());
  const auto half = static_cast<size_t>(n / 2);
  const double median = n % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  if (median >= 1e-20) {
    for (int64_t i = 1; i < n; ++i)
      if (std::abs(upper[static_cast<size_t>(i)] - mean) < std::abs(upper[static_cast<size_t>(best)] - mean)) best = i;
  } else {
    // So sparse that three quarters of the features are zero in most samples, whose quartile says nothing: the sample with most to compare.
    double most = -1;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t r = rows[static_cast<size_t>(i)];
      const double s = x.row(r).template cast<double>().cwiseSqrt().sum();
      release_rows(x, r, r + 1);
      if (s > most) most = s, best = i;
    }
  }
  Tmm tmm;
  const int64_t reference = rows[static_cast<size_t>(best)];
  tmm.reference.assign(x.data() + reference * g, x.data() + (reference + 1) * g);
  tmm.reference_library = library[static_cast<size_t>(reference)];
  std::vector<double> logs(static_cast<size_t>(n));
  parallel_chunks(n, 4, [&](int64_t begin, int64_t end) {
    std::vector<double> counts(static_cast<size_t>(g));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t r = rows[static_cast<size_t>(i)];
      std::copy(x.data() + r * g, x.data() + (r + 1) * g, counts.begin());
      release_rows(x, r, r + 1);
      logs[static_cast<size_t>(i)] = std::log(tmm.raw_factor(counts.data(), library[static_cast<size_t>(r)]));
    }
  });
  tmm.scale = std::exp(std::accumulate(logs.begin(), logs.end(), 0.0) / static_cast<double>(n));
  return tmm;
}
template Tmm fit_tmm(const RowMatrix<float>&, const std::vector<double>&, const std::vector<int64_t>&);
template Tmm fit_tmm(const RowMatrix<double>&, const std::vector<double>&, const std::vector<int64_t>&);
template Tmm fit_tmm(const LargeMatrix<float>&, const std::vector<double>&, const std::vector<int64_t>&);

}  // namespace panvae::data
