#include "eval/warnings.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "base/error.h"

namespace panvae::eval {

void add_warning(std::vector<std::string>& warnings, std::string text) {
  if (!text.empty()) warnings.push_back(std::move(text));
}

std::string warn_few_samples(int64_t samples, int64_t dimensions, const std::string& who, const std::string& what) {
  if (samples >= dimensions) return {};
  return fmt::format("{} {} samples with {} dimensions: the {} says more about the number of samples than about the embedding", who, samples, dimensions, what);
}

std::string warn_shared_donors(std::span<const std::string> donor, std::span<const int32_t> fold) {
  std::map<std::string, std::set<int32_t>> folds_of;
  for (size_t i = 0; i < donor.size(); ++i) folds_of[donor[i]].insert(fold[i]);
  int64_t shared = 0;
  std::string example;
  for (const auto& [name, folds] : folds_of)
    if (folds.size() > 1 && shared++ == 0) example = name;
  if (shared == 0) return {};
  return fmt::format("{} donors have samples in more than one fold ({} for one): a model tested on donors it has seen scores too high", shared,
                     panvae::quoted(example));
}

std::string warn_unpermuted(std::span<const std::string> donor) {
  std::map<std::string_view, int64_t> samples_of;
  for (const std::string& name : donor) ++samples_of[name];
  std::map<int64_t, int64_t> donors_of_size;
  for (const auto& [name, samples] : samples_of) ++donors_of_size[samples];
  int64_t donors = 0, samples = 0;
  for (const auto& [size, count] : donors_of_size)
    if (count == 1) ++donors, samples += size;
  if (20 * samples <= static_cast<int64_t>(donor.size())) return {};
  return fmt::format(
      "{} as many samples as no other and keep{} labels in every permutation: {} of {} samples, so what is to be chance is nearer to the score than chance is",
      donors == 1 ? "a donor has" : fmt::format("{} donors have", donors), donors == 1 ? "s its" : " their", samples, donor.size());
}

std::string warn_aliased(const data::Table& obs, std::span<const int64_t> rows, std::span<const std::string> label) {
  const data::Column* dataset = obs.find("dataset");
  if (!dataset) return {};
  // Parts grow by union: each cohort and each dataset begins as its own.
  std::map<std::string, std::string> parent;
  const auto root = [&](std::string name) {
    while (parent.at(name) != name) name = parent.at(name);
    return name;
  };
  std::set<std::string> datasets;
  std::map<std::string, std::string> cohort_of_node;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (dataset->missing(rows[i]) || label[i].empty()) continue;
    const std::string c = fmt::format("c{}", label[i]), d = fmt::format("d{}", dataset->text(rows[i]));
    datasets.insert(d);
    parent.emplace(c, c);
    parent.emplace(d, d);
    const std::string a = root(c), b = root(d);
    if (a != b) parent[std::max(a, b)] = std::min(a, b);
  }
  std::map<std::string, std::vector<std::string>> cohorts_of;  // part -> cohorts
  for (const auto& [name, up] : parent)
    if (name.front() == 'c') cohorts_of[root(name)].push_back(name.substr(1));
  if (cohorts_of.size() < 2) return {};
  // The smallest part is the example: it is the one that stands apart.
  const auto least = std::min_element(cohorts_of.begin(), cohorts_of.end(), [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  std::string names;
  for (size_t i = 0; i < least->second.size() && i < 5; ++i) names += (i ? ", " : "") + panvae::quoted(least->second[i]);
  if (least->second.size() > 5) names += fmt::format(" and {} more", least->second.size() - 5);
  return fmt::format(
      "cohorts are aliased with datasets: the {} datasets fall into {} parts that share no cohort ({} stand apart, for one), so telling these "
      "cohorts apart may be telling their datasets apart",
      datasets.size(), cohorts_of.size(), names);
}

std::string warn_nearly_aliased(const data::Table& obs, std::span<const int64_t> rows) {
  const data::Column *cohort = obs.find("cohort"), *dataset = obs.find("dataset");
  if (!cohort || !dataset) return {};
  std::map<std::string, std::map<std::string, int64_t>> count;
  std::set<std::string> datasets;
  int64_t n = 0, main = 0;
  for (int64_t r : rows)
    if (!cohort->missing(r) && !dataset->missing(r)) ++count[cohort->text(r)][dataset->text(r)], datasets.insert(dataset->text(r)), ++n;
  for (const auto& [name, of] : count) {
    int64_t largest = 0;
    for (const auto& [d, k] : of) largest = std::max(largest, k);
    main += largest;
  }
  if (datasets.size() < 2 || count.size() < 2 || static_cast<double>(main) < 0.95 * static_cast<double>(n)) return {};
  return fmt::format(
      "cohorts are nearly aliased with datasets: {:.1f} % of the samples are in the dataset where most of their cohort is, so a difference of {} "
      "datasets may pass for one of cohorts: compare within cohorts",
      100 * static_cast<double>(main) / static_cast<double>(n), datasets.size());
}

}  // namespace panvae::eval
