#include "eval/cohort.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/file.h"
#include "base/interrupt.h"
#include "data/read.h"
#include "tests/eval/helpers.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {
namespace {

using test::cohorts;
using test::set_factor;
using test::set_number;

const std::string kReference = std::string(PANVAE_SOURCE_DIR) + "/tests/reference/stats/";

// Quick trees where the accuracy itself is not the point.
CohortOptions quick() {
  CohortOptions o;
  o.trees.rounds = 8;
  o.trees.max_depth = 3;
  return o;
}

data::Dataset<double> reordered(const data::Dataset<double>& d, const std::vector<int64_t>& rows) {
  data::Dataset<double> out = d;
  out.obs = d.obs.select(rows);
  for (size_t i = 0; i < rows.size(); ++i) out.x.row(static_cast<int64_t>(i)) = d.x.row(rows[i]);
  return out;
}

// The accuracies of XGBoost 1.7.4 called from its own interface, fold by fold, to the last bit.
TEST(Cohort, AgreesWithXgboost) {
  data::ReadOptions read;
  read.obs_table = kReference + "align_obs.tsv";
  const auto d = data::read_dataset<double>(kReference + "align_embedding.tsv", read);
  CohortOptions o;
  o.fold_key = "fold";
  const CohortResult r = evaluate_cohort(d, o);
  const Json expected = Json::parse(read_file(kReference + "expected_alignment.json"))["cohort"];
  ASSERT_EQ(r.folds.size(), expected["folds"].size());
  for (size_t f = 0; f < r.folds.size(); ++f) EXPECT_EQ(r.folds[f].accuracy, expected["folds"][f].get<double>()) << "fold " << f;
  EXPECT_DOUBLE_EQ(r.accuracy.mean, expected["accuracy_mean"].get<double>());
  EXPECT_DOUBLE_EQ(r.accuracy.sd, expected["accuracy_sd"].get<double>());
  EXPECT_DOUBLE_EQ(r.accuracy.se, expected["accuracy_sd"].get<double>() / std::sqrt(5.0));
  EXPECT_TRUE(r.warnings.empty());
  EXPECT_EQ(r.confusion.sum(), r.n);
  EXPECT_EQ(r.on, "all");
}

TEST(Cohort, JsonHasTheKeysOfTheContract) {
  auto d = cohorts(3, 10, 4, 4);
  set_factor(d.obs, "cohort", [&] {
    std::vector<std::string> c;
    for (int i = 0; i < 30; ++i) c.push_back(i < 2 ? "rare" : i % 2 ? "A" : "B");
    return c;
  }());
  std::vector<std::string> donor;
  for (int i = 0; i < 30; ++i) donor.push_back(fmt::format("D{}", i < 2 ? 0 : i));
  set_factor(d.obs, "donor", donor);
  const CohortResult r = evaluate_cohort(d, quick());
  const Json j = to_json(r);
  for (const char* key : {"accuracy_mean", "accuracy_sd", "accuracy_se", "balanced_accuracy_mean", "macro_f1_mean", "folds", "n", "classes", "dropped_cohorts",
                          "majority_share", "warnings"})
    EXPECT_TRUE(j.contains(key)) << key;
  EXPECT_EQ(j["n"], 28);
  EXPECT_EQ(j["classes"], 2);
  EXPECT_EQ(j["dropped_cohorts"], Json::array({"rare"}));
  EXPECT_EQ(j["folds"].size(), 5u);
  EXPECT_DOUBLE_EQ(j["majority_share"].get<double>(), 0.5);
  EXPECT_EQ(r.dropped.at(0).donors, 1);
  EXPECT_EQ(r.dropped.at(0).samples, 2);
  const std::string text = to_text(r);
  for (const char* part : {"accuracy", "balanced accuracy", "macro-F1", "rare (1)", "28 samples"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(Cohort, WhatIsPrintedAndWritten) {
  CohortResult r;
  r.folds = {{0, 5, 3, 0.75, 0.5, 0.25}, {2, 4, 6, 0.5, 0.625, 0.375}};
  r.accuracy = {0.625, 0.125, 0.0625}, r.balanced_accuracy = {0.5625, 0.03125, 0.015625}, r.macro_f1 = {0.3125, 0.875, 0.4375};
  r.classes = {"A", "B", "C", "D"};
  r.confusion.resize(4, 4);
  r.confusion << 4, 1, 2, 0, 3, 5, 0, 0, 1, 0, 6, 0, 0, 0, 1, 0;
  r.dropped = {{"odd", 9, 4}, {"rare", 3, 2}};
  r.n = 23, r.donors = 19, r.dimensions = 12, r.unlabelled = 5, r.majority_share = 0.375, r.on = "all", r.control = Control::permuted;
  EXPECT_EQ(to_json(r), Json::parse(R"({"accuracy_mean": 0.625, "accuracy_sd": 0.125, "accuracy_se": 0.0625, "balanced_accuracy_mean": 0.5625,
    "balanced_accuracy_sd": 0.03125, "balanced_accuracy_se": 0.015625, "macro_f1_mean": 0.3125, "macro_f1_sd": 0.875, "macro_f1_se": 0.4375,
    "folds": [0.75, 0.5], "fold_details": [{"fold": 0, "train": 5, "test": 3, "accuracy": 0.75, "balanced_accuracy": 0.5, "macro_f1": 0.25},
    {"fold": 2, "train": 4, "test": 6, "accuracy": 0.5, "balanced_accuracy": 0.625, "macro_f1": 0.375}], "n": 23, "donors": 19, "dimensions": 12,
    "classes": 4, "class_names": ["A", "B", "C", "D"], "dropped_cohorts": ["odd", "rare"], "unlabelled": 5, "majority_share": 0.375, "on": "all",
    "control": "permuted", "confusion": [[4, 1, 2, 0], [3, 5, 0, 0], [1, 0, 6, 0], [0, 0, 1, 0]], "warnings": []})"));
  EXPECT_EQ(to_text(r),
            "23 samples of 19 donors (all), 4 cohorts, 12 dimensions; the largest cohort holds 0.3750\n"
            "control: cohorts permuted among donors\n\n"
            "score                mean      sd      se          folds\n"
            "-----------------  ------  ------  ------  -------------\n"
            "accuracy           0.6250  0.1250  0.0625  0.7500 0.5000\n"
            "balanced accuracy  0.5625  0.0312  0.0156  0.5000 0.6250\n"
            "macro-F1           0.3125  0.8750  0.4375  0.2500 0.3750\n\n"
            "cohort  samples  recall  precision  most often taken for\n"
            "------  -------  ------  ---------  --------------------\n"
            "A             7   0.571  0.500      C (2)\n"
            "B             8   0.625  0.833      A (3)\n"
            "C             7   0.857  0.667      A (1)\n"
            "D             1   0.000  -          C (1)\n\n"
            "left out, too few donors: odd (4), rare (2)\n");
}

// 24 samples are tested by a classifier of 6, and the reverse.
TEST(Cohort, TheSmallestTrainingSetIsWarnedOf) {
  auto d = cohorts(2, 15, 10, 3);
  std::vector<double> fold;
  for (int i = 0; i < 30; ++i) fold.push_back(i < 24 ? 0 : 1);
  set_number(d.obs, "fold", fold);
  CohortOptions o = quick();
  o.fold_key = "fold";
  const CohortResult r = evaluate_cohort(d, o);
  EXPECT_EQ((std::vector<int64_t>{r.folds.at(0).train, r.folds.at(0).test, r.folds.at(1).train, r.folds.at(1).test}), (std::vector<int64_t>{6, 24, 24, 6}));
  EXPECT_NE(to_json(r)["warnings"].dump().find("a fold trains on 6 samples with 10 dimensions"), std::string::npos) << to_json(r)["warnings"];
}

TEST(Cohort, SeparableCohortsAreFound) {
  const CohortResult r = evaluate_cohort(cohorts(5, 30, 8, 5));
  EXPECT_GT(r.accuracy.mean, 0.95);
  EXPECT_GT(r.balanced_accuracy.mean, 0.95);
  EXPECT_GT(r.macro_f1.mean, 0.95);
}

// Labels that say nothing about the embedding. The expected accuracy of any classifier on independent labels with shares
// p_c lies between sum p_c^2 (guessing in proportion) and max p_c (always guessing the largest); four binomial standard
// errors on each side.
TEST(Cohort, PermutedLabelsGiveChance) {
  const int n = 400;
  auto d = test::dataset(test::gaussian(n, 10, 77));
  std::vector<std::string> cohort;
  for (int i = 0; i < n; ++i) cohort.push_back(i < n / 2 ? "big" : i < 3 * n / 4 ? "mid" : fmt::format("small{}", i % 2));
  PhiloxSequence g(PhiloxKey{5, 0, 0});
  for (size_t i = cohort.size() - 1; i > 0; --i) std::swap(cohort[i], cohort[g.below(i + 1)]);
  set_factor(d.obs, "cohort", cohort);
  CohortOptions o;
  o.trees.rounds = 30;
  const CohortResult r = evaluate_cohort(d, o);
  const double low = 0.25 + 0.0625 + 2 * 0.015625, high = 0.5, error = 4 * std::sqrt(0.25 / n);
  EXPECT_DOUBLE_EQ(r.majority_share, 0.5);
  EXPECT_GT(r.accuracy.mean, low - error);
  EXPECT_LT(r.accuracy.mean, high + error);
  EXPECT_NEAR(r.balanced_accuracy.mean, 0.25, 0.1);  // one over the number of classes
}

// The control of --control permuted: an embedding that tells cohorts perfectly is at or below the majority share.
TEST(Cohort, PermutedControlIsAtMostTheMajorityShare) {
  auto d = cohorts(4, 60, 8, 6);
  std::vector<std::string> cohort, donor;
  for (int i = 0; i < 240; ++i) {
    cohort.push_back(fmt::format("C{}", (i / 2) % 6 < 3 ? 0 : (i / 2) % 6 - 2));  // shares 1/2, 1/6, 1/6, 1/6
    donor.push_back(fmt::format("D{}", i / 2));
  }
  for (int i = 0; i < 240; ++i) d.x(i, 0) += 20.0 * (cohort[static_cast<size_t>(i)].back() - '0');
  set_factor(d.obs, "cohort", cohort);
  set_factor(d.obs, "donor", donor);
  CohortOptions o;
  o.trees.rounds = 30;
  const CohortResult real = evaluate_cohort(d, o);
  EXPECT_GT(real.accuracy.mean, 0.97);
  o.control = Control::permuted;
  double sum = 0;
  std::set<std::vector<int32_t>> drawn_labels, drawn_folds;
  for (o.seed = 0; o.seed < 5; ++o.seed) {
    const CohortResult r = evaluate_cohort(d, o);
    drawn_labels.insert(r.label), drawn_folds.insert(r.fold);
    EXPECT_DOUBLE_EQ(r.majority_share, 0.5);
    EXPECT_EQ(to_json(r)["control"], "permuted");
    sum += r.accuracy.mean;
    if (o.seed == 0) {
      EXPECT_EQ(r.fold, real.fold) << "the folds are those of the true labels";
      for (size_t i = 1; i < r.row.size(); ++i)
        if (donor[static_cast<size_t>(r.row[i])] == donor[static_cast<size_t>(r.row[i - 1])]) {
          EXPECT_EQ(r.label[i], r.label[i - 1]);
        }
    }
  }
  EXPECT_LT(sum / 5, 0.5 + 4 * std::sqrt(0.25 / 120 / 5));
  EXPECT_EQ(drawn_labels.size(), 5u) << "other labels from every seed";
  EXPECT_EQ(drawn_folds.size(), 5u) << "and other folds";
}

// Predictions stand beside their samples, and every number follows from them.
TEST(Cohort, DonorsWhomNoPermutationMovesAreWarnedOf) {
  auto d = cohorts(2, 30, 2, 4);
  std::vector<std::string> donor, cohort;
  for (int size = 1; size <= 10; ++size) donor.insert(donor.end(), static_cast<size_t>(size), fmt::format("D{}", size));
  donor.resize(60, "D10");
  for (const std::string& name : donor) cohort.push_back(name.back() % 2 ? "A" : "B");
  set_factor(d.obs, "donor", donor);
  set_factor(d.obs, "cohort", cohort);
  const auto said = [](const CohortResult& r) {
    return std::any_of(r.warnings.begin(), r.warnings.end(), [](const std::string& w) { return w.find("labels in every permutation") != w.npos; });
  };
  CohortOptions o;
  o.trees.rounds = 2;
  EXPECT_FALSE(said(evaluate_cohort(d, o)));
  o.control = Control::permuted;
  EXPECT_TRUE(said(evaluate_cohort(d, o)));
}

TEST(Cohort, NumbersAreThoseOfThePredictions) {
  auto d = cohorts(3, 20, 4, 0.8);
  std::vector<std::string> cohort, donor;
  for (int i = 0; i < 60; ++i) {
    cohort.push_back(i % 3 == 2 || i < 12 ? "B" : i % 3 ? "C" : "A");
    donor.push_back(fmt::format("D{}", i < 6 ? i % 3 : i));  // three donors of two samples
  }
  set_factor(d.obs, "cohort", cohort), set_factor(d.obs, "donor", donor);
  const CohortOptions o = quick();
  const CohortResult r = evaluate_cohort(d, o);
  EXPECT_EQ(r.n, 60);
  EXPECT_EQ(r.donors, 57);
  EXPECT_DOUBLE_EQ(r.majority_share, static_cast<double>(std::count(cohort.begin(), cohort.end(), "B")) / 60);
  std::vector<double> scores[3];
  Confusion all = Confusion::Zero(3, 3);
  for (const CohortFold& fold : r.folds) {
    std::vector<int64_t> train, tested;
    std::vector<int32_t> truth, predicted;
    for (int64_t i = 0; i < r.n; ++i) {
      const auto at = static_cast<size_t>(i);
      (r.fold[at] == fold.fold ? tested : train).push_back(i);
      if (r.fold[at] == fold.fold) truth.push_back(r.label[at]), predicted.push_back(r.predicted[at]);
    }
    EXPECT_EQ(predicted, train_and_predict(d.x, train, r.label, tested, 3, o.trees)) << "fold " << fold.fold;
    const Confusion c = confusion(truth, predicted, 3);
    all += c;
    EXPECT_EQ(fold.accuracy, accuracy(c));
    EXPECT_EQ(fold.balanced_accuracy, balanced_accuracy(c));
    EXPECT_EQ(fold.macro_f1, macro_f1(c));
    scores[0].push_back(accuracy(c)), scores[1].push_back(balanced_accuracy(c)), scores[2].push_back(macro_f1(c));
  }
  EXPECT_EQ(r.confusion, all);
  const Spread* spreads[] = {&r.accuracy, &r.balanced_accuracy, &r.macro_f1};
  for (int s = 0; s < 3; ++s) {
    const Spread expected = spread(scores[s]);
    EXPECT_EQ(spreads[s]->mean, expected.mean) << s;
    EXPECT_EQ(spreads[s]->sd, expected.sd) << s;
    EXPECT_EQ(spreads[s]->se, expected.se) << s;
  }
}

TEST(Cohort, AliasWithDatasetsIsWarnedOf) {
  auto d = cohorts(4, 10, 4, 4);
  std::vector<std::string> dataset;
  for (int i = 0; i < 40; ++i) dataset.push_back(i % 4 == 3 ? "RWD" : "TCGA");
  set_factor(d.obs, "dataset", dataset);
  const CohortResult r = evaluate_cohort(d, quick());
  ASSERT_EQ(r.warnings.size(), 1u);
  EXPECT_NE(r.warnings[0].find("aliased"), std::string::npos);
}

TEST(Cohort, SampleOrderAndThreadsDoNotMatter) {
  auto d = cohorts(4, 25, 6, 1.0);
  std::vector<std::string> donor;
  for (int i = 0; i < 100; ++i) donor.push_back(fmt::format("D{}", i / 8 * 4 + i % 4));  // two samples each
  set_factor(d.obs, "donor", donor);
  std::vector<int64_t> rows = test::all_rows(100);
  PhiloxSequence g(PhiloxKey{6, 0, 0});
  for (size_t i = rows.size() - 1; i > 0; --i) std::swap(rows[i], rows[g.below(i + 1)]);
  CohortOptions o = quick();
  const test::Threads one(1);
  const CohortResult a = evaluate_cohort(d, o);
  const CohortResult b = evaluate_cohort(reordered(d, rows), o);
  set_threads(4);
  const CohortResult c = evaluate_cohort(d, o);
  EXPECT_LT(a.accuracy.mean, 1);
  EXPECT_EQ(a.predicted, b.predicted);
  EXPECT_EQ(a.fold, b.fold);
  EXPECT_EQ(a.predicted, c.predicted);
  EXPECT_EQ(to_json(a).dump(), to_json(b).dump());
  EXPECT_EQ(to_json(a).dump(), to_json(c).dump());
  // No donor is on both sides.
  std::map<std::string, std::set<int32_t>> folds;
  for (size_t i = 0; i < a.row.size(); ++i) folds[donor[static_cast<size_t>(a.row[i])]].insert(a.fold[i]);
  for (const auto& [name, f] : folds) EXPECT_EQ(f.size(), 1u) << name;
}

TEST(Cohort, SeveralTogetherAreEachAlone) {
  const auto a = cohorts(3, 12, 4, 4), b = cohorts(4, 9, 6, 1);
  CohortOptions permuted = quick();
  permuted.control = Control::permuted;
  CohortOptions three = quick();
  three.folds = 3;
  const std::vector<CohortJob> jobs = {{&a, quick()}, {&a, permuted}, {&b, three}};
  const std::vector<CohortResult> together = evaluate_cohorts(jobs);
  ASSERT_EQ(together.size(), jobs.size());
  for (size_t j = 0; j < jobs.size(); ++j) {
    const CohortResult alone = evaluate_cohort(*jobs[j].embedding, jobs[j].options);
    EXPECT_EQ(together[j].predicted, alone.predicted) << j;
    EXPECT_EQ(together[j].fold, alone.fold) << j;
    EXPECT_EQ(together[j].accuracy.mean, alone.accuracy.mean) << j;
    EXPECT_GT(together[j].seconds, 0) << j;
  }
  EXPECT_TRUE(evaluate_cohorts({}).empty());
}

TEST(Cohort, EvaluatesTheHoldOutWhereThereIsOne) {
  auto d = cohorts(3, 40, 4, 3);
  std::vector<std::string> split;
  for (int i = 0; i < 120; ++i) split.push_back(i < 60 ? "holdout" : i < 70 ? "validation" : "train");
  set_factor(d.obs, "split", split);
  CohortOptions o = quick();
  EXPECT_EQ(evaluate_cohort(d, o).n, 60);
  EXPECT_EQ(evaluate_cohort(d, o).on, "holdout");
  o.on = On::all;
  EXPECT_EQ(evaluate_cohort(d, o).n, 120);
  set_factor(d.obs, "split", std::vector<std::string>(120, "train"));
  o.on = On::automatic;
  EXPECT_EQ(evaluate_cohort(d, o).n, 120);
  o.on = On::holdout;
  EXPECT_ERROR(ErrorCode::input, "there is no hold-out", evaluate_cohort(d, o));
  EXPECT_ERROR(ErrorCode::usage, "train", parse_on("train"));
}

TEST(Cohort, MissingLabelsAreLeftOutAndCounted) {
  auto d = cohorts(3, 20, 4, 3);
  d.obs.columns[0].code[5] = -1;
  d.obs.columns[0].code[6] = -1;
  d.x(5, 0) = std::numeric_limits<double>::quiet_NaN();  // of a sample that is not used
  const CohortResult r = evaluate_cohort(d, quick());
  EXPECT_EQ(r.unlabelled, 2);
  EXPECT_EQ(r.n, 58);
}

TEST(Cohort, ACohortNeedsADonorForEachFold) {
  for (const int donors : {4, 5, 6}) {
    auto d = cohorts(2, 10, 4, 3);
    set_factor(d.obs, "cohort", [&] {
      std::vector<std::string> cohort;
      for (int i = 0; i < 20; ++i) cohort.push_back(i < donors ? "few" : i % 2 ? "A" : "B");
      return cohort;
    }());
    CohortOptions o = quick();
    o.folds = 5;
    const CohortResult r = evaluate_cohort(d, o);
    EXPECT_EQ(r.classes.size(), donors < 5 ? 2u : 3u) << donors;
    EXPECT_EQ(r.dropped.size(), donors < 5 ? 1u : 0u) << donors;
  }
}

TEST(Cohort, NumericCohortsAreNames) {
  auto d = cohorts(2, 20, 4, 5);
  std::vector<double> number;
  for (int i = 0; i < 40; ++i) number.push_back(i % 2 ? 10 : 9);
  set_number(d.obs, "cohort", number);
  EXPECT_EQ(evaluate_cohort(d, quick()).classes, (std::vector<std::string>{"10", "9"}));
}

TEST(Cohort, MergesByTable) {
  const auto d = cohorts(4, 10, 4, 3);
  data::Table map;
  map.keys = {"C00", "C01", "absent"};
  set_factor(map, "merged", {"both", "both", "x"});
  CohortOptions o = quick();
  o.cohort_map = &map;
  EXPECT_EQ(evaluate_cohort(d, o).classes, (std::vector<std::string>{"C02", "C03", "both"}));
  set_factor(map, "merged", {"", "both", "x"});  // merged into nothing: left out
  EXPECT_EQ(evaluate_cohort(d, o).unlabelled, 10);
  map.keys = {"x", "y", "z"};
  EXPECT_ERROR(ErrorCode::input, "--cohort-map", evaluate_cohort(d, o));
}

TEST(Cohort, FoldsOfAColumn) {
  auto d = cohorts(3, 20, 4, 3);
  std::vector<double> fold;
  for (int i = 0; i < 60; ++i) fold.push_back(std::array{0, 3, 4}[static_cast<size_t>(i / 3 % 3)]);
  set_number(d.obs, "part", fold);
  CohortOptions o = quick();
  o.fold_key = "part";
  const CohortResult r = evaluate_cohort(d, o);
  ASSERT_EQ(r.folds.size(), 3u);
  EXPECT_EQ(r.folds[1].fold, 3);
  ASSERT_EQ(r.warnings.size(), 1u);  // of a gap its first fold
  EXPECT_NE(r.warnings[0].find("lack fold 1"), std::string::npos) << r.warnings[0];
  // As categories, the way h5ad keeps them.
  auto as_factor = d;
  std::vector<std::string> text;
  for (double f : fold) text.push_back(fmt::format("{}", f));
  set_factor(as_factor.obs, "part", text);
  EXPECT_EQ(evaluate_cohort(as_factor, o).predicted, r.predicted);
  // Donors in two folds are said.
  auto shared = d;
  set_factor(shared.obs, "donor", [] {
    std::vector<std::string> donor;
    for (int i = 0; i < 60; ++i) donor.push_back(fmt::format("D{}", i < 6 ? i % 3 : i));
    return donor;
  }());
  const auto warnings = evaluate_cohort(shared, o).warnings;
  EXPECT_TRUE(std::any_of(warnings.begin(), warnings.end(),
                          [](const std::string& w) { return w.find("3 donors have samples in more than one fold") != std::string::npos; }));
}

// A split as folds: fold 0 is the hold-out, judged by a classifier of all other samples.
TEST(Cohort, ASplitAsFolds) {
  auto d = cohorts(3, 20, 4, 3);
  std::vector<std::string> split;
  std::vector<double> fold;
  for (int i = 0; i < 60; ++i) {
    split.push_back(i % 5 == 0 ? "holdout" : i % 5 == 1 ? "validation" : "train");
    fold.push_back(i % 5 == 0 ? 0 : 1);
  }
  set_factor(d.obs, "split", split);
  set_number(d.obs, "part", fold);
  CohortOptions o = quick();
  o.on = On::all;
  o.fold_key = "split";
  const CohortResult r = evaluate_cohort(d, o);
  ASSERT_EQ(r.folds.size(), 2u);
  EXPECT_EQ(r.folds[0].test, 12);
  EXPECT_EQ(r.folds[0].train, 48);
  EXPECT_EQ(r.folds[1].test, 48);
  o.fold_key = "part";
  EXPECT_EQ(evaluate_cohort(d, o).predicted, r.predicted);
  // Of the hold-out alone there is one fold.
  o.fold_key = "split";
  o.on = On::holdout;
  o.folds = 2;
  EXPECT_ERROR(ErrorCode::input, "in one fold", evaluate_cohort(d, o));
}

TEST(Cohort, RefusesBrokenFoldColumns) {
  auto d = cohorts(3, 10, 4, 3);
  CohortOptions o = quick();
  o.fold_key = "part";
  EXPECT_ERROR(ErrorCode::input, "no column", evaluate_cohort(d, o));
  std::vector<double> fold(30, 0);
  set_number(d.obs, "part", fold);
  EXPECT_ERROR(ErrorCode::input, "in one fold", evaluate_cohort(d, o));
  fold[3] = 1, fold[7] = std::numeric_limits<double>::quiet_NaN();
  set_number(d.obs, "part", fold);
  EXPECT_ERROR(ErrorCode::input, "S0007", evaluate_cohort(d, o));
  fold[7] = 0.5;
  set_number(d.obs, "part", fold);
  EXPECT_ERROR(ErrorCode::input, "'0.5' is no fold", evaluate_cohort(d, o));
  fold[7] = -1;
  set_number(d.obs, "part", fold);
  EXPECT_ERROR(ErrorCode::input, "is no fold", evaluate_cohort(d, o));
  set_factor(d.obs, "part", [] {
    std::vector<std::string> f(30, "a");
    f[2] = "b";
    return f;
  }());
  EXPECT_ERROR(ErrorCode::input, "is no fold", evaluate_cohort(d, o));
}

// A cohort that is wholly in one fold cannot be learned for it.
TEST(Cohort, WarnsOfCohortsInOneFold) {
  auto d = cohorts(3, 10, 4, 3);
  std::vector<double> fold;
  for (int i = 0; i < 30; ++i) fold.push_back(i % 3 == 0 ? 0 : i % 2);
  set_number(d.obs, "fold", fold);
  CohortOptions o = quick();
  o.fold_key = "fold";
  const CohortResult r = evaluate_cohort(d, o);
  ASSERT_EQ(r.warnings.size(), 1u);
  EXPECT_NE(r.warnings[0].find("'C00' are in one fold"), std::string::npos) << r.warnings[0];
  EXPECT_EQ(r.confusion(0, 0), 0);
}

TEST(Cohort, WarnsOfFewSamplesForTheDimensions) {
  const CohortResult r = evaluate_cohort(cohorts(2, 20, 64, 3), quick());
  ASSERT_EQ(r.warnings.size(), 1u);
  EXPECT_NE(r.warnings[0].find("32 samples with 64 dimensions"), std::string::npos) << r.warnings[0];
}

TEST(Cohort, RefusesWhatCannotBeEvaluated) {
  const auto good = cohorts(3, 10, 4, 3);
  auto d = good;
  d.obs.columns.clear();
  EXPECT_ERROR(ErrorCode::input, "no column", evaluate_cohort(d, quick()));
  d = good;
  set_factor(d.obs, "cohort", std::vector<std::string>(30, "ONE"));
  EXPECT_ERROR(ErrorCode::input, "1 of 1 cohorts have at least 5 donors", evaluate_cohort(d, quick()));
  d = good;
  set_factor(d.obs, "cohort", std::vector<std::string>(30, ""));
  EXPECT_ERROR(ErrorCode::input, "0 of 0 cohorts", evaluate_cohort(d, quick()));
  CohortOptions o = quick();
  o.folds = 11;
  EXPECT_ERROR(ErrorCode::input, "'C00' (10 donors)", evaluate_cohort(good, o));
  o.folds = 1;
  EXPECT_ERROR(ErrorCode::usage, "--folds", evaluate_cohort(good, o));
  EXPECT_ERROR(ErrorCode::input, "0 of 1 cohorts", evaluate_cohort(reordered(good, {4}), quick()));
  // Thirty samples, but of two donors.
  d = good;
  set_factor(d.obs, "donor", [] {
    std::vector<std::string> donor;
    for (int i = 0; i < 30; ++i) donor.push_back(i % 2 ? "a" : "b");
    return donor;
  }());
  EXPECT_ERROR(ErrorCode::input, "(2 donors)", evaluate_cohort(d, quick()));
  d = good;
  d.x(3, 1) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_ERROR(ErrorCode::input, "sample 'S0003', feature 'z1'", evaluate_cohort(d, quick()));
  for (const double large : {1e300, -1e300}) {
    d.x(3, 1) = large;
    EXPECT_ERROR(ErrorCode::input, "float32", evaluate_cohort(d, quick()));
  }
}

TEST(Cohort, ConstantDimensionsAreHarmless) {
  auto d = cohorts(3, 20, 4, 5);
  const CohortResult with = evaluate_cohort(d, quick());
  data::RowMatrix<double> wider(60, 6);
  wider << d.x, Eigen::MatrixXd::Constant(60, 1, 3.5), Eigen::MatrixXd::Zero(60, 1);
  auto wide = test::dataset(wider);
  wide.obs = d.obs;
  EXPECT_EQ(evaluate_cohort(wide, quick()).predicted, with.predicted);
}

TEST(Cohort, CtrlCStops) {
  const auto d = cohorts(3, 10, 4, 3);
  set_interrupted(true);
  const Error e = test::error_of([&] { evaluate_cohort(d, quick()); });
  set_interrupted(false);
  EXPECT_EQ(e.code(), ErrorCode::interrupted);
}

// Whatever is fed in: an error that says something, or scores that are numbers.
TEST(Cohort, FuzzNeverGivesASilentNaN) {
  int refused = 0, answered = 0;
  for (uint32_t seed = 0; seed < 120; ++seed) {
    PhiloxSequence g(PhiloxKey{seed, 700, 0});
    const auto n = static_cast<int64_t>(1 + g.below(50)), dims = static_cast<int64_t>(1 + g.below(6));
    data::Dataset<double> d = test::dataset(test::gaussian(n, dims, 800 + seed));
    for (Eigen::Index j = 0; j < dims; ++j) {
      if (g.below(5) == 0) d.x.col(j).setConstant(static_cast<double>(g.below(3)));
      if (g.below(5) == 0) d.x.col(j) = d.x.col(0);
      if (g.below(8) == 0) d.x.col(j) *= 1e30;
      if (g.below(6) == 0)
        for (Eigen::Index i = 0; i < n; ++i) d.x(i, j) = std::round(d.x(i, j));
    }
    if (g.below(12) == 0) d.x(static_cast<Eigen::Index>(g.below(static_cast<uint64_t>(n))), 0) = std::numeric_limits<double>::quiet_NaN();
    const uint64_t classes = 1 + g.below(5), donors = 1 + g.below(2 * static_cast<uint64_t>(n));
    const double lacking = g.below(3) == 0 ? 0.4 * g.uniform() : 0;
    std::vector<std::string> cohort, donor, split;
    std::vector<double> fold;
    for (int64_t i = 0; i < n; ++i) {
      cohort.push_back(g.uniform() < lacking ? "" : fmt::format("C{}", g.below(classes)));
      donor.push_back(fmt::format("D{}", g.below(donors)));
      split.push_back(g.below(3) == 0 ? "holdout" : "train");
      fold.push_back(static_cast<double>(g.below(3)));
    }
    set_factor(d.obs, "cohort", cohort);
    if (g.below(4) > 0) set_factor(d.obs, "donor", donor);
    if (g.below(4) == 0) set_factor(d.obs, "split", split);
    set_number(d.obs, "fold", fold);
    CohortOptions o = quick();
    o.trees.rounds = 2;
    o.folds = static_cast<int>(1 + g.below(5));
    if (g.below(4) == 0) o.fold_key = "fold";
    o.control = g.below(4) == 0 ? Control::permuted : Control::none;
    o.seed = seed;
    try {
      const CohortResult r = evaluate_cohort(d, o);
      ++answered;
      for (const CohortFold& f : r.folds)
        for (double score : {f.accuracy, f.balanced_accuracy, f.macro_f1}) EXPECT_TRUE(score >= 0 && score <= 1) << seed << " fold " << f.fold;
      EXPECT_EQ(r.confusion.sum(), r.n) << seed;
      EXPECT_TRUE(r.accuracy.mean >= 0 && r.accuracy.mean <= 1 && std::isfinite(r.accuracy.sd)) << seed;
      EXPECT_FALSE(to_text(r).empty());
      EXPECT_EQ(to_json(r).dump().find("nan"), std::string::npos) << seed;
    } catch (const Error& e) {
      ++refused;
      EXPECT_TRUE(e.code() == ErrorCode::input || e.code() == ErrorCode::usage) << seed << ": " << e.what();
      EXPECT_GT(std::string(e.what()).size(), 20u) << seed << ": " << e.what();
    }
  }
  EXPECT_GT(answered, 20);
  EXPECT_GT(refused, 5);
}

}  // namespace
}  // namespace panvae::eval
