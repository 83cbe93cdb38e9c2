#include "eval/survival.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>
#include <tuple>

#include "eval/concordance.h"
#include "eval/cox.h"
#include "eval/kaplan_meier.h"
#include "eval/survival_data.h"
#include "tests/eval/survival_study.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {
namespace {

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

}  // namespace
}  // namespace panvae::eval
