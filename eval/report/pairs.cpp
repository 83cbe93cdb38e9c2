// Both modalities of donors in one space: what co-embedding is for. Scores of pairs, and both modalities in one plane, of models
// that are not aligned (before) beside those that are (after).
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "eval/report/bars.h"

namespace panvae::eval {

namespace {

// Those that are not aligned first: a picture of before stands beside one of after.
std::vector<const ResultsModel*> in_order(const Results& r) {
  std::vector<const ResultsModel*> out;
  for (const ResultsModel& m : r.models) out.push_back(&m);
  std::stable_sort(out.begin(), out.end(), [](const ResultsModel* a, const ResultsModel* b) { return (a->kind == "separate") > (b->kind == "separate"); });
  return out;
}

// One number of the pairs, as bars.
struct PairsScore {
  const char *id, *name, *axis, *key, *chance;  // chance: its key, or null for one half
  bool higher_is_better;
};
constexpr PairsScore kScores[] = {
    {"foscttm", "The partner among all others", "FOSCTTM", "foscttm", nullptr, false},
    {"within", "The partner within its cohort", "FOSCTTM within the cohort", "foscttm_within_cohort", nullptr, false},
    {"recall", "The partner among the ten nearest", "recall at 10", "recall_at_10", "chance_recall_at_10", true},
    {"transfer", "Cohorts carried from RNA to ATAC", "accuracy", "transfer_rna_to_atac", "majority_share_atac", true},
};

double chance_of(const PairsScore& score, const ResultsScore& s) {
  return score.chance ? number(s, score.chance) : 0.5;
}

// Models without an own score are no bars; several scores of a model (settings) are told apart by their setting.
struct Row {
  const ResultsModel* model;
  const ResultsScore *score, *control;  // control: null if there is none
  std::string label;
};

std::vector<Row> rows_of(const Results& r) {
  std::vector<Row> out;
  for (const ResultsModel* m : in_order(r))
    for (const ResultsScore& s : r.pairs) {
      if (s.model != m->id || !s.control.empty()) continue;
      Row row{m, &s, nullptr, m->label + (s.setting.empty() ? "" : ", " + s.setting)};
      for (const ResultsScore& c : r.pairs)
        if (c.model == m->id && c.setting == s.setting && !c.control.empty()) row.control = &c;
      out.push_back(std::move(row));
    }
  return out;
}

void add_bars(Page& page, const std::vector<Row>& rows, const PairsScore& score) {
  Bars bars{.table = fmt::format("pairs-{}", score.id), .name = score.name, .axis = score.axis, .higher_is_better = score.higher_is_better};
  bars.figure = bars.table + "-bars";
  double best = kUnknown, top = 0;
  for (const Row& row : rows) {
    const double x = number(*row.score, score.key), control = row.control ? number(*row.control, score.key) : kUnknown;
    bars.bars.push_back({.model = row.label,
                         .value = x,
                         .chance = chance_of(score, *row.score),
                         .control = control,
                         .kind = is_baseline(*row.model) ? "baseline" : "model",
                         .text = decimals(x, 3)});
    for (double v : {x, bars.bars.back().chance, control})
      if (std::isfinite(v)) top = std::max(top, v);
    if (std::isfinite(x) && (std::isnan(best) || (score.higher_is_better ? x > best : x < best))) best = x;
  }
  if (std::isnan(best)) return;
  for (Bar& b : bars.bars)
    if (b.value == best) b.kind = "best";
  bars.to = std::min(1.0, std::ceil(top * 1.02 * 20) / 20);
  bars.add_to(page);
}

// A row per model, then one of what chance gives: it depends on the pairs alone, so models of the same pairs share it.
void add_scores(Page& page, const std::vector<Row>& rows) {
  PageTable t;
  t.id = "pairs-table";
  t.columns = {{"model"},       {"pairs"},        {"FOSCTTM", {}, 3},        {"within cohort", {}, 3},      {"z", {}, 1},          {"recall at 1", {}, 3},
               {"at 5", {}, 3}, {"at 10", {}, 3}, {"mixing entropy", {}, 3}, {"cohort RNA to ATAC", {}, 3}, {"ATAC to RNA", {}, 3}};
  constexpr const char* kKeys[] = {
      "foscttm", "foscttm_within_cohort", "z", "recall_at_1", "recall_at_5", "recall_at_10", "mixing_entropy", "transfer_rna_to_atac", "transfer_atac_to_rna"};
  constexpr const char* kChance[] = {
      "", "", "", "chance_recall_at_1", "chance_recall_at_5", "chance_recall_at_10", "chance_mixing_entropy", "majority_share_atac", "majority_share_rna"};
  std::vector<size_t> muted;
  const auto add = [&](const ResultsScore& s, const std::string& name, auto&& keys) {
    std::vector<Json> cells = {name, significant(number(s, "n_pairs"), 9)};
    for (const char* key : keys) cells.push_back(*key ? significant(number(s, key), 9) : Json());
    t.row(std::move(cells));
  };
  struct Chance {
    const ResultsScore* first;
    double sum = 0;
    int64_t n = 0;
  };
  std::vector<Chance> chances;
  const auto same = [&](const ResultsScore& a, const ResultsScore& b) {
    const auto equal = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
    return equal(number(a, "n_pairs"), number(b, "n_pairs")) &&
           std::all_of(std::begin(kChance), std::end(kChance), [&](const char* key) { return !*key || equal(number(a, key), number(b, key)); });
  };
  for (const Row& row : rows) {
    if (is_baseline(*row.model)) muted.push_back(t.rows());
    add(*row.score, row.label, kKeys);
    if (row.control) {
      muted.push_back(t.rows());
      add(*row.control, fmt::format("{}: {}", row.label, row.control->control), kKeys);
    }
    auto at = std::find_if(chances.begin(), chances.end(), [&](const Chance& c) { return same(*c.first, *row.score); });
    if (at == chances.end()) at = chances.insert(chances.end(), {row.score});
    if (const double x = number(*row.score, "chance_foscttm"); std::isfinite(x)) at->sum += x, ++at->n;
  }
  for (const Chance& c : chances) {
    muted.push_back(t.rows());
    add(*c.first, "by chance", kChance);
    t.columns[2].values.back() = c.n ? significant(c.sum / static_cast<double>(c.n), 9) : Json(0.5);
    t.columns[3].values.back() = 0.5;
  }
  page.table(t, {}, muted);
  page.note(
      "z: FOSCTTM less that of permuted partners, in their standard deviations. Mixing entropy is 0 where modalities lie apart. By chance, a transfer of "
      "cohorts "
      "reaches the share of the largest cohort.");
}

// The pictures.

// Samples that are judged: those held out, where any are.
bool is_held_out(const data::Table& t, int64_t row) {
  const data::Column* split = t.find("split");
  return split && split->text(row) == "holdout";
}

struct Partners {
  std::vector<std::pair<int64_t, int64_t>> rows;  // RNA, ATAC
  int64_t all = 0;
};

// Pairs of one donor, of the held-out samples where there are any. Beyond kLines the picture would be a tangle: then those whose
// donors stand first in the table.
constexpr size_t kLines = 250;
Partners partners_of(const data::Table& t, bool held_out) {
  Partners out;
  if (!t.find("donor")) return out;
  std::map<std::string, std::vector<int64_t>> atac;
  const data::Column &modality = t.at("modality"), &donor = t.at("donor");
  const auto taken = [&](int64_t r) { return !donor.missing(r) && (!held_out || is_held_out(t, r)); };
  for (int64_t r = 0; r < t.rows(); ++r)
    if (taken(r) && modality.text(r) == "atac") atac[donor.text(r)].push_back(r);
  for (int64_t r = 0; r < t.rows(); ++r) {
    if (!taken(r) || modality.text(r) != "rna") continue;
    const auto at = atac.find(donor.text(r));
    if (at == atac.end()) continue;
    for (int64_t other : at->second) {
      ++out.all;
      if (out.rows.size() < kLines) out.rows.emplace_back(r, other);
    }
  }
  return out;
}

struct Plane {
  const ResultsModel* model;
  const data::Table* table;
  std::string id;  // of its tables and figures
  Partners partners;
};

std::string axis(const ResultsModel& m, size_t component) {
  std::string out = fmt::format("PC{}", component + 1);
  if (component < m.explained.size()) out += fmt::format(" ({}% of the variance)", decimals(100 * m.explained[component], 1));
  return out;
}

void add_tables(Page& page, const Plane& plane) {
  const data::Table& t = *plane.table;
  PageTable points;
  points.id = plane.id;
  points.columns = {{"sample"}, {"modality"}, {"cohort"}, {"donor"}, {"held out"}, {"pc1"}, {"pc2"}};
  for (int64_t i = 0; i < t.rows(); ++i) {
    const auto at = static_cast<size_t>(i);
    points.row({t.keys[at], modality_words(t.at("modality").text(i)), cell_of(t, "cohort", i), cell_of(t, "donor", i), is_held_out(t, i) ? "yes" : "no",
                significant(t.at("pc1").number[at], 4), significant(t.at("pc2").number[at], 4)});
  }
  page.add(std::move(points));
  if (plane.partners.rows.empty()) return;
  PageTable lines;
  lines.id = plane.id + "-partners";
  lines.columns = {{"donor"}, {"rna pc1"}, {"rna pc2"}, {"atac pc1"}, {"atac pc2"}};
  for (const auto& [rna, atac] : plane.partners.rows) {
    const auto place = [&](const char* name, int64_t row) { return significant(t.at(name).number[static_cast<size_t>(row)], 4); };
    lines.row({t.at("donor").text(rna), place("pc1", rna), place("pc2", rna), place("pc1", atac), place("pc2", atac)});
  }
  page.add(std::move(lines));
}

void add_picture(Page& page, const Plane& plane, bool by_cohort, const std::vector<std::string>& cohorts) {
  const data::Table& t = *plane.table;
  int64_t rna = 0, held_out = 0;
  for (int64_t r = 0; r < t.rows(); ++r) rna += t.at("modality").text(r) == "rna", held_out += is_held_out(t, r);
  Figure f;
  f.id = plane.id + (by_cohort ? "-cohort" : "-modality");
  f.title = plane.model->label;
  f.alternative = fmt::format("{} RNA and {} ATAC samples in the plane of the first two principal components of {}, coloured by {}; {} are held out.", rna,
                              t.rows() - rna, plane.model->label, by_cohort ? "cohort" : "modality", held_out);
  f.chart = "plane";
  f.signals = {{"by", by_cohort ? "cohort" : "modality"}, {"cohorts", cohorts},
               {"axis_x", axis(*plane.model, 0)},         {"axis_y", axis(*plane.model, 1)},
               {"some_held_out", held_out > 0},           {"size", t.rows() > 3000 ? 10 : t.rows() > 800 ? 18 : 30}};
  f.data = {{"points",
             plane.id,
             {{"sample", "sample"}, {"modality", "modality"}, {"cohort", "cohort"}, {"donor", "donor"}, {"held", "held out"}, {"x", "pc1"}, {"y", "pc2"}},
             {"x", "y"}}};
  if (!by_cohort && !plane.partners.rows.empty())
    f.data.push_back(
        {"partners", plane.id + "-partners", {{"donor", "donor"}, {"x", "rna pc1"}, {"y", "rna pc2"}, {"x2", "atac pc1"}, {"y2", "atac pc2"}}, {}});
  f.link = by_cohort ? "cohorts" : "donors";
  page.figure(f);
}

void add_planes(Page& page, const Results& r) {
  std::vector<Plane> planes;
  for (const ResultsModel* m : in_order(r))
    if (const ResultsTable* t = r.find_table("plane", m->id)) planes.push_back({m, &t->table, "plane-" + m->id, {}});
  if (planes.empty()) return;
  bool some_held_out = false, cohort_known = false;
  int64_t drawn = 0, all = 0;
  for (Plane& p : planes) {
    bool held_out = false;
    for (int64_t i = 0; i < p.table->rows(); ++i) {
      held_out |= is_held_out(*p.table, i);
      cohort_known |= !cell_of(*p.table, "cohort", i).is_null();
    }
    some_held_out |= held_out;
    p.partners = partners_of(*p.table, held_out);
    add_tables(page, p);
    if (p.partners.all > all) all = p.partners.all, drawn = static_cast<int64_t>(p.partners.rows.size());
  }
  const std::vector<std::string> cohorts = all_cohorts(r);
  page.subtitle("Both modalities in one plane");
  page.paragraph(fmt::format("The first two principal components of the embeddings of both modalities together. {}{}",
                             some_held_out ? "Held-out samples are outlined, the others faint. " : "",
                             all == 0 ? std::string()
                                      : fmt::format("Lines join the RNA and the ATAC sample of a donor{}: the shorter, the better it is found again{}.",
                                                    some_held_out ? " held out" : "",
                                                    drawn < all ? fmt::format(" ({} of {} pairs are drawn)", grouped(drawn), grouped(all)) : std::string())));
  page.begin_figures(320);
  for (const Plane& p : planes) add_picture(page, p, false, cohorts);
  page.end_figures();
  if (!cohort_known) return;
  page.paragraph("The same places, coloured by cohort.");
  page.begin_figures(320);
  for (const Plane& p : planes) add_picture(page, p, true, cohorts);
  page.end_figures();
}

}  // namespace

std::string pairs_sentence(const Results& r) {
  const Row* best = nullptr;
  const std::vector<Row> rows = rows_of(r);
  const auto value = [](const Row& row) { return number(*row.score, "foscttm"); };
  for (const Row& row : rows)
    if (!is_baseline(*row.model) && std::isfinite(value(row)) && (!best || value(row) < value(*best))) best = &row;
  if (!best) return {};
  std::string out = fmt::format("RNA and ATAC of a donor in one space (FOSCTTM, lower is better): {} with {}", decimals(value(*best), 3), best->label);
  bool some = false;
  for (const Row& row : rows) {
    if (!is_baseline(*row.model) || !std::isfinite(value(row))) continue;
    out += fmt::format("{}{} with {}", some ? " and " : ", against ", decimals(value(row), 3), row.label);
    some = true;
  }
  return out + "; 0.5 by chance.";
}

void add_pairs(Page& page, const ReportContent& content) {
  const Results& r = content.results;
  const std::vector<Row> rows = rows_of(r);
  const bool planes = std::any_of(r.tables.begin(), r.tables.end(), [](const ResultsTable& t) { return t.kind == "plane"; });
  if (rows.empty() && !planes) return;
  page.section("pairs", "Two modalities in one space");
  page.paragraph(
      "Do the RNA and the ATAC sample of a donor land at one place? FOSCTTM is the share of other samples that are closer than the true partner, 0 at best and "
      "0.5 by chance; within the cohort it asks whether more than the cohort is known. Recall at k: the partner is among the k nearest samples of the other "
      "modality. Cohorts are carried over by the nearest neighbours of the other modality.");
  if (!rows.empty()) {
    page.begin_figures(440);
    for (const PairsScore& score : kScores) add_bars(page, rows, score);
    page.end_figures();
    page.note("Grey: not aligned, or aligned by a classical method; green: the best. Dashed: chance. Red diamonds: ATAC samples permuted among donors.");
    add_scores(page, rows);
  }
  add_planes(page, r);
}

}  // namespace panvae::eval
