#include "eval/moderated_t.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/threads.h"
#include "eval/distributions.h"

namespace panvae::eval {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
constexpr int64_t kChunk = 1024;  // features per parallel piece: their moments stay in the first-level cache

double median(std::vector<double> values) {
  const size_t half = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(half), values.end());
  const double upper = values[half];
  if (values.size() % 2) return upper;
  return 0.5 * (upper + *std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(half)));
}

// R's quantile of type 7: linear between order statistics at (n - 1) q.
double quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1), low = std::floor(at);
  const auto i = static_cast<size_t>(low);
  return i + 1 < sorted.size() ? sorted[i] + (at - low) * (sorted[i + 1] - sorted[i]) : sorted[i];
}

// Fitted values of the regression of y on a natural cubic spline of x, and the residual sum of squares over its degrees
// of freedom. The basis 1, x, d_k - d_(K-1) (Hastie, Tibshirani, Friedman, Elements of Statistical Learning, 5.2.1) spans
// the same space as any other; here it is made orthogonal column by column, twice, so that its condition does not matter.
// Columns that add nothing (few distinct values of x) are left out.
struct SplineFit {
  std::vector<double> fitted;
  double variance = 0;
};
SplineFit fit_spline(const std::vector<double>& y, const std::vector<double>& x) {
  const size_t n = y.size();
  std::vector<double> sorted = x;
  std::sort(sorted.begin(), sorted.end());
  const double low = sorted.front(), range = sorted.back() - low;
  const int df = 1 + (n >= 3) + (n >= 6) + (n >= 30);
  std::vector<std::vector<double>> basis(1, std::vector<double>(n, 1.0));
  if (range > 0) {
    std::vector<double> knots;  // on [0, 1]
    for (int k = 0; k < df; ++k) knots.push_back((quantile(sorted, static_cast<double>(k) / std::max(1, df - 1)) - low) / range);
    std::vector<double> z(n);
    for (size_t i = 0; i < n; ++i) z[i] = (x[i] - low) / range;
    basis.push_back(z);
    const auto cube = [](double v) { return v > 0 ? v * v * v : 0.0; };
    const double last = knots.back(), before = knots[knots.size() - 2];
    for (size_t k = 0; k + 2 < knots.size(); ++k) {
      if (knots[k] >= before || before >= last) continue;
      std::vector<double> column(n);
      for (size_t i = 0; i < n; ++i)
        column[i] = (cube(z[i] - knots[k]) - cube(z[i] - last)) / (last - knots[k]) - (cube(z[i] - before) - cube(z[i] - last)) / (last - before);
      basis.push_back(std::move(column));
    }
  }
  SplineFit out{std::vector<double>(n, 0.0), 0};
  std::vector<double> residual = y;
  std::vector<const std::vector<double>*> kept;
  const auto dot = [n](const std::vector<double>& a, const std::vector<double>& b) {
    return std::inner_product(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin(), 0.0);
  };
  for (std::vector<double>& column : basis) {
    const double before = std::sqrt(dot(column, column));
    for (int pass = 0; pass < 2; ++pass)
      for (const auto* q : kept) {
        const double along = dot(*q, column);
        for (size_t i = 0; i < n; ++i) column[i] -= along * (*q)[i];
      }
    const double norm = std::sqrt(dot(column, column));
    if (!(norm > 1e-9 * before)) continue;
    for (double& v : column) v /= norm;
    const double along = dot(column, residual);
    for (size_t i = 0; i < n; ++i) residual[i] -= along * column[i];
    kept.push_back(&column);
  }
  for (size_t i = 0; i < n; ++i) out.fitted[i] = y[i] - residual[i];
  out.variance = n > kept.size() ? dot(residual, residual) / static_cast<double>(n - kept.size()) : 0;
  return out;
}

// t and p of every feature from its effect, standard error and degrees of freedom, then BH.
template <class Error, class Df>
void finish(DifferenceTest& r, Error&& standard_error, Df&& df) {
  const auto g = static_cast<int64_t>(r.effect.size());
  r.t.assign(r.effect.size(), kNaN);
  r.p.assign(r.effect.size(), kNaN);
  parallel_chunks(g, kChunk, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      const auto i = static_cast<size_t>(j);
      const double effect = r.effect[i], error = standard_error(i);
      if (error > 0) {
        r.t[i] = effect / error;
        r.p[i] = student_t_two_sided(r.t[i], df(i));
      } else if (error == 0 && effect != 0) {
        r.t[i] = std::copysign(kInfinity, effect);
        r.p[i] = 0;
      }
    }
  });
  for (double p : r.p) r.untestable += std::isnan(p);
  r.fdr = benjamini_hochberg(r.p);
}

DifferenceTest moderated(std::vector<double> effect, const std::vector<double>& s2, double d, double u, const std::vector<double>* trend) {
  DifferenceTest r;
  r.effect = std::move(effect);
  for (double v : s2) r.without_variance += v == 0;
  const VariancePrior prior = fit_variance_prior(s2, d, trend);
  r.residual_df = d;
  r.prior_df = prior.df;
  r.prior_variance = prior.variance.size() == 1 ? prior.variance.front() : kNaN;
  const double df = std::min(d + prior.df, static_cast<double>(s2.size()) * d);
  finish(
      r,
      [&](size_t i) {
        const double s0 = prior.variance[prior.variance.size() == 1 ? 0 : i];
        return u * std::sqrt(std::isinf(prior.df) ? s0 : (prior.df * s0 + d * s2[i]) / (prior.df + d));
      },
      [&](size_t) { return df; });
  return r;
}

// value_of(row)(feature) is what is added.
template <class F>
void add_rows(Moments& m, int64_t rows, F&& value_of) {
  parallel_chunks(m.features(), kChunk, [&](int64_t begin, int64_t end) {
    double *mean = m.mean.data(), *m2 = m.m2.data();
    for (int64_t r = 0; r < rows; ++r) {
      const auto value = value_of(r);
      const double share = 1 / static_cast<double>(m.n + r + 1);
      for (int64_t j = begin; j < end; ++j) {
        const double x = value(j), off = x - mean[j];
        mean[j] += off * share;
        m2[j] += off * (x - mean[j]);
      }
    }
  });
  m.n += rows;
}

std::vector<double> differences(const Moments& a, const Moments& b) {
  std::vector<double> out(a.mean.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = b.mean[i] - a.mean[i];
  return out;
}

}  // namespace

void Moments::add(const data::RowMatrix<double>& block) {
  PV_CHECK(block.cols() == features(), "moments: {} features, {} before", block.cols(), features());
  add_rows(*this, block.rows(), [&](int64_t r) { return [x = block.data() + r * block.cols()](int64_t j) { return x[j]; }; });
}

void Moments::add_differences(const data::RowMatrix<double>& a, const data::RowMatrix<double>& b) {
  PV_CHECK(a.rows() == b.rows() && a.cols() == features() && b.cols() == features(), "moments: differences of [{}, {}] and [{}, {}], {} features", a.rows(),
           a.cols(), b.rows(), b.cols(), features());
  add_rows(*this, a.rows(), [&](int64_t r) { return [x = a.data() + r * a.cols(), y = b.data() + r * b.cols()](int64_t j) { return y[j] - x[j]; }; });
}

void Moments::append(const Moments& more) {
  PV_CHECK(features() == 0 || n == more.n, "moments: {} samples, {} before", more.n, n);
  n = more.n;
  mean.insert(mean.end(), more.mean.begin(), more.mean.end());
  m2.insert(m2.end(), more.m2.begin(), more.m2.end());
}

double Moments::variance(int64_t feature) const {
  return n > 1 ? m2[static_cast<size_t>(feature)] / static_cast<double>(n - 1) : kNaN;
}

VariancePrior fit_variance_prior(const std::vector<double>& s2, double d, const std::vector<double>* trend) {
  PV_CHECK(d > 0, "variance prior: {} degrees of freedom", d);
  PV_CHECK(!trend || trend->size() == s2.size(), "variance prior: {} variances, {} means", s2.size(), trend ? trend->size() : 0);
  VariancePrior prior;
  const size_t n = s2.size();
  if (n == 0) return prior;
  // A line needs two points and one more to be a trend.
  if (trend && (n < 3 || std::equal(trend->begin() + 1, trend->end(), trend->begin()))) trend = nullptr;
  double floor = 1e-5 * median(s2);
  if (floor == 0) {
    std::vector<double> positive;
    std::copy_if(s2.begin(), s2.end(), std::back_inserter(positive), [](double v) { return v > 0; });
    if (positive.empty()) {  // nothing varies: nothing to borrow
      prior.variance = {0.0};
      return prior;
    }
    floor = 1e-5 * median(std::move(positive));
  }
  std::vector<double> e(n);
  const double offset = std::log(0.5 * d) - digamma(0.5 * d);
  for (size_t i = 0; i < n; ++i) e[i] = std::log(std::max(s2[i], floor)) + offset;
  std::vector<double> location;
  double spread = 0;
  if (trend) {
    SplineFit fit = fit_spline(e, *trend);
    location = std::move(fit.fitted);
    spread = fit.variance;
  } else {
    const double mean = std::accumulate(e.begin(), e.end(), 0.0) / static_cast<double>(n);
    for (double v : e) spread += (v - mean) * (v - mean);
    spread = n > 1 ? spread / static_cast<double>(n - 1) : 0;
    location = {mean};
  }
  const double between = spread - trigamma(0.5 * d);
  if (between > 0) {
    prior.df = 2 * trigamma_inverse(between);
    const double shift = digamma(0.5 * prior.df) - std::log(0.5 * prior.df);
    for (double& v : location) v = std::exp(v + shift);
    prior.variance = std::move(location);
  } else {
    prior.df = kInfinity;
    if (trend) {
      for (double& v : location) v = std::exp(v);
      prior.variance = std::move(location);
    } else {
      prior.variance = {std::accumulate(s2.begin(), s2.end(), 0.0) / static_cast<double>(n)};
    }
  }
  return prior;
}

DifferenceTest moderated_one_sample(const Moments& difference) {
  PV_CHECK(difference.n >= 2, "moderated_one_sample: {} samples, at least 2 are needed", difference.n);
  std::vector<double> s2(difference.mean.size());
  for (size_t i = 0; i < s2.size(); ++i) s2[i] = difference.variance(static_cast<int64_t>(i));
  return moderated(difference.mean, s2, static_cast<double>(difference.n - 1), 1 / std::sqrt(static_cast<double>(difference.n)), nullptr);
}

DifferenceTest moderated_two_sample(const Moments& a, const Moments& b, bool trend) {
  PV_CHECK(a.features() == b.features(), "moderated_two_sample: groups of {} and {} features", a.features(), b.features());
  PV_CHECK(a.n >= 1 && b.n >= 1 && a.n + b.n >= 3, "moderated_two_sample: groups of {} and {} samples, three in all are needed", a.n, b.n);
  const double na = static_cast<double>(a.n), nb = static_cast<double>(b.n), d = na + nb - 2;
  std::vector<double> s2(a.mean.size()), mean(trend ? a.mean.size() : 0);
  for (size_t i = 0; i < s2.size(); ++i) s2[i] = (a.m2[i] + b.m2[i]) / d;
  for (size_t i = 0; i < mean.size(); ++i) mean[i] = (na * a.mean[i] + nb * b.mean[i]) / (na + nb);
  return moderated(differences(a, b), s2, d, std::sqrt(1 / na + 1 / nb), trend ? &mean : nullptr);
}

DifferenceTest welch(const Moments& a, const Moments& b) {
  PV_CHECK(a.features() == b.features(), "welch: groups of {} and {} features", a.features(), b.features());
  PV_CHECK(a.n >= 2 && b.n >= 2, "welch: groups of {} and {} samples, at least 2 each are needed", a.n, b.n);
  const double na = static_cast<double>(a.n), nb = static_cast<double>(b.n);
  DifferenceTest r;
  r.effect = differences(a, b);
  r.residual_df = r.prior_variance = kNaN;
  for (size_t i = 0; i < r.effect.size(); ++i) r.without_variance += a.m2[i] == 0 && b.m2[i] == 0;
  const auto share = [](const Moments& m, double n, size_t i) { return m.variance(static_cast<int64_t>(i)) / n; };
  finish(
      r, [&](size_t i) { return std::sqrt(share(a, na, i) + share(b, nb, i)); },
      [&](size_t i) {
        // In shares of the sum, whose squares cannot vanish.
        const double va = share(a, na, i), vb = share(b, nb, i), fa = va / (va + vb), fb = vb / (va + vb);
        return 1 / (fa * fa / (na - 1) + fb * fb / (nb - 1));
      });
  return r;
}

std::vector<double> benjamini_hochberg(const std::vector<double>& p) {
  std::vector<std::pair<double, size_t>> sorted;
  sorted.reserve(p.size());
  for (size_t i = 0; i < p.size(); ++i)
    if (!std::isnan(p[i])) sorted.emplace_back(p[i], i);
  std::sort(sorted.begin(), sorted.end());
  std::vector<double> q(p.size(), kNaN);
  const auto m = static_cast<double>(sorted.size());
  double least = 1;
  for (size_t k = sorted.size(); k-- > 0;) {
    least = std::min(least, m / static_cast<double>(k + 1) * sorted[k].first);
    q[sorted[k].second] = least;
  }
  return q;
}

}  // namespace panvae::eval
