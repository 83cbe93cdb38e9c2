// evaluate expression: which features (genes, peaks) does a reconstruction get wrong? (Of peaks: differential accessibility.) Observed and reconstructed values
// of the same samples, in log2 units, are compared feature by feature; features with a significant difference of means are counted (n_de; fewer is better),
// beside the correlations without which that number says little: a reconstruction that is the mean of a cohort has no differences of means at all. It is a row
// of the result.
//
//   log2fc = mean(reconstructed) - mean(observed); DE where |log2fc| > lfc and FDR < fdr (Benjamini and Hochberg)
//   tests: eval/moderated_t.h. paired: one-sample on the samples' differences; limma, limma_trend, welch: two groups
//   Spearman per sample across features and per feature across samples: eval/spearman.h
//   r2 = 1 - sum (observed - reconstructed)^2 / sum (observed - mean of the feature)^2, sums over all values, the mean over
//        the evaluated samples: 0 is what predicting each feature's own mean reaches; it is negative below that
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/sample_source.h"
#include "eval/moderated_t.h"
#include "eval/selection.h"

namespace panvae::eval {

enum class ExpressionTest { paired, limma, limma_trend, welch };
enum class Baseline { none, techrep, thin };
ExpressionTest parse_expression_test(const std::string& text);  // paired, limma, limma-trend, welch; ErrorCode::usage otherwise
Baseline parse_baseline(const std::string& text);               // "", none, techrep, thin
std::string name_of(ExpressionTest test);
std::string name_of(Baseline baseline);

struct ExpressionOptions {
  On on = On::automatic;  // which samples, by the split of the observed ones
  std::string cohort;     // only this one; "" for all together
  ExpressionTest test = ExpressionTest::paired;
  double lfc = 1, fdr = 0.05;  // |log2 fold change| above, false discovery rate below
  // How many features differ between two measurements of the same samples, by the same test:
  // techrep  the first two replicates of each donor that has some: same cohort, and same sample_type where there is such a
  //          column; in order of the column replicate where there is one, of sample names otherwise. Taken from the
  //          observed values, or from `counts` normalised by the frozen preprocessing of the observed file.
  // thin     counts of each sample dealt into two binomial halves (eval/thinning.h), both normalised so.
  Baseline baseline = Baseline::none;
  const data::SampleSource* counts = nullptr;  // raw counts of the same samples
  uint64_t seed = 0;                           // of thinning
  int64_t memory_bytes = int64_t{1} << 30;     // of the two matrices: features are compared in ranges that fit
};

struct DeCount {
  int64_t de = 0, up = 0, down = 0;  // up: reconstructed above observed
};
DeCount count_de(const DifferenceTest& test, double lfc, double fdr);

// What is judged is one of these rows: the reconstruction, the mean of the cohort, the baseline.
struct ExpressionRow {
  DifferenceTest test;
  DeCount count;
  std::vector<double> spearman_per_sample, spearman_per_feature;       // NaN where a vector is constant
  double spearman_per_sample_mean = 0, spearman_per_feature_mean = 0;  // of the defined ones; NaN if there is none
  int64_t undefined_samples = 0, undefined_features = 0;
  double r2 = 0;  // NaN where no observed feature varies
};

struct ExpressionResult {
  ExpressionRow reconstruction, cohort_mean;
  // The cohort mean that is predicted: "train", of the samples with split = train; "evaluated", of the evaluated samples
  // themselves where a cohort has no training samples (a warning says so).
  std::string cohort_mean_from;
  Baseline baseline = Baseline::none;
  DeCount baseline_count;
  int64_t baseline_pairs = 0;  // samples or donors compared
  double ratio = 0;            // n_de / max(1, baseline n_de); NaN without a baseline
  std::vector<std::string> features;
  std::vector<double> mean_observed, mean_reconstructed;
  std::vector<std::string> samples;  // evaluated, sorted by name
  int64_t n = 0, donors = 0, cohorts = 0;
  std::string on, cohort, modality;  // "rna" or "atac": of the observed values
  ExpressionTest test = ExpressionTest::paired;
  double lfc = 0, fdr = 0;
  std::vector<std::string> warnings;
  double seconds = 0;
};

// Samples and features are matched by name, in any order: every evaluated sample must be in `reconstructed` (which may have
// more), and both must have the same features. Uses the columns cohort, donor, split, replicate, sample_type of `observed`
// where present. Depends neither on the order of samples nor on threads nor on memory_bytes.
// ErrorCode::input: samples or features without a counterpart, raw counts, values that are not finite, fewer than two
// samples, an unknown cohort; for baselines what they lack.
ExpressionResult evaluate_expression(const data::SampleSource& observed, const data::SampleSource& reconstructed, const ExpressionOptions& options = {});

// "accessibility", "peaks", "DA" of atac; "expression", "features", "DE" of anything else.
struct ModalityWords {
  const char *what, *features, *differential;
};
ModalityWords words_of(const std::string& modality);

// --table: feature, log2fc, t, p, fdr, mean_observed, mean_reconstructed; missing where a feature cannot be tested.
data::Table de_table(const ExpressionResult& result);
// The keys of CLI.md and more; text for the terminal.
Json to_json(const ExpressionResult& result);
std::string to_text(const ExpressionResult& result);

}  // namespace panvae::eval
