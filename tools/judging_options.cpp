#include "tools/judging_options.h"

#include "eval/labels.h"

namespace panvae::tools {

void JudgingOptions::declare_on(CLI::App& command) {
  command.add_option("--on", on, "Samples: holdout, all, or auto (holdout where there is one, else all)")
      ->check(CLI::IsMember({"auto", "holdout", "all"}))
      ->capture_default_str();
}

void JudgingOptions::declare_cohort_map(CLI::App& command) {
  command
      .add_option("--cohort-map", cohort_map,
                  "Merged cohorts: 'default' (33 TCGA codes to 21) or a table: cohort, name to use instead (COAD colorectal; READ colorectal)")
      ->type_name("default|TABLE");
}

void JudgingOptions::declare_control(CLI::App& command, const std::string& permuted) {
  command.add_option("--control", control, "permuted: " + permuted)->check(CLI::IsMember({"none", "permuted"}))->capture_default_str();
}

const data::Table* JudgingOptions::map() const {
  if (cohort_map.empty()) return nullptr;
  if (!map_) map_ = eval::read_cohort_map(cohort_map);
  return &*map_;
}

}  // namespace panvae::tools
