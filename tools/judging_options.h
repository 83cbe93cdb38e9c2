// What commands that judge share: options (which samples, under which names of their cohorts, beside which control), and how they
// end.
#pragma once
#include <optional>
#include <string>

#include "base/log.h"
#include "data/table.h"
#include "eval/controls.h"
#include "eval/selection.h"
#include "tools/cli.h"

namespace panvae::tools {

// Filled by the parser; give() hands them to the options of an evaluation.
struct JudgingOptions {
  std::string on = "auto", cohort_map, control = "none";

  void declare_on(CLI::App& command);          // --on
  void declare_cohort_map(CLI::App& command);  // --cohort-map
  // --control none|permuted; `permuted` says what changes hands and what should come out.
  void declare_control(CLI::App& command, const std::string& permuted);

  // Sets `on` and, where the evaluation has them, `control` and `cohort_map`, which points into this object.
  template <class Evaluation>
  void give(Evaluation& options) const {
    options.on = eval::parse_on(on);
    if constexpr (requires { options.control; }) options.control = eval::parse_control(control);
    if constexpr (requires { options.cohort_map; }) options.cohort_map = map();
  }
  // The table of --cohort-map, read when first asked for; null without the option.
  const data::Table* map() const;

 private:
  mutable std::optional<data::Table> map_;
};

// Warnings go to the log; then the text, with what else there is to say behind it, or JSON with the seconds taken.
template <class Result>
void emit_judgement(const Session& session, const Result& result, const std::string& behind = {}) {
  for (const std::string& warning : result.warnings) log::warning("{}", warning);
  Json json = to_json(result);
  json["seconds"] = result.seconds;
  session.emit(to_text(result) + behind, json);
}

}  // namespace panvae::tools
