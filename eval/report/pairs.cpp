// Both modalities of donors in one space: what co-embedding is for.
#include "base/error.h"
#include "eval/report/sections.h"

namespace panvae::eval {

void add_pairs(Page& page, const ReportContent& content) {
  const Results& r = content.results;
  PageTable t;
  t.id = "pairs-table";
  t.columns = {{"model"},       {"pairs"},        {"FOSCTTM", {}, 3},        {"within cohort", {}, 3},      {"z", {}, 1},          {"recall at 1", {}, 3},
               {"at 5", {}, 3}, {"at 10", {}, 3}, {"mixing entropy", {}, 3}, {"cohort RNA to ATAC", {}, 3}, {"ATAC to RNA", {}, 3}};
  std::vector<size_t> muted;
  const auto row = [&](const ResultsScore& s, const std::string& name, std::initializer_list<const char*> keys) {
    std::vector<Json> cells = {name, s.control.empty() ? significant(number(s, "n_pairs"), 9) : Json()};
    for (const char* key : keys) cells.push_back(*key ? significant(number(s, key), 4) : Json());
    t.row(std::move(cells));
  };
  // A row of scores and one of what chance would give; controls after them.
  for (const ResultsScore& s : r.pairs) {
    const std::string label = r.find_model(s.model)->label + (s.setting.empty() ? "" : ", " + s.setting);
    if (!s.control.empty()) muted.push_back(t.rows());
    row(s, s.control.empty() ? label : fmt::format("{}: {}", label, s.control),
        {"foscttm", "foscttm_within_cohort", "z", "recall_at_1", "recall_at_5", "recall_at_10", "mixing_entropy", "transfer_rna_to_atac",
         "transfer_atac_to_rna"});
    if (!s.control.empty()) continue;
    muted.push_back(t.rows());
    row(s, label + ": by chance",
        {"chance_foscttm", "", "", "chance_recall_at_1", "chance_recall_at_5", "chance_recall_at_10", "chance_mixing_entropy", "majority_share_atac",
         "majority_share_rna"});
    t.columns[3].values.back() = 0.5;
  }
  if (t.rows() == 0) return;
  page.section("pairs", "Two modalities in one space");
  page.paragraph(
      "Do the RNA and the ATAC sample of a donor land at one place? FOSCTTM is the share of other samples that are closer than the true partner, 0 at best and "
      "0.5 "
      "by chance; within the cohort it asks whether more than the cohort is known. Recall at k: the partner is among the k nearest samples of the other "
      "modality. "
      "Mixing entropy is 0 where modalities lie apart. Cohorts are transferred by the nearest neighbours of the other modality.");
  page.table(t, {}, muted);
  page.note("z: FOSCTTM less that of permuted partners, in their standard deviations. By chance, a transfer reaches the share of the largest cohort.");
}

}  // namespace panvae::eval
