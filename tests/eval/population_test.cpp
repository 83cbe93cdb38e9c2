#include "eval/population.h"

#include <cmath>
#include <numeric>

#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using test::all_rows;
using test::set_factor;
using test::set_number;

data::Table table(const std::string& prefix, const std::vector<std::string>& cohort, const std::vector<double>& age = {}) {
  data::Table t;
  for (size_t i = 0; i < cohort.size(); ++i) t.keys.push_back(fmt::format("{}{:03d}", prefix, i));
  set_factor(t, "cohort", cohort);
  if (!age.empty()) set_number(t, "age", age);
  return t;
}

std::vector<std::string> repeated(const std::vector<std::pair<std::string, int>>& counts) {
  std::vector<std::string> out;
  for (const auto& [level, n] : counts) out.insert(out.end(), static_cast<size_t>(n), level);
  return out;
}

// R 4.2.2: ks.test(a, b, exact = FALSE), which ends the series of p at terms below 1e-6: 0.322885 where the whole series, computed
// apart in doubles, gives 0.322871.
TEST(Population, KolmogorovSmirnovAsInR) {
  const std::vector<double> a = {50, 61, 61, 72, 45, 38, 80, 55}, b = {40, 41, 42, 61, 50, 52, 39, 47, 66, 44, 35};
  const AgeComparison c = compare_numbers(a, b);
  EXPECT_NEAR(c.ks, 0.44318181818181823, 1e-15);
  EXPECT_NEAR(c.p, 0.3228714776461796, 1e-12);
  EXPECT_NEAR(c.p, 0.32288462433464882, 2e-5);
  std::vector<double> later = a;
  for (double& x : later) x += 30;
  EXPECT_NEAR(compare_numbers(a, later).ks, 0.75, 1e-15);
  EXPECT_NEAR(compare_numbers(a, later).p, 0.0222179626165252, 1e-9);
  EXPECT_EQ(compare_numbers(a, a).ks, 0);
  EXPECT_EQ(compare_numbers(a, a).p, 1);
  const AgeComparison none = compare_numbers(a, {std::nan("")});
  EXPECT_EQ(none.n_b, 0);
  EXPECT_TRUE(std::isnan(none.ks) && std::isnan(none.p));
  EXPECT_EQ(compare_numbers({1}, {2}).ks, 1);
}

// R 4.2.2: chisq.test(x, correct = FALSE)
TEST(Population, ChiSquaredAsInR) {
  const data::Table a = table("a", repeated({{"X", 10}, {"Y", 5}, {"Z", 3}, {"", 4}})), b = table("b", repeated({{"Z", 8}, {"X", 20}, {"Y", 30}}));
  const PopulationComparison c = compare_populations(a, all_rows(a.rows()), b, all_rows(b.rows()));
  ASSERT_EQ(c.factors.size(), 1u);
  const FactorComparison& f = c.factors[0];
  EXPECT_EQ(f.levels, (std::vector<std::string>{"X", "Y", "Z"}));
  EXPECT_EQ(f.count_a, (std::vector<int64_t>{10, 5, 3}));
  EXPECT_NEAR(f.chi2, 3.3341626445074719, 1e-12);
  EXPECT_EQ(f.df, 2);
  EXPECT_NEAR(f.p, 0.18879730074890536, 1e-12);
  EXPECT_EQ(f.low_cells, 1);
  EXPECT_EQ(compare_populations(b, all_rows(b.rows()), a, all_rows(a.rows())).factors[0].low_cells, 1);
  EXPECT_FALSE(c.has_age);
  const data::Table d = table("a", repeated({{"f", 12}, {"m", 7}})), e = table("b", repeated({{"f", 30}, {"m", 51}}));
  const FactorComparison sex = compare_populations(d, all_rows(19), e, all_rows(81)).factors[0];
  EXPECT_NEAR(sex.chi2, 4.3105848913471423, 1e-12);
  EXPECT_NEAR(sex.p, 0.03787593705254011, 1e-12);
}

TEST(Population, LevelsAreComparedWithoutRegardToCase) {
  const data::Table a = table("a", {"BRCA", "brca", "LUAD"}), b = table("b", {"Brca", "luad", "KIRC"});
  const FactorComparison f = compare_populations(a, all_rows(3), b, all_rows(3)).factors.at(0);
  EXPECT_EQ(f.levels, (std::vector<std::string>{"BRCA", "KIRC", "LUAD"}));
  EXPECT_EQ(f.count_a, (std::vector<int64_t>{2, 0, 1}));
  EXPECT_EQ(f.count_b, (std::vector<int64_t>{1, 1, 1}));
}

TEST(Population, DonorsCountOnce) {
  data::Table a = table("a", {"X", "X", "Y", "X"}, {50, 50, 60, 50}), b = table("b", {"X", "Y"}, {50, 60});
  set_factor(a, "donor", {"d", "d", "e", "d"});
  const PopulationComparison c = compare_populations(a, all_rows(4), b, all_rows(2));
  EXPECT_EQ(c.donors_a, 2);
  // A donor's first sample by name, in whatever order they come.
  set_factor(a, "cohort", {"X", "Z", "Y", "Z"});
  const std::vector<int64_t> backwards = {3, 2, 1, 0};
  EXPECT_EQ(compare_populations(a, backwards, b, all_rows(2)).factors[0].levels, (std::vector<std::string>{"X", "Y"}));
  EXPECT_EQ(c.factors[0].count_a, (std::vector<int64_t>{1, 1}));
  EXPECT_EQ(c.factors[0].chi2, 0);
  EXPECT_EQ(c.age.ks, 0);
  const Json j = to_json(c);
  EXPECT_EQ(j["age"]["p"], 1);
  EXPECT_EQ(j["cohort"]["reference_counts"], (std::vector<int64_t>{1, 1}));
  const PopulationComparison empty = compare_populations(a, {}, b, all_rows(2));
  EXPECT_EQ(empty.donors_a, 0);
  EXPECT_EQ(to_json(empty)["cohort"]["chi2"], nullptr);
  EXPECT_EQ(to_json(empty)["age"]["ks"], nullptr);
  const PopulationComparison one = compare_populations(a, all_rows(2), b, std::vector<int64_t>{0});
  EXPECT_TRUE(std::isnan(one.factors[0].chi2));  // one level: nothing to compare
}

// All that is compared where the tables have it, each number in its place; 5 expected of a level are enough.
TEST(Population, AgesAndEachFactorThatBothHave) {
  data::Table a = table("a", repeated({{"X", 5}, {"Y", 5}}), {40, 40, 40, 40, 40, 50, 50, 50, 50, 50});
  data::Table b = table("b", repeated({{"X", 5}, {"Y", 5}}), {60, 60, 60, 60, 60, 60, 60, 60, 60, 60});
  set_factor(a, "sex", repeated({{"f", 4}, {"m", 6}})), set_factor(b, "sex", repeated({{"f", 5}, {"m", 5}}));
  set_factor(a, "ethnicity", repeated({{"p", 10}})), set_factor(b, "ethnicity", repeated({{"p", 8}, {"q", 2}}));
  const Json j = to_json(compare_populations(a, all_rows(10), b, all_rows(10)));
  EXPECT_EQ(j["age"]["mean"], 45);
  EXPECT_EQ(j["age"]["reference_mean"], 60);
  EXPECT_EQ(j["age"]["ks"], 1);
  const auto counts = [&](const char* name) {
    return std::vector<Json>{j[name]["levels"], j[name]["counts"], j[name]["reference_counts"], j[name]["low_cells"]};
  };
  EXPECT_EQ(counts("cohort"), (std::vector<Json>{{"X", "Y"}, {5, 5}, {5, 5}, 0}));
  EXPECT_EQ(counts("sex"), (std::vector<Json>{{"f", "m"}, {4, 6}, {5, 5}, 2}));
  EXPECT_EQ(counts("ethnicity"), (std::vector<Json>{{"p", "q"}, {10, 0}, {8, 2}, 2}));
  set_factor(b, "age", repeated({{"60s", 10}}));
  EXPECT_FALSE(compare_populations(a, all_rows(10), b, all_rows(10)).has_age) << "no numbers";
  set_factor(b, "age", repeated({{"60", 10}}));
  EXPECT_EQ(to_json(compare_populations(a, all_rows(10), b, all_rows(10)))["age"], j["age"]) << "a factor of numbers, as h5ad files may have";
}

}  // namespace
}  // namespace panvae::eval
