#include "eval/kaplan_meier.h"

#include <cmath>

#include "eval/distributions.h"
#include "tests/eval/survival_helpers.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {
namespace {

using test::expect_relative;
using test::Patients;
using test::patients;
using test::TiedPatients;

// survfit of R, survival 3.5-3 (tests/reference/survival_rows.R).
TEST(KaplanMeier, AgreesWithR) {
  const TiedPatients p;
  const KaplanMeier km = kaplan_meier(p.time, p.event);
  EXPECT_EQ(km.time, p.list("km.time"));
  const auto at_risk = p.list("km.at_risk"), events = p.list("km.events"), survival = p.list("km.survival"), se = p.list("km.se"), lower = p.list("km.lower"),
             upper = p.list("km.upper");
  ASSERT_EQ(km.time.size(), survival.size());
  for (size_t i = 0; i < survival.size(); ++i) {
    EXPECT_EQ(static_cast<double>(km.at_risk[i]), at_risk[i]);
    EXPECT_EQ(static_cast<double>(km.events[i]), events[i]);
    expect_relative(km.survival[i], survival[i], 1e-12, "survival");
    expect_relative(km.standard_error[i], se[i], 1e-12, "Greenwood");
    expect_relative(km.lower[i], lower[i], 1e-12, "lower");
    expect_relative(km.upper[i], upper[i], 1e-12, "upper");
  }
  EXPECT_EQ(km.median(), p.expected.at("km.median"));
}

// Six patients of a textbook: deaths at 6, 6, 6, 7; lost at 6 and 9. S(6) = 1 - 3/6, S(7) = 1/2 * (1 - 1/2).
TEST(KaplanMeier, ByHand) {
  const std::vector<double> time{6, 6, 6, 6, 7, 9};
  const std::vector<uint8_t> event{1, 0, 1, 1, 1, 0};
  const KaplanMeier km = kaplan_meier(time, event);
  EXPECT_EQ(km.time, (std::vector<double>{6, 7, 9}));
  EXPECT_EQ(km.censored, (std::vector<int64_t>{1, 0, 1}));
  EXPECT_EQ(km.survival, (std::vector<double>{0.5, 0.25, 0.25}));
  EXPECT_DOUBLE_EQ(km.standard_error[0], 0.5 * std::sqrt(3.0 / 18));
  EXPECT_DOUBLE_EQ(km.standard_error[1], 0.25 * std::sqrt(3.0 / 18 + 0.5));
  EXPECT_DOUBLE_EQ(km.lower[0], 0.5 * std::exp(-1.959963984540054 * std::sqrt(3.0 / 18)));
  const KaplanMeier first = kaplan_meier(std::vector<double>{1, 2, 3, 4}, std::vector<uint8_t>{1, 0, 0, 0});
  EXPECT_EQ(first.upper[0], 1) << "3/4 exp(1.96 sqrt(1/12)) is 1.32, and no survival is above 1";
  EXPECT_EQ(km.at(5.9), 1);
  EXPECT_EQ(km.at(6), 0.5);
  EXPECT_EQ(km.at(100), 0.25);
  EXPECT_EQ(km.median(), 6.5) << "1/2 from 6 to 7";
  // The other way round: G(6) = 1 - 1/3 (the three deaths at 6 have left), G(9) = 0.
  const CensoringDistribution g(time, event);
  EXPECT_EQ(g.before(6), 1);
  EXPECT_DOUBLE_EQ(g.at(6), 2.0 / 3);
  EXPECT_DOUBLE_EQ(g.before(9), 2.0 / 3);
  EXPECT_EQ(g.at(9), 0);
  EXPECT_EQ(g.zero_from(), 9);
}

TEST(KaplanMeier, Extremes) {
  const KaplanMeier none = kaplan_meier({}, {});
  EXPECT_TRUE(none.time.empty());
  EXPECT_EQ(none.at(3), 1);
  EXPECT_TRUE(std::isnan(none.median()));
  const std::vector<double> one{4};
  const KaplanMeier dead = kaplan_meier(one, std::vector<uint8_t>{1});
  EXPECT_EQ(dead.survival[0], 0);
  EXPECT_TRUE(std::isnan(dead.standard_error[0]));
  EXPECT_EQ(dead.median(), 4);
  const KaplanMeier alive = kaplan_meier(one, std::vector<uint8_t>{0});
  EXPECT_EQ(alive.survival[0], 1);
  EXPECT_EQ(alive.standard_error[0], 0);
  const KaplanMeier half = kaplan_meier(std::vector<double>{1, 2}, std::vector<uint8_t>{1, 0});
  EXPECT_EQ(half.median(), 1) << "1/2 from 1 to the end, as in R";
  EXPECT_EQ(CensoringDistribution(one, std::vector<uint8_t>{1}).zero_from(), std::numeric_limits<double>::infinity());
  EXPECT_ERROR(ErrorCode::input, "row 1", kaplan_meier(std::vector<double>{std::nan("")}, std::vector<uint8_t>{1}));
}

// survdiff of R.
TEST(LogRank, AgreesWithR) {
  const TiedPatients p;
  const LogRank r = log_rank(p.time, p.event, p.group, 3);
  const auto observed = p.list("logrank.observed"), expected = p.list("logrank.expected"), stratified = p.list("logrank_strata.expected");
  const LogRank s = log_rank(p.time, p.event, p.group, 3, p.stratum);
  for (size_t g = 0; g < 3; ++g) {
    EXPECT_EQ(static_cast<double>(r.observed[g]), observed[g]);
    expect_relative(r.expected[g], expected[g], 1e-12, "expected");
    expect_relative(s.expected[g], stratified[g], 1e-12, "expected within strata");
  }
  EXPECT_EQ(r.degrees, 2);
  expect_relative(r.chi_square, p.expected.at("logrank.chisq"), 1e-11, "chi-square");
  expect_relative(r.p_value, p.expected.at("logrank.p"), 1e-10, "p");
  expect_relative(s.chi_square, p.expected.at("logrank_strata.chisq"), 1e-11, "chi-square within strata");
}

// Two against two: at 1 one of {2 of a, 2 of b} dies, at 2 one of {1, 2}, at 3 one of {0, 2}, at 4 the last.
// O_a = 2, E_a = 1/2 + 1/3, V = 1/4 + 2/9.
TEST(LogRank, ByHand) {
  const std::vector<double> time{1, 2, 3, 4};
  const std::vector<uint8_t> event{1, 1, 1, 1};
  const LogRank r = log_rank(time, event, std::vector<int32_t>{0, 0, 1, 1}, 2);
  EXPECT_DOUBLE_EQ(r.expected[0], 0.5 + 1.0 / 3);
  EXPECT_DOUBLE_EQ(r.chi_square, std::pow(2 - (0.5 + 1.0 / 3), 2) / (0.25 + 2.0 / 9));
  EXPECT_EQ(r.degrees, 1);
}

TEST(LogRank, EmptyGroupsAndNoEvents) {
  const std::vector<double> time{1, 2, 3, 4};
  const std::vector<uint8_t> event{1, 1, 1, 1}, nobody(4, 0);
  const LogRank one = log_rank(time, event, std::vector<int32_t>{1, 1, 1, 1}, 3);
  EXPECT_EQ(one.degrees, 0);
  EXPECT_TRUE(std::isnan(one.p_value));
  const LogRank two = log_rank(time, event, std::vector<int32_t>{0, 0, 2, 2}, 3);
  EXPECT_EQ(two.degrees, 1);
  EXPECT_DOUBLE_EQ(two.chi_square, log_rank(time, event, std::vector<int32_t>{0, 0, 1, 1}, 2).chi_square);
  EXPECT_TRUE(std::isnan(log_rank(time, nobody, std::vector<int32_t>{0, 0, 1, 1}, 2).chi_square));
  EXPECT_ERROR(ErrorCode::usage, "group 2 of 2", log_rank(time, event, std::vector<int32_t>{0, 0, 2, 1}, 2));
}

// pchisq(x, df, lower.tail = FALSE) of R.
TEST(ChiSquare, AgreesWithR) {
  const TiedPatients p;
  expect_relative(chi_squared_upper(300, 7), p.expected.at("pchisq_300_7"), 1e-12, "far tail");
  expect_relative(chi_squared_upper(0.3, 1), p.expected.at("pchisq_0.3_1"), 1e-13, "series");
  expect_relative(chi_squared_upper(2.5, 4), p.expected.at("pchisq_2.5_4"), 1e-13, "series");
  expect_relative(chi_squared_upper(7, 2), std::exp(-3.5), 1e-13, "two degrees: exponential");
  EXPECT_EQ(chi_squared_upper(0, 3), 1);
  EXPECT_EQ(chi_squared_upper(1e6, 1), 0);
}

TEST(Quantile, AgreesWithR) {
  const TiedPatients p;
  std::vector<double> times;
  for (size_t i = 0; i < p.time.size(); ++i)
    if (p.event[i]) times.push_back(p.time[i]);
  expect_relative(quantile(times, 0.9), p.expected.at("quantile"), 1e-13, "type 7");
  EXPECT_DOUBLE_EQ(quantile({1, 2, 4}, 0.75), 3);
  EXPECT_EQ(quantile({5}, 0.3), 5);
  EXPECT_TRUE(std::isnan(quantile({}, 0.5)));
}

// Without censoring it is the mean squared error.
TEST(Brier, WithoutCensoringIsTheMeanSquaredError) {
  const std::vector<double> time{1, 2, 3, 4}, at{1.5, 3.5};
  const std::vector<uint8_t> event{1, 1, 1, 1};
  data::RowMatrix<double> s(4, 2);
  s << 0.2, 0.1, 0.4, 0.3, 0.9, 0.2, 0.7, 0.6;
  const CensoringDistribution g(time, event);
  const auto score = brier_scores(at, time, event, s, g);
  EXPECT_DOUBLE_EQ(score[0], (0.04 + 0.36 + 0.01 + 0.09) / 4);
  EXPECT_DOUBLE_EQ(score[1], (0.01 + 0.09 + 0.04 + 0.16) / 4);
  EXPECT_DOUBLE_EQ(integrated_brier(at, score), 0.5 * (score[0] + score[1]));
}

// Whoever dies at t is dead by then, and weighs by who is under observation just before: of four, one is lost as another dies at 2,
// so G is 1 before 2 and 1/2 at 2.
TEST(Brier, DeathsAndLossesAtItsTime) {
  const std::vector<double> time{1, 2, 2, 3}, at{2};
  const std::vector<uint8_t> event{1, 1, 0, 1};
  data::RowMatrix<double> s(4, 1);
  s << 0.3, 0.6, 0.9, 0.7;
  EXPECT_DOUBLE_EQ(brier_scores(at, time, event, s, CensoringDistribution(time, event))[0], (0.3 * 0.3 + 0.6 * 0.6 + 0.3 * 0.3 / 0.5) / 4);
}

// Patients lost before t weigh nothing, the others 1/G: of three, one is lost at 2, so G(2) = 1/2.
TEST(Brier, WeighsByTheInverseOfBeingObserved) {
  const std::vector<double> time{1, 2, 5}, at{3};
  const std::vector<uint8_t> event{1, 0, 1};
  data::RowMatrix<double> s(3, 1);
  s << 0.3, 0.8, 0.6;
  const CensoringDistribution g(time, event);
  EXPECT_DOUBLE_EQ(brier_scores(at, time, event, s, g)[0], (0.3 * 0.3 / 1 + 0.4 * 0.4 / 0.5) / 3);
}

// A curve that knows nothing scores S (1 - S), whoever is censored.
TEST(Brier, IsUnbiasedUnderCensoring) {
  const int64_t n = 20000;
  PhiloxSequence random(PhiloxKey{4, 4, 4});
  std::vector<double> time;
  std::vector<uint8_t> event;
  for (int64_t i = 0; i < n; ++i) {
    const double death = -std::log(1 - random.uniform()), lost = -2 * std::log(1 - random.uniform());
    time.push_back(std::min(death, lost));
    event.push_back(death <= lost);
  }
  const CensoringDistribution g(time, event);
  const double s = std::exp(-1.0);
  const std::vector<double> at{1};
  EXPECT_NEAR(brier_scores(at, time, event, data::RowMatrix<double>::Constant(n, 1, s), g)[0], s * (1 - s), 0.005);
}

}  // namespace
}  // namespace panvae::eval
