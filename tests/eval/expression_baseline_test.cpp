// What a reconstruction is compared with beside the cohort's mean: replicates and thinned counts.
#include <cmath>
#include <set>

#include "data/preprocess.h"
#include "eval/expression.h"
#include "eval/thinning.h"
#include "tests/eval/expression_helpers.h"

namespace panvae::eval {
namespace {

using namespace test;

// Counts of a study with planted replicates, preprocessed.
struct Study {
  Dataset counts, observed;
};
Study study(int64_t donors, int64_t g, double replicate_shift) {
  PhiloxSequence random(PhiloxKey{77, 1, 0});
  Dataset d;
  std::vector<std::string> donor, cohort;
  d.x.resize(2 * donors, g);
  for (int64_t i = 0; i < 2 * donors; ++i) {
    d.obs.keys.push_back(fmt::format("D{:02d}-{}", i / 2, i % 2 + 1));
    donor.push_back(fmt::format("D{:02d}", i / 2));
    cohort.push_back("A");
    for (int64_t j = 0; j < g; ++j) {
      const double own = i % 2 ? d.x(i - 1, j) : 20 + 400.0 * random.uniform() + 2000 * (j % 3);
      const double shift = i % 2 && j % 4 == 0 ? replicate_shift : 1;
      d.x(i, j) = std::round(own * shift * (i % 2 ? 0.95 + 0.1 * random.uniform() : 1));
    }
  }
  for (int64_t j = 0; j < g; ++j) d.var.keys.push_back(fmt::format("G{}", j));
  set_factor(d.obs, "donor", donor);
  set_factor(d.obs, "cohort", cohort);
  d.kind = "counts";
  Study s{d, d};
  data::PreprocessOptions options;
  options.fit_on_all = true;
  options.quantile = false;
  options.variance.kind = data::VarianceFilter::Kind::none;
  data::Preprocessor().fit(s.observed, options);
  return s;
}

TEST(Expression, ReplicatesAndThinningAreBaselines) {
  Study s = study(16, 120, 8);  // a quarter of the genes is found eight times better by the second replicate
  Pair p{s.observed, s.observed};
  p.reconstructed.x.array() += 0.01 * gaussian(32, 120, 5).array();
  for (int64_t j = 0; j < 12; ++j) p.reconstructed.x.col(j).array() += 3;
  const SampleSource counts(s.counts);
  ExpressionOptions o;
  o.baseline = Baseline::techrep;
  const ExpressionResult rep = evaluate(p, o);
  EXPECT_EQ(rep.baseline_pairs, 16);
  EXPECT_EQ(to_json(rep)["warnings"].dump().find("the baseline compares"), std::string::npos) << "pairs of half the samples are all there can be";
  EXPECT_EQ(rep.reconstruction.count.de, 12);
  EXPECT_GE(rep.baseline_count.up, 30);
  EXPECT_DOUBLE_EQ(rep.ratio, 12.0 / static_cast<double>(rep.baseline_count.de));
  // The same replicates from their counts.
  o.counts = &counts;
  EXPECT_EQ(evaluate(p, o).baseline_count.de, rep.baseline_count.de);
  // The column says which comes first.
  test::set_number(p.observed.obs, "replicate", [] {
    std::vector<double> number;
    for (int i = 0; i < 32; ++i) number.push_back(10 - i % 2);  // as texts the other way round
    return number;
  }());
  o.counts = nullptr;
  EXPECT_EQ(evaluate(p, o).baseline_count.down, rep.baseline_count.up);
  // By a name or by a number, and known ones before unknown ones.
  std::vector<std::string> name;
  std::vector<double> known;
  for (int i = 0; i < 32; ++i) name.push_back(i % 2 ? "T1" : "T2"), known.push_back(i % 2 ? 1 : std::nan(""));
  set_factor(p.observed.obs, "replicate", name);
  EXPECT_EQ(evaluate(p, o).baseline_count.down, rep.baseline_count.up);
  test::set_number(p.observed.obs, "replicate", known);
  EXPECT_EQ(evaluate(p, o).baseline_count.down, rep.baseline_count.up);
  // Two halves of the same counts do not differ.
  o.baseline = Baseline::thin;
  EXPECT_ERROR(ErrorCode::usage, "--counts", evaluate(p, o));
  o.counts = &counts;
  const ExpressionResult thin = evaluate(p, o);
  EXPECT_EQ(thin.baseline_pairs, 32);
  EXPECT_EQ(thin.baseline_count.de, 0);
  EXPECT_DOUBLE_EQ(thin.ratio, 12);
  EXPECT_EQ(to_json(thin)["baseline_n_de"], 0);
  EXPECT_NE(to_text(thin).find("thinned counts, 32 pairs"), std::string::npos);
  // Order of the counts does not matter.
  const SampleSource other(reordered(s.counts, shuffled(32, 8), shuffled(120, 9)));
  o.counts = &other;
  EXPECT_EQ(to_json(evaluate(p, o)).dump(), to_json(thin).dump());
}

// Of three replicates the first two are compared. The third is 5 higher.
TEST(Expression, OfThreeReplicatesTheFirstTwo) {
  Pair p = pair(12, 40);
  std::vector<std::string> donor;
  for (int64_t i = 0; i < 12; ++i) {
    donor.push_back(fmt::format("D{}", i / 3));
    if (i % 3) p.observed.x.row(i) = p.observed.x.row(i - i % 3) + 0.1 * gaussian(1, 40, static_cast<uint32_t>(60 + i));
    if (i % 3 == 2) p.observed.x.row(i).array() += 5;
  }
  set_factor(p.observed.obs, "donor", donor);
  set_factor(p.observed.obs, "cohort", std::vector<std::string>(12, "A"));
  ExpressionOptions o;
  o.baseline = Baseline::techrep;
  const ExpressionResult r = evaluate(p, o);
  EXPECT_EQ(r.baseline_pairs, 4);
  EXPECT_EQ(r.baseline_count.de, 0);
}

// Thinned by hand: one half of each sample's counts against the other, both preprocessed as the observed values were.
TEST(Expression, TheThinBaselineComparesTwoHalves) {
  const Study s = study(33, 90, 1);  // more than the 64 samples that are read at once
  Pair p{s.observed, s.observed};
  p.reconstructed.x.array() += 0.01 * gaussian(66, 90, 5).array();
  const SampleSource counts(s.counts);
  ExpressionOptions o;
  o.baseline = Baseline::thin;
  o.counts = &counts;
  o.lfc = 0;
  o.fdr = 0.9999;
  std::set<std::pair<int64_t, int64_t>> seen;
  for (o.seed = 0; o.seed < 4; ++o.seed) {
    Dataset half = s.counts, rest = s.counts;
    const std::vector<uint64_t> keys = thinning_keys(s.counts.var.keys);
    for (int64_t i = 0; i < half.samples(); ++i) {
      const std::vector<double> drawn =
          thin(std::span(s.counts.x.data() + i * 90, 90), keys, s.counts.var.keys, s.counts.obs.keys[static_cast<size_t>(i)], o.seed);
      half.x.row(i) = Eigen::Map<const Eigen::RowVectorXd>(drawn.data(), 90);
      rest.x.row(i) -= half.x.row(i);
    }
    const data::Preprocessor preprocessing = data::Preprocessor::from(s.observed.frozen);
    preprocessing.apply(half), preprocessing.apply(rest);
    Moments difference(90);
    difference.add_differences(rest.x, half.x);
    const DeCount expected = count_de(moderated_one_sample(difference), o.lfc, o.fdr), got = evaluate(p, o).baseline_count;
    EXPECT_EQ(got.up, expected.up) << o.seed;
    EXPECT_EQ(got.down, expected.down) << o.seed;
    seen.emplace(got.up, got.down);
  }
  EXPECT_GT(seen.size(), 1u) << "the seed decides who goes where";
}

// Replicates of another batch lose the effect of theirs; a donor with two kinds of samples counts once; few pairs are said.
TEST(Expression, ReplicatesKeepTheirBatchAndDonorsCountOnce) {
  Study s = study(12, 80, 1);
  std::vector<std::string> batch, type, donor;
  for (int i = 0; i < 24; ++i) {
    batch.push_back(i % 2 ? "second" : "first");
    // Three donors of four tumour and four normal samples.
    type.push_back(i % 4 < 2 ? "tumour" : "normal");
    donor.push_back(fmt::format("D{}", i < 12 ? i / 4 : i));
    if (i % 2)
      for (int64_t j = 0; j < 80; ++j) s.counts.x(i, j) = std::round(s.counts.x(i, j) * (j % 2 ? 3 : 1));
  }
  set_factor(s.counts.obs, "batch", batch);
  set_factor(s.counts.obs, "sample_type", type);
  set_factor(s.counts.obs, "donor", donor);
  s.observed = s.counts;
  data::PreprocessOptions options;
  options.fit_on_all = true;
  options.quantile = false;
  options.batch_keys = {"batch"};
  data::Preprocessor().fit(s.observed, options);
  Pair p{s.observed, s.observed};
  p.reconstructed.x.array() += 0.01 * gaussian(24, 80, 5).array();
  ExpressionOptions o;
  o.baseline = Baseline::techrep;
  const ExpressionResult values = evaluate(p, o);
  EXPECT_EQ(values.baseline_pairs, 3);
  EXPECT_NE(to_json(values)["warnings"].dump().find("the baseline compares 3 pairs, the reconstruction 24"), std::string::npos);
  EXPECT_EQ(values.baseline_count.de, 0);
  const SampleSource counts(s.counts);
  o.counts = &counts;
  EXPECT_EQ(evaluate(p, o).baseline_count.de, 0);
}

TEST(Expression, BaselinesSayWhatTheyLack) {
  Study s = study(4, 40, 1);
  Pair p{s.observed, s.observed};
  p.reconstructed.x.array() += 0.01;
  ExpressionOptions o;
  o.baseline = Baseline::techrep;
  Pair alone = p;
  alone.observed = reordered(p.observed, {0, 2, 4, 6}, test::all_rows(40));
  EXPECT_ERROR(ErrorCode::input, "technical replicates", evaluate(alone, o));
  // A tumour and a normal of one donor are no replicates.
  Pair types = p;
  set_factor(types.observed.obs, "sample_type", {"tumor", "normal", "tumor", "normal", "tumor", "normal", "tumor", "normal"});
  EXPECT_ERROR(ErrorCode::input, "technical replicates", evaluate(types, o));
  // Nor are samples of two cohorts.
  Pair apart = p;
  set_factor(apart.observed.obs, "cohort", {"A", "B", "A", "B", "A", "B", "A", "B"});
  EXPECT_ERROR(ErrorCode::input, "technical replicates", evaluate(apart, o));
  o.baseline = Baseline::thin;
  Dataset half = s.counts;
  half.x(2, 3) = 7.5;
  const SampleSource broken(half);
  o.counts = &broken;
  EXPECT_ERROR(ErrorCode::input, "feature 'G3'", evaluate(p, o));
  const SampleSource few(reordered(s.counts, {0, 1, 2}, test::all_rows(40)));
  o.counts = &few;
  EXPECT_ERROR(ErrorCode::input, "not in the counts", evaluate(p, o));
  Pair plain = p;
  plain.observed.frozen = {};
  const SampleSource counts(s.counts);
  o.counts = &counts;
  EXPECT_ERROR(ErrorCode::input, "no preprocessing", evaluate(plain, o));
  Dataset from_logs = s.counts;
  from_logs.x = (s.counts.x.array() + 1).log();
  from_logs.kind = "log";
  data::PreprocessOptions options;
  options.input_is_log = options.fit_on_all = true;
  options.variance.kind = data::VarianceFilter::Kind::none;
  data::Preprocessor().fit(from_logs, options);
  const Pair logs{from_logs, p.reconstructed};
  EXPECT_ERROR(ErrorCode::input, "preprocessed from logs, not from counts", evaluate(logs, o));
  // Of one count a half has none.
  Dataset scarce = s.counts;
  scarce.x.row(5).setZero();
  scarce.x(5, 0) = 1;
  const SampleSource too_few(scarce);
  o.counts = &too_few;
  EXPECT_ERROR(ErrorCode::input, "too few counts to be halved", evaluate(p, o));
}

}  // namespace
}  // namespace panvae::eval
