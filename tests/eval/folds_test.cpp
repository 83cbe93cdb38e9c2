#include "eval/folds.h"

#include <algorithm>
#include <map>
#include <set>

#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

struct Sample {
  std::string donor;
  int32_t label;
};

// Donors with 1 to 4 samples each; classes of unequal size; a few donors with samples of two classes.
std::vector<Sample> samples(int donors, int classes) {
  std::vector<Sample> out;
  PhiloxSequence g(PhiloxKey{3, 1, 0});
  for (int d = 0; d < donors; ++d) {
    const auto label = static_cast<int32_t>(std::min(g.below(static_cast<uint64_t>(classes)), g.below(static_cast<uint64_t>(classes))));
    const int n = 1 + static_cast<int>(g.below(4));
    for (int s = 0; s < n; ++s) out.push_back({fmt::format("D{}", d), s == 3 ? (label + 1) % classes : label});
  }
  return out;
}

std::vector<int32_t> folds(const std::vector<Sample>& s, int classes, int n, uint64_t seed) {
  std::vector<std::string> donor;
  std::vector<int32_t> label;
  for (const Sample& x : s) donor.push_back(x.donor), label.push_back(x.label);
  return stratified_group_folds(donor, label, classes, n, seed);
}

TEST(Folds, DonorsStayWholeAndClassesAreEven) {
  const auto s = samples(400, 7);
  const auto fold = folds(s, 7, 5, 0);
  std::map<std::string, std::set<int32_t>> of_donor;
  std::vector<std::vector<int64_t>> count(5, std::vector<int64_t>(7, 0));
  std::vector<int64_t> total(7, 0);
  for (size_t i = 0; i < s.size(); ++i) {
    of_donor[s[i].donor].insert(fold[i]);
    ++count[static_cast<size_t>(fold[i])][static_cast<size_t>(s[i].label)];
    ++total[static_cast<size_t>(s[i].label)];
  }
  for (const auto& [donor, f] : of_donor) EXPECT_EQ(f.size(), 1u) << donor;
  for (size_t f = 0; f < 5; ++f)
    for (size_t c = 0; c < 7; ++c) EXPECT_NEAR(static_cast<double>(count[f][c]), static_cast<double>(total[c]) / 5, 3) << "fold " << f << ", class " << c;
}

TEST(Folds, OneSamplePerDonorIsStratified) {
  std::vector<Sample> s;
  for (int i = 0; i < 103; ++i) s.push_back({fmt::format("D{}", i), i % 3 == 0 ? 0 : 1});
  const auto fold = folds(s, 2, 5, 1);
  std::vector<std::vector<int>> count(5, std::vector<int>(2, 0));
  for (size_t i = 0; i < s.size(); ++i) ++count[static_cast<size_t>(fold[i])][static_cast<size_t>(s[i].label)];
  for (const auto& c : count) {
    EXPECT_TRUE(c[0] == 7 || c[0] == 6 || c[0] == 8) << c[0];  // 35 in 5
    EXPECT_NEAR(c[1], 13.6, 1);                                // 68 in 5
  }
}

// The donors with most of one class first: small ones can make up for a large one, and not the other way round.
TEST(Folds, LargeDonorsAreDealtFirst) {
  std::vector<Sample> s{{"a", 0}, {"b", 0}, {"c", 0}, {"d", 0}};
  for (int i = 0; i < 4; ++i) s.push_back({"large", 0});
  s.push_back({"e", 1}), s.push_back({"f", 1});
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const auto fold = folds(s, 2, 2, seed);
    for (size_t i = 0; i < 4; ++i) EXPECT_NE(fold[i], fold[4]) << "seed " << seed << ": four samples in either fold";
    EXPECT_NE(fold[8], fold[9]) << "seed " << seed;
  }
}

// What is evened out are shares of a class. 13 samples of class 0 stand 8 to 3 when "both" comes with two of each class, and three
// of class 1 stand 0 to 1. With the first fold that makes 10:3 and 2:1, with the other 8:5 and 0:3: as counts the second is more
// even, as shares the first, for the other would leave a fold without class 1.
TEST(Folds, RareClassesCountAsMuchAsFrequentOnes) {
  std::vector<Sample> s;
  for (int i = 0; i < 8; ++i) s.push_back({"eight", 0});
  for (int i = 0; i < 3; ++i) s.push_back({"three", 0});
  s.push_back({"one", 1});
  for (int i = 0; i < 4; ++i) s.push_back({"both", i % 2});
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const auto fold = folds(s, 2, 2, seed);
    EXPECT_NE(fold[0], fold[8]);
    EXPECT_EQ(fold[11], fold[8]) << "of equal folds the smaller";
    EXPECT_EQ(fold[12], fold[0]);
  }
}

// Where folds are equal the first takes the donor.
TEST(Folds, TheFirstOfEqualFoldsIsTaken) {
  const std::vector<std::string> donor = {"small", "mid", "mid", "big", "big", "big"};
  EXPECT_EQ(stratified_group_folds(donor, std::vector<int32_t>(6, 0), 2, 3, 1), (std::vector<int32_t>{2, 1, 1, 0, 0, 0}));
}

// Shares that are equal but for the rounding of their sums are equal: a against b + c in the other fold.
TEST(Folds, RoundingOfSharesDecidesNothing) {
  for (int b = 1; b <= 25; ++b)
    for (int c = 1; c <= b; ++c)
      for (int d = 1; d < c; ++d) {
        std::vector<std::string> donor;
        for (const auto& [name, size] : {std::pair{"a", b + c}, {"b", b}, {"c", c}, {"d", d}}) donor.insert(donor.end(), static_cast<size_t>(size), name);
        const auto fold = stratified_group_folds(donor, std::vector<int32_t>(donor.size(), 0), 2, 2, 0);
        EXPECT_EQ(fold.back(), fold.front()) << b << " " << c << " " << d;
      }
}

TEST(Folds, OrderOfSamplesDoesNotMatter) {
  auto s = samples(150, 4);
  const auto fold = folds(s, 4, 5, 9);
  std::map<std::string, int32_t> of_donor;
  for (size_t i = 0; i < s.size(); ++i) of_donor[s[i].donor] = fold[i];
  std::reverse(s.begin(), s.end());
  const auto again = folds(s, 4, 5, 9);
  for (size_t i = 0; i < s.size(); ++i) EXPECT_EQ(again[i], of_donor[s[i].donor]);
}

TEST(Folds, SeedChangesThem) {
  const auto s = samples(150, 4);
  EXPECT_EQ(folds(s, 4, 5, 0), folds(s, 4, 5, 0));
  EXPECT_NE(folds(s, 4, 5, 0), folds(s, 4, 5, 1));
}

// A sample without a fold is told apart from one whose fold is no number.
TEST(Folds, OfAColumn) {
  data::Table obs;
  obs.keys = {"a", "b", "c", "d"};
  const auto with = [&](const std::vector<std::string>& cells) {
    test::set_factor(obs, "fold", cells);
    return folds_of_column(obs, "fold", {0, 1, 2, 3});
  };
  EXPECT_EQ(with({"holdout", "train", "validation", "7"}), (std::vector<int32_t>{0, 1, 1, 7}));
  EXPECT_ERROR(ErrorCode::input, "a sample without a fold (column 'fold', sample 'c')", with({"0", "1", "", "1"}));
  EXPECT_ERROR(ErrorCode::input, "'1.5' is no fold (column 'fold', sample 'b')", with({"0", "1.5", "0", "1"}));
  test::set_number(obs, "fold", {0, 1, 0.5, 1});
  EXPECT_ERROR(ErrorCode::input, "'0.5' is no fold", folds_of_column(obs, "fold", {0, 1, 2, 3}));
  test::set_number(obs, "fold", {0, 1, 0, 3e9});
  EXPECT_ERROR(ErrorCode::input, "'3000000000' is no fold (column 'fold', sample 'd')", folds_of_column(obs, "fold", {0, 1, 2, 3}));
}

TEST(Folds, AsManyAsDonors) {
  const std::vector<Sample> s{{"a", 0}, {"b", 0}, {"c", 1}, {"c", 1}};
  const auto fold = folds(s, 2, 3, 0);
  EXPECT_EQ((std::set<int32_t>{fold[0], fold[1], fold[2]}), (std::set<int32_t>{0, 1, 2}));
  EXPECT_EQ(fold[2], fold[3]);
  EXPECT_ERROR(ErrorCode::input, "3 donors cannot be dealt to 4 folds", folds(s, 2, 4, 0));
  EXPECT_ERROR(ErrorCode::usage, "1 folds", folds(s, 2, 1, 0));
}

}  // namespace
}  // namespace panvae::eval
