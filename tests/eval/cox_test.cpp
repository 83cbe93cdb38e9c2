#include "eval/cox.h"

#include <Eigen/LU>
#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/eval/survival_helpers.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {
namespace {

using test::expect_relative;
using test::Patients;
using test::patients;
using test::TiedPatients;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void expect_fit(const CoxFit& fit, const TiedPatients& p, const std::string& key) {
  const auto b = p.list(key + ".coefficient"), se = p.list(key + ".se");
  ASSERT_EQ(b.size(), 3u);
  for (size_t j = 0; j < 3; ++j) {
    expect_relative(fit.coefficient[static_cast<Eigen::Index>(j)], b[j], 1e-8, key);
    expect_relative(fit.standard_error[static_cast<Eigen::Index>(j)], se[j], 1e-8, key);
  }
  EXPECT_TRUE(fit.converged);
  EXPECT_EQ(fit.rank(), 3);
  EXPECT_TRUE(fit.diverging.empty());
}

// coxph of R, survival 3.5-3 (tests/reference/survival_rows.R).
TEST(Cox, AgreesWithRUnderHeavyTies) {
  const TiedPatients p;
  const CoxFit efron = fit_cox(p.time, p.event, p.x);
  expect_fit(efron, p, "efron");
  expect_relative(efron.loglik, p.expected.at("efron.loglik"), 1e-12, "loglik");
  expect_relative(efron.loglik_null, p.expected.at("efron.loglik_null"), 1e-12, "loglik of no effect");
  CoxOptions o;
  o.breslow = true;
  const CoxFit breslow = fit_cox(p.time, p.event, p.x, {}, o);
  expect_fit(breslow, p, "breslow");
  expect_relative(breslow.loglik, p.expected.at("breslow.loglik"), 1e-12, "loglik");
  const CoxFit strata = fit_cox(p.time, p.event, p.x, p.stratum);
  expect_fit(strata, p, "strata");
  expect_relative(strata.loglik, p.expected.at("strata.loglik"), 1e-12, "loglik");
  CoxOptions ridge;
  ridge.penalty = {10, 10, 10};
  expect_fit(fit_cox(p.time, p.event, p.x, {}, ridge), p, "ridge");
}

TEST(Cox, BaselineHazardAgreesWithR) {
  const TiedPatients p;
  const CoxFit fit = fit_cox(p.time, p.event, p.x);
  const BaselineHazard h = baseline_hazard(fit, p.time, p.event, p.x);
  const auto time = p.list("hazard.time"), cumulative = p.list("hazard.cumulative");
  ASSERT_GT(time.size(), 20u);
  ASSERT_EQ(h.strata.size(), 1u);
  for (size_t i = 0; i < time.size(); ++i) expect_relative(h.strata[0].at(time[i]), cumulative[i], 1e-8, fmt::format("day {}", time[i]));
  EXPECT_EQ(h.strata[0].at(0.5), 0);
}

// The likelihood as it is defined, term by term, in O(n^2).
double brute_force(const Patients& p, const std::vector<int32_t>& stratum, const Eigen::VectorXd& b, bool breslow) {
  const Eigen::VectorXd eta = p.x * b;
  double l = 0;
  std::vector<bool> done(p.time.size(), false);
  for (size_t i = 0; i < p.time.size(); ++i) {
    if (!p.event[i] || done[i]) continue;
    double at_risk = 0, dead = 0, m = 0;
    for (size_t j = 0; j < p.time.size(); ++j) {
      if (stratum[j] != stratum[i] || p.time[j] < p.time[i]) continue;
      at_risk += std::exp(eta[static_cast<Eigen::Index>(j)]);
      if (p.time[j] > p.time[i] || !p.event[j]) continue;
      done[j] = true;
      dead += std::exp(eta[static_cast<Eigen::Index>(j)]);
      l += eta[static_cast<Eigen::Index>(j)];
      m += 1;
    }
    for (double k = 0; k < m; k += 1) l -= std::log(at_risk - (breslow ? 0 : k / m) * dead);
  }
  return l;
}

TEST(Cox, LikelihoodScoreAndInformationByBruteForce) {
  for (uint32_t seed = 0; seed < 6; ++seed) {
    const Patients p = patients(seed == 0 ? 1 : 40 + 7 * seed, 3, seed == 5 ? 1000 : 4 + seed, seed);
    const std::vector<int32_t> one(p.time.size(), 0);
    Eigen::VectorXd b(3);
    b << 0.4, -0.9, 1.3;
    for (bool breslow : {false, true})
      for (const auto& stratum : {one, p.stratum}) {
        const auto l = [&](const Eigen::VectorXd& at) { return brute_force(p, stratum, at, breslow); };
        Eigen::VectorXd gradient;
        Eigen::MatrixXd information;
        EXPECT_NEAR(cox_loglik(p.time, p.event, p.x, stratum, b, breslow, &gradient, &information), l(b), 1e-11 * std::max(1.0, std::abs(l(b))));
        const double h = 1e-5, hh = 1e-4;
        for (Eigen::Index j = 0; j < 3; ++j) {
          const Eigen::VectorXd e = Eigen::VectorXd::Unit(3, j);
          EXPECT_NEAR(gradient[j], (l(b + h * e) - l(b - h * e)) / (2 * h), 1e-7) << "seed " << seed;
          for (Eigen::Index k = 0; k < 3; ++k) {
            const Eigen::VectorXd f = Eigen::VectorXd::Unit(3, k);
            const double second = (l(b + hh * (e + f)) - l(b + hh * (e - f)) - l(b - hh * (e - f)) + l(b - hh * (e + f))) / (4 * hh * hh);
            EXPECT_NEAR(information(j, k), -second, 2e-5) << "seed " << seed;
          }
        }
      }
  }
}

// More patients than a block of the products, and more columns than a vector register.
TEST(Cox, TheScoreIsZeroAtTheMaximum) {
  const Patients p = patients(1500, 37, 300, 3);
  CoxOptions o;
  for (int j = 0; j < 37; ++j) o.penalty.push_back(j % 3);
  const CoxFit fit = fit_cox(p.time, p.event, p.x, p.stratum, o);
  Eigen::VectorXd gradient;
  Eigen::MatrixXd information;
  const double l = cox_loglik(p.time, p.event, p.x, p.stratum, fit.coefficient, false, &gradient, &information);
  EXPECT_NEAR(l, fit.loglik, 1e-9 * std::abs(l));
  double penalty = 0;
  for (Eigen::Index j = 0; j < 37; ++j) {
    penalty += 0.5 * o.penalty[static_cast<size_t>(j)] * fit.coefficient[j] * fit.coefficient[j];
    EXPECT_NEAR(gradient[j], o.penalty[static_cast<size_t>(j)] * fit.coefficient[j], 1e-7) << j;
    information(j, j) += o.penalty[static_cast<size_t>(j)];
  }
  expect_relative(fit.penalty, penalty, 1e-12, "penalty");
  const Eigen::MatrixXd variance = information.inverse();
  for (Eigen::Index j = 0; j < 37; ++j) expect_relative(fit.standard_error[j], std::sqrt(variance(j, j)), 1e-8, "standard error");
  EXPECT_TRUE(fit.converged);
}

// The sums of the definition in long doubles, which hold exp(eta) for any eta from -11,000 to 11,000: the likelihood, its first and second
// derivatives, and the logarithm of the cumulative hazard after the last death of each stratum.
struct LongCox {
  long double l = 0;
  std::vector<long double> gradient, information;  // [d], [d, d]
  std::map<int32_t, long double> hazard;

  LongCox(const Patients& p, const std::vector<double>& eta, bool breslow) {
    const auto d = static_cast<size_t>(p.x.cols());
    gradient.assign(d, 0), information.assign(d * d, 0);
    std::vector<bool> done(p.time.size(), false);
    for (size_t i = 0; i < p.time.size(); ++i) {
      if (!p.event[i] || done[i]) continue;
      long double s[2] = {}, m = 0;  // of those at risk, of the dead
      std::vector<long double> x[2], xx[2];
      for (int k : {0, 1}) x[k].assign(d, 0), xx[k].assign(d * d, 0);
      for (size_t j = 0; j < p.time.size(); ++j) {
        if (p.stratum[j] != p.stratum[i] || p.time[j] < p.time[i]) continue;
        const bool dies = p.event[j] && p.time[j] == p.time[i];
        const long double w = std::exp(static_cast<long double>(eta[j]));
        for (int k = 0; k <= (dies ? 1 : 0); ++k) {
          s[k] += w;
          for (size_t a = 0; a < d; ++a) {
            const long double xa = p.x(static_cast<Eigen::Index>(j), static_cast<Eigen::Index>(a));
            x[k][a] += w * xa;
            for (size_t b = 0; b < d; ++b) xx[k][a * d + b] += w * xa * p.x(static_cast<Eigen::Index>(j), static_cast<Eigen::Index>(b));
          }
        }
        if (!dies) continue;
        done[j] = true, m += 1, l += eta[j];
        for (size_t a = 0; a < d; ++a) gradient[a] += p.x(static_cast<Eigen::Index>(j), static_cast<Eigen::Index>(a));
      }
      for (long double k = 0; k < m; k += 1) {
        const long double f = breslow ? 0 : k / m, sum = s[0] - f * s[1];
        l -= std::log(sum);
        hazard[p.stratum[i]] += 1 / sum;
        for (size_t a = 0; a < d; ++a) {
          const long double mean = (x[0][a] - f * x[1][a]) / sum;
          gradient[a] -= mean;
          for (size_t b = 0; b < d; ++b) information[a * d + b] += (xx[0][a * d + b] - f * xx[1][a * d + b]) / sum - mean * (x[0][b] - f * x[1][b]) / sum;
        }
      }
    }
  }
};

// A marker over many powers of ten: most patients' values say how long they live, a few far out die first or last. Among those at risk
// late nobody's exp(eta) is a number beside that of those who died early: linear predictors lie some 800 to either side of 0.
TEST(Cox, PredictorsFarApartAreFitted) {
  Patients p = patients(150, 2, 25, 21);
  PhiloxSequence g(PhiloxKey{22, 77, 0});
  for (size_t i = 0; i < 150; ++i) {
    const auto row = static_cast<Eigen::Index>(i);
    p.stratum[i] = static_cast<int32_t>(i % 2);
    p.time[i] = 10 + std::floor(20 * -std::log(1 - g.uniform()) * std::exp(-p.x(row, 0) - 0.5 * p.x(row, 1)));
    if (i >= 12) continue;
    static constexpr double kFar[] = {1100, 1099, 400, -400, -1099, -1100}, kTime[] = {1, 1, 2, 1e6, 1e6 + 1, 1e6 + 1};
    p.x(row, 0) = kFar[i / 2] + 0.1 * g.normal();
    p.time[i] = kTime[i / 2];
    p.event[i] = 1;
  }
  const std::vector<int32_t> one(p.time.size(), 0), two = p.stratum;
  for (bool breslow : {false, true})
    for (const auto& stratum : {one, two}) {
      p.stratum = stratum;
      CoxOptions o;
      o.breslow = breslow;
      const CoxFit fit = fit_cox(p.time, p.event, p.x, stratum, o);
      ASSERT_TRUE(fit.converged);
      EXPECT_TRUE(fit.diverging.empty());
      EXPECT_LT(fit.iterations, 40);
      const std::vector<double> eta = linear_predictor(fit, p.x);
      const auto [low, high] = std::minmax_element(eta.begin(), eta.end());
      ASSERT_LT(*low, -750) << "the case is not what it should be";
      ASSERT_GT(*high, 750);
      const LongCox exact(p, eta, breslow);
      EXPECT_NEAR(fit.loglik, static_cast<double>(exact.l), 1e-10 * std::abs(fit.loglik));
      // Zero at the maximum, of which there is one: by how far Newton's step goes on, in standard errors.
      const long double a = exact.information[0], b = exact.information[1], c = exact.information[3], det = a * c - b * b;
      const long double step[] = {(c * exact.gradient[0] - b * exact.gradient[1]) / det, (a * exact.gradient[1] - b * exact.gradient[0]) / det};
      const long double se[] = {std::sqrt(c / det), std::sqrt(a / det)};
      for (int j : {0, 1}) {
        EXPECT_LT(std::abs(step[j] / se[j]), 1e-8) << j;
        expect_relative(fit.standard_error[j], static_cast<double>(se[j]), 1e-8, "standard error");
      }
      // And the pieces at another place.
      const Eigen::VectorXd at{{0.7, -0.2}};
      const Eigen::VectorXd there = p.x * at;
      const LongCox pieces(p, {there.begin(), there.end()}, breslow);
      Eigen::VectorXd gradient;
      Eigen::MatrixXd information;
      EXPECT_NEAR(cox_loglik(p.time, p.event, p.x, stratum, at, breslow, &gradient, &information), static_cast<double>(pieces.l), 1e-9);
      for (Eigen::Index j : {0, 1}) {
        EXPECT_NEAR(gradient[j], static_cast<double>(pieces.gradient[static_cast<size_t>(j)]), 1e-9);
        for (Eigen::Index k : {0, 1}) EXPECT_NEAR(information(j, k), static_cast<double>(pieces.information[static_cast<size_t>(2 * j + k)]), 1e-7);
      }
      const BaselineHazard hazard = baseline_hazard(fit, p.time, p.event, p.x, stratum, breslow);
      for (const auto& [code, sum] : exact.hazard) {
        const BaselineHazard::Steps& steps = hazard.strata[static_cast<size_t>(code)];
        expect_relative(steps.log_at(1e7), static_cast<double>(std::log(sum)), 1e-12, "log H0");
        EXPECT_EQ(steps.log_at(0.5), -std::numeric_limits<double>::infinity());
        EXPECT_TRUE(std::is_sorted(steps.log_cumulative.begin(), steps.log_cumulative.end()));
      }
    }
}

TEST(Cox, UnitsAndOriginOfAColumnDoNotMatter) {
  const TiedPatients p;
  const CoxFit before = fit_cox(p.time, p.event, p.x);
  data::RowMatrix<double> x = p.x;
  x.col(0) = (x.col(0).array() + 1e5) * 365.25;
  const CoxFit after = fit_cox(p.time, p.event, x);
  expect_relative(after.coefficient[0] * 365.25, before.coefficient[0], 1e-8, "age");
  expect_relative(after.coefficient[1], before.coefficient[1], 1e-8, "marker");
  expect_relative(after.standard_error[0] * 365.25, before.standard_error[0], 1e-8, "se");
  const auto a = linear_predictor(before, p.x), b = linear_predictor(after, x);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-8);
}

TEST(Cox, OrderOfPatientsDoesNotMatter) {
  const Patients p = patients(300, 4, 12, 8), q = p.reordered(test::shuffled(300, 1));
  const CoxFit a = fit_cox(p.time, p.event, p.x, p.stratum), b = fit_cox(q.time, q.event, q.x, q.stratum);
  EXPECT_NEAR(a.loglik, b.loglik, 1e-10 * std::abs(a.loglik));
  for (Eigen::Index j = 0; j < 4; ++j) EXPECT_NEAR(a.coefficient[j], b.coefficient[j], 1e-9);
}

TEST(Cox, LeavesOutConstantAndDependentColumns) {
  Patients p = patients(80, 5, 30, 4);
  p.x.col(1).setConstant(0.1);
  p.x.col(3) = 2 * p.x.col(0) - p.x.col(2) + Eigen::VectorXd::Constant(80, 7);
  const CoxFit fit = fit_cox(p.time, p.event, p.x);
  EXPECT_EQ(fit.constant, std::vector<int64_t>{1});
  EXPECT_EQ(fit.aliased, std::vector<int64_t>{3});
  EXPECT_EQ(fit.rank(), 3);
  for (Eigen::Index j : {1, 3}) {
    EXPECT_EQ(fit.coefficient[j], 0);
    EXPECT_TRUE(std::isnan(fit.standard_error[j]));
  }
  data::RowMatrix<double> rest(80, 3);
  rest << p.x.col(0), p.x.col(2), p.x.col(4);
  const CoxFit without = fit_cox(p.time, p.event, rest);
  EXPECT_NEAR(fit.loglik, without.loglik, 1e-10 * std::abs(fit.loglik));
  EXPECT_NEAR(fit.coefficient[4], without.coefficient[2], 1e-8);
  // The penalty decides between dependent columns: none has to go.
  CoxOptions o;
  o.penalty = {1, 1, 1, 1, 0};
  const CoxFit ridge = fit_cox(p.time, p.event, p.x, {}, o);
  EXPECT_TRUE(ridge.aliased.empty());
  EXPECT_EQ(ridge.constant, std::vector<int64_t>{1});
  EXPECT_TRUE(ridge.converged);
}

// What differs only between strata, or only among those lost before anyone died, cannot be told.
TEST(Cox, LeavesOutWhatNoRiskSetShows) {
  Patients p = patients(60, 2, 30, 6);
  for (size_t i = 0; i < 60; ++i) p.x(static_cast<Eigen::Index>(i), 1) = p.stratum[i];
  EXPECT_EQ(fit_cox(p.time, p.event, p.x, p.stratum).aliased, std::vector<int64_t>{1});
  EXPECT_TRUE(fit_cox(p.time, p.event, p.x).aliased.empty());
  p.x.col(1).setZero();
  for (size_t i = 0; i < 10; ++i) p.time[i] = -1, p.event[i] = 0, p.x(static_cast<Eigen::Index>(i), 1) = static_cast<double>(i);
  EXPECT_EQ(fit_cox(p.time, p.event, p.x).aliased, std::vector<int64_t>{1});
}

TEST(Cox, SeesMonotoneLikelihood) {
  Patients p = patients(60, 3, 30, 9);
  // A level that nobody who died has.
  for (size_t i = 0; i < 60; ++i) p.x(static_cast<Eigen::Index>(i), 1) = !p.event[i] && p.time[i] > 5;
  const CoxFit fit = fit_cox(p.time, p.event, p.x);
  EXPECT_EQ(fit.diverging, std::vector<int64_t>{1});
  EXPECT_LT(fit.coefficient[1], -5);
  EXPECT_TRUE(fit.coefficient.allFinite());
  CoxOptions o;
  o.penalty = {0, 0.1, 0};
  const CoxFit ridge = fit_cox(p.time, p.event, p.x, {}, o);
  EXPECT_TRUE(ridge.diverging.empty());
  EXPECT_TRUE(ridge.converged);
}

TEST(Cox, SaysWhenTheMaximumIsNotReached) {
  const Patients p = patients(120, 3, 30, 12);
  for (const int steps : {1, 60}) {
    CoxOptions o;
    o.max_iterations = steps;
    const CoxFit fit = fit_cox(p.time, p.event, p.x, {}, o);
    Eigen::VectorXd score;
    (void)cox_loglik(p.time, p.event, p.x, {}, fit.coefficient, false, &score);
    EXPECT_LE(fit.iterations, steps);
    EXPECT_EQ(fit.converged, score.cwiseAbs().maxCoeff() < 1e-7) << score.transpose();
    EXPECT_EQ(fit.converged, steps == 60);
  }
  // Who has the larger dose dies first, so the likelihood rises without end: no fit has converged, unless it names the dose. Doses of
  // many powers of ten let it rise no further than weights are numbers.
  for (const int n : {8, 12, 16, 24, 32})
    for (const double per_decade : {0.5, 1.0, 2.0, 4.0, 8.0}) {
      std::vector<double> time;
      data::RowMatrix<double> dose(n, 1);
      for (int i = 0; i < n; ++i) time.push_back(i + 1), dose(i, 0) = std::pow(10, -i / per_decade);
      const CoxFit fit = fit_cox(time, std::vector<uint8_t>(static_cast<size_t>(n), 1), dose);
      EXPECT_TRUE(!fit.converged || !fit.diverging.empty()) << n << " doses, " << per_decade << " per power of ten";
    }
}

// Units of a column whose squares no double holds: the same model, with the coefficient per unit.
TEST(Cox, AnyUnitOfAColumnServes) {
  const TiedPatients p;
  const CoxFit plain = fit_cox(p.time, p.event, p.x);
  for (const double unit : {1e-200, 1e-160, 1e160, 1e200}) {
    data::RowMatrix<double> x = p.x;
    x.col(0) *= unit;
    const CoxFit fit = fit_cox(p.time, p.event, x);
    EXPECT_EQ(fit.rank(), 3) << unit;
    expect_relative(fit.coefficient[0] * unit, plain.coefficient[0], 1e-9, fmt::format("coefficient per {}", unit));
    expect_relative(fit.loglik, plain.loglik, 1e-12, fmt::format("loglik, {}", unit));
    CoxOptions ridge;
    ridge.penalty = {1, 0, 0};
    const CoxFit without = fit_cox(p.time, p.event, p.x.rightCols(2));
    expect_relative(fit_cox(p.time, p.event, x, {}, ridge).loglik, unit < 1 ? without.loglik : plain.loglik, 1e-9, fmt::format("with a penalty, {}", unit));
  }
}

// What differs by rounding alone is constant, what is a combination but for rounding is left out, and what is nearly one stays.
TEST(Cox, RoundingIsNoVariation) {
  Patients p = patients(80, 4, 30, 4);
  for (Eigen::Index i = 0; i < 80; ++i) p.x(i, 1) = i % 2 ? 0.3 : 0.1 + 0.2;
  ASSERT_NE(p.x(0, 1), p.x(1, 1));
  const Eigen::VectorXd other = p.x.col(3);
  for (const double apart : {1e-10, 1e-5}) {
    p.x.col(3) = p.x.col(0) + apart * other;
    const CoxFit fit = fit_cox(p.time, p.event, p.x);
    EXPECT_EQ(fit.constant, std::vector<int64_t>{1});
    EXPECT_EQ(fit.aliased, apart < 1e-7 ? std::vector<int64_t>{3} : std::vector<int64_t>{}) << apart;
  }
}

TEST(Cox, ExtremeColumnsStayFinite) {
  Patients p = patients(50, 2, 40, 10);
  p.x.col(0) *= 1e9;
  p.x(3, 1) = 1e6;  // one outlier
  const CoxFit fit = fit_cox(p.time, p.event, p.x);
  EXPECT_TRUE(fit.coefficient.allFinite());
  EXPECT_TRUE(std::isfinite(fit.loglik));
  EXPECT_GE(fit.loglik, fit.loglik_null);
}

TEST(Cox, WithoutColumnsAndWithOnePatient) {
  Patients p = patients(20, 0, 10, 2);
  const CoxFit none = fit_cox(p.time, p.event, p.x);
  EXPECT_EQ(none.loglik, none.loglik_null);
  EXPECT_TRUE(none.converged);
  const std::vector<double> time{3};
  const std::vector<uint8_t> event{1};
  const CoxFit one = fit_cox(time, event, data::RowMatrix<double>::Ones(1, 2));
  EXPECT_EQ(one.constant.size(), 2u);
  EXPECT_EQ(one.loglik, 0);
  // Two patients: only the first death tells anything, and it tells it without end.
  const std::vector<double> times{1, 2};
  const std::vector<uint8_t> both{1, 1};
  data::RowMatrix<double> x(2, 1);
  x << 1, 0;
  const CoxFit two = fit_cox(times, both, x);
  EXPECT_EQ(two.diverging, std::vector<int64_t>{0});
}

TEST(Cox, RefusesWhatCannotBeFitted) {
  Patients p = patients(20, 2, 10, 2);
  auto x = p.x;
  x(4, 1) = kNaN;
  EXPECT_ERROR(ErrorCode::input, "row 5, column 2", fit_cox(p.time, p.event, x));
  auto time = p.time;
  time[2] = std::numeric_limits<double>::infinity();
  EXPECT_ERROR(ErrorCode::input, "row 3", fit_cox(time, p.event, p.x));
  const std::vector<uint8_t> nobody(20, 0);
  EXPECT_ERROR(ErrorCode::input, "no patient has died", fit_cox(p.time, nobody, p.x));
  EXPECT_ERROR(ErrorCode::usage, "cox:", fit_cox(p.time, p.event, p.x.topRows(19)));
  CoxOptions o;
  o.penalty = {1};
  EXPECT_ERROR(ErrorCode::usage, "1 penalties", fit_cox(p.time, p.event, p.x, {}, o));
  o.penalty = {1, -1};
  EXPECT_ERROR(ErrorCode::usage, "penalty of -1", fit_cox(p.time, p.event, p.x, {}, o));
}

}  // namespace
}  // namespace panvae::eval
