#include "eval/results.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/read_json.h"
#include "data/read.h"

namespace panvae::eval {

namespace {

// What a table of each kind must hold, and which of it is a number in every row (curves may lack validation losses).
struct TableKind {
  const char* kind;
  std::vector<const char*> numbers, labels;
  std::vector<const char*> settings;  // those that are known; empty: the table has none
  bool gaps;                          // numbers may be missing or infinite
};

const std::vector<TableKind>& table_kinds() {
  static const std::vector<TableKind> kinds = {
      {"curves", {"train_loss", "validation_loss"}, {}, {}, true},
      {"points", {"pc1", "pc2"}, {"cohort"}, {}, false},
      {"plane", {"pc1", "pc2"}, {"modality"}, {}, false},
      {"risk",
       {"os_time", "os_event", "risk", "fold"},
       {"group"},
       {"clinical", "embedding", "embedding+clinical", "clinical+within", "embedding+within", "embedding+clinical+within"},
       false},
      {"de", {"log2fc", "t", "p", "fdr", "mean_observed", "mean_reconstructed"}, {}, {}, true},
      {"spearman", {"spearman"}, {}, {"sample", "feature"}, true},
  };
  return kinds;
}

const TableKind* find_kind(std::string_view name) {
  for (const TableKind& k : table_kinds())
    if (name == k.kind) return &k;
  return nullptr;
}

bool is_id(std::string_view id) {
  return !id.empty() && id.size() <= 100 && std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

std::string problem_of(const ResultsTable& t) {
  const TableKind* kind = find_kind(t.kind);
  if (!kind) return fmt::format("there is no kind of table {}", quoted(t.kind));
  const bool known = kind->settings.empty() ? t.setting.empty() : std::count(kind->settings.begin(), kind->settings.end(), t.setting) > 0;
  if (!known) return fmt::format("a table {} of {}", quoted(t.kind), t.setting.empty() ? "no setting" : fmt::format("the setting {}", quoted(t.setting)));
  if (t.table.rows() == 0) return "the table has no rows";
  for (const char* name : kind->numbers) {
    const data::Column* c = t.table.find(name);
    if (!c) return fmt::format("the table has no column {}", name);
    if (!c->numeric) return fmt::format("column {} must hold numbers", name);
    for (int64_t r = 0; r < c->size(); ++r) {
      const double x = c->number[static_cast<size_t>(r)];
      if (!std::isfinite(x) && !kind->gaps)
        return fmt::format("column {} is {} for {}", name, std::isnan(x) ? "missing" : "infinite", quoted(t.table.keys[static_cast<size_t>(r)]));
    }
  }
  for (const char* name : kind->labels)
    if (!t.table.find(name)) return fmt::format("the table has no column {}", name);
  if (t.kind == "plane") {
    const data::Column& modality = t.table.at("modality");
    for (int64_t r = 0; r < modality.size(); ++r)
      if (const std::string m = modality.text(r); m != "rna" && m != "atac")
        return fmt::format("the modality of {} is {}, which is neither rna nor atac", quoted(t.table.keys[static_cast<size_t>(r)]), quoted(m));
  }
  return {};
}

// What is wrong with these results as a whole, with the key it is at; both empty if nothing is.
struct Problem {
  std::string what, key;
};

Problem problem_of(const Results& r) {
  std::set<std::string> ids, labels;
  for (size_t i = 0; i < r.data.size(); ++i) {
    const std::string key = fmt::format("data[{}].id", i), &id = r.data[i].id;
    if (!is_id(id)) return {fmt::format("the id {} has other than letters, digits, - and _", quoted(id)), key};
    if (!ids.insert(id).second) return {fmt::format("the id {} stands twice", quoted(id)), key};
  }
  ids.clear();
  for (size_t i = 0; i < r.models.size(); ++i) {
    const ResultsModel& m = r.models[i];
    const std::string key = fmt::format("models[{}]", i);
    if (!is_id(m.id)) return {fmt::format("the id {} has other than letters, digits, - and _", quoted(m.id)), key + ".id"};
    if (!ids.insert(m.id).second) return {fmt::format("the id {} stands twice", quoted(m.id)), key + ".id"};
    if (!labels.insert(m.label).second) return {fmt::format("two models have the label {}", quoted(m.label)), key + ".label"};
    if (!m.data.empty() && !r.find_data(m.data)) return {fmt::format("no data has the id {}", quoted(m.data)), key + ".data"};
    if (!m.network.is_null() && !m.network.is_object()) return {"expected an object", key + ".network"};
  }
  const auto scores = [&](const std::vector<ResultsScore>& list, const char* name) -> Problem {
    for (size_t i = 0; i < list.size(); ++i) {
      if (!r.find_model(list[i].model)) return {fmt::format("no model has the id {}", quoted(list[i].model)), fmt::format("{}[{}].model", name, i)};
      if (!list[i].values.is_object()) return {"a score must be a JSON object", fmt::format("{}[{}]", name, i)};
    }
    return {};
  };
  for (Problem p : {scores(r.cohort, "cohort"), scores(r.alignment, "alignment"), scores(r.survival, "survival"), scores(r.expression, "expression"),
                    scores(r.pairs, "pairs")})
    if (!p.what.empty()) return p;
  ids.clear();
  for (const ResultsTable& t : r.tables) {
    if (!r.find_model(t.model)) return {fmt::format("no model has the id {}", quoted(t.model)), t.file()};
    if (!ids.insert(t.file()).second) return {"the table stands twice", t.file()};
    if (std::string what = problem_of(t); !what.empty()) return {what, t.file()};
  }
  return {};
}

// Writing.

template <class T>
void set(Json& j, const char* key, const std::optional<T>& value) {
  j[key] = value ? Json(*value) : Json();
}

// Keys of a score that are not those of its evaluator.
bool is_typed(std::string_view key) {
  return key == "model" || key == "setting" || key == "within_cohort" || key == "control";
}

Json json_of(const ResultsScore& s, bool survival) {
  Json j;
  j["model"] = s.model;
  if (survival || !s.setting.empty()) j["setting"] = s.setting;
  if (survival) j["within_cohort"] = s.within_cohort;
  j["control"] = s.control.empty() ? Json() : Json(s.control);
  for (const auto& [key, value] : s.values.items())
    if (!is_typed(key)) j[key] = value;
  return j;
}

Json json_of(const Results& r) {
  Json j;
  j["format"] = "panvae-results";
  j["version"] = kResultsVersion;
  j["panvae"] = r.program;
  j["command"] = r.command;
  j["seed"] = r.seed;
  j["folds"] = r.folds;
  set(j, "seconds", r.seconds);
  set(j, "peak_memory_bytes", r.peak_memory_bytes);
  j["data"] = Json::array();
  for (const ResultsData& d : r.data)
    j["data"].push_back({{"id", d.id},
                         {"label", d.label},
                         {"modality", d.modality},
                         {"samples", d.samples},
                         {"features", d.features},
                         {"holdout", d.holdout},
                         {"cohorts", d.cohorts}});
  j["models"] = Json::array();
  for (const ResultsModel& m : r.models) {
    Json o;
    o["id"] = m.id;
    o["label"] = m.label;
    o["kind"] = m.kind;
    o["modality"] = m.modality;
    o["data"] = m.data;
    o["run"] = m.run;
    o["device"] = m.device;
    set(o, "dimensions", m.dimensions);
    set(o, "parameters", m.parameters);
    set(o, "epochs", m.epochs);
    set(o, "best_epoch", m.best_epoch);
    set(o, "seconds", m.seconds);
    set(o, "peak_memory_bytes", m.peak_memory_bytes);
    set(o, "seed", m.seed);
    o["explained"] = m.explained;
    if (!m.network.is_null()) o["network"] = m.network;
    j["models"].push_back(std::move(o));
  }
  const auto scores = [&](const char* name, const std::vector<ResultsScore>& list) {
    j[name] = Json::array();
    for (const ResultsScore& s : list) j[name].push_back(json_of(s, list.data() == r.survival.data()));
  };
  scores("cohort", r.cohort);
  scores("alignment", r.alignment);
  scores("survival", r.survival);
  scores("expression", r.expression);
  scores("pairs", r.pairs);
  j["tables"] = Json::array();
  for (const ResultsTable& t : r.tables) j["tables"].push_back(t.file());
  j["warnings"] = r.warnings;
  return j;
}

// Reading: an object of the file, with the place for errors.
class Reader {
 public:
  Reader(const Json& j, std::string file, std::string key) : json_(j), file_(std::move(file)), key_(std::move(key)) {
    if (!j.is_object()) fail("expected an object");
  }

  bool has(const char* name) const { return json_.contains(name) && !json_[name].is_null(); }
  std::string text(const char* name) const { return value(name, &Json::is_string, "a text").get<std::string>(); }
  std::string text_or(const char* name, std::string otherwise) const { return has(name) ? text(name) : otherwise; }
  // What is not negative is unsigned for the parser.
  uint64_t seed(const char* name) const { return value(name, &Json::is_number_unsigned, "a whole number, 0 or more").get<uint64_t>(); }
  template <class T = int64_t>
  T count(const char* name) const {
    const uint64_t n = seed(name);
    if (n > static_cast<uint64_t>(std::numeric_limits<T>::max())) fail("the number is too large", name);
    return static_cast<T>(n);
  }
  double number(const char* name) const { return value(name, &Json::is_number, "a number").get<double>(); }
  bool flag_or(const char* name, bool otherwise) const { return has(name) ? value(name, &Json::is_boolean, "true or false").get<bool>() : otherwise; }
  std::vector<std::string> texts(const char* name) const {
    std::vector<std::string> out;
    each(name, [&](const Json& v, const std::string& key) {
      if (!v.is_string()) fail("expected a text", key);
      out.push_back(v.get<std::string>());
    });
    return out;
  }
  std::vector<double> numbers(const char* name) const {
    std::vector<double> out;
    each(name, [&](const Json& v, const std::string& key) {
      if (!v.is_number()) fail("expected a number", key);
      out.push_back(v.get<double>());
    });
    return out;
  }
  // The objects of a list; none where it is missing.
  std::vector<Reader> objects(const char* name) const {
    std::vector<Reader> out;
    each(name, [&](const Json& v, const std::string& key) { out.emplace_back(v, file_, path(key)); });
    return out;
  }
  const Json& json() const { return json_; }
  [[noreturn]] void fail(const std::string& what, const std::string& name = {}) const {
    const std::string at = name.empty() ? key_ : path(name);
    fail_input(what, at.empty() ? quoted(file_, 400) : fmt::format("{}, {}", quoted(file_, 400), quoted(at, 200)),
               "the folder must be one that 'panvae evaluate all' wrote; docs/report.md describes it");
  }

 private:
  std::string path(const std::string& name) const { return key_.empty() ? name : key_ + "." + name; }
  const Json& value(const char* name, bool (Json::*is)() const noexcept, const char* expected) const {
    if (!has(name)) fail("the key is missing", name);
    if (!(json_[name].*is)()) fail(fmt::format("expected {}", expected), name);
    return json_[name];
  }
  template <class F>
  void each(const char* name, F&& f) const {
    if (!has(name)) return;
    if (!json_[name].is_array()) fail("expected a list", name);
    for (size_t i = 0; i < json_[name].size(); ++i) f(json_[name][i], fmt::format("{}[{}]", name, i));
  }

  const Json& json_;
  std::string file_, key_;
};

void get(std::optional<int64_t>& value, const Reader& r, const char* name) {
  if (r.has(name)) value = r.count(name);
}
void get(std::optional<double>& value, const Reader& r, const char* name) {
  if (r.has(name)) value = r.number(name);
}

std::vector<ResultsScore> read_scores(const Reader& top, const char* name) {
  std::vector<ResultsScore> out;
  for (const Reader& r : top.objects(name)) {
    ResultsScore s;
    s.model = r.text("model");
    s.setting = r.text_or("setting", "");
    s.within_cohort = r.flag_or("within_cohort", false);
    s.control = r.text_or("control", "");
    s.values = Json::object();
    for (const auto& [key, value] : r.json().items())
      if (!is_typed(key)) s.values[key] = value;
    out.push_back(std::move(s));
  }
  return out;
}

// KIND/MODEL[.SETTING].tsv, checked before any path is made of it: a folder from elsewhere cannot name files outside itself.
ResultsTable parse_file(const Reader& top, const std::string& file) {
  ResultsTable t;
  const size_t slash = file.find('/'), end = file.size() > 4 && file.compare(file.size() - 4, 4, ".tsv") == 0 ? file.size() - 4 : std::string::npos;
  if (slash != std::string::npos && end != std::string::npos && slash < end) {
    const std::string name = file.substr(slash + 1, end - slash - 1);
    const size_t dot = name.find('.');
    t.kind = file.substr(0, slash);
    t.model = name.substr(0, dot);
    if (dot != std::string::npos) t.setting = name.substr(dot + 1);
  }
  const TableKind* kind = find_kind(t.kind);
  const bool known = kind && (kind->settings.empty() ? t.setting.empty() : std::count(kind->settings.begin(), kind->settings.end(), t.setting) > 0);
  if (!known || !is_id(t.model)) top.fail(fmt::format("there is no table {}", quoted(file)), "tables");
  return t;
}

}  // namespace

std::string ResultsTable::file() const {
  return fmt::format("{}/{}{}{}.tsv", kind, model, setting.empty() ? "" : ".", setting);
}

const ResultsModel* Results::find_model(std::string_view id) const {
  for (const ResultsModel& m : models)
    if (m.id == id) return &m;
  return nullptr;
}

const ResultsData* Results::find_data(std::string_view id) const {
  for (const ResultsData& d : data)
    if (d.id == id) return &d;
  return nullptr;
}

const ResultsTable* Results::find_table(std::string_view kind, std::string_view model, std::string_view setting) const {
  for (const ResultsTable& t : tables)
    if (t.kind == kind && t.model == model && t.setting == setting) return &t;
  return nullptr;
}

void write_results(const std::string& folder, const Results& results) {
  const Problem problem = problem_of(results);
  PV_CHECK(problem.what.empty(), "write_results: {} ({})", problem.what, problem.key);
  AtomicFolder out(folder, "results.json");
  for (const ResultsTable& t : results.tables) data::write_table(out.file(t.file()), t.table);
  write_file(out.file("results.json"), json_of(results).dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
  out.commit();
}

Results read_results(const std::string& folder) {
  const std::string file = folder + "/results.json";
  if (!std::filesystem::exists(file)) fail_input("it holds no results.json", quoted(folder, 400), "name a folder that 'panvae evaluate all' wrote");
  const Json json = parse_json(read_file(file));
  if (json.is_discarded()) fail_input("this is no JSON", quoted(file, 400), "the folder must be one that 'panvae evaluate all' wrote");
  const Reader top(json, file, "");
  if (!top.has("format") || json["format"] != "panvae-results") top.fail("this does not say that it is of the format panvae-results", "format");
  if (const int64_t version = top.count("version"); version != kResultsVersion)
    fail_input(fmt::format("results of version {}, while this program reads version {}", version, kResultsVersion),
               fmt::format("{}, version", quoted(file, 400)), version > kResultsVersion ? "use a newer panvae" : "evaluate again with this panvae");
  Results r;
  if (top.has("panvae")) {
    r.program = json["panvae"];
    if (!r.program.is_object()) top.fail("expected an object", "panvae");
    for (const auto& [key, value] : r.program.items())
      if (!value.is_string() && !value.is_null()) top.fail("expected a text", "panvae." + key);
  }
  r.command = top.texts("command");
  if (top.has("seed")) r.seed = top.seed("seed");
  if (top.has("folds")) r.folds = top.count<int>("folds");
  get(r.seconds, top, "seconds");
  get(r.peak_memory_bytes, top, "peak_memory_bytes");
  for (const Reader& d : top.objects("data")) {
    ResultsData out;
    out.id = d.text("id");
    out.label = d.text_or("label", out.id);
    out.modality = d.text_or("modality", "");
    out.samples = d.count("samples");
    out.features = d.count("features");
    out.holdout = d.has("holdout") ? d.count("holdout") : 0;
    out.cohorts = d.texts("cohorts");
    r.data.push_back(std::move(out));
  }
  for (const Reader& m : top.objects("models")) {
    ResultsModel out;
    out.id = m.text("id");
    out.label = m.text_or("label", out.id);
    out.kind = m.text("kind");
    out.modality = m.text_or("modality", "");
    out.data = m.text_or("data", "");
    out.run = m.text_or("run", "");
    out.device = m.text_or("device", "");
    get(out.dimensions, m, "dimensions");
    get(out.parameters, m, "parameters");
    get(out.epochs, m, "epochs");
    get(out.best_epoch, m, "best_epoch");
    get(out.seconds, m, "seconds");
    get(out.peak_memory_bytes, m, "peak_memory_bytes");
    if (m.has("seed")) out.seed = m.seed("seed");
    out.explained = m.numbers("explained");
    if (m.has("network")) out.network = m.json()["network"];
    r.models.push_back(std::move(out));
  }
  r.cohort = read_scores(top, "cohort");
  r.alignment = read_scores(top, "alignment");
  r.survival = read_scores(top, "survival");
  r.expression = read_scores(top, "expression");
  r.pairs = read_scores(top, "pairs");
  for (const std::string& name : top.texts("tables")) {
    ResultsTable t = parse_file(top, name);
    t.table = data::read_table(folder + "/" + name);
    if (const std::string what = problem_of(t); !what.empty())
      fail_input(what, quoted(folder + "/" + name, 400), "the folder must be one that 'panvae evaluate all' wrote; docs/report.md describes it");
    r.tables.push_back(std::move(t));
  }
  r.warnings = top.texts("warnings");
  if (const Problem problem = problem_of(r); !problem.what.empty()) top.fail(problem.what, problem.key);
  return r;
}

}  // namespace panvae::eval
