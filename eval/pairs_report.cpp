// What `evaluate pairs` prints and writes.
#include <fmt/format.h>

#include <cmath>

#include "base/text.h"
#include "eval/pairs.h"

namespace panvae::eval {

namespace {

Json number(double v) {
  return std::isfinite(v) ? Json(v) : Json(nullptr);
}

Json to_json(const PairsDirection& d) {
  Json j = {{"queries", d.queries},
            {"foscttm", number(d.foscttm)},
            {"foscttm_within_cohort", number(d.within_cohort)},
            {"within_cohort_queries", d.within_cohort_queries}};
  for (size_t k = 0; k < std::size(kRecallAt); ++k) j[fmt::format("recall_at_{}", kRecallAt[k])] = d.recall[k];
  return j;
}

}  // namespace

Json to_json(const PairsResult& r) {
  Json j;
  j["foscttm"] = r.foscttm;
  for (size_t k = 0; k < std::size(kRecallAt); ++k) j[fmt::format("recall_at_{}", kRecallAt[k])] = r.recall[k];
  j["mixing_entropy"] = r.mixing_entropy;
  j["transfer_rna_to_atac"] = number(r.transfer_rna_to_atac);
  j["transfer_atac_to_rna"] = number(r.transfer_atac_to_rna);
  j["n_pairs"] = r.n_pairs;
  j["foscttm_within_cohort"] = number(r.foscttm_within_cohort);
  j["chance_foscttm"] = number(r.chance_foscttm);
  j["chance_sd"] = number(r.chance_sd);
  j["z"] = number(r.z);
  j["permutations"] = r.permutations;
  for (size_t k = 0; k < std::size(kRecallAt); ++k) j[fmt::format("chance_recall_at_{}", kRecallAt[k])] = r.chance_recall[k];
  j["chance_mixing_entropy"] = r.chance_mixing_entropy;
  j["majority_share_atac"] = number(r.majority_atac);
  j["majority_share_rna"] = number(r.majority_rna);
  j["rna_queries"] = to_json(r.rna);
  j["atac_queries"] = to_json(r.atac);
  j["mixing_k"] = r.mixing_k;
  j["transfer_k_rna_to_atac"] = r.transfer_k_rna;
  j["transfer_k_atac_to_rna"] = r.transfer_k_atac;
  j["donors"] = r.donors;
  j["rna_samples"] = r.rna_samples;
  j["atac_samples"] = r.atac_samples;
  j["rna_evaluated"] = r.rna_evaluated;
  j["atac_evaluated"] = r.atac_evaluated;
  j["dimensions"] = r.dimensions;
  j["on"] = r.on;
  j["control"] = r.control == Control::permuted ? "permuted" : "none";
  j["warnings"] = r.warnings;
  return j;
}

std::string to_text(const PairsResult& r) {
  const auto shown = [](double v) { return std::isfinite(v) ? fmt::format("{:.4f}", v) : std::string("NA"); };
  TextTable t({r.control == Control::permuted ? "pairs, permuted" : "pairs", "score", "by chance", "RNA finds ATAC", "ATAC finds RNA"});
  t.row({"FOSCTTM (0 is best)", shown(r.foscttm), "0.5000", shown(r.rna.foscttm), shown(r.atac.foscttm)});
  t.row({"  within the cohort", shown(r.foscttm_within_cohort), "0.5000", shown(r.rna.within_cohort), shown(r.atac.within_cohort)});
  for (size_t k = 0; k < std::size(kRecallAt); ++k)
    t.row({fmt::format("recall at {}", kRecallAt[k]), shown(r.recall[k]), shown(r.chance_recall[k]), shown(r.rna.recall[k]), shown(r.atac.recall[k])});
  t.row({fmt::format("mixing entropy, {} neighbours", r.mixing_k), shown(r.mixing_entropy), shown(r.chance_mixing_entropy), "", ""});
  t.row({fmt::format("cohort transfer RNA to ATAC, {} neighbours", r.transfer_k_rna), shown(r.transfer_rna_to_atac), shown(r.majority_atac), "", ""});
  t.row({fmt::format("cohort transfer ATAC to RNA, {} neighbours", r.transfer_k_atac), shown(r.transfer_atac_to_rna), shown(r.majority_rna), "", ""});
  std::string out = fmt::format("{} pairs of {} donors ({}): {} RNA and {} ATAC samples in {} dimensions\n\n", r.n_pairs, r.donors, r.on, r.rna_samples,
                                r.atac_samples, r.dimensions);
  out += t.str();
  if (r.permutations > 0)
    out += fmt::format("\nFOSCTTM of {} permutations: {} +- {}, z = {}\n", r.permutations, shown(r.chance_foscttm), shown(r.chance_sd),
                       std::isfinite(r.z) ? fmt::format("{:.1f}", r.z) : "NA");
  return out;
}

}  // namespace panvae::eval
