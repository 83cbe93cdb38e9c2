// What `evaluate expression` prints and writes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.h"
#include "eval/expression.h"

namespace panvae::eval {

namespace {

Json number(double v) {
  return std::isfinite(v) ? Json(v) : Json(nullptr);
}

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (double v : values) list.push_back(number(v));
  return list;
}

// Counts of correlations in 40 equal bins of [-1, 1]; 1 belongs to the last.
Json histogram(const std::vector<double>& values) {
  std::array<int64_t, 40> bins{};
  for (double v : values)
    if (!std::isnan(v)) ++bins[static_cast<size_t>(std::clamp(std::floor((v + 1) * 20), 0.0, 39.0))];
  return bins;
}

std::string shown(double v, int digits = 4) {
  return std::isfinite(v) ? fmt::format("{:.{}f}", v, digits) : std::string("NA");
}

}  // namespace

ModalityWords words_of(const std::string& modality) {
  if (modality == "atac") return {"accessibility", "peaks", "DA"};
  return {"expression", "features", "DE"};
}

data::Table de_table(const ExpressionResult& r) {
  data::Table t;
  t.key_name = "feature";
  t.keys = r.features;
  const DifferenceTest& test = r.reconstruction.test;
  t.set(data::numeric_column("log2fc", test.effect));
  t.set(data::numeric_column("t", test.t));
  t.set(data::numeric_column("p", test.p));
  t.set(data::numeric_column("fdr", test.fdr));
  t.set(data::numeric_column("mean_observed", r.mean_observed));
  t.set(data::numeric_column("mean_reconstructed", r.mean_reconstructed));
  return t;
}

Json to_json(const ExpressionResult& r) {
  const bool baseline = r.baseline != Baseline::none;
  Json j;
  j["modality"] = r.modality;
  j["n_features"] = r.features.size();
  j["n_de"] = r.reconstruction.count.de;
  j["n_up"] = r.reconstruction.count.up;
  j["n_down"] = r.reconstruction.count.down;
  j["baseline_n_de"] = baseline ? Json(r.baseline_count.de) : Json(nullptr);
  j["ratio"] = number(r.ratio);
  j["spearman_per_sample_mean"] = number(r.reconstruction.spearman_per_sample_mean);
  j["spearman_per_feature_mean"] = number(r.reconstruction.spearman_per_feature_mean);
  j["r2"] = number(r.reconstruction.r2);
  j["cohort_mean_n_de"] = r.cohort_mean.count.de;
  j["cohort_mean_n_up"] = r.cohort_mean.count.up;
  j["cohort_mean_n_down"] = r.cohort_mean.count.down;
  j["cohort_mean_spearman_per_sample_mean"] = number(r.cohort_mean.spearman_per_sample_mean);
  j["cohort_mean_spearman_per_feature_mean"] = number(r.cohort_mean.spearman_per_feature_mean);
  j["cohort_mean_r2"] = number(r.cohort_mean.r2);
  j["cohort_mean_from"] = r.cohort_mean_from;
  j["baseline"] = name_of(r.baseline);
  j["baseline_pairs"] = baseline ? Json(r.baseline_pairs) : Json(nullptr);
  j["test"] = name_of(r.test);
  j["lfc"] = r.lfc;
  j["fdr"] = r.fdr;
  j["n"] = r.n;
  j["donors"] = r.donors;
  j["cohorts"] = r.cohorts;
  j["cohort"] = r.cohort.empty() ? Json(nullptr) : Json(r.cohort);
  j["on"] = r.on;
  j["residual_df"] = number(r.reconstruction.test.residual_df);
  j["prior_df"] = number(r.reconstruction.test.prior_df);
  j["prior_df_infinite"] = std::isinf(r.reconstruction.test.prior_df);
  j["untestable_features"] = r.reconstruction.test.untestable;
  j["undefined_spearman_samples"] = r.reconstruction.undefined_samples;
  j["undefined_spearman_features"] = r.reconstruction.undefined_features;
  j["samples"] = r.samples;
  j["spearman_per_sample"] = numbers(r.reconstruction.spearman_per_sample);
  j["spearman_per_feature_histogram"] = histogram(r.reconstruction.spearman_per_feature);
  j["warnings"] = r.warnings;
  return j;
}

std::string to_text(const ExpressionResult& r) {
  const ModalityWords w = words_of(r.modality);
  const bool atac = r.modality == "atac";
  std::string out = atac ? "differential accessibility (DA) of the reconstruction\n" : "";
  out += fmt::format("{} samples of {} donors ({}{}), {} {}; test {}, {} where |log2 fold change| > {} and FDR < {}\n\n", r.n, r.donors, r.on,
                     r.cohort.empty() ? "" : ", cohort " + r.cohort, r.features.size(), w.features, name_of(r.test), w.differential, r.lfc, r.fdr);
  TextTable t({"", w.differential, "up", "down", "Spearman per sample", atac ? "per peak" : "per feature", "R2"});
  const auto add = [&](const std::string& name, const ExpressionRow& row) {
    t.row({name, std::to_string(row.count.de), std::to_string(row.count.up), std::to_string(row.count.down), shown(row.spearman_per_sample_mean),
           shown(row.spearman_per_feature_mean), shown(row.r2)});
  };
  add("reconstruction", r.reconstruction);
  add(r.cohort_mean_from == "train" ? "cohort mean of the training samples" : "cohort mean of these samples", r.cohort_mean);
  if (r.baseline != Baseline::none)
    t.row({fmt::format("{}, {} pairs", r.baseline == Baseline::thin ? "thinned counts" : "technical replicates", r.baseline_pairs),
           std::to_string(r.baseline_count.de), std::to_string(r.baseline_count.up), std::to_string(r.baseline_count.down), "", "", ""});
  out += t.str();
  if (r.baseline != Baseline::none) out += fmt::format("\n{} {}, reconstruction to baseline: {}\n", w.differential, w.features, shown(r.ratio, 3));
  return out;
}

}  // namespace panvae::eval
