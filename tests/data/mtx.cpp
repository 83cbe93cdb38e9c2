// MatrixMarket files with the names beside them.
#include "support.h"

namespace panvae::data::test {
namespace {

using TextInput = Files;

TEST_F(TextInput, MatrixMarketAsTenXWritesIt) {
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n% made by hand\n3 2 3\n1 1 5\n3 2 7\n2 2 1\n");
  put("barcodes.tsv", "AAA-1\nCCC-1\n");
  put("features.tsv", "ENSG1\tTP53\tGene Expression\nENSG2\tBRCA1\tGene Expression\nENSG3\tTP53\tGene Expression\n");
  for (const std::string& name : {path("matrix.mtx"), path("")}) {
    const auto d = read_dataset<float>(name);
    EXPECT_EQ(d.samples(), 2);
    EXPECT_EQ(d.features(), 3);
    EXPECT_EQ(d.x(1, 2), 7);
    EXPECT_EQ(d.x(0, 1), 0);
    EXPECT_EQ(d.var.at("symbol").text(2), "TP53");
    EXPECT_EQ(d.var.at("feature_type").text(0), "Gene Expression");
  }
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 2 3\n1 1 5\n3 2 7\n");
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"2 entries", "announces 3"});
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 2 1\n1 1 5\n3 2 7\n");
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"2 entries", "announces 1"});
  for (const std::string place : {"4 1", "0 1", "1 3", "1 0", "-1 1", "1 -1"}) {
    put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 2 1\n" + place + " 5\n");
    expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"entry " + place + " is outside the 3 x 2 matrix", "line 3"});
  }
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 5 1\n1 1 5\n");
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"3 x 5", "3 features and 2 barcodes"});
  // Few bytes may announce more than any machine holds.
  std::filesystem::create_directory(path("big"));
  std::string names;
  for (int i = 0; i < 2000000; ++i) names += std::to_string(i) + '\n';
  put("big/barcodes.tsv", names), put("big/features.tsv", names);
  put("big/matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n2000000 2000000 1\n1 1 5\n");
  expect_names(error_of([&] { read_dataset<float>(path("big")); }, ErrorCode::machine), {"2000000 x 2000000 needs 14.6 TiB", "big/matrix.mtx"});
  put("matrix.mtx", "3 2 1\n1 1 5\n");
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"not a Matrix Market file"});
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 2 1\n1 1 5\n");
  std::filesystem::remove(path("barcodes.tsv"));
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"barcodes.tsv"});
}

TEST_F(TextInput, MatrixMarketWithoutNames) {
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 2 1\n1 1 5\n");
  for (const auto& [empty, full, text] : {std::tuple{"barcodes.tsv", "features.tsv", "a\nb\nc\n"}, std::tuple{"features.tsv", "barcodes.tsv", "a\nb\n"}})
    for (const char* blank : {"\n", "\n\n\n"}) {
      put(full, text), put(empty, blank);
      expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"no names", empty});
    }
}

// Where there are as many features as barcodes, rows are features, as 10x writes them. Entries of one cell add up; a pattern has ones.
TEST_F(TextInput, MatrixMarketOfEquallyManyFeaturesAndBarcodes) {
  put("GSM1_barcodes.tsv", "AAA-1\nCCC-1\n");
  put("GSM1_genes.tsv", "ENSG1\tTP53\nENSG2\tBRCA1\n");
  put("barcodes.tsv", "other\n");
  put("features.tsv", "other\n");
  RowMatrix<float> expected(2, 2);
  expected << 0, 9, 0, 0;  // sample AAA-1, gene ENSG2
  EXPECT_EQ(read_dataset<float>(put("GSM1_matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n2 2 2\n2 1 5\n2 1 4\n")).x, expected);
  expected(0, 1) = 1;
  const auto pattern = read_dataset<float>(put("GSM1_matrix.mtx", "%%MatrixMarket matrix coordinate pattern general\n2 2 1\n2 1\n"));
  EXPECT_EQ(pattern.x, expected);
  EXPECT_EQ(pattern.obs.keys[1], "CCC-1");
  EXPECT_EQ(pattern.var.at("symbol").text(1), "BRCA1");
}

// Where rows are samples, as other programs write them.
TEST_F(TextInput, MatrixMarketOfSamplesByFeatures) {
  put("barcodes.tsv", "AAA-1\nCCC-1\n");
  put("features.tsv", "ENSG1\nENSG2\nENSG3\n");
  RowMatrix<float> expected(2, 3);
  expected << 0, 0, 5, 7, 0, 0;
  EXPECT_EQ(read_dataset<float>(put("matrix.mtx", "%%MatrixMarket matrix coordinate real general\n2 3 2\n1 3 5\n2 1 7\n")).x, expected);
}

TEST_F(TextInput, BrokenMatrixMarket) {
  put("barcodes.tsv", "AAA-1\nCCC-1\n");
  put("features.tsv", "ENSG1\tTP53\nENSG2\tBRCA1\nENSG3\tTP53\n");
  const auto refused = [&](const std::string& text, const std::vector<std::string>& words) {
    const std::string file = put("matrix.mtx", text);
    expect_names(error_of([&] { read_dataset<float>(file); }), words);
  };
  const std::string head = "%%MatrixMarket matrix coordinate integer general\n";
  for (const char* kind : {"matrix coordinate complex general", "matrix coordinate real symmetric", "matrix array real general"})
    refused(fmt::format("%%MatrixMarket {}\n3 2 1\n1 1 5\n", kind), {fmt::format("{}' is not supported", kind), "line 1"});
  for (const char* sizes : {"-3 2 1", "3 -2 1", "3 2 -1", "3 2", "3 2 1 1", "3 2 1x", "3 two 1"})
    refused(head + sizes + "\n1 1 5\n", {"the line of sizes is broken", "line 2"});
  refused(head + "% and nothing else\n", {"the line of sizes is broken"});
  for (const char* entry : {"1 1 5 6", "1 1 5x", "1 1", "1", "1 x 5", "1 1 five", "1 2.5", "1.5 1 5"})
    refused(head + "3 2 1\n" + entry + "\n", {fmt::format("'{}' is no entry", entry), "line 3", "row column number"});
  for (const char* entry : {"1 1 5", "1"})
    refused(fmt::format("%%MatrixMarket matrix coordinate pattern general\n3 2 1\n{}\n", entry),
            {fmt::format("'{}' is no entry", entry), "expected: row column"});
}

TEST_F(TextInput, NamesBesideAMatrix) {
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n2 2 1\n2 1 5\n");
  put("barcodes.tsv.gz", "AAA-1\nCCC-1\n");  // as gunzip -f does, what is not compressed is read as it is
  const auto with = [&](const std::string& features) {
    put("features.tsv", features);
    return read_dataset<float>(path("matrix.mtx"));
  };
  EXPECT_EQ(with("ENSG1\tTP53\nENSG2\tBRCA1\n").x(0, 1), 5);
  expect_names(error_of([&] { with("ENSG1\tTP53\nENSG2\n"); }), {"1 cells where the first line has 2", "features.tsv', line 2"});
  expect_names(error_of([&] { with("ENSG1\nENSG2\tBRCA1\n"); }), {"2 cells where the first line has 1", "features.tsv', line 2"});
  expect_names(error_of([&] { with("ENSG1\tTP53\n\tBRCA1\n"); }), {"a line without a name", "features.tsv', line 2"});
}

}  // namespace
}  // namespace panvae::data::test
