// C-statistics of all settings, and Kaplan-Meier curves of patients grouped by predicted risk.
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "eval/kaplan_meier.h"
#include "eval/report/sections.h"

namespace panvae::eval {

namespace {

constexpr double kDaysPerYear = 365.25;
constexpr const char* kGroups[] = {"low", "medium", "high"};

std::string setting_words(std::string_view setting) {
  if (setting == "embedding+clinical") return "both";
  return std::string(setting);
}

// Of a model whose C compares patients within a cohort.
bool is_within(const ResultsTable& t) {
  return t.setting.find("+within") != std::string::npos;
}

std::string p_words(double p) {
  if (!std::isfinite(p)) return "not defined";
  if (p < 1e-300) return "< 1e-300";
  return p < 1e-3 ? fmt::format("= {:.1e}", p) : fmt::format("= {:.3f}", p);
}

// Whiskers of one benchmark: all pairs of patients, or those of one cohort.
void add_dots(Page& page, const Results& r, bool within) {
  PageTable t;
  t.id = within ? "survival-within" : "survival-all";
  t.columns = {{"model and setting"}, {"setting"}, {"C", {}, 3}, {"standard error", {}, 3}, {"low", {}, 3}, {"high", {}, 3}};
  if (!within) t.columns.push_back({"Harrell C", {}, 3}), t.columns.push_back({"Uno C", {}, 3});
  const bool uno = !within && info_of(Benchmark::survival, r).axis.find("Uno") != std::string::npos;
  std::vector<std::string> rows, groups;
  double from = 0.5, to = 0.6;
  for (const char* setting : {"clinical", "embedding", "embedding+clinical"}) {
    for (const ResultsModel& m : r.models) {
      const ResultsScore* s = find_score(r, Benchmark::survival, m.id, {}, setting);
      const Value v = within ? within_cohort(r, m.id, setting) : s ? c_statistic(*s, uno ? "uno" : "harrell") : Value();
      if (!std::isfinite(v.mean)) continue;
      const std::string group = setting_words(setting),
                        row = is_embedding(m) && setting != std::string("embedding") ? fmt::format("{} + clinical", m.label) : m.label;
      if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
      rows.push_back(row);
      const double low = v.mean - (std::isfinite(v.se) ? v.se : 0), high = v.mean + (std::isfinite(v.se) ? v.se : 0);
      from = std::min(from, low), to = std::max(to, high);
      std::vector<Json> cells = {row, group, significant(v.mean, 6), significant(v.se), significant(low, 6), significant(high, 6)};
      if (!within)
        cells.push_back(s ? significant(number(*s, "harrell_mean"), 6) : Json()), cells.push_back(s ? significant(number(*s, "uno_mean"), 6) : Json());
      t.row(std::move(cells));
    }
  }
  if (rows.empty()) return;
  Figure f;
  f.id = within ? "survival-figure-within" : "survival-figure-all";
  f.title = within ? "Within cohorts: does it tell more than the tumour type?" : "All patients";
  f.chart = "dots";
  f.signals = {{"rows", rows},
               {"groups", groups},
               {"axis", within ? "Harrell's C of pairs within a cohort"
                        : uno  ? "Uno's C"
                               : "Harrell's C"},
               {"from", std::floor(from * 20 - 0.2) / 20},
               {"to", std::ceil(to * 20 + 0.2) / 20},
               {"chance", 0.5}};
  std::string alternative = fmt::format("C-statistics with standard errors{}.", within ? " of pairs within a cohort" : "");
  for (size_t i = 0; i < rows.size(); ++i) alternative += fmt::format(" {}: {}.", rows[i], decimals(t.columns[2].values[i].get<double>(), 3));
  f.alternative = alternative;
  f.caption = within ? "Only patients of one cohort are compared, so knowing the tumour type does not help. Dashed: chance."
                     : "Tumour type alone tells much of overall survival across cancers, so compare with the clinical variables. Whiskers: standard error over "
                       "folds. Dashed: chance.";
  PageColumn shown{"shown", Json::array(), -1};
  for (size_t i = 0; i < rows.size(); ++i) {
    const Json& se = t.columns[3].values[i];
    shown.values.push_back(with_error(t.columns[2].values[i].get<double>(), se.is_null() ? kUnknown : se.get<double>()));
  }
  t.columns.push_back(std::move(shown));
  f.data = {{"scores", t.id, {{"row", "model and setting"}, {"group", "setting"}, {"mean", "C"}, {"low", "low"}, {"high", "high"}, {"text", "shown"}}, {}}};
  page.add(std::move(t));
  page.figure(f);
}

// The last day on which at least one in twenty patients is still watched: beyond it one death moves a curve by more than is known.
double last_day(std::vector<double> days) {
  std::sort(days.begin(), days.end());
  return days[std::min(days.size() - 1, days.size() * 95 / 100)];
}

// The years at which the axis has ticks.
std::vector<double> year_ticks(const std::vector<double>& days) {
  const double end = last_day(days) / kDaysPerYear;
  double step = 0.25;
  for (double s : {0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0})
    if (step = s; end / s <= 7) break;
  while (end / step > 7) step *= 10;  // no patients' years, but times in another unit or a placeholder
  std::vector<double> out = {0};
  while (out.back() < end) out.push_back(out.back() + step);
  if (out.size() == 1) out.push_back(step);
  return out;
}

void add_curves(Page& page, const ResultsModel& m, const ResultsTable& table) {
  const data::Table& t = table.table;
  const auto n = static_cast<size_t>(t.rows());
  const std::vector<double>&days = t.at("os_time").number, &died = t.at("os_event").number;
  const data::Column& group_column = t.at("group");
  std::vector<uint8_t> event(n);
  std::vector<int32_t> group(n);
  for (size_t i = 0; i < n; ++i) {
    event[i] = died[i] != 0;
    const std::string name = group_column.text(static_cast<int64_t>(i));
    const auto* at = std::find(std::begin(kGroups), std::end(kGroups), name);
    if (at == std::end(kGroups))
      fail_input(fmt::format("the risk group {} is none of low, medium, high", quoted(name)), fmt::format("{}, sample {}", table.file(), quoted(t.keys[i])),
                 "evaluate again");
    group[i] = static_cast<int32_t>(at - std::begin(kGroups));
  }
  const bool within = is_within(table);
  const LogRank test = log_rank(days, event, group, 3);
  // The same with each cohort a stratum: does the risk tell patients of one cohort apart?
  std::optional<LogRank> stratified;
  if (const data::Column* cohort = t.find("cohort")) {
    const data::Column levels = data::as_factor(*cohort);
    std::vector<int32_t> stratum;
    for (int32_t code : levels.code) stratum.push_back(code < 0 ? static_cast<int32_t>(levels.levels.size()) : code);
    if (levels.levels.size() > 1) stratified = log_rank(days, event, group, 3, stratum);
  }
  const std::vector<double> ticks = year_ticks(days);
  PageTable curves, at_risk;
  const std::string key = fmt::format("{}-{}", m.id, table.setting);
  curves.id = "survival-curves-" + key;
  curves.columns = {{"group"}, {"years"}, {"survival"}, {"lower"}, {"upper"}};
  at_risk.id = "at-risk-" + key;
  at_risk.columns = {{"group"}, {"years"}, {"at risk"}};
  std::vector<std::string> groups, words;
  for (int32_t g = 0; g < 3; ++g) {
    std::vector<double> time;
    std::vector<uint8_t> dead;
    for (size_t i = 0; i < n; ++i)
      if (group[i] == g) time.push_back(days[i]), dead.push_back(event[i]);
    if (time.empty()) continue;
    groups.push_back(kGroups[g]);
    const KaplanMeier km = kaplan_meier(time, dead);
    // A step is drawn where somebody died, and where the curve ends; steps nearer than a pixel are joined.
    const double pixel = ticks.back() * kDaysPerYear / 600;
    double drawn = 0;
    curves.row({kGroups[g], 0, 1, 1, 1});
    const auto step = [&](double at_days, size_t at) {
      curves.row({kGroups[g], significant(at_days / kDaysPerYear), significant(km.survival[at]), significant(km.lower[at]), significant(km.upper[at])});
      drawn = at_days;
    };
    // A death on the last day itself is left out: it is one of the few that are left.
    const double end = std::min(last_day(time), ticks.back() * kDaysPerYear);
    size_t i = 0;
    for (; i < km.time.size() && km.time[i] < end; ++i)
      if (km.events[i] > 0 && i + 1 < km.time.size() && km.time[i + 1] - drawn >= pixel) step(km.time[i], i);
    if (i > 0) step(end, i - 1);
    else curves.row({kGroups[g], significant(end / kDaysPerYear), 1, 1, 1});
    for (double tick : ticks) at_risk.row({kGroups[g], tick, std::count_if(time.begin(), time.end(), [&](double d) { return d >= tick * kDaysPerYear; })});
    const double median = km.median();
    words.push_back(fmt::format("{} risk: {} patients, {} deaths, median survival {}", kGroups[g], time.size(), test.observed[static_cast<size_t>(g)],
                                std::isfinite(median) ? fmt::format("{:.1f} years", median / kDaysPerYear) : std::string("not reached")));
  }
  Figure f;
  f.id = "kaplan-meier-" + key;
  std::string setting = table.setting.substr(0, table.setting.find("+within"));
  f.title = is_embedding(m) ? fmt::format("{}{}{}", m.label, setting == "embedding" ? "" : " + clinical", within ? ", within cohort" : "")
                            : m.label + (within ? ", within cohort" : "");
  f.chart = "kaplan_meier";
  f.signals = {{"groups", groups}, {"to", ticks.back()}, {"ticks", ticks}, {"test", fmt::format("log-rank p {}", p_words(test.p_value))}};
  f.caption = fmt::format("Log-rank test: χ² = {} on {} degrees of freedom", decimals(test.chi_square, 1), test.degrees);
  if (stratified) f.caption += fmt::format("; stratified by cohort: χ² = {}, p {}", decimals(stratified->chi_square, 1), p_words(stratified->p_value));
  f.caption += ".";
  f.alternative = fmt::format("Kaplan-Meier curves of {}. ", f.title);
  for (const std::string& w : words) f.alternative += w + ". ";
  f.alternative += f.caption;
  f.data = {{"curves", curves.id, {{"group", "group"}, {"years", "years"}, {"survival", "survival"}, {"low", "lower"}, {"high", "upper"}}, {}},
            {"at_risk", at_risk.id, {{"group", "group"}, {"years", "years"}, {"at_risk", "at risk"}}, {}}};
  page.add(std::move(curves));
  page.add(std::move(at_risk));
  page.figure(f);
}

}  // namespace

void add_survival(Page& page, ReportContent& content) {
  const Results& r = content.results;
  const bool curves = std::any_of(r.tables.begin(), r.tables.end(), [](const ResultsTable& t) { return t.kind == "risk"; });
  if (r.survival.empty() && !curves) {
    content.missing.push_back("survival");
    return;
  }
  page.section("survival", "Overall survival");
  std::vector<std::string> groups;
  std::string counts;
  for (const ResultsScore& s : r.survival) {
    const std::string group = group_of(*r.find_model(s.model));
    if (!s.control.empty() || std::isnan(number(s, "n")) || std::find(groups.begin(), groups.end(), group) != groups.end()) continue;
    groups.push_back(group);
    const ResultsData* d = r.find_data(group);
    counts += fmt::format("{}{}{} patients, {} deaths", counts.empty() ? "" : "; ", d && r.data.size() > 1 ? d->label + ": " : std::string(),
                          grouped(whole_number(s, "n")), grouped(whole_number(s, "events")));
  }
  page.paragraph(
      fmt::format("{}{}Cox regression with Efron's treatment of ties on the top principal components of the embedding (ridge), on age, sex and the like, or on "
                  "both; each patient's "
                  "risk comes from the fold that has not trained on the patient.",
                  counts, counts.empty() ? "" : ". "));
  page.begin_figures(460);
  add_dots(page, r, false);
  add_dots(page, r, true);
  page.end_figures();
  if (!curves) {
    content.missing.push_back("Kaplan-Meier curves");
    return;
  }
  page.subtitle("Kaplan-Meier curves by predicted risk");
  page.note(
      "Patients in thirds by the risk that their fold's model gives, low to high, where the thirds are those of its training patients. Bands: 95 % confidence. "
      "Below: patients still at risk. "
      "Curves end where about one in twenty of their patients is left.");
  page.begin_figures(320);
  for (const ResultsModel& m : r.models) {
    for (const ResultsTable& t : r.tables) {
      // A model for within cohorts is much the same: it is drawn where it stands alone.
      if (t.kind != "risk" || t.model != m.id || (is_within(t) && r.find_table("risk", m.id, t.setting.substr(0, t.setting.find("+within"))))) continue;
      add_curves(page, m, t);
    }
  }
  page.end_figures();
}

}  // namespace panvae::eval
