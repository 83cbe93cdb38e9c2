// Preprocessing: filters, frozen application, refusals.
#include "data/preprocess.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/philox.h"
#include "data/simulate.h"
#include "data/variance_filter.h"
#include "data/write.h"
#include "support.h"

namespace panvae::data::test {
namespace {

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

std::vector<int64_t> range(int64_t n) {
  std::vector<int64_t> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
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
  columns.erase(columns.begin(), columns.begin() + 4);
  std::sort(columns.begin(), columns.end());
  Dataset<float> less = part(raw, range(raw.samples()), columns);
  const PreprocessReport report = p.apply(less);
  EXPECT_LT(report.coverage, 1);
  for (int64_t r = 0; r < less.samples(); ++r) {
    const auto a = less.x.row(r).cast<double>(), b = fitted.x.row(r).cast<double>();
    EXPECT_GT(a.dot(b) / a.norm() / b.norm(), 0.99);
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
  Dataset<float> fitted = raw;
  Preprocessor p;
  PreprocessOptions o = full();
  o.tmm = true;
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
  write_dataset(path("raw.h5ad"), raw);
  expect_names(error_of([&] { read_frozen(path("raw.h5ad")); }), {"no preprocessing"});
  Frozen damaged = p.frozen();
  damaged.arrays["quantile_reference"].values.pop_back();
  expect_names(error_of([&] { Preprocessor::from(damaged); }), {"quantile_reference"});
  damaged = p.frozen();
  damaged.settings.erase("mean_library");
  error_of([&] { Preprocessor::from(damaged); });
}

TEST(Preprocess, ValidationAndHoldoutHaveNoInfluence) {
  Dataset<float> a = study().rna, b = a;
  const std::vector<int64_t> held = rows_of_split(b.obs, "holdout");
  for (int64_t r : held) b.x.row(r) = (b.x.row(r).array() * 3 + 1).matrix().eval();
  Preprocessor pa, pb;
  PreprocessOptions o = full();
  o.covariates = {"age"};
  pa.fit(a, o);
  pb.fit(b, o);
  ASSERT_EQ(pa.features(), pb.features());
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
      std::vector<int64_t> rows(static_cast<size_t>(n));
      std::iota(rows.begin(), rows.end(), int64_t{0});
      const std::string filter = fmt::format("nzv:{:.2f}", static_cast<double>(t) / 100);
      const std::vector<bool> keep = variable_features(x, rows, VarianceFilter::parse(filter), {});
      for (int64_t g = 0; g < x.cols(); ++g) EXPECT_EQ(keep[static_cast<size_t>(g)], 100 * g >= t * n && g > 0) << filter << ", " << g << " of " << n;
    }
}

TEST(Preprocess, MissingValuesAreLeftOutOfTheVarianceFilterInWhateverSampleTheyAre) {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  constexpr int64_t kSamples = 12;
  std::vector<int64_t> rows(kSamples);
  std::iota(rows.begin(), rows.end(), int64_t{0});
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
  const PreprocessReport report = Preprocessor().fit(d, o);
  EXPECT_EQ(report.aliased, (std::vector<std::string>{"site=site_of_C01", "site=site_of_C02"}));
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
