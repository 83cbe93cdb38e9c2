#include "eval/cox.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"

namespace panvae::eval {

namespace {

using RowMatrix = data::RowMatrix<double>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Rows per product: some 400 KiB at 100 columns, within the cache.
constexpr int64_t kBlock = 512;
// A column is aliased if less than this of its length is left beside the columns before it, as in lm() of R.
constexpr double kAliased = 1e-7;
// Standard deviations per which a coefficient need not be a double.
constexpr double kLeastScale = 1e-300;
// Of a scaled coefficient: it is zero then, and the information stays finite.
constexpr double kLargestPenalty = 1e100;
// Newton steps below it, in the linear predictor of a column's standard deviation, end the search; larger ones after the
// likelihood has settled show a coefficient that grows without end.
constexpr double kSmallStep = 1e-7, kGrowingStep = 1e-2;

// Patients that are ever at risk, by stratum and then by falling time, and where strata and equal times begin.
struct Order {
  struct Tie {
    int64_t begin, end, deaths;  // positions in `row`
  };
  struct Stratum {
    int64_t begin, end;          // positions in `row`
    int64_t first_tie, end_tie;  // in `ties`
    int32_t code;
  };
  std::vector<int64_t> row;  // of the caller
  std::vector<uint8_t> event;
  std::vector<double> time;
  std::vector<Tie> ties;
  std::vector<Stratum> strata;
  int64_t events = 0;
};

Order order_of(std::span<const double> time, std::span<const uint8_t> event, std::span<const int32_t> stratum) {
  const size_t n = time.size();
  const auto code = [&](size_t i) { return stratum.empty() ? 0 : stratum[i]; };
  std::vector<size_t> sorted(n);
  std::iota(sorted.begin(), sorted.end(), size_t{0});
  std::stable_sort(sorted.begin(), sorted.end(), [&](size_t a, size_t b) { return code(a) != code(b) ? code(a) < code(b) : time[a] > time[b]; });
  Order o;
  for (size_t begin = 0; begin < n;) {
    size_t end = begin, at_risk = begin;  // at_risk: end of those still under observation at the stratum's first event
    while (end < n && code(sorted[end]) == code(sorted[begin])) ++end;
    double first_event = kInfinity;
    for (size_t i = begin; i < end; ++i)
      if (event[sorted[i]]) first_event = time[sorted[i]];
    while (at_risk < end && time[sorted[at_risk]] >= first_event) ++at_risk;
    if (at_risk > begin) {
      Order::Stratum s{static_cast<int64_t>(o.row.size()), 0, static_cast<int64_t>(o.ties.size()), 0, code(sorted[begin])};
      for (size_t i = begin; i < at_risk; ++i) {
        const size_t r = sorted[i];
        if (i == begin || time[r] != o.time.back()) o.ties.push_back({static_cast<int64_t>(o.row.size()), 0, 0});
        o.row.push_back(static_cast<int64_t>(r));
        o.time.push_back(time[r]);
        o.event.push_back(event[r] ? 1 : 0);
        o.ties.back().end = static_cast<int64_t>(o.row.size());
        o.ties.back().deaths += event[r] ? 1 : 0;
        o.events += event[r] ? 1 : 0;
      }
      s.end = static_cast<int64_t>(o.row.size());
      s.end_tie = static_cast<int64_t>(o.ties.size());
      o.strata.push_back(s);
    }
    begin = end;
  }
  return o;
}

// Weights exp(eta - shift) as patients enter a stratum's risk set: the shift is the largest eta among those at risk so far, so that
// the sum over a risk set is 1 at least, however far the predictors of others, who were lost or died before, lie above.
struct RiskScale {
  double shift = -kInfinity;
  // With those who enter now, of which `largest` is the largest eta: the factor of sums over those before them.
  double raise(double largest) {
    if (!(largest > shift)) return 1;
    return std::exp(std::exchange(shift, largest) - largest);  // 0 at first
  }
};

// The likelihood of columns x [n, d] in the order of `Order`.
class Likelihood {
 public:
  Likelihood(const Order& order, const RowMatrix& x, bool breslow) : o_(order), x_(x), breslow_(breslow) {}

  // l(b); -infinity where a linear predictor is not finite. Keeps what derivatives() needs.
  double value(const Eigen::VectorXd& b) {
    const size_t n = o_.row.size();
    eta_ = x_ * b;
    weight_.resize(static_cast<Eigen::Index>(n));
    scale_.resize(o_.ties.size());
    if (!eta_.allFinite()) return -kInfinity;
    double l = 0;
    for (const Order::Stratum& s : o_.strata) {
      RiskScale scale;
      double at_risk = 0;
      for (int64_t t = s.first_tie; t < s.end_tie; ++t) {
        const Order::Tie& tie = o_.ties[static_cast<size_t>(t)];
        at_risk *= scale_[static_cast<size_t>(t)] = scale.raise(eta_.segment(tie.begin, tie.end - tie.begin).maxCoeff());
        double dead = 0;
        for (int64_t i = tie.begin; i < tie.end; ++i) {
          const double w = std::exp(eta_[i] - scale.shift);
          weight_[i] = w;
          at_risk += w;
          if (o_.event[static_cast<size_t>(i)]) dead += w, l += eta_[i] - scale.shift;
        }
        for (int64_t k = 0; k < tie.deaths; ++k) l -= std::log(at_risk - fraction(k, tie) * dead);
      }
    }
    return std::isfinite(l) ? l : -kInfinity;
  }

  // Gradient [d] and the lower triangle of the information [d, d] at the last b of value().
  void derivatives(Eigen::VectorXd& gradient, Eigen::MatrixXd& information) {
    const Eigen::Index d = x_.cols(), n = x_.rows();
    information = Eigen::MatrixXd::Zero(d, d);
    auto lower = information.selfadjointView<Eigen::Lower>();
    // c_i: sum of 1 / S over the event times at which i is at risk, less Efron's share at its own, in the unit of its weight.
    Eigen::VectorXd c(n);
    RowMatrix means(kBlock, d);
    Eigen::Index filled = 0;
    std::vector<double> step, own;  // per tie: what it adds to c of those at risk, and takes from c of its own dead
    Eigen::RowVectorXd sum(d), dead_sum(d);
    for (const Order::Stratum& s : o_.strata) {
      throw_if_interrupted();
      step.assign(static_cast<size_t>(s.end_tie - s.first_tie), 0);
      own.assign(step.size(), 0);
      double at_risk = 0;
      sum.setZero();
      for (int64_t t = s.first_tie; t < s.end_tie; ++t) {
        const Order::Tie& tie = o_.ties[static_cast<size_t>(t)];
        double dead = 0;
        dead_sum.setZero();
        if (const double scale = scale_[static_cast<size_t>(t)]; scale != 1) at_risk *= scale, sum *= scale;
        for (int64_t i = tie.begin; i < tie.end; ++i) {
          at_risk += weight_[i];
          sum += weight_[i] * x_.row(i);
          if (tie.deaths > 1 && o_.event[static_cast<size_t>(i)]) dead += weight_[i], dead_sum += weight_[i] * x_.row(i);
        }
        const auto at = static_cast<size_t>(t - s.first_tie);
        for (int64_t k = 0; k < tie.deaths; ++k) {
          const double f = fraction(k, tie), total = at_risk - f * dead;
          step[at] += 1 / total;
          own[at] += f / total;
          if (filled == kBlock) lower.rankUpdate(means.transpose(), -1.0), filled = 0;
          means.row(filled++) = (sum - f * dead_sum) / total;
        }
      }
      double cumulative = 0;
      for (int64_t t = s.end_tie - 1; t >= s.first_tie; --t) {
        const Order::Tie& tie = o_.ties[static_cast<size_t>(t)];
        const auto at = static_cast<size_t>(t - s.first_tie);
        cumulative += step[at];
        for (int64_t i = tie.begin; i < tie.end; ++i) c[i] = cumulative - (o_.event[static_cast<size_t>(i)] ? own[at] : 0);
        cumulative *= scale_[static_cast<size_t>(t)];
      }
    }
    if (filled > 0) lower.rankUpdate(means.topRows(filled).transpose(), -1.0);
    const Eigen::VectorXd wc = weight_.cwiseProduct(c).cwiseMax(0.0);
    RowMatrix block;
    for (Eigen::Index first = 0; first < n; first += kBlock) {
      const Eigen::Index count = std::min<Eigen::Index>(kBlock, n - first);
      block = wc.segment(first, count).cwiseSqrt().asDiagonal() * x_.middleRows(first, count);
      lower.rankUpdate(block.transpose(), 1.0);
    }
    Eigen::VectorXd residual = -wc;  // of the martingale: events less their expected number
    for (Eigen::Index i = 0; i < n; ++i) residual[i] += o_.event[static_cast<size_t>(i)];
    gradient = x_.transpose() * residual;
  }

 private:
  double fraction(int64_t k, const Order::Tie& tie) const { return breslow_ ? 0 : static_cast<double>(k) / static_cast<double>(tie.deaths); }

  const Order& o_;
  const RowMatrix& x_;
  bool breslow_;
  Eigen::VectorXd eta_, weight_;  // weights: relative to the largest at risk when the patient enters
  std::vector<double> scale_;     // per tie: of sums over those who entered before, RiskScale
};

// Columns, of those in `candidates`, that depend on the ones before them once the mean of each stratum is taken out.
std::vector<int64_t> dependent_columns(const Order& o, const RowMatrix& x, const std::vector<int64_t>& candidates) {
  const auto n = static_cast<Eigen::Index>(o.row.size()), d = static_cast<Eigen::Index>(candidates.size());
  if (d == 0) return {};
  Eigen::MatrixXd a(n, d);
  Eigen::VectorXd length(d);
  for (Eigen::Index j = 0; j < d; ++j) {
    a.col(j) = x.col(candidates[static_cast<size_t>(j)]);
    length[j] = a.col(j).norm();
    for (const Order::Stratum& s : o.strata) {
      auto part = a.col(j).segment(s.begin, s.end - s.begin);
      part.array() -= part.mean();
    }
    // What rounding leaves of a column that is constant in each stratum is not its direction.
    if (a.col(j).norm() <= 1e-10 * length[j]) a.col(j).setZero();
    if (const double norm = a.col(j).norm(); norm > 0) a.col(j) /= norm;
  }
  // Pivots of the correlation matrix far from zero prove independence at the cost of one product; near zero they are
  // rounding, and the columns themselves are orthogonalised.
  Eigen::MatrixXd gram = Eigen::MatrixXd::Zero(d, d);
  gram.selfadjointView<Eigen::Lower>().rankUpdate(a.transpose(), 1.0);
  const Eigen::LLT<Eigen::MatrixXd> cholesky(gram);
  if (cholesky.info() == Eigen::Success && cholesky.matrixLLT().diagonal().minCoeff() > 1e-3) return {};
  std::vector<int64_t> dependent;
  Eigen::Index kept = 0;
  for (Eigen::Index j = 0; j < d; ++j) {
    throw_if_interrupted();
    Eigen::VectorXd v = a.col(j);
    for (int pass = 0; pass < 2; ++pass)
      if (kept > 0) v -= a.leftCols(kept) * (a.leftCols(kept).transpose() * v).eval();
    const double left = v.norm();
    if (!(left > kAliased)) {
      dependent.push_back(candidates[static_cast<size_t>(j)]);
    } else {
      a.col(kept++) = v / left;
    }
  }
  return dependent;
}

void check(std::span<const double> time, std::span<const uint8_t> event, const RowMatrix& x, std::span<const int32_t> stratum) {
  const size_t n = time.size();
  PV_CHECK(event.size() == n && static_cast<size_t>(x.rows()) == n && (stratum.empty() || stratum.size() == n), "cox: {} times, {} events, {} rows, {} strata",
           n, event.size(), x.rows(), stratum.size());
  for (size_t i = 0; i < n; ++i) {
    if (!std::isfinite(time[i])) fail_input(fmt::format("the time is {}", time[i]), fmt::format("row {} (from 1)", i + 1), "times must be finite");
    PV_CHECK(stratum.empty() || stratum[i] >= 0, "cox: stratum {} of row {}", stratum[i], i);
  }
  for (Eigen::Index i = 0; i < x.rows(); ++i)
    for (Eigen::Index j = 0; j < x.cols(); ++j)
      if (!std::isfinite(x(i, j)))
        fail_input(fmt::format("the value is {}", x(i, j)), fmt::format("row {}, column {} (from 1)", i + 1, j + 1), "covariates must be finite");
}

}  // namespace

CoxFit fit_cox(std::span<const double> time, std::span<const uint8_t> event, const RowMatrix& x, std::span<const int32_t> stratum, const CoxOptions& options) {
  check(time, event, x, stratum);
  const Eigen::Index d = x.cols();
  PV_CHECK(options.penalty.empty() || options.penalty.size() == static_cast<size_t>(d), "cox: {} penalties of {} columns", options.penalty.size(), d);
  for (double p : options.penalty) PV_CHECK(p >= 0 && std::isfinite(p), "cox: a penalty of {}", p);
  const Order order = order_of(time, event, stratum);
  if (order.events == 0) fail_input("no patient has died", fmt::format("{} rows", time.size()), "a Cox model needs events (os_event = 1)");

  CoxFit fit;
  fit.n = static_cast<int64_t>(time.size());
  fit.events = order.events;
  fit.coefficient = Eigen::VectorXd::Zero(d);
  fit.standard_error = Eigen::VectorXd::Constant(d, std::numeric_limits<double>::quiet_NaN());
  fit.mean = Eigen::VectorXd::Zero(d);

  // Columns are centred and scaled, so that ages in days and dummies meet in one well-conditioned matrix.
  Eigen::VectorXd scale = Eigen::VectorXd::Ones(d);
  std::vector<int64_t> varying, unpenalised;
  for (Eigen::Index j = 0; j < d; ++j) {
    const double low = x.col(j).minCoeff(), high = x.col(j).maxCoeff();
    fit.mean[j] = low + (x.col(j).array() - low).mean();
    // In units of the largest deviation, whose square a double need not hold.
    if (const double reach = (x.col(j).array() - fit.mean[j]).abs().maxCoeff(); reach > 0)
      scale[j] = reach * std::sqrt(((x.col(j).array() - fit.mean[j]) / reach).square().mean());
    if (!(high - low > 1e-10 * std::max(std::abs(low), std::abs(high))) || !(scale[j] > kLeastScale)) {
      fit.constant.push_back(j);
      scale[j] = 1;
      continue;
    }
    varying.push_back(j);
    if (options.penalty.empty() || options.penalty[static_cast<size_t>(j)] == 0) unpenalised.push_back(j);
  }
  RowMatrix z(static_cast<Eigen::Index>(order.row.size()), d);
  for (Eigen::Index i = 0; i < z.rows(); ++i) z.row(i) = (x.row(order.row[static_cast<size_t>(i)]).transpose() - fit.mean).cwiseQuotient(scale).transpose();
  fit.aliased = dependent_columns(order, z, unpenalised);
  std::vector<int64_t> used;
  for (int64_t j : varying)
    if (!std::binary_search(fit.aliased.begin(), fit.aliased.end(), j)) used.push_back(j);

  const auto k = static_cast<Eigen::Index>(used.size());
  RowMatrix columns(z.rows(), k);
  Eigen::VectorXd penalty = Eigen::VectorXd::Zero(k);  // per squared scaled coefficient
  for (Eigen::Index j = 0; j < k; ++j) {
    const auto from = static_cast<Eigen::Index>(used[static_cast<size_t>(j)]);
    columns.col(j) = z.col(from);
    if (!options.penalty.empty()) penalty[j] = std::min(options.penalty[static_cast<size_t>(from)] / scale[from] / scale[from], kLargestPenalty);
  }
  z.resize(0, 0);

  Likelihood likelihood(order, columns, options.breslow);
  Eigen::VectorXd b = Eigen::VectorXd::Zero(k), gradient, step;
  Eigen::MatrixXd information;
  const auto penalty_at = [&](const Eigen::VectorXd& at) { return 0.5 * penalty.dot(at.cwiseAbs2()); };
  fit.loglik_null = fit.loglik = likelihood.value(b);
  Eigen::LLT<Eigen::MatrixXd> cholesky;
  const auto newton = [&] {
    likelihood.derivatives(gradient, information);
    information.diagonal() += penalty;
    gradient -= penalty.cwiseProduct(b);
    cholesky.compute(information);
    // Flat to rounding in some direction: as much curvature is added as makes the step finite.
    for (double extra = 1e-12; cholesky.info() != Eigen::Success; extra *= 10)
      cholesky.compute(information + extra * std::max(1.0, information.trace()) * Eigen::MatrixXd::Identity(k, k));
    step = cholesky.solve(gradient);
  };
  if (k > 0) newton();
  fit.converged = k == 0;
  int settled = 0;  // steps since the likelihood no longer changed
  while (k > 0 && fit.iterations < options.max_iterations) {
    throw_if_interrupted();
    ++fit.iterations;
    const double before = fit.loglik - penalty_at(b);
    double after = -kInfinity, part = 1;
    Eigen::VectorXd next;
    // Rounding of l is no reason to halve.
    const double least = before - 1e-13 * std::abs(before);
    for (int halvings = 0; halvings < 40 && !(after >= least); ++halvings, part /= 2) {
      next = b + part * step;
      fit.loglik = likelihood.value(next);
      after = fit.loglik - penalty_at(next);
    }
    if (!(after >= least)) {  // no step up along the gradient: as good as it gets
      fit.loglik = likelihood.value(b);
      fit.converged = settled > 0;
      break;
    }
    b = next;
    newton();
    if (settled > 0 || std::abs(after - before) <= options.tolerance * std::max(1.0, std::abs(before))) ++settled;
    const double largest = step.cwiseAbs().maxCoeff();
    if (settled > 0 && (largest < kSmallStep || settled > 6)) {
      fit.converged = true;
      if (largest > kGrowingStep)
        for (Eigen::Index j = 0; j < k; ++j)
          if (std::abs(step[j]) > kGrowingStep) fit.diverging.push_back(used[static_cast<size_t>(j)]);
      break;
    }
  }
  fit.penalty = penalty_at(b);
  if (k > 0) {
    const Eigen::MatrixXd variance = cholesky.solve(Eigen::MatrixXd::Identity(k, k));
    for (Eigen::Index j = 0; j < k; ++j) {
      const auto to = static_cast<Eigen::Index>(used[static_cast<size_t>(j)]);
      fit.coefficient[to] = b[j] / scale[to];
      fit.standard_error[to] = std::sqrt(variance(j, j)) / scale[to];
    }
  }
  return fit;
}

std::vector<double> linear_predictor(const CoxFit& fit, const RowMatrix& x) {
  PV_CHECK(x.cols() == fit.coefficient.size(), "cox: {} columns for {} coefficients", x.cols(), fit.coefficient.size());
  std::vector<double> eta(static_cast<size_t>(x.rows()));
  for (Eigen::Index i = 0; i < x.rows(); ++i) eta[static_cast<size_t>(i)] = (x.row(i).transpose() - fit.mean).dot(fit.coefficient);
  return eta;
}

double cox_loglik(std::span<const double> time, std::span<const uint8_t> event, const RowMatrix& x, std::span<const int32_t> stratum, const Eigen::VectorXd& b,
                  bool breslow, Eigen::VectorXd* gradient, Eigen::MatrixXd* information) {
  check(time, event, x, stratum);
  PV_CHECK(b.size() == x.cols(), "cox: {} coefficients of {} columns", b.size(), x.cols());
  const Order order = order_of(time, event, stratum);
  RowMatrix z(static_cast<Eigen::Index>(order.row.size()), x.cols());
  for (Eigen::Index i = 0; i < z.rows(); ++i) z.row(i) = x.row(order.row[static_cast<size_t>(i)]);
  Likelihood likelihood(order, z, breslow);
  const double l = likelihood.value(b);
  if (gradient || information) {
    Eigen::VectorXd g;
    Eigen::MatrixXd h;
    likelihood.derivatives(g, h);
    if (gradient) *gradient = g;
    if (information) *information = h.selfadjointView<Eigen::Lower>();
  }
  return l;
}

double BaselineHazard::Steps::log_at(double t) const {
  const auto after = std::upper_bound(time.begin(), time.end(), t) - time.begin();
  return after == 0 ? -kInfinity : log_cumulative[static_cast<size_t>(after - 1)];
}

double BaselineHazard::Steps::at(double t) const {
  return std::exp(log_at(t));
}

BaselineHazard baseline_hazard(const CoxFit& fit, std::span<const double> time, std::span<const uint8_t> event, const RowMatrix& x,
                               std::span<const int32_t> stratum, bool breslow) {
  check(time, event, x, stratum);
  const Order order = order_of(time, event, stratum);
  const std::vector<double> eta = linear_predictor(fit, x);
  BaselineHazard out;
  int32_t codes = 1;
  for (int32_t s : stratum) codes = std::max(codes, s + 1);
  out.strata.resize(static_cast<size_t>(codes));
  for (const Order::Stratum& s : order.strata) {
    BaselineHazard::Steps& steps = out.strata[static_cast<size_t>(s.code)];
    RiskScale scale;
    double at_risk = 0;
    for (int64_t t = s.first_tie; t < s.end_tie; ++t) {
      const Order::Tie& tie = order.ties[static_cast<size_t>(t)];
      const auto eta_at = [&](int64_t i) { return eta[static_cast<size_t>(order.row[static_cast<size_t>(i)])]; };
      double dead = 0, hazard = 0, largest = -kInfinity;
      for (int64_t i = tie.begin; i < tie.end; ++i) largest = std::max(largest, eta_at(i));
      at_risk *= scale.raise(largest);
      for (int64_t i = tie.begin; i < tie.end; ++i) {
        const double w = std::exp(eta_at(i) - scale.shift);
        at_risk += w;
        if (order.event[static_cast<size_t>(i)]) dead += w;
      }
      for (int64_t k = 0; k < tie.deaths; ++k) hazard += 1 / (at_risk - (breslow ? 0 : static_cast<double>(k) / static_cast<double>(tie.deaths)) * dead);
      if (tie.deaths > 0) {
        steps.time.push_back(order.time[static_cast<size_t>(tie.begin)]);
        steps.log_cumulative.push_back(std::log(hazard) - scale.shift);
      }
    }
    // Times were met from the last to the first.
    std::reverse(steps.time.begin(), steps.time.end());
    std::reverse(steps.log_cumulative.begin(), steps.log_cumulative.end());
    double largest = -kInfinity, sum = 0;  // of the steps so far: sum exp(largest)
    for (double& log : steps.log_cumulative) {
      if (log > largest) sum *= std::exp(std::exchange(largest, log) - log);
      sum += std::exp(log - largest);
      log = largest + std::log(sum);
    }
  }
  return out;
}

}  // namespace panvae::eval
