#include "data/split.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/philox.h"
#include "data/read.h"

namespace panvae::data {

namespace {

enum Side : int32_t { train = 0, validation = 1, holdout = 2 };

Column split_column(std::vector<int32_t> sides) {
  Column c;
  c.name = "split";
  c.levels = {"train", "validation", "holdout"};
  c.code = std::move(sides);
  return c;
}

struct Unit {
  std::string name;
  uint64_t hash;
};

// Sides of the units of each cohort by rank of their hash.
void draw(std::map<std::string, std::vector<Unit>>& cohorts, const SplitOptions& options, std::unordered_map<std::string, int32_t>& side_of) {
  const bool had_validation = std::any_of(side_of.begin(), side_of.end(), [](const auto& s) { return s.second == validation; });
  int64_t validating = had_validation;
  const Unit* spare = nullptr;  // who validates if rounding leaves nobody
  int64_t largest = 1;
  for (auto& [cohort, units] : cohorts) {
    // The name decides between equal hashes, so that the order of the file never does.
    std::sort(units.begin(), units.end(), [](const Unit& a, const Unit& b) { return a.hash != b.hash ? a.hash < b.hash : a.name < b.name; });
    const auto n = static_cast<int64_t>(units.size());
    const int64_t held = std::min<int64_t>(std::llround(options.holdout * static_cast<double>(n)), n - 1);
    const int64_t rest = n - held;
    const int64_t checked = std::min<int64_t>(std::llround(options.validation * static_cast<double>(rest)), rest - 1);
    for (int64_t i = 0; i < n; ++i) side_of[units[static_cast<size_t>(i)].name] = i < held ? holdout : i < held + checked ? validation : train;
    validating += checked;
    if (rest > largest) {
      largest = rest;
      spare = &units[static_cast<size_t>(held)];
    }
  }
  if (options.validation > 0 && validating == 0 && spare) side_of[spare->name] = validation;
}

// The patient of a TCGA barcode (TCGA-BH-A0B3 of TCGA-BH-A0B3-01A-11R-A056-07, also with R's points); empty where it is none.
std::string_view patient_of(std::string_view name) {
  if (name.size() < 16 || name.substr(0, 4) != "TCGA") return {};
  const auto is_separator = [&](size_t at) { return name[at] == '-' || name[at] == '.' || name[at] == '_'; };
  return is_separator(4) && is_separator(7) && is_separator(12) ? name.substr(0, 12) : std::string_view();
}

// Columns whose name is one of `names`, in small or capital letters, with spaces, points or dashes for _.
std::vector<std::string> columns_like(const Table& obs, const std::set<std::string>& names) {
  std::vector<std::string> out;
  for (const Column& c : obs.columns) {
    std::string name = folded(c.name);
    std::replace_if(
        name.begin(), name.end(), [](char ch) { return ch == ' ' || ch == '.' || ch == '-'; }, '_');
    if (names.contains(name)) out.push_back(c.name);
  }
  return out;
}

// Without the column 'donor' every sample is a donor of its own; columns under other names, or barcodes, tell that some are not.
void warn_about_patients(const Table& obs) {
  if (const Column* donor = obs.find("donor")) {
    if (const int64_t missing = donor->count_missing(); missing > 0)
      log::warning("{} samples have no donor: each counts as a donor of its own, and those of one patient may land on both sides of the split", missing);
    return;
  }
  for (const std::string& name :
       columns_like(obs, {"donor", "donor_id", "donorid", "patient", "patient_id", "patientid", "patient_barcode", "bcr_patient_barcode", "case_id",
                          "case_submitter_id", "subject", "subject_id", "individual", "individual_id", "participant", "participant_id"})) {
    const size_t donors = as_factor(obs.at(name)).levels.size();
    if (donors >= 2 && donors < static_cast<size_t>(obs.rows()) - static_cast<size_t>(obs.at(name).count_missing())) {
      log::warning(
          "the column {} looks like donors, {} of {} samples, but there is no column 'donor', so samples of one may land on both sides of the "
          "split: name it with --donor-key",
          quoted(name), donors, obs.rows());
      return;
    }
  }
  std::map<std::string_view, int64_t> samples_of;
  for (const std::string& name : obs.keys)
    if (const std::string_view patient = patient_of(name); !patient.empty()) ++samples_of[patient];
  const auto several = std::find_if(samples_of.begin(), samples_of.end(), [](const auto& s) { return s.second > 1; });
  if (several == samples_of.end()) return;
  log::warning(
      "{} of the patients in the samples' barcodes have several samples ({}: {}), which may land on both sides of the split, for there is no column "
      "'donor': give one with --obs or --donor-key",
      std::count_if(samples_of.begin(), samples_of.end(), [](const auto& s) { return s.second > 1; }), several->first, several->second);
}

// Without the column 'cohort' donors are drawn whatever their cohort, and batch removal keeps no differences between cohorts.
void note_cohorts(const Table& obs) {
  if (obs.find("cohort")) return;
  std::string names;
  for (const std::string& name : columns_like(obs, {"cohort", "cancer_type", "cancertype", "tumor_type", "tumour_type", "tumortype", "tumourtype", "cancer",
                                                    "disease", "disease_type", "project", "project_id", "cell_type", "celltype", "tissue", "type"}))
    if (const size_t levels = as_factor(obs.at(name)).levels.size(); levels >= 2 && 2 * levels <= static_cast<size_t>(obs.rows()))
      names += (names.empty() ? "" : ", ") + quoted(name);
  if (!names.empty()) log::warning("there is no column 'cohort'; columns that look like cohorts: {} (name one with --cohort-key)", names);
}

// 'BRCA' and 'BRCA ' are two cohorts, and 'P1' and 'p1' two donors, to everything that follows.
void warn_about_spelling(const Table& obs) {
  for (const char* name : {"cohort", "donor"}) {
    const Column* column = obs.find(name);
    if (!column) continue;
    std::map<std::string, std::string> spelt;
    for (const std::string& level : as_factor(*column).levels) {
      const size_t first = level.find_first_not_of(' '), last = level.find_last_not_of(' ');
      const auto [at, fresh] = spelt.emplace(folded(first == std::string::npos ? "" : level.substr(first, last - first + 1)), level);
      if (fresh) continue;
      log::warning("{} and {} of the column '{}' differ in capitals or spaces alone and are taken for two: write them alike if they are one",
                   quoted(at->second), quoted(level), name);
      break;
    }
  }
}

}  // namespace

SplitCounts count_split(const Table& obs) {
  return {static_cast<int64_t>(rows_of_split(obs, "train").size()), static_cast<int64_t>(rows_of_split(obs, "validation").size()),
          static_cast<int64_t>(rows_of_split(obs, "holdout").size())};
}

SplitCounts assign_split(Table& obs, const SplitOptions& options) {
  auto check_share = [](double share, const char* option) {
    if (!(share >= 0 && share < 1)) fail_usage(fmt::format("{} is no share", share), option, "give a number in [0, 1)");
  };
  check_share(options.holdout, "--holdout");
  check_share(options.validation, "--validation");
  const std::vector<std::string> donors = donors_of(obs);
  warn_about_spelling(obs);
  note_cohorts(obs);
  if (obs.find("split")) {
    const SplitCounts counts = count_split(obs);
    std::unordered_map<std::string, std::string> side_of;
    const Column& split = obs.at("split");
    int64_t straddling = 0;
    for (int64_t r = 0; r < obs.rows(); ++r) {
      const auto [at, fresh] = side_of.emplace(donors[static_cast<size_t>(r)], split.text(r));
      straddling += !fresh && at->second != split.text(r);
    }
    if (straddling > 0)
      log::warning("the existing split puts {} samples on another side than their donor's first sample: results will look better than they are", straddling);
    if (!options.from.empty()) log::warning("the column 'split' exists and is kept; --split-from is not used");
    if (options.by_sample) log::warning("the column 'split' exists and is kept; no samples are drawn (--split sample)");
    return counts;
  }
  if (!options.by_sample) warn_about_patients(obs);
  const std::vector<std::string>& units = options.by_sample ? obs.keys : donors;
  std::unordered_map<std::string, int32_t> side_of;
  if (!options.from.empty()) {
    const Table other = read_obs(options.from);
    const Column& split = other.at("split");
    (void)rows_of_split(other, "train");  // checks every value
    const std::vector<std::string> other_units = options.by_sample ? other.keys : donors_of(other);
    std::unordered_map<std::string, int32_t> known;
    for (int64_t r = 0; r < other.rows(); ++r) {
      const std::string side = split.text(r);
      const int32_t code = side == "holdout" ? holdout : side == "validation" ? validation : train;
      // A donor on several sides there: held out wins, so that nothing held out is trained on here.
      auto [at, fresh] = known.emplace(other_units[static_cast<size_t>(r)], code);
      if (!fresh) at->second = std::max(at->second, code);
    }
    for (const std::string& unit : units)
      if (const auto at = known.find(unit); at != known.end()) side_of.emplace(unit, at->second);
    if (side_of.empty())
      fail_input(fmt::format("no {} of the matrix is in the split", options.by_sample ? "sample" : "donor"),
                 fmt::format("{}, {} where the matrix has {}", quoted(options.from, 400), quoted(other_units.front()), quoted(units.front())),
                 "both files need the same donor names");
  }
  // Of several cohorts the first by name, whatever the order of the file; a known one before none.
  std::map<std::string, std::string> cohort_of;
  const Column* cohort = obs.find("cohort");
  for (int64_t r = 0; r < obs.rows(); ++r) {
    const std::string& unit = units[static_cast<size_t>(r)];
    if (side_of.count(unit)) continue;
    const std::string name = cohort ? cohort->text(r) : std::string();
    const auto [at, fresh] = cohort_of.emplace(unit, name);
    if (!fresh && !name.empty() && (at->second.empty() || name < at->second)) at->second = name;
  }
  std::map<std::string, std::vector<Unit>> cohorts;
  for (const auto& [unit, name] : cohort_of) cohorts[name].push_back({unit, stable_hash(unit.data(), unit.size(), options.seed)});
  const size_t drawn = cohort_of.size();
  if (!options.from.empty() && drawn > 0)
    log::info("{} {}s are not in {}: drawn at random", drawn, options.by_sample ? "sample" : "donor", quoted(options.from, 400));
  draw(cohorts, options, side_of);
  std::vector<int32_t> sides;
  for (const std::string& unit : units) sides.push_back(side_of.at(unit));
  obs.set(split_column(std::move(sides)));
  return count_split(obs);
}

}  // namespace panvae::data
