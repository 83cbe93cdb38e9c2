#include "eval/controls.h"

#include <algorithm>
#include <map>
#include <set>

#include "eval/labels.h"
#include "eval/selection.h"
#include "eval/warnings.h"
#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using test::set_factor;

TEST(Controls, DonorsMoveAsWholes) {
  std::vector<std::string> donor;
  for (int i = 0; i < 200; ++i) donor.push_back(i < 60 ? fmt::format("A{}", i / 3) : i < 190 ? fmt::format("B{}", i / 2) : "big");
  std::map<std::string, std::vector<int64_t>> samples;
  for (size_t i = 0; i < donor.size(); ++i) samples[donor[i]].push_back(static_cast<int64_t>(i));
  const std::vector<int64_t> from = permute_donors(donor, 3);
  EXPECT_EQ(std::set<int64_t>(from.begin(), from.end()).size(), donor.size());
  int moved = 0;
  for (const auto& [name, rows] : samples) {
    const std::string& other = donor[static_cast<size_t>(from[static_cast<size_t>(rows[0])])];
    ASSERT_EQ(samples.at(other).size(), rows.size());
    for (size_t k = 0; k < rows.size(); ++k) EXPECT_EQ(from[static_cast<size_t>(rows[k])], samples.at(other)[k]);
    moved += other != name;
  }
  EXPECT_GT(moved, 70);
  EXPECT_EQ(from, permute_donors(donor, 3));
  EXPECT_NE(from, permute_donors(donor, 4));
  EXPECT_NE(from, permute_donors(donor, 3, 1));
  EXPECT_TRUE(permute_donors({}, 1).empty());
  EXPECT_EQ(permute_donors(std::vector<std::string>{"x"}, 1), std::vector<int64_t>{0});
}

TEST(Controls, DonorsWhomNoPermutationMovesAreWarnedOf) {
  std::vector<std::string> donor = {"a", "b", "b", "c", "c", "c"};
  EXPECT_EQ(permute_donors(donor, 3), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_NE(warn_unpermuted(donor).find("3 donors"), std::string::npos) << warn_unpermuted(donor);
  EXPECT_NE(warn_unpermuted(donor).find("6 of 6 samples"), std::string::npos) << warn_unpermuted(donor);
  for (int i = 0; i < 54; ++i) donor.push_back(fmt::format("single{}", i));  // "a" is no exception any more; "b" and "c" are 5 of 60
  EXPECT_NE(warn_unpermuted(donor).find("2 donors"), std::string::npos) << warn_unpermuted(donor);
  for (int i = 54; i < 94; ++i) donor.push_back(fmt::format("single{}", i));  // 5 of 100
  EXPECT_EQ(warn_unpermuted(donor), "");
  EXPECT_EQ(warn_unpermuted(std::vector<std::string>{"a", "b"}), "");
}

// Every donor is equally likely to give its label: 4 donors, 4,000 draws, four standard errors.
TEST(Controls, AllPermutationsAreEquallyLikely) {
  const std::vector<std::string> donor = {"a", "b", "c", "d"};
  std::map<std::vector<int64_t>, int> count;
  for (uint32_t round = 0; round < 4800; ++round) ++count[permute_donors(donor, 1, round)];
  EXPECT_EQ(count.size(), 24u);
  for (const auto& [permutation, times] : count) EXPECT_NEAR(times, 200, 4 * std::sqrt(200.0));
}

TEST(Controls, Words) {
  EXPECT_EQ(parse_control("permuted"), Control::permuted);
  EXPECT_EQ(parse_control(""), Control::none);
  EXPECT_ERROR(ErrorCode::usage, "--control", parse_control("shuffled"));
  for (const auto& [word, on] : {std::pair{"", On::automatic}, {"auto", On::automatic}, {"holdout", On::holdout}, {"all", On::all}})
    EXPECT_EQ(parse_on(word), on) << word;
  EXPECT_ERROR(ErrorCode::usage, "--on", parse_on("train"));
}

TEST(Labels, DefaultMapHasTheTcgaCodes) {
  const data::Table map = default_cohort_map();
  EXPECT_EQ(map.rows(), 33);
  std::set<std::string> merged;
  for (int64_t r = 0; r < map.rows(); ++r) merged.insert(map.columns.front().text(r));
  EXPECT_EQ(merged.size(), 21u);
  EXPECT_EQ(merged.count(""), 0u);
  const auto row = map.row_of();
  const auto of = [&](const char* code) { return map.columns.front().text(row.at(code)); };
  EXPECT_EQ(of("COAD"), of("READ"));
  EXPECT_EQ(of("KIRC"), of("KICH"));
  EXPECT_EQ(of("LUAD"), of("LUSC"));
  EXPECT_EQ(of("GBM"), of("LGG"));
  EXPECT_EQ(of("UCEC"), of("UCS"));
  EXPECT_NE(of("BRCA"), of("OV"));
  EXPECT_EQ(read_cohort_map("default").keys, map.keys);
  EXPECT_EQ(default_cohort_map_text().substr(0, 7), "cohort\t");
}

TEST(Labels, CohortsWithoutAMergedNameKeepTheirs) {
  data::Table obs;
  obs.keys = {"s1", "s2", "s3", "s4"};
  set_factor(obs, "cohort", {"COAD", "READ", "healthy", ""});
  const data::Table map = default_cohort_map();
  EXPECT_EQ(cohort_names(obs, &map), (std::vector<std::string>{"colorectal", "colorectal", "healthy", ""}));
  EXPECT_EQ(cohort_names(obs, nullptr), (std::vector<std::string>{"COAD", "READ", "healthy", ""}));
  data::Table more;  // of a table with more columns the first counts
  more.keys = {"READ", "COAD"};
  set_factor(more, "organ", {"rectum", "colon"}), set_factor(more, "system", {"gut", "gut"});
  EXPECT_EQ(cohort_names(obs, &more), (std::vector<std::string>{"colon", "rectum", "healthy", ""}));
}

TEST(Warnings, AliasedCohortsAndDatasets) {
  data::Table obs;
  for (int i = 0; i < 8; ++i) obs.keys.push_back(fmt::format("s{}", i));
  const std::vector<int64_t> rows = test::all_rows(8);
  const std::vector<std::string> label = {"A", "A", "B", "B", "C", "C", "C", ""};
  EXPECT_EQ(warn_aliased(obs, rows, label), "");
  set_factor(obs, "dataset", {"X", "X", "X", "X", "Y", "Y", "", "X"});
  const std::string text = warn_aliased(obs, rows, label);
  EXPECT_NE(text.find("2 datasets"), std::string::npos) << text;
  EXPECT_NE(text.find("'C'"), std::string::npos) << text;
  // One sample of A in dataset Y links the parts.
  set_factor(obs, "dataset", {"X", "Y", "X", "X", "Y", "Y", "", "X"});
  EXPECT_EQ(warn_aliased(obs, rows, label), "");
  set_factor(obs, "dataset", std::vector<std::string>(8, "X"));
  EXPECT_EQ(warn_aliased(obs, rows, label), "");
}

// The smaller part is the example, its first five cohorts by name.
TEST(Warnings, FiveOfTheCohortsThatStandApart) {
  data::Table obs;
  std::vector<std::string> dataset, label;
  for (int i = 0; i < 16; ++i) {
    obs.keys.push_back(fmt::format("s{}", i));
    dataset.push_back(i < 7 ? "X" : "Y");
    label.push_back(fmt::format("C{:02d}", i));
  }
  set_factor(obs, "dataset", dataset);
  const std::string text = warn_aliased(obs, test::all_rows(16), label);
  EXPECT_NE(text.find("('C00', 'C01', 'C02', 'C03', 'C04' and 2 more stand apart"), std::string::npos) << text;
}

// Of 50 samples of cohort A some are of dataset Y, of 50 of B some of X; the others are where most of theirs are.
TEST(Warnings, NearlyAliasedFrom95InAHundred) {
  const auto warning = [](int astray) {
    data::Table obs;
    std::vector<std::string> cohort, dataset;
    for (int i = 0; i < 100; ++i) {
      obs.keys.push_back(fmt::format("s{}", i));
      cohort.push_back(i % 2 ? "A" : "B");
      dataset.push_back((i % 2 == 1) == (i >= astray) ? "X" : "Y");
    }
    set_factor(obs, "cohort", cohort), set_factor(obs, "dataset", dataset);
    return warn_nearly_aliased(obs, test::all_rows(100));
  };
  EXPECT_NE(warning(5).find("95.0 % of the samples"), std::string::npos) << warning(5);
  EXPECT_EQ(warning(6), "");
}

TEST(Warnings, NothingIsAliasedWithOneDatasetOrOneCohort) {
  data::Table obs;
  for (int i = 0; i < 40; ++i) obs.keys.push_back(fmt::format("s{}", i));
  std::vector<std::string> cohort(40, "A"), dataset(40, "X");
  const auto warning = [&] {
    set_factor(obs, "cohort", cohort), set_factor(obs, "dataset", dataset);
    return warn_nearly_aliased(obs, test::all_rows(40));
  };
  dataset[7] = "Y";
  EXPECT_EQ(warning(), "") << "two datasets of one cohort";
  for (size_t i = 20; i < 40; ++i) cohort[i] = "B", dataset[i] = "";
  dataset[7] = "X";
  EXPECT_EQ(warning(), "") << "an unknown dataset is none";
  for (size_t i = 20; i < 40; ++i) dataset[i] = "Y";
  EXPECT_NE(warning().find("100.0 % of the samples"), std::string::npos) << warning();
}

TEST(Warnings, SharedDonorsAndFewSamples) {
  EXPECT_EQ(warn_shared_donors(std::vector<std::string>{"a", "a", "b"}, std::vector<int32_t>{0, 0, 1}), "");
  EXPECT_NE(warn_shared_donors(std::vector<std::string>{"a", "a", "b"}, std::vector<int32_t>{0, 1, 1}).find("1 donors"), std::string::npos);
  const std::string two = warn_shared_donors(std::vector<std::string>{"b", "a", "a", "b"}, std::vector<int32_t>{0, 0, 1, 1});
  EXPECT_NE(two.find("2 donors have samples in more than one fold ('a' for one)"), std::string::npos) << two;
  EXPECT_EQ(warn_few_samples(10, 10, "a fold trains on", "accuracy"), "");
  EXPECT_NE(warn_few_samples(9, 10, "a fold trains on", "accuracy").find("a fold trains on 9 samples with 10"), std::string::npos);
}

}  // namespace
}  // namespace panvae::eval
