#include "eval/kaplan_meier.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/error.h"
#include "eval/distributions.h"

namespace panvae::eval {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Deaths and losses at one time.
struct Counts {
  double time;
  int64_t deaths, lost;
};

// Distinct times, ascending.
std::vector<Counts> counts_of(std::span<const double> time, std::span<const uint8_t> event) {
  PV_CHECK(time.size() == event.size(), "survival: {} times, {} events", time.size(), event.size());
  std::vector<size_t> order(time.size());
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = 0; i < time.size(); ++i)
    if (!std::isfinite(time[i])) fail_input(fmt::format("the time is {}", time[i]), fmt::format("row {} (from 1)", i + 1), "times must be finite");
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return time[a] < time[b]; });
  std::vector<Counts> out;
  for (size_t i : order) {
    if (out.empty() || time[i] != out.back().time) out.push_back({time[i], 0, 0});
    ++(event[i] ? out.back().deaths : out.back().lost);
  }
  return out;
}

}  // namespace

KaplanMeier kaplan_meier(std::span<const double> time, std::span<const uint8_t> event) {
  KaplanMeier km;
  auto left = static_cast<int64_t>(time.size());
  double survival = 1, greenwood = 0;
  constexpr double z = 1.959963984540054;  // of 97.5 %
  for (const Counts& c : counts_of(time, event)) {
    const double n = static_cast<double>(left), d = static_cast<double>(c.deaths);
    survival *= 1 - d / n;
    if (c.deaths == left) survival = 0;
    greenwood += d / (n * (n - d));
    const double relative = std::sqrt(greenwood);
    km.time.push_back(c.time);
    km.at_risk.push_back(left);
    km.events.push_back(c.deaths);
    km.censored.push_back(c.lost);
    km.survival.push_back(survival);
    km.standard_error.push_back(survival > 0 ? survival * relative : kNaN);
    km.lower.push_back(survival > 0 ? survival * std::exp(-z * relative) : kNaN);
    km.upper.push_back(survival > 0 ? std::min(1.0, survival * std::exp(z * relative)) : kNaN);
    left -= c.deaths + c.lost;
  }
  return km;
}

double KaplanMeier::at(double t) const {
  const auto after = std::upper_bound(time.begin(), time.end(), t) - time.begin();
  return after == 0 ? 1 : survival[static_cast<size_t>(after - 1)];
}

double KaplanMeier::median() const {
  constexpr double tolerance = 1e-12;  // of products of fractions that make exactly 1/2
  for (size_t i = 0; i < time.size(); ++i) {
    if (survival[i] > 0.5 + tolerance) continue;
    if (survival[i] < 0.5 - tolerance) return time[i];
    for (size_t k = i + 1; k < time.size(); ++k)
      if (survival[k] < 0.5 - tolerance) return 0.5 * (time[i] + time[k]);
    return time[i];
  }
  return kNaN;
}

CensoringDistribution::CensoringDistribution(std::span<const double> time, std::span<const uint8_t> event) {
  auto left = static_cast<int64_t>(time.size());
  double value = 1;
  for (const Counts& c : counts_of(time, event)) {
    left -= c.deaths;
    if (c.lost > 0) {
      value = c.lost == left ? 0 : value * (1 - static_cast<double>(c.lost) / static_cast<double>(left));
      time_.push_back(c.time);
      value_.push_back(value);
    }
    left -= c.lost;
  }
}

double CensoringDistribution::before(double t) const {
  const auto n = std::lower_bound(time_.begin(), time_.end(), t) - time_.begin();
  return n == 0 ? 1 : value_[static_cast<size_t>(n - 1)];
}

double CensoringDistribution::at(double t) const {
  const auto n = std::upper_bound(time_.begin(), time_.end(), t) - time_.begin();
  return n == 0 ? 1 : value_[static_cast<size_t>(n - 1)];
}

double CensoringDistribution::zero_from() const {
  return !value_.empty() && value_.back() == 0 ? time_.back() : std::numeric_limits<double>::infinity();
}

LogRank log_rank(std::span<const double> time, std::span<const uint8_t> event, std::span<const int32_t> group, int32_t k, std::span<const int32_t> stratum) {
  const size_t n = time.size(), groups = static_cast<size_t>(k);
  PV_CHECK(k >= 0 && event.size() == n && group.size() == n && (stratum.empty() || stratum.size() == n), "log_rank: {} times, {} events, {} groups, {} strata",
           n, event.size(), group.size(), stratum.size());
  LogRank r;
  r.n.assign(groups, 0);
  r.observed.assign(groups, 0);
  r.expected.assign(groups, 0);
  std::map<int32_t, std::vector<size_t>> members;
  for (size_t i = 0; i < n; ++i) {
    PV_CHECK(group[i] >= 0 && group[i] < k, "log_rank: group {} of {}", group[i], k);
    PV_CHECK(std::isfinite(time[i]), "log_rank: time {} of row {}", time[i], i);
    ++r.n[static_cast<size_t>(group[i])];
    members[stratum.empty() ? 0 : stratum[i]].push_back(i);
  }
  Eigen::MatrixXd variance = Eigen::MatrixXd::Zero(k, k);
  for (auto& [code, rows] : members) {
    std::sort(rows.begin(), rows.end(), [&](size_t a, size_t b) { return time[a] > time[b]; });
    Eigen::VectorXd at_risk = Eigen::VectorXd::Zero(k);
    for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
      double deaths = 0;
      for (; end < rows.size() && time[rows[end]] == time[rows[begin]]; ++end) {
        const auto g = static_cast<size_t>(group[rows[end]]);
        at_risk[static_cast<Eigen::Index>(g)] += 1;
        if (event[rows[end]]) deaths += 1, ++r.observed[g];
      }
      if (deaths == 0) continue;
      const double total = at_risk.sum();
      const Eigen::VectorXd share = at_risk / total;
      for (size_t g = 0; g < groups; ++g) r.expected[g] += deaths * share[static_cast<Eigen::Index>(g)];
      if (total < 2) continue;
      const double factor = deaths * (total - deaths) / (total - 1);
      variance -= factor * share * share.transpose();
      variance.diagonal() += factor * share;
    }
  }
  // Groups without an expected event say nothing, and the differences sum to zero: one of the others is left out.
  std::vector<Eigen::Index> used;
  for (size_t g = 0; g < groups; ++g)
    if (r.expected[g] > 0) used.push_back(static_cast<Eigen::Index>(g));
  r.degrees = std::max(0, static_cast<int>(used.size()) - 1);
  r.chi_square = r.p_value = kNaN;
  if (r.degrees == 0) return r;
  used.pop_back();
  Eigen::VectorXd difference(r.degrees);
  Eigen::MatrixXd v(r.degrees, r.degrees);
  for (int a = 0; a < r.degrees; ++a) {
    const auto g = used[static_cast<size_t>(a)];
    difference[a] = static_cast<double>(r.observed[static_cast<size_t>(g)]) - r.expected[static_cast<size_t>(g)];
    for (int b = 0; b < r.degrees; ++b) v(a, b) = variance(g, used[static_cast<size_t>(b)]);
  }
  const Eigen::LDLT<Eigen::MatrixXd> decomposed(v);
  const double chi_square =
      decomposed.isPositive() && decomposed.vectorD().minCoeff() > 1e-12 * v.diagonal().maxCoeff() ? difference.dot(decomposed.solve(difference)) : kNaN;
  if (std::isfinite(chi_square)) r.chi_square = chi_square, r.p_value = chi_squared_upper(chi_square, r.degrees);
  return r;
}

std::vector<double> brier_scores(std::span<const double> at, std::span<const double> time, std::span<const uint8_t> event,
                                 const data::RowMatrix<double>& survival, const CensoringDistribution& g) {
  const size_t n = time.size();
  PV_CHECK(event.size() == n && static_cast<size_t>(survival.rows()) == n && static_cast<size_t>(survival.cols()) == at.size(),
           "brier_scores: {} times of {} patients, curves [{}, {}]", at.size(), n, survival.rows(), survival.cols());
  std::vector<double> score(at.size(), n > 0 ? 0 : kNaN);
  for (size_t k = 0; k < at.size() && n > 0; ++k) {
    const double later = g.at(at[k]);
    for (size_t i = 0; i < n; ++i) {
      const double s = survival(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(k));
      if (time[i] > at[k]) {
        score[k] += later > 0 ? (1 - s) * (1 - s) / later : kNaN;
      } else if (event[i]) {
        const double observed = g.before(time[i]);
        score[k] += observed > 0 ? s * s / observed : kNaN;
      }
    }
    score[k] /= static_cast<double>(n);
  }
  return score;
}

double integrated_brier(std::span<const double> at, std::span<const double> scores) {
  PV_CHECK(at.size() == scores.size() && at.size() >= 2 && at.back() > at.front(), "integrated_brier: {} times, {} scores", at.size(), scores.size());
  double area = 0;
  for (size_t k = 1; k < at.size(); ++k) area += 0.5 * (at[k] - at[k - 1]) * (scores[k] + scores[k - 1]);
  return area / (at.back() - at.front());
}

double quantile(std::vector<double> values, double p) {
  PV_CHECK(p >= 0 && p <= 1, "quantile: {}", p);
  if (values.empty()) return kNaN;
  std::sort(values.begin(), values.end());
  const double at = p * static_cast<double>(values.size() - 1), whole = std::floor(at);
  const auto low = static_cast<size_t>(whole);
  const double below = values[low], above = values[std::min(low + 1, values.size() - 1)];
  return below + (at - whole) * (above - below);
}

}  // namespace panvae::eval
