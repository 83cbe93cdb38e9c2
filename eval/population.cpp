#include "eval/population.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "data/read.h"
#include "data/table.h"
#include "eval/distributions.h"

namespace panvae::eval {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// One row per donor.
std::vector<int64_t> one_per_donor(const data::Table& obs, std::span<const int64_t> rows) {
  const std::vector<std::string> donors = data::donors_of(obs);
  std::map<std::string, int64_t> first;
  for (int64_t r : rows) {
    const auto [at, fresh] = first.emplace(donors[static_cast<size_t>(r)], r);
    if (!fresh && obs.keys[static_cast<size_t>(r)] < obs.keys[static_cast<size_t>(at->second)]) at->second = r;
  }
  std::vector<int64_t> out;
  for (const auto& [donor, row] : first) out.push_back(row);
  return out;
}

// Ages of donors, NaN where unknown; nothing without a column `age` of numbers, which may be the levels of a factor of an h5ad.
std::optional<std::vector<double>> ages(const data::Table& obs, const std::vector<int64_t>& donors) {
  const data::Column* age = obs.find("age");
  if (!age) return {};
  std::vector<double> out;
  for (int64_t r : donors) {
    double years = kNaN;
    if (!age->missing(r) && !data::parse_number(age->text(r), years)) return {};
    out.push_back(years);
  }
  return out;
}

double mean(const std::vector<double>& x) {
  double sum = 0;
  for (double v : x) sum += v;
  return x.empty() ? kNaN : sum / static_cast<double>(x.size());
}

FactorComparison compare_factor(const std::string& name, const data::Table& a, const std::vector<int64_t>& rows_a, const data::Table& b,
                                const std::vector<int64_t>& rows_b) {
  struct Level {
    std::string spelling;  // as it is met first
    int64_t a = 0, b = 0;
  };
  std::map<std::string, Level> counts;
  double n_a = 0, n_b = 0;
  const data::Column &of_a = a.at(name), &of_b = b.at(name);
  const auto level_of = [&](const data::Column& column, int64_t r) -> Level& {
    const std::string text = column.text(r);
    Level& level = counts[data::folded(text)];
    if (level.spelling.empty()) level.spelling = text;
    return level;
  };
  for (int64_t r : rows_a)
    if (!of_a.missing(r)) ++level_of(of_a, r).a, ++n_a;
  for (int64_t r : rows_b)
    if (!of_b.missing(r)) ++level_of(of_b, r).b, ++n_b;
  FactorComparison f;
  f.column = name;
  f.chi2 = f.p = kNaN;
  double chi2 = 0;
  for (const auto& [text, level] : counts) {
    f.levels.push_back(level.spelling), f.count_a.push_back(level.a), f.count_b.push_back(level.b);
    const auto x = static_cast<double>(level.a), y = static_cast<double>(level.b);
    const double expected_x = (x + y) * n_a / (n_a + n_b), expected_y = (x + y) * n_b / (n_a + n_b);
    f.low_cells += (expected_x < 5) + (expected_y < 5);
    chi2 += (x - expected_x) * (x - expected_x) / expected_x + (y - expected_y) * (y - expected_y) / expected_y;
  }
  if (counts.size() < 2 || n_a == 0 || n_b == 0) return f;
  f.df = static_cast<int64_t>(counts.size()) - 1;
  f.chi2 = chi2;
  f.p = chi_squared_upper(chi2, static_cast<double>(f.df));
  return f;
}

Json number(double v) {
  return std::isfinite(v) ? Json(v) : Json(nullptr);
}

}  // namespace

AgeComparison compare_numbers(std::vector<double> a, std::vector<double> b) {
  for (std::vector<double>* x : {&a, &b}) {
    std::erase_if(*x, [](double v) { return std::isnan(v); });
    std::sort(x->begin(), x->end());
  }
  AgeComparison out;
  out.n_a = static_cast<int64_t>(a.size()), out.n_b = static_cast<int64_t>(b.size());
  out.mean_a = mean(a), out.mean_b = mean(b);
  out.ks = out.p = kNaN;
  if (a.empty() || b.empty()) return out;
  const auto n = static_cast<double>(a.size()), m = static_cast<double>(b.size());
  double largest = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const double x = std::min(a[i], b[j]);
    while (i < a.size() && a[i] == x) ++i;
    while (j < b.size() && b[j] == x) ++j;
    largest = std::max(largest, std::abs(static_cast<double>(i) / n - static_cast<double>(j) / m));
  }
  out.ks = largest;
  out.p = kolmogorov_upper(largest * std::sqrt(n * m / (n + m)));
  return out;
}

PopulationComparison compare_populations(const data::Table& a, std::span<const int64_t> rows_a, const data::Table& b, std::span<const int64_t> rows_b) {
  const std::vector<int64_t> donors_a = one_per_donor(a, rows_a), donors_b = one_per_donor(b, rows_b);
  PopulationComparison out;
  out.donors_a = static_cast<int64_t>(donors_a.size()), out.donors_b = static_cast<int64_t>(donors_b.size());
  std::optional<std::vector<double>> ages_a = ages(a, donors_a), ages_b = ages(b, donors_b);
  out.has_age = ages_a && ages_b;
  if (out.has_age) out.age = compare_numbers(std::move(*ages_a), std::move(*ages_b));
  for (const char* name : {"cohort", "sex", "ethnicity"})
    if (a.find(name) && b.find(name)) out.factors.push_back(compare_factor(name, a, donors_a, b, donors_b));
  return out;
}

Json to_json(const PopulationComparison& c) {
  Json j = {{"donors", c.donors_a}, {"reference_donors", c.donors_b}};
  if (c.has_age)
    j["age"] = {{"n", c.age.n_a},         {"reference_n", c.age.n_b}, {"mean", number(c.age.mean_a)}, {"reference_mean", number(c.age.mean_b)},
                {"ks", number(c.age.ks)}, {"p", number(c.age.p)}};
  for (const FactorComparison& f : c.factors)
    j[f.column] = {{"levels", f.levels}, {"counts", f.count_a}, {"reference_counts", f.count_b}, {"chi2", number(f.chi2)},
                   {"df", f.df},         {"p", number(f.p)},    {"low_cells", f.low_cells}};
  return j;
}

}  // namespace panvae::eval
