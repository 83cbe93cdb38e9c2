// Confusion matrices.
#include "base/error.h"
#include "eval/report/sections.h"

namespace panvae::eval {

namespace {

// The matrix of a score: names and counts [true][predicted]. Empty where the score has none.
struct Matrix {
  std::vector<std::string> names;
  std::vector<std::vector<int64_t>> counts;
};

Matrix matrix_of(const ResultsScore& s) {
  Matrix m;
  const auto names = s.values.find("class_names"), rows = s.values.find("confusion");
  if (names == s.values.end() || rows == s.values.end()) return m;
  const auto broken = [&] {
    fail_input("confusion and class_names are no square matrix of counts with its names",
               fmt::format("results.json, cohort score of model {}", quoted(s.model)), "evaluate again");
  };
  if (!names->is_array() || !rows->is_array() || names->size() != rows->size()) broken();
  for (const Json& name : *names) {
    if (!name.is_string()) broken();
    m.names.push_back(name.get<std::string>());
  }
  for (const Json& row : *rows) {
    if (!row.is_array() || row.size() != names->size()) broken();
    m.counts.emplace_back();
    for (const Json& count : row) {
      if (!count.is_number_integer() || count.get<int64_t>() < 0) broken();
      m.counts.back().push_back(count.get<int64_t>());
    }
  }
  return m;
}

}  // namespace

void add_cohorts(Page& page, ReportContent& content) {
  const Results& r = content.results;
  bool begun = false;
  for (const ResultsModel& model : r.models) {
    const ResultsScore* score = find_score(r, Benchmark::cohort, model.id);
    if (!score) continue;
    const Matrix m = matrix_of(*score);
    if (m.names.empty()) continue;
    if (!begun) {
      page.section("confusion", "Confusion matrices");
      page.note(
          "Each sample is tested once, in the fold that has not trained on it. Colour: share of the true cohort, so that rows add up to one; numbers: "
          "samples.");
      page.begin_figures(m.names.size() > 18 ? 500 : 320);
      begun = true;
    }
    PageTable cells, wide;
    cells.id = "confusion-cells-" + model.id;
    cells.columns = {{"true"}, {"predicted"}, {"samples"}, {"share"}};
    wide.id = "confusion-" + model.id;
    wide.columns = {{"true \\ predicted"}};
    for (const std::string& name : m.names) wide.columns.push_back({name});
    size_t longest = 0;
    int64_t all = 0, right = 0;
    for (size_t i = 0; i < m.names.size(); ++i) {
      longest = std::max(longest, m.names[i].size());
      int64_t n = 0;
      for (int64_t count : m.counts[i]) n += count;
      all += n, right += m.counts[i][i];
      std::vector<Json> row = {m.names[i]};
      for (size_t k = 0; k < m.names.size(); ++k) {
        row.push_back(m.counts[i][k]);
        // Empty cells are drawn by the background.
        if (m.counts[i][k] > 0)
          cells.row({m.names[i], m.names[k], m.counts[i][k], significant(static_cast<double>(m.counts[i][k]) / static_cast<double>(n), 3)});
      }
      wide.row(std::move(row));
    }
    Figure f;
    f.id = "confusion-figure-" + model.id;
    f.title = model.label;
    f.caption = fmt::format("{} of {} right.", grouped(right), grouped(all));
    f.alternative = fmt::format("Confusion matrix of {} with {} cohorts; {} of {} samples are on the diagonal.", model.label, m.names.size(), right, all);
    f.chart = "confusion";
    f.signals = {{"cohorts", m.names}, {"label_width", std::min<size_t>(130, 12 + 7 * longest)}};
    f.data = {{"cells", cells.id, {{"truth", "true"}, {"predicted", "predicted"}, {"samples", "samples"}, {"share", "share"}}, {}}};
    f.table = wide.id;
    page.add(std::move(cells));
    page.add(std::move(wide));
    page.figure(f);
  }
  if (begun) page.end_figures();
  else content.missing.push_back("confusion matrices");
}

}  // namespace panvae::eval
