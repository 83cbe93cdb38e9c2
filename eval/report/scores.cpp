// What the sections read from scores.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "eval/classifier.h"
#include "eval/report/sections.h"

namespace panvae::eval {

namespace {
// Uno's C is the primary one, where every model that is judged has it.
bool has_uno(const Results& r) {
  bool some = false;
  for (const ResultsScore& s : r.survival) {
    if (s.within_cohort || !s.control.empty()) continue;
    if (!std::isfinite(number(s, "uno_mean"))) return false;
    some = true;
  }
  return some;
}

bool has_baseline(const Results& r) {
  bool some = false;
  for (const ResultsScore& s : r.expression) {
    if (!s.control.empty()) continue;
    if (!std::isfinite(number(s, "ratio"))) return false;
    some = true;
  }
  return some;
}
}  // namespace

BenchmarkInfo info_of(Benchmark b, const Results& r) {
  switch (b) {
    case Benchmark::cohort:
      return {"Cohort classification", "accuracy", true, 3};
    case Benchmark::alignment:
      return {"Alignment with the cohorts", "Grassmann distance (L2, radians)", false, 3};
    case Benchmark::survival:
      return {"Overall survival", has_uno(r) ? "C-statistic (Uno)" : "C-statistic (Harrell)", true, 3};
    case Benchmark::expression: {
      const std::string features = feature_words(r), name = features == "peaks" ? "Differentially accessible peaks" : "Differential features";
      return has_baseline(r) ? BenchmarkInfo{name, "number, relative to technical noise", false, 2} : BenchmarkInfo{name, "number of " + features, false, 0};
    }
  }
  return {};
}

const std::vector<ResultsScore>& scores_of(const Results& r, Benchmark b) {
  switch (b) {
    case Benchmark::cohort:
      return r.cohort;
    case Benchmark::alignment:
      return r.alignment;
    case Benchmark::survival:
      return r.survival;
    case Benchmark::expression:
      break;
  }
  return r.expression;
}

const ResultsScore* find_score(const Results& r, Benchmark b, std::string_view model, std::string_view control, std::string_view setting, bool within_cohort) {
  for (const ResultsScore& s : scores_of(r, b))
    if (s.model == model && s.control == control && (b == Benchmark::survival ? s.setting == setting && s.within_cohort == within_cohort : s.setting.empty()))
      return &s;
  return nullptr;
}

namespace {
[[noreturn]] void fail_value(const ResultsScore& s, const char* key, const char* kind) {
  fail_input(fmt::format("{} is no {}", quoted(key), kind), fmt::format("results.json, a score of model {}", quoted(s.model)), "evaluate again");
}
}  // namespace

double number(const ResultsScore& s, const char* key) {
  const auto at = s.values.find(key);
  if (at == s.values.end() || at->is_null()) return kUnknown;
  if (!at->is_number()) fail_value(s, key, "number");
  return at->get<double>();
}

int64_t whole_number(const ResultsScore& s, const char* key) {
  const double x = number(s, key);
  if (!(x >= 0 && x < data::kFirstInexact && x == std::floor(x))) fail_value(s, key, "whole number");
  return static_cast<int64_t>(x);
}

Value c_statistic(const ResultsScore& s, const char* name) {
  Value v;
  v.mean = number(s, fmt::format("{}_mean", name).c_str());
  v.se = number(s, fmt::format("{}_se", name).c_str());
  if (const auto folds = s.values.find("folds"); folds != s.values.end() && folds->is_array())
    for (const Json& f : *folds)
      if (f.is_object() && f.contains(name) && f[name].is_number()) v.folds.push_back(f[name].get<double>());
  // The contract has the standard deviation alone.
  if (std::isnan(v.se) && !v.folds.empty()) v.se = number(s, fmt::format("{}_sd", name).c_str()) / std::sqrt(static_cast<double>(v.folds.size()));
  return v;
}

Value within_cohort(const Results& r, std::string_view model, std::string_view setting) {
  if (const ResultsScore* s = find_score(r, Benchmark::survival, model, {}, setting, true)) return c_statistic(*s, "harrell");
  const ResultsScore* s = find_score(r, Benchmark::survival, model, {}, setting);
  return s ? c_statistic(*s, "within_cohort") : Value();
}

Value value_of(const Results& r, Benchmark b, const ResultsScore& s) {
  Value v;
  switch (b) {
    case Benchmark::cohort:
      v.mean = number(s, "accuracy_mean");
      v.se = number(s, "accuracy_se");
      if (const auto folds = s.values.find("folds"); folds != s.values.end() && folds->is_array())
        for (const Json& f : *folds)
          if (f.is_number()) v.folds.push_back(f.get<double>());
      return v;
    case Benchmark::alignment:
      v.mean = number(s, "distance");
      return v;
    case Benchmark::survival:
      return c_statistic(s, has_uno(r) ? "uno" : "harrell");
    case Benchmark::expression:
      v.mean = number(s, has_baseline(r) ? "ratio" : "n_de");
      return v;
  }
  return v;
}

Value value_of(const Results& r, Benchmark b, std::string_view model) {
  const ResultsModel* m = r.find_model(model);
  const ResultsScore* s = find_score(r, b, model, {}, m && !is_embedding(*m) ? "clinical" : "embedding");
  return s ? value_of(r, b, *s) : Value();
}

double control_of(const Results& r, Benchmark b, std::string_view model) {
  if (b != Benchmark::expression) {
    const ResultsScore* s = find_score(r, b, model, "permuted labels");
    return s ? value_of(r, b, *s).mean : kUnknown;
  }
  if (const ResultsScore* s = find_score(r, b, model, "cohort mean")) return value_of(r, b, *s).mean;
  const ResultsScore* s = find_score(r, b, model);
  if (!s) return kUnknown;
  const double n = number(*s, "cohort_mean_n_de");
  return has_baseline(r) ? n / std::max(1.0, number(*s, "baseline_n_de")) : n;
}

std::vector<std::string> best_models(const Results& r, Benchmark b) {
  struct Best {
    double value;
    std::vector<std::string> models;  // equals
  };
  std::map<std::string, Best> best;
  const bool higher = info_of(b, r).higher_is_better;
  for (const ResultsModel& m : r.models) {
    if (!is_embedding(m)) continue;
    const double v = value_of(r, b, m.id).mean;
    if (!std::isfinite(v)) continue;
    const auto [at, fresh] = best.emplace(group_of(m), Best{v, {}});
    Best& so_far = at->second;
    if (higher ? v > so_far.value : v < so_far.value) so_far = {v, {}};
    if (v == so_far.value) so_far.models.push_back(m.id);
  }
  std::vector<std::string> out;
  for (const auto& [group, of] : best) out.insert(out.end(), of.models.begin(), of.models.end());
  return out;
}

std::string group_of(const ResultsModel& m) {
  return m.data.empty() ? "modality " + m.modality : m.data;
}

std::string group_words(const Results& r, const std::string& group) {
  const ResultsData* d = r.find_data(group);
  if (!d) return modality_words(group.substr(std::string_view("modality ").size()));
  const bool one = std::count_if(r.data.begin(), r.data.end(), [&](const ResultsData& x) { return x.modality == d->modality; }) == 1;
  if (one) return modality_words(d->modality);
  return d->modality.empty() ? d->label : fmt::format("{}, {}", modality_words(d->modality), d->label);
}

bool is_baseline(const ResultsModel& m) {
  return m.kind == "pca" || m.kind == "separate" || m.kind == "cca";
}

bool is_embedding(const ResultsModel& m) {
  return m.kind != "clinical";
}

std::string kind_words(const std::string& kind) {
  if (kind == "pca") return "PCA baseline";
  if (kind == "vae") return "VAE";
  if (kind == "linear_vae") return "linear VAE";
  if (kind == "coembedding") return "co-embedding";
  if (kind == "separate") return "two VAEs, not aligned";
  if (kind == "cca") return "canonical correlation";
  if (kind == "clinical") return "clinical variables";
  return kind;
}

std::string modality_words(const std::string& modality) {
  if (modality == "both") return "RNA and ATAC";
  std::string out = modality;
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

std::string feature_words(const Results& r) {
  bool some = false;
  for (const ResultsModel& m : r.models) {
    if (!find_score(r, Benchmark::expression, m.id) && !r.find_table("de", m.id) && !r.find_table("spearman", m.id, "feature")) continue;
    if (m.modality != "atac") return "features";
    some = true;
  }
  return some ? "peaks" : "features";
}

Json cell_of(const data::Table& t, const char* column, int64_t row) {
  const data::Column* c = t.find(column);
  return !c || c->missing(row) ? Json() : Json(c->text(row));
}

std::vector<std::string> all_cohorts(const Results& r) {
  std::set<std::string> out;
  for (const ResultsTable& t : r.tables)
    if (t.kind == "points" || t.kind == "plane")
      for (int64_t i = 0; i < t.table.rows(); ++i)
        if (const Json c = cell_of(t.table, "cohort", i); !c.is_null()) out.insert(c.get<std::string>());
  return {out.begin(), out.end()};
}

}  // namespace panvae::eval
