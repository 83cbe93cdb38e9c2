// Batch effects and covariates that the preprocessing removes from logs.
#include "data/batch_effects.h"

#include <cmath>

#include "data/preprocess.h"
#include "support.h"
#include "tests/base/warnings.h"

namespace panvae::data::test {
namespace {

// Coefficients of the batch in logs of two genes, steps before and after left out.
std::vector<double> coefficients(const Dataset<double>& data, const PreprocessOptions& options) {
  Dataset<double> d = data;
  PreprocessOptions o = options;
  o.input_is_log = o.fit_on_all = true;
  o.quantile = false;
  o.variance.kind = VarianceFilter::Kind::none;
  Preprocessor p;
  p.fit(d, o);
  return p.frozen().arrays.at("batch_coefficients").values;
}

Dataset<double> logs_of_two_batches() {
  RowMatrix<double> x(8, 2);
  x << 1, 9, 2, 7, 4, 8, 3, 5, 6, 4, 8, 2, 7, 1, 9, 3;
  Dataset<double> d = dataset(x);
  d.kind = "log";
  d.obs.set(factor_from_text("batch", {"1", "2", "1", "2", "1", "2", "1", "1"}));
  d.obs.set(factor_from_text("cohort", {"0", "0", "1", "1", "2", "2", "2", "1"}));
  d.obs.set(numeric_column("age", {50, 41, 62, 57, 70, 38, 44, 66}));
  return d;
}

void expect_same(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-12) << i;
}

// Without anything else half the difference of the batches' means: five samples against three.
TEST(BatchEffects, AreHalfTheDifferenceOfTwoMeans) {
  PreprocessOptions o;
  o.batch_keys = {"batch"};
  expect_same(coefficients(logs_of_two_batches(), o), {0.5 * (27.0 / 5 - 13.0 / 3), 0.5 * (25.0 / 5 - 14.0 / 3)});
}

// Numbers of batches and of cohorts are names, not amounts.
TEST(BatchEffects, NumberedBatchesAndCohortsAreFactors) {
  const Dataset<double> named = logs_of_two_batches();
  Dataset<double> numbered = named;
  std::vector<double> batch, cohort;
  for (int64_t r = 0; r < named.samples(); ++r) {
    batch.push_back(std::stod(named.obs.at("batch").text(r)));
    cohort.push_back(std::stod(named.obs.at("cohort").text(r)));
  }
  numbered.obs.set(numeric_column("batch", batch));
  numbered.obs.set(numeric_column("cohort", cohort));
  PreprocessOptions o;
  o.batch_keys = {"batch"};
  expect_same(coefficients(numbered, o), coefficients(named, o));
  o.preserve = {"cohort"};
  expect_same(coefficients(numbered, o), coefficients(named, o));
}

// A missing age is the mean of the others, a missing log the mean of its gene.
TEST(BatchEffects, MissingValuesAreMeans) {
  const Dataset<double> whole = logs_of_two_batches();
  PreprocessOptions o;
  o.batch_keys = {"batch"};
  o.preserve = {"age"};
  Dataset<double> filled = whole, holes = whole;
  std::vector<double> age = whole.obs.at("age").number;
  age[2] = std::nan("");
  holes.obs.set(numeric_column("age", age));
  age[2] = (50 + 41 + 57 + 70 + 38 + 44 + 66) / 7.0;
  filled.obs.set(numeric_column("age", age));
  expect_same(coefficients(holes, o), coefficients(filled, o));
  holes = filled = whole;
  holes.x(3, 1) = std::nan("");
  filled.x(3, 1) = (9 + 7 + 8 + 4 + 2 + 1 + 3) / 7.0;
  expect_same(coefficients(holes, o), coefficients(filled, o));
}

TEST(BatchEffects, ColumnsThatAreNoTerms) {
  Table obs = logs_of_two_batches().obs;
  const std::vector<int64_t> rows = range(8);
  obs.set(numeric_column("year", std::vector<double>(8, 2020)));
  obs.set(factor_from_text("site", std::vector<std::string>(8, "A")));
  {
    const panvae::test::Warnings said;
    const BatchEffects effects(obs, rows, {"batch", "site"}, {"year", "age"});
    EXPECT_EQ(effects.columns(), 2);
    ASSERT_EQ(effects.terms().size(), 2u);
    EXPECT_EQ(effects.terms()[1].name, "age");
    EXPECT_EQ(said.lines.size(), 2u) << "what does not vary is said";
  }
  expect_names(error_of([&] { BatchEffects(obs, rows, {"batch"}, {"batch"}); }, ErrorCode::usage), {"'batch' is named twice", "--covariate"});
  obs.set(numeric_column("age", {50, 41, 62, INFINITY, 70, 38, 44, 66}));
  expect_names(error_of([&] { BatchEffects(obs, rows, {}, {"age"}); }), {"infinite covariate", "column 'age'"});
}

// A missing level or number is counted; frozen coefficients are one row for each column of the terms.
TEST(BatchEffects, FrozenOnesAndMissingValues) {
  Dataset<double> d = logs_of_two_batches();
  BatchEffects effects(d.obs, range(8), {"batch"}, {"age"});
  effects.fit(d.x, d.obs, range(8), {});
  const RowMatrix<double>& c = effects.coefficients();
  const std::vector<double> values(c.data(), c.data() + c.size());
  EXPECT_EQ(BatchEffects::from(effects.settings(), {{2, 2}, values}).columns(), 2);
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{4}, {1, 4}, {4, 1}})
    expect_names(error_of([&] { BatchEffects::from(effects.settings(), {shape, values}); }), {"do not fit their terms", "damaged"});
  std::vector<double> age = d.obs.at("age").number;
  age[2] = std::nan("");
  d.obs.set(numeric_column("age", age));
  d.obs.set(factor_from_text("batch", {"1", "2", "", "2", "", "2", "1", "1"}));
  int64_t missing = 0;
  const Eigen::MatrixXd encoded = effects.encode(d.obs, UnknownBatch::error, missing);
  EXPECT_EQ(missing, 3);
  EXPECT_EQ(encoded.row(2).norm(), 0);
}

TEST(BatchEffects, ColumnsWhoseNamesSayBatch) {
  const auto like = [](const std::string& name, const std::vector<std::string>& cells) {
    Table obs;
    for (size_t r = 0; r < cells.size(); ++r) obs.keys.push_back(fmt::format("s{}", r));
    obs.set(factor_from_text(name, cells));
    return columns_like_batches(obs) == std::vector<std::string>{name};
  };
  const std::vector<std::string> two = {"a", "a", "b", "b", "a", "b", "a", "b"};
  for (const char* name : {"batch", "Plate", "seq_run", "run_date", "sequencing_centre_id", "site"}) EXPECT_TRUE(like(name, two)) << name;
  for (const char* name : {"trunk", "website", "planet", "age"}) EXPECT_FALSE(like(name, two)) << name;
  EXPECT_FALSE(like("batch", std::vector<std::string>(8, "a"))) << "does not vary";
  EXPECT_TRUE(like("batch", {"a", "b", "c", "d", "a", "b", "c", "d"}));
  EXPECT_FALSE(like("batch", {"a", "b", "c", "d", "e", "b", "c", "d"})) << "a level of its own for most samples";
}

// A covariate of numbers stays one: a cell such as '90+' is refused by its sample, wherever the split puts it.
TEST(BatchEffects, NumbersBesideTextAreNoLevels) {
  Table obs;
  std::vector<std::string> ages, groups;
  for (int64_t i = 0; i < 14; ++i) {
    obs.keys.push_back("s" + std::to_string(i + 1));
    ages.push_back(i == 5 ? "" : i == 12 ? "90+" : std::to_string(40 + i));
    groups.push_back(i % 3 == 0 ? "1" : i % 3 == 1 ? "2" : "unknown");
  }
  obs.set(column_from_text("age", ages));
  obs.set(column_from_text("group", groups));
  for (const std::vector<int64_t>& rows : {range(14), range(12)})
    expect_names(error_of([&] { BatchEffects(obs, rows, {}, {"age"}); }), {"'90+' is no number", "'s13'", "'age'"});
  EXPECT_EQ(BatchEffects(obs, range(14), {"age"}, {}).columns(), 13);
  EXPECT_EQ(BatchEffects(obs, range(14), {}, {"group"}).columns(), 2);
}

TEST(BatchEffects, AsManyEffectsAsSamplesAreSaid) {
  Dataset<double> d = logs_of_two_batches();
  PreprocessOptions o;
  o.batch_keys = {"plate"};
  d.obs.set(factor_from_text("plate", {"a", "b", "c", "d", "e", "f", "g", "g"}));
  {
    const panvae::test::Warnings said;
    coefficients(d, o);
    EXPECT_TRUE(said.lines.empty());
  }
  d.obs.set(factor_from_text("plate", {"a", "b", "c", "d", "e", "f", "g", "h"}));
  const panvae::test::Warnings said;
  coefficients(d, o);
  ASSERT_EQ(said.lines.size(), 1u);
  EXPECT_NE(said.lines[0].find("as many effects as training samples (8)"), std::string::npos) << said.lines[0];
}

}  // namespace
}  // namespace panvae::data::test
