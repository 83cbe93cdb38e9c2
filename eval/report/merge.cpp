// Several results folders as one.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "eval/report/sections.h"

namespace panvae::eval {

namespace {

// The folders' names: their last parts, as many as tell them apart; a folder given twice is numbered.
std::vector<std::string> names_of(const std::vector<ReportInput>& inputs) {
  std::vector<std::vector<std::string>> parts;
  for (const ReportInput& input : inputs) {
    parts.emplace_back();
    for (const auto& part : std::filesystem::path(input.folder).lexically_normal())
      if (const std::string name = part.string(); !name.empty() && name != "." && name != ".." && name != "/") parts.back().push_back(name);
    if (parts.back().empty()) parts.back().push_back("results");
  }
  // What all end in ("results") tells nothing apart.
  const auto ends_alike = [&] { return std::all_of(parts.begin(), parts.end(), [&](const auto& p) { return p.size() > 1 && p.back() == parts[0].back(); }); };
  while (parts.size() > 1 && ends_alike())
    for (std::vector<std::string>& p : parts) p.pop_back();
  std::vector<std::string> names;
  for (const std::vector<std::string>& mine : parts) {
    const auto tail = [](const std::vector<std::string>& path, size_t n) {
      return std::vector<std::string>(path.end() - static_cast<std::ptrdiff_t>(std::min(n, path.size())), path.end());
    };
    size_t n = 1;
    const auto clashes = [&] { return std::count_if(parts.begin(), parts.end(), [&](const auto& other) { return tail(other, n) == tail(mine, n); }) > 1; };
    while (n < mine.size() && clashes()) ++n;
    std::string name;
    for (const std::string& part : tail(mine, n)) {
      if (!name.empty()) name += '/';
      name += part;
    }
    std::string unique = name;
    for (int k = 2; std::find(names.begin(), names.end(), unique) != names.end(); ++k) unique = fmt::format("{}-{}", name, k);
    names.push_back(unique);
  }
  return names;
}

bool same(const ResultsData& a, const ResultsData& b) {
  return a.label == b.label && a.modality == b.modality && a.samples == b.samples && a.features == b.features && a.holdout == b.holdout &&
         a.cohorts == b.cohorts;
}

}  // namespace

ReportContent merge(const std::vector<ReportInput>& inputs) {
  ReportContent out;
  Results& all = out.results;
  const std::vector<std::string> names = names_of(inputs);
  std::map<std::string, int> ids, labels;
  for (const ReportInput& input : inputs) {
    const Results& r = input.results;
    out.runs.push_back({names[out.runs.size()], r.program, r.command, r.seed, r.folds, r.seconds, r.peak_memory_bytes});
    for (const ResultsModel& m : r.models) ++ids[m.id], ++labels[m.label];
  }
  std::set<std::string> used;
  std::vector<size_t> from;  // the input of each data set
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Results& r = inputs[i].results;
    const std::string& name = out.runs[i].name;
    std::map<std::string, std::string> data_id, model_id;
    for (ResultsData d : r.data) {
      // Equal data judged with equal folds: what is judged on them can be compared.
      size_t equal = 0;
      while (equal < all.data.size() && !(same(all.data[equal], d) && out.runs[from[equal]].seed == r.seed && out.runs[from[equal]].folds == r.folds)) ++equal;
      if (equal < all.data.size()) {
        data_id[d.id] = all.data[equal].id;
        continue;
      }
      const std::string before = d.id;
      while (all.find_data(d.id)) d.id += fmt::format("-{}", i + 1);
      data_id[before] = d.id;
      all.data.push_back(std::move(d));
      from.push_back(i);
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
    const auto append = [&](std::vector<ResultsScore>& to, const std::vector<ResultsScore>& scores) {
      for (ResultsScore s : scores) s.model = model_id.at(s.model), to.push_back(std::move(s));
    };
    append(all.cohort, r.cohort);
    append(all.alignment, r.alignment);
    append(all.survival, r.survival);
    append(all.expression, r.expression);
    append(all.pairs, r.pairs);
    for (ResultsTable t : r.tables) t.model = model_id.at(t.model), all.tables.push_back(std::move(t));
    for (const std::string& w : r.warnings) all.warnings.push_back(inputs.size() > 1 ? fmt::format("{}: {}", name, w) : w);
  }
  std::map<std::string, int> data_labels;
  for (const ResultsData& d : all.data) ++data_labels[d.label];
  for (size_t i = 0; i < all.data.size(); ++i)
    if (data_labels[all.data[i].label] > 1) all.data[i].label += fmt::format(" ({})", out.runs[from[i]].name);
  return out;
}

}  // namespace panvae::eval
