// Tables of samples and features as text: types of columns, joins, choices of rows.
#include <cmath>

#include "data/write.h"
#include "support.h"
#include "tests/base/warnings.h"

namespace panvae::data::test {
namespace {

using TextInput = Files;

// A donor that is a number in one file and text in another is the same donor.
TEST_F(TextInput, WholeNumbersAreTextWithoutExponent) {
  const Column c = numeric_column("donor", {100000, 2000000, -300000, 1.5, 1e300});
  const std::vector<std::string> expected = {"100000", "2000000", "-300000", "1.5", "1e+300"};
  for (size_t r = 0; r < expected.size(); ++r) EXPECT_EQ(c.text(static_cast<int64_t>(r)), expected[r]);
}

// A sample without a row in the table: what is nearest there is said.
TEST_F(TextInput, JoinsSayWhatDiffers) {
  const auto refused = [&](const std::string& sample, const std::string& keys, const std::vector<std::string>& words) {
    SCOPED_TRACE(sample);
    ReadOptions o;
    o.obs_table = put("o.tsv", "s\tnote\n" + keys);
    expect_names(error_of([&] { read_dataset<float>(put("m.tsv", "s\tA\n" + sample + "\t1\n"), o); }), words);
    o.obs_table = put("o.tsv", "s\tnote\nother\tx\n" + keys);
    std::vector<std::string> partly = words;
    partly.push_back("1 of 2 samples");
    expect_names(error_of([&] { read_dataset<float>(put("m.tsv", "s\tA\nother\t1\n" + sample + "\t1\n"), o); }), partly);
  };
  refused("TCGA.BH.A0B3", "x\ty\nTCGA-BH-A0B3\tx\n", {"'TCGA-BH-A0B3'", "to the letter"});
  refused("X1.T", "x\ty\n1-T\ty\n", {"'1-T'", "to the letter"});
  refused("s01", "S02\ty\nS01\ty\n", {"'S01'", "to the letter"});
  refused("S01 ", "S02\ty\nS01\ty\n", {"'S01'", "to the letter"});
  refused("TCGA-BH-A0B3-01A-11R", "TCGA-BH\ty\nTCGA-BH-A0B3\ty\n", {"'TCGA-BH-A0B3'", "to the letter"});
  refused("/data/S1_sorted.bam", "S10\ty\nS1_sorted\ty\n", {"'S1_sorted'", "to the letter"});
  refused("abc", "1\tabc\n2\ty\n", {"column 'note'", "make it the first"});
  refused("S10", "S1\ty\nS100\ty\n", {});
  ReadOptions o;
  o.obs_table = put("o.tsv", "s\tnote\nS1\ty\nS100\ty\n");
  EXPECT_EQ(error_of([&] { read_dataset<float>(put("m.tsv", "s\tA\nS10\t1\n"), o); }).find("to the letter"), std::string::npos);
}

TEST_F(TextInput, ColumnsAreNumericWhereEveryValueIs) {
  const Table t = read_table(put("t.tsv", "id\tage\tcohort\tmixed\tnothing\na\t50\tBRCA\t1\tNA\nb\tNA\tNaN\tx\t.\nc\t+6.5e1\tLUAD\t\t\n"));
  EXPECT_TRUE(t.at("age").numeric);
  EXPECT_EQ(t.at("age").number[2], 65);
  EXPECT_EQ(t.at("age").count_missing(), 1);
  EXPECT_FALSE(t.at("cohort").numeric);
  EXPECT_EQ(t.at("cohort").text(1), "");
  EXPECT_EQ(t.at("cohort").levels, (std::vector<std::string>{"BRCA", "LUAD"}));
  EXPECT_FALSE(t.at("mixed").numeric);
  EXPECT_EQ(t.at("mixed").count_missing(), 1);
  EXPECT_TRUE(t.at("nothing").numeric);
  write_table(path("back.csv"), t);
  const Table back = read_table(path("back.csv"));
  for (const Column& c : t.columns)
    for (int64_t r = 0; r < t.rows(); ++r) EXPECT_EQ(back.at(c.name).text(r), c.text(r));
}

// A reader takes lines that begin with '#' for comments.
TEST_F(TextInput, NamesThatBeginWithAHashReadBackTheSame) {
  Table table;
  table.keys = {"#a", "b", "#c\td", "#"};
  for (const char* file : {"t.tsv", "t.csv", "t.tsv.gz"})
    for (const char* key : {"#id", "#1.2", "# name of a sample", "#'chr'", "id"})
      for (const bool with_columns : {true, false}) {
        SCOPED_TRACE(fmt::format("{} {} {}", file, key, with_columns));
        table.key_name = key;
        table.columns.clear();
        if (with_columns) table.columns = {factor_from_text("#note", {"#x", "y", "", "#"}), numeric_column("age", {1, 2, 3, 4})};
        write_table(path(file), table);
        const Table back = read_table(path(file));
        EXPECT_EQ(back.key_name, table.key_name);
        EXPECT_EQ(back.keys, table.keys);
        ASSERT_EQ(back.columns.size(), table.columns.size());
        for (const Column& c : table.columns)
          for (int64_t r = 0; r < table.rows(); ++r) EXPECT_EQ(back.at(c.name).text(r), c.text(r)) << c.name;
      }
  Dataset<float> d = dataset<float>(RowMatrix<float>::Random(2, 2));
  d.obs.key_name = "#sample";
  d.obs.keys = {"#1", "#2"};
  write_dataset(path("m.tsv"), d);
  const auto back = read_dataset<float>(path("m.tsv"));
  EXPECT_EQ(back.obs.keys, d.obs.keys);
  EXPECT_EQ(back.var.keys, d.var.keys);
  EXPECT_EQ(back.x, d.x);
}

TEST_F(TextInput, WholeNumbersThatDoublesRoundAreText) {
  const Table t =
      read_table(put("t.tsv", "id\tdonor\ttime\tlarge\na\t9007199254740992\t9007199254740991\t1e20\nb\t 9007199254740993\tNA\t9007199254740993.5\n"));
  EXPECT_EQ(t.at("donor").text(0), "9007199254740992");
  EXPECT_EQ(t.at("donor").text(1), " 9007199254740993") << "as it stands, as all text";
  // What is written is read as what it was.
  EXPECT_EQ(t.at("large").text(1), "9007199254740994.0");
  write_table(path("again.tsv"), t);
  const Table again = read_table(path("again.tsv"));
  for (const char* name : {"time", "large"}) EXPECT_EQ(again.at(name).numeric && again.at(name).number[0] == t.at(name).number[0], true) << name;
  EXPECT_EQ(t.at("time").number[0], 9007199254740991.0);
  EXPECT_EQ(t.at("large").number[0], 1e20);
}

// Without a second column nothing tells what separates them.
TEST_F(TextInput, NamesAloneKeepTheirSpaces) {
  Table t;
  t.key_name = "Sample ID, as sent";
  t.keys = {"left lung", "right; lower", "a,b", "plain"};
  for (const char* file : {"names.tsv", "names.csv"}) {
    write_table(path(file), t);
    const Table back = read_table(path(file));
    EXPECT_EQ(back.key_name, t.key_name) << file;
    EXPECT_EQ(back.keys, t.keys) << file;
    EXPECT_TRUE(back.columns.empty()) << file;
  }
}

// write.table of R names one column fewer where it writes names of rows.
TEST_F(TextInput, TableAsRWritesIt) {
  const Table t = read_table(put("r.tsv", "cohort\tage\nx\tA\t50\ny\tB\t60\n"));
  EXPECT_EQ(t.keys, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(t.key_name, "index");
  EXPECT_EQ(t.at("cohort").text(1), "B");
  EXPECT_EQ(t.at("age").number[0], 50);
}

TEST_F(TextInput, TableFaults) {
  auto refused = [&](const std::string& content, const std::vector<std::string>& words) {
    const std::string file = put("t.tsv", content);
    expect_names(error_of([&] { read_table(file); }), words);
  };
  refused("id\tage\na\t1\na\t2\n", {"'a' stands twice", "line 3", "line 2"});
  refused("id\tage\tage\na\t1\t2\n", {"two columns", "'age'"});
  refused("id\tage\na\t1\t2\t3\n", {"4 cells", "line 2"});
  refused("id\tage\n", {"no rows"});
  expect_names(error_of([&] { read_table(put("t2.tsv", "id\tcohort\na\tx\n")).at("cohrt"); }), {"'cohrt'", "did you mean 'cohort'"});
}

TEST_F(TextInput, ObsIsJoinedByName) {
  const std::string m = put("m.tsv", "s\tA\nx\t1\ny\t2\n");
  ReadOptions o;
  o.obs_table = put("obs.tsv", "sample\tcohort\nz\tC\ny\tB\nx\tA\n");
  const auto d = read_dataset<float>(m, o);
  EXPECT_EQ(d.obs.at("cohort").text(0), "A");
  EXPECT_EQ(d.obs.at("cohort").text(1), "B");
  o.obs_table = put("part.tsv", "sample\tcohort\ny\tB\n");
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"1 of 2 samples", "'x'", "part.tsv"});
  o.obs_table = put("none.tsv", "sample\tcohort\nS-y\tB\n");
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"no sample of the matrix", "'S-y'", "'x'", "--rows features"});
}

TEST_F(TextInput, WhereSelects) {
  const std::string m = put("m.tsv", "s\tA\nx\t1\ny\t2\nz\t3\n");
  ReadOptions o;
  o.obs_table = put("obs.tsv", "sample\ttype\tage\nx\ttumor\t50\ny\tnormal\t60\nz\ttumor\t70\n");
  o.where = {"type=tumor"};
  EXPECT_EQ(read_dataset<float>(m, o).obs.keys, (std::vector<std::string>{"x", "z"}));
  o.where = {"type=tumor,normal", "age=60.0"};
  EXPECT_EQ(read_dataset<float>(m, o).obs.keys, (std::vector<std::string>{"y"}));
  o.where = {"type=tumour"};
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"'type=tumour'", "tumor, normal"});
  o.where = {"typ=tumor"};
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"did you mean 'type'"});
  o.where = {"type=normal", "age=50"};
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"no sample is left"});
  o.where = {"type"};
  error_of([&] { read_dataset<float>(m, o); }, ErrorCode::usage);
}

TEST_F(TextInput, KeysGiveColumnsTheirCanonicalNames) {
  const std::string m = put("m.tsv", "s\tA\nx\t1\ny\t2\n");
  ReadOptions o;
  o.obs_table = put("obs.tsv", "sample\ttumour\nx\tBRCA\ny\tLUAD\n");
  o.keys = {{"cohort", "tumour"}};
  EXPECT_EQ(read_dataset<float>(m, o).obs.at("cohort").text(1), "LUAD");
  o.keys = {{"cohort", "tumor"}};
  expect_names(error_of([&] { read_dataset<float>(m, o); }), {"'tumor'", "did you mean 'tumour'"});
}

// Samples without a value are asked for by any word for it; a value that no sample has is said where another has some.
TEST_F(TextInput, WhereOfMissingAndOfUnknownValues) {
  const std::string m = put("m.tsv", "s\tA\nx\t1\ny\t2\nz\t3\n");
  ReadOptions o;
  o.obs_table = put("obs.tsv", "sample\ttype\tage\nx\ttumor\tNA\ny\t\t60\nz\tnormal\t70\n");
  o.where = {"type=NA"};
  EXPECT_EQ(read_dataset<float>(m, o).obs.keys, (std::vector<std::string>{"y"}));
  o.where = {"age=,70"};
  EXPECT_EQ(read_dataset<float>(m, o).obs.keys, (std::vector<std::string>{"x", "z"}));
  const panvae::test::Warnings said;
  o.where = {"type=tumor,tumour"};
  EXPECT_EQ(read_dataset<float>(m, o).obs.keys, (std::vector<std::string>{"x"}));
  ASSERT_EQ(said.lines.size(), 1u);
  EXPECT_NE(said.lines[0].find("no sample has 'type' = 'tumour'"), std::string::npos) << said.lines[0];
}

}  // namespace
}  // namespace panvae::data::test
