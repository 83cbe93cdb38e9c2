// Observed and reconstructed values for the tests of evaluate_expression.
#pragma once
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "eval/expression.h"
#include "tests/eval/helpers.h"

namespace panvae::eval::test {

using data::SampleSource;
using Matrix = data::RowMatrix<double>;
using Dataset = data::Dataset<double>;

inline Dataset logs(Matrix x) {
  Dataset d = dataset(std::move(x));
  d.kind = "log";
  return d;
}

// `n` samples of `g` features around means of their own, half in cohort A, half in B, every donor its own; and a
// reconstruction that shrinks towards the mean and shifts every tenth feature by 2.
struct Pair {
  Dataset observed, reconstructed;
};
inline Pair pair(int64_t n, int64_t g, uint32_t op = 1) {
  Matrix x = gaussian(n, g, op), noise = gaussian(n, g, op + 1);
  std::vector<std::string> cohort;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < g; ++j) x(i, j) += 5 + 2 * std::sin(static_cast<double>(j)) + (i % 2 ? std::cos(static_cast<double>(3 * j)) : 0);
    cohort.push_back(i % 2 ? "B" : "A");
  }
  Matrix y = 0.8 * x + 0.3 * noise;
  for (int64_t j = 0; j < g; ++j) y.col(j).array() += 0.2 * (5 + 2 * std::sin(static_cast<double>(j))) + (j % 10 == 0 ? 2 : 0);
  Pair p{logs(x), logs(y)};
  set_factor(p.observed.obs, "cohort", cohort);
  return p;
}

inline ExpressionResult evaluate(const Pair& p, const ExpressionOptions& o = {}) {
  return evaluate_expression(SampleSource(p.observed), SampleSource(p.reconstructed), o);
}

inline Dataset reordered(const Dataset& d, const std::vector<int64_t>& rows, const std::vector<int64_t>& columns) {
  Dataset out = d;
  out.obs = d.obs.select(rows);
  out.var = d.var.select(columns);
  out.x.resize(static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns.size()));
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = 0; j < columns.size(); ++j) out.x(static_cast<int64_t>(i), static_cast<int64_t>(j)) = d.x(rows[i], columns[j]);
  return out;
}

inline std::vector<int64_t> shuffled(int64_t n, uint64_t seed) {
  std::vector<int64_t> order = all_rows(n);
  PhiloxSequence g(PhiloxKey{seed, 0, 0});
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[g.below(i)]);
  return order;
}

inline std::string dumped(const ExpressionResult& r) {
  std::string text = to_json(r).dump();
  for (const auto* values : {&r.reconstruction.test.p, &r.reconstruction.test.fdr, &r.reconstruction.spearman_per_feature, &r.cohort_mean.test.p})
    for (double v : *values) text += fmt::format(" {}", v);
  return text;
}

}  // namespace panvae::eval::test
