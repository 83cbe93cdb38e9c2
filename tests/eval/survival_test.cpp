#include "eval/survival.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <sstream>
#include <tuple>

#include "base/interrupt.h"
#include "eval/concordance.h"
#include "eval/cox.h"
#include "eval/kaplan_meier.h"
#include "eval/survival_data.h"
#include "tests/eval/survival_helpers.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {
namespace {

using test::expect_relative;
using test::kStats;
using test::set_factor;
using test::set_number;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

data::Dataset<double> reference() {
  data::ReadOptions read;
  read.obs_table = kStats + "embedding_obs.tsv";
  return data::read_dataset<double>(kStats + "embedding.tsv", read);
}

data::Dataset<double> reordered(const data::Dataset<double>& d, const std::vector<int64_t>& rows) {
  data::Dataset<double> out = d;
  out.obs = d.obs.select(rows);
  out.x.resize(static_cast<Eigen::Index>(rows.size()), d.x.cols());
  for (size_t i = 0; i < rows.size(); ++i) out.x.row(static_cast<int64_t>(i)) = d.x.row(rows[i]);
  return out;
}

// n patients whose hazard follows the first dimension, by exp(effect * z0), of the largest variance.
data::Dataset<double> study(int64_t n, int64_t dimensions, double effect, uint32_t op = 21) {
  data::RowMatrix<double> x = test::gaussian(n, dimensions, op);
  x.col(0) *= 3;
  PhiloxSequence g(PhiloxKey{op, 99, 0});
  std::vector<double> time, event, age;
  std::vector<std::string> sex, cohort;
  for (int64_t i = 0; i < n; ++i) {
    const double death = -1000 * std::log(1 - g.uniform()) * std::exp(-effect * x(i, 0) / 3), lost = 3000 * g.uniform() + 1;
    time.push_back(std::ceil(std::min(death, lost)));
    event.push_back(death <= lost);
    age.push_back(std::round(60 + 10 * g.normal()));
    sex.push_back(g.below(2) ? "male" : "female");
    cohort.push_back(g.below(2) ? "A" : "B");
  }
  data::Dataset<double> d = test::dataset(std::move(x));
  set_number(d.obs, "os_time", time);
  set_number(d.obs, "os_event", event);
  set_number(d.obs, "age", age);
  set_factor(d.obs, "sex", sex);
  set_factor(d.obs, "cohort", cohort);
  return d;
}

SurvivalOptions with(int64_t k, std::vector<std::string> covariates = {}) {
  SurvivalOptions o;
  o.top_k = k;
  o.covariates = std::move(covariates);
  return o;
}

bool warned(const SurvivalResult& r, const std::string& part) {
  return std::any_of(r.warnings.begin(), r.warnings.end(), [&](const std::string& w) { return w.find(part) != std::string::npos; });
}

std::string all_warnings(const SurvivalResult& r) {
  std::string out;
  for (const std::string& w : r.warnings) out += w + "\n";
  return out;
}

// coxph and concordance of R, fold by fold: PCs of the training folds, the first six, age, sex, no ridge.
TEST(Survival, AgreesWithR) {
  const auto d = reference();
  SurvivalOptions o = with(6, {"age", "sex"});
  o.ridge = 0;
  o.fold_key = "fold";
  o.tau.kind = Tau::Kind::none;
  o.censoring_from_test = true;
  const SurvivalResult r = evaluate_survival(d, o);
  o.stratify = "cohort";
  const SurvivalResult within = evaluate_survival(d, o);
  const data::Table expected = data::read_table(kStats + "expected_survival_top6_age_sex_ridge0.tsv");
  ASSERT_EQ(r.folds.size(), static_cast<size_t>(expected.rows()));
  for (size_t f = 0; f < r.folds.size(); ++f) {
    const auto at = [&](const char* column) { return expected.at(column).number[f]; };
    expect_relative(r.folds[f].loglik, at("loglik"), 1e-8, "loglik");
    expect_relative(r.folds[f].harrell, at("harrell"), 1e-8, "Harrell");
    expect_relative(r.folds[f].uno, at("uno_test_censoring"), 1e-8, "Uno");
    expect_relative(r.folds[f].within_cohort, at("harrell_by_cohort"), 1e-8, "within cohorts");
    expect_relative(within.folds[f].harrell, at("harrell_by_cohort"), 1e-8, "stratified");
    EXPECT_EQ(within.folds[f].loglik, r.folds[f].loglik) << "the model is the same";
  }
  EXPECT_EQ(r.n, 320);
  EXPECT_EQ(r.events, 208);
  EXPECT_EQ(r.top_k, 6);
  EXPECT_EQ(r.setting, "embedding+clinical");
}

TEST(Survival, CoefficientsAgreeWithR) {
  const auto d = reference();
  const auto rows = test::all_rows(d.samples());
  const Outcomes o = read_outcomes(d.obs, rows);
  const Covariate age = read_covariate(d.obs, "age", rows), sex = read_covariate(d.obs, "sex", rows);
  data::RowMatrix<double> x(d.samples(), 5);
  x << age.x, sex.x, d.x.leftCols(3);
  const CoxFit fit = fit_cox(o.time, o.event, x);
  const data::Table expected = data::read_table(kStats + "expected_cox_age_sex_z1_z3.tsv");
  ASSERT_EQ(expected.keys, (std::vector<std::string>{"age", sex.names[0], "z1", "z2", "z3"}));
  for (Eigen::Index j = 0; j < 5; ++j) {
    expect_relative(fit.coefficient[j], expected.at("coefficient").number[static_cast<size_t>(j)], 1e-8, "coefficient");
    expect_relative(fit.standard_error[j], expected.at("se").number[static_cast<size_t>(j)], 1e-8, "se");
  }
}

TEST(Survival, FindsTheEffectAndItsDirection) {
  const auto d = study(400, 8, 1.2);
  const SurvivalResult r = evaluate_survival(d, with(3));
  EXPECT_GT(r.harrell.mean, 0.7);
  EXPECT_GT(r.uno.mean, 0.7);
  EXPECT_LT(r.brier.mean, r.brier_reference.mean);
  EXPECT_LT(r.log_rank.p_value, 1e-6);
  EXPECT_GT(r.median[0], r.median[2]) << "those at low risk live longer";
  const SurvivalResult none = evaluate_survival(d, with(0, {"age", "sex"}));
  EXPECT_NEAR(none.harrell.mean, 0.5, 0.08);
  EXPECT_EQ(none.setting, "clinical");
  EXPECT_EQ(none.top_k, 0);
}

// Outcomes that have nothing to do with the patients: C is 1/2 to within four standard errors (of the order of
// sqrt(1 / (3 events)) each, Harrell's C without signal), whatever is fitted.
TEST(Survival, PermutedOutcomesGiveOneHalf) {
  const auto d = study(400, 8, 1.5);
  SurvivalOptions o = with(5, {"age", "sex", "cohort"});
  o.control = Control::permuted;
  double sum = 0;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    o.seed = seed;
    const SurvivalResult r = evaluate_survival(d, o);
    EXPECT_EQ(r.events, evaluate_survival(d, with(5)).events);
    EXPECT_NEAR(r.harrell.mean, 0.5, 4 / std::sqrt(3.0 * static_cast<double>(r.events))) << seed;
    sum += r.harrell.mean;
  }
  EXPECT_NEAR(sum / 5, 0.5, 4 / std::sqrt(15.0 * 250));
  EXPECT_NE(to_text(evaluate_survival(d, o)).find("CONTROL"), std::string::npos);
}

// Ten cohorts of thirty: by chance more of one cohort die. Folds that had this chance in training and test patients alike
// would find it again (with deaths spread evenly by cohort the mean here is 0.522).
TEST(Survival, ChanceDeathsOfACohortAreNotFoundAgain) {
  auto d = study(300, 4, 0);
  std::vector<std::string> cohort;
  for (int i = 0; i < 300; ++i) cohort.push_back(fmt::format("C{}", i % 10));
  set_factor(d.obs, "cohort", cohort);
  SurvivalOptions o = with(0, {"cohort"});
  o.control = Control::permuted;
  std::vector<double> c;
  for (o.seed = 0; o.seed < 40; ++o.seed) c.push_back(evaluate_survival(d, o).harrell.mean);
  const Spread s = spread(c);
  EXPECT_NEAR(s.mean, 0.5, 3 * s.se);
  EXPECT_LT(s.se, 0.01);
}

TEST(Survival, ChoosesMoreComponentsWhereTheyHelp) {
  // The effect sits in the eighth component.
  data::Dataset<double> d = study(300, 40, 1.5);
  d.x.col(0) /= 3;
  for (Eigen::Index j = 1; j < 8; ++j) d.x.col(j) *= 4;
  d.x.col(0) *= 2;
  const SurvivalResult r = evaluate_survival(d, with(kAutoTopK));
  EXPECT_TRUE(r.auto_top_k);
  EXPECT_GE(r.top_k, 10);
  EXPECT_LE(r.top_k, 20) << "40 dimensions have no 50 components";
  EXPECT_GT(r.harrell.mean, 0.65);
  EXPECT_EQ(to_json(r)["settings"]["top_k"], "auto");
  EXPECT_EQ(evaluate_survival(study(60, 3, 1), with(kAutoTopK)).top_k, 3) << "as many as there are";
}

TEST(Survival, OrderAndThreadsDoNotMatter) {
  auto d = study(200, 12, 0.8);
  std::vector<std::string> donor;
  for (int i = 0; i < 200; ++i) donor.push_back(fmt::format("D{}", i / 2));
  set_factor(d.obs, "donor", donor);
  auto age = d.obs.at("age").number;
  age[3] = age[70] = kNaN;
  set_number(d.obs, "age", age);
  SurvivalOptions o = with(kAutoTopK, {"age", "sex"});
  const test::Threads one(1);
  const SurvivalResult a = evaluate_survival(d, o);
  const SurvivalResult b = evaluate_survival(reordered(d, test::shuffled(200, 5)), o);
  set_threads(3);
  const SurvivalResult c = evaluate_survival(d, o);
  EXPECT_EQ(to_json(a).dump(), to_json(b).dump());
  EXPECT_EQ(to_json(a).dump(), to_json(c).dump());
  EXPECT_EQ(a.risk, b.risk);
  EXPECT_EQ(a.risk, c.risk);
  std::map<std::string, std::set<int32_t>> folds;
  for (size_t i = 0; i < a.row.size(); ++i) folds[donor[static_cast<size_t>(a.row[i])]].insert(a.fold[i]);
  for (const auto& [name, f] : folds) EXPECT_EQ(f.size(), 1u) << name;
  EXPECT_TRUE(warned(a, "200 samples are of 100 donors"));
}

// The model of a fold must not see the patients it is tested on: whatever stands in one test patient's row, the risks of the
// others in that fold stay, and his own outcome changes nothing about his risk.
TEST(Survival, TestPatientsDoNotReachTheModel) {
  auto d = study(150, 6, 0.8);
  std::vector<double> fold;
  for (int i = 0; i < 150; ++i) fold.push_back(i % 3);
  set_number(d.obs, "fold", fold);
  SurvivalOptions o = with(kAutoTopK, {"age", "sex"});
  o.fold_key = "fold";
  const SurvivalResult a = evaluate_survival(d, o);
  auto e = d;
  for (int64_t i = 0; i < 150; i += 3) {
    auto time = e.obs.at("os_time").number;
    time[static_cast<size_t>(i)] = 5000 - time[static_cast<size_t>(i)];
    set_number(e.obs, "os_time", time);
  }
  e.x.row(3) *= 7;
  const SurvivalResult b = evaluate_survival(e, o);
  for (size_t i = 0; i < 150; i += 3) EXPECT_EQ(a.risk[i] == b.risk[i], i != 3) << i;
  EXPECT_NE(a.risk[1], b.risk[1]) << "but they train the others";
}

// A quantile as R defines it by default (type 7).
double quantile_of(std::vector<double> v, double p) {
  std::sort(v.begin(), v.end());
  const double at = p * static_cast<double>(v.size() - 1);
  const auto low = static_cast<size_t>(at);
  return low + 1 < v.size() ? v[low] + (at - static_cast<double>(low)) * (v[low + 1] - v[low]) : v[low];
}

// What a fold reports, put together here from the parts, each of which answers as R does: one covariate, two folds.
TEST(Survival, AFoldByItsParts) {
  auto d = study(240, 2, 1);
  std::vector<double> fold, time = d.obs.at("os_time").number, age = d.obs.at("age").number;
  // Times of months and a hazard that follows age, so that ties and edges of groups are met.
  for (size_t i = 0; i < 240; ++i) {
    fold.push_back(static_cast<double>(i % 2));
    age[i] = 5 * std::round(age[i] / 5) + 10 * static_cast<double>(i % 2);  // so that thirds of the folds differ
    time[i] = 30 * std::ceil(time[i] * std::exp((60 - age[i]) / 20) / 30);
  }
  // The last patient is under observation when the last one dies, which C without a tau needs.
  std::vector<double> event = d.obs.at("os_event").number;
  for (size_t i = 0; i < 240; ++i)
    if (time[i] > 1500) time[i] = 1500, event[i] = 0;
  set_number(d.obs, "fold", fold);
  set_number(d.obs, "age", age);
  set_number(d.obs, "os_time", time);
  set_number(d.obs, "os_event", event);
  // A time at which patients of both folds die.
  double shared = 0;
  for (double at = 300; shared == 0 && at < 1200; at += 30) {
    int dead[2] = {0, 0};
    for (size_t i = 0; i < 240; ++i) dead[i % 2] += time[i] == at && event[i] == 1;
    if (dead[0] > 0 && dead[1] > 0) shared = at;
  }
  ASSERT_GT(shared, 0);
  std::vector<double> uno;
  int on_an_edge = 0;
  for (int variant = 0; variant < 7; ++variant) {
    SCOPED_TRACE(variant);
    SurvivalOptions o = with(0, {"age"});
    o.fold_key = "fold";
    if (variant >= 2) o.tau = {Tau::Kind::days, shared};
    o.tau_inclusive = variant == 3;
    o.g_right = variant == 4;
    o.censoring_from_test = variant == 5;
    if (variant == 6) o.stratify = "cohort";
    if (variant == 1) o.tau.kind = Tau::Kind::none;
    const SurvivalResult r = evaluate_survival(d, o);
    ASSERT_EQ(r.row, test::all_rows(240));
    for (int32_t f = 0; f < 2; ++f) {
      struct Patients {
        std::vector<double> time, deaths_at;
        std::vector<uint8_t> event;
        std::vector<int32_t> cohort;
        std::vector<size_t> at;
        data::RowMatrix<double> x;
      } train, test;
      for (size_t i = 0; i < 240; ++i) {
        Patients& p = static_cast<int32_t>(i % 2) == f ? test : train;
        p.at.push_back(i);
        p.time.push_back(time[i]);
        p.event.push_back(event[i] == 1);
        p.cohort.push_back(d.obs.at("cohort").text(static_cast<int64_t>(i)) == "A");
        if (p.event.back()) p.deaths_at.push_back(time[i]);
      }
      for (Patients* p : {&train, &test}) {
        p->x.resize(static_cast<Eigen::Index>(p->at.size()), 1);
        for (size_t i = 0; i < p->at.size(); ++i) p->x(static_cast<Eigen::Index>(i), 0) = age[p->at[i]];
      }
      const SurvivalFold& got = r.folds[static_cast<size_t>(f)];
      const double horizon = quantile_of(train.deaths_at, 0.9);
      EXPECT_DOUBLE_EQ(got.tau, variant == 0 ? horizon : variant == 1 ? INFINITY : shared);
      const CoxFit fit = fit_cox(train.time, train.event, train.x);
      const std::vector<double> risk = linear_predictor(fit, test.x), of_train = linear_predictor(fit, train.x);
      const double low = quantile_of(of_train, 1.0 / 3), high = quantile_of(of_train, 2.0 / 3);
      for (size_t i = 0; i < risk.size(); ++i) {
        EXPECT_EQ(r.risk[test.at[i]], risk[i]);
        EXPECT_EQ(r.group[test.at[i]], risk[i] <= low ? 0 : risk[i] <= high ? 1 : 2) << "thirds of the training patients";
        on_an_edge += risk[i] == low || risk[i] == high;
      }
      ConcordanceOptions c;
      const CensoringDistribution g = variant == 5 ? CensoringDistribution(test.time, test.event) : CensoringDistribution(train.time, train.event);
      c.censoring = &g;
      c.tau = got.tau;
      c.tau_inclusive = variant == 3;
      c.right = variant == 4;
      const std::vector<int32_t> strata = variant == 6 ? test.cohort : std::vector<int32_t>();
      EXPECT_DOUBLE_EQ(got.uno, concordance(risk, test.time, test.event, strata, c).c());
      EXPECT_EQ(got.harrell, concordance(risk, test.time, test.event, strata).c());
      if (f == 0) uno.push_back(got.uno);

      const double end = std::min(horizon, got.tau);
      std::vector<double> at;
      for (int k = 1; k <= 100; ++k) at.push_back(end * k / 100);
      const auto n = static_cast<Eigen::Index>(test.at.size());
      data::RowMatrix<double> model(n, 100), reference(n, 100);
      const BaselineHazard hazard = baseline_hazard(fit, train.time, train.event, train.x);
      const KaplanMeier km = kaplan_meier(train.time, train.event);
      for (Eigen::Index i = 0; i < n; ++i)
        for (Eigen::Index k = 0; k < 100; ++k) {
          const double t = at[static_cast<size_t>(k)];
          model(i, k) = std::exp(-hazard.strata[0].at(t) * std::exp(risk[static_cast<size_t>(i)]));
          reference(i, k) = km.at(t);
        }
      const CensoringDistribution of_train_patients(train.time, train.event);
      expect_relative(got.brier, integrated_brier(at, brier_scores(at, test.time, test.event, model, of_train_patients)), 1e-12, "Brier");
      expect_relative(got.brier_reference, integrated_brier(at, brier_scores(at, test.time, test.event, reference, of_train_patients)), 1e-12, "reference");
    }
    for (int32_t group = 0; group < 3; ++group) {
      std::vector<double> times;
      std::vector<uint8_t> events;
      for (size_t i = 0; i < 240; ++i)
        if (r.group[i] == group) times.push_back(r.time[i]), events.push_back(r.event[i]);
      const double expected = kaplan_meier(times, events).median(), median = r.median[static_cast<size_t>(group)];
      EXPECT_TRUE(median == expected || (std::isnan(median) && std::isnan(expected))) << group;
    }
    EXPECT_EQ(r.log_rank.chi_square, log_rank(r.time, r.event, r.group, 3).chi_square);
  }
  EXPECT_GT(on_an_edge, 0) << "a patient on the edge of a group is of the lower one";
  for (size_t i = 3; i < 7; ++i) EXPECT_NE(uno[i], uno[2]) << "option " << i << " does something";
}

// Components have unit variance before the ridge meets them, and covariates are not shrunk at all.
TEST(Survival, TheRidgeIsOnStandardisedComponentsAlone) {
  const auto d = study(150, 4, 1);
  auto larger = d;
  larger.x *= 1000;
  SurvivalOptions o = with(4, {"age"});
  o.ridge = 50;
  const SurvivalResult a = evaluate_survival(d, o), b = evaluate_survival(larger, o);
  for (size_t i = 0; i < a.risk.size(); ++i) EXPECT_NEAR(a.risk[i], b.risk[i], 1e-7);
  o = with(0, {"age"});
  o.ridge = 0;
  const SurvivalResult plain = evaluate_survival(d, o);
  o.ridge = 1e6;
  EXPECT_EQ(evaluate_survival(d, o).risk, plain.risk);
  o = with(4, {"age"});
  o.ridge = 1e9;
  const SurvivalResult clinical = evaluate_survival(d, o);
  for (size_t i = 0; i < clinical.risk.size(); ++i) EXPECT_NEAR(clinical.risk[i], plain.risk[i], 1e-5) << "components are shrunk to nothing";
}

// The number of components is chosen by patients, and donors, that its models have not seen: otherwise more would always look better.
TEST(Survival, ChoosesFewComponentsWhereMoreAreNoise) {
  const data::Dataset<double> d = study(150, 60, 1.5);
  EXPECT_EQ(evaluate_survival(d, with(kAutoTopK)).top_k, 5);
  std::vector<int64_t> rows;
  std::vector<std::string> donor;
  for (int64_t i = 0; i < 150; ++i)
    for (int copy = 0; copy < 3; ++copy) rows.push_back(i), donor.push_back(fmt::format("D{}", i));
  data::Dataset<double> copies = reordered(d, rows);
  for (size_t i = 0; i < rows.size(); ++i) copies.obs.keys[i] += fmt::format("-{}", i);
  set_factor(copies.obs, "donor", donor);
  EXPECT_EQ(evaluate_survival(copies, with(kAutoTopK)).top_k, 5) << "each patient three times";
}

TEST(Survival, UsesTheHoldout) {
  auto d = study(200, 5, 1);
  std::vector<std::string> split;
  for (int i = 0; i < 200; ++i) split.push_back(i % 4 ? "holdout" : "train");
  set_factor(d.obs, "split", split);
  EXPECT_EQ(evaluate_survival(d, with(3)).n, 150);
  EXPECT_EQ(evaluate_survival(d, with(3)).on, "holdout");
  SurvivalOptions o = with(3);
  o.on = On::all;
  EXPECT_EQ(evaluate_survival(d, o).n, 200);
}

TEST(Survival, JsonHasTheKeysOfTheContract) {
  auto d = study(120, 6, 1);
  auto time = d.obs.at("os_time").number;
  time[5] = kNaN;
  set_number(d.obs, "os_time", time);
  const SurvivalResult r = evaluate_survival(d, with(2, {"age", "sex"}));
  const Json j = to_json(r);
  for (const char* key : {"harrell_mean", "harrell_sd", "uno_mean", "uno_sd", "top_k", "n", "events", "dropped", "folds", "warnings", "settings",
                          "within_cohort_mean", "risk_groups", "log_rank", "setting", "control"})
    EXPECT_TRUE(j.contains(key)) << key;
  EXPECT_EQ(j["n"], 119);
  EXPECT_EQ(j["dropped"], 1);
  EXPECT_EQ(j["top_k"], 2);
  EXPECT_TRUE(j["control"].is_null());
  ASSERT_EQ(j["folds"].size(), 5u);
  double sum = 0;
  for (const Json& f : j["folds"]) {
    for (const char* key : {"harrell", "uno", "coefficients", "standard_errors", "loglik", "tau"}) EXPECT_TRUE(f.contains(key)) << key;
    std::vector<std::string> names;
    for (const auto& [name, value] : f["coefficients"].items()) names.push_back(name);
    EXPECT_EQ(names, (std::vector<std::string>{"age", "sex:male", "PC1", "PC2"}));
    EXPECT_GT(f["tau"].get<double>(), 0);
    EXPECT_LT(f["loglik_null"].get<double>(), f["loglik"].get<double>());
    sum += f["uno"].get<double>();
  }
  EXPECT_DOUBLE_EQ(j["uno_mean"].get<double>(), sum / 5);
  const std::string text = to_text(r);
  for (const char* part : {"119 patients", "1 left out", "Uno's C", "Harrell's C", "sex:male", "log-rank test", "within cohorts"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(Survival, RiskTableHasEveryPatientOnce) {
  const auto d = study(90, 4, 1);
  const SurvivalResult r = evaluate_survival(d, with(2));
  const data::Table t = risk_table(r, d.obs);
  EXPECT_EQ(t.key_name, "sample");
  EXPECT_EQ(t.keys, d.obs.keys);
  EXPECT_EQ(t.at("os_time").number, d.obs.at("os_time").number);
  EXPECT_EQ(t.at("os_event").number, d.obs.at("os_event").number);
  for (const char* name : {"risk", "fold", "group", "cohort"}) EXPECT_EQ(t.at(name).count_missing(), 0) << name;
  std::map<std::string, int> groups;
  for (int64_t i = 0; i < t.rows(); ++i) ++groups[t.at("group").text(i)];
  EXPECT_EQ(groups.size(), 3u);
  for (const auto& [name, n] : groups) EXPECT_NEAR(n, 30, 15) << name;
}

// Dummies of all levels but the first, a missing level last; a missing number takes the training mean, which is no news.
TEST(Survival, Covariates) {
  data::Table obs;
  obs.keys = {"a", "b", "c", "d", "e"};
  set_number(obs, "age", {50, kNaN, 70, 60, 40});
  set_factor(obs, "grade", {"3", "1", "", "2", "1"});
  const auto rows = test::all_rows(5);
  const Covariate age = read_covariate(obs, "age", rows), grade = read_covariate(obs, "grade", rows);
  EXPECT_EQ(age.names, std::vector<std::string>{"age"});
  EXPECT_EQ(age.count_missing, 1);
  EXPECT_EQ(age.missing, (std::vector<uint8_t>{0, 1, 0, 0, 0}));
  EXPECT_EQ(grade.names, (std::vector<std::string>{"grade:2", "grade:3", "grade:missing"}));
  data::RowMatrix<double> expected(5, 3);
  expected << 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0;
  EXPECT_EQ(grade.x, expected);

  auto d = study(100, 3, 1);
  auto ages = d.obs.at("age").number;
  for (size_t i = 0; i < 100; i += 9) ages[i] = kNaN;
  set_number(d.obs, "age", ages);
  std::vector<double> fold;
  for (int i = 0; i < 100; ++i) fold.push_back(i % 2);
  set_number(d.obs, "fold", fold);
  SurvivalOptions o = with(0, {"age"});
  o.fold_key = "fold";
  const SurvivalResult r = evaluate_survival(d, o);
  EXPECT_EQ(r.covariate_missing, std::vector<int64_t>{12});
  EXPECT_FALSE(warned(r, "samples have no 'age'"));
  auto half = d;
  for (size_t i = 0; i < 51; ++i) ages[i] = kNaN;
  for (size_t i = 51; i < 100; ++i) ages[i] = 50 + static_cast<double>(i % 7);
  set_number(half.obs, "age", ages);
  EXPECT_TRUE(warned(evaluate_survival(half, o), "51 of 100 samples have no 'age'"));
  ages[0] = 50;
  set_number(half.obs, "age", ages);
  EXPECT_FALSE(warned(evaluate_survival(half, o), "samples have no 'age'"));
  for (size_t i = 0; i < 100; i += 9) EXPECT_NEAR(r.risk[i], 0, 1e-12) << "the mean patient's";
}

// Cohorts that are numbered are cohorts all the same: dummies, not a slope per number.
TEST(Survival, NumberedCohortsAreNoAmounts) {
  auto d = study(120, 3, 1);
  auto numbered = d;
  std::vector<std::string> name;
  std::vector<double> number;
  for (int i = 0; i < 120; ++i) name.push_back(fmt::format("C{}", i % 3)), number.push_back(i % 3);
  set_factor(d.obs, "cohort", name);
  set_number(numbered.obs, "cohort", number);
  EXPECT_EQ(read_covariate(numbered.obs, "cohort", test::all_rows(120)).names, (std::vector<std::string>{"cohort:1", "cohort:2"}));
  const SurvivalResult by_name = evaluate_survival(d, with(0, {"cohort"})), by_number = evaluate_survival(numbered, with(0, {"cohort"}));
  EXPECT_EQ(by_name.risk, by_number.risk);
}

// Patients of unknown cohorts are no cohort: C within cohorts is that without them.
TEST(Survival, UnknownCohortsAreNotOfOneCohort) {
  auto d = study(240, 3, 1);
  std::vector<std::string> cohort;
  std::vector<double> fold;
  std::vector<int64_t> known;
  for (int i = 0; i < 240; ++i) {
    cohort.push_back(i % 3 == 0 ? "" : i % 3 == 1 ? "A" : "B");
    fold.push_back(i % 2);
    if (i % 3 > 0) known.push_back(i);
  }
  set_factor(d.obs, "cohort", cohort);
  set_number(d.obs, "fold", fold);
  SurvivalOptions o = with(2);
  o.fold_key = "fold";
  const SurvivalResult r = evaluate_survival(d, o);
  o.stratify = "cohort";
  const SurvivalResult stratified = evaluate_survival(d, o);
  std::vector<int32_t> code;
  for (const std::string& c : cohort) code.push_back(c == "A" ? 0 : 1);
  for (size_t f = 0; f < 2; ++f) {
    std::vector<double> risk, time;
    std::vector<uint8_t> event;
    std::vector<int32_t> stratum;
    for (int64_t i : known) {
      const auto at = static_cast<size_t>(i);
      if (r.fold[at] != static_cast<int32_t>(f)) continue;
      risk.push_back(r.risk[at]), time.push_back(r.time[at]), event.push_back(r.event[at]), stratum.push_back(code[at]);
    }
    const double expected = concordance(risk, time, event, stratum).c();
    EXPECT_EQ(r.folds[f].within_cohort, expected);
    EXPECT_EQ(stratified.folds[f].harrell, expected);
  }
  EXPECT_TRUE(warned(r, "80 samples have no 'cohort'")) << all_warnings(r);
  std::vector<std::string> site;
  for (int i = 0; i < 240; ++i) site.push_back(i % 4 == 0 ? "" : "X");
  set_factor(d.obs, "site", site);
  o.stratify = "site";
  const SurvivalResult by_site = evaluate_survival(d, o);
  for (const char* part : {"80 samples have no 'cohort'", "60 samples have no 'site': they are in no pair of equal 'site'"})
    EXPECT_TRUE(warned(by_site, part)) << all_warnings(by_site);
}

TEST(Survival, StrataOfTheModelHaveTheirOwnBaseline) {
  auto d = study(200, 4, 0.7);
  auto time = d.obs.at("os_time").number;
  for (size_t i = 0; i < 200; ++i)
    if (d.obs.at("cohort").text(static_cast<int64_t>(i)) == "A") time[i] = std::ceil(time[i] / 5);
  set_number(d.obs, "os_time", time);
  SurvivalOptions o = with(0, {"cohort"});
  o.cox_strata = "cohort";
  const SurvivalResult r = evaluate_survival(d, o);
  EXPECT_TRUE(warned(r, "'cohort:B': a combination")) << all_warnings(r);
  EXPECT_TRUE(warned(r, "--stratify cohort"));
  EXPECT_EQ(r.harrell.mean, 0.5) << "nothing is left to tell";
  o = with(2);
  o.cox_strata = o.stratify = "cohort";
  const SurvivalResult within = evaluate_survival(d, o);
  EXPECT_GT(within.harrell.mean, 0.6);
  EXPECT_LT(within.brier.mean, within.brier_reference.mean);
}

// Where no inner fold has a pair to compare (every patient is his own stratum) all numbers of components are equal, and the fewest
// are taken; ten of ten may be.
TEST(Survival, TheFewestOfEqualNumbersOfComponents) {
  data::Dataset<double> d = study(300, 10, 1.5);
  d.x.col(0) *= 2.0 / 3;
  for (Eigen::Index j = 1; j < 8; ++j) d.x.col(j) *= 4;
  EXPECT_EQ(evaluate_survival(d, with(kAutoTopK)).top_k, 10);
  SurvivalOptions o = with(kAutoTopK);
  set_factor(d.obs, "id", d.obs.keys);
  o.stratify = "id";
  EXPECT_EQ(evaluate_survival(d, o).top_k, 5);
}

// Time and event change hands together, another way with another seed.
TEST(Survival, PermutedOutcomesAreThoseOfOtherPatients) {
  const auto d = study(80, 3, 1);
  SurvivalOptions o = with(1);
  o.control = Control::permuted;
  std::set<std::vector<double>> orders;
  for (o.seed = 0; o.seed < 3; ++o.seed) {
    const SurvivalResult r = evaluate_survival(d, o);
    orders.insert(r.time);
    std::multiset<std::pair<double, int>> before, after;
    for (size_t i = 0; i < 80; ++i) {
      before.emplace(d.obs.at("os_time").number[i], d.obs.at("os_event").number[i] == 1);
      after.emplace(r.time[i], r.event[i]);
    }
    EXPECT_EQ(before, after);
  }
  EXPECT_EQ(orders.size(), 3u);
}

// wilcox.test of R without a correction of continuity, as sqrt(kruskal.test(time, died)$statistic): 3.615755. Without mid-ranks or
// the correction for ties it is another.
TEST(Survival, TheRankSumOfFlippedEventsIsRs) {
  Outcomes o;
  for (const auto& [time, event, n] : {std::tuple{40, 1, 4}, {30, 1, 8}, {10, 0, 8}, {30, 0, 3}})
    for (int i = 0; i < n; ++i) o.time.push_back(100 * time), o.event.push_back(static_cast<uint8_t>(event));
  const std::vector<std::string> said = warn_outcomes(o);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("(rank sum z = 3.6)"), std::string::npos) << said[0];
  o.time.assign(20, 1000);
  o.event.assign(20, 1);
  o.event[3] = 0;
  ASSERT_EQ(warn_outcomes(o).size(), 1u);
  EXPECT_NE(warn_outcomes(o)[0].find("19 of 20 patients died"), std::string::npos);
}

// A result put together by hand, as it is printed and written.
TEST(Survival, ReportsWhatIsInTheResult) {
  SurvivalResult r;
  r.options.ridge = 7;
  r.options.covariates = {"age"};
  r.harrell = {0.6, 0.05, 0.02};
  r.log_rank.n = {1, 2, 3}, r.log_rank.observed = {1, 1, 2}, r.log_rank.expected = {0.5, 1.5, 2};
  r.median = {100, 200, 300};
  for (const double b : {0.5, 1.5, 9.0}) {
    SurvivalFold f;
    f.terms = {{"age", b, 0.1, b == 9 ? SurvivalTerm::Status::diverging : SurvivalTerm::Status::fitted}};
    r.folds.push_back(f);
  }
  const Json j = to_json(r);
  EXPECT_EQ(j["harrell_mean"], 0.6);
  EXPECT_EQ(j["harrell_sd"], 0.05);
  EXPECT_EQ(j["harrell_se"], 0.02);
  EXPECT_EQ(j["settings"]["ridge"], 7);
  EXPECT_EQ(j["risk_groups"][0], (Json{{"group", "low"}, {"n", 1}, {"events", 1}, {"expected", 0.5}, {"median_days", 100}}));
  EXPECT_EQ(j["risk_groups"][2]["group"], "high");
  EXPECT_EQ(j["folds"][2]["left_out"]["age"], "diverging");
  // exp of the mean of 1/2 and 3/2.
  const std::string text = to_text(r);
  std::istringstream lines(text.substr(text.find("\nage") + 1));
  std::string name, ratio, coefficient;
  lines >> name >> ratio >> coefficient;
  EXPECT_EQ(ratio, "2.718") << text;
  EXPECT_EQ(coefficient, "1.0000") << text;
}

// Patients of unknown level are one stratum, as if the level had a name: alone, each would say nothing.
TEST(Survival, UnknownStrataOfTheModelAreOne) {
  auto d = study(180, 3, 0.7), named = d;
  std::vector<std::string> site, name;
  std::vector<double> fold;
  for (int i = 0; i < 180; ++i) {
    site.push_back(i % 3 == 0 ? "" : i % 3 == 1 ? "A" : "B");
    name.push_back(i % 3 == 0 ? "unknown" : site.back());
    fold.push_back(i % 2);
  }
  set_factor(d.obs, "site", site), set_factor(named.obs, "site", name);
  set_number(d.obs, "fold", fold), set_number(named.obs, "fold", fold);
  SurvivalOptions o = with(0, {"age", "sex"});
  o.fold_key = "fold";
  o.cox_strata = o.stratify = "site";
  const SurvivalResult r = evaluate_survival(d, o), by_name = evaluate_survival(named, o);
  for (size_t i = 0; i < 180; ++i) EXPECT_NEAR(r.risk[i], by_name.risk[i], 1e-12);
  for (size_t f = 0; f < 2; ++f) {
    std::vector<double> time;
    std::vector<uint8_t> event;
    std::vector<int32_t> stratum;
    data::RowMatrix<double> x(90, 2);
    for (int64_t i = 0; i < 180; ++i) {
      const auto at = static_cast<size_t>(i);
      if (fold[at] == static_cast<double>(f)) continue;
      x.row(static_cast<Eigen::Index>(time.size())) << d.obs.at("age").number[at], d.obs.at("sex").text(i) == "male";
      time.push_back(d.obs.at("os_time").number[at]), event.push_back(d.obs.at("os_event").number[at] == 1), stratum.push_back(static_cast<int32_t>(i % 3));
    }
    const CoxFit fit = fit_cox(time, event, x, stratum);
    expect_relative(r.folds[f].loglik, fit.loglik, 1e-12, "loglik");
    expect_relative(r.folds[f].brier, by_name.folds[f].brier, 1e-12, "Brier");
  }
}

// Nobody of site C trains the model of fold 0: its patients have no baseline there, and the Brier score has them survive.
TEST(Survival, LevelsThatTheModelHasNotSeenAreSaid) {
  auto d = study(160, 3, 0.7);
  std::vector<std::string> site;
  std::vector<double> fold;
  for (int i = 0; i < 160; ++i) site.push_back(i % 8 == 0 ? "C" : i % 3 ? "A" : "B"), fold.push_back(i % 8 == 0 ? 0 : i % 2);
  set_factor(d.obs, "site", site);
  set_number(d.obs, "fold", fold);
  SurvivalOptions o = with(0, {"age"});
  o.fold_key = "fold";
  o.cox_strata = o.stratify = "site";
  o.tau = {Tau::Kind::days, 400};  // before the 90th percentile of the deaths
  const SurvivalResult r = evaluate_survival(d, o);
  EXPECT_TRUE(warned(r, "20 samples are of levels of 'site' in which nobody died among the training patients")) << all_warnings(r);
  struct Side {
    std::vector<double> time;
    std::vector<uint8_t> event;
    std::vector<int32_t> stratum;
    std::vector<double> age;
    data::RowMatrix<double> x() const { return Eigen::Map<const data::RowMatrix<double>>(age.data(), static_cast<Eigen::Index>(age.size()), 1); }
  } train, test;
  for (size_t i = 0; i < 160; ++i) {
    Side& s = fold[i] == 0 ? test : train;
    s.time.push_back(d.obs.at("os_time").number[i]), s.event.push_back(d.obs.at("os_event").number[i] == 1);
    s.stratum.push_back(site[i] == "A" ? 0 : site[i] == "B" ? 1 : 2), s.age.push_back(d.obs.at("age").number[i]);
  }
  const CoxFit fit = fit_cox(train.time, train.event, train.x(), train.stratum);
  const BaselineHazard hazard = baseline_hazard(fit, train.time, train.event, train.x(), train.stratum);
  const std::vector<double> risk = linear_predictor(fit, test.x());
  data::RowMatrix<double> model(static_cast<Eigen::Index>(risk.size()), 100);
  std::vector<double> at;
  for (int k = 1; k <= 100; ++k) at.push_back(4.0 * k);
  for (size_t i = 0; i < risk.size(); ++i)
    for (size_t k = 0; k < 100; ++k)
      model(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(k)) =
          test.stratum[i] == 2 ? 1 : std::exp(-hazard.strata[static_cast<size_t>(test.stratum[i])].at(at[k]) * std::exp(risk[i]));
  expect_relative(r.folds[0].brier, integrated_brier(at, brier_scores(at, test.time, test.event, model, CensoringDistribution(train.time, train.event))), 1e-12,
                  "Brier");
  // Half of them train, but nobody of these died.
  auto alive = d;
  std::vector<double> half = fold, event = d.obs.at("os_event").number;
  for (size_t i = 0; i < 160; i += 16) half[i] = 1, event[i] = 0;
  set_number(alive.obs, "fold", half);
  set_number(alive.obs, "os_event", event);
  const SurvivalResult without = evaluate_survival(alive, o);
  EXPECT_TRUE(warned(without, "10 samples are of levels of 'site' in which nobody died among the training patients")) << all_warnings(without);
  for (std::string& s : site)
    if (s == "C") s = "A";
  set_factor(d.obs, "site", site);
  EXPECT_FALSE(warned(evaluate_survival(d, o), "in which nobody died"));
}

// Whoever has the larger dose dies first, over many powers of ten: the likelihood is far from 1, which it could reach.
TEST(Survival, SaysWhichModelsHaveNotConverged) {
  auto d = study(48, 2, 1);
  std::vector<double> dose, time, fold;
  for (int i = 0; i < 48; ++i) {
    dose.push_back(i < 32 ? std::pow(10, -(i / 2)) * (i % 2 ? 0.9 : 1) : 1e-3 * (i % 5));
    time.push_back(i < 32 ? 100 * (i + 1) : 100 * (1 + i * 7 % 16));
    fold.push_back(i < 32 ? i % 2 : 2);
  }
  set_number(d.obs, "dose", dose);
  set_number(d.obs, "os_time", time);
  set_number(d.obs, "os_event", std::vector<double>(48, 1));
  set_number(d.obs, "fold", fold);
  SurvivalOptions o = with(0, {"dose"});
  o.fold_key = "fold";
  const SurvivalResult r = evaluate_survival(d, o);
  std::vector<bool> converged;
  for (const SurvivalFold& f : r.folds) converged.push_back(f.converged);
  EXPECT_EQ(converged, (std::vector<bool>{true, true, false})) << all_warnings(r);
  EXPECT_LT(r.folds[2].loglik, -1);
  EXPECT_TRUE(warned(r, "the Cox model of fold 2 has not converged: use a larger --ridge or fewer covariates")) << all_warnings(r);
  EXPECT_EQ(to_json(r)["folds"][2]["converged"], false);
  EXPECT_EQ(to_json(r)["folds"][0]["converged"], true);
  EXPECT_FALSE(warned(evaluate_survival(study(120, 3, 1), with(2)), "not converged"));
}

TEST(Survival, WarnsOfFlippedEvents) {
  const auto d = study(300, 3, 1);
  auto flipped = d;
  auto event = d.obs.at("os_event").number;
  for (double& e : event) e = 1 - e;
  set_number(flipped.obs, "os_event", event);
  const auto said = [](const data::Dataset<double>& x) {
    const auto w = warn_outcomes(read_outcomes(x.obs, test::all_rows(x.samples())));
    return std::any_of(w.begin(), w.end(), [](const std::string& t) { return t.find("flipped") != std::string::npos; });
  };
  // Follow-up as in a study that ends one day: patients enter over 3000 days, hazards are low.
  auto closed = d;
  PhiloxSequence g(PhiloxKey{1, 2, 3});
  std::vector<double> times, events;
  for (int i = 0; i < 300; ++i) {
    const double death = -4000 * std::log(1 - g.uniform()), end = 2000 + 1000 * g.uniform();
    times.push_back(std::min(death, end)), events.push_back(death < end);
  }
  set_number(closed.obs, "os_time", times);
  set_number(closed.obs, "os_event", events);
  EXPECT_FALSE(said(closed));
  for (double& e : events) e = 1 - e;
  set_number(closed.obs, "os_event", events);
  EXPECT_TRUE(said(closed));
  EXPECT_FALSE(said(d));
  set_number(flipped.obs, "os_event", std::vector<double>(300, 1));
  EXPECT_TRUE(said(flipped)) << "everybody died";
}

TEST(Survival, WarnsOfTimesThatAreNoDays) {
  auto d = study(100, 3, 1);
  EXPECT_FALSE(warned(evaluate_survival(d, with(2)), "days are expected"));
  auto time = d.obs.at("os_time").number;
  for (double& t : time) t = t / 30.4;
  set_number(d.obs, "os_time", time);
  EXPECT_TRUE(warned(evaluate_survival(d, with(2)), "look like months"));
  for (double& t : time) t = t / 12;
  set_number(d.obs, "os_time", time);
  EXPECT_TRUE(warned(evaluate_survival(d, with(2)), "look like years or months"));
  time[4] = -3, time[5] = 0, time[6] = kNaN;
  set_number(d.obs, "os_time", time);
  const SurvivalResult r = evaluate_survival(d, with(2));
  EXPECT_TRUE(warned(r, "1 samples have an os_time below zero"));
  EXPECT_TRUE(warned(r, "1 samples have an os_time of zero"));
  EXPECT_EQ(r.dropped, 2);
  EXPECT_EQ(r.n, 98);
}

TEST(Survival, WarnsOfFewDeathsAndSharedDonors) {
  auto d = study(100, 30, 1);
  const SurvivalResult r = evaluate_survival(d, with(20));
  EXPECT_TRUE(warned(r, "for 20 terms of the model")) << all_warnings(r);
  EXPECT_FALSE(warned(r, "its C is mostly chance"));
  // Ten deaths in the test fold, and nine: the fold with fewest is named.
  {
    std::vector<double> part, event;
    for (int i = 0; i < 100; ++i) part.push_back(i < 12 ? 0 : 1 + i % 2), event.push_back(i < 10 || i >= 12);
    set_number(d.obs, "part", part);
    set_number(d.obs, "os_event", event);
    SurvivalOptions o = with(2);
    o.fold_key = "part";
    EXPECT_FALSE(warned(evaluate_survival(d, o), "its C is mostly chance"));
    EXPECT_FALSE(warned(evaluate_survival(d, o), "terms of the model"));
    EXPECT_FALSE(warned(evaluate_survival(d, o), "components were asked for"));
    event[9] = 0;
    set_number(d.obs, "os_event", event);
    EXPECT_TRUE(warned(evaluate_survival(d, o), "fold 0 is tested on 9 deaths")) << all_warnings(evaluate_survival(d, o));
    // 97 deaths are left, of which 44 are of fold 1 and 44 of fold 2: 53 train either, 88 fold 0.
    o.top_k = 6;
    EXPECT_TRUE(warned(evaluate_survival(d, o), "fold 1 has 53 deaths for 6 terms of the model, 8.8 each")) << all_warnings(evaluate_survival(d, o));
    o.top_k = 30;
    EXPECT_FALSE(warned(evaluate_survival(d, o), "components were asked for"));
    o.top_k = 31;
    EXPECT_TRUE(warned(evaluate_survival(d, o), "31 components were asked for, the training folds have 30")) << all_warnings(evaluate_survival(d, o));
    d = study(100, 30, 1);
  }
  std::vector<std::string> donor;
  std::vector<double> fold;
  for (int i = 0; i < 100; ++i) donor.push_back(fmt::format("D{}", i / 2)), fold.push_back(i % 2);
  set_factor(d.obs, "donor", donor);
  set_number(d.obs, "fold", fold);
  SurvivalOptions o = with(2);
  o.fold_key = "fold";
  EXPECT_TRUE(warned(evaluate_survival(d, o), "50 donors have samples in more than one fold"));
  set_factor(d.obs, "dataset", std::vector<std::string>(100, "one"));
  EXPECT_FALSE(warned(evaluate_survival(d, o), "aliased"));
  std::vector<std::string> dataset;
  for (int i = 0; i < 100; ++i) dataset.push_back(d.obs.at("cohort").text(i) == "A" || i == 0 ? "one" : "two");
  set_factor(d.obs, "dataset", dataset);
  EXPECT_TRUE(warned(evaluate_survival(d, o), "nearly aliased with datasets: 99.0 %")) << all_warnings(evaluate_survival(d, o));
  o.stratify = "cohort";
  EXPECT_FALSE(warned(evaluate_survival(d, o), "aliased"));
}

TEST(Survival, WarnsOfMonotoneLikelihoodAndConstantColumns) {
  auto d = study(120, 3, 1);
  std::vector<std::string> status;
  const auto& event = d.obs.at("os_event").number;
  for (size_t i = 0; i < 120; ++i) status.push_back(event[i] == 0 && i % 4 == 0 ? "well" : "ill");
  set_factor(d.obs, "status", status);
  set_number(d.obs, "clinic", std::vector<double>(120, 2.5));
  auto age = d.obs.at("age").number;
  for (double& a : age) a *= 12;
  set_number(d.obs, "months", age);
  const SurvivalResult r = evaluate_survival(d, with(1, {"age", "status", "clinic", "months"}));
  EXPECT_TRUE(warned(r, "'status:well': no finite coefficient in every fold")) << all_warnings(r);
  EXPECT_TRUE(warned(r, "'clinic': one value among the training patients of every fold"));
  EXPECT_TRUE(warned(r, "'months': a combination of the terms before it"));
  EXPECT_EQ(to_json(r)["folds"][0]["left_out"]["clinic"], "constant");
  EXPECT_TRUE(to_json(r)["folds"][0]["standard_errors"]["clinic"].is_null());
}

// Ten columns of one value; deaths in folds 1 and 4 alone, so that the others have no pair to compare.
TEST(Survival, ListsOfTermsAndFolds) {
  auto d = study(100, 3, 1);
  std::vector<std::string> names;
  for (int i = 0; i < 10; ++i) names.push_back(fmt::format("c{}", i)), set_number(d.obs, names.back(), std::vector<double>(100, i));
  std::vector<double> fold, event;
  for (int i = 0; i < 100; ++i) fold.push_back(i % 5), event.push_back(i % 5 == 1 || i % 5 == 4);
  set_number(d.obs, "fold", fold);
  set_number(d.obs, "os_event", event);
  SurvivalOptions o = with(2, names);
  o.fold_key = "fold";
  const SurvivalResult r = evaluate_survival(d, o);
  EXPECT_TRUE(warned(r, "'c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7' and 2 more: one value among the training patients of every fold")) << all_warnings(r);
  EXPECT_TRUE(warned(r, "Harrell's C of folds 0, 2 and 3 is not defined")) << all_warnings(r);
}

TEST(Survival, NoUsablePairIsSaid) {
  auto d = study(40, 3, 1);
  std::vector<double> fold, event;
  for (int i = 0; i < 40; ++i) fold.push_back(i < 4 ? 2 : i % 2), event.push_back(i < 4 ? 0 : i % 3 == 0);
  set_number(d.obs, "fold", fold);
  set_number(d.obs, "os_event", event);
  SurvivalOptions o = with(1);
  o.fold_key = "fold";
  const SurvivalResult r = evaluate_survival(d, o);
  EXPECT_TRUE(std::isnan(r.folds[2].harrell));
  EXPECT_TRUE(std::isfinite(r.harrell.mean));
  EXPECT_TRUE(warned(r, "Uno's C of fold 2 is not defined")) << all_warnings(r);
  EXPECT_TRUE(warned(r, "Harrell's C of fold 2 is not defined"));
  EXPECT_TRUE(to_json(r)["folds"][2]["harrell"].is_null());
}

TEST(Survival, RefusesWhatCannotBeEvaluated) {
  const auto good = study(60, 3, 1);
  auto d = good;
  d.obs.columns.clear();
  EXPECT_ERROR(ErrorCode::input, "no column", evaluate_survival(d, with(1)));
  d = good;
  std::vector<std::string> event(60, "0");
  event[7] = "dead";
  set_factor(d.obs, "os_event", event);
  EXPECT_ERROR(ErrorCode::input, "'dead' is no event (column 'os_event', sample 'S0007')", evaluate_survival(d, with(1)));
  auto number = good.obs.at("os_event").number;
  number[9] = 2;
  set_number(d.obs, "os_event", number);
  EXPECT_ERROR(ErrorCode::input, "'2' is no event (column 'os_event', sample 'S0009')", evaluate_survival(d, with(1)));
  d = good;
  event.assign(60, "False");
  event[3] = event[4] = event[8] = event[40] = "True";
  set_factor(d.obs, "os_event", event);
  EXPECT_EQ(evaluate_survival(d, with(1)).events, 4);
  event.assign(60, "10");
  event[2] = "long";
  set_factor(d.obs, "os_time", event);
  EXPECT_ERROR(ErrorCode::input, "'long' is no survival time (column 'os_time', sample 'S0002')", evaluate_survival(d, with(1)));
  d = good;
  set_number(d.obs, "os_event", std::vector<double>(60, 0));
  EXPECT_ERROR(ErrorCode::input, "0 of 60 patients died", evaluate_survival(d, with(1)));
  number.assign(60, 0);
  number[11] = 1;
  set_number(d.obs, "os_event", number);
  EXPECT_ERROR(ErrorCode::input, "1 of 60 patients died", evaluate_survival(d, with(1)));
  set_number(d.obs, "os_event", std::vector<double>(60, kNaN));
  EXPECT_ERROR(ErrorCode::input, "60 without a time or an event", evaluate_survival(d, with(1)));
  // Two deaths in two folds, then in one.
  number.assign(60, 0);
  number[10] = number[11] = 1;
  set_number(d.obs, "os_event", number);
  std::vector<double> fold;
  for (int i = 0; i < 60; ++i) fold.push_back(i % 2);
  set_number(d.obs, "fold", fold);
  SurvivalOptions o = with(1);
  o.fold_key = "fold";
  EXPECT_EQ(evaluate_survival(d, o).events, 2);
  fold[11] = 0;
  set_number(d.obs, "fold", fold);
  EXPECT_ERROR(ErrorCode::input, "all 2 deaths are in fold 0", evaluate_survival(d, o));
  d = good;
  d.x(3, 1) = kNaN;
  EXPECT_ERROR(ErrorCode::input, "sample 'S0003', feature 'z1'", evaluate_survival(d, with(1)));
  EXPECT_EQ(evaluate_survival(d, with(0, {"age"})).n, 60) << "unused";
}

TEST(Survival, RefusesOptionsByName) {
  const auto d = study(60, 3, 1);
  EXPECT_ERROR(ErrorCode::usage, "--top-k 0", evaluate_survival(d, with(0)));
  for (const char* name : {"os_time", "os_event"}) EXPECT_ERROR(ErrorCode::usage, "is the outcome", evaluate_survival(d, with(1, {name})));
  EXPECT_ERROR(ErrorCode::usage, "given twice", evaluate_survival(d, with(1, {"age", "age"})));
  EXPECT_ERROR(ErrorCode::input, "no column", evaluate_survival(d, with(1, {"aeg"})));
  SurvivalOptions o = with(1);
  o.folds = 1;
  EXPECT_ERROR(ErrorCode::usage, "--folds", evaluate_survival(d, o));
  o.folds = 61;
  EXPECT_ERROR(ErrorCode::input, "60 donors cannot be dealt to 61 folds", evaluate_survival(d, o));
  o = with(1);
  o.ridge = -1;
  EXPECT_ERROR(ErrorCode::usage, "--ridge", evaluate_survival(d, o));
  o = with(1);
  o.stratify = "cohrot";
  EXPECT_ERROR(ErrorCode::input, "cohort", evaluate_survival(d, o));
  o = with(1);
  o.tau = {Tau::Kind::days, 0};
  EXPECT_ERROR(ErrorCode::usage, "--tau", evaluate_survival(d, o));
  auto names = d;
  set_factor(names.obs, "id", names.obs.keys);
  EXPECT_ERROR(ErrorCode::input, "60 levels among 60 samples", evaluate_survival(names, with(1, {"id"})));
  set_number(names.obs, "empty", std::vector<double>(60, kNaN));
  EXPECT_ERROR(ErrorCode::input, "'empty'", evaluate_survival(names, with(1, {"empty"})));
  auto age = d.obs.at("age").number;
  age[5] = std::numeric_limits<double>::infinity();
  set_number(names.obs, "age", age);
  EXPECT_ERROR(ErrorCode::input, "column 'age', sample 'S0005'", evaluate_survival(names, with(1, {"age"})));
  EXPECT_EQ(parse_top_k("auto"), kAutoTopK);
  EXPECT_EQ(parse_top_k("12"), 12);
  for (const char* bad : {"", "-1", "1.5", "all", "99999999999"}) EXPECT_ERROR(ErrorCode::usage, "--top-k", parse_top_k(bad));
  EXPECT_EQ(parse_tau("730.5").days, 730.5);
  for (const char* bad : {"", "0", "-3", "inf", "nan", "soon"}) EXPECT_ERROR(ErrorCode::usage, "--tau", parse_tau(bad));
}

TEST(Survival, CtrlCStops) {
  const auto d = study(60, 3, 1);
  set_interrupted(true);
  const Error e = test::error_of([&] { evaluate_survival(d, with(1)); });
  set_interrupted(false);
  EXPECT_EQ(e.code(), ErrorCode::interrupted);
}

// Whatever is fed in: an error that says something, or numbers of which every undefined one is named in a warning.
TEST(Survival, Fuzz) {
  int refused = 0, answered = 0;
  for (uint32_t seed = 0; seed < 150; ++seed) {
    PhiloxSequence g(PhiloxKey{seed, 500, 0});
    const auto n = static_cast<int64_t>(2 + g.below(60)), dims = static_cast<int64_t>(1 + g.below(12));
    data::RowMatrix<double> x = test::gaussian(n, dims, 600 + seed);
    for (Eigen::Index j = 0; j < dims; ++j) {
      if (g.below(6) == 0) x.col(j).setConstant(static_cast<double>(g.below(3)));
      if (g.below(6) == 0) x.col(j) = x.col(0);
      if (g.below(8) == 0) x.col(j) *= 1e8;
    }
    data::Dataset<double> d = test::dataset(x);
    const uint64_t ticks = 1 + g.below(40);
    const double share = g.below(4) == 0 ? 1 : g.uniform(), lacking = g.below(3) == 0 ? 0.3 * g.uniform() : 0;
    std::vector<double> time, event, age;
    std::vector<std::string> sex, cohort, donor;
    for (int64_t i = 0; i < n; ++i) {
      time.push_back(g.uniform() < lacking ? kNaN : static_cast<double>(g.below(ticks)) - (g.below(30) == 0));
      event.push_back(g.uniform() < lacking ? kNaN : g.uniform() < share);
      age.push_back(g.uniform() < lacking ? kNaN : static_cast<double>(g.below(1 + g.below(5))));
      sex.push_back(g.uniform() < lacking ? "" : g.below(2) ? "m" : "f");
      cohort.push_back(g.uniform() < lacking ? "" : fmt::format("C{}", g.below(1 + seed % 4)));
      donor.push_back(fmt::format("D{}", g.below(2 * static_cast<uint64_t>(n))));
    }
    if (g.below(6) == 0) std::fill(event.begin(), event.end(), 0), event[static_cast<size_t>(g.below(static_cast<uint64_t>(n)))] = 1;
    set_number(d.obs, "os_time", time);
    set_number(d.obs, "os_event", event);
    set_number(d.obs, "age", age);
    set_factor(d.obs, "sex", sex);
    set_factor(d.obs, "cohort", cohort);
    set_factor(d.obs, "donor", donor);
    SurvivalOptions o;
    o.top_k = g.below(3) == 0 ? kAutoTopK : static_cast<int64_t>(g.below(8));
    if (g.below(2)) o.covariates = {"age", "sex"};
    o.ridge = g.below(2) ? 0 : 1;
    o.folds = static_cast<int>(2 + g.below(4));
    if (g.below(3) == 0) o.stratify = "cohort";
    if (g.below(4) == 0) o.cox_strata = "cohort";
    o.tau.kind = static_cast<Tau::Kind>(g.below(3));
    o.tau.days = 5;
    o.g_right = g.below(2);
    o.tau_inclusive = g.below(2);
    o.censoring_from_test = g.below(2);
    o.control = g.below(4) == 0 ? Control::permuted : Control::none;
    try {
      const SurvivalResult r = evaluate_survival(d, o);
      ++answered;
      for (const SurvivalFold& f : r.folds) {
        EXPECT_TRUE(std::isfinite(f.loglik)) << seed;
        EXPECT_TRUE(!std::isnan(f.harrell) || warned(r, "Harrell's C of")) << seed;
        EXPECT_TRUE(!std::isnan(f.uno) || warned(r, "Uno's C of")) << seed;
        EXPECT_TRUE(!std::isnan(f.brier) || warned(r, "the Brier score of")) << seed;
        for (double c : {f.harrell, f.uno, f.within_cohort}) EXPECT_TRUE(std::isnan(c) || (c >= 0 && c <= 1)) << seed;
        for (const SurvivalTerm& t : f.terms) EXPECT_TRUE(std::isfinite(t.coefficient)) << seed << " " << t.name;
      }
      for (double risk : r.risk) EXPECT_TRUE(std::isfinite(risk)) << seed;
      EXPECT_FALSE(to_text(r).empty());
      EXPECT_FALSE(to_json(r).dump().empty());
    } catch (const Error& e) {
      ++refused;
      EXPECT_TRUE(e.code() == ErrorCode::input || e.code() == ErrorCode::usage) << seed << ": " << e.what();
      EXPECT_GT(e.message().size(), 10u) << seed;
    }
  }
  EXPECT_GT(answered, 40);
  EXPECT_GT(refused, 5);
}

}  // namespace
}  // namespace panvae::eval
