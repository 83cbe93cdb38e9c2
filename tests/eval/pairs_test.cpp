#include "eval/pairs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using test::gaussian;
using test::set_factor;

constexpr double kInfinite = std::numeric_limits<double>::infinity();

// One sample per entry of `donor`, named PREFIX + number.
data::Dataset<double> embedding(const std::string& prefix, data::RowMatrix<double> x, const std::vector<std::string>& donor,
                                const std::vector<std::string>& cohort = {}) {
  data::Dataset<double> d = test::dataset(std::move(x));
  for (size_t i = 0; i < donor.size(); ++i) d.obs.keys[i] = fmt::format("{}{:03d}", prefix, i);
  set_factor(d.obs, "donor", donor);
  if (!cohort.empty()) set_factor(d.obs, "cohort", cohort);
  d.path = prefix + ".h5ad";
  return d;
}

std::vector<std::string> donors(int n, int each = 1) {
  std::vector<std::string> out;
  for (int i = 0; i < n * each; ++i) out.push_back(fmt::format("D{:03d}", i / each));
  return out;
}

data::RowMatrix<double> column(const std::vector<double>& values) {
  data::RowMatrix<double> x(static_cast<int64_t>(values.size()), 1);
  for (size_t i = 0; i < values.size(); ++i) x(static_cast<int64_t>(i), 0) = values[i];
  return x;
}

PairsOptions quick() {
  PairsOptions o;
  o.permutations = 0;
  return o;
}

// On a line. RNA of donors 0, 1, 2 at 0, 1, 10; ATAC at 0.1, 9, 2.
TEST(Pairs, ByHandOnALine) {
  const auto rna = embedding("R", column({0, 1, 10}), donors(3)), atac = embedding("A", column({0.1, 9, 2}), donors(3));
  const PairsResult r = evaluate_pairs(rna, atac, quick());
  // ATAC finds RNA: 0.1 -> own nearest, 0; 9 -> 10 is nearer than 1, 0 is not: 1/2; 2 -> 1 and 0 are nearer than 10: 1.
  EXPECT_DOUBLE_EQ(r.atac.foscttm, (0 + 0.5 + 1) / 3);
  // RNA finds ATAC: 0 -> own nearest, 0; 1 -> 0.1 and 2 are nearer than 9: 1; 10 -> 9 is nearer than 2: 1/2.
  EXPECT_DOUBLE_EQ(r.rna.foscttm, (0 + 1 + 0.5) / 3);
  EXPECT_DOUBLE_EQ(r.foscttm, 0.5);
  EXPECT_DOUBLE_EQ(r.recall[0], 1.0 / 3);
  EXPECT_DOUBLE_EQ(r.recall[1], 1);  // five of three are all
  EXPECT_DOUBLE_EQ(r.chance_recall[0], 1.0 / 3);
  EXPECT_DOUBLE_EQ(r.chance_recall[1], 1);
  EXPECT_EQ(r.n_pairs, 3);
  EXPECT_EQ(r.donors, 3);
  EXPECT_TRUE(std::isnan(r.transfer_rna_to_atac));
  EXPECT_TRUE(std::isnan(r.foscttm_within_cohort));
}

// The same line with cohorts, one of which RNA does not have, and one neighbour that votes.
TEST(Pairs, CohortsByHandOnALine) {
  const auto rna = embedding("R", column({0, 1, 10}), donors(3), {"X", "X", "Y"}), atac = embedding("A", column({0.1, 9, 2}), donors(3), {"X", "Z", "Y"});
  PairsOptions o = quick();
  o.transfer_neighbours = 1;
  const PairsResult r = evaluate_pairs(rna, atac, o);
  // ATAC: 0.1 -> X, right; 9 -> Y where it is Z; 2 -> X where it is Y. RNA: 0 and 1 -> X, right; 10 -> Z where it is Y.
  EXPECT_DOUBLE_EQ(r.transfer_rna_to_atac, 1.0 / 3);
  EXPECT_DOUBLE_EQ(r.transfer_atac_to_rna, 2.0 / 3);
  EXPECT_DOUBLE_EQ(r.majority_rna, 2.0 / 3);
  EXPECT_DOUBLE_EQ(r.majority_atac, 1.0 / 3);
  // Within cohorts: of ATAC only 0.1 has another of its cohort, which is farther: 0. Of RNA only 1 has one, and though its own
  // partner is of cohort Z it is compared with 0.1, which is nearer: 1.
  EXPECT_EQ(r.atac.within_cohort_queries, 1);
  EXPECT_EQ(r.rna.within_cohort_queries, 1);
  EXPECT_DOUBLE_EQ(r.atac.within_cohort, 0);
  EXPECT_DOUBLE_EQ(r.rna.within_cohort, 1);
  const std::string said = to_json(r)["warnings"].dump();
  EXPECT_NE(said.find("1 ATAC samples are of cohorts that no RNA sample has"), std::string::npos) << said;
  EXPECT_EQ(said.find("RNA samples are of cohorts"), std::string::npos) << said;
  EXPECT_NE(said.find("pairs of 3 donors only"), std::string::npos) << said;
  const auto twenty = embedding("R", gaussian(20, 2, 3), donors(20));
  EXPECT_EQ(to_json(evaluate_pairs(twenty, twenty, quick()))["warnings"].dump().find("donors only"), std::string::npos);
}

// Two RNA and three ATAC samples, two neighbours. Of an RNA sample: RNA and ATAC with 1/2, entropy of 3/4; else ATAC alone. Of an ATAC
// sample: one of each with 2/3, entropy 1.
TEST(Pairs, MixingByChanceOfUnequalModalities) {
  const auto rna = embedding("R", column({0, 5}), {"D0", "D1"}), atac = embedding("A", column({1, 2, 7}), {"D0", "D1", "D1"});
  PairsOptions o = quick();
  o.mixing_neighbours = 2;
  const double of_three_quarters = -(0.75 * std::log2(0.75) + 0.25 * std::log2(0.25));
  EXPECT_NEAR(evaluate_pairs(rna, atac, o).chance_mixing_entropy, (2 * of_three_quarters / 2 + 3 * 2.0 / 3) / 5, 1e-12);
}

// Ties by hand: ATAC 0 is at equal distance to its own RNA and to another; half of it counts.
TEST(Pairs, TiesCountHalf) {
  const auto rna = embedding("R", column({-1, 1, 5}), donors(3)), atac = embedding("A", column({0, 1, 5}), donors(3));
  const PairsResult r = evaluate_pairs(rna, atac, quick());
  EXPECT_DOUBLE_EQ(r.atac.foscttm, 0.25 / 3);
  EXPECT_DOUBLE_EQ(r.atac.recall[0], 2.5 / 3);
  EXPECT_DOUBLE_EQ(r.rna.foscttm, 0);
}

// Whole numbers at exactly equal distances: what is done to keep squares in range must not part them.
TEST(Pairs, EqualDistancesOfWholeNumbersStayEqual) {
  std::vector<double> own = {1, 2, 5}, other = own;
  do {
    do {
      data::RowMatrix<double> x(2, 3), y(2, 3);
      x << own[0], own[1], own[2], other[0], other[1], other[2];
      y << 0, 0, 0, other[0], other[1], other[2];
      if (own == other) continue;
      const PairsResult r = evaluate_pairs(embedding("R", x, donors(2)), embedding("A", y, donors(2)), quick());
      EXPECT_DOUBLE_EQ(r.atac.foscttm, 0.25) << fmt::format("{} and {}", fmt::join(own, " "), fmt::join(other, " "));
    } while (std::next_permutation(other.begin(), other.end()));
  } while (std::next_permutation(own.begin(), own.end()));
}

// The definition with loops over all pairs of samples, replicates included.
double brute_foscttm(const data::Dataset<double>& q, const data::Dataset<double>& c, bool by_cohort) {
  double total = 0;
  int64_t counted = 0;
  for (int64_t i = 0; i < q.samples(); ++i) {
    double sum = 0;
    int64_t partners = 0, others = 0;
    for (int64_t p = 0; p < c.samples(); ++p) {
      if (c.obs.at("donor").text(p) != q.obs.at("donor").text(i)) continue;
      ++partners;
      others = 0;
      for (int64_t o = 0; o < c.samples(); ++o) {
        if (c.obs.at("donor").text(o) == q.obs.at("donor").text(i)) continue;
        if (by_cohort && c.obs.at("cohort").text(o) != q.obs.at("cohort").text(i)) continue;
        ++others;
        const double to_other = (q.x.row(i) - c.x.row(o)).norm(), to_own = (q.x.row(i) - c.x.row(p)).norm();
        sum += to_other < to_own ? 1 : to_other == to_own ? 0.5 : 0;
      }
    }
    if (others == 0) continue;
    total += sum / static_cast<double>(others) / static_cast<double>(partners);
    ++counted;
  }
  return total / static_cast<double>(counted);
}

TEST(Pairs, AgreesWithItsDefinition) {
  const int n = 23;
  std::vector<std::string> cohort_rna, cohort_atac;
  for (int i = 0; i < n; ++i) cohort_rna.push_back(fmt::format("C{}", i % 4));
  for (int i = 0; i < 2 * n; ++i) cohort_atac.push_back(fmt::format("C{}", i / 2 % 4));
  const data::RowMatrix<double> truth = gaussian(n, 3, 70);
  data::RowMatrix<double> x = truth + 0.7 * gaussian(n, 3, 71), y(2 * n, 3);
  const data::RowMatrix<double> noise = gaussian(2 * n, 3, 72);
  for (int i = 0; i < 2 * n; ++i) y.row(i) = truth.row(i / 2) + 0.7 * noise.row(i);
  const auto rna = embedding("R", x, donors(n), cohort_rna), atac = embedding("A", y, donors(n, 2), cohort_atac);
  const PairsResult r = evaluate_pairs(rna, atac, quick());
  EXPECT_EQ(r.n_pairs, 2 * n);
  EXPECT_NEAR(r.rna.foscttm, brute_foscttm(rna, atac, false), 1e-12);
  EXPECT_NEAR(r.atac.foscttm, brute_foscttm(atac, rna, false), 1e-12);
  EXPECT_NEAR(r.rna.within_cohort, brute_foscttm(rna, atac, true), 1e-12);
  EXPECT_NEAR(r.atac.within_cohort, brute_foscttm(atac, rna, true), 1e-12);
  for (size_t k = 0; k < 3; ++k) {
    double hits = 0;
    for (int i = 0; i < 2 * n; ++i) {
      int closer = 0;
      for (int j = 0; j < n; ++j) closer += (y.row(i) - x.row(j)).norm() < (y.row(i) - x.row(i / 2)).norm();
      hits += closer < kRecallAt[k];
    }
    EXPECT_NEAR(r.atac.recall[k], hits / (2 * n), 1e-12);
    EXPECT_NEAR(r.atac.chance_recall[k], static_cast<double>(kRecallAt[k]) / n, 1e-12);
  }
  // Of 46 ATAC samples two are partners: 1 - C(44, k) / C(46, k).
  EXPECT_NEAR(r.rna.chance_recall[1], 1 - (41.0 * 40) / (46.0 * 45), 1e-12);
  // Transfer by hand.
  double right = 0;
  for (int i = 0; i < 2 * n; ++i) {
    std::vector<int> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) { return (y.row(i) - x.row(a)).norm() < (y.row(i) - x.row(b)).norm(); });
    std::map<std::string, int> votes;
    for (int k = 0; k < 5; ++k) ++votes[cohort_rna[static_cast<size_t>(order[static_cast<size_t>(k)])]];
    int most = 0, winners = 0;
    for (const auto& [c, v] : votes) most = std::max(most, v);
    for (const auto& [c, v] : votes) winners += v == most;
    if (votes[cohort_atac[static_cast<size_t>(i)]] == most) right += 1.0 / winners;
  }
  EXPECT_NEAR(r.transfer_rna_to_atac, right / (2 * n), 1e-12);
  EXPECT_EQ(r.transfer_k_rna, 5);
  EXPECT_NEAR(r.majority_rna, 6.0 / 23, 1e-12);
  // Mixing by hand.
  data::RowMatrix<double> both(3 * n, 3);
  both << x, y;
  double entropy = 0;
  for (int i = 0; i < 3 * n; ++i) {
    std::vector<int> order;
    for (int j = 0; j < 3 * n; ++j)
      if (j != i) order.push_back(j);
    std::sort(order.begin(), order.end(), [&](int a, int b) { return (both.row(i) - both.row(a)).norm() < (both.row(i) - both.row(b)).norm(); });
    double from_rna = 0;
    for (int k = 0; k < 15; ++k) from_rna += order[static_cast<size_t>(k)] < n;
    const double a = from_rna / (n - (i < n)), b = (15 - from_rna) / (2 * n - (i >= n)), p = a / (a + b);
    if (p > 0 && p < 1) entropy -= p * std::log2(p) + (1 - p) * std::log2(1 - p);
  }
  EXPECT_NEAR(r.mixing_entropy, entropy / (3 * n), 1e-12);
}

TEST(Pairs, PerfectAndSeparated) {
  const data::RowMatrix<double> x = gaussian(30, 4, 80);
  std::vector<std::string> cohort;
  for (int i = 0; i < 30; ++i) cohort.push_back(x(i, 0) > 0 ? "P" : "N");
  const auto rna = embedding("R", 100 * x, donors(30), cohort);
  const PairsResult same = evaluate_pairs(rna, embedding("A", 100 * x, donors(30), cohort));
  EXPECT_EQ(same.foscttm, 0);
  EXPECT_EQ(same.recall[0], 1);
  EXPECT_GT(same.mixing_entropy, 0.9);
  EXPECT_NEAR(same.chance_foscttm, 0.5, 0.03);
  EXPECT_LT(same.z, -5);
  // Far apart the modalities do not mix, though pairs may still be in order.
  data::RowMatrix<double> far = 100 * x;
  far.col(3).array() += 1e6;
  const PairsResult apart = evaluate_pairs(rna, embedding("A", far, donors(30), cohort), quick());
  EXPECT_EQ(apart.mixing_entropy, 0);
  EXPECT_GT(apart.foscttm, 0.2);
}

// An embedding that is one point knows nothing: every score is what chance gives, whatever the order of samples.
TEST(Pairs, AConstantIsAtChance) {
  const int n = 24;
  std::vector<std::string> cohort;
  for (int i = 0; i < n; ++i) cohort.push_back(i < 14 ? "big" : "small");
  const data::RowMatrix<double> zero = data::RowMatrix<double>::Zero(n, 3);
  const PairsResult r = evaluate_pairs(embedding("R", zero, donors(n), cohort), embedding("A", zero, donors(n), cohort));
  EXPECT_DOUBLE_EQ(r.foscttm, 0.5);
  EXPECT_DOUBLE_EQ(r.foscttm_within_cohort, 0.5);
  EXPECT_NEAR(r.recall[0], 1.0 / n, 1e-12);
  EXPECT_NEAR(r.recall[1], 5.0 / n, 1e-12);
  EXPECT_NEAR(r.recall[2], 10.0 / n, 1e-12);
  EXPECT_NEAR(r.transfer_rna_to_atac, 14.0 / n, 1e-12);  // always the largest cohort
  EXPECT_DOUBLE_EQ(r.transfer_rna_to_atac, r.majority_atac);
  EXPECT_NEAR(r.mixing_entropy, 1, 1e-3);
  EXPECT_TRUE(std::isnan(r.z));
  EXPECT_EQ(to_json(r)["z"], nullptr);
}

// Random embeddings of many samples: each score near its stated chance level.
TEST(Pairs, RandomEmbeddingsAreAtChance) {
  const int n = 300;
  std::vector<std::string> cohort;
  for (int i = 0; i < n; ++i) cohort.push_back(fmt::format("C{}", i % 5));
  const PairsResult r = evaluate_pairs(embedding("R", gaussian(n, 8, 90), donors(n), cohort), embedding("A", gaussian(n, 8, 91), donors(n), cohort));
  EXPECT_NEAR(r.foscttm, 0.5, 0.04);
  EXPECT_NEAR(r.foscttm_within_cohort, 0.5, 0.04);
  EXPECT_LT(std::abs(r.z), 4);
  for (size_t k = 0; k < 3; ++k) EXPECT_NEAR(r.recall[k], r.chance_recall[k], 0.03);
  EXPECT_NEAR(r.mixing_entropy, r.chance_mixing_entropy, 0.02);
  EXPECT_NEAR(r.transfer_rna_to_atac, 0.2, 0.08);
  EXPECT_NEAR(r.chance_foscttm, 0.5, 0.01);
}

TEST(Pairs, ControlsAreAtChanceAndCohortsAloneAreNoPairs) {
  const int n = 200;
  std::vector<std::string> cohort;
  data::RowMatrix<double> x = 0.1 * gaussian(n, 4, 95), y = 0.1 * gaussian(n, 4, 96);
  const data::RowMatrix<double> centre = gaussian(10, 4, 97);
  for (int i = 0; i < n; ++i) {
    cohort.push_back(fmt::format("C{}", i % 10));
    x.row(i) += centre.row(i % 10), y.row(i) += centre.row(i % 10);
  }
  // Cohorts agree and donors do not: few are closer than the own sample, but none within the cohort is told apart.
  const auto rna = embedding("R", x, donors(n), cohort), atac = embedding("A", y, donors(n), cohort);
  const PairsResult r = evaluate_pairs(rna, atac, quick());
  EXPECT_LT(r.foscttm, 0.12);
  EXPECT_NEAR(r.foscttm_within_cohort, 0.5, 0.05);
  EXPECT_GT(r.transfer_rna_to_atac, 0.95);
  PairsOptions o = quick();
  o.control = Control::permuted;
  const PairsResult control = evaluate_pairs(rna, atac, o);
  EXPECT_NEAR(control.foscttm, 0.5, 0.06);
  EXPECT_LT(control.transfer_rna_to_atac, 0.25);
  EXPECT_EQ(to_json(control)["control"], "permuted");
}

TEST(Pairs, DonorsWhomNoPermutationMovesAreWarnedOf) {
  std::vector<std::string> of_atac;
  for (int size = 1; size <= 5; ++size) of_atac.insert(of_atac.end(), static_cast<size_t>(size), fmt::format("D{:03d}", size - 1));
  const auto rna = embedding("R", gaussian(5, 3, 90), donors(5)), atac = embedding("A", gaussian(15, 3, 91), of_atac);
  const auto said = [](const PairsResult& r) {
    return std::any_of(r.warnings.begin(), r.warnings.end(), [](const std::string& w) { return w.find("5 donors have as many samples as no other") == 0; });
  };
  const PairsResult r = evaluate_pairs(rna, atac);
  EXPECT_TRUE(said(r));
  EXPECT_NEAR(r.chance_foscttm, r.foscttm, 1e-12) << "every permutation is the pairs themselves";
  EXPECT_FALSE(said(evaluate_pairs(rna, atac, quick())));
  PairsOptions o = quick();
  o.control = Control::permuted;
  EXPECT_TRUE(said(evaluate_pairs(rna, atac, o)));
}

TEST(Pairs, NothingDependsOnOrderOrThreads) {
  const int n = 40;
  std::vector<std::string> cohort;
  for (int i = 0; i < n; ++i) cohort.push_back(fmt::format("C{}", i % 3));
  const data::RowMatrix<double> truth = gaussian(n, 5, 60);
  const auto rna = embedding("R", truth + gaussian(n, 5, 61), donors(n), cohort);
  auto atac = embedding("A", truth + gaussian(n, 5, 62), donors(n), cohort);
  auto comparable = [](const PairsResult& r) { return to_json(r).dump(); };
  const std::string first = comparable(evaluate_pairs(rna, atac));
  {
    test::Threads three(3);
    EXPECT_EQ(comparable(evaluate_pairs(rna, atac)), first);
  }
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::rotate(order.begin(), order.begin() + 13, order.end());
  data::Dataset<double> moved = atac;
  moved.obs = atac.obs.select(order);
  for (size_t i = 0; i < order.size(); ++i) moved.x.row(static_cast<int64_t>(i)) = atac.x.row(order[i]);
  EXPECT_EQ(comparable(evaluate_pairs(rna, moved)), first);
  // Nor on the scale of the embedding, up to the largest numbers.
  auto scaled_rna = rna, scaled_atac = atac;
  scaled_rna.x *= 0x1p900, scaled_atac.x *= 0x1p900;
  EXPECT_EQ(comparable(evaluate_pairs(scaled_rna, scaled_atac)), first);
}

TEST(Pairs, HoldoutIsTheDefault) {
  const int n = 20;
  const data::RowMatrix<double> truth = gaussian(n, 3, 50);
  auto rna = embedding("R", truth, donors(n)), atac = embedding("A", truth, donors(n));
  std::vector<std::string> split;
  for (int i = 0; i < n; ++i) split.push_back(i < 6 ? "holdout" : "train");
  set_factor(rna.obs, "split", split);
  set_factor(atac.obs, "split", split);
  PairsResult r = evaluate_pairs(rna, atac, quick());
  EXPECT_EQ(r.n_pairs, 6);
  EXPECT_EQ(r.on, "holdout");
  EXPECT_EQ(r.rna_evaluated, 6);
  // Of samples without a split all are evaluated; who they are paired with is held out all the same.
  auto apart = atac;
  apart.obs.columns.pop_back();
  r = evaluate_pairs(rna, apart, quick());
  EXPECT_EQ(r.n_pairs, 6);
  EXPECT_EQ(r.on, "holdout");
  EXPECT_EQ(r.atac_evaluated, n);
  PairsOptions o = quick();
  o.on = On::all;
  r = evaluate_pairs(rna, atac, o);
  EXPECT_EQ(r.n_pairs, n);
  EXPECT_EQ(r.on, "all");
}

TEST(Pairs, TableOfPairs) {
  const auto rna = embedding("R", column({0, 1, 10}), {"x", "y", "z"}), atac = embedding("A", column({0.1, 9, 1.2}), {"u", "v", "w"});
  std::vector<data::SamplePair> pairs = {
      {"A000", "R000", 1, ""}, {"A001", "R002", 1, ""}, {"A002", "R001", 1, ""}, {"A002", "R000", 6, ""}, {"A999", "R001", 1, ""}};
  PairsOptions o = quick();
  o.pairs = &pairs;
  const PairsResult r = evaluate_pairs(rna, atac, o);
  EXPECT_EQ(r.n_pairs, 3);  // tier 6 is no truth, A999 is not there
  EXPECT_EQ(r.recall[0], 1);
  EXPECT_EQ(r.foscttm, 0);
  ASSERT_GE(r.warnings.size(), 1u);
  EXPECT_NE(r.warnings[0].find("1 pairs of two donors"), std::string::npos) << r.warnings[0];
  pairs = {{"A999", "R001", 1, ""}, {"A000", "R000", 2, ""}};
  EXPECT_ERROR(ErrorCode::input, "no pair can be judged", evaluate_pairs(rna, atac, o));
  pairs = {{"A000", "R000", 1, ""}};
  EXPECT_ERROR(ErrorCode::input, "1 pairs of 1 donors", evaluate_pairs(rna, atac, o));
  pairs = {{"A000", "R000", 1, ""}, {"A000", "R001", 1, ""}, {"A001", "R000", 1, ""}, {"A001", "R001", 1, ""}};
  EXPECT_ERROR(ErrorCode::input, "every other", evaluate_pairs(rna, atac, o));
}

TEST(Pairs, Refused) {
  const auto rna = embedding("R", gaussian(4, 3, 40), donors(4)), atac = embedding("A", gaussian(4, 2, 41), donors(4));
  EXPECT_ERROR(ErrorCode::input, "3 dimensions", evaluate_pairs(rna, atac));
  EXPECT_ERROR(ErrorCode::input, "no donor has both", evaluate_pairs(rna, embedding("A", gaussian(2, 3, 42), {"p", "q"})));
  EXPECT_ERROR(ErrorCode::input, "1 donors", evaluate_pairs(rna, embedding("A", gaussian(2, 3, 42), {"D000", "D000"})));
  auto broken = embedding("A", gaussian(4, 3, 42), donors(4));
  broken.x(2, 1) = kInfinite;
  EXPECT_ERROR(ErrorCode::input, "A002", evaluate_pairs(rna, broken));
  broken.x(2, 1) = std::nan("");
  EXPECT_ERROR(ErrorCode::input, "A002", evaluate_pairs(rna, broken));
  PairsOptions o;
  o.mixing_neighbours = 0;
  EXPECT_ERROR(ErrorCode::usage, "--mixing-neighbours", evaluate_pairs(rna, rna, o));
  o = {};
  o.transfer_neighbours = 0;
  EXPECT_ERROR(ErrorCode::usage, "--transfer-neighbours", evaluate_pairs(rna, rna, o));
  o = {};
  o.permutations = -1;
  EXPECT_ERROR(ErrorCode::usage, "--permutations", evaluate_pairs(rna, rna, o));
  o = {};
  o.on = On::holdout;
  EXPECT_ERROR(ErrorCode::input, "hold-out", evaluate_pairs(rna, rna, o));
}

TEST(Pairs, WhatIsPrintedAndWritten) {
  PairsResult r;
  r.rna = {31, 0.125, 0.25, 29, {0.5, 0.625, 0.75}, {}}, r.atac = {37, 0.375, 0.4375, 23, {0.5625, 0.6875, 0.8125}, {}};
  r.foscttm = 0.25, r.foscttm_within_cohort = 0.34375, r.chance_foscttm = 0.53125, r.chance_sd = 0.03125, r.z = -9;
  for (int k = 0; k < 3; ++k) r.recall[k] = 0.53125 + k / 8.0, r.chance_recall[k] = 0.0625 * (k + 1);
  r.mixing_entropy = 0.875, r.chance_mixing_entropy = 0.9375;
  r.transfer_rna_to_atac = 0.6875, r.transfer_atac_to_rna = 0.71875, r.majority_atac = 0.1875, r.majority_rna = 0.21875;
  r.mixing_k = 15, r.transfer_k_rna = 5, r.transfer_k_atac = 4, r.n_pairs = 41, r.donors = 19, r.rna_samples = 31, r.atac_samples = 37;
  r.rna_evaluated = 53, r.atac_evaluated = 59, r.dimensions = 8, r.permutations = 200, r.on = "all", r.warnings = {"few"};
  EXPECT_EQ(to_json(r), Json::parse(R"({"foscttm": 0.25, "recall_at_1": 0.53125, "recall_at_5": 0.65625, "recall_at_10": 0.78125, "mixing_entropy": 0.875,
    "transfer_rna_to_atac": 0.6875, "transfer_atac_to_rna": 0.71875, "n_pairs": 41, "foscttm_within_cohort": 0.34375, "chance_foscttm": 0.53125,
    "chance_sd": 0.03125, "z": -9.0, "permutations": 200, "chance_recall_at_1": 0.0625, "chance_recall_at_5": 0.125, "chance_recall_at_10": 0.1875,
    "chance_mixing_entropy": 0.9375, "majority_share_atac": 0.1875, "majority_share_rna": 0.21875,
    "rna_queries": {"queries": 31, "foscttm": 0.125, "foscttm_within_cohort": 0.25, "within_cohort_queries": 29, "recall_at_1": 0.5, "recall_at_5": 0.625,
      "recall_at_10": 0.75},
    "atac_queries": {"queries": 37, "foscttm": 0.375, "foscttm_within_cohort": 0.4375, "within_cohort_queries": 23, "recall_at_1": 0.5625,
      "recall_at_5": 0.6875, "recall_at_10": 0.8125},
    "mixing_k": 15, "transfer_k_rna_to_atac": 5, "transfer_k_atac_to_rna": 4, "donors": 19, "rna_samples": 31, "atac_samples": 37, "rna_evaluated": 53,
    "atac_evaluated": 59, "dimensions": 8, "on": "all", "control": "none", "warnings": ["few"]})"));
  EXPECT_EQ(to_text(r),
            "41 pairs of 19 donors (all): 31 RNA and 37 ATAC samples in 8 dimensions\n\n"
            "pairs                                       score  by chance  RNA finds ATAC  ATAC finds RNA\n"
            "-----------------------------------------  ------  ---------  --------------  --------------\n"
            "FOSCTTM (0 is best)                        0.2500     0.5000          0.1250          0.3750\n"
            "  within the cohort                        0.3438     0.5000          0.2500          0.4375\n"
            "recall at 1                                0.5312     0.0625          0.5000          0.5625\n"
            "recall at 5                                0.6562     0.1250          0.6250          0.6875\n"
            "recall at 10                               0.7812     0.1875          0.7500          0.8125\n"
            "mixing entropy, 15 neighbours              0.8750     0.9375\n"
            "cohort transfer RNA to ATAC, 5 neighbours  0.6875     0.1875\n"
            "cohort transfer ATAC to RNA, 4 neighbours  0.7188     0.2188\n\n"
            "FOSCTTM of 200 permutations: 0.5312 +- 0.0312, z = -9.0\n");
}

// Chance is what the same scores give where ATAC samples stand in each other's place. Donors have one ATAC and up to three RNA samples, so
// that both directions differ.
TEST(Pairs, ChanceIsTheScoreOfPermutedSamples) {
  std::vector<std::string> of_rna, of_atac;
  for (int i = 0; i < 24; ++i)
    for (int k = 0; k <= i % 3; ++k) of_rna.push_back(fmt::format("D{:03d}", i));
  for (int i = 0; i < 24; ++i) of_atac.push_back(fmt::format("D{:03d}", i));
  const auto rna = embedding("R", gaussian(static_cast<int64_t>(of_rna.size()), 3, 50), of_rna), atac = embedding("A", gaussian(24, 3, 51), of_atac);
  PairsOptions o;
  o.permutations = 1, o.seed = 5;
  const std::vector<int64_t> from = permute_donors(of_atac, o.seed, 0);
  auto permuted = atac;
  for (int64_t i = 0; i < 24; ++i) permuted.x.row(i) = atac.x.row(from[static_cast<size_t>(i)]);
  const PairsResult expected = evaluate_pairs(rna, permuted, quick());
  EXPECT_NE(expected.rna.foscttm, expected.atac.foscttm);
  EXPECT_NEAR(evaluate_pairs(rna, atac, o).chance_foscttm, expected.foscttm, 1e-14);
}

TEST(Pairs, SamplesOfUnseenCohortsAreCounted) {
  std::vector<std::string> of_rna(12, "X"), of_atac(12, "X");
  for (int i : {2, 5, 7}) of_atac[static_cast<size_t>(i)] = "Y";
  of_atac[9] = "Z";
  const auto rna = embedding("R", gaussian(12, 3, 52), donors(12), of_rna), atac = embedding("A", gaussian(12, 3, 53), donors(12), of_atac);
  const std::string warnings = to_json(evaluate_pairs(rna, atac, quick()))["warnings"].dump();
  EXPECT_NE(warnings.find("4 ATAC samples are of cohorts that no RNA sample has"), std::string::npos) << warnings;
  EXPECT_EQ(warnings.find("RNA samples are of cohorts that no ATAC"), std::string::npos) << warnings;
}

TEST(Pairs, JsonAndTextHaveTheirKeys) {
  const auto rna = embedding("R", gaussian(25, 3, 30), donors(25)), atac = embedding("A", gaussian(25, 3, 31), donors(25));
  const PairsResult r = evaluate_pairs(rna, atac);
  const Json j = to_json(r);
  for (const char* key : {"foscttm", "recall_at_1", "recall_at_5", "recall_at_10", "mixing_entropy", "transfer_rna_to_atac", "transfer_atac_to_rna", "n_pairs",
                          "foscttm_within_cohort", "chance_foscttm", "chance_sd", "z", "chance_recall_at_1", "chance_mixing_entropy", "mixing_k", "donors",
                          "on", "control", "warnings"})
    EXPECT_TRUE(j.contains(key)) << key;
  EXPECT_EQ(j["transfer_rna_to_atac"], nullptr);
  EXPECT_EQ(Json::parse(j.dump()), j);
  for (const char* words : {"FOSCTTM", "recall at 10", "mixing entropy", "25 pairs of 25 donors"})
    EXPECT_NE(to_text(r).find(words), std::string::npos) << words;
}

}  // namespace
}  // namespace panvae::eval
