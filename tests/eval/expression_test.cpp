#include "eval/expression.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "data/read.h"
#include "data/write.h"
#include "eval/spearman.h"
#include "tests/eval/expression_helpers.h"

namespace panvae::eval {
namespace {

using namespace test;

const std::string kReference = std::string(PANVAE_SOURCE_DIR) + "/tests/reference/stats/";

// limma 3.54 and R's t.test, through the whole evaluation and its table.
TEST(Expression, TablesAreLimmasAndRs) {
  data::ReadOptions read;
  read.obs_table = kReference + "observed_obs.tsv";
  const SampleSource observed(kReference + "observed.tsv", read), reconstructed(kReference + "reconstructed.tsv", {});
  for (const char* test : {"paired", "limma", "limma-trend", "welch"}) {
    ExpressionOptions o;
    o.test = parse_expression_test(test);
    const ExpressionResult r = evaluate_expression(observed, reconstructed, o);
    std::string file = test;
    std::replace(file.begin(), file.end(), '-', '_');
    const data::Table expected = data::read_table(kReference + "expected_de_" + file + ".tsv"), table = de_table(r);
    ASSERT_EQ(table.keys, expected.keys);
    int64_t de = 0, up = 0;
    for (size_t i = 0; i < table.keys.size(); ++i) {
      for (const char* column : {"log2fc", "t", "p", "fdr"}) {
        const double value = table.at(column).number[i], wanted = expected.at(column).number[i];
        EXPECT_LE(std::abs(value - wanted), 1e-6 * std::abs(wanted)) << test << " " << table.keys[i] << " " << column;
      }
      EXPECT_NEAR(table.at("mean_reconstructed").number[i] - table.at("mean_observed").number[i], expected.at("log2fc").number[i], 1e-6);
      const bool is = std::abs(expected.at("log2fc").number[i]) > 1 && expected.at("fdr").number[i] < 0.05;
      de += is;
      up += is && expected.at("log2fc").number[i] > 0;
    }
    EXPECT_GT(de, 0);
    EXPECT_EQ(r.reconstruction.count.de, de);
    EXPECT_EQ(r.reconstruction.count.up, up);
    EXPECT_EQ(r.reconstruction.count.down, de - up);
  }
}

TEST(Expression, NumbersAreTheirFormulas) {
  const Pair p = pair(70, 57);  // more samples than are read at once
  const ExpressionResult r = evaluate(p);
  const Matrix &x = p.observed.x, &y = p.reconstructed.x;
  EXPECT_EQ(r.reconstruction.spearman_per_feature, spearman_columns(x, y).value);
  EXPECT_EQ(r.reconstruction.spearman_per_sample, spearman_rows(x, y).value);
  EXPECT_EQ(r.reconstruction.spearman_per_sample_mean, spearman_rows(x, y).mean);
  const double total = (x.rowwise() - x.colwise().mean()).squaredNorm();
  EXPECT_NEAR(r.reconstruction.r2, 1 - (x - y).squaredNorm() / total, 1e-12);
  EXPECT_EQ(r.reconstruction.count.up, 6);  // features 0, 10, ..., 50
  EXPECT_EQ(r.reconstruction.count.down, 0);
  // Without a split the cohort mean is that of the evaluated samples.
  Matrix mean(70, 57);
  for (int64_t i = 0; i < 70; ++i) {
    mean.row(i).setZero();
    for (int64_t k = i % 2; k < 70; k += 2) mean.row(i) += x.row(k) / 35;
  }
  EXPECT_EQ(r.cohort_mean_from, "evaluated");
  EXPECT_EQ(r.cohorts, 2);
  EXPECT_NEAR(r.cohort_mean.r2, 1 - (x - mean).squaredNorm() / total, 1e-12);
  EXPECT_NEAR(r.cohort_mean.spearman_per_sample_mean, spearman_rows(x, mean).mean, 1e-12);
  EXPECT_EQ(r.cohort_mean.count.de, 0);
}

TEST(Expression, TheCohortMeanIsThatOfTheTrainingSamples) {
  Pair p = pair(40, 30);
  std::vector<std::string> split;
  for (int i = 0; i < 40; ++i) split.push_back(i < 16 ? "holdout" : i < 20 ? "validation" : "train");
  set_factor(p.observed.obs, "split", split);
  ExpressionOptions o;
  o.cohort = "B";
  const ExpressionResult r = evaluate(p, o);
  EXPECT_EQ(r.n, 8);
  EXPECT_EQ(r.on, "holdout");
  EXPECT_EQ(r.cohort_mean_from, "train");
  Eigen::RowVectorXd mean = Eigen::RowVectorXd::Zero(30);
  for (int i = 21; i < 40; i += 2) mean += p.observed.x.row(i) / 10;
  for (int64_t j = 0; j < 30; ++j) {
    double effect = 0;
    for (int i = 1; i < 16; i += 2) effect += (mean[j] - p.observed.x(i, j)) / 8;
    EXPECT_NEAR(r.cohort_mean.test.effect[static_cast<size_t>(j)], effect, 1e-12);
  }
  // One cohort: a constant prediction of each feature has no correlation across samples.
  EXPECT_TRUE(std::isnan(r.cohort_mean.spearman_per_feature_mean));
  EXPECT_EQ(to_json(r)["cohort_mean_spearman_per_feature_mean"], nullptr);
  EXPECT_LE(r.cohort_mean.r2, 0);
  o.on = On::all;
  EXPECT_EQ(evaluate(p, o).n, 20);
}

// Those of unknown cohorts are no cohort of their own.
TEST(Expression, WithoutACohortTheMeanOfAllIsPredicted) {
  Pair p = pair(40, 30);
  std::vector<std::string> cohort, split;
  for (int i = 0; i < 40; ++i) cohort.push_back(i % 4 == 0 ? "" : i % 2 ? "B" : "A"), split.push_back(i < 16 ? "holdout" : "train");
  set_factor(p.observed.obs, "cohort", cohort);
  set_factor(p.observed.obs, "split", split);
  const ExpressionResult r = evaluate(p);
  const auto mean = [&](const std::string& of) {
    Eigen::RowVectorXd sum = Eigen::RowVectorXd::Zero(30);
    int n = 0;
    for (int i = 16; i < 40; ++i)
      if (of.empty() || cohort[static_cast<size_t>(i)] == of) sum += p.observed.x.row(i), ++n;
    return Eigen::RowVectorXd(sum / n);
  };
  Eigen::RowVectorXd effect = Eigen::RowVectorXd::Zero(30);
  for (int i = 0; i < 16; ++i) effect += (mean(cohort[static_cast<size_t>(i)]) - p.observed.x.row(i)) / 16;
  for (int64_t j = 0; j < 30; ++j) EXPECT_NEAR(r.cohort_mean.test.effect[static_cast<size_t>(j)], effect[j], 1e-12);
}

// Predicting the cohort mean is no reconstruction, and the numbers beside DE say so.
TEST(Expression, ThePredictedMeanIsSeenThrough) {
  Pair p = pair(30, 200);
  for (int64_t i = 0; i < 30; ++i) p.reconstructed.x.row(i) = p.observed.x.colwise().mean();
  const ExpressionResult r = evaluate(p);
  EXPECT_EQ(r.reconstruction.count.de, 0);
  EXPECT_NEAR(r.reconstruction.r2, 0, 1e-12);
  EXPECT_TRUE(std::isnan(r.reconstruction.spearman_per_feature_mean));
  EXPECT_EQ(r.reconstruction.undefined_features, 200);
  EXPECT_TRUE(std::any_of(r.warnings.begin(), r.warnings.end(), [](const std::string& w) { return w.find("says nothing for it") != std::string::npos; }));
}

TEST(Expression, OrderThreadsAndMemoryDoNotMatter) {
  Pair p = pair(20, 3000);
  const test::Threads one(1);
  for (const bool split : {false, true}) {  // means of the evaluated samples, and of those that train
    if (split) {
      std::vector<std::string> side;
      for (int i = 0; i < 20; ++i) side.push_back(i < 8 ? "holdout" : "train");
      set_factor(p.observed.obs, "split", side);
    }
    set_threads(1);
    const std::string expected = dumped(evaluate(p));
    Pair q = p;
    q.observed = reordered(p.observed, shuffled(20, 1), test::all_rows(3000));
    q.reconstructed = reordered(p.reconstructed, shuffled(20, 2), shuffled(3000, 3));
    EXPECT_EQ(dumped(evaluate(q)), expected);
    ExpressionOptions little;
    little.memory_bytes = 1;  // three ranges of features
    EXPECT_EQ(dumped(evaluate(q, little)), expected);
    set_threads(4);
    EXPECT_EQ(dumped(evaluate(p)), expected);
  }
}

TEST(Expression, FewerThanTenSamplesAreSaid) {
  const auto warnings = [](int64_t n) { return to_json(evaluate(pair(n, 30)))["warnings"].dump(); };
  EXPECT_NE(warnings(9).find("9 samples: a test of so few finds little"), std::string::npos) << warnings(9);
  EXPECT_EQ(warnings(10).find("a test of so few"), std::string::npos) << warnings(10);
}

// From files, whose samples are read as they are asked for, in any order.
TEST(Expression, FilesGiveTheSameAsMemory) {
  Pair p = pair(20, 40);
  p.observed.x = p.observed.x.cast<float>().cast<double>();
  p.reconstructed.x = p.reconstructed.x.cast<float>().cast<double>();
  const std::string folder = ::testing::TempDir();
  const std::string a = folder + "/panvae_observed.h5ad", b = folder + "/panvae_reconstructed.h5ad", c = folder + "/panvae_reconstructed.tsv";
  data::write_dataset(a, p.observed);
  data::write_dataset(b, reordered(p.reconstructed, shuffled(20, 4), shuffled(40, 5)));
  data::write_dataset(c, p.reconstructed);
  const SampleSource observed(a, {}), reconstructed(b, {}), text(c, {});
  EXPECT_FALSE(observed.in_memory());
  EXPECT_TRUE(text.in_memory());
  const std::string expected = dumped(evaluate(p));
  EXPECT_EQ(dumped(evaluate_expression(observed, reconstructed)), expected);
  EXPECT_EQ(dumped(evaluate_expression(observed, text)), expected);
  data::ReadOptions where;
  where.where = {"cohort=B"};
  const ExpressionResult only_b = evaluate_expression(SampleSource(a, where), reconstructed);
  ExpressionOptions o;
  o.cohort = "B";
  EXPECT_EQ(only_b.reconstruction.test.p, evaluate(p, o).reconstruction.test.p);
  p.observed.x(3, 7) = std::numeric_limits<double>::quiet_NaN();
  data::write_dataset(a, p.observed);
  EXPECT_ERROR(ErrorCode::input, "sample 'S0003', feature 'z7'", evaluate_expression(SampleSource(a, {}), reconstructed));
  for (const std::string& file : {a, b, c}) std::remove(file.c_str());
}

TEST(Expression, IdenticalMatricesHaveNothingToTest) {
  Pair p = pair(12, 30);
  p.reconstructed.x = p.observed.x;
  for (const char* test : {"paired", "limma", "limma-trend", "welch"}) {
    ExpressionOptions o;
    o.test = parse_expression_test(test);
    const ExpressionResult r = evaluate(p, o);
    EXPECT_EQ(r.reconstruction.count.de, 0);
    EXPECT_EQ(r.reconstruction.spearman_per_feature_mean, 1);
    EXPECT_EQ(r.reconstruction.r2, 1);
    EXPECT_EQ(r.reconstruction.test.untestable, o.test == ExpressionTest::paired ? 30 : 0);
  }
}

TEST(Expression, ConstantFeaturesAreCountedAndTold) {
  Pair p = pair(16, 50);
  p.observed.x.col(4).setConstant(3);
  p.reconstructed.x.col(4).setConstant(3);
  p.observed.x.col(5).setConstant(3);
  p.reconstructed.x.col(5).setConstant(4.5);
  ExpressionOptions o;
  o.test = ExpressionTest::welch;
  const ExpressionResult r = evaluate(p, o);
  EXPECT_TRUE(std::isnan(r.reconstruction.test.p[4]));
  EXPECT_EQ(r.reconstruction.test.p[5], 0);
  EXPECT_EQ(r.reconstruction.test.untestable, 1);
  EXPECT_EQ(r.reconstruction.undefined_features, 2);
  EXPECT_EQ(to_json(r)["untestable_features"], 1);
  const std::string text = to_text(r);
  for (const char* part : {"reconstruction", "cohort mean", "Spearman per sample", "R2", "welch"}) EXPECT_NE(text.find(part), std::string::npos) << text;
}

// Features at a threshold are not beyond it.
TEST(Expression, ThresholdsAreExclusive) {
  DifferenceTest t;
  t.effect = {1, -1, 1.5, -1.5, 1.5, -2};
  t.fdr = {0.01, 0.01, 0.04, 0.04, 0.05, 0.05};
  const DeCount c = count_de(t, 1, 0.05);
  EXPECT_EQ(c.up, 1);
  EXPECT_EQ(c.down, 1);
  EXPECT_EQ(c.de, 2);
}

// Whatever comes: numbers that are finite or missing with a reason, or an error that says what is wrong.
TEST(Expression, AnythingGivesAnAnswerOrAnError) {
  PhiloxSequence g(PhiloxKey{31, 0, 0});
  int answers = 0;
  for (int round = 0; round < 250; ++round) {
    const auto n = static_cast<int64_t>(1 + g.below(12)), features = static_cast<int64_t>(1 + g.below(40));
    Pair p{logs(gaussian(n, features, static_cast<uint32_t>(2000 + round))), logs(gaussian(n, features, static_cast<uint32_t>(3000 + round)))};
    if (g.below(3) == 0) p.reconstructed.x = p.observed.x;
    std::vector<std::string> cohort, split, donor;
    for (int64_t i = 0; i < n; ++i) {
      cohort.push_back(g.below(6) == 0 ? "" : fmt::format("C{}", g.below(3)));
      split.push_back(g.below(2) ? "train" : "holdout");
      donor.push_back(fmt::format("D{}", g.below(6)));
    }
    for (int64_t j = 0; j < features; ++j) {
      const uint64_t kind = g.below(8);
      if (kind == 0) p.observed.x.col(j).setConstant(2.5);
      if (kind <= 1) p.reconstructed.x.col(j).setConstant(2.5);
      if (kind == 2) p.observed.x.col(j) = p.observed.x.col(j).array().round().matrix();
      if (kind == 3) p.reconstructed.x.col(j) *= 1e150;
      if (kind == 4) p.reconstructed.x.col(j) *= 1e-200;
    }
    if (g.below(15) == 0) p.observed.x(0, 0) = std::numeric_limits<double>::infinity();
    if (g.below(2)) set_factor(p.observed.obs, "cohort", cohort);
    if (g.below(2)) set_factor(p.observed.obs, "split", split);
    if (g.below(2)) set_factor(p.observed.obs, "donor", donor);
    ExpressionOptions o;
    o.test = static_cast<ExpressionTest>(g.below(4));
    o.baseline = g.below(4) == 0 ? Baseline::techrep : Baseline::none;
    if (g.below(4) == 0) o.cohort = "C1";
    try {
      const ExpressionResult r = evaluate(p, o);
      ++answers;
      const DifferenceTest& t = r.reconstruction.test;
      int64_t missing = 0;
      for (size_t j = 0; j < t.p.size(); ++j) {
        missing += std::isnan(t.p[j]);
        if (std::isnan(t.p[j])) continue;
        EXPECT_TRUE(t.p[j] >= 0 && t.p[j] <= 1 && t.fdr[j] >= t.p[j] && t.fdr[j] <= 1) << round << " " << t.p[j] << " " << t.fdr[j];
        EXPECT_FALSE(std::isnan(t.t[j]));
      }
      EXPECT_EQ(missing, t.untestable);
      EXPECT_TRUE(missing == 0 || !r.warnings.empty());
      EXPECT_LE(r.reconstruction.count.de, static_cast<int64_t>(t.p.size()));
      EXPECT_TRUE(!std::isnan(r.reconstruction.spearman_per_feature_mean) || !r.warnings.empty());
      EXPECT_EQ(to_json(r).dump().find("nan"), std::string::npos);
      (void)to_text(r);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::input) << e.what();
    }
  }
  EXPECT_GT(answers, 120);
}

}  // namespace
}  // namespace panvae::eval
