#include "eval/concordance.h"

#include <algorithm>
#include <cmath>

#include "tests/eval/survival_helpers.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {
namespace {

using test::expect_relative;
using test::Patients;
using test::patients;
using test::TiedPatients;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// concordance() of R, survival 3.5-3 (tests/reference/survival_rows.R).
TEST(Concordance, AgreesWithRUnderHeavyTies) {
  const TiedPatients p;
  const Concordance harrell = concordance(p.risk, p.time, p.event);
  expect_relative(harrell.c(), p.expected.at("harrell"), 1e-12, "Harrell");
  EXPECT_EQ(harrell.concordant, p.expected.at("count.0"));
  EXPECT_EQ(harrell.discordant, p.expected.at("count.1"));
  EXPECT_EQ(harrell.tied, p.expected.at("count.2"));
  EXPECT_EQ(static_cast<double>(harrell.tied_times), p.expected.at("count.3") + p.expected.at("count.4"));
  expect_relative(concordance(p.risk, p.time, p.event, p.stratum).c(), p.expected.at("harrell_strata"), 1e-12, "within strata");
  const CensoringDistribution g(p.time, p.event);
  ConcordanceOptions o;
  o.censoring = &g;
  expect_relative(concordance(p.risk, p.time, p.event, {}, o).c(), p.expected.at("uno"), 1e-12, "n/G2");
  o.tau = 15;
  o.tau_inclusive = true;
  expect_relative(concordance(p.risk, p.time, p.event, {}, o).c(), p.expected.at("uno_ymax15"), 1e-12, "n/G2 up to 15");
  o.tau_inclusive = false;
  o.tau = 15.5;  // times are whole
  expect_relative(concordance(p.risk, p.time, p.event, {}, o).c(), p.expected.at("uno_ymax15"), 1e-12, "n/G2 before 15.5");
}

// G, and C, as they are defined, pair by pair.
double censoring(const Patients& p, double t, bool right) {
  std::vector<double> times(p.time);
  std::sort(times.begin(), times.end());
  times.erase(std::unique(times.begin(), times.end()), times.end());
  double g = 1;
  for (double s : times) {
    if (right ? s > t : s >= t) break;
    double at_risk = 0, lost = 0;
    for (size_t i = 0; i < p.time.size(); ++i) {
      if (p.time[i] > s || (p.time[i] == s && !p.event[i])) at_risk += 1;
      if (p.time[i] == s && !p.event[i]) lost += 1;
    }
    if (lost > 0) g *= 1 - lost / at_risk;
  }
  return g;
}

double brute_force(const Patients& p, bool strata, const ConcordanceOptions& o) {
  double score = 0, weight = 0;
  for (size_t i = 0; i < p.time.size(); ++i)
    for (size_t j = 0; j < p.time.size(); ++j) {
      if (i == j || !p.event[i] || (strata && p.stratum[i] != p.stratum[j])) continue;
      if (!(p.time[i] < p.time[j] || (p.time[i] == p.time[j] && !p.event[j]))) continue;
      if (o.tau_inclusive ? p.time[i] > o.tau : p.time[i] >= o.tau) continue;
      const double w = o.censoring ? std::pow(censoring(p, p.time[i], o.right), -2) : 1;
      weight += w;
      score += w * (std::abs(p.risk[i] - p.risk[j]) <= o.tie_tolerance ? 0.5 : p.risk[i] > p.risk[j] ? 1 : 0);
    }
  return score / weight;
}

TEST(Concordance, AgreesWithAllPairs) {
  for (uint32_t seed = 0; seed < 12; ++seed) {
    const Patients p = patients(20 + 9 * seed, 0, 5 + 2 * seed, seed);
    const CensoringDistribution g(p.time, p.event);
    for (bool uno : {false, true})
      for (bool strata : {false, true})
        for (bool right : {false, true})
          for (bool inclusive : {false, true})
            for (double tau : {3.0, kInfinity})
              for (double tolerance : {1e-8, 0.3}) {  // risks are quarters: neighbours tie within 0.3
                ConcordanceOptions o;
                o.censoring = uno ? &g : nullptr;
                o.right = right;
                o.tau_inclusive = inclusive;
                o.tau = tau;
                o.tie_tolerance = tolerance;
                if (uno && right && tau == kInfinity && g.zero_from() < kInfinity) continue;  // refused, below
                EXPECT_NEAR(concordance(p.risk, p.time, p.event, strata ? p.stratum : std::vector<int32_t>{}, o).c(), brute_force(p, strata, o), 1e-12)
                    << "seed " << seed << ", uno " << uno << ", strata " << strata << ", right " << right << ", tau " << tau;
              }
  }
}

// Sizes around powers of two, where the tree changes its height.
TEST(Concordance, EverySizeOfTheTree) {
  for (int64_t n = 2; n < 70; ++n) {
    Patients p = patients(n, 0, 9, 1000 + static_cast<uint32_t>(n));
    p.event[0] = 1, p.time[0] = 0, p.time[1] = 4;
    EXPECT_NEAR(concordance(p.risk, p.time, p.event).c(), brute_force(p, false, {}), 1e-13) << n;
  }
}

TEST(Concordance, OrderOfPatientsDoesNotMatter) {
  const Patients p = patients(200, 0, 15, 3), q = p.reordered(test::shuffled(200, 2));
  const CensoringDistribution g(p.time, p.event), h(q.time, q.event);
  ConcordanceOptions a, b;
  a.censoring = &g, b.censoring = &h;
  EXPECT_EQ(concordance(p.risk, p.time, p.event, p.stratum, a).c(), concordance(q.risk, q.time, q.event, q.stratum, b).c());
}

TEST(Concordance, PerfectReversedAndTied) {
  const std::vector<double> time{1, 2, 3, 4, 5}, good{5, 4, 3, 2, 1}, same(5, 0.7);
  const std::vector<uint8_t> event{1, 0, 1, 1, 0};
  EXPECT_EQ(concordance(good, time, event).c(), 1);
  EXPECT_EQ(concordance(time, time, event).c(), 0);
  EXPECT_EQ(concordance(same, time, event).c(), 0.5);
  std::vector<double> near(5);
  for (size_t i = 0; i < 5; ++i) near[i] = 0.7 + 1e-10 * time[i];
  EXPECT_EQ(concordance(near, time, event).c(), 0.5) << "differences of rounding are ties";
}

// Risks exactly the tolerance apart are tied, on either side.
TEST(Concordance, TheToleranceIncludesItsEdges) {
  ConcordanceOptions o;
  o.tie_tolerance = 0.5;
  const Concordance c = concordance(std::vector<double>{1.5, 1, 2, 2.5, 0.5}, std::vector<double>{1, 2, 2, 2, 2}, std::vector<uint8_t>{1, 0, 0, 0, 0}, {}, o);
  EXPECT_EQ(c.tied, 2);
  EXPECT_EQ(c.concordant, 1);
  EXPECT_EQ(c.discordant, 1);
}

TEST(Concordance, NoUsablePairIsNaN) {
  const std::vector<double> time{1, 2, 3}, risk{3, 2, 1};
  EXPECT_TRUE(std::isnan(concordance(risk, time, std::vector<uint8_t>{0, 0, 0}).c()));
  EXPECT_TRUE(std::isnan(concordance(risk, time, std::vector<uint8_t>{0, 0, 1}).c())) << "nobody outlives the last";
  EXPECT_TRUE(std::isnan(concordance(risk, std::vector<double>{2, 2, 2}, std::vector<uint8_t>{1, 1, 1}).c())) << "deaths at one time";
  EXPECT_TRUE(std::isnan(concordance(risk, time, std::vector<uint8_t>{1, 1, 1}, std::vector<int32_t>{0, 1, 2}).c()));
  EXPECT_TRUE(std::isnan(concordance({}, {}, {}).c()));
  ConcordanceOptions o;
  o.tau = 1;
  EXPECT_TRUE(std::isnan(concordance(risk, time, std::vector<uint8_t>{1, 1, 1}, {}, o).c())) << "T < tau";
  o.tau_inclusive = true;
  EXPECT_EQ(concordance(risk, time, std::vector<uint8_t>{1, 1, 1}, {}, o).c(), 1);
}

// In the training patients everyone is lost by day 5; a test patient dies on day 7.
TEST(Concordance, NamesTauWhereNobodyIsObserved) {
  const std::vector<double> train{1, 3, 5, 5};
  const std::vector<uint8_t> train_event{1, 0, 0, 0};
  const CensoringDistribution g(train, train_event);
  EXPECT_EQ(g.zero_from(), 5);
  const std::vector<double> time{2, 7, 9}, risk{3, 2, 1};
  const std::vector<uint8_t> event{1, 1, 0};
  ConcordanceOptions o;
  o.censoring = &g;
  EXPECT_ERROR(ErrorCode::input, "a death at 7 days", concordance(risk, time, event, {}, o));
  EXPECT_ERROR(ErrorCode::input, "--tau none", concordance(risk, time, event, {}, o));
  EXPECT_ERROR(ErrorCode::input, "up to 5", concordance(risk, time, event, {}, o));
  o.tau = 8;
  EXPECT_ERROR(ErrorCode::input, "--tau 8", concordance(risk, time, event, {}, o));
  o.tau = 5;
  EXPECT_EQ(concordance(risk, time, event, {}, o).c(), 1);
}

TEST(Concordance, RefusesWhatIsNotFinite) {
  const std::vector<double> time{1, 2}, bad{1, std::nan("")};
  const std::vector<uint8_t> event{1, 1};
  EXPECT_ERROR(ErrorCode::input, "row 2", concordance(bad, time, event));
  EXPECT_ERROR(ErrorCode::input, "row 2", concordance(time, bad, event));
  EXPECT_ERROR(ErrorCode::usage, "concordance:", concordance(time, time, std::vector<uint8_t>{1}));
}

}  // namespace
}  // namespace panvae::eval
