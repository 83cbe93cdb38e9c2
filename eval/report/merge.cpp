// Several results folders as one.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "eval/report/sections.h"

namespace panvae::eval {

namespace {

// The last part of the folder's name, made unique by a number.
std::string name_of(const std::string& folder, std::set<std::string>& taken) {
  std::filesystem::path path(folder);
  if (!path.has_filename()) path = path.parent_path();
  std::string name = path.filename().string();
  if (name.empty() || name == "." || name == "..") name = "results";
  std::string unique = name;
  for (int n = 2; !taken.insert(unique).second; ++n) unique = fmt::format("{}-{}", name, n);
  return unique;
}

bool same(const ResultsData& a, const ResultsData& b) {
  return a.label == b.label && a.modality == b.modality && a.samples == b.samples && a.features == b.features && a.holdout == b.holdout &&
         a.cohorts == b.cohorts;
}

}  // namespace

ReportContent merge(const std::vector<ReportInput>& inputs) {
  ReportContent out;
  Results& all = out.results;
  std::set<std::string> names;
  std::map<std::string, int> ids, labels;
  for (const ReportInput& input : inputs) {
    const Results& r = input.results;
    out.runs.push_back({name_of(input.folder, names), r.program, r.command, r.seed, r.folds, r.seconds, r.peak_memory_bytes});
    for (const ResultsModel& m : r.models) ++ids[m.id], ++labels[m.label];
  }
  std::set<std::string> used;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Results& r = inputs[i].results;
    const std::string& name = out.runs[i].name;
    std::map<std::string, std::string> data_id, model_id;
    for (ResultsData d : r.data) {
      const auto equal = std::find_if(all.data.begin(), all.data.end(), [&](const ResultsData& x) { return same(x, d); });
      if (equal == all.data.end()) {
        const std::string before = d.id;
        while (all.find_data(d.id)) d.id += "-" + std::to_string(i + 1);
        data_id[before] = d.id;
        all.data.push_back(std::move(d));
      } else {
        data_id[d.id] = equal->id;
      }
    }
    for (ResultsModel m : r.models) {
      const std::string before = m.id;
      // Ids name parts of the page only; they are never shown.
      if (ids[m.id] > 1) m.id = fmt::format("{}-{}", m.id, i + 1);
      while (!used.insert(m.id).second) m.id += "-";
      if (labels[m.label] > 1) m.label += fmt::format(" ({})", name);
      if (!m.data.empty()) m.data = data_id.at(m.data);
      model_id[before] = m.id;
      all.models.push_back(std::move(m));
    }
    const auto append = [&](std::vector<ResultsScore>& to, const std::vector<ResultsScore>& from) {
      for (ResultsScore s : from) s.model = model_id.at(s.model), to.push_back(std::move(s));
    };
    append(all.cohort, r.cohort);
    append(all.alignment, r.alignment);
    append(all.survival, r.survival);
    append(all.expression, r.expression);
    for (ResultsTable t : r.tables) t.model = model_id.at(t.model), all.tables.push_back(std::move(t));
    for (const std::string& w : r.warnings) all.warnings.push_back(inputs.size() > 1 ? fmt::format("{}: {}", name, w) : w);
  }
  return out;
}

}  // namespace panvae::eval
