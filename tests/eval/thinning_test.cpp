#include "eval/thinning.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

TEST(Thinning, HalvesAreBinomial) {
  std::vector<std::string> names;
  std::vector<double> counts;
  for (int g = 0; g < 3000; ++g) {
    names.push_back(fmt::format("G{}", g));
    counts.push_back(g % 3 == 0 ? 0 : g % 3 == 1 ? 10 : 1000);
  }
  const std::vector<uint64_t> keys = thinning_keys(names);
  const std::vector<double> half = thin(counts, keys, names, "S1", 3);
  double small = 0, small_square = 0, large = 0, large_square = 0;
  for (size_t g = 0; g < half.size(); ++g) {
    EXPECT_TRUE(half[g] >= 0 && half[g] <= counts[g]);
    if (g % 3 == 1) small += half[g] - 5, small_square += (half[g] - 5) * (half[g] - 5);
    if (g % 3 == 2) large += half[g] - 500, large_square += (half[g] - 500) * (half[g] - 500);
  }
  // Means 5 and 500, variances 2.5 and 250, within four standard errors of 1,000 draws.
  EXPECT_LT(std::abs(small / 1000), 4 * std::sqrt(2.5 / 1000));
  EXPECT_LT(std::abs(large / 1000), 4 * std::sqrt(250.0 / 1000));
  EXPECT_NEAR(small_square / 1000, 2.5, 4 * 2.5 * std::sqrt(2.0 / 1000));
  EXPECT_NEAR(large_square / 1000, 250, 4 * 250 * std::sqrt(2.0 / 1000));
  // Counts of whole words of random bits, within four standard errors of their half.
  for (const double words : {1.0, 2.0}) {
    const std::vector<double> whole = thin(std::vector<double>(3000, 64 * words), keys, names, "S1", 3);
    EXPECT_NEAR(std::accumulate(whole.begin(), whole.end(), 0.0) / 3000, 32 * words, 4 * std::sqrt(16 * words / 3000));
  }
  EXPECT_EQ(half, thin(counts, keys, names, "S1", 3));
  EXPECT_NE(half, thin(counts, keys, names, "S2", 3));
  EXPECT_NE(half, thin(counts, keys, names, "S1", 4));
  for (double bad : {-1.0, 0.5, 1e10, std::numeric_limits<double>::quiet_NaN()}) {
    std::vector<double> broken = counts;
    broken[5] = bad;
    EXPECT_ERROR(ErrorCode::input, "sample 'S1', feature 'G5'", thin(broken, keys, names, "S1", 3));
  }
}

// All 64 bits of a sample's hash and of the seed, and 44 of a feature's, take part: names that agree in half of their hash, as
// some of a large cohort do, are drawn apart.
TEST(Thinning, NamesThatShareHalfAHashAreDrawnApart) {
  const std::vector<std::string> features = {"TP53", "KRAS", "EGFR", "MYC"};
  const std::vector<uint64_t> keys = thinning_keys(features);
  const std::vector<double> counts(4, 1e6);
  const auto half_of = [&](const std::string& sample, uint64_t seed = 3) { return thin(counts, keys, features, sample, seed); };
  std::map<uint32_t, std::string> by_low, by_high;
  int low = 0, high = 0;
  for (int i = 0; low < 3 || high < 3; ++i) {
    ASSERT_LT(i, 10'000'000) << "the hash has no equal halves: choose other names";
    const std::string name = fmt::format("TCGA-{}", i);
    const uint64_t hash = stable_hash(name.data(), name.size());
    const auto [a, new_low] = by_low.try_emplace(static_cast<uint32_t>(hash), name);
    const auto [b, new_high] = by_high.try_emplace(static_cast<uint32_t>(hash >> 32), name);
    if (!new_low) {
      ++low;
      EXPECT_NE(half_of(a->second), half_of(name)) << a->second << " and " << name << " agree in the low half";
    }
    if (!new_high) {
      ++high;
      EXPECT_NE(half_of(b->second), half_of(name)) << b->second << " and " << name << " agree in the high half";
    }
  }
  EXPECT_NE(half_of("S1"), half_of("S1", 3 + (uint64_t{1} << 32)));

  std::vector<std::string> many;
  for (int i = 0; i < 200'000; ++i) many.push_back(fmt::format("ENSG{:011d}", i));
  std::vector<uint64_t> distinct = thinning_keys(many);
  for (const uint64_t key : distinct) ASSERT_EQ(key % (uint64_t{1} << 20), 0u);
  std::sort(distinct.begin(), distinct.end());
  EXPECT_EQ(std::adjacent_find(distinct.begin(), distinct.end()), distinct.end());
  // The draws of one feature are over before another's begin: 2^20 words, of 64 counts each.
  for (size_t i = 1; i < distinct.size(); ++i) ASSERT_GE(distinct[i] - distinct[i - 1], uint64_t{1} << 20);

  // By name: neither the place of a feature nor its company changes its draw.
  const std::vector<std::string> turned = {"MYC", "TP53"};
  const std::vector<double> all = half_of("S1"), some = thin(std::vector<double>(2, 1e6), thinning_keys(turned), turned, "S1", 3);
  EXPECT_EQ(some[0], all[3]);
  EXPECT_EQ(some[1], all[0]);
}

}  // namespace
}  // namespace panvae::eval
