// What is said of an expression evaluation: JSON, the printed page and tables, and errors.
#include <cmath>
#include <limits>

#include "eval/expression.h"
#include "tests/eval/expression_helpers.h"

namespace panvae::eval {
namespace {

using namespace test;

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

}  // namespace
}  // namespace panvae::eval
