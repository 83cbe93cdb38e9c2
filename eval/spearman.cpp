#include "eval/spearman.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/threads.h"

namespace panvae::eval {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void check_shapes(const data::RowMatrix<double>& a, const data::RowMatrix<double>& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols())
    fail_input(fmt::format("matrices of [{}, {}] and [{}, {}] cannot be compared", a.rows(), a.cols(), b.rows(), b.cols()), {},
               "bring them to the same samples and features");
  for (const auto* m : {&a, &b})
    for (Eigen::Index i = 0; i < m->rows(); ++i)
      for (Eigen::Index j = 0; j < m->cols(); ++j)
        if (!std::isfinite((*m)(i, j)))
          fail_input(fmt::format("the value is {}", (*m)(i, j)),
                     fmt::format("{} matrix, sample {}, feature {} (from 1)", m == &a ? "first" : "second", i + 1, j + 1), "ranks need finite values");
}

// pair(i, a, b) fills the two vectors of item i.
template <class F>
Correlations correlate(int64_t items, int64_t length, F&& pair) {
  Correlations out;
  out.value.assign(static_cast<size_t>(items), kNaN);
  // In slices, between which Ctrl-C is heard: nothing may throw inside the parallel loop.
  constexpr int64_t kSlice = 4096;
  for (int64_t first = 0; first < items; first += kSlice) {
    throw_if_interrupted();
    parallel_chunks(std::min(kSlice, items - first), 16, [&](int64_t begin, int64_t end) {
      std::vector<double> x(static_cast<size_t>(length)), y(static_cast<size_t>(length));
      for (int64_t i = first + begin; i < first + end; ++i) {
        pair(i, x, y);
        out.value[static_cast<size_t>(i)] = spearman(x, y);
      }
    });
  }
  double sum = 0;
  for (double v : out.value) {
    if (std::isnan(v)) ++out.undefined;
    else sum += v;
  }
  const int64_t defined = items - out.undefined;
  out.mean = defined ? sum / static_cast<double>(defined) : kNaN;
  return out;
}

}  // namespace

std::vector<double> average_ranks(std::span<const double> values) {
  const size_t n = values.size();
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) { return values[i] < values[j]; });
  std::vector<double> rank(n);
  for (size_t first = 0; first < n;) {
    size_t last = first + 1;
    while (last < n && values[order[last]] == values[order[first]]) ++last;
    const double average = 0.5 * static_cast<double>(first + 1 + last);  // mean of first+1 .. last
    for (size_t k = first; k < last; ++k) rank[order[k]] = average;
    first = last;
  }
  return rank;
}

double spearman(std::span<const double> a, std::span<const double> b) {
  PV_CHECK(a.size() == b.size(), "spearman: vectors of {} and {}", a.size(), b.size());
  const size_t n = a.size();
  const std::vector<double> x = average_ranks(a), y = average_ranks(b);
  const double mean = 0.5 * static_cast<double>(n + 1);  // whatever the ties
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < n; ++i) {
    const double u = x[i] - mean, v = y[i] - mean;
    xx += u * u;
    yy += v * v;
    xy += u * v;
  }
  if (xx == 0 || yy == 0) return kNaN;
  return std::clamp(xx == yy ? xy / xx : xy / (std::sqrt(xx) * std::sqrt(yy)), -1.0, 1.0);
}

Correlations spearman_rows(const data::RowMatrix<double>& a, const data::RowMatrix<double>& b) {
  check_shapes(a, b);
  return correlate(a.rows(), a.cols(), [&](int64_t i, std::vector<double>& x, std::vector<double>& y) {
    std::copy_n(a.data() + i * a.cols(), a.cols(), x.begin());
    std::copy_n(b.data() + i * b.cols(), b.cols(), y.begin());
  });
}

Correlations spearman_columns(const data::RowMatrix<double>& a, const data::RowMatrix<double>& b) {
  check_shapes(a, b);
  return correlate(a.cols(), a.rows(), [&](int64_t j, std::vector<double>& x, std::vector<double>& y) {
    for (int64_t i = 0; i < a.rows(); ++i) x[static_cast<size_t>(i)] = a(i, j), y[static_cast<size_t>(i)] = b(i, j);
  });
}

}  // namespace panvae::eval
