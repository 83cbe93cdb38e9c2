// Peaks: names, columns, the order of the genome, published tables of counts, preprocessing of ATAC.
#include "data/peaks.h"

#include <cmath>

#include "base/philox.h"
#include "data/preprocess.h"
#include "data/write.h"
#include "support.h"

namespace panvae::data::test {
namespace {

class PeakFiles : public Files {};

TEST(Peaks, NamesInThreeForms) {
  struct Case {
    const char *name, *chromosome;
    int64_t start, end;
  };
  for (const Case& c : {Case{"chr1:100-600", "chr1", 100, 600}, Case{"chr1-100-600", "chr1", 100, 600}, Case{"chr1_100_600", "chr1", 100, 600},
                        Case{"X:0-1", "X", 0, 1}, Case{"chrUn_KI270742v1_5_9", "chrUn_KI270742v1", 5, 9},
                        Case{"HLA-A*01:01:01:01:7-8", "HLA-A*01:01:01:01", 7, 8}, Case{"chr6_GL000250v2_alt:1-2", "chr6_GL000250v2_alt", 1, 2}}) {
    std::string_view chromosome;
    int64_t start = -1, end = -1;
    ASSERT_TRUE(parse_peak_name(c.name, chromosome, start, end)) << c.name;
    EXPECT_EQ(chromosome, c.chromosome);
    EXPECT_EQ(start, c.start);
    EXPECT_EQ(end, c.end);
  }
  for (const char* bad : {"", "TP53", "chr1:100", "chr1:100-", "chr1:-5-10", ":1-2", "chr1:1.5-3", "chr1:a-b", "chr1:1-2x", "chr1:99999999999999999999-2",
                          "chr1:100-600-1", "chr1:0-1-2", "chr1:1_5_9"}) {
    std::string_view chromosome;
    int64_t start = 0, end = 0;
    EXPECT_FALSE(parse_peak_name(bad, chromosome, start, end)) << bad;
  }
}

TEST(Peaks, ChromosomesInNaturalOrder) {
  const std::vector<std::string> order = {"chr1", "chr2", "chr9", "chr10", "chr22", "chrX", "chrY", "chrM", "chrUn_GL2", "chrUn_GL10", "scaffold"};
  for (size_t a = 0; a < order.size(); ++a)
    for (size_t b = 0; b < order.size(); ++b) EXPECT_EQ(chromosome_before(order[a], order[b]), a < b) << order[a] << " " << order[b];
  EXPECT_TRUE(chromosome_before("2", "10"));
  EXPECT_TRUE(chromosome_before("Y", "MT"));
  EXPECT_TRUE(is_main_chromosome("chrX") && is_main_chromosome("7") && is_main_chromosome("MT"));
  EXPECT_FALSE(is_main_chromosome("chrUn_GL2") || is_main_chromosome("chr") || is_main_chromosome("chr100"));
}

Dataset<float> counts(const std::vector<std::string>& names, int64_t samples = 4) {
  RowMatrix<float> x(samples, static_cast<int64_t>(names.size()));
  PhiloxSequence random({7, 0, 0});
  for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(1 + random.below(20));
  Dataset<float> d = dataset(x);
  d.var.keys = names;
  return d;
}

TEST(Peaks, SortedWithTheirCounts) {
  Dataset<float> d = counts({"chr10:5-9", "chr2:300-400", "chrM:1-2", "chr2:300-350", "chrUn_X:1-2", "chr2:20-30"});
  const Dataset<float> before = d;
  EXPECT_EQ(sort_peaks(d), 6);
  EXPECT_EQ(d.var.keys, (std::vector<std::string>{"chr2:20-30", "chr2:300-350", "chr2:300-400", "chr10:5-9", "chrM:1-2", "chrUn_X:1-2"}));
  const std::vector<int64_t> from = {5, 3, 1, 0, 2, 4};
  for (size_t p = 0; p < from.size(); ++p) EXPECT_EQ(d.x.col(static_cast<int64_t>(p)), before.x.col(from[p]));
  EXPECT_EQ(d.var.at("chrom").text(3), "chr10");
  EXPECT_EQ(d.var.at("start").number[2], 300);
  EXPECT_EQ(d.var.at("end").number[1], 350);
  EXPECT_EQ(sort_peaks(d), 0);
}

TEST(Peaks, EveryFaultNamesThePeak) {
  auto refused = [](const std::vector<std::string>& names) {
    Dataset<float> d = counts(names);
    return error_of([&] { sort_peaks(d); });
  };
  expect_names(refused({"chr1:1-2", "TP53"}), {"'TP53'", "chr1:100-600", "--var"});
  expect_names(refused({"chr1:1-2", "chr1:50-50"}), {"'chr1:50-50'", "ends at 50"});
  expect_names(refused({"chr1:1-2", "chr1:60-50"}), {"'chr1:60-50'", "ends at 50", "starts, 60"});
  expect_names(refused({"chr1:1-2", "chr1_1_2"}), {"'chr1:1-2'", "'chr1_1_2'", "twice"});
  Dataset<float> d = counts({"a", "b"});
  d.var.set(factor_from_text("chrom", {"chr1", "NA"}));
  d.var.set(numeric_column("start", {1, 2}));
  expect_names(error_of([&] { sort_peaks(d); }), {"lacks end"});
  d.var.set(numeric_column("end", {5, 6}));
  expect_names(error_of([&] { sort_peaks(d); }), {"without 'chrom'", "'b'"});
  d.var.set(factor_from_text("chrom", {"chr1", "chr2"}));
  d.var.set(numeric_column("start", {1, std::nan("")}));
  expect_names(error_of([&] { sort_peaks(d); }), {"without 'start'", "'b'"});
  d.var.set(numeric_column("start", {-1, 2}));
  expect_names(error_of([&] { sort_peaks(d); }), {"'start'", "'-1'", "'a'"});
  d.var.set(numeric_column("start", {1.5, 2}));
  expect_names(error_of([&] { sort_peaks(d); }), {"'1.5'", "'a'"});
}

TEST(Peaks, ColumnsWinOverNames) {
  Dataset<float> d = counts({"BRCA_10", "BRCA_2"});
  d.var.set(column_from_text("chrom", {"2", "1"}));  // numbers, as a table without "chr" is read
  d.var.set(numeric_column("start", {10, 10}));
  d.var.set(numeric_column("end", {20, 20}));
  sort_peaks(d);
  EXPECT_EQ(d.var.keys, (std::vector<std::string>{"BRCA_2", "BRCA_10"}));
  EXPECT_EQ(d.var.at("chrom").text(0), "1");
}

TEST_F(PeakFiles, TablesAsTheyArePublished) {
  ReadOptions features;
  features.rows = Rows::features;
  const RowMatrix<float> expected = (RowMatrix<float>(2, 3) << 1, 3, 5, 2, 4, 6).finished();
  // TCGA-ATAC: seqnames, start, end, name, score, samples. bedtools: chrom, start, end. featureCounts: the name first.
  const std::string gdc =
      put("gdc.txt", "seqnames\tstart\tend\tname\tscore\tA\tB\nchr2\t10\t20\tBRCA_1\t4.5\t1\t2\nchr1\t5\t9\tBRCA_2\t3\t3\t4\nchr1\t1\t2\tLUAD_1\t2\t5\t6\n");
  const std::string bed = put("bed.tsv", "#chrom\tchromStart\tchromEnd\tA\tB\nchr2\t10\t20\t1\t2\nchr1\t5\t9\t3\t4\nchr1\t1\t2\t5\t6\n");
  const std::string feature_counts =
      put("fc.csv", "Geneid,Chr,Start,End,Strand,Length,A,B\n\"p,1\",chr2,10,20,+,10,1,2\np2,chr1,5,9,-,4,3,4\np3,chr1,1,2,.,1,5,6\n");
  for (const std::string& file : {gdc, bed, feature_counts}) {
    const Dataset<float> d = read_dataset<float>(file, features);
    EXPECT_EQ(d.x, expected) << file;
    EXPECT_EQ(d.obs.keys, (std::vector<std::string>{"A", "B"})) << file;
    EXPECT_EQ(d.var.at("chrom").text(1), "chr1") << file;
    EXPECT_EQ(d.var.at("start").number, (std::vector<double>{10, 5, 1})) << file;
    EXPECT_EQ(d.var.at("end").number, (std::vector<double>{20, 9, 2})) << file;
    expect_names(error_of([&] { read_dataset<float>(file); }), {"chrom, start and end", "--rows features"});
  }
  EXPECT_EQ(read_dataset<float>(gdc, features).var.keys, (std::vector<std::string>{"BRCA_1", "BRCA_2", "LUAD_1"}));
  EXPECT_EQ(read_dataset<float>(gdc, features).var.at("score").number[0], 4.5);
  EXPECT_EQ(read_dataset<float>(bed, features).var.keys, (std::vector<std::string>{"chr2:10-20", "chr1:5-9", "chr1:1-2"}));
  EXPECT_EQ(read_dataset<float>(feature_counts, features).var.keys, (std::vector<std::string>{"p,1", "p2", "p3"}));
  const std::string ragged = put("ragged.tsv", "chrom\tstart\tend\tA\tB\nchr2\t10\t20\t1\t2\nchr1\t5\n");
  expect_names(error_of([&] { read_dataset<float>(ragged, features); }), {"line 3"});
  const std::string cell = put("cell.tsv", "chrom\tstart\tend\tA\tB\nchr2\t10\t20\t1\tx\n");
  expect_names(error_of([&] { read_dataset<float>(cell, features); }), {"'x'", "line 2", "chr2:10-20", "'B'"});
}

TEST_F(PeakFiles, PreprocessedInGenomeOrderAndNewSamplesToo) {
  std::vector<std::string> names;
  for (int p = 0; p < 60; ++p)
    names.push_back("chr" + std::to_string(1 + p % 12) + ":" + std::to_string(1000 * p + 100) + "-" + std::to_string(1000 * p + 600));
  const Dataset<float> raw = counts(names, 12);
  Dataset<float> sorted = raw;
  sort_peaks(sorted);
  PreprocessOptions o;
  o.modality = "atac";
  Dataset<float> a = raw, b = sorted;
  Preprocessor pa, pb;
  pa.fit(a, o);
  pb.fit(b, o);
  EXPECT_EQ(a.var.keys, b.var.keys);
  EXPECT_EQ(a.x, b.x);
  EXPECT_EQ(a.var.at("start").number, b.var.at("start").number);
  EXPECT_EQ(stored_peaks(pa.frozen()).start.size(), 60u);
  // Frozen, through a file, onto samples whose peaks come in another order and without columns.
  write_dataset(path("pp.h5ad"), a);
  Dataset<float> fresh = raw;
  Preprocessor::from(read_frozen(path("pp.h5ad"))).apply(fresh);
  EXPECT_EQ(fresh.var.keys, a.var.keys);
  EXPECT_EQ(fresh.var.at("chrom").text(59), a.var.at("chrom").text(59));
  EXPECT_EQ(fresh.var.at("end").number, a.var.at("end").number);
  EXPECT_LT((fresh.x - a.x).cwiseAbs().maxCoeff(), 1e-5);
  Frozen damaged = pa.frozen();
  damaged.arrays["peak_start"].values.pop_back();
  expect_names(error_of([&] { stored_peaks(damaged); }), {"peak_start"});
  damaged = pa.frozen();
  damaged.settings["chromosomes"] = 3;
  expect_names(error_of([&] { stored_peaks(damaged); }), {"stored preprocessing cannot be used"});
}

}  // namespace
}  // namespace panvae::data::test
