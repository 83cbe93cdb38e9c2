// Splits: donors on one side, the same in every file.
#include "data/split.h"

#include <map>
#include <set>

#include "base/philox.h"
#include "support.h"
#include "tests/base/warnings.h"

namespace panvae::data::test {
namespace {

// `donors` donors in `cohorts` cohorts, donor i has 1 + i % 3 samples; `prefix` tells files apart.
Table samples(int64_t donors, int64_t cohorts, const std::string& prefix = "s") {
  Table t;
  std::vector<std::string> donor, cohort;
  for (int64_t i = 0; i < donors; ++i)
    for (int64_t r = 0; r <= i % 3; ++r) {
      t.keys.push_back(prefix + std::to_string(i) + "_" + std::to_string(r));
      donor.push_back("D" + std::to_string(i));
      cohort.push_back("C" + std::to_string(i % cohorts));
    }
  t.set(factor_from_text("donor", donor));
  t.set(factor_from_text("cohort", cohort));
  return t;
}

std::map<std::string, std::string> sides(const Table& t) {
  std::map<std::string, std::string> side;
  for (int64_t r = 0; r < t.rows(); ++r) {
    const auto [at, fresh] = side.emplace(t.at("donor").text(r), t.at("split").text(r));
    EXPECT_EQ(at->second, t.at("split").text(r)) << "donor " << at->first << " is on two sides";
  }
  return side;
}

int64_t count(const std::map<std::string, std::string>& side, const std::string& which) {
  int64_t n = 0;
  for (const auto& [donor, s] : side) n += s == which;
  return n;
}

TEST(Split, SharesWithinEveryCohort) {
  Table t = samples(300, 6);
  assign_split(t, {});
  const auto side = sides(t);
  EXPECT_EQ(count(side, "holdout"), 60);
  EXPECT_EQ(count(side, "validation"), 24);
  for (int64_t c = 0; c < 6; ++c) {
    std::set<std::string> held;
    for (int64_t r = 0; r < t.rows(); ++r)
      if (t.at("cohort").text(r) == "C" + std::to_string(c) && t.at("split").text(r) == "holdout") held.insert(t.at("donor").text(r));
    EXPECT_EQ(held.size(), 10u);
  }
}

TEST(Split, DependsOnSeedAndNotOnOrder) {
  Table a = samples(120, 4), b = samples(120, 4), c = a;
  std::vector<int64_t> reversed;
  for (int64_t r = a.rows(); r-- > 0;) reversed.push_back(r);
  b = b.select(reversed);
  assign_split(a, {});
  assign_split(b, {});
  EXPECT_EQ(sides(a), sides(b));
  SplitOptions other;
  other.seed = 1;
  assign_split(c, other);
  EXPECT_NE(sides(a), sides(c));
}

// Donors with a sample in each of two cohorts, and with one of no cohort.
TEST(Split, DonorsOfSeveralCohortsDoNotDependOnOrder) {
  Table a;
  std::vector<std::string> donor, cohort;
  for (int i = 0; i < 90; ++i)
    for (const std::string& c : {fmt::format("C{}", i % 3), fmt::format("C{}", (i + i / 3) % 3), std::string(i % 2 ? "" : "C1")}) {
      a.keys.push_back(fmt::format("s{}", a.keys.size()));
      donor.push_back(fmt::format("D{}", i));
      cohort.push_back(c);
    }
  a.set(factor_from_text("donor", donor));
  a.set(factor_from_text("cohort", cohort));
  std::vector<int64_t> reversed;
  for (int64_t r = a.rows(); r-- > 0;) reversed.push_back(r);
  Table b = a.select(reversed);
  assign_split(a, {});
  assign_split(b, {});
  EXPECT_EQ(sides(a), sides(b));
  EXPECT_NEAR(static_cast<double>(count(sides(a), "holdout")), 18, 2);
}

TEST(Split, DonorsTendToTheSameSideInAnotherFile) {
  Table rna = samples(600, 5), atac = samples(600, 5, "a");
  std::vector<int64_t> some;  // two fifths of the donors
  for (int64_t r = 0; r < atac.rows(); ++r)
    if (stable_hash(atac.at("donor").text(r).data(), atac.at("donor").text(r).size(), 99) % 5 < 2) some.push_back(r);
  atac = atac.select(some);
  assign_split(rna, {});
  assign_split(atac, {});
  const auto a = sides(rna), b = sides(atac);
  int64_t same = 0;
  for (const auto& [donor, side] : b) same += a.at(donor) == side;
  EXPECT_GT(static_cast<double>(same) / static_cast<double>(b.size()), 0.85);
}

TEST(Split, SmallCohortsTrain) {
  Table one = samples(1, 1);
  const SplitCounts counts = assign_split(one, {});
  EXPECT_EQ(counts.train, 1);
  Table five = samples(5, 5);
  assign_split(five, {});
  EXPECT_EQ(count(sides(five), "train"), 5);
  Table four = samples(4, 1);
  assign_split(four, {});
  EXPECT_EQ(count(sides(four), "holdout"), 1);
  EXPECT_EQ(count(sides(four), "validation"), 1) << "somebody validates";
}

class SplitFiles : public Files {};

TEST_F(SplitFiles, TakenFromAnotherFileByDonor) {
  const std::string from = put("split.tsv", "sample\tdonor\tsplit\nx1\tD0\tholdout\nx2\tD1\tvalidation\nx3\tD2\ttrain\nx4\tD2\tholdout\n");
  Table t = samples(30, 2);
  SplitOptions o;
  o.from = from;
  assign_split(t, o);
  const auto side = sides(t);
  EXPECT_EQ(side.at("D0"), "holdout");
  EXPECT_EQ(side.at("D1"), "validation");
  EXPECT_EQ(side.at("D2"), "holdout") << "held out anywhere is held out";
  Table strangers = samples(3, 1);
  o.from = put("other.tsv", "sample\tdonor\tsplit\nx1\tP0\tholdout\n");
  expect_names(error_of([&] { assign_split(strangers, o); }), {"no donor", "'P0'", "'D0'"});
  o.from = put("bad.tsv", "sample\tdonor\tsplit\nx1\tD0\ttest\n");
  expect_names(error_of([&] { assign_split(strangers, o); }), {"'test'", "'x1'"});
  o.from = put("none.tsv", "sample\tdonor\nx1\tD0\n");
  expect_names(error_of([&] { assign_split(strangers, o); }), {"'split'"});
}

// Held out wins over validation, and both over training, in whatever order the samples of a donor stand in the file.
TEST_F(SplitFiles, TheStrictestSideOfADonorWins) {
  SplitOptions o;
  o.from = put("split.tsv",
               "sample\tdonor\tsplit\na\tD0\tholdout\nb\tD0\ttrain\nc\tD1\tvalidation\nd\tD1\ttrain\n"
               "e\tD2\ttrain\nf\tD2\tvalidation\ng\tD3\tholdout\nh\tD3\tvalidation\n");
  Table t = samples(4, 1);
  assign_split(t, o);
  EXPECT_EQ(sides(t), (std::map<std::string, std::string>{{"D0", "holdout"}, {"D1", "validation"}, {"D2", "validation"}, {"D3", "holdout"}}));
}

// Rounding leaves nobody of two and of three donors to validate. Beside a file whose donors do, that is as it should be; else
// one of the larger cohort is taken, and none that is held out.
TEST_F(SplitFiles, SomebodyValidatesBesideTheFile) {
  using Sides = std::map<std::string, std::map<std::string, int>>;  // cohort -> side -> donors
  const auto drawn = [&](const std::string& side, double holdout) {
    Table t;
    t.keys = {"s1", "s2", "s3", "s4", "s5", "s6"};
    t.set(factor_from_text("donor", {"known", "x1", "x2", "y1", "y2", "y3"}));
    t.set(factor_from_text("cohort", {"W", "X", "X", "Y", "Y", "Y"}));
    SplitOptions o;
    o.holdout = holdout;
    if (!side.empty()) o.from = put("split.tsv", "sample\tdonor\tsplit\na\tknown\t" + side + "\n");
    assign_split(t, o);
    EXPECT_TRUE(side.empty() || t.at("split").text(0) == side);
    Sides out;
    for (int64_t r = 1; r < t.rows(); ++r) ++out[t.at("cohort").text(r)][t.at("split").text(r)];
    return out;
  };
  EXPECT_EQ(drawn("validation", 0), (Sides{{"X", {{"train", 2}}}, {"Y", {{"train", 3}}}}));
  for (const char* side : {"train", "holdout", ""}) EXPECT_EQ(drawn(side, 0), (Sides{{"X", {{"train", 2}}}, {"Y", {{"train", 2}, {"validation", 1}}}})) << side;
  EXPECT_EQ(drawn("validation", 0.4), (Sides{{"X", {{"holdout", 1}, {"train", 1}}}, {"Y", {{"holdout", 1}, {"train", 2}}}}));
  EXPECT_EQ(drawn("train", 0.4), (Sides{{"X", {{"holdout", 1}, {"train", 1}}}, {"Y", {{"holdout", 1}, {"train", 1}, {"validation", 1}}}}));
}

// With --split sample it is samples that are looked up in the file, whatever their donors.
TEST_F(SplitFiles, TakenFromAnotherFileBySample) {
  Table t = samples(3, 1);  // s0_0 of D0, s1_0 and s1_1 of D1, three of D2
  SplitOptions o;
  o.by_sample = true;
  o.holdout = o.validation = 0;
  o.from = put("split.tsv", "sample\tdonor\tsplit\ns1_1\tD0\tholdout\ns2_0\tD0\tvalidation\nD1\tD1\tholdout\n");
  assign_split(t, o);
  for (int64_t r = 0; r < t.rows(); ++r) {
    const std::string& name = t.keys[static_cast<size_t>(r)];
    EXPECT_EQ(t.at("split").text(r), name == "s1_1" ? "holdout" : name == "s2_0" ? "validation" : "train") << name;
  }
}

// What was asked for beside a column that is kept is said not to happen.
TEST(Split, OptionsThatAnExistingColumnOverrulesAreSaid) {
  Table t = samples(3, 1);
  t.set(factor_from_text("split", std::vector<std::string>(t.keys.size(), "train")));
  for (const bool by_sample : {false, true}) {
    const panvae::test::Warnings said;
    SplitOptions o;
    o.by_sample = by_sample;
    if (!by_sample) o.from = "nowhere.tsv";
    assign_split(t, o);
    ASSERT_EQ(said.lines.size(), 1u);
    EXPECT_NE(said.lines[0].find(by_sample ? "--split sample" : "--split-from is not used"), std::string::npos) << said.lines[0];
  }
}

TEST(Split, AnExistingColumnIsKeptAndChecked) {
  Table t = samples(3, 1);
  std::vector<std::string> split(t.keys.size(), "train");
  split[0] = "holdout";
  t.set(factor_from_text("split", split));
  const SplitCounts counts = assign_split(t, {});
  EXPECT_EQ(counts.holdout, 1);
  split[1] = "";
  t.set(factor_from_text("split", split));
  expect_names(error_of([&] { assign_split(t, {}); }), {"without a split", t.keys[1]});
  SplitOptions o;
  o.holdout = 1;
  Table fresh = samples(3, 1);
  error_of([&] { assign_split(fresh, o); }, ErrorCode::usage);
}

TEST(Split, BySampleMaySplitDonors) {
  Table t = samples(60, 1);
  SplitOptions o;
  o.by_sample = true;
  const SplitCounts counts = assign_split(t, o);
  EXPECT_EQ(counts.holdout, 24);
  EXPECT_EQ(counts.validation, 10);
}

// However large the share, one donor of a cohort trains.
TEST(Split, SomebodyAlwaysTrains) {
  Table t = samples(12, 4);
  SplitOptions o;
  o.holdout = 0.9, o.validation = 0.9;
  assign_split(t, o);
  const auto side = sides(t);
  std::map<std::string, int> training;
  for (const auto& [donor, s] : side) training["C" + std::to_string(std::stoi(donor.substr(1)) % 4)] += s == "train";
  for (const auto& [cohort, n] : training) EXPECT_EQ(n, 1) << cohort;
}

// A split that exists is kept, and one donor on two sides is enough to be told.
TEST(Split, OneSampleAstrayIsSaid) {
  Table t = samples(6, 1);
  std::vector<std::string> side;
  for (int64_t r = 0; r < t.rows(); ++r) side.push_back(t.at("donor").text(r) == "D1" ? "holdout" : "train");
  const panvae::test::Warnings said;
  t.set(factor_from_text("split", side));
  assign_split(t, {});
  EXPECT_TRUE(said.lines.empty());
  side[2] = "train";  // the second sample of D1
  t.set(factor_from_text("split", side));
  assign_split(t, {});
  ASSERT_EQ(said.lines.size(), 1u);
  EXPECT_NE(said.lines[0].find("puts 1 samples on another side than their donor's first sample"), std::string::npos) << said.lines[0];
}

// Barcodes of TCGA tell that samples are of one patient, where no column does.
TEST(Split, AliquotsOfAPatientAreSaid) {
  const auto said = [](const std::vector<std::string>& names, bool donors, bool by_sample) {
    Table t;
    t.keys = names;
    if (donors) t.set(factor_from_text("donor", names));
    SplitOptions o;
    o.by_sample = by_sample;
    const panvae::test::Warnings warnings;
    assign_split(t, o);
    return warnings.lines.empty() ? std::string() : warnings.lines[0];
  };
  const std::vector<std::string> several = {"TCGA-BH-A0B3-01A-11R-A056-07", "TCGA-BH-A0B3-11B-11R-A056-07", "TCGA-A2-A04P-01A-11R-A034-07", "x"};
  const std::string warning = said(several, false, false);
  EXPECT_NE(warning.find("1 of the patients"), std::string::npos) << warning;
  EXPECT_NE(warning.find("TCGA-BH-A0B3: 2"), std::string::npos) << warning;
  EXPECT_NE(warning.find("'donor'"), std::string::npos) << warning;
  EXPECT_NE(said({"TCGA.BH.A0B3.01A", "TCGA.BH.A0B3.11B"}, false, false), "");
  EXPECT_EQ(said(several, true, false), "");
  EXPECT_EQ(said(several, false, true), "");
  EXPECT_EQ(said({several[0], several[2], "TCGA-BH", "TCGAxBHxA0B3-01A-1", "TCGAxBHxA0B3-01A-2"}, false, false), "");
}

// Columns under other names than 'donor' and 'cohort' are not used, which would go unnoticed.
TEST(Split, ColumnsThatLookLikeDonorsAndCohortsAreSaid) {
  const auto said = [](const std::vector<std::pair<std::string, std::vector<std::string>>>& columns) {
    Table t;
    t.keys = {"a", "b", "c", "d"};
    for (const auto& [name, cells] : columns) t.set(factor_from_text(name, cells));
    const panvae::test::Warnings warnings;
    assign_split(t, {});
    std::string all;
    for (const std::string& line : warnings.lines) all += line + "\n";
    return all;
  };
  const std::vector<std::string> two = {"P1", "P1", "P2", "P2"}, four = {"P1", "P2", "P3", "P4"};
  for (const char* name : {"Donor", "patient_id", "Patient ID", "bcr_patient_barcode"})
    expect_names(said({{name, two}}), {"the column '" + std::string(name) + "' looks like donors, 2 of 4 samples", "--donor-key"});
  EXPECT_EQ(said({{"patient_id", four}}), "");
  EXPECT_EQ(said({{"patient_id", two}, {"donor", two}}), "");
  expect_names(said({{"donor", {"P1", "", "P2", ""}}}), {"2 samples have no donor"});
  for (const char* name : {"Cohort", "cancer_type", "Tumor.Type"})
    expect_names(said({{name, {"X", "X", "Y", "Y"}}}), {"no column 'cohort'", "look like cohorts: '" + std::string(name) + "'", "--cohort-key"});
  EXPECT_EQ(said({{"cancer_type", {"X", "X", "Y", "Y"}}, {"cohort", {"X", "X", "Y", "Y"}}}), "");
  EXPECT_EQ(said({{"cancer_type", {"X", "X", "X", "X"}}}), "");
}

TEST(Split, LevelsThatAreOneButForCapitalsAndSpacesAreSaid) {
  const auto said = [](const char* column, const std::vector<std::string>& cells) {
    Table t;
    t.keys = {"a", "b", "c", "d"};
    t.set(factor_from_text(column, cells));
    const panvae::test::Warnings warnings;
    assign_split(t, {});
    return warnings.lines.empty() ? std::string() : warnings.lines[0];
  };
  expect_names(said("cohort", {"BRCA", "BRCA ", "LUAD", "LUAD"}), {"'BRCA' and 'BRCA '", "'cohort'", "capitals or spaces"});
  expect_names(said("donor", {"P1", "p1", "P2", "P2"}), {"'P1' and 'p1'", "'donor'"});
  EXPECT_EQ(said("cohort", {"BRCA", "BRCA", "LUAD", "LUAD"}), "");
}

// Samples without a donor are each of a donor of their own, not of one that has no name.
TEST(Split, UnknownDonorsAreNotOne) {
  Table t;
  t.keys = {"a", "b", "c", "d"};
  t.set(factor_from_text("donor", {"D", "", "", "D"}));
  EXPECT_EQ(donors_of(t), (std::vector<std::string>{"D", "b", "c", "D"}));
  t.columns.clear();
  EXPECT_EQ(donors_of(t), t.keys);
}

}  // namespace
}  // namespace panvae::data::test
