// AnnData files as its versions 0.7 to 0.12 write them, built here with the C library.
#include "data/h5ad.h"

#include <hdf5.h>

#include <limits>

#include "data/describe.h"
#include "data/large_dataset.h"
#include "data/write.h"
#include "h5ad_fixture.h"

namespace panvae::data::test {
namespace {

TEST_F(H5ad, DenseOfAnyNumberType) {
  for (hid_t type :
       {H5T_NATIVE_FLOAT, H5T_NATIVE_DOUBLE, H5T_NATIVE_INT8, H5T_NATIVE_UINT16, H5T_NATIVE_INT32, H5T_NATIVE_UINT64, H5T_IEEE_F32BE, H5T_STD_I16BE}) {
    const std::string name = file([&](Fixture& f) { f.doubles("X", {3, 4}, flat(), type); });
    EXPECT_EQ(read_dataset<double>(name).x, expected());
    EXPECT_EQ(read_dataset<float>(name).x, expected().cast<float>());
  }
  EXPECT_EQ(read_dataset<float>(path("a.h5ad")).kind, "counts");
}

TEST_F(H5ad, HalfPrecision) {
  const hid_t half = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(half, 15, 10, 5, 0, 10);
  H5Tset_size(half, 2);
  H5Tset_ebias(half, 15);
  EXPECT_EQ(read_dataset<float>(file([&](Fixture& f) { f.doubles("X", {3, 4}, flat(), half); })).x, expected().cast<float>());
  H5Tclose(half);
}

TEST_F(H5ad, SparseByRowsAndColumns) {
  EXPECT_EQ(read_dataset<double>(file([](Fixture& f) { f.sparse("X", "csr_matrix", true); })).x, expected());
  EXPECT_EQ(read_dataset<double>(file([](Fixture& f) { f.sparse("X", "csc_matrix", false); })).x, expected());
}

TEST_F(H5ad, LayersEmbeddingsAndRaw) {
  const std::string name = file([&](Fixture& f) {
    f.doubles("X", {3, 4}, std::vector<double>(12, 0.5));
    f.group("layers");
    f.sparse("layers/counts", "csr_matrix", true);
    f.group("obsm");
    f.doubles("obsm/X_pca", {3, 2}, {1.5, -2, 3, 4, 5, 6});
    f.group("raw");
    f.frame("raw/var", {"R1", "R2", "R3", "R4"});
    f.doubles("raw/X", {3, 4}, flat());
  });
  EXPECT_EQ(read_dataset<double>(name + ":layers/counts").x, expected());
  const auto pca = read_dataset<double>(name + ":obsm/X_pca");
  EXPECT_EQ(pca.kind, "embedding");
  EXPECT_EQ(pca.var.keys, (std::vector<std::string>{"X_pca_1", "X_pca_2"}));
  EXPECT_EQ(pca.x(0, 1), -2);
  EXPECT_EQ(read_dataset<double>(name + ":raw/X").var.keys[3], "R4");
  expect_names(error_of([&] { read_dataset<double>(name + ":layers/count"); }), {"no such matrix", "layers/counts", "obsm/X_pca"});
  error_of([&] { read_dataset<double>(name + ":uns/x"); });
  const FileSummary summary = describe_file(name);
  EXPECT_EQ(summary.matrices, (std::vector<std::string>{"layers/counts", "obsm/X_pca", "raw/X"}));
  EXPECT_NE(to_text(summary).find("3 x 4"), std::string::npos);
}

// 2^53 + 1 is 2^53 as a double: two donors would be one.
TEST_F(H5ad, WholeNumbersThatDoublesRoundAreText) {
  constexpr int64_t kExact = int64_t{1} << 53, kLargest = std::numeric_limits<int64_t>::max();
  const std::string name = file([&](Fixture& f) {
    f.doubles("X", {3, 4}, flat());
    f.integers("obs/donor", {kExact, kExact + 1, -kExact - 1}, H5T_NATIVE_INT64);
    f.integers("obs/below", {kExact - 1, 1 - kExact, 0}, H5T_NATIVE_INT64);
    f.doubles("obs/fractions", {3}, {1e300, 9007199254740994.0, 0.5});
    f.group("obs/masked");
    f.attribute("obs/masked", "encoding-type", "nullable-integer");
    f.integers("obs/masked/values", {kExact + 1, kLargest, kExact + 3}, H5T_NATIVE_INT64);
    f.booleans("obs/masked/mask", {0, 1, 0});
    f.group("obs/rubbish");  // what lies under a mask is no value
    f.attribute("obs/rubbish", "encoding-type", "nullable-integer");
    f.integers("obs/rubbish/values", {1, kLargest, 3}, H5T_NATIVE_INT64);
    f.booleans("obs/rubbish/mask", {0, 1, 0});
    f.group("obs/cluster");
    f.attribute("obs/cluster", "encoding-type", "categorical");
    f.integers("obs/cluster/codes", {1, 0, 1});
    f.integers("obs/cluster/categories", {kExact, kExact + 1}, H5T_NATIVE_INT64);
  });
  const Table obs = read_dataset<float>(name).obs;
  EXPECT_EQ(obs.at("donor").text(0), "9007199254740992");
  EXPECT_EQ(obs.at("donor").text(1), "9007199254740993");
  EXPECT_EQ(obs.at("donor").text(2), "-9007199254740993");
  EXPECT_FALSE(obs.at("donor").numeric);
  EXPECT_EQ(obs.at("below").number, (std::vector<double>{9007199254740991, -9007199254740991, 0}));
  EXPECT_TRUE(obs.at("fractions").numeric);
  EXPECT_EQ(obs.at("masked").text(0), "9007199254740993");
  EXPECT_TRUE(obs.at("masked").missing(1));
  EXPECT_EQ(obs.at("masked").text(2), "9007199254740995");
  EXPECT_EQ(obs.at("rubbish").number[2], 3);
  EXPECT_TRUE(obs.at("rubbish").missing(1));
  EXPECT_EQ(obs.at("cluster").text(0), "9007199254740993");
  EXPECT_EQ(obs.at("cluster").text(1), "9007199254740992");
  const std::string beyond = file([&](Fixture& f) {
    f.doubles("X", {3, 4}, flat());
    f.numbers<uint64_t>("obs/donor", H5T_NATIVE_UINT64, H5T_NATIVE_UINT64, {3}, {1, uint64_t{1} << 63, (uint64_t{1} << 63) + 5});
  });
  expect_names(error_of([&] { read_dataset<float>(beyond); }), {"obs/donor", "63 bits", "text"});
}

TEST_F(H5ad, ColumnsOfEveryEncoding) {
  const std::string name = file([&](Fixture& f) {
    f.doubles("X", {3, 4}, flat());
    f.group("obs/cohort");  // categorical since 0.8
    f.attribute("obs/cohort", "encoding-type", "categorical");
    f.integers("obs/cohort/codes", {1, -1, 0}, H5T_NATIVE_INT8);
    f.texts("obs/cohort/categories", {"BRCA", "LUAD"});
    f.group("obs/__categories");  // categorical of 0.7
    f.texts("obs/__categories/sex", {"female", "male"}, 8);
    f.integers("obs/sex", {0, 1, 1}, H5T_NATIVE_INT8);
    f.reference("obs/sex", "categories", "obs/__categories/sex");
    f.group("obs/age");
    f.attribute("obs/age", "encoding-type", "nullable-integer");
    f.integers("obs/age/values", {50, 1, 70});
    f.booleans("obs/age/mask", {0, 1, 0});
    f.group("obs/os_event");
    f.attribute("obs/os_event", "encoding-type", "nullable-boolean");
    f.booleans("obs/os_event/values", {1, 0, 0});
    f.booleans("obs/os_event/mask", {0, 0, 1});
    f.group("obs/site");
    f.attribute("obs/site", "encoding-type", "nullable-string-array");
    f.texts("obs/site/values", {"x", "", "y"});
    f.booleans("obs/site/mask", {0, 1, 0});
    f.texts("obs/donor", {"001", "002", "NA"});
    f.booleans("obs/alive", {1, 0, 1});
    f.doubles("obs/os_time", {3}, {10, std::nan(""), 30});
    f.group("obs/cluster");  // numeric categories
    f.attribute("obs/cluster", "encoding-type", "categorical");
    f.integers("obs/cluster/codes", {1, 0, 1});
    f.integers("obs/cluster/categories", {3, 100000});
    f.group("obs/smoker");  // categories of booleans, as astype("category") of pandas makes them
    f.attribute("obs/smoker", "encoding-type", "categorical");
    f.integers("obs/smoker/codes", {1, -1, 0}, H5T_NATIVE_INT8);
    f.booleans("obs/smoker/categories", {0, 1});
    f.doubles("obs/matrix", {3, 2}, {1, 2, 3, 4, 5, 6});  // no column
  });
  const Table obs = read_dataset<float>(name).obs;
  EXPECT_EQ(obs.at("cohort").text(0), "LUAD");
  EXPECT_TRUE(obs.at("cohort").missing(1));
  EXPECT_EQ(obs.at("sex").text(2), "male");
  EXPECT_EQ(obs.at("age").number[2], 70);
  EXPECT_TRUE(obs.at("age").missing(1));
  EXPECT_EQ(obs.at("os_event").number[0], 1);
  EXPECT_TRUE(obs.at("os_event").missing(2));
  EXPECT_EQ(obs.at("site").text(2), "y");
  EXPECT_TRUE(obs.at("site").missing(1));
  EXPECT_EQ(obs.at("donor").text(0), "001");
  EXPECT_TRUE(obs.at("donor").missing(2));
  EXPECT_EQ(obs.at("alive").number[1], 0);
  EXPECT_TRUE(obs.at("alive").boolean && obs.at("os_event").boolean);
  EXPECT_FALSE(obs.at("age").boolean);
  EXPECT_TRUE(obs.at("os_time").missing(1));
  EXPECT_EQ(obs.at("cluster").text(0), "100000");  // as AnnData shows it, not "1e+05"
  EXPECT_EQ(obs.at("smoker").text(0), "True");
  EXPECT_TRUE(obs.at("smoker").missing(1));
  EXPECT_EQ(obs.at("smoker").text(2), "False");
  EXPECT_EQ(obs.find("matrix"), nullptr);
  EXPECT_EQ(obs.find("__categories"), nullptr);
}

// Entries of one cell add up, as SciPy has it: by rows, by columns, and on disk.
TEST_F(H5ad, EntriesOfOneCellAddUp) {
  for (const bool csr : {true, false}) {
    const std::string name = file([&](Fixture& f) {
      f.group("X");
      f.attribute("X", "encoding-type", csr ? "csr_matrix" : "csc_matrix");
      f.shape("X", {3, 4});
      // Of sample 2 feature C: 1 + 4 + 2, and feature A: 3.
      f.doubles("X/data", {4}, csr ? std::vector<double>{1, 4, 3, 2} : std::vector<double>{3, 1, 4, 2});
      f.integers("X/indices", csr ? std::vector<int64_t>{2, 2, 0, 2} : std::vector<int64_t>{1, 1, 1, 1});
      f.integers("X/indptr", csr ? std::vector<int64_t>{0, 0, 4, 4} : std::vector<int64_t>{0, 1, 1, 4, 4});
    });
    RowMatrix<double> sums = RowMatrix<double>::Zero(3, 4);
    sums(1, 0) = 3, sums(1, 2) = 7;
    EXPECT_EQ(read_dataset<double>(name).x, sums) << csr;
    const LargeDataset<float> large = read_large_dataset(name, {}, std::filesystem::temp_directory_path().string());
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t c = 0; c < 4; ++c) EXPECT_EQ(large.x(r, c), sums(r, c)) << csr;
  }
}

// Columns come in the order that the file names, not in that of the alphabet, and are written in theirs.
TEST_F(H5ad, ColumnsKeepTheirOrder) {
  const std::vector<std::string> order = {"stage", "age", "donor"};
  const auto names = [](const Table& t) {
    std::vector<std::string> out;
    for (const Column& c : t.columns) out.push_back(c.name);
    return out;
  };
  const Table read = read_obs(file([&](Fixture& f) {
    f.doubles("obs/age", {3}, {1, 2, 3});
    f.texts("obs/donor", {"a", "b", "c"});
    f.texts("obs/stage", {"I", "II", "I"});
    f.attributes("obs", "column-order", {"stage", "age", "donor"});
  }));
  EXPECT_EQ(names(read), order);
  Dataset<float> d = dataset<float>(RowMatrix<float>::Random(3, 2));
  d.obs = read;
  write_dataset(path("b.h5ad"), d);
  EXPECT_EQ(names(read_obs(path("b.h5ad"))), order);
}

// AnnData writes "a/b" as b in a group a, for HDF5 reads '/' as a path.
TEST_F(H5ad, ColumnsWithSlashesAreReadFromWithinTheirGroups) {
  const Table read = read_obs(file([&](Fixture& f) {
    f.group("obs/age");
    f.doubles("obs/age/years", {3}, {1, 2, 3});
    f.group("obs/age/group");
    f.attribute("obs/age/group", "encoding-type", "categorical");
    f.integers("obs/age/group/codes", {0, 1, 0});
    f.texts("obs/age/group/categories", {"young", "old"});
    f.doubles("obs/age_years", {3}, {4, 5, 6});
    f.attributes("obs", "column-order", {"age/years", "age_years", "age/group", "age/none"});
  }));
  ASSERT_EQ(read.columns.size(), 3u);
  EXPECT_EQ(read.columns[0].name, "age/years");
  EXPECT_EQ(read.columns[0].number, (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(read.columns[1].number, (std::vector<double>{4, 5, 6}));
  EXPECT_EQ(read.at("age/group").text(1), "old");
  Dataset<float> d = dataset<float>(RowMatrix<float>::Ones(3, 2));
  d.obs = read;
  write_dataset(path("b.h5ad"), d);
  const Table back = read_obs(path("b.h5ad"));
  EXPECT_EQ(back.at("age_years_2").number, (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(back.at("age_years").number, (std::vector<double>{4, 5, 6}));
  EXPECT_EQ(back.at("age_group").text(1), "old");
}

// What pandas shows as missing is missing, also where "NA" or "nan" is a category; as the name of a sample it is a name.
TEST_F(H5ad, CategoriesThatMeanMissing) {
  const std::string name = [&] {
    Fixture f(path("na.h5ad"));
    f.frame("obs", {"NA", "nan", "s3", "s4"});
    f.frame("var", {"A"});
    f.doubles("X", {4, 1}, {1, 2, 3, 4});
    f.group("obs/c");
    f.attribute("obs/c", "encoding-type", "categorical");
    f.integers("obs/c/codes", {0, 1, 2, -1});
    f.texts("obs/c/categories", {"NA", "x", "nan"});
    return path("na.h5ad");
  }();
  const Dataset<float> d = read_dataset<float>(name);
  EXPECT_EQ(d.obs.keys, (std::vector<std::string>{"NA", "nan", "s3", "s4"}));
  for (int64_t r = 0; r < 4; ++r) EXPECT_EQ(d.obs.at("c").missing(r), r != 1) << r;
  EXPECT_EQ(d.obs.at("c").text(1), "x");
  write_dataset(path("back.h5ad"), d);
  EXPECT_EQ(read_obs(path("back.h5ad")).keys, d.obs.keys);
}

// Codes take the bytes that their number needs; whole numbers with one missing are no integers; names hold no paths.
TEST_F(H5ad, ColumnsAtTheLimitsOfTheirTypes) {
  for (const int64_t n : {127, 128, 129, 300}) {
    Dataset<float> d = dataset<float>(RowMatrix<float>::Ones(n, 1));
    std::vector<std::string> cells;
    std::vector<double> whole;
    for (int64_t r = 0; r < n; ++r) cells.push_back(fmt::format("level{}", r)), whole.push_back(static_cast<double>(r));
    whole[5] = std::nan("");
    d.obs.set(factor_from_text("each/own", cells));
    d.obs.set(numeric_column("whole but one", whole));
    write_dataset(path("limits.h5ad"), d);
    const Table back = read_obs(path("limits.h5ad"));
    const Column &own = back.at("each_own"), &but_one = back.at("whole but one");
    for (int64_t r = 0; r < n; ++r) {
      EXPECT_EQ(own.text(r), cells[static_cast<size_t>(r)]) << n;
      EXPECT_EQ(but_one.missing(r), r == 5) << n;
      EXPECT_TRUE(r == 5 || but_one.number[static_cast<size_t>(r)] == static_cast<double>(r));
    }
  }
}

// The preprocessing of X, and what kind of values it holds, say nothing of a layer beside it.
TEST_F(H5ad, LayersDoNotInheritTheKindOfX) {
  Dataset<float> d = dataset<float>(RowMatrix<float>::Constant(3, 2, 7));
  d.kind = "log";
  d.frozen.settings["format"] = 1;
  write_dataset(path("l.h5ad"), d);
  const hid_t opened = H5Fopen(path("l.h5ad").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  H5Lcreate_hard(opened, "X", opened, "layers/counts", H5P_DEFAULT, H5P_DEFAULT);
  H5Fclose(opened);
  EXPECT_EQ(read_dataset<float>(path("l.h5ad")).kind, "log");
  EXPECT_FALSE(read_dataset<float>(path("l.h5ad")).frozen.empty());
  const Dataset<float> layer = read_dataset<float>(path("l.h5ad") + ":layers/counts");
  EXPECT_EQ(layer.kind, "counts");
  EXPECT_TRUE(layer.frozen.empty());
  EXPECT_EQ(layer.x, d.x);
}

}  // namespace
}  // namespace panvae::data::test
