// Reconstructions against what was observed: volcano plots, and how well each sample and each feature is followed.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/error.h"
#include "eval/kaplan_meier.h"
#include "eval/report/sections.h"

namespace panvae::eval {

namespace {

// A page shows so many of the features that do not differ, spread over the picture; those that differ come first.
constexpr size_t kMostDifferent = 3000;
constexpr int kCells = 160;  // along each side, one point each
constexpr size_t kNamed = 12;

void add_volcano(Page& page, const Results& r, const ResultsModel& m, const data::Table& t) {
  const ResultsScore* score = find_score(r, Benchmark::expression, m.id);
  const auto threshold = [&](const char* key, double otherwise) {
    const double x = score ? number(*score, key) : kUnknown;
    return std::isfinite(x) ? x : otherwise;
  };
  const double lfc = threshold("lfc", 1), fdr = threshold("fdr", 0.05);
  const std::vector<double>&change = t.at("log2fc").number, &p = t.at("p").number, &q = t.at("fdr").number;
  // A feature is known by its symbol where it has one.
  const auto name = [&](size_t i) {
    const Json symbol = cell_of(t, "symbol", static_cast<int64_t>(i));
    return symbol.is_null() ? t.keys[i] : symbol.get<std::string>();
  };
  std::vector<size_t> rows;
  std::vector<double> height(change.size(), 0);
  double extent = lfc * 1.5, top = 2, limit = kUnknown;
  size_t untested = 0, up = 0, down = 0;
  for (size_t i = 0; i < change.size(); ++i) {
    if (!std::isfinite(change[i]) || !std::isfinite(p[i])) {
      ++untested;
      continue;
    }
    rows.push_back(i);
    height[i] = p[i] > 1e-300 ? -std::log10(p[i]) : 300;
    extent = std::max(extent, std::abs(change[i]));
    top = std::max(top, height[i]);
    if (q[i] < fdr) limit = std::isnan(limit) ? height[i] : std::min(limit, height[i]);
  }
  if (extent <= 0) extent = 1;  // a threshold of 0, and nothing differs
  const auto differs = [&](size_t i) { return q[i] < fdr && std::abs(change[i]) > lfc; };
  // Those that differ by how sure that is, then the others by name, so that the order of the file does not matter.
  std::sort(rows.begin(), rows.end(), [&](size_t a, size_t b) {
    return std::tuple(!differs(a), differs(a) ? p[a] : 0, differs(a) ? -std::abs(change[a]) : 0, t.keys[a]) <
           std::tuple(!differs(b), differs(b) ? p[b] : 0, differs(b) ? -std::abs(change[b]) : 0, t.keys[b]);
  });
  PageTable out;
  out.id = "differential-" + m.id;
  const std::string feature = m.modality == "atac" ? "peak" : "feature", mean_of = m.modality == "atac" ? "mean accessibility, " : "mean ";
  out.columns = {{feature}, {"log2fc"}, {"-log10 p"}, {"fdr"}, {mean_of + "observed"}, {mean_of + "reconstructed"}, {"kind"}, {"named"}};
  std::set<std::pair<int, int>> taken;
  size_t shown = 0;
  for (size_t i : rows) {
    const bool different = differs(i);
    if (different) ++(change[i] > 0 ? up : down);
    const auto cell = [](double x, double range) { return static_cast<int>(std::floor(x / range * kCells)); };
    // Neighbours of the same place hide each other anyway.
    if (different ? up + down > kMostDifferent : !taken.emplace(cell(change[i], extent), cell(height[i], top)).second) continue;
    const auto mean = [&](const char* column) { return significant(t.at(column).number[i]); };
    out.row({name(i), significant(change[i]), significant(height[i]), significant(q[i]), mean("mean_observed"), mean("mean_reconstructed"),
             !different      ? "-"
             : change[i] > 0 ? "up"
                             : "down",
             different && up + down <= kNamed ? 1 : 0});
    ++shown;
  }
  if (shown == 0) return;
  const auto count = [](size_t n) { return grouped(static_cast<int64_t>(n)); };
  Figure f;
  f.id = "volcano-" + m.id;
  f.title = m.label;
  f.alternative = fmt::format("Volcano plot of {}: reconstructed against observed{}; {} {}s are higher and {} lower in the reconstruction.", m.label,
                              m.modality == "atac" ? " accessibility" : "", up, feature, down);
  f.chart = "volcano";
  f.signals = {{"axis", Json::array({fmt::format("log₂ fold change{},", m.modality == "atac" ? " of accessibility" : ""), "reconstructed against observed"})},
               {"lfc", lfc},
               {"limit", significant(limit)},
               {"extent", significant(extent * 1.05)},
               {"top", significant(top * 1.05)}};
  f.caption = fmt::format("{} of {}{} differ, {} up and {} down: |log₂ fold change| > {} and FDR < {}{}.", count(up + down), count(rows.size()),
                          m.modality == "atac" ? " peaks" : "", count(up), count(down), shortest_number(lfc), shortest_number(fdr),
                          std::isfinite(limit) ? ", which is above the dashed line" : "");
  if (shown < rows.size())
    f.caption += fmt::format(" Drawn: {} {}s, those that differ and, of the others, one where several cover each other.", count(shown), feature);
  if (untested > 0) f.caption += fmt::format(" {} without a test, for lack of variance.", untested);
  f.data = {{"features",
             out.id,
             {{"feature", feature},
              {"log2fc", "log2fc"},
              {"y", "-log10 p"},
              {"fdr", "fdr"},
              {"observed", mean_of + "observed"},
              {"reconstructed", mean_of + "reconstructed"},
              {"kind", "kind"},
              {"named", "named"}},
             {}}};
  page.add(std::move(out));
  page.figure(f);
}

// A histogram per model over one axis.
bool add_distribution(Page& page, const Results& r, const char* setting) {
  struct Row {
    const ResultsModel* model;
    std::vector<double> values;  // sorted
    size_t undefined = 0;
  };
  std::vector<Row> rows;
  double from = 1;
  for (const ResultsModel& m : r.models) {
    const ResultsTable* t = r.find_table("spearman", m.id, setting);
    if (!t) continue;
    Row row{&m, {}, 0};
    for (double x : t->table.at("spearman").number) std::isfinite(x) ? row.values.push_back(x) : static_cast<void>(++row.undefined);
    if (row.values.empty()) continue;
    std::sort(row.values.begin(), row.values.end());
    from = std::min(from, row.values[row.values.size() / 200]);
    rows.push_back(std::move(row));
  }
  if (rows.empty()) return false;
  from = std::max(-1.0, std::floor(std::min(from, 0.95) * 20) / 20);
  // As many bars as values fill.
  size_t fewest = rows[0].values.size();
  for (const Row& row : rows) fewest = std::min(fewest, row.values.size());
  const int n_bins = std::clamp(static_cast<int>(2 * std::sqrt(static_cast<double>(fewest))), 8, 50);
  PageTable bins, medians;
  bins.id = fmt::format("spearman-bins-{}", setting);
  bins.columns = {{"model"}, {"from"}, {"to"}, {"count"}, {"relative"}, {"kind"}};
  medians.id = fmt::format("spearman-{}", setting);
  medians.columns = {{"model"}, {"lower quartile", {}, 3}, {"median", {}, 3}, {"upper quartile", {}, 3}, {"mean", {}, 3}, {"number"}, {"undefined"}};
  std::vector<std::string> labels;
  std::string alternative = fmt::format("Histograms of Spearman correlations per {}.", setting);
  bool below = false;
  for (const Row& row : rows) {
    below |= row.values.front() < from;
    std::vector<int64_t> count(static_cast<size_t>(n_bins), 0);
    for (double x : row.values) ++count[static_cast<size_t>(std::clamp((x - from) / (1 - from) * n_bins, 0.0, n_bins - 1.0))];
    const int64_t most = *std::max_element(count.begin(), count.end());
    for (int b = 0; b < n_bins; ++b)
      if (count[static_cast<size_t>(b)] > 0)
        bins.row({row.model->label, significant(from + (1 - from) * b / n_bins), significant(from + (1 - from) * (b + 1) / n_bins),
                  count[static_cast<size_t>(b)], significant(static_cast<double>(count[static_cast<size_t>(b)]) / static_cast<double>(most)),
                  is_baseline(*row.model) ? "baseline" : "model"});
    const auto at = [&](double share) { return significant(quantile(row.values, share), 5); };
    const double mean = std::accumulate(row.values.begin(), row.values.end(), 0.0) / static_cast<double>(row.values.size());
    medians.row({row.model->label, at(0.25), at(0.5), at(0.75), significant(mean, 5), row.values.size(), row.undefined});
    labels.push_back(row.model->label);
    alternative += fmt::format(" {}: median {}.", row.model->label, decimals(quantile(row.values, 0.5), 3));
  }
  Figure f;
  f.id = fmt::format("spearman-figure-{}", setting);
  const std::string features = feature_words(r), feature = features.substr(0, features.size() - 1);
  const bool per_sample = setting == std::string("sample");
  f.title = per_sample ? "Per sample, across " + features : "Per " + feature + ", across samples";
  f.chart = "ridges";
  f.alternative = alternative;
  f.signals = {{"models", labels}, {"axis", "Spearman correlation of observed and reconstructed"}, {"from", from}};
  f.caption = per_sample ? (features == "peaks" ? "Peaks" : "Features") +
                               std::string(" differ in level, so that even the mean of all samples correlates highly with each of them.")
                         : "Follows each " + feature + " from patient to patient: here a reconstruction that knows nothing of the patient stands at 0.";
  if (below) f.caption += fmt::format(" Values below {} are counted in the first bar.", decimals(from, 2));
  f.data = {{"bins", bins.id, {{"model", "model"}, {"from", "from"}, {"to", "to"}, {"count", "count"}, {"relative", "relative"}, {"kind", "kind"}}, {}},
            {"medians", medians.id, {{"model", "model"}, {"median", "median"}}, {}}};
  f.table = medians.id;
  page.add(std::move(bins));
  page.add(std::move(medians));
  page.figure(f);
  return true;
}

}  // namespace

void add_expression(Page& page, ReportContent& content) {
  const Results& r = content.results;
  const auto has = [&](const char* kind) { return std::any_of(r.tables.begin(), r.tables.end(), [&](const ResultsTable& t) { return t.kind == kind; }); };
  if (!has("de") && !has("spearman")) {
    content.missing.push_back("expression");
    return;
  }
  page.section("expression", "Reconstruction");
  if (has("spearman")) {
    page.begin_figures(460);
    add_distribution(page, r, "sample");
    add_distribution(page, r, "feature");
    page.end_figures();
  }
  if (has("de")) {
    page.subtitle(feature_words(r) == "peaks" ? "Differentially accessible peaks" : "Differential features");
    page.begin_figures(320);
    for (const ResultsModel& m : r.models)
      if (const ResultsTable* t = r.find_table("de", m.id)) add_volcano(page, r, m, t->table);
    page.end_figures();
  } else {
    content.missing.push_back("volcano plots");
  }
}

}  // namespace panvae::eval
