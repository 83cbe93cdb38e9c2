// What an evaluation of survival warns of and refuses.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/interrupt.h"
#include "eval/concordance.h"
#include "eval/cox.h"
#include "eval/survival.h"
#include "eval/survival_data.h"
#include "tests/eval/survival_study.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {
namespace {

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
  EXPECT_FALSE(warned(evaluate_survival(d, with(2)), "that many days are"));
  auto time = d.obs.at("os_time").number, seconds = time;
  for (double& t : seconds) t = t * 86400;
  set_number(d.obs, "os_time", seconds);
  EXPECT_TRUE(warned(evaluate_survival(d, with(2)), "Are these hours or seconds"));
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
    // Three deaths of fold 2 less: fold 1 has 50 for five terms, and 10 each are enough.
    o.top_k = 5;
    event[13] = event[15] = event[17] = 0;
    set_number(d.obs, "os_event", event);
    EXPECT_FALSE(warned(evaluate_survival(d, o), "terms of the model")) << all_warnings(evaluate_survival(d, o));
    event[19] = 0;
    set_number(d.obs, "os_event", event);
    EXPECT_TRUE(warned(evaluate_survival(d, o), "fold 1 has 49 deaths for 5 terms of the model, 9.8 each")) << all_warnings(evaluate_survival(d, o));
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

// Outcomes that no other donor can take stay where they are, and a control that leaves most of them is none.
TEST(Survival, WarnsOfOutcomesThatNoPermutationMoves) {
  auto d = study(100, 30, 1);
  std::vector<std::string> donor;
  for (int size = 1; size <= 13; ++size) donor.insert(donor.end(), static_cast<size_t>(size), fmt::format("D{}", size));
  donor.resize(100, "D13");
  set_factor(d.obs, "donor", donor);
  SurvivalOptions o = with(2);
  EXPECT_FALSE(warned(evaluate_survival(d, o), "as many samples as no other"));
  o.control = Control::permuted;
  EXPECT_TRUE(warned(evaluate_survival(d, o), "as many samples as no other")) << all_warnings(evaluate_survival(d, o));
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
TEST(Survival, APValueIsNeverZero) {
  SurvivalResult r;
  r.log_rank.degrees = 2;
  for (const auto& [p, words] :
       {std::pair{0.0, "freedom, p < 1e-300"}, {2e-9, "freedom, p = 2.0e-09"}, {0.25, "freedom, p = 0.2500"}, {std::nan(""), "freedom, p = -"}}) {
    r.log_rank.p_value = p;
    EXPECT_NE(to_text(r).find(words), std::string::npos) << to_text(r);
  }
}

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
