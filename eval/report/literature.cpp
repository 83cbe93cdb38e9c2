// Published numbers beside ours. They are of other data, other folds and other questions: an orientation, no contest.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/error.h"
#include "eval/report/assets.h"
#include "eval/report/sections.h"

namespace panvae::eval {

namespace {

// The rows of literature.tsv, its head aside: measure, name, data, value, low, high, source, note.
std::vector<std::vector<std::string>> literature() {
  std::vector<std::vector<std::string>> rows;
  std::istringstream in{std::string(report_asset("literature.tsv"))};
  for (std::string line; std::getline(in, line);) {
    std::vector<std::string> cells(1);
    for (char c : line) {
      if (c == '\t') cells.emplace_back();
      else cells.back() += c;
    }
    PV_ASSERT(cells.size() == 8);
    rows.push_back(std::move(cells));
  }
  rows.erase(rows.begin());
  return rows;
}

double parsed(const std::string& cell) {
  double x = kUnknown;
  if (!cell.empty()) PV_ASSERT(data::parse_number(cell, x));
  return x;
}

struct Ours {
  std::string label;
  Value value;
};

void add_panel(Page& page, const std::vector<std::vector<std::string>>& published, const char* measure, const char* title, const std::vector<Ours>& ours) {
  PageTable t;
  t.id = fmt::format("literature-{}", title);
  std::replace(t.id.begin(), t.id.end(), ' ', '-');
  t.columns = {{"row"}, {"group"}, {measure, {}, 3}, {"low", {}, 3}, {"high", {}, 3}, {"shown"}};
  std::vector<std::string> rows;
  double from = 1, to = 0;
  const auto add = [&](std::string row, const char* group, double mean, double low, double high) {
    if (!std::isfinite(mean)) return;
    for (double x : {mean, low, high})
      if (std::isfinite(x)) from = std::min(from, x), to = std::max(to, x);
    rows.push_back(row);
    t.row({std::move(row), group, significant(mean), significant(low), significant(high),
           std::isfinite(low) ? fmt::format("{} ({} to {})", decimals(mean), decimals(low), decimals(high)) : decimals(mean)});
  };
  for (const Ours& o : ours) add(o.label, "here", o.value.mean, o.value.mean - o.value.se, o.value.mean + o.value.se);
  if (rows.empty()) return;
  for (const auto& p : published)
    if (p[0] == measure) add(p[1], "published", parsed(p[3]), parsed(p[4]), parsed(p[5]));
  Figure f;
  f.id = t.id + "-figure";
  f.title = title;
  f.chart = "dots";
  f.alternative = fmt::format("{}: results of this page and published ones.", title);
  for (size_t i = 0; i < rows.size(); ++i) f.alternative += fmt::format(" {}: {}.", rows[i], t.columns[5].values[i].get<std::string>());
  f.signals = {{"rows", rows},
               {"groups", {"here", "published"}},
               {"axis", measure},
               {"from", std::floor(from * 20 - 0.2) / 20},
               {"to", std::min(1.0, std::ceil(to * 20 + 0.2) / 20)}};
  f.data = {{"scores", t.id, {{"row", "row"}, {"group", "group"}, {"mean", measure}, {"low", "low"}, {"high", "high"}, {"text", "shown"}}, {}}};
  page.add(std::move(t));
  page.figure(f);
}

}  // namespace

void add_literature(Page& page, const ReportContent& content) {
  const Results& r = content.results;
  const auto rows = literature();
  page.section("literature", "Literature");
  page.paragraph(
      "Published numbers, for orientation: they are of other patients, other inputs and other folds, as the notes say, so a difference to them proves "
      "nothing.");
  std::vector<Ours> accuracy, all, within;
  for (const ResultsModel& m : r.models) {
    accuracy.push_back({m.label, value_of(r, Benchmark::cohort, m.id)});
    for (const char* setting : {"clinical", "embedding", "embedding+clinical"}) {
      const std::string label = is_embedding(m) && setting == std::string("embedding+clinical") ? m.label + " + clinical" : m.label;
      if (const ResultsScore* s = find_score(r, Benchmark::survival, m.id, {}, setting)) all.push_back({label, c_statistic(*s, "harrell")});
      within.push_back({label, within_cohort(r, m.id, setting)});
    }
  }
  page.begin_figures(460);
  add_panel(page, rows, "accuracy", "Cohort accuracy", accuracy);
  add_panel(page, rows, "C", "C-statistic", all);
  add_panel(page, rows, "C within cohort", "C-statistic within cohorts", within);
  page.end_figures();
  PageTable t;
  t.id = "literature-table";
  t.columns = {{"measure"}, {"of"}, {"data"}, {"value"}, {"low"}, {"high"}, {"source"}, {"note"}};
  for (const auto& p : rows) {
    std::vector<Json> cells;
    for (size_t i = 0; i < p.size(); ++i) cells.push_back(p[i].empty() ? Json() : i >= 3 && i <= 5 ? Json(parsed(p[i])) : Json(p[i]));
    t.row(std::move(cells));
  }
  page.table(t);
}

}  // namespace panvae::eval
