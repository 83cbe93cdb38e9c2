// The first two principal components of the data and of each embedding, coloured by cohort.
#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "eval/report/sections.h"

namespace panvae::eval {

namespace {
std::string axis(const ResultsModel& m, size_t component) {
  std::string out = fmt::format("PC{}", component + 1);
  if (component < m.explained.size()) out += fmt::format(" ({}% of the variance)", decimals(100 * m.explained[component], 1));
  return out;
}
bool same_picture(const ResultsModel& a, const data::Table& x, const ResultsModel& b, const data::Table& y) {
  return a.kind == b.kind && a.data == b.data && x.keys == y.keys && x.at("pc1").number == y.at("pc1").number && x.at("pc2").number == y.at("pc2").number;
}
}  // namespace

void add_embeddings(Page& page, ReportContent& content) {
  const Results& r = content.results;
  // One table for all: a row per sample, two columns per model.
  std::unordered_map<std::string, size_t> row_of;
  std::vector<std::string> samples;
  std::vector<Json> cohort, donor, split;
  std::vector<std::pair<const ResultsModel*, const data::Table*>> shown;
  for (const ResultsModel& m : r.models) {
    const ResultsTable* t = r.find_table("points", m.id);
    // Baselines of one matrix differ in how many components they keep, not in the first two.
    if (!t ||
        std::any_of(shown.begin(), shown.end(), [&](const auto& before) { return is_baseline(m) && same_picture(*before.first, *before.second, m, t->table); }))
      continue;
    shown.emplace_back(&m, &t->table);
    for (int64_t i = 0; i < t->table.rows(); ++i) {
      const std::string& key = t->table.keys[static_cast<size_t>(i)];
      const auto [at, fresh] = row_of.emplace(key, samples.size());
      if (fresh) {
        samples.push_back(key);
        for (std::vector<Json>* column : {&cohort, &donor, &split}) column->emplace_back();
      }
      // What one file does not know, another may.
      const auto learn = [&](std::vector<Json>& column, const char* name) {
        if (column[at->second].is_null()) column[at->second] = cell_of(t->table, name, i);
      };
      learn(cohort, "cohort"), learn(donor, "donor"), learn(split, "split");
    }
  }
  if (shown.empty()) {
    content.missing.push_back("pictures of the embeddings");
    return;
  }
  const std::vector<std::string> cohorts = all_cohorts(r);
  page.section("embeddings", "Embeddings");
  page.paragraph(
      "Each point is a sample, placed by the first two principal components: of the data themselves (PCA), and of each embedding. Names stand at the median of "
      "their cohort. "
      "The pointer on a point names the sample; on a name, or in the legend, it shows one cohort in all pictures.");
  PageTable t;
  t.id = "points";
  const auto column = [&](const char* name, std::vector<Json>& values) {
    if (std::any_of(values.begin(), values.end(), [](const Json& v) { return !v.is_null(); })) t.columns.push_back({name, std::move(values)});
  };
  t.columns.push_back({"sample", samples});
  if (std::all_of(cohort.begin(), cohort.end(), [](const Json& v) { return v.is_null(); })) t.columns.push_back({"cohort", std::move(cohort)});
  else column("cohort", cohort);
  column("donor", donor), column("split", split);
  for (const auto& [model, table] : shown) {
    for (const char* name : {"pc1", "pc2"}) {
      std::vector<Json> values(samples.size());
      const data::Column& from = table->at(name);
      for (int64_t i = 0; i < table->rows(); ++i) values[row_of.at(table->keys[static_cast<size_t>(i)])] = significant(from.number[static_cast<size_t>(i)], 4);
      t.columns.push_back({fmt::format("{} {}", model->label, name), std::move(values)});
    }
  }
  page.add(std::move(t));
  if (!cohorts.empty()) {
    PageTable names;
    names.id = "cohorts";
    names.columns = {{"cohort"}, {"samples"}};
    size_t longest = 0;
    std::unordered_map<std::string, int64_t> count;
    for (const auto& [model, table] : shown) {
      if (table != shown.front().second) continue;
      for (int64_t i = 0; i < table->rows(); ++i)
        if (const Json c = cell_of(*table, "cohort", i); !c.is_null()) ++count[c.get<std::string>()];
    }
    for (const std::string& name : cohorts) longest = std::max(longest, name.size()), names.row({name, count[name]});
    page.add(std::move(names));
    page.begin_figures(0);
    Figure f;
    f.id = "cohorts-legend";
    f.alternative = fmt::format("Colours and shapes of the {} cohorts.", cohorts.size());
    f.chart = "legend";
    f.signals = {{"cohorts", cohorts}, {"column", std::min<size_t>(200, 40 + 8 * longest)}};
    f.data = {{"cohorts", "cohorts", {{"cohort", "cohort"}}, {}}};
    f.link = "cohorts";
    page.figure(f);
    page.end_figures();
  }
  page.begin_figures(320);
  for (const auto& [model, table] : shown) {
    const std::string x = model->label + " pc1", y = model->label + " pc2";
    Figure f;
    f.id = "points-" + model->id;
    const ResultsData* of = r.find_data(model->data);
    f.title = model->kind == "pca" ? "PCA of the data" + (of ? ": " + of->label : std::string()) : model->label;
    f.alternative =
        fmt::format("{} samples of {} by their first two principal components, coloured by {} cohorts.", table->rows(), model->label, cohorts.size());
    f.chart = "points";
    f.signals = {{"cohorts", cohorts},
                 {"axis_x", axis(*model, 0)},
                 {"axis_y", axis(*model, 1)},
                 {"size", table->rows() > 3000  ? 10
                          : table->rows() > 800 ? 18
                                                : 34}};
    f.data = {{"points", "points", {{"sample", "sample"}, {"cohort", "cohort"}, {"x", x}, {"y", y}}, {"x", "y"}}};
    f.link = "cohorts";
    page.figure(f);
  }
  page.end_figures();
}

}  // namespace panvae::eval
