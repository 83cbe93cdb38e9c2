// Tiers of matching by hand and against their definition; tables of pairs.
#include "data/matching.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "base/philox.h"
#include "data/pairs.h"
#include "support.h"

namespace panvae::data::test {
namespace {

// name donor cohort sex ethnicity age split sample_type, missing where "-"
struct Sample {
  const char *name, *donor, *cohort, *sex, *ethnicity, *age, *split, *type;
};

Table table(const std::vector<Sample>& samples) {
  Table t;
  std::map<std::string, std::vector<std::string>> cells;
  for (const Sample& s : samples) {
    t.keys.push_back(s.name);
    for (const auto& [column, value] :
         {std::pair{"donor", s.donor}, std::pair{"cohort", s.cohort}, std::pair{"sex", s.sex}, std::pair{"ethnicity", s.ethnicity}, std::pair{"age", s.age},
          std::pair{"split", s.split}, std::pair{"sample_type", s.type}})
      cells[column].push_back(value == std::string("-") ? "" : value);
  }
  for (const auto& [column, values] : cells) t.set(column_from_text(column, values));
  return t;
}

std::vector<MatchedPair> match(const Table& rna, const Table& atac, TierReport& report, double window = 5, const std::vector<double>& depth = {}) {
  TierOptions options;
  options.age_window = window;
  report = {};
  return match_tiers(rna, atac, sides_of(rna, atac), depth, options, report);
}

// "A1 R2 2" per pair.
std::vector<std::string> words(const std::vector<MatchedPair>& pairs, const Table& rna, const Table& atac) {
  std::vector<std::string> out;
  for (const MatchedPair& p : pairs)
    out.push_back(atac.keys[static_cast<size_t>(p.atac)] + " " + rna.keys[static_cast<size_t>(p.rna)] + " " + std::to_string(p.tier) +
                  (p.side == Side::train ? "" : std::string(" ") + side_name(p.side)));
  return out;
}
using Words = std::vector<std::string>;

TEST(Matching, EachTierByHand) {
  const Table atac = table({{"A1", "d1", "BRCA", "female", "white", "50", "train", "-"},  // its donor has RNA
                            {"A2", "d2", "BRCA", "female", "white", "60", "train", "-"},  // all agree with R2 but 3 years
                            {"A3", "d3", "BRCA", "female", "black", "70", "train", "-"},  // nobody black
                            {"A4", "d4", "BRCA", "-", "white", "30", "train", "-"},       // sex unknown
                            {"A5", "d5", "BRCA", "male", "white", "99", "train", "-"}});  // nobody of that age
  const Table rna = table({{"R1", "d1", "BRCA", "female", "white", "50", "train", "-"},
                           {"R2", "e2", "BRCA", "FEMALE", "White", "63", "train", "-"},
                           {"R3", "e3", "BRCA", "female", "white", "71", "train", "-"},
                           {"R4", "e4", "BRCA", "male", "asian", "33", "train", "-"},
                           {"R5", "e5", "BRCA", "female", "asian", "88", "train", "-"},
                           {"R6", "e6", "LUAD", "male", "white", "99", "train", "-"}});
  TierReport report;
  const auto pairs = match(rna, atac, report);
  EXPECT_EQ(words(pairs, rna, atac), (Words{"A1 R1 1", "A2 R2 2", "A3 R3 3", "A4 R4 4", "A5 R5 5"}));
  EXPECT_DOUBLE_EQ(pairs[1].age_distance, 3);
  EXPECT_DOUBLE_EQ(pairs[4].age_distance, 11);
  EXPECT_EQ(pairs[1].candidates, 1);
  EXPECT_EQ(pairs[4].candidates, 5);  // every BRCA sample
  EXPECT_EQ(tier_words(2, report), "cohort+sex+ethnicity+age");
  EXPECT_EQ(tier_words(5, report), "cohort");
  EXPECT_EQ(report.reused, 0);
  EXPECT_TRUE(report.unmatched.empty());
}

TEST(Matching, WithoutReplacementWherePossibleAndNearestInSum) {
  const Table atac = table(
      {{"A1", "d1", "X", "f", "w", "50", "train", "-"}, {"A2", "d2", "X", "f", "w", "51", "train", "-"}, {"A3", "d3", "X", "f", "w", "52", "train", "-"}});
  const Table rna = table({{"R1", "e1", "X", "f", "w", "51", "train", "-"}, {"R2", "e2", "X", "f", "w", "47", "train", "-"}});
  TierReport report;
  const auto pairs = match(rna, atac, report);
  // Two of the three get one of their own, at 3 + 0 years, the least there is. The third takes R1 again, at 1 year.
  ASSERT_EQ(pairs.size(), 3u);
  EXPECT_EQ(pairs[0].rna, 1);
  EXPECT_EQ(pairs[1].rna, 0);
  EXPECT_EQ(pairs[2].rna, 0);
  for (const MatchedPair& p : pairs) EXPECT_EQ(p.tier, same_ethnicity);
  EXPECT_EQ(report.reused, 1);
}

TEST(Matching, HeldOutDonorsAreExcludedFromBothSides) {
  const Table atac = table({{"A1", "d1", "X", "f", "w", "50", "holdout", "-"},  // held out, has RNA
                            {"A2", "d2", "X", "f", "w", "50", "holdout", "-"},  // held out, has none
                            {"A3", "d3", "X", "f", "w", "50", "train", "-"},    // RNA says held out
                            {"A4", "d4", "X", "f", "w", "50", "validation", "-"},
                            {"A5", "d5", "X", "f", "w", "50", "train", "-"}});
  const Table rna = table({{"R1", "d1", "X", "f", "w", "50", "train", "-"},
                           {"R3", "d3", "X", "f", "w", "50", "holdout", "-"},
                           {"R4", "d4", "X", "f", "w", "50", "train", "-"},
                           {"R9", "e9", "X", "f", "w", "54", "train", "-"}});
  TierReport report;
  EXPECT_EQ(words(match(rna, atac, report), rna, atac), (Words{"A1 R1 1 holdout", "A3 R3 1 holdout", "A4 R4 1 validation", "A5 R9 2"}));
  EXPECT_EQ(report.holdout_without_rna, 1);
  const Sides sides = sides_of(rna, atac);
  EXPECT_TRUE(sides.known);
  EXPECT_EQ(sides.rna, (std::vector<Side>{Side::holdout, Side::holdout, Side::validation, Side::train}));
}

TEST(Matching, OfSeveralSamplesOfADonorThePrimaryTumourThenTheDeepest) {
  const Table atac = table({{"A1", "d1", "X", "f", "w", "50", "train", "-"}, {"A1b", "d1", "X", "f", "w", "50", "train", "-"}});
  const Table rna = table({{"R1", "d1", "X", "f", "w", "50", "train", "Solid Tissue Normal"},
                           {"R2", "d1", "X", "f", "w", "50", "train", "Primary Tumor"},
                           {"R3", "d1", "X", "f", "w", "50", "train", "Primary Tumor"},
                           {"R4", "d1", "X", "f", "w", "50", "train", "Recurrent Tumor"}});
  TierReport report;
  EXPECT_EQ(words(match(rna, atac, report, 5, {9, 2, 3, 8}), rna, atac), (Words{"A1 R3 1", "A1b R3 1"}));
  EXPECT_EQ(words(match(rna, atac, report), rna, atac), (Words{"A1 R2 1", "A1b R2 1"}));  // by name where depth is unknown
  EXPECT_EQ(match(rna, atac, report)[0].candidates, 4);
  EXPECT_EQ(report.reused, 0);  // replicates of a donor are no reuse
}

TEST(Matching, MissingAgesAreMediansOfTheCohort) {
  const Table atac =
      table({{"A1", "d1", "X", "f", "w", "-", "train", "-"}, {"A2", "d2", "Y", "f", "w", "-", "train", "-"}, {"A3", "e1", "X", "f", "w", "40", "train", "-"}});
  const Table rna = table({{"R1", "e1", "X", "f", "w", "40", "train", "-"},
                           {"R2", "e2", "X", "f", "w", "50", "train", "-"},
                           {"R3", "e3", "X", "f", "w", "90", "train", "-"},
                           {"R4", "e4", "Y", "f", "w", "-", "train", "-"}});
  TierReport report;
  const auto pairs = match(rna, atac, report);
  EXPECT_EQ(words(pairs, rna, atac), (Words{"A1 R2 2", "A2 R4 2", "A3 R1 1"}));  // the median of three donors is 50; Y has no age: 50 as in all
  EXPECT_TRUE(pairs[0].age_filled);
  EXPECT_DOUBLE_EQ(pairs[0].age_distance, 0);
  EXPECT_EQ(report.filled_ages_atac, 2);
  EXPECT_EQ(report.filled_ages_rna, 1);
}

TEST(Matching, ColumnsThatOneTableLacksAreNoCriterion) {
  Table atac = table({{"A1", "d1", "X", "f", "w", "50", "train", "-"}, {"A2", "d2", "X", "m", "w", "50", "train", "-"}});
  Table rna = table({{"R1", "e1", "X", "m", "-", "-", "train", "-"}, {"R2", "e2", "X", "f", "-", "-", "train", "-"}});
  TierReport report;
  const auto pairs = match(rna, atac, report);
  EXPECT_EQ(words(pairs, rna, atac), (Words{"A1 R2 2", "A2 R1 2"}));
  EXPECT_EQ(tier_words(2, report), "cohort+sex");
  EXPECT_TRUE(std::isnan(pairs[0].age_distance));
  EXPECT_FALSE(pairs[0].age_filled);
}

TEST(Matching, NothingDependsOnTheOrderOfSamples) {
  PhiloxSequence random({8, 0, 0});
  const auto pick = [&](std::initializer_list<const char*> from) { return *(from.begin() + random.below(from.size())); };
  std::vector<std::string> text;
  text.reserve(2000);
  const auto keep = [&](std::string s) { return text.emplace_back(std::move(s)).c_str(); };
  std::vector<Sample> a, r;
  for (int i = 0; i < 90; ++i)
    a.push_back({keep("A" + std::to_string(i)), keep("d" + std::to_string(i / 2)), pick({"X", "Y", "Z"}), pick({"f", "m", "-"}), pick({"w", "b", "-"}),
                 i % 7 ? keep(std::to_string(40 + random.below(30))) : "-", i / 2 % 5 ? "train" : "holdout", "-"});
  for (int i = 0; i < 60; ++i)
    r.push_back({keep("R" + std::to_string(i)), keep("d" + std::to_string(i * 2)), pick({"X", "Y"}), pick({"f", "m", "-"}), pick({"w", "b", "-"}),
                 i % 9 ? keep(std::to_string(40 + random.below(30))) : "-", "train", "-"});
  const Table atac = table(a), rna = table(r);
  TierReport report;
  const auto pairs = match(rna, atac, report);
  Words first = words(pairs, rna, atac);
  EXPECT_FALSE(report.cohorts_without_rna.empty());
  EXPECT_EQ(report.cohorts_without_rna, std::vector<std::string>{"Z"});

  // Each pair is what its tier says, each ATAC sample is in one at most, and no lower tier was possible.
  std::set<int64_t> seen;
  const auto text_of = [](const Table& t, const char* c, int64_t row) { return t.at(c).text(row); };
  const Sides sides = sides_of(rna, atac);
  for (const MatchedPair& p : pairs) {
    EXPECT_TRUE(seen.insert(p.atac).second);
    EXPECT_EQ(sides.atac[static_cast<size_t>(p.atac)], sides.rna[static_cast<size_t>(p.rna)]);
    const bool donor = text_of(atac, "donor", p.atac) == text_of(rna, "donor", p.rna),
               sex = !text_of(atac, "sex", p.atac).empty() && text_of(atac, "sex", p.atac) == text_of(rna, "sex", p.rna),
               ethnicity = !text_of(atac, "ethnicity", p.atac).empty() && text_of(atac, "ethnicity", p.atac) == text_of(rna, "ethnicity", p.rna);
    if (p.tier == same_donor || p.side == Side::holdout) {
      EXPECT_TRUE(donor);
      continue;
    }
    EXPECT_FALSE(donor);
    EXPECT_EQ(text_of(atac, "cohort", p.atac), text_of(rna, "cohort", p.rna));
    EXPECT_TRUE(sex || p.tier > same_sex);
    EXPECT_TRUE(ethnicity || p.tier > same_ethnicity);
    EXPECT_TRUE(p.age_distance <= 5 || p.tier > near_age) << p.age_distance;
  }
  std::reverse(a.begin(), a.end());
  std::rotate(r.begin(), r.begin() + 17, r.end());
  const Table atac2 = table(a), rna2 = table(r);
  TierReport again;
  Words second = words(match(rna2, atac2, again), rna2, atac2);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);
  EXPECT_EQ(report.reused, again.reused);
}

// Ages exactly a window apart are within it.
TEST(Matching, TheWindowIncludesItsEdge) {
  const Table atac = table({{"A1", "d1", "X", "f", "w", "50", "train", "-"}}), rna = table({{"R1", "e1", "X", "f", "w", "55", "train", "-"}});
  TierReport report;
  EXPECT_EQ(match(rna, atac, report, 5)[0].tier, same_ethnicity);
  EXPECT_EQ(match(rna, atac, report, 4.9)[0].tier, same_cohort);
}

// Whoever gets no sample of his own takes the nearest, in whatever order the seed looks at them.
TEST(Matching, WhoGoesTwiceIsTheNearest) {
  const Table atac = table(
      {{"A1", "d1", "X", "f", "w", "50", "train", "-"}, {"A2", "d2", "X", "f", "w", "51", "train", "-"}, {"A3", "d3", "X", "f", "w", "52", "train", "-"}});
  const Table rna = table({{"R1", "e1", "X", "f", "w", "51", "train", "-"}, {"R2", "e2", "X", "f", "w", "47", "train", "-"}});
  for (uint64_t seed = 0; seed < 8; ++seed) {
    TierOptions options;
    options.seed = seed;
    TierReport report;
    EXPECT_EQ(words(match_tiers(rna, atac, sides_of(rna, atac), {}, options, report), rna, atac), (Words{"A1 R2 2", "A2 R1 2", "A3 R1 2"})) << seed;
  }
}

// A donor is held out if either table says so, whatever the other says.
TEST(Matching, TheStricterSideOfTwoTablesCounts) {
  const Table atac = table({{"A1", "d1", "X", "f", "w", "50", "validation", "-"}, {"A2", "d2", "X", "f", "w", "50", "holdout", "-"}}),
              rna = table({{"R1", "d1", "X", "f", "w", "50", "holdout", "-"}, {"R2", "d2", "X", "f", "w", "50", "validation", "-"}});
  const Sides sides = sides_of(rna, atac);
  EXPECT_EQ(sides.rna, (std::vector<Side>{Side::holdout, Side::holdout}));
  EXPECT_EQ(sides.atac, (std::vector<Side>{Side::holdout, Side::holdout}));
}

// Normal tissue is taken where there is nothing else, whatever its depth.
TEST(Matching, NormalTissueComesLast) {
  const Table atac = table({{"A1", "d1", "X", "f", "w", "50", "train", "-"}});
  const Table rna = table({{"R1", "d1", "X", "f", "w", "50", "train", "Solid Tissue Normal"}, {"R2", "d1", "X", "f", "w", "50", "train", "Cell Line"}});
  TierReport report;
  EXPECT_EQ(words(match(rna, atac, report, 5, {9, 1}), rna, atac), (Words{"A1 R2 1"}));
}

// Cohort Y has no age of a donor that is not held out, so its median is that of all others, each donor once: 50 of 40, 50 and
// 80, though 80 stands in three samples. The pair of one donor shows it.
TEST(Matching, TheMedianOfAllAgesCountsADonorOnce) {
  const Table rna = table({{"R1", "d1", "Y", "f", "w", "70", "holdout", "-"},
                           {"R2", "e2", "X", "f", "w", "80", "train", "-"},
                           {"R3", "e2", "X", "f", "w", "80", "train", "-"},
                           {"R4", "e2", "X", "f", "w", "80", "train", "-"},
                           {"R5", "e3", "X", "f", "w", "50", "train", "-"},
                           {"R6", "e4", "X", "f", "w", "40", "train", "-"}});
  const Table atac = table({{"A1", "d1", "Y", "f", "w", "-", "holdout", "-"}, {"A2", "e4", "X", "f", "w", "40", "train", "-"}});
  TierReport report;
  const auto pairs = match(rna, atac, report);
  ASSERT_EQ(words(pairs, rna, atac), (Words{"A1 R1 1 holdout", "A2 R6 1"}));
  EXPECT_DOUBLE_EQ(pairs[0].age_distance, 20);
  EXPECT_TRUE(pairs[0].age_filled);
}

// Of an even number of ages the median is between two. An age counts as filled whichever of the two samples lacked it.
TEST(Matching, AnAgeFilledOnEitherSideIsSaid) {
  const Table atac = table({{"A1", "d1", "X", "f", "w", "44", "train", "-"}, {"A2", "d2", "X", "f", "w", "-", "train", "-"}});
  const Table rna = table({{"R1", "d1", "X", "f", "w", "-", "train", "-"}, {"R2", "d2", "X", "f", "w", "50", "train", "-"}});
  TierReport report;
  const auto pairs = match(rna, atac, report);
  ASSERT_EQ(words(pairs, rna, atac), (Words{"A1 R1 1", "A2 R2 1"}));
  for (const MatchedPair& p : pairs) {
    EXPECT_TRUE(p.age_filled);
    EXPECT_DOUBLE_EQ(p.age_distance, 3);  // from 47
  }
}

// As h5ad files hold them whose ages were made a category.
TEST(Matching, AgesMayBeAFactorOfNumbers) {
  const Table atac = table({{"A1", "d1", "X", "f", "w", "50", "train", "-"}, {"A2", "d2", "X", "f", "w", "-", "train", "-"}});
  Table rna =
      table({{"R1", "e1", "X", "f", "w", "-", "train", "-"}, {"R2", "e2", "X", "f", "w", "-", "train", "-"}, {"R3", "e3", "X", "f", "w", "-", "train", "-"}});
  rna.set(factor_from_text("age", {"80", "", "53"}));
  TierReport report;
  const auto pairs = match(rna, atac, report);
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(rna.keys[static_cast<size_t>(pairs[0].rna)], "R3");
  EXPECT_DOUBLE_EQ(pairs[0].age_distance, 3);
  EXPECT_EQ(report.filled_ages_rna, 1);
  rna.set(factor_from_text("age", {"80", "", "old"}));
  expect_names(error_of([&] { match(rna, atac, report); }), {"RNA", "'R3'", "old"});
}

TEST(Matching, Refused) {
  Table atac = table({{"A1", "d1", "X", "f", "w", "50", "train", "-"}}), rna = table({{"R1", "d1", "-", "f", "w", "50", "train", "-"}});
  TierReport report;
  expect_names(error_of([&] { match(rna, atac, report); }), {"RNA", "cohort", "--cohort-key"});
  rna = table({{"R1", "d1", "X", "f", "w", "old", "train", "-"}});
  expect_names(error_of([&] { match(rna, atac, report); }), {"RNA", "'R1'", "old"});
  rna = table({{"R1", "d1", "X", "f", "w", "50", "test", "-"}});
  expect_names(error_of([&] { match(rna, atac, report); }), {"'R1'", "test"});
  expect_names(error_of([&] { match(atac, atac, report, -1); }, ErrorCode::usage), {"--age-window"});
}

class PairTables : public Files {};

TEST_F(PairTables, WhatIsWrittenIsRead) {
  const Table atac = table(
      {{"A1", "d1", "X", "f", "w", "50", "train", "-"}, {"007", "d2", "X", "f", "w", "50", "train", "-"}, {"A3", "d3", "X", "f", "w", "50", "holdout", "-"}});
  const Table rna = table({{"NA", "d1", "X", "f", "w", "50", "train", "-"}, {"R3", "d3", "X", "f", "w", "50", "train", "-"}});
  TierReport report;
  const auto pairs = match(rna, atac, report);
  write_table(path("pairs.tsv"), pair_table(pairs, rna, atac, report));
  const std::vector<SamplePair> read = read_pairs(path("pairs.tsv"));
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(read[0].atac, "A1");
  EXPECT_EQ(read[0].rna, "NA");  // a name, though it looks like a missing value
  EXPECT_EQ(read[0].split, "train");
  EXPECT_EQ(read[1].atac, "007");
  EXPECT_EQ(read[1].tier, same_ethnicity);
  EXPECT_EQ(read[2].split, "holdout");
  const Table t = read_table(path("pairs.tsv"));
  for (const char* column : {"atac", "rna", "split", "tier", "match", "age_distance", "age_filled", "candidates", "correlation", "atac_cohort", "rna_cohort"})
    EXPECT_NE(t.find(column), nullptr) << column;
  EXPECT_EQ(t.key_name, "pair");
}

TEST_F(PairTables, Refused) {
  const std::vector<SamplePair> plain = read_pairs(put("plain.csv", "rna,atac\nr,a\nr,b\n"));
  EXPECT_EQ(plain[1].tier, same_donor);
  EXPECT_EQ(plain[1].split, "");
  const std::vector<SamplePair> some = read_pairs(put("some.csv", "rna,atac,split\nr,a,\nr,b,NA\nr,c,train\n"));
  EXPECT_EQ(some[0].split + some[1].split, "") << "a missing split is none";
  EXPECT_EQ(some[2].split, "train");
  const auto refused = [&](const std::string& content, const std::vector<std::string>& words) {
    expect_names(error_of([&] { read_pairs(put("bad.tsv", content)); }), words);
  };
  refused("", {"bad.tsv", "empty"});
  refused("atac\trna\n", {"bad.tsv", "no rows"});
  refused("atac\tsample\na\tr\n", {"column rna"});
  refused("rna\tsample\na\tr\n", {"column atac"});
  refused("atac\trna\na\n", {"line 2"});
  refused("atac\trna\na\t\n", {"line 2", "rna"});
  refused("atac\trna\ttier\na\tr\t7\n", {"line 2", "'7'"});
  refused("atac\trna\ttier\na\tr\t1.5\n", {"line 2", "1.5"});
  refused("atac\trna\tsplit\na\tr\ttest\n", {"line 2", "test"});
  refused("atac\trna\na\tr\nb\tr\na\tr\n", {"line 4", "line 2", "twice"});
}

}  // namespace
}  // namespace panvae::data::test
