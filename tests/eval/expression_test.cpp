#include "eval/expression.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "base/file.h"
#include "data/preprocess.h"
#include "data/read.h"
#include "data/write.h"
#include "eval/spearman.h"
#include "eval/thinning.h"
#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using data::SampleSource;
using test::gaussian;
using test::set_factor;
using Matrix = data::RowMatrix<double>;
using Dataset = data::Dataset<double>;

const std::string kReference = std::string(PANVAE_SOURCE_DIR) + "/tests/reference/stats/";

Dataset logs(Matrix x) {
  Dataset d = test::dataset(std::move(x));
  d.kind = "log";
  return d;
}

// `n` samples of `g` features around means of their own, half in cohort A, half in B, every donor its own; and a
// reconstruction that shrinks towards the mean and shifts every tenth feature by 2.
struct Pair {
  Dataset observed, reconstructed;
};
Pair pair(int64_t n, int64_t g, uint32_t op = 1) {
  Matrix x = gaussian(n, g, op), noise = gaussian(n, g, op + 1);
  std::vector<std::string> cohort;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < g; ++j) x(i, j) += 5 + 2 * std::sin(static_cast<double>(j)) + (i % 2 ? std::cos(static_cast<double>(3 * j)) : 0);
    cohort.push_back(i % 2 ? "B" : "A");
  }
  Matrix y = 0.8 * x + 0.3 * noise;
  for (int64_t j = 0; j < g; ++j) y.col(j).array() += 0.2 * (5 + 2 * std::sin(static_cast<double>(j))) + (j % 10 == 0 ? 2 : 0);
  Pair p{logs(x), logs(y)};
  set_factor(p.observed.obs, "cohort", cohort);
  return p;
}

ExpressionResult evaluate(const Pair& p, const ExpressionOptions& o = {}) {
  return evaluate_expression(SampleSource(p.observed), SampleSource(p.reconstructed), o);
}

Dataset reordered(const Dataset& d, const std::vector<int64_t>& rows, const std::vector<int64_t>& columns) {
  Dataset out = d;
  out.obs = d.obs.select(rows);
  out.var = d.var.select(columns);
  out.x.resize(static_cast<int64_t>(rows.size()), static_cast<int64_t>(columns.size()));
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = 0; j < columns.size(); ++j) out.x(static_cast<int64_t>(i), static_cast<int64_t>(j)) = d.x(rows[i], columns[j]);
  return out;
}

std::vector<int64_t> shuffled(int64_t n, uint64_t seed) {
  std::vector<int64_t> order = test::all_rows(n);
  PhiloxSequence g(PhiloxKey{seed, 0, 0});
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[g.below(i)]);
  return order;
}

std::string dumped(const ExpressionResult& r) {
  std::string text = to_json(r).dump();
  for (const auto* values : {&r.reconstruction.test.p, &r.reconstruction.test.fdr, &r.reconstruction.spearman_per_feature, &r.cohort_mean.test.p})
    for (double v : *values) text += fmt::format(" {}", v);
  return text;
}

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
  const Pair p = pair(24, 57);
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
  Matrix mean(24, 57);
  for (int64_t i = 0; i < 24; ++i) {
    mean.row(i).setZero();
    for (int64_t k = i % 2; k < 24; k += 2) mean.row(i) += x.row(k) / 12;
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
  const Pair p = pair(20, 3000);
  const test::Threads one(1);
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

TEST(Expression, JsonHasTheKeysOfTheContract) {
  const Json j = to_json(evaluate(pair(12, 20)));
  for (const char* key : {"n_features", "n_de", "n_up", "n_down", "baseline_n_de", "ratio", "spearman_per_sample_mean", "spearman_per_feature_mean", "r2",
                          "cohort_mean_n_de", "warnings"})
    EXPECT_TRUE(j.contains(key)) << key;
  EXPECT_EQ(j["baseline_n_de"], nullptr);
  EXPECT_EQ(j["ratio"], nullptr);
  int64_t sum = 0;
  for (const Json& bin : j["spearman_per_feature_histogram"]) sum += bin.get<int64_t>();
  EXPECT_EQ(sum, 20);
}

TEST(Expression, WhatIsPrintedAndWritten) {
  ExpressionResult r;
  r.reconstruction.count = {13, 9, 4}, r.cohort_mean.count = {25, 18, 7};
  r.reconstruction.spearman_per_sample_mean = 0.875, r.reconstruction.spearman_per_feature_mean = 0.5, r.reconstruction.r2 = 0.625;
  r.cohort_mean.spearman_per_sample_mean = 0.75, r.cohort_mean.spearman_per_feature_mean = 0.25, r.cohort_mean.r2 = 0.125;
  r.reconstruction.spearman_per_sample = {0.5, std::nan("")};
  // Bins are 0.05 wide and hold their lower ends; 1 is in the last.
  r.reconstruction.spearman_per_feature = {-1, -0.96, -0.04, 0, 0.049, 0.051, 0.999, 1, std::nan("")};
  r.reconstruction.undefined_samples = 1, r.reconstruction.undefined_features = 2;
  r.reconstruction.test = {{1, 2}, {3, 4}, {0.5, 0.25}, {0.5, 0.375}, 11, std::numeric_limits<double>::infinity(), 0, 3, 0};
  r.baseline = Baseline::thin, r.baseline_count = {5, 2, 3}, r.baseline_pairs = 17, r.ratio = 2.5;
  r.features = {"f", "g"}, r.samples = {"s", "t"}, r.mean_observed = {1.5, 2.5}, r.mean_reconstructed = {1.25, 2.25};
  r.cohort_mean_from = "train", r.n = 41, r.donors = 37, r.cohorts = 6, r.on = "holdout", r.cohort = "BRCA", r.modality = "rna";
  r.test = ExpressionTest::welch, r.lfc = 1, r.fdr = 0.05;
  Json j = to_json(r);
  std::vector<int64_t> bins(40, 0);
  bins[0] = 2, bins[19] = 1, bins[20] = 2, bins[21] = 1, bins[39] = 2;
  EXPECT_EQ(j["spearman_per_feature_histogram"], Json(bins));
  j.erase("spearman_per_feature_histogram");
  EXPECT_EQ(j, Json::parse(R"({"modality": "rna", "n_features": 2, "n_de": 13, "n_up": 9, "n_down": 4, "baseline_n_de": 5, "ratio": 2.5,
    "spearman_per_sample_mean": 0.875, "spearman_per_feature_mean": 0.5, "r2": 0.625, "cohort_mean_n_de": 25, "cohort_mean_n_up": 18,
    "cohort_mean_n_down": 7, "cohort_mean_spearman_per_sample_mean": 0.75, "cohort_mean_spearman_per_feature_mean": 0.25, "cohort_mean_r2": 0.125,
    "cohort_mean_from": "train", "baseline": "thin", "baseline_pairs": 17, "test": "welch", "lfc": 1.0, "fdr": 0.05, "n": 41, "donors": 37,
    "cohorts": 6, "cohort": "BRCA", "on": "holdout", "residual_df": 11.0, "prior_df": null, "prior_df_infinite": true, "untestable_features": 3,
    "undefined_spearman_samples": 1, "undefined_spearman_features": 2, "samples": ["s", "t"], "spearman_per_sample": [0.5, null], "warnings": []})"));
  EXPECT_EQ(to_text(r),
            "41 samples of 37 donors (holdout, cohort BRCA), 2 features; test welch, DE where |log2 fold change| > 1 and FDR < 0.05\n\n"
            "                                     DE  up  down  Spearman per sample  per feature      R2\n"
            "-----------------------------------  --  --  ----  -------------------  -----------  ------\n"
            "reconstruction                       13   9     4               0.8750       0.5000  0.6250\n"
            "cohort mean of the training samples  25  18     7               0.7500       0.2500  0.1250\n"
            "thinned counts, 17 pairs              5   2     3\n\n"
            "DE features, reconstruction to baseline: 2.500\n");
  const data::Table t = de_table(r);
  EXPECT_EQ(t.keys, r.features);
  for (const auto& [name, values] : {std::pair{"log2fc", r.reconstruction.test.effect},
                                     {"t", r.reconstruction.test.t},
                                     {"p", r.reconstruction.test.p},
                                     {"fdr", r.reconstruction.test.fdr},
                                     {"mean_observed", r.mean_observed},
                                     {"mean_reconstructed", r.mean_reconstructed}})
    EXPECT_EQ(t.at(name).number, values) << name;
}

// Peaks are accessible, genes are expressed; the numbers are the same.
TEST(Expression, PeaksAreSpokenOfAsAccessible) {
  Pair p = pair(8, 30);
  const ExpressionResult genes = evaluate(p);
  EXPECT_EQ(to_json(genes)["modality"], "rna");
  EXPECT_NE(to_text(genes).find(" features; test paired, DE where"), std::string::npos) << to_text(genes);
  const auto atac = [&](const Pair& q) {
    const ExpressionResult r = evaluate(q);
    Json j = to_json(r);
    EXPECT_EQ(j["modality"], "atac");
    EXPECT_EQ(j["n_de"], to_json(genes)["n_de"]);
    EXPECT_EQ(j["r2"], to_json(genes)["r2"]);
    std::string text = to_text(r);
    for (const char* part : {"differential accessibility (DA)", " peaks; test paired, DA where", "per peak"})
      EXPECT_NE(text.find(part), std::string::npos) << text;
    text += j["warnings"].dump();
    EXPECT_NE(text.find("so few DA peaks say little"), std::string::npos) << text;
    for (const char* part : {"DE ", "expression", "feature", "gene"}) EXPECT_EQ(text.find(part), std::string::npos) << part << ": " << text;
  };
  // As the preprocessing says, whatever the names are.
  p.observed.frozen.settings["modality"] = "atac";
  atac(p);
  // By columns, and by names.
  Pair q = pair(8, 30);
  std::vector<double> start, end;
  for (int i = 0; i < 30; ++i) start.push_back(100 * i), end.push_back(100 * i + 50);
  set_factor(q.observed.var, "chrom", std::vector<std::string>(30, "chr1"));
  test::set_number(q.observed.var, "start", start), test::set_number(q.observed.var, "end", end);
  atac(q);
  set_factor(q.observed.var, "symbol", std::vector<std::string>(30, "TP53"));  // genes with positions
  EXPECT_EQ(evaluate(q).modality, "rna");
  Pair named = pair(8, 30);
  for (Dataset* d : {&named.observed, &named.reconstructed})
    for (int i = 0; i < 30; ++i) d->var.keys[static_cast<size_t>(i)] = fmt::format("chr1:{}-{}", 100 * i, 100 * i + 50);
  atac(named);
  for (Dataset* d : {&named.observed, &named.reconstructed}) d->var.keys[7] = "TP53";
  EXPECT_EQ(evaluate(named).modality, "rna");
}

TEST(Expression, NamesWhatDoesNotFit) {
  const Pair p = pair(12, 20);
  Pair q = p;
  q.reconstructed.obs.keys[3] = "other";
  EXPECT_ERROR(ErrorCode::input, "'S0003'", evaluate(q));
  q = p;
  q.reconstructed.var.keys[7] = "other";
  EXPECT_ERROR(ErrorCode::input, "feature 'z7'", evaluate(q));
  q = p;
  q.observed = reordered(p.observed, test::all_rows(12), test::all_rows(19));
  EXPECT_ERROR(ErrorCode::input, "feature 'z19'", evaluate(q));
  q = p;
  q.observed = reordered(p.observed, test::all_rows(5), test::all_rows(20));
  EXPECT_EQ(evaluate(q).n, 5);  // more reconstructed samples are no harm
  ExpressionOptions o;
  o.cohort = "C";
  EXPECT_ERROR(ErrorCode::input, "there are A, B", evaluate(p, o));
  o = {};
  o.on = On::holdout;
  EXPECT_ERROR(ErrorCode::input, "hold-out", evaluate(p, o));
  o = {};
  o.lfc = std::numeric_limits<double>::quiet_NaN();
  EXPECT_ERROR(ErrorCode::usage, "--lfc", evaluate(p, o));
  o = {};
  o.fdr = 2;
  EXPECT_ERROR(ErrorCode::usage, "--fdr", evaluate(p, o));
  EXPECT_ERROR(ErrorCode::usage, "--test", parse_expression_test("t"));
  EXPECT_ERROR(ErrorCode::usage, "--baseline", parse_baseline("half"));
  q = p;
  q.observed = reordered(p.observed, {4}, test::all_rows(20));
  EXPECT_ERROR(ErrorCode::input, "two samples", evaluate(q));
  q = p;
  q.observed.x = (p.observed.x.array().abs() * 100).round().matrix();
  q.observed.kind = "";
  EXPECT_ERROR(ErrorCode::input, "look like counts", evaluate(q));
  q = p;
  q.reconstructed.kind = "z";
  EXPECT_NE(to_json(evaluate(q))["warnings"].dump().find("standard deviations"), std::string::npos);
  q = p;
  q.observed.obs.columns.clear();
  EXPECT_EQ(evaluate(q).cohorts, 1);
  o = {};
  o.cohort = "A";
  EXPECT_ERROR(ErrorCode::input, "cohort", evaluate(q, o));
}

// Counts of a study with planted replicates, preprocessed.
struct Study {
  Dataset counts, observed;
};
Study study(int64_t donors, int64_t g, double replicate_shift) {
  PhiloxSequence random(PhiloxKey{77, 1, 0});
  Dataset d;
  std::vector<std::string> donor, cohort;
  d.x.resize(2 * donors, g);
  for (int64_t i = 0; i < 2 * donors; ++i) {
    d.obs.keys.push_back(fmt::format("D{:02d}-{}", i / 2, i % 2 + 1));
    donor.push_back(fmt::format("D{:02d}", i / 2));
    cohort.push_back("A");
    for (int64_t j = 0; j < g; ++j) {
      const double own = i % 2 ? d.x(i - 1, j) : 20 + 400.0 * random.uniform() + 2000 * (j % 3);
      const double shift = i % 2 && j % 4 == 0 ? replicate_shift : 1;
      d.x(i, j) = std::round(own * shift * (i % 2 ? 0.95 + 0.1 * random.uniform() : 1));
    }
  }
  for (int64_t j = 0; j < g; ++j) d.var.keys.push_back(fmt::format("G{}", j));
  set_factor(d.obs, "donor", donor);
  set_factor(d.obs, "cohort", cohort);
  d.kind = "counts";
  Study s{d, d};
  data::PreprocessOptions options;
  options.fit_on_all = true;
  options.quantile = false;
  options.variance.kind = data::VarianceFilter::Kind::none;
  data::Preprocessor().fit(s.observed, options);
  return s;
}

TEST(Expression, ReplicatesAndThinningAreBaselines) {
  Study s = study(16, 120, 8);  // a quarter of the genes is found eight times better by the second replicate
  Pair p{s.observed, s.observed};
  p.reconstructed.x.array() += 0.01 * gaussian(32, 120, 5).array();
  for (int64_t j = 0; j < 12; ++j) p.reconstructed.x.col(j).array() += 3;
  const SampleSource counts(s.counts);
  ExpressionOptions o;
  o.baseline = Baseline::techrep;
  const ExpressionResult rep = evaluate(p, o);
  EXPECT_EQ(rep.baseline_pairs, 16);
  EXPECT_EQ(rep.reconstruction.count.de, 12);
  EXPECT_GE(rep.baseline_count.up, 30);
  EXPECT_DOUBLE_EQ(rep.ratio, 12.0 / static_cast<double>(rep.baseline_count.de));
  // The same replicates from their counts.
  o.counts = &counts;
  EXPECT_EQ(evaluate(p, o).baseline_count.de, rep.baseline_count.de);
  // The column says which comes first.
  test::set_number(p.observed.obs, "replicate", [] {
    std::vector<double> number;
    for (int i = 0; i < 32; ++i) number.push_back(2 - i % 2);
    return number;
  }());
  o.counts = nullptr;
  EXPECT_EQ(evaluate(p, o).baseline_count.down, rep.baseline_count.up);
  // Two halves of the same counts do not differ.
  o.baseline = Baseline::thin;
  EXPECT_ERROR(ErrorCode::usage, "--counts", evaluate(p, o));
  o.counts = &counts;
  const ExpressionResult thin = evaluate(p, o);
  EXPECT_EQ(thin.baseline_pairs, 32);
  EXPECT_EQ(thin.baseline_count.de, 0);
  EXPECT_DOUBLE_EQ(thin.ratio, 12);
  EXPECT_EQ(to_json(thin)["baseline_n_de"], 0);
  EXPECT_NE(to_text(thin).find("thinned counts, 32 pairs"), std::string::npos);
  // Order of the counts does not matter.
  const SampleSource other(reordered(s.counts, shuffled(32, 8), shuffled(120, 9)));
  o.counts = &other;
  EXPECT_EQ(to_json(evaluate(p, o)).dump(), to_json(thin).dump());
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

// Thinned by hand: one half of each sample's counts against the other, both preprocessed as the observed values were.
TEST(Expression, TheThinBaselineComparesTwoHalves) {
  const Study s = study(8, 90, 1);
  Pair p{s.observed, s.observed};
  p.reconstructed.x.array() += 0.01 * gaussian(16, 90, 5).array();
  const SampleSource counts(s.counts);
  ExpressionOptions o;
  o.baseline = Baseline::thin;
  o.counts = &counts;
  o.lfc = 0;
  o.fdr = 0.9999;
  std::set<std::pair<int64_t, int64_t>> seen;
  for (o.seed = 0; o.seed < 4; ++o.seed) {
    Dataset half = s.counts, rest = s.counts;
    const std::vector<uint64_t> keys = thinning_keys(s.counts.var.keys);
    for (int64_t i = 0; i < half.samples(); ++i) {
      const std::vector<double> drawn =
          thin(std::span(s.counts.x.data() + i * 90, 90), keys, s.counts.var.keys, s.counts.obs.keys[static_cast<size_t>(i)], o.seed);
      half.x.row(i) = Eigen::Map<const Eigen::RowVectorXd>(drawn.data(), 90);
      rest.x.row(i) -= half.x.row(i);
    }
    const data::Preprocessor preprocessing = data::Preprocessor::from(s.observed.frozen);
    preprocessing.apply(half), preprocessing.apply(rest);
    Moments difference(90);
    difference.add_differences(rest.x, half.x);
    const DeCount expected = count_de(moderated_one_sample(difference), o.lfc, o.fdr), got = evaluate(p, o).baseline_count;
    EXPECT_EQ(got.up, expected.up) << o.seed;
    EXPECT_EQ(got.down, expected.down) << o.seed;
    seen.emplace(got.up, got.down);
  }
  EXPECT_GT(seen.size(), 1u) << "the seed decides who goes where";
}

// Replicates of another batch lose the effect of theirs; a donor with two kinds of samples counts once; few pairs are said.
TEST(Expression, ReplicatesKeepTheirBatchAndDonorsCountOnce) {
  Study s = study(12, 80, 1);
  std::vector<std::string> batch, type, donor;
  for (int i = 0; i < 24; ++i) {
    batch.push_back(i % 2 ? "second" : "first");
    // Three donors of four tumour and four normal samples.
    type.push_back(i % 4 < 2 ? "tumour" : "normal");
    donor.push_back(fmt::format("D{}", i < 12 ? i / 4 : i));
    if (i % 2)
      for (int64_t j = 0; j < 80; ++j) s.counts.x(i, j) = std::round(s.counts.x(i, j) * (j % 2 ? 3 : 1));
  }
  set_factor(s.counts.obs, "batch", batch);
  set_factor(s.counts.obs, "sample_type", type);
  set_factor(s.counts.obs, "donor", donor);
  s.observed = s.counts;
  data::PreprocessOptions options;
  options.fit_on_all = true;
  options.quantile = false;
  options.batch_keys = {"batch"};
  data::Preprocessor().fit(s.observed, options);
  Pair p{s.observed, s.observed};
  p.reconstructed.x.array() += 0.01 * gaussian(24, 80, 5).array();
  ExpressionOptions o;
  o.baseline = Baseline::techrep;
  const ExpressionResult values = evaluate(p, o);
  EXPECT_EQ(values.baseline_pairs, 3);
  EXPECT_NE(to_json(values)["warnings"].dump().find("the baseline compares 3 pairs, the reconstruction 24"), std::string::npos);
  EXPECT_EQ(values.baseline_count.de, 0);
  const SampleSource counts(s.counts);
  o.counts = &counts;
  EXPECT_EQ(evaluate(p, o).baseline_count.de, 0);
}

TEST(Expression, BaselinesSayWhatTheyLack) {
  Study s = study(4, 40, 1);
  Pair p{s.observed, s.observed};
  p.reconstructed.x.array() += 0.01;
  ExpressionOptions o;
  o.baseline = Baseline::techrep;
  Pair alone = p;
  alone.observed = reordered(p.observed, {0, 2, 4, 6}, test::all_rows(40));
  EXPECT_ERROR(ErrorCode::input, "technical replicates", evaluate(alone, o));
  // A tumour and a normal of one donor are no replicates.
  Pair types = p;
  set_factor(types.observed.obs, "sample_type", {"tumor", "normal", "tumor", "normal", "tumor", "normal", "tumor", "normal"});
  EXPECT_ERROR(ErrorCode::input, "technical replicates", evaluate(types, o));
  o.baseline = Baseline::thin;
  Dataset half = s.counts;
  half.x(2, 3) = 7.5;
  const SampleSource broken(half);
  o.counts = &broken;
  EXPECT_ERROR(ErrorCode::input, "feature 'G3'", evaluate(p, o));
  const SampleSource few(reordered(s.counts, {0, 1, 2}, test::all_rows(40)));
  o.counts = &few;
  EXPECT_ERROR(ErrorCode::input, "not in the counts", evaluate(p, o));
  Pair plain = p;
  plain.observed.frozen = {};
  const SampleSource counts(s.counts);
  o.counts = &counts;
  EXPECT_ERROR(ErrorCode::input, "no preprocessing", evaluate(plain, o));
}

TEST(Thinning, HalvesAreBinomial) {
  std::vector<std::string> names;
  std::vector<double> counts;
  for (int g = 0; g < 3000; ++g) {
    names.push_back(fmt::format("G{}", g));
    counts.push_back(g % 3 == 0 ? 0 : g % 3 == 1 ? 10 : 1000);
  }
  const std::vector<uint64_t> keys = thinning_keys(names);
  const std::vector<double> half = thin(counts, keys, names, "S1", 3);
  double small = 0, small_square = 0, large = 0, large_square = 0;
  for (size_t g = 0; g < half.size(); ++g) {
    EXPECT_TRUE(half[g] >= 0 && half[g] <= counts[g]);
    if (g % 3 == 1) small += half[g] - 5, small_square += (half[g] - 5) * (half[g] - 5);
    if (g % 3 == 2) large += half[g] - 500, large_square += (half[g] - 500) * (half[g] - 500);
  }
  // Means 5 and 500, variances 2.5 and 250, within four standard errors of 1,000 draws.
  EXPECT_LT(std::abs(small / 1000), 4 * std::sqrt(2.5 / 1000));
  EXPECT_LT(std::abs(large / 1000), 4 * std::sqrt(250.0 / 1000));
  EXPECT_NEAR(small_square / 1000, 2.5, 4 * 2.5 * std::sqrt(2.0 / 1000));
  EXPECT_NEAR(large_square / 1000, 250, 4 * 250 * std::sqrt(2.0 / 1000));
  // Counts of whole words of random bits, within four standard errors of their half.
  for (const double words : {1.0, 2.0}) {
    const std::vector<double> whole = thin(std::vector<double>(3000, 64 * words), keys, names, "S1", 3);
    EXPECT_NEAR(std::accumulate(whole.begin(), whole.end(), 0.0) / 3000, 32 * words, 4 * std::sqrt(16 * words / 3000));
  }
  EXPECT_EQ(half, thin(counts, keys, names, "S1", 3));
  EXPECT_NE(half, thin(counts, keys, names, "S2", 3));
  EXPECT_NE(half, thin(counts, keys, names, "S1", 4));
  for (double bad : {-1.0, 0.5, 1e10, std::numeric_limits<double>::quiet_NaN()}) {
    std::vector<double> broken = counts;
    broken[5] = bad;
    EXPECT_ERROR(ErrorCode::input, "sample 'S1', feature 'G5'", thin(broken, keys, names, "S1", 3));
  }
}

// All 64 bits of a sample's hash and of the seed, and 44 of a feature's, take part: names that agree in half of their hash, as
// some of a large cohort do, are drawn apart.
TEST(Thinning, NamesThatShareHalfAHashAreDrawnApart) {
  const std::vector<std::string> features = {"TP53", "KRAS", "EGFR", "MYC"};
  const std::vector<uint64_t> keys = thinning_keys(features);
  const std::vector<double> counts(4, 1e6);
  const auto half_of = [&](const std::string& sample, uint64_t seed = 3) { return thin(counts, keys, features, sample, seed); };
  std::map<uint32_t, std::string> by_low, by_high;
  int low = 0, high = 0;
  for (int i = 0; low < 3 || high < 3; ++i) {
    ASSERT_LT(i, 10'000'000) << "the hash has no equal halves: choose other names";
    const std::string name = fmt::format("TCGA-{}", i);
    const uint64_t hash = stable_hash(name.data(), name.size());
    const auto [a, new_low] = by_low.try_emplace(static_cast<uint32_t>(hash), name);
    const auto [b, new_high] = by_high.try_emplace(static_cast<uint32_t>(hash >> 32), name);
    if (!new_low) {
      ++low;
      EXPECT_NE(half_of(a->second), half_of(name)) << a->second << " and " << name << " agree in the low half";
    }
    if (!new_high) {
      ++high;
      EXPECT_NE(half_of(b->second), half_of(name)) << b->second << " and " << name << " agree in the high half";
    }
  }
  EXPECT_NE(half_of("S1"), half_of("S1", 3 + (uint64_t{1} << 32)));

  std::vector<std::string> many;
  for (int i = 0; i < 200'000; ++i) many.push_back(fmt::format("ENSG{:011d}", i));
  std::vector<uint64_t> distinct = thinning_keys(many);
  std::sort(distinct.begin(), distinct.end());
  EXPECT_EQ(std::adjacent_find(distinct.begin(), distinct.end()), distinct.end());
  // The draws of one feature are over before another's begin: 2^20 words, of 64 counts each.
  for (size_t i = 1; i < distinct.size(); ++i) ASSERT_GE(distinct[i] - distinct[i - 1], uint64_t{1} << 20);

  // By name: neither the place of a feature nor its company changes its draw.
  const std::vector<std::string> turned = {"MYC", "TP53"};
  const std::vector<double> all = half_of("S1"), some = thin(std::vector<double>(2, 1e6), thinning_keys(turned), turned, "S1", 3);
  EXPECT_EQ(some[0], all[3]);
  EXPECT_EQ(some[1], all[0]);
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
