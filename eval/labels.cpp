#include "eval/labels.h"

#include <unordered_map>

#include "base/error.h"
#include "data/read.h"
#include "eval_cohort_map.h"

namespace panvae::eval {

const std::string& default_cohort_map_text() {
  static const std::string text = kCohortMap;
  return text;
}

data::Table default_cohort_map() {
  const std::string& text = default_cohort_map_text();
  data::Table table;
  std::vector<std::string> merged;
  for (size_t line = text.find('\n') + 1; line < text.size();) {  // after the head
    const size_t tab = text.find('\t', line), end = text.find('\n', line);
    table.keys.push_back(text.substr(line, tab - line));
    merged.push_back(text.substr(tab + 1, end - tab - 1));
    line = end + 1;
  }
  table.key_name = "cohort";
  table.set(data::factor_from_text("metacohort", merged));
  return table;
}

data::Table read_cohort_map(const std::string& name) {
  return name == "default" ? default_cohort_map() : data::read_table(name);
}

std::vector<std::string> cohort_names(const data::Table& obs, const data::Table* map) {
  const data::Column& column = obs.at("cohort");
  std::unordered_map<std::string, std::string> merged;
  if (map) {
    if (map->columns.empty()) fail_input("the table of merged cohorts has one column", "--cohort-map", "give two: cohort, merged name");
    for (int64_t r = 0; r < map->rows(); ++r) merged[map->keys[static_cast<size_t>(r)]] = map->columns.front().text(r);
  }
  int64_t matched = 0;
  std::vector<std::string> name(static_cast<size_t>(obs.rows()));
  for (int64_t r = 0; r < obs.rows(); ++r) {
    std::string& to = name[static_cast<size_t>(r)];
    to = column.text(r);
    if (const auto at = merged.find(to); at != merged.end()) to = at->second, ++matched;
  }
  if (map && matched == 0)
    fail_input("no cohort of the samples stands in the table of merged cohorts",
               fmt::format("--cohort-map, first row {}", panvae::quoted(map->keys.empty() ? "" : map->keys.front())),
               "its first column must hold names of the cohort column");
  return name;
}

}  // namespace panvae::eval
