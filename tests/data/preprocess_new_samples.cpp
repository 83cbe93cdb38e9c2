// New samples under a fit that exists: what they lack, and what becomes of it.
#include <cmath>
#include <limits>

#include "data/preprocess.h"
#include "support.h"

namespace panvae::data::test {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

// Logs of six samples and four genes, of two batches and of several ages.
Dataset<double> logs() {
  RowMatrix<double> x(6, 4);
  x << 1, 9, 4, 3, 2, 7, 8, 1, 4, 8, 5, 6, 3, 5, 1, 9, 6, 4, 2, 2, 8, 2, 7, 5;
  Dataset<double> d = dataset(x);
  d.kind = "log";
  d.obs.set(factor_from_text("batch", {"1", "2", "1", "2", "1", "2"}));
  d.obs.set(numeric_column("age", {50, 41, 62, 57, 70, 38}));
  return d;
}

Preprocessor fit_on(Dataset<double> d, PreprocessOptions o) {
  o.input_is_log = d.kind == "log";
  o.fit_on_all = true;
  o.quantile = false;
  o.variance.kind = VarianceFilter::Kind::none;
  Preprocessor p;
  p.fit(d, o);
  return p;
}

TEST(PreprocessNewSamples, HalfOfTheFeaturesAreEnough) {
  const Preprocessor p = fit_on(logs(), {});
  Dataset<double> half = logs(), less = logs();
  select_features(half, {1, 3});
  EXPECT_EQ(p.apply(half).coverage, 0.5);
  EXPECT_EQ(half.x.col(3), logs().x.col(3));
  select_features(less, {1});
  expect_names(error_of([&] { p.apply(less); }), {"only 1 of 4 features", "1 features; absent are 'g1'"});
}

// The names shown are of features that were not found, on either side.
TEST(PreprocessNewSamples, VersionsOfIdentifiersAreTold) {
  const auto named = [](const std::vector<std::string>& names) {
    Dataset<double> d = logs();
    d.var.keys = names;
    return d;
  };
  const Preprocessor p = fit_on(named({"ENSG01.1", "ENSG02.1", "ENSG03.12", "ENSG04.2"}), {});
  Dataset<double> bare = named({"ENSG01.1", "ENSG02", "ENSG03", "ENSG04"}), others = named({"ENSG01.1", "TP53", "BRCA1", "AR"});
  expect_names(error_of([&] { p.apply(bare); }),
               {"only 1 of 4 features", "such as 'ENSG02' where the model has 'ENSG02.1'", "versions of Ensembl identifiers (the numbers behind the point)"});
  const std::string message = error_of([&] { p.apply(others); });
  expect_names(message, {"such as 'TP53' where the model has 'ENSG02.1'", "same annotation"});
  EXPECT_EQ(message.find("versions"), std::string::npos) << message;
}

TEST(PreprocessNewSamples, EmptyOnesAreCounted) {
  RowMatrix<double> x(4, 3);
  x << 5, 6, 1, 2, 8, 7, 4, 1, 6, 9, 3, 5;
  const Preprocessor p = fit_on(dataset(x), {});
  x.row(0).setZero();
  x.row(2).setZero();
  Dataset<double> d = dataset(x);
  EXPECT_EQ(p.apply(d).dropped_samples, 2);
  EXPECT_EQ(d.obs.keys, (std::vector<std::string>{"s2", "s4"}));
}

// The effect of a covariate is that of its distance from the training mean, so a sample of unknown age keeps its values.
TEST(PreprocessNewSamples, AnUnknownAgeIsTheMean) {
  PreprocessOptions o;
  o.covariates = {"age"};
  const Preprocessor p = fit_on(logs(), o);
  Dataset<double> d = logs();
  d.obs.set(numeric_column("age", {50, kMissing, 62, (50 + 41 + 62 + 57 + 70 + 38) / 6.0, 70, 38}));
  p.apply(d);
  EXPECT_GT((d.x.row(0) - logs().x.row(0)).cwiseAbs().maxCoeff(), 0.01);
  for (const int64_t unchanged : {1, 3}) EXPECT_LT((d.x.row(unchanged) - logs().x.row(unchanged)).cwiseAbs().maxCoeff(), 1e-12) << unchanged;
}

// A level that training samples do not have is an error, no level at all is none: the mean over the levels.
TEST(PreprocessNewSamples, AMissingBatchIsNoUnknownOne) {
  PreprocessOptions o;
  o.batch_keys = {"batch"};
  const Preprocessor p = fit_on(logs(), o);
  Dataset<double> d = logs(), unknown = logs();
  d.obs.set(factor_from_text("batch", {"1", "", "1", "2", "1", "2"}));
  p.apply(d);
  EXPECT_GT((d.x.row(0) - logs().x.row(0)).cwiseAbs().maxCoeff(), 0.01);
  EXPECT_EQ(d.x.row(1), logs().x.row(1));
  unknown.obs.set(factor_from_text("batch", {"1", "3", "1", "2", "1", "2"}));
  expect_names(error_of([&] { p.apply(unknown); }), {"'3'", "'batch'", "'s2'", "--unknown-batch zero"});
}

// Training samples without a batch are a level of their own, and so are new ones.
TEST(PreprocessNewSamples, MissingBatchesOfTheFitAreALevel) {
  PreprocessOptions o;
  o.batch_keys = {"batch"};
  Dataset<double> d = logs();
  d.obs.set(factor_from_text("batch", {"1", "", "1", "2", "", "2"}));
  const Preprocessor p = fit_on(d, o);
  EXPECT_EQ(p.frozen().settings.at("batch").at("terms").at(0).at("levels"), (std::vector<std::string>{"(missing)", "1", "2"}));
  p.apply(d);
  // Two samples of each level: its mean becomes that of all.
  for (int64_t g = 0; g < 4; ++g) {
    const double mean = logs().x.col(g).mean();
    EXPECT_NEAR(d.x(1, g) + d.x(4, g), 2 * mean, 1e-12) << g;
    EXPECT_NEAR(d.x(3, g) + d.x(5, g), 2 * mean, 1e-12) << g;
  }
}

}  // namespace
}  // namespace panvae::data::test
