#include "eval/alignment.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/file.h"
#include "data/read.h"
#include "eval/lapack.h"
#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using test::cohorts;
using test::gaussian;
using test::set_factor;

const std::string kReference = std::string(PANVAE_SOURCE_DIR) + "/tests/reference/stats/";

AlignmentOptions without_permutations(int64_t angles = 100) {
  AlignmentOptions o;
  o.permutations = 0;
  o.angles = angles;
  return o;
}

// SciPy: linalg.subspace_angles of the centred labels and the top components.
TEST(Alignment, AgreesWithScipy) {
  data::ReadOptions read;
  read.obs_table = kReference + "align_obs.tsv";
  const auto d = data::read_dataset<double>(kReference + "align_embedding.tsv", read);
  const Json reference = Json::parse(read_file(kReference + "expected_alignment.json"));
  for (int64_t angles : {100, 20}) {
    const Json expected = reference[fmt::format("angles_{}", angles)];
    AlignmentOptions o;
    o.angles = angles;
    const AlignmentResult r = evaluate_alignment(d, o);
    EXPECT_NEAR(r.distance, expected["distance"].get<double>(), 1e-9);
    ASSERT_EQ(r.angles.size(), expected["angles"].size());
    for (size_t i = 0; i < r.angles.size(); ++i) EXPECT_NEAR(r.angles[i], expected["angles"][i].get<double>(), 1e-9);
    EXPECT_EQ(r.label_rank, expected["label_rank"].get<int64_t>());
    EXPECT_EQ(r.embedding_rank, expected["embedding_rank"].get<int64_t>());
    EXPECT_LT(r.z, -10);
  }
}

TEST(Alignment, JsonHasTheKeysOfTheContract) {
  const AlignmentResult r = evaluate_alignment(cohorts(4, 15, 6, 3));
  const Json j = to_json(r);
  for (const char* key : {"distance", "angles", "n_angles", "max_distance", "chance_distance", "label_rank", "embedding_rank", "z", "completed_distance",
                          "chance_squared_cosine", "warnings", "control", "on"})
    EXPECT_TRUE(j.contains(key)) << key;
  EXPECT_EQ(j["n_angles"], 3);
  EXPECT_EQ(j["label_rank"], 3);
  EXPECT_EQ(j["embedding_rank"], 6);
  EXPECT_NEAR(j["max_distance"].get<double>(), std::sqrt(3.0) * M_PI / 2, 1e-15);
  EXPECT_NEAR(r.completed_distance, std::sqrt(r.distance * r.distance + 3 * M_PI * M_PI / 4), 1e-12);
  EXPECT_TRUE(std::is_sorted(r.angles.begin(), r.angles.end()));
  const std::string text = to_text(r);
  for (const char* part : {"60 samples", "by chance", "Schubert", "4 cohorts"}) EXPECT_NE(text.find(part), std::string::npos) << part;
}

// Directions that either side has beyond the other count as right angles.
TEST(Alignment, LabelsOfMoreDirectionsThanTheEmbedding) {
  const AlignmentResult r = evaluate_alignment(cohorts(4, 15, 6, 3), without_permutations(1));
  EXPECT_EQ(r.label_rank, 3);
  EXPECT_EQ(r.embedding_rank, 1);
  EXPECT_NEAR(r.completed_distance, std::sqrt(r.distance * r.distance + 2 * M_PI * M_PI / 4), 1e-12);
}

// Angles that are known: b is a turned by them, tiny ones included, which arccos alone would lose.
TEST(Alignment, KnownAnglesComeBack) {
  const std::vector<double> angle = {1e-12, 3e-9, 1e-4, 0.3, M_PI / 4, 1.2, M_PI / 2};
  const auto n = static_cast<int64_t>(angle.size());
  Eigen::MatrixXd basis = gaussian(40, 2 * n + 3, 1);
  lapack::qr(basis);
  const Eigen::MatrixXd a = basis.leftCols(n);
  Eigen::MatrixXd b(40, n);
  for (int64_t i = 0; i < n; ++i)
    b.col(i) = std::cos(angle[static_cast<size_t>(i)]) * basis.col(i) + std::sin(angle[static_cast<size_t>(i)]) * basis.col(n + i);
  // A basis turned within its subspace is the same subspace.
  Eigen::MatrixXd turn = gaussian(n, n, 2);
  lapack::qr(turn);
  const std::vector<double> found = principal_angles(a, b * turn);
  for (size_t i = 0; i < angle.size(); ++i) EXPECT_NEAR(found[i], angle[i], 1e-15 + 1e-13 * angle[i]) << i;
  // More directions on one side add nothing if they are orthogonal to the other.
  Eigen::MatrixXd wide(40, n + 3);
  wide << b, basis.rightCols(3);
  for (const auto& both : {principal_angles(a, wide), principal_angles(wide, a)})
    for (size_t i = 0; i < angle.size(); ++i) EXPECT_NEAR(both[i], angle[i], 1e-15 + 1e-13 * angle[i]) << i;
  EXPECT_TRUE(principal_angles(a, Eigen::MatrixXd(40, 0)).empty());
  EXPECT_ERROR(ErrorCode::usage, "principal_angles", principal_angles(a, Eigen::MatrixXd(39, 2)));
}

// The labels themselves as embedding, under any invertible map, scale and shift: distance 0.
TEST(Alignment, LinearCohortsHaveDistanceZero) {
  auto d = cohorts(5, 12, 4, 1);
  const data::RowMatrix<double> map = gaussian(5, 4, 3);
  for (int64_t i = 0; i < d.samples(); ++i) d.x.row(i) = (map.row(i % 5).array() * 1e3 + 1e5).matrix();
  const AlignmentResult r = evaluate_alignment(d);
  EXPECT_LT(r.distance, 1e-9);
  EXPECT_NEAR(r.mean_squared_cosine, 1, 1e-12);
  EXPECT_EQ(r.embedding_rank, 4);
  EXPECT_EQ(r.n, 60);
}

TEST(Alignment, RandomEmbeddingsAreAtChance) {
  // Without signal, 400 samples of 21 cohorts and 100 components have a distance of about 4.68.
  auto d = test::dataset(gaussian(400, 150, 9));
  std::vector<std::string> cohort;
  for (int i = 0; i < 400; ++i) cohort.push_back(fmt::format("C{}", i % 21));
  set_factor(d.obs, "cohort", cohort);
  const AlignmentResult r = evaluate_alignment(d);
  EXPECT_EQ(r.label_rank, 20);
  EXPECT_EQ(r.embedding_rank, 100);
  EXPECT_LT(std::abs(r.z), 4);
  EXPECT_NEAR(r.distance, r.chance_distance, 4 * r.chance_sd);
  EXPECT_NEAR(r.mean_squared_cosine, r.chance_squared_cosine, 0.05);
  EXPECT_DOUBLE_EQ(r.chance_squared_cosine, 100.0 / 399);
  EXPECT_NEAR(r.max_distance, 7.0248, 1e-4);
  EXPECT_NEAR(r.chance_distance, 4.684, 4 * r.chance_sd);  // 4.684: one draw, by scipy
}

TEST(Alignment, PermutedLabelsAreAtChance) {
  const auto d = cohorts(6, 25, 10, 4);
  AlignmentOptions o;
  EXPECT_LT(evaluate_alignment(d, o).z, -20);
  o.control = Control::permuted;
  double sum = 0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    o.seed = seed;
    const AlignmentResult r = evaluate_alignment(d, o);
    EXPECT_LT(std::abs(r.z), 4.5);
    sum += r.z;
  }
  EXPECT_LT(std::abs(sum), 4 * std::sqrt(8.0));
  EXPECT_EQ(to_json(evaluate_alignment(d, o))["control"], "permuted");
}

// An embedding that knows donors, and nothing else, is no better than chance: donors are permuted as wholes.
TEST(Alignment, ReplicatesOfADonorAreNoEvidence) {
  auto d = cohorts(4, 40, 20, 0, 31);
  std::vector<std::string> donor, cohort;
  for (int i = 0; i < 160; ++i) {
    donor.push_back(fmt::format("D{:02d}", i / 4));
    cohort.push_back(fmt::format("C{}", (i / 4) % 4));
    if (i % 4) d.x.row(i) = d.x.row(i - 1) + 0.01 * gaussian(1, 20, static_cast<uint32_t>(500 + i));
  }
  set_factor(d.obs, "donor", donor);
  set_factor(d.obs, "cohort", cohort);
  const AlignmentResult r = evaluate_alignment(d);
  EXPECT_EQ(r.donors, 40);
  EXPECT_LT(std::abs(r.z), 4);
}

// Of two permutations the standard deviation is their difference over sqrt(2).
TEST(Alignment, TheSpreadOfTwoPermutations) {
  const auto e = cohorts(3, 12, 4, 0.5);
  AlignmentOptions o;
  o.permutations = 1;
  const double first = evaluate_alignment(e, o).chance_distance;
  o.permutations = 2;
  const AlignmentResult r = evaluate_alignment(e, o);
  const double second = 2 * r.chance_distance - first;
  EXPECT_GT(std::abs(second - first), 1e-3);
  EXPECT_NEAR(r.chance_sd, std::abs(second - first) / std::sqrt(2.0), 1e-12);
  EXPECT_NEAR(r.z, (r.distance - r.chance_distance) / r.chance_sd, 1e-9);
}

// Where every sample is a cohort of its own, the labels hold all directions: any permutation has distance 0, but for rounding.
TEST(Alignment, RoundingOfDistancesIsNoSpread) {
  auto d = test::dataset(gaussian(7, 3, 33));
  set_factor(d.obs, "cohort", {"A", "B", "C", "D", "E", "F", "G"});
  AlignmentOptions o;
  o.angles = 2;
  const AlignmentResult r = evaluate_alignment(d, o);
  EXPECT_LT(r.distance, 1e-7);
  EXPECT_LT(r.chance_distance, 1e-7);
  EXPECT_TRUE(std::isnan(r.z));
  ASSERT_EQ(r.warnings.size(), 1u);
  EXPECT_NE(r.warnings[0].find("permuted labels all give the same distance"), std::string::npos) << r.warnings[0];
}

TEST(Alignment, CohortsThatAreDatasetsAreSaid) {
  auto e = cohorts(3, 8, 4, 2);
  const auto said = [&] { return to_json(evaluate_alignment(e, without_permutations()))["warnings"].dump(); };
  std::vector<std::string> dataset(24, "one");
  set_factor(e.obs, "dataset", dataset);
  EXPECT_EQ(said().find("aliased"), std::string::npos) << said();
  for (size_t i = 0; i < 24; ++i)
    if (i % 3 == 0) dataset[i] = "two";
  set_factor(e.obs, "dataset", dataset);
  EXPECT_NE(said().find("cohorts are aliased with datasets: the 2 datasets fall into 2 parts"), std::string::npos) << said();
}

TEST(Alignment, OrderAndThreadsDoNotMatter) {
  auto d = cohorts(5, 30, 40, 0.7);
  std::vector<int64_t> rows = test::all_rows(150);
  PhiloxSequence g(PhiloxKey{6, 0, 0});
  for (size_t i = rows.size() - 1; i > 0; --i) std::swap(rows[i], rows[g.below(i + 1)]);
  data::Dataset<double> shuffled = d;
  shuffled.obs = d.obs.select(rows);
  for (size_t i = 0; i < rows.size(); ++i) shuffled.x.row(static_cast<int64_t>(i)) = d.x.row(rows[i]);
  const test::Threads one(1);
  const std::string a = to_json(evaluate_alignment(d)).dump(), b = to_json(evaluate_alignment(shuffled)).dump();
  set_threads(4);
  EXPECT_EQ(a, b);
  EXPECT_EQ(a, to_json(evaluate_alignment(d)).dump());
}

TEST(Alignment, EverythingSpannedIsWarnedOf) {
  const auto d = cohorts(3, 8, 60, 0);
  const AlignmentResult r = evaluate_alignment(d);
  EXPECT_EQ(r.embedding_rank, 22);  // N - 2
  ASSERT_FALSE(r.warnings.empty());
  EXPECT_NE(r.warnings.front().find("fewer --angles"), std::string::npos);
  AlignmentOptions few;
  few.angles = 2;
  const AlignmentResult s = evaluate_alignment(d, few);
  EXPECT_EQ(s.angles.size(), 2u);
  EXPECT_TRUE(s.warnings.empty());
  // Nine samples have eight directions: four are half of them, three are fewer.
  const auto nine = cohorts(3, 3, 5, 0);
  const AlignmentResult half = evaluate_alignment(nine, without_permutations(4));
  ASSERT_EQ(half.warnings.size(), 1u);
  EXPECT_NE(half.warnings[0].find("4 components of 9 samples hold 50 % of all directions"), std::string::npos) << half.warnings[0];
  EXPECT_TRUE(evaluate_alignment(nine, without_permutations(3)).warnings.empty());
}

TEST(Alignment, ConstantColumnsAndOffsetsAddNoDirection) {
  auto d = cohorts(3, 20, 5, 2);
  const AlignmentResult r = evaluate_alignment(d, without_permutations());
  auto e = d;
  e.x.conservativeResize(Eigen::NoChange, 8);
  e.x.col(5).setConstant(1e6);
  e.x.col(6).setConstant(1.0 / 3);
  e.x.col(7) = e.x.col(0) + e.x.col(1);
  for (int j = 5; j < 8; ++j) e.var.keys.push_back(fmt::format("z{}", j));
  const AlignmentResult s = evaluate_alignment(e, without_permutations());
  EXPECT_EQ(s.embedding_rank, 5);
  EXPECT_NEAR(s.distance, r.distance, 1e-8);
}

// Coordinates of 20 bits below a large offset have all their digits in a double, and the angles are those without the offset.
TEST(Alignment, AnOffsetChangesNothing) {
  auto d = cohorts(3, 20, 5, 2);
  d.x = d.x.unaryExpr([](double v) { return std::round(v * 0x1p12) * 0x1p-32; });
  const AlignmentResult r = evaluate_alignment(d, without_permutations());
  d.x.array() += 3 * 0x1p18;
  EXPECT_NEAR(evaluate_alignment(d, without_permutations()).distance, r.distance, 1e-12);
}

TEST(Alignment, DonorsWhomNoPermutationMovesAreWarnedOf) {
  auto d = cohorts(4, 9, 3, 2);
  std::vector<std::string> donor;
  for (int size = 1; size <= 8; ++size) donor.insert(donor.end(), static_cast<size_t>(size), fmt::format("D{}", size));
  const auto said = [](const AlignmentResult& r) {
    return std::any_of(r.warnings.begin(), r.warnings.end(), [](const std::string& w) { return w.find("8 donors have as many samples as no other") == 0; });
  };
  EXPECT_FALSE(said(evaluate_alignment(d)));
  set_factor(d.obs, "donor", donor);
  AlignmentOptions o;
  const AlignmentResult r = evaluate_alignment(d, o);
  EXPECT_TRUE(said(r)) << "every permutation is the labels themselves";
  EXPECT_NEAR(r.chance_distance, r.distance, 1e-12);
  o.permutations = 0;
  EXPECT_FALSE(said(evaluate_alignment(d, o)));
  o.control = Control::permuted;
  EXPECT_TRUE(said(evaluate_alignment(d, o)));
}

// The mean of equal values is not always their value: beside coordinates this small the rest would be a direction.
TEST(Alignment, LargeConstantsAndExtremeValuesAddNoDirection) {
  auto d = cohorts(3, 20, 5, 2);
  d.x *= 0x1p-20;
  const AlignmentResult r = evaluate_alignment(d, without_permutations());
  auto e = d;
  e.x.conservativeResize(Eigen::NoChange, 13);
  for (int j = 5; j < 13; ++j) e.x.col(j).setConstant(1e6 / (2 * j + 3)), e.var.keys.push_back(fmt::format("z{}", j));
  const AlignmentResult s = evaluate_alignment(e, without_permutations());
  EXPECT_EQ(s.embedding_rank, 5);
  EXPECT_NEAR(s.distance, r.distance, 1e-8);
  // Values whose sums and squares are no doubles. By powers of two, so that nothing else is rounded.
  for (const int power : {-1000, 1023}) {
    auto f = d;
    const int up = power - std::ilogb(d.x.cwiseAbs().maxCoeff());
    f.x = d.x.unaryExpr([up](double v) { return std::ldexp(v, up); });
    EXPECT_EQ(evaluate_alignment(f, without_permutations()).distance, r.distance) << power;
  }
}

TEST(Alignment, ThePermutationOfTheControlIsNoneOfThoseOfChance) {
  const auto d = cohorts(4, 15, 6, 3);
  AlignmentOptions o;
  o.permutations = 1;
  const double chance = evaluate_alignment(d, o).chance_distance;
  o.control = Control::permuted;
  EXPECT_GT(std::abs(evaluate_alignment(d, o).distance - chance), 1e-6);
}

TEST(Alignment, WhatIsPrintedAndWritten) {
  AlignmentResult r;
  r.angles = {0.5, 0.75, 1.25};
  r.distance = 1.5, r.max_distance = 3, r.completed_distance = 4.5, r.mean_squared_cosine = 0.375, r.chance_squared_cosine = 0.0625;
  r.chance_distance = 2.25, r.chance_sd = 0.125, r.z = -6, r.permutations = 200, r.label_rank = 3, r.embedding_rank = 7;
  r.n = 41, r.donors = 37, r.dimensions = 9, r.classes = 4, r.unlabelled = 2, r.on = "holdout", r.warnings = {"few"};
  EXPECT_EQ(to_json(r), Json::parse(R"({"distance": 1.5, "angles": [0.5, 0.75, 1.25], "n_angles": 3, "max_distance": 3.0, "chance_distance": 2.25,
    "chance_sd": 0.125, "z": -6.0, "permutations": 200, "label_rank": 3, "embedding_rank": 7, "relative_distance": 0.5, "completed_distance": 4.5,
    "mean_squared_cosine": 0.375, "chance_squared_cosine": 0.0625, "n": 41, "donors": 37, "dimensions": 9, "classes": 4, "unlabelled": 2,
    "on": "holdout", "control": "none", "warnings": ["few"]})"));
  EXPECT_EQ(to_text(r),
            "41 samples of 37 donors (holdout), 4 cohorts (rank 3), top 7 components of 9 dimensions\n\n"
            "Grassmann distance\n"
            "-----------------------------------  ------\n"
            "distance                             1.5000\n"
            "largest possible                     3.0000\n"
            "by chance, mean of 200 permutations  2.2500\n"
            "  standard deviation                 0.1250\n"
            "  z                                    -6.0\n"
            "Schubert-completed distance          4.5000\n"
            "mean squared cosine                  0.3750\n"
            "  by chance, p / (n - 1)             0.0625\n"
            "angles                                    3\n"
            "  smallest, radians                  0.5000\n"
            "  largest                            1.2500\n");
}

TEST(Alignment, MapsMergeCohortsAndMissingOnesAreLeftOut) {
  auto d = cohorts(4, 10, 3, 2);
  data::Table map;
  map.keys = {"C00", "C01"};
  set_factor(map, "merged", {"X", "X"});
  AlignmentOptions o = without_permutations();
  o.cohort_map = &map;
  EXPECT_EQ(evaluate_alignment(d, o).label_rank, 2);
  std::vector<std::string> cohort;
  for (int i = 0; i < 40; ++i) cohort.push_back(i % 5 ? fmt::format("C0{}", i % 4) : "");
  set_factor(d.obs, "cohort", cohort);
  const AlignmentResult r = evaluate_alignment(d, without_permutations());
  EXPECT_EQ(r.unlabelled, 8);
  EXPECT_EQ(r.n, 32);
}

TEST(Alignment, RefusesWhatHasNoAngles) {
  auto d = cohorts(3, 10, 4, 1);
  EXPECT_ERROR(ErrorCode::usage, "--angles", evaluate_alignment(d, without_permutations(0)));
  AlignmentOptions o;
  o.permutations = -1;
  EXPECT_ERROR(ErrorCode::usage, "--permutations", evaluate_alignment(d, o));
  auto constant = d;
  constant.x.setConstant(0.1);
  EXPECT_ERROR(ErrorCode::input, "same for all samples", evaluate_alignment(constant));
  auto one = d;
  set_factor(one.obs, "cohort", std::vector<std::string>(30, "A"));
  EXPECT_ERROR(ErrorCode::input, "1 cohorts", evaluate_alignment(one));
  auto nan = d;
  nan.x(7, 2) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_ERROR(ErrorCode::input, "sample 'S0007', feature 'z2'", evaluate_alignment(nan));
  auto two = test::dataset(gaussian(2, 3, 1));
  set_factor(two.obs, "cohort", {"A", "B"});
  EXPECT_ERROR(ErrorCode::input, "three samples", evaluate_alignment(two));
  EXPECT_ERROR(ErrorCode::input, "cohort", evaluate_alignment(test::dataset(gaussian(9, 3, 1))));
}

// Whatever comes: an answer whose numbers are finite and in range, or an error that says what is wrong.
TEST(Alignment, AnythingGivesAnAnswerOrAnError) {
  PhiloxSequence g(PhiloxKey{21, 0, 0});
  int answers = 0;
  for (int round = 0; round < 300; ++round) {
    const auto n = static_cast<int64_t>(1 + g.below(24)), k = static_cast<int64_t>(1 + g.below(30)), classes = static_cast<int64_t>(1 + g.below(6));
    auto d = test::dataset(gaussian(n, k, static_cast<uint32_t>(1000 + round)));
    std::vector<std::string> cohort, donor;
    for (int64_t i = 0; i < n; ++i) {
      cohort.push_back(g.below(10) == 0 ? "" : fmt::format("C{}", g.below(static_cast<uint64_t>(classes))));
      donor.push_back(g.below(10) == 0 ? "" : fmt::format("D{}", g.below(12)));
      if (g.below(4) == 0) d.x.row(i) = d.x.row(static_cast<int64_t>(g.below(static_cast<uint64_t>(n))));  // ties
    }
    for (int64_t j = 0; j < k; ++j) {
      if (g.below(5) == 0) d.x.col(j).setConstant(1e7);
      if (g.below(9) == 0) d.x.col(j) *= std::pow(10.0, static_cast<double>(g.below(300)) - 150);
    }
    if (g.below(12) == 0) d.x(0, 0) = std::numeric_limits<double>::infinity();
    set_factor(d.obs, "cohort", cohort);
    set_factor(d.obs, "donor", donor);
    AlignmentOptions o;
    o.permutations = static_cast<int>(g.below(4));
    o.angles = static_cast<int64_t>(1 + g.below(12));
    o.control = g.below(3) == 0 ? Control::permuted : Control::none;
    try {
      const AlignmentResult r = evaluate_alignment(d, o);
      ++answers;
      EXPECT_EQ(static_cast<int64_t>(r.angles.size()), std::min(r.label_rank, r.embedding_rank));
      EXPECT_LE(r.embedding_rank, std::min(o.angles, n - 2));
      EXPECT_TRUE(r.distance >= 0 && r.distance <= r.max_distance * (1 + 1e-12)) << round << ": " << r.distance;
      for (double a : r.angles) EXPECT_TRUE(a >= 0 && a <= M_PI / 2 + 1e-12);
      EXPECT_TRUE(std::isfinite(r.completed_distance) && std::isfinite(r.mean_squared_cosine));
      EXPECT_EQ(to_json(r).dump().find("nan"), std::string::npos);
      (void)to_text(r);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::input) << e.what();
    }
  }
  EXPECT_GT(answers, 150);
}

}  // namespace
}  // namespace panvae::eval
