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
  put("matrix.mtx", "%%MatrixMarket matrix coordinate integer general\n3 2 1\n4 1 5\n");
  expect_names(error_of([&] { read_dataset<float>(path("matrix.mtx")); }), {"outside", "line 3"});
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

}  // namespace
}  // namespace panvae::data::test
