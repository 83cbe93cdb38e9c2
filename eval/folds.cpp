#include "eval/folds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/philox.h"
#include "eval/too_few.h"

namespace panvae::eval {

namespace {

struct Group {
  std::string name;
  std::vector<int64_t> count;  // [classes]
  std::vector<int64_t> samples;
  double imbalance = 0;  // n * variance of count: orders as the sd does
  uint64_t hash = 0;
};

// Per class, the sum over folds of its shares and of their squares: sd over folds without a loop over folds.
struct Shares {
  std::vector<double> s1, s2;  // [classes]
};

double sd(double s1, double s2, double folds) {
  return std::sqrt(std::max(0.0, s2 - s1 * s1 / folds) / folds);
}

}  // namespace

std::vector<int32_t> stratified_group_folds(const std::vector<std::string>& group, std::span<const int32_t> label, int32_t classes, int n_folds,
                                            uint64_t seed) {
  PV_CHECK(group.size() == label.size(), "stratified_group_folds: {} groups, {} labels", group.size(), label.size());
  PV_CHECK(n_folds >= 2, "stratified_group_folds: {} folds", n_folds);
  const size_t c_count = static_cast<size_t>(classes), f_count = static_cast<size_t>(n_folds);
  std::map<std::string, Group> by_name;
  std::vector<int64_t> class_total(c_count, 0);
  for (size_t i = 0; i < group.size(); ++i) {
    PV_CHECK(label[i] >= 0 && label[i] < classes, "stratified_group_folds: class {} of {}", label[i], classes);
    Group& g = by_name[group[i]];
    if (g.count.empty()) g.count.assign(c_count, 0), g.name = group[i];
    ++g.count[static_cast<size_t>(label[i])];
    ++class_total[static_cast<size_t>(label[i])];
    g.samples.push_back(static_cast<int64_t>(i));
  }
  if (by_name.size() < f_count)
    throw TooFew(fmt::format("{} donors cannot be dealt to {} folds", by_name.size(), n_folds), {}, "use fewer --folds, or more donors");
  std::vector<Group> groups;
  for (auto& [name, g] : by_name) {
    double sum = 0, squares = 0;
    for (int64_t k : g.count) sum += static_cast<double>(k), squares += static_cast<double>(k * k);
    g.imbalance = squares - sum * sum / static_cast<double>(classes);
    g.hash = stable_hash(name.data(), name.size(), seed);
    groups.push_back(std::move(g));
  }
  std::sort(groups.begin(), groups.end(), [](const Group& a, const Group& b) {
    if (a.imbalance != b.imbalance) return a.imbalance > b.imbalance;
    return a.hash != b.hash ? a.hash < b.hash : a.name < b.name;
  });

  std::vector<int32_t> fold(group.size(), -1);
  std::vector<double> share(f_count * c_count, 0);  // [folds, classes]
  std::vector<int64_t> fold_size(f_count, 0);
  Shares total{std::vector<double>(c_count, 0), std::vector<double>(c_count, 0)};
  const double folds = static_cast<double>(n_folds);
  for (const Group& g : groups) {
    throw_if_interrupted();
    size_t best = 0;
    double best_value = std::numeric_limits<double>::infinity();
    for (size_t f = 0; f < f_count; ++f) {
      // Only the classes of this group change; the others add the same to every fold's value.
      double value = 0;
      for (size_t c = 0; c < c_count; ++c) {
        if (!g.count[c]) continue;
        const double add = static_cast<double>(g.count[c]) / static_cast<double>(class_total[c]), old = share[f * c_count + c];
        value += sd(total.s1[c] + add, total.s2[c] + add * (2 * old + add), folds) - sd(total.s1[c], total.s2[c], folds);
      }
      const double tolerance = 1e-12;
      if (value < best_value - tolerance || (value <= best_value + tolerance && fold_size[f] < fold_size[best])) best = f, best_value = value;
    }
    for (size_t c = 0; c < c_count; ++c) {
      if (!g.count[c]) continue;
      const double add = static_cast<double>(g.count[c]) / static_cast<double>(class_total[c]);
      double& s = share[best * c_count + c];
      total.s1[c] += add;
      total.s2[c] += add * (2 * s + add);
      s += add;
    }
    for (int64_t i : g.samples) fold[static_cast<size_t>(i)] = static_cast<int32_t>(best);
    fold_size[best] += static_cast<int64_t>(g.samples.size());
  }
  return fold;
}

std::vector<int32_t> folds_of_column(const data::Table& obs, const std::string& key, const std::vector<int64_t>& rows) {
  const data::Column& column = obs.at(key);
  std::vector<int32_t> fold;
  for (int64_t r : rows) {
    const std::string where = fmt::format("column {}, sample {}", panvae::quoted(key), panvae::quoted(obs.keys[static_cast<size_t>(r)]));
    if (column.missing(r)) fail_input("a sample without a fold", where, "give every evaluated sample a fold, or leave it out with --where");
    // Folds kept as categories in h5ad are factors whose levels are numbers.
    double value = std::numeric_limits<double>::quiet_NaN();
    if (column.numeric) {
      value = column.number[static_cast<size_t>(r)];
    } else {
      const std::string text = column.text(r);
      if (text == "holdout") value = 0;
      if (text == "train" || text == "validation") value = 1;
      if (!text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string::npos) value = std::stod(text);
    }
    if (!(value >= 0 && value < 1e9 && value == std::floor(value)))
      fail_input(fmt::format("{} is no fold", panvae::quoted(column.text(r))), where, "folds are whole numbers from 0, or train, validation and holdout");
    fold.push_back(static_cast<int32_t>(value));
  }
  return fold;
}

}  // namespace panvae::eval
