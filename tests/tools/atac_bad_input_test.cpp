// What is wrong with tables of peaks, as a user meets it: handled and said, or refused in one line that names the place.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/tools/helpers.h"

namespace {

using namespace panvae;
using namespace panvae::test;
namespace fs = std::filesystem;

class AtacBadInput : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/panvae_test_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
  }
  void TearDown() override { fs::remove_all(folder); }
  Outcome run(const std::string& arguments) const { return shell("'" + kProgram + "' " + arguments, folder); }
  std::string at(const std::string& name) const { return folder + "/" + name; }
  void put(const std::string& name, const std::string& text) const { write_file(at(name), text); }
  Outcome preprocess(const std::string& in, const std::string& more = "") const {
    return run("preprocess -o out.h5ad " + in + " --modality atac --holdout 0 --validation 0 --json out.json " + more);
  }
  data::Dataset<float> out() const { return data::read_dataset<float>(at("out.h5ad")); }
  // Refused, and no file left behind. Every word stands in the line.
  void refused(const Outcome& o, const std::vector<std::string>& words, int code = 3) const {
    for (const std::string& word : words) expect_error(o, code, word);
    EXPECT_FALSE(fs::exists(at("out.h5ad")));
  }
  static void said(const Outcome& o, const std::vector<std::string>& words) {
    ASSERT_EQ(o.code, 0) << o.err;
    for (const std::string& word : words) EXPECT_NE(o.err.find(word), std::string::npos) << word << ": " << o.err;
  }
  std::string folder;
};

TEST_F(AtacBadInput, peaks_out_of_order) {
  put("t.tsv", "s\tchr10:5-9\tchr2:50-90\tchr2:5-9\tchrX:1-4\nA\t4\t1\t7\t2\nB\t3\t8\t1\t5\nC\t1\t6\t2\t9\n");
  said(preprocess("t.tsv"), {"2 of 4 peaks moved into the order of the genome"});
  EXPECT_EQ(out().var.keys, (std::vector<std::string>{"chr2:5-9", "chr2:50-90", "chr10:5-9", "chrX:1-4"}));
  // Counts move with their peaks: sample A's largest is chr2:5-9.
  Eigen::Index top = -1;
  out().x.row(0).maxCoeff(&top);
  EXPECT_EQ(top, 0);
}

TEST_F(AtacBadInput, repeated_names_and_positions) {
  put("names.tsv", "s\tchr1:100-600\tchr2:1-9\tchr1:100-600\nA\t4\t1\t7\nB\t3\t8\t1\n");
  refused(preprocess("names.tsv"), {"'chr1:100-600'", "names.tsv", "--make-unique"});
  // Numbered, it has no position any more; it is none at chr1:100, 600 to 1.
  refused(preprocess("names.tsv", "--make-unique"), {"no position can be read", "'chr1:100-600-1'"});
  put("places.tsv", "chrom\tstart\tend\tname\tA\tB\nchr1\t1\t9\tp1\t4\t3\nchr2\t1\t9\tp2\t5\t1\nchr1\t1\t9\tp3\t6\t2\n");
  refused(preprocess("places.tsv", "--rows features"), {"stands twice", "'p1'", "'p3'", "places.tsv"});
  // The same start is no fault.
  put("starts.tsv", "chrom\tstart\tend\tname\tA\tB\nchr1\t1\t9\tp1\t4\t3\nchr2\t1\t9\tp2\t5\t1\nchr1\t1\t5\tp3\t6\t2\n");
  said(preprocess("starts.tsv", "--rows features"), {"3 of 3 peaks moved"});
  EXPECT_EQ(out().var.keys, (std::vector<std::string>{"p3", "p1", "p2"}));
}

TEST_F(AtacBadInput, unknown_chromosomes_stand_last_and_are_said) {
  put("t.tsv", "s\tchrUn_KI270742v1:5-9\tchr2:50-90\tscaffold_12:5-9\tchrM:1-4\nA\t4\t1\t7\t2\nB\t3\t8\t1\t5\nC\t1\t6\t2\t9\n");
  said(preprocess("t.tsv"), {"2 peaks lie on 2 contigs", "'chrUn_KI270742v1'"});
  EXPECT_EQ(out().var.keys, (std::vector<std::string>{"chr2:50-90", "chrM:1-4", "chrUn_KI270742v1:5-9", "scaffold_12:5-9"}));
}

TEST_F(AtacBadInput, negative_missing_and_fractional_counts) {
  put("negative.tsv", "s\tchr1:3-5\tchr1:1-2\nA\t1\t2\nB\t2\t-1\n");
  refused(preprocess("negative.tsv"), {"a negative count, -1", "'B'", "'chr1:1-2'", "negative.tsv"});
  put("huge.tsv", "s\tchr1:3-5\tchr1:1-2\nA\t1\t2\nB\t2\t1e30\n");
  refused(preprocess("huge.tsv"), {"a count of 1e+30, more than any sequencing gives", "'B'", "'chr1:1-2'", "huge.tsv"});
  put("missing.tsv", "s\tchr1:3-5\tchr1:1-2\nA\t1\tNA\nB\t2\t1\n");
  refused(preprocess("missing.tsv"), {"missing", "'A'", "'chr1:1-2'"});
  put("text.tsv", "s\tchr1:3-5\tchr1:1-2\nA\t1\t2\nB\tmany\t1\n");
  refused(preprocess("text.tsv"), {"'many'", "line 3", "'chr1:3-5'"});
  // Small fractions look like logs; among large counts they may be expected counts, which is said.
  put("small.tsv", "s\tchr1:3-5\tchr1:1-2\nA\t1\t2\nB\t2.5\t1\n");
  refused(preprocess("small.tsv"), {"look like logs", "2.5", "'B'", "'chr1:3-5'", "--input log"});
  put("large.tsv", "s\tchr1:1-2\tchr1:3-5\tchr1:7-9\nA\t120\t2\t7.5\nB\t2.25\t310\t8\nC\t4\t7\t150\n");
  said(preprocess("large.tsv"), {"2 of the counts are fractions, 7.5 for instance", "'A'", "'chr1:7-9'", "expected counts"});
  // The same in an h5ad that goes through a file on disk.
  data::Dataset<float> d = data::read_dataset<float>(at("large.tsv"));
  d.x(1, 2) = -3;
  d.kind = "counts";
  data::write_dataset(at("negative.h5ad"), d);
  fs::remove(at("out.h5ad"));
  refused(preprocess("negative.h5ad"), {"-3", "'B'", "'chr1:7-9'"});
  refused(preprocess("negative.h5ad", "--memory 1K"), {"-3", "'B'", "'chr1:7-9'"});
  put("largest.tsv", "s\tchr1:3-5\tchr1:1-2\nA\t1\t2\nB\t2\t1000000000\n");
  said(preprocess("largest.tsv"), {});
}

TEST_F(AtacBadInput, samples_and_peaks_without_counts) {
  put("t.tsv", "s\tchr1:1-2\tchr1:3-5\tchr1:7-9\nA\t1\t0\t7\nempty\t0\t0\t0\nC\t4\t0\t15\n");
  said(preprocess("t.tsv"), {"1 samples without counts dropped", "1 features dropped that are zero"});
  EXPECT_EQ(out().obs.keys, (std::vector<std::string>{"A", "C"}));
  EXPECT_EQ(out().var.keys, (std::vector<std::string>{"chr1:1-2", "chr1:7-9"}));
  const Json j = Json::parse(read_file(at("out.json")));
  EXPECT_EQ(j["dropped_samples"], 1);
  EXPECT_EQ(j["dropped_features_zero"], 1);
  fs::remove(at("out.h5ad"));
  put("none.tsv", "s\tchr1:1-2\tchr1:3-5\nA\t0\t0\nB\t0\t0\n");
  refused(preprocess("none.tsv"), {"no sample has any count", "none.tsv"});
  put("one.tsv", "s\tchr1:1-2\tchr1:3-5\nA\t1\t2\nB\t0\t0\n");
  refused(preprocess("one.tsv"), {"1 training sample", "at least 2"});
}

TEST_F(AtacBadInput, positions_that_are_none) {
  const auto with_table = [&](const std::string& table) {
    put("t.tsv", "s\tp1\tp2\nA\t4\t1\nB\t3\t8\n");
    put("var.tsv", table);
    return preprocess("t.tsv", "--var var.tsv");
  };
  refused(with_table("peak\tchrom\tstart\np1\tchr1\t1\np2\tchr1\t7\n"), {"lacks end", "t.tsv"});
  refused(with_table("peak\tstart\tend\np1\t1\t5\np2\t7\t9\n"), {"lacks chrom"});
  refused(with_table("peak\tchrom\tstart\tend\np1\tchr1\t1\t5\np2\tchr1\tNA\t9\n"), {"'start'", "'p2'"});
  refused(with_table("peak\tchrom\tstart\tend\np1\t\t1\t5\np2\tchr1\t7\t9\n"), {"'chrom'", "'p1'"});
  refused(with_table("peak\tchrom\tstart\tend\np1\tchr1\t1\t5\np2\tchr1\t-7\t9\n"), {"'start'", "'-7'", "'p2'"});
  refused(with_table("peak\tchrom\tstart\tend\np1\tchr1\t1\t5\np2\tchr1\t7\t9.5\n"), {"'end'", "'9.5'", "'p2'"});
  refused(with_table("peak\tchrom\tstart\tend\np1\tchr1\t1\t5\np2\tchr1\tseven\t9\n"), {"'start'", "no position"});
  refused(with_table("peak\tchrom\tstart\tend\np1\tchr1\t1\t5\np2\tchr1\t9\t9\n"), {"'p2'", "ends at 9", "below end"});
  refused(with_table("peak\tchrom\tstart\tend\np1\tchr1\t8\t5\np2\tchr1\t7\t9\n"), {"'p1'", "ends at 5"});
  refused(with_table("peak\tchrom\tstart\tend\np1\tchr1\t1\t5\n"), {"'p2'"});  // without a row
  put("t.tsv", "s\tchr1:9-5\tchr1:1-2\nA\t4\t1\nB\t3\t8\n");
  refused(preprocess("t.tsv"), {"'chr1:9-5'", "ends at 5"});
  put("t.tsv", "s\tTP53\tchr1:1-2\nA\t4\t1\nB\t3\t8\n");
  refused(preprocess("t.tsv"), {"'TP53'", "chr1:100-600", "--var"});
}

// Positions of the columns win over those of names that say otherwise.
TEST_F(AtacBadInput, columns_win_over_names) {
  put("t.tsv", "s\tchr1:1-2\tchr1:3-4\nA\t4\t1\nB\t3\t8\n");
  put("var.tsv", "peak\tchrom\tstart\tend\nchr1:1-2\tchr5\t1\t5\nchr1:3-4\tchr1\t9\t12\n");
  said(preprocess("t.tsv", "--var var.tsv"), {"2 of 2 peaks moved"});
  EXPECT_EQ(out().var.keys, (std::vector<std::string>{"chr1:3-4", "chr1:1-2"}));
  EXPECT_EQ(out().var.at("chrom").text(0), "chr1");
}

TEST_F(AtacBadInput, other_peaks_than_the_fit_has) {
  put("t.tsv", "s\tchr1:1-2\tchr1:3-5\tchr1:7-9\tchr2:1-4\nA\t1\t3\t7\t4\nB\t5\t9\t2\t7\nC\t4\t2\t15\t8\n");
  ASSERT_EQ(run("preprocess -o fit.h5ad t.tsv --modality atac --holdout 0 --validation 0").code, 0);
  put("new.tsv", "s\tchr2:1-4\tchr1:7-9\tchr1:1-2\tchr9:1-2\nD\t1\t3\t7\t50\n");
  said(run("preprocess -o out.h5ad new.tsv --like fit.h5ad"), {"3 of 4 features"});
  EXPECT_EQ(out().var.keys, data::read_dataset<float>(at("fit.h5ad")).var.keys);
  fs::remove(at("out.h5ad"));
  put("lifted.tsv", "s\tchr1:11-12\tchr1:13-15\tchr1:7-9\nD\t1\t3\t7\n");
  refused(run("preprocess -o out.h5ad lifted.tsv --like fit.h5ad"), {"only 1 of 4 features", "'chr1:11-12'"});
  refused(run("preprocess -o out.h5ad new.tsv --like fit.h5ad --modality rna"), {"fitted on atac"});
}

}  // namespace
