// What was run: data, models, commands, seeds, versions, times, memory.
#include "base/error.h"
#include "base/text.h"
#include "eval/report/sections.h"

namespace panvae::eval {

namespace {
Json or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

// As a shell would take it back.
std::string shell(const std::vector<std::string>& command) {
  // Some programs name themselves first, ours does not.
  std::string out = command.empty() || command[0].find("panvae") != std::string::npos ? "" : "panvae";
  for (const std::string& word : command) {
    if (!out.empty()) out += ' ';
    const bool plain = !word.empty() && word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%") == std::string::npos;
    if (plain) {
      out += word;
      continue;
    }
    out += '\'';
    for (char c : word) c == '\'' ? out += "'\\''" : out += c;
    out += '\'';
  }
  return out;
}

void drop_empty(PageTable& t) {
  std::erase_if(t.columns, [](const PageColumn& c) {
    for (const Json& v : c.values)
      if (!v.is_null()) return false;
    return true;
  });
}
}  // namespace

void add_provenance(Page& page, const ReportContent& content) {
  const Results& r = content.results;
  page.section("provenance", "What was run");
  if (!r.data.empty()) {
    PageTable t;
    t.id = "data-table";
    t.columns = {{"data"}, {"modality"}, {"samples"}, {"features"}, {"hold-out"}, {"cohorts"}};
    for (const ResultsData& d : r.data)
      t.row({d.label, or_null(modality_words(d.modality)), grouped(d.samples), grouped(d.features), grouped(d.holdout), d.cohorts.size()});
    page.table(t);
  }
  if (!r.models.empty()) {
    PageTable t;
    t.id = "models-table";
    t.columns = {{"model"},      {"kind"},     {"data"},   {"dimensions"}, {"parameters"}, {"epochs"},
                 {"best epoch"}, {"training"}, {"memory"}, {"device"},     {"seed"},       {"run"}};
    const auto count = [](const std::optional<int64_t>& x) { return x ? Json(*x) : Json(); };
    for (const ResultsModel& m : r.models) {
      const ResultsData* d = r.find_data(m.data);
      t.row({m.label, kind_words(m.kind), d ? Json(d->label) : Json(), count(m.dimensions), m.parameters ? Json(grouped(*m.parameters)) : Json(),
             count(m.epochs), count(m.best_epoch), m.seconds ? Json(human_seconds(*m.seconds)) : Json(),
             m.peak_memory_bytes ? Json(human_bytes(*m.peak_memory_bytes)) : Json(), or_null(m.device), m.seed ? Json(*m.seed) : Json(), or_null(m.run)});
    }
    drop_empty(t);
    page.table(t);
  }
  PageTable t;
  t.id = "runs-table";
  t.columns = {{"results"}, {"seed"}, {"folds"}, {"time"}, {"memory"}};
  std::vector<std::string> keys;
  for (const ReportRun& run : content.runs)
    for (const auto& [key, value] : run.program.items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  for (const std::string& key : keys) t.columns.push_back({key == "version" ? "panvae" : key});
  t.columns.push_back({"command"});
  for (const ReportRun& run : content.runs) {
    std::vector<Json> cells = {run.name, run.seed, run.folds, run.seconds ? Json(human_seconds(*run.seconds)) : Json(),
                               run.peak_memory_bytes ? Json(human_bytes(*run.peak_memory_bytes)) : Json()};
    for (const std::string& key : keys) cells.push_back(run.program.contains(key) ? run.program[key] : Json());
    cells.push_back(or_null(shell(run.command)));
    t.row(std::move(cells));
  }
  drop_empty(t);
  page.table(t);
}

}  // namespace panvae::eval
