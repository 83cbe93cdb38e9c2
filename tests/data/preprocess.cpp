// Preprocessing: filters, frozen application, refusals.
#include "data/preprocess.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/philox.h"
#include "data/simulate.h"
#include "data/variance_filter.h"
#include "data/write.h"
#include "support.h"
#include "tests/base/warnings.h"

namespace panvae::data::test {
namespace {

using Thousands = Files;

SimulatedStudy study() {
  SimulateOptions o;
  o.donors = 90;
  o.genes = 400;
  o.cohorts = 3;
  o.seed = 3;
  return simulate_study(o);
}

PreprocessOptions full() {
  PreprocessOptions o;
  o.batch_keys = {"batch"};
  o.covariates = {"age", "ethnicity"};
  o.preserve = {"cohort"};
  return o;
}

double relative(const RowMatrix<float>& a, const RowMatrix<float>& b) {
  double worst = 0;
  for (int64_t r = 0; r < a.rows(); ++r) worst = std::max(worst, static_cast<double>((a.row(r) - b.row(r)).norm() / b.row(r).norm()));
  return worst;
}

Dataset<float> part(const Dataset<float>& data, const std::vector<int64_t>& rows, const std::vector<int64_t>& columns) {
  Dataset<float> out = data;
  select_samples(out, rows);
  select_features(out, columns);
  return out;
}

class PreprocessApply : public ::testing::TestWithParam<std::pair<bool, bool>> {  // tmm, quantile
 protected:
  PreprocessApply() : raw(study().rna), fitted(raw) {
    PreprocessOptions o = full();
    o.tmm = GetParam().first;
    o.quantile = GetParam().second;
    p.fit(fitted, o);
  }
  Dataset<float> raw, fitted;
  Preprocessor p;
};

TEST_P(PreprocessApply, FrozenStepsGiveWhatFittingGave) {
  Dataset<float> again = raw;
  const PreprocessReport report = p.apply(again);
  EXPECT_EQ(report.coverage, 1);
  EXPECT_EQ(again.var.keys, fitted.var.keys);
  EXPECT_LT(relative(again.x, fitted.x), 1e-6);
}

TEST_P(PreprocessApply, AloneOrAmongOthersAndGenesInAnyOrder) {
  Dataset<float> alone = part(raw, {17}, range(raw.features()));
  p.apply(alone);
  EXPECT_LT(relative(alone.x, fitted.x.row(17)), 1e-5);
  std::vector<int64_t> shuffled = range(raw.features());
  PhiloxSequence random({5, 0, 0});
  for (size_t i = shuffled.size(); i > 1; --i) std::swap(shuffled[i - 1], shuffled[random.below(i)]);
  Dataset<float> mixed = part(raw, {17, 4, 60}, shuffled);
  p.apply(mixed);
  EXPECT_LT(relative(mixed.x.row(0), fitted.x.row(17)), 1e-5);
  EXPECT_LT(relative(mixed.x.row(2), fitted.x.row(60)), 1e-5);
}

TEST_P(PreprocessApply, MissingGenesTakeTrainingMeans) {
  // The most expressed genes go, which is the worst case for library sizes.
  std::vector<int64_t> columns = range(raw.features());
  const Eigen::RowVectorXf sums = raw.x.colwise().sum();
  std::sort(columns.begin(), columns.end(), [&](int64_t a, int64_t b) { return sums[a] > sums[b]; });
  const std::vector<int64_t> gone(columns.begin(), columns.begin() + 4);
  columns.erase(columns.begin(), columns.begin() + 4);
  std::sort(columns.begin(), columns.end());
  Dataset<float> less = part(raw, range(raw.samples()), columns);
  const PreprocessReport report = p.apply(less);
  EXPECT_LT(report.coverage, 1);
  for (int64_t r = 0; r < less.samples(); ++r) {
    const auto a = less.x.row(r).cast<double>(), b = fitted.x.row(r).cast<double>();
    EXPECT_GT(a.dot(b) / a.norm() / b.norm(), 0.99);
    for (int64_t c : gone) EXPECT_EQ(less.x(r, c), static_cast<float>(p.feature_mean()[static_cast<size_t>(c)]));
    // Centred by the training mean a cosine says more. Without quantiles and without TMM factors the scale of a sample
    // hangs on the counts of the genes that are gone.
    if (!GetParam().first && !GetParam().second) continue;
    const Eigen::Map<const Eigen::RowVectorXd> mean(p.feature_mean().data(), less.features());
    EXPECT_GT((a - mean).dot(b - mean) / (a - mean).norm() / (b - mean).norm(), 0.95);
  }
  std::vector<int64_t> few = range(raw.features() / 3);
  Dataset<float> tiny = part(raw, {0, 1}, few);
  expect_names(error_of([&] { p.apply(tiny); }), {"only", "features of the model"});
}

INSTANTIATE_TEST_SUITE_P(Steps, PreprocessApply,
                         ::testing::Values(std::pair{false, true}, std::pair{true, true}, std::pair{false, false}, std::pair{true, false}));

class PreprocessFiles : public Files {};

TEST_F(PreprocessFiles, FrozenSurvivesFiles) {
  const Dataset<float> raw = study().rna;
  Preprocessor p;
  for (const bool quantile : {false, true}) {  // quantiles hide what only scales a sample
    Dataset<float> fitted = raw;
    PreprocessOptions o = full();
    o.tmm = true;
    o.quantile = quantile;
    p.fit(fitted, o);
    write_dataset(path("pp.h5ad"), fitted);
    std::filesystem::create_directories(path("run"));
    SafetensorsWriter writer;
    save_frozen(writer, p.frozen());
    writer.write(path("run/model.safetensors"));
    for (const std::string& from : {path("pp.h5ad"), path("run")}) {
      Dataset<float> again = raw;
      Preprocessor::from(read_frozen(from)).apply(again);
      EXPECT_EQ(again.x, Dataset<float>([&] {
                           Dataset<float> d = raw;
                           p.apply(d);
                           return d;
                         }())
                             .x)
          << from;
    }
  }
  write_dataset(path("raw.h5ad"), raw);
  expect_names(error_of([&] { read_frozen(path("raw.h5ad")); }), {"no preprocessing"});
  Frozen damaged = p.frozen();
  damaged.arrays["quantile_reference"].values.pop_back();
  expect_names(error_of([&] { Preprocessor::from(damaged); }), {"quantile_reference"});
  // It would take -1 columns of the coefficients, and the covariate after it write before the first.
  damaged = p.frozen();
  damaged.settings["batch"] = {
      {"terms", {{{"name", "batch"}, {"numeric", false}, {"levels", Json::array()}}, {{"name", "age"}, {"numeric", true}, {"mean", 1}}}},
      {"aliased", Json::array()}};
  damaged.arrays["batch_coefficients"] = {{0, static_cast<int64_t>(damaged.features.size())}, {}};
  expect_names(error_of([&] { Preprocessor::from(damaged); }), {"a batch effect of less than two levels"});
  damaged = p.frozen();
  damaged.settings["other_features"] = {1, 2};
  error_of([&] { Preprocessor::from(damaged); });
  damaged = p.frozen();
  damaged.settings.erase("mean_library");
  error_of([&] { Preprocessor::from(damaged); });
}

TEST(Preprocess, ValidationAndHoldoutHaveNoInfluence) {
  Dataset<float> a = study().rna, b = a;
  // A gene that varies among those alone is no feature.
  const std::string first = a.var.keys[0];
  for (Dataset<float>* d : {&a, &b})
    for (int64_t r = 0; r < d->samples(); ++r) d->x(r, 0) = d->obs.at("split").text(r) == "train" ? 5.0f : static_cast<float>(r + 1);
  // Genes change places, too: whatever keeps their order is nothing after quantile normalisation.
  for (const char* side : {"validation", "holdout"})
    for (int64_t r : rows_of_split(b.obs, side)) b.x.row(r) = (b.x.row(r).reverse().array() * 3 + 1).matrix().eval();
  Preprocessor pa, pb;
  PreprocessOptions o = full();
  o.covariates = {"age"};
  pa.fit(a, o);
  pb.fit(b, o);
  ASSERT_EQ(pa.features(), pb.features());
  EXPECT_EQ(std::count(pa.features().begin(), pa.features().end(), first), 0);
  for (const auto& [name, array] : pa.frozen().arrays) EXPECT_EQ(array.values, pb.frozen().arrays.at(name).values) << name;
}

TEST(Preprocess, EmptyFeaturesAndSamplesAreDropped) {
  RowMatrix<float> x(4, 4);
  x << 5, 0, 1, 9, 0, 0, 0, 0, 2, 0, 7, 3, 4, 0, 6, 5;
  Dataset<float> d = dataset<float>(x);
  PreprocessOptions o;
  o.variance.kind = VarianceFilter::Kind::none;
  const PreprocessReport report = Preprocessor().fit(d, o);
  EXPECT_EQ(report.dropped_samples, 1);
  EXPECT_EQ(report.dropped_features_zero, 1);
  EXPECT_EQ(d.var.keys, (std::vector<std::string>{"g1", "g3", "g4"}));
  EXPECT_EQ(d.obs.keys, (std::vector<std::string>{"s1", "s3", "s4"}));
  EXPECT_EQ(d.kind, "log");
}

TEST(Preprocess, VarianceFilters) {
  // g1 constant, g2 differs once in 200, g3 in 3 of 200, g4 always.
  RowMatrix<float> x = RowMatrix<float>::Constant(200, 4, 3);
  x(7, 1) = 4;
  x(1, 2) = x(2, 2) = x(3, 2) = 9;
  for (int64_t r = 0; r < 200; ++r) x(r, 3) = static_cast<float>(r + 1);
  auto kept = [&](const std::string& filter) {
    Dataset<float> d = dataset<float>(x);
    PreprocessOptions o;
    o.variance = VarianceFilter::parse(filter);
    Preprocessor().fit(d, o);
    return d.var.keys;
  };
  EXPECT_EQ(kept("none").size(), 4u);
  EXPECT_EQ(kept("nzv:0.01"), (std::vector<std::string>{"g3", "g4"}));
  EXPECT_EQ(kept("nzv:0.001"), (std::vector<std::string>{"g2", "g3", "g4"}));
  EXPECT_EQ(kept("nzv:0.6"), (std::vector<std::string>{"g4"}));
  EXPECT_EQ(kept("cv2:0.01"), (std::vector<std::string>{"g3", "g4"}));
  EXPECT_EQ(kept("quantile:0.5").size(), 2u);
  for (const char* bad : {"nzv", "nzv:", "nzv:2", "nzv:-1", "nzv:nan", "magic:1", "cv2:x", ""}) error_of([&] { VarianceFilter::parse(bad); }, ErrorCode::usage);
  expect_names(error_of([&] { kept("nzv:0.999"); }), {"no feature is left"});
}

TEST(Preprocess, AShareThatIsTheThresholdStays) {
  // Gene k differs from its mode in k of n samples: below a threshold of t / 100, those with 100 k < t n are dropped, and no others.
  for (int64_t n : {50, 55, 100})
    for (int64_t t : {1, 2, 5, 10, 15, 20, 30, 40, 60}) {
      RowMatrix<float> x = RowMatrix<float>::Constant(n, n / 2, 3);
      for (int64_t g = 0; g < x.cols(); ++g)
        for (int64_t i = 0; i < g; ++i) x((7 * i + g) % n, g) = static_cast<float>(10 + i);
      const std::vector<int64_t> rows = range(n);
      const std::string filter = fmt::format("nzv:{:.2f}", static_cast<double>(t) / 100);
      const std::vector<bool> keep = variable_features(x, rows, VarianceFilter::parse(filter), {});
      for (int64_t g = 0; g < x.cols(); ++g) EXPECT_EQ(keep[static_cast<size_t>(g)], 100 * g >= t * n && g > 0) << filter << ", " << g << " of " << n;
    }
}

TEST(Preprocess, MissingValuesAreLeftOutOfTheVarianceFilterInWhateverSampleTheyAre) {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  constexpr int64_t kSamples = 12;
  const std::vector<int64_t> rows = range(kSamples);
  // Constant but for missing values; one of 12 differs; all differ; nothing there.
  for (int64_t missing = 0; missing < kSamples; ++missing) {
    RowMatrix<float> x = RowMatrix<float>::Constant(kSamples, 4, 5);
    x((missing + 5) % kSamples, 1) = 6;
    for (int64_t r = 0; r < kSamples; ++r) x(r, 2) = static_cast<float>(r);
    x.row(missing).setConstant(kNone);
    x.col(3).setConstant(kNone);
    auto keep = [&](const char* filter) {
      return variable_features(x, rows, VarianceFilter::parse(filter), [&](int64_t r, double* out) {
        for (int64_t g = 0; g < x.cols(); ++g) out[g] = x(r, g);
      });
    };
    EXPECT_EQ(keep("nzv:0.01"), (std::vector<bool>{false, true, true, false})) << missing;
    EXPECT_EQ(keep("nzv:0.09"), (std::vector<bool>{false, true, true, false})) << missing;  // 1 of the 11 that are there
    EXPECT_EQ(keep("nzv:0.1"), (std::vector<bool>{false, false, true, false})) << missing;
    EXPECT_EQ(keep("nzv:0.8"), (std::vector<bool>{false, false, true, false})) << missing;
    EXPECT_EQ(keep("cv2:0.1"), (std::vector<bool>{false, false, true, false})) << missing;
    EXPECT_EQ(keep("quantile:0.75"), (std::vector<bool>{false, false, true, false})) << missing;
  }
}

TEST(Preprocess, NestedBatchIsReportedAsAliased) {
  Dataset<float> d = study().rna;
  std::vector<std::string> site;
  for (int64_t r = 0; r < d.samples(); ++r) site.push_back("site_of_" + d.obs.at("cohort").text(r));
  d.obs.set(factor_from_text("site", site));
  PreprocessOptions o;
  o.batch_keys = {"site", "batch"};
  o.preserve = {"cohort"};
  const panvae::test::Warnings said;
  const PreprocessReport report = Preprocessor().fit(d, o);
  EXPECT_EQ(report.aliased, (std::vector<std::string>{"site=site_of_C01", "site=site_of_C02"}));
  ASSERT_EQ(said.lines.size(), 1u);
  EXPECT_NE(said.lines[0].find("2 of 2 columns of 'site' cannot be told from 'cohort' and the other effects: it is not corrected"), std::string::npos)
      << said.lines[0];
}

// Library sizes are of all counts, also of features that the variance filter drops; what a new sample lacks of them is made up
// for by the share they have on average.
TEST(Preprocess, LibrarySizesCountTheFeaturesThatAreDropped) {
  RowMatrix<double> x(4, 4);
  x << 5, 100, 1, 9, 20, 100, 3, 7, 2, 100, 8, 3, 4, 100, 6, 15;
  const Dataset<double> raw = dataset(x);
  Dataset<double> fitted = raw;
  PreprocessOptions o;
  o.quantile = false;
  Preprocessor p;
  EXPECT_EQ(p.fit(fitted, o).dropped_features_variance, 1);
  ASSERT_EQ(fitted.var.keys, (std::vector<std::string>{"g1", "g3", "g4"}));
  const double mean_library = (115 + 130 + 113 + 125) / 4.0;
  const auto log_cpm = [&](double count, double library) {
    const double prior = 2 * library / mean_library;
    return std::log2((count + prior) / (library + 2 * prior) * 1e6);
  };
  Dataset<double> again = raw;
  p.apply(again);
  const int64_t kept[] = {0, 2, 3};
  for (int64_t r = 0; r < 4; ++r)
    for (int64_t c = 0; c < 3; ++c) {
      const double expected = log_cpm(x(r, kept[c]), x.row(r).sum());
      EXPECT_NEAR(fitted.x(r, c), expected, 1e-12);
      EXPECT_NEAR(again.x(r, c), expected, 1e-12);
    }
  // Without g2 and g3: their shares of the training samples' libraries, on average.
  double lacking = 0;
  for (int64_t r = 0; r < 4; ++r) lacking += (x(r, 1) + x(r, 2)) / x.row(r).sum() / 4;
  Dataset<double> less = raw;
  select_features(less, {0, 3});
  p.apply(less);
  for (int64_t r = 0; r < 4; ++r) {
    const double library = (x(r, 0) + x(r, 3)) / (1 - lacking);
    EXPECT_NEAR(less.x(r, 0), log_cpm(x(r, 0), library), 1e-12);
    EXPECT_NEAR(less.x(r, 1), p.feature_mean()[1], 1e-12);
    EXPECT_NEAR(less.x(r, 2), log_cpm(x(r, 3), library), 1e-12);
  }
}

TEST(Preprocess, BatchEffectsAreGoneAfterwards) {
  SimulateOptions s;
  s.donors = 200;
  s.genes = 300;
  s.cohorts = 2;
  s.batch_effect = 4;
  Dataset<double> d;
  const Dataset<float> raw = simulate_study(s).rna;
  d.x = raw.x.cast<double>();
  d.obs = raw.obs;
  d.var = raw.var;
  PreprocessOptions o;
  o.fit_on_all = true;
  o.batch_keys = {"batch"};
  Dataset<double> kept = d;
  PreprocessOptions no_batch = o;
  no_batch.batch = false;
  Preprocessor().fit(kept, no_batch);
  Preprocessor().fit(d, o);
  auto spread = [](const Dataset<double>& data) {  // sd of batch means, averaged over genes
    const Column& batch = data.obs.at("batch");
    RowMatrix<double> mean = RowMatrix<double>::Zero(static_cast<int64_t>(batch.levels.size()), data.features());
    Eigen::VectorXd n = Eigen::VectorXd::Zero(mean.rows());
    for (int64_t r = 0; r < data.samples(); ++r) mean.row(batch.code[static_cast<size_t>(r)]) += data.x.row(r), n[batch.code[static_cast<size_t>(r)]] += 1;
    mean.array().colwise() /= n.array();
    return std::sqrt((mean.rowwise() - mean.colwise().mean()).array().square().mean());
  };
  EXPECT_GT(spread(kept), 0.3);
  EXPECT_LT(spread(d), 1e-9);
}

TEST(Preprocess, UnknownBatchesAreAnErrorOrKeepTheirEffect) {
  Dataset<float> d = study().rna;
  Dataset<float> fresh = d;
  Preprocessor p;
  PreprocessOptions o;
  o.batch_keys = {"batch"};
  p.fit(d, o);
  std::vector<std::string> batch(static_cast<size_t>(fresh.samples()), "batch99");
  fresh.obs.set(factor_from_text("batch", batch));
  Dataset<float> copy = fresh;
  expect_names(error_of([&] { p.apply(copy); }), {"'batch99'", "'batch'", "--unknown-batch zero"});
  copy = fresh;
  p.apply(copy, UnknownBatch::zero);
  EXPECT_TRUE(copy.x.allFinite());
  Table bare;
  bare.keys = fresh.obs.keys;
  copy = fresh;
  copy.obs = bare;
  expect_names(error_of([&] { p.apply(copy); }), {"no column 'batch'", "--obs"});
}

// What the fit says of unknown batches goes with it.
TEST(Preprocess, UnknownBatchesAsTheFitSays) {
  for (const UnknownBatch unknown : {UnknownBatch::error, UnknownBatch::zero}) {
    Dataset<float> d = study().rna, fresh = d;
    PreprocessOptions o;
    o.batch_keys = {"batch"};
    o.unknown_batch = unknown;
    Preprocessor p;
    p.fit(d, o);
    const Preprocessor again = Preprocessor::from(p.frozen());
    fresh.obs.set(factor_from_text("batch", std::vector<std::string>(static_cast<size_t>(fresh.samples()), "batch99")));
    if (unknown == UnknownBatch::zero) again.apply(fresh);
    else expect_names(error_of([&] { again.apply(fresh); }), {"'batch99'"});
  }
}

// Samples without counts, counts that are fractions, and features that the new data lack are said, and nothing else.
TEST(Preprocess, SaysWhatItLeavesOut) {
  RowMatrix<double> x(4, 5);
  x << 5, 6, 1, 9, 2, 0, 0, 0, 0, 0, 2, 8, 7, 3, 4, 4, 1, 6, 5, 9;
  PreprocessOptions o;
  Preprocessor p;
  const auto said = [&](auto&& act) {
    const panvae::test::Warnings w;
    act();
    return w.lines;
  };
  Dataset<double> d = dataset(x);
  auto lines = said([&] { p.fit(d, o); });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("1 samples without counts dropped"), std::string::npos) << lines[0];
  x(0, 2) = 140.5, x(2, 1) = 8.25;
  d = dataset(x);
  select_samples(d, {0, 2, 3});
  lines = said([&] { Preprocessor().fit(d, o); });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("2 of the counts are fractions, 140.5 for instance ('memory', sample 's1', feature 'g3')"), std::string::npos) << lines[0];
  d = dataset(RowMatrix<double>(x.leftCols(4).array().round()));
  select_samples(d, {0, 2, 3});
  lines = said([&] { p.apply(d); });
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("4 of 5 features of the model are in the data (80.0 %)"), std::string::npos) << lines[0];
}

// Dropping what is empty and fitting both look at the values; the user is told once.
TEST(Preprocess, ExpectedCountsAreSaidOnce) {
  Dataset<double> d = dataset<double>((RowMatrix<double>::Random(6, 40).array() + 1.25) * 4000);
  Preprocessor p;
  PreprocessReport report;
  const Dataset<double> raw = d;
  {
    const panvae::test::Warnings warnings;
    Preprocessor::drop_empty(d, report);
    p.fit(d, {});
    ASSERT_EQ(warnings.lines.size(), 1u);
    expect_names(warnings.lines[0], {"240 of the counts are fractions"});
  }
  const panvae::test::Warnings warnings;
  d = raw;
  p.apply(d);
  EXPECT_EQ(warnings.lines.size(), 1u);
}

TEST(Preprocess, LogsOfAnH5adAskForItsCounts) {
  Dataset<double> d = dataset<double>(RowMatrix<double>::Random(6, 40).array() + 3);
  PreprocessReport report;
  d.path = "x.h5ad";
  expect_names(error_of([&] { Preprocessor::drop_empty(d, report); }), {"look like logs", "FILE.h5ad:layers/counts", "--input log"});
  d.path = "x.tsv";
  EXPECT_EQ(error_of([&] { Preprocessor::drop_empty(d, report); }).find("layers/"), std::string::npos);
}

// TPM and CPM are fractions, as expected counts are; but all samples add up to the same.
TEST(Preprocess, NormalisedValuesAreNotTakenForCounts) {
  const RowMatrix<double> counts = (RowMatrix<double>::Random(6, 40).array() + 1.25) * 4000;
  const auto totalling = [&](double total, double spread, int64_t samples) {
    RowMatrix<double> x = counts.topRows(samples);
    for (int64_t r = 0; r < samples; ++r) x.row(r) *= total * (1 + spread * static_cast<double>(r)) / x.row(r).sum();
    Dataset<double> d = dataset(x);
    d.kind = "counts";
    return d;
  };
  const auto fit = [](Dataset<double> d) {
    Preprocessor p;
    p.fit(d, {});
    return p;
  };
  expect_names(error_of([&] { fit(totalling(1e6, 0, 6)); }), {"add up to 1e+06", "TPM, CPM", "'memory', sample", "--input log"});
  expect_names(error_of([&] { fit(totalling(1e6, 1e-4, 2)); }), {"TPM, CPM"});  // rounded to few digits
  expect_names(error_of([&] { fit(totalling(1e4, 1e-4, 6)); }), {"add up to 10000", "TPM, CPM"});
  const Preprocessor fitted = fit(totalling(8e5, 0.01, 6));  // expected counts: samples are not sequenced to the same thousandth
  EXPECT_NO_THROW(fit(totalling(8e5, 0, 2)));
  expect_names(error_of([&] {
                 Dataset<double> one = totalling(1e6, 0, 1);
                 fitted.apply(one);
               }),
               {"TPM, CPM"});
  Dataset<double> with_empty = totalling(1e6, 0, 6);
  with_empty.x.row(0).setZero();
  expect_names(error_of([&] { fit(with_empty); }), {"add up to 1e+06", "TPM, CPM"});
  Dataset<double> rarefied = totalling(1e6, 0, 6);  // whole numbers may be drawn to one depth
  rarefied.x = rarefied.x.array().round();
  EXPECT_NO_THROW(fit(rarefied));
}

// 9072, written 9.072 as in German, is read as a fraction: where every fraction has three digits and no number has four, this is what is said.
TEST_F(Thousands, AreNamedWhereTheyMayBeMeant) {
  const auto said = [&](const std::string& rows, bool large = false) {
    const std::string file = put("m.tsv", "sample\tA\tB\tC\tD\n" + rows);
    const panvae::test::Warnings warnings;
    PreprocessReport report;
    if (large) {
      auto d = read_large_dataset(file, {}, path(""));
      Preprocessor::drop_empty(d, report);
    } else {
      auto d = read_dataset<double>(file);
      auto f = read_dataset<float>(file);
      Preprocessor::drop_empty(f, report);
      Preprocessor::drop_empty(d, report);
      EXPECT_EQ(warnings.lines.size(), 2u);
      if (warnings.lines.size() == 2) {
        EXPECT_EQ(warnings.lines[0], warnings.lines[1]);
      }
    }
    return warnings.lines.empty() ? std::string() : warnings.lines.back();
  };
  const std::string german = "s1\t9.072\t0\t512\t1.000\ns2\t45\t912.345\t1.250\t31\ns3\t3\t7\t1\t8.001\n";
  for (const bool large : {false, true}) {
    const std::string line = said(german, large);
    expect_names(line, {"separat", "thousands", "9.072 may mean 9072", "sample 's1', feature 'A'", "m.tsv"});
    EXPECT_EQ(line.find("expected counts"), std::string::npos) << line;
  }
  // One number that cannot be meant so: below 1, four digits, another number of digits behind the point; or most end in 0.
  for (const std::string other : {"0.512", "1000", "1024", "1024.512", "9.0725", "9.07251"})
    expect_names(said(german + "s4\t" + other + "\t1\t1\t1\n"), {"expected counts"});
  expect_names(said("s1\t9.07\t0\t512\t1.25\ns2\t45\t12.5\t1.251\t31\n"), {"expected counts"});
  // Small numbers look like logs, which is an error that names both.
  const std::string small = put("small.tsv", "sample\tA\tB\ns1\t9.072\t0\ns2\t45\t1.234\n");
  expect_names(error_of([&] {
                 auto d = read_dataset<float>(small);
                 PreprocessReport report;
                 Preprocessor::drop_empty(d, report);
               }),
               {"look like logs", "9.072 may mean 9072", "--input log"});
}

// Logs that are aligned with a fit: features by name, absent ones and missing values at their training means.
TEST(Preprocess, AlignedLogsAreFilledWithTrainingMeans) {
  Dataset<double> d = dataset<double>(RowMatrix<double>::Random(9, 4) * 3 + RowMatrix<double>::Constant(9, 4, 8));
  PreprocessOptions o;
  o.input_is_log = true;
  Preprocessor p;
  p.fit(d, o);
  Dataset<double> other = dataset<double>(RowMatrix<double>::Random(2, 3) + RowMatrix<double>::Constant(2, 3, 6.5));
  other.var.keys = {"g4", "g1", "g2"};
  const RowMatrix<double> given = other.x;
  other.x(1, 0) = std::nan("");
  EXPECT_EQ(p.align(other).coverage, 0.75);
  RowMatrix<double> expected(2, 4);
  expected << given(0, 1), given(0, 2), p.feature_mean()[2], given(0, 0), given(1, 1), given(1, 2), p.feature_mean()[2], p.feature_mean()[3];
  EXPECT_EQ(other.x, expected);
  Dataset<double> alike = d;
  alike.x(3, 1) = std::nan("");
  p.align(alike);
  EXPECT_EQ(alike.x(3, 1), p.feature_mean()[1]);
}

TEST(Preprocess, MissingLogsAreLeftOutAndFilled) {
  RowMatrix<double> x = RowMatrix<double>::Random(30, 20) * 3 + RowMatrix<double>::Constant(30, 20, 8);
  Dataset<double> whole = dataset<double>(x), holes = whole;
  holes.x(3, 4) = holes.x(9, 0) = std::nan("");
  PreprocessOptions o;
  o.input_is_log = true;
  Preprocessor().fit(whole, o);
  Preprocessor p;
  p.fit(holes, o);
  EXPECT_TRUE(holes.x.allFinite());
  EXPECT_EQ(holes.x(3, 4), p.feature_mean()[4]);
  EXPECT_LT((holes.x - whole.x).cwiseAbs().mean(), 0.1);
}

TEST(Preprocess, Refusals) {
  RowMatrix<float> x(2, 2);
  x << 1, 2, 3, -4;
  PreprocessOptions o;
  auto fit = [&](const RowMatrix<float>& values) {
    Dataset<float> d = dataset<float>(values);
    Preprocessor().fit(d, o);
  };
  expect_names(error_of([&] { fit(x); }), {"negative count", "-4", "'s2'", "'g2'", "--input log"});
  x << 1.5f, 2.25f, 3, 4;
  expect_names(error_of([&] { fit(x); }), {"look like logs", "--input log"});
  x << 1, 2, 3, std::nanf("");
  expect_names(error_of([&] { fit(x); }), {"missing count", "'s2'"});
  for (const float huge : {1e30f, INFINITY}) {
    x << 1, 2, 3, huge;
    expect_names(error_of([&] { fit(x); }), {"more than any sequencing gives", "'s2'", "'g2'"});
  }
  x.setZero();
  expect_names(error_of([&] { fit(x); }), {"no sample has any count"});
  RowMatrix<float> one(1, 2);
  one << 1, 2;
  expect_names(error_of([&] { fit(one); }), {"1 training sample", "--like"});
  x << 1, 2, 3, 4;
  o.batch_keys = {"plate"};
  expect_names(error_of([&] { fit(x); }), {"'plate'", "--obs"});
  o.batch_keys = {};
  o.prior_count = 0;
  error_of([&] { fit(x); }, ErrorCode::usage);
}

TEST(Quantile, TiesAndMissingValues) {
  const QuantileReference q = QuantileReference::fit(2, 4, [](int64_t i, double* out) {
    const double rows[2][4] = {{1, 2, 3, 4}, {10, 30, 20, 40}};
    std::copy(rows[i], rows[i] + 4, out);
  });
  EXPECT_EQ(q.quantiles(), (std::vector<double>{5.5, 11, 16.5, 22}));
  double tied[4] = {7, 7, 1, 9};
  q.map(tied);
  EXPECT_DOUBLE_EQ(tied[0], 13.75);
  EXPECT_DOUBLE_EQ(tied[1], 13.75);
  EXPECT_DOUBLE_EQ(tied[2], 5.5);
  double holes[4] = {3, std::nan(""), 1, 2};
  q.map(holes);
  EXPECT_DOUBLE_EQ(holes[0], 22);
  EXPECT_TRUE(std::isnan(holes[1]));
  EXPECT_DOUBLE_EQ(holes[3], 13.75);
  double single[4] = {std::nan(""), 3, std::nan(""), std::nan("")};
  q.map(single);
  EXPECT_DOUBLE_EQ(single[1], 13.75);
}

}  // namespace
}  // namespace panvae::data::test
