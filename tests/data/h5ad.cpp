// AnnData files as its versions 0.7 to 0.12 write them, built here with the C library, and our own files read back.
#include "data/h5ad.h"

#include <hdf5.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>

#include "base/threads.h"
#include "data/damage.h"
#include "data/describe.h"
#include "data/large_dataset.h"
#include "data/sample_source.h"
#include "data/write.h"
#include "support.h"

namespace panvae::data::test {
namespace {

// A few lines over the C API that write what h5py would.
class Fixture {
 public:
  explicit Fixture(const std::string& path) : file_(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)) {}
  ~Fixture() { H5Fclose(file_); }

  void group(const std::string& at) { H5Gclose(H5Gcreate2(file_, at.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT)); }
  template <class T>
  void numbers(const std::string& at, hid_t stored, hid_t native, const std::vector<hsize_t>& shape, const std::vector<T>& values) {
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t d = H5Dcreate2(file_, at.c_str(), stored, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(d, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Dclose(d);
    H5Sclose(space);
  }
  void doubles(const std::string& at, const std::vector<hsize_t>& shape, const std::vector<double>& v, hid_t stored = H5T_NATIVE_DOUBLE) {
    numbers(at, stored, H5T_NATIVE_DOUBLE, shape, v);
  }
  // In chunks, compressed; without values nothing is written.
  void compressed(const std::string& at, hid_t stored, const std::vector<hsize_t>& shape, std::vector<hsize_t> chunk, bool shuffled,
                  const std::vector<double>& values) {
    for (size_t i = 0; i < chunk.size(); ++i) chunk[i] = std::min(chunk[i], shape[i]);
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), p = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(p, static_cast<int>(chunk.size()), chunk.data());
    if (shuffled) H5Pset_shuffle(p);
    H5Pset_deflate(p, 2);
    const hid_t d = H5Dcreate2(file_, at.c_str(), stored, space, H5P_DEFAULT, p, H5P_DEFAULT);
    if (!values.empty()) H5Dwrite(d, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Dclose(d);
    H5Pclose(p);
    H5Sclose(space);
  }
  void integers(const std::string& at, const std::vector<int64_t>& v, hid_t stored = H5T_NATIVE_INT32) { numbers(at, stored, H5T_NATIVE_INT64, {v.size()}, v); }
  // h5py's bool: an enumeration.
  void booleans(const std::string& at, const std::vector<int8_t>& v) {
    const hid_t type = H5Tenum_create(H5T_NATIVE_INT8);
    int8_t x = 0;
    H5Tenum_insert(type, "FALSE", &x);
    x = 1;
    H5Tenum_insert(type, "TRUE", &x);
    numbers(at, type, type, {v.size()}, v);
    H5Tclose(type);
  }
  void texts(const std::string& at, const std::vector<std::string>& v, size_t fixed = 0) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, fixed ? fixed : H5T_VARIABLE);
    if (!fixed) H5Tset_cset(type, H5T_CSET_UTF8);
    std::vector<const char*> pointers;
    std::string bytes;
    for (const std::string& s : v) {
      pointers.push_back(s.c_str());
      std::string padded = s;
      padded.resize(fixed);
      bytes += padded;
    }
    const hsize_t n = v.size();
    const hid_t space = H5Screate_simple(1, &n, nullptr), d = H5Dcreate2(file_, at.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(d, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, fixed ? static_cast<const void*>(bytes.data()) : pointers.data());
    H5Dclose(d);
    H5Sclose(space);
    H5Tclose(type);
  }
  void attribute(const std::string& at, const std::string& name, const std::string& value) {
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    H5Tset_size(type, H5T_VARIABLE);
    const char* p = value.c_str();
    const hid_t a = H5Acreate_by_name(file_, at.c_str(), name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, type, &p);
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
  }
  void attributes(const std::string& at, const std::string& name, const std::vector<const char*>& values) {
    const hsize_t n = values.size();
    const hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &n, nullptr);
    H5Tset_size(type, H5T_VARIABLE);
    const hid_t a = H5Acreate_by_name(file_, at.c_str(), name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, type, values.data());
    H5Aclose(a);
    H5Sclose(space);
    H5Tclose(type);
  }
  void link(const std::string& target, const std::string& at) { H5Lcreate_hard(file_, target.c_str(), file_, at.c_str(), H5P_DEFAULT, H5P_DEFAULT); }
  void shape(const std::string& at, const std::vector<int64_t>& value) {
    const hsize_t n = value.size();
    const hid_t space = H5Screate_simple(1, &n, nullptr),
                a = H5Acreate_by_name(file_, at.c_str(), "shape", H5T_NATIVE_INT64, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, H5T_NATIVE_INT64, value.data());
    H5Aclose(a);
    H5Sclose(space);
  }
  void reference(const std::string& at, const std::string& name, const std::string& target) {
    hobj_ref_t ref;
    H5Rcreate(&ref, file_, target.c_str(), H5R_OBJECT, -1);
    const hid_t space = H5Screate(H5S_SCALAR),
                a = H5Acreate_by_name(file_, at.c_str(), name.c_str(), H5T_STD_REF_OBJ, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, H5T_STD_REF_OBJ, &ref);
    H5Aclose(a);
    H5Sclose(space);
  }
  void frame(const std::string& at, const std::vector<std::string>& names, size_t fixed = 0) {
    group(at);
    attribute(at, "_index", "_index");
    attribute(at, "encoding-type", "dataframe");
    texts(at + "/_index", names, fixed);
  }
  // 3 samples x 4 features: 0 1 0 2 / 0 0 0 0 / 3 0 4 5
  void sparse(const std::string& at, const std::string& format, bool csr) {
    group(at);
    attribute(at, "encoding-type", format);
    shape(at, {3, 4});
    doubles(at + "/data", {5}, csr ? std::vector<double>{1, 2, 3, 4, 5} : std::vector<double>{3, 1, 4, 2, 5}, H5T_NATIVE_FLOAT);
    integers(at + "/indices", csr ? std::vector<int64_t>{1, 3, 0, 2, 3} : std::vector<int64_t>{2, 0, 2, 0, 2});
    integers(at + "/indptr", csr ? std::vector<int64_t>{0, 2, 2, 5} : std::vector<int64_t>{0, 1, 2, 3, 5});
  }

 private:
  hid_t file_;
};

RowMatrix<double> expected() {
  RowMatrix<double> x(3, 4);
  x << 0, 1, 0, 2, 0, 0, 0, 0, 3, 0, 4, 5;
  return x;
}

class H5ad : public Files {
 protected:
  std::string file(const std::function<void(Fixture&)>& fill, bool tables = true) {
    Fixture f(path("a.h5ad"));
    if (tables) {
      f.frame("obs", {"s1", "s2", "s3"});
      f.frame("var", {"A", "B", "C", "D"});
    }
    fill(f);
    return path("a.h5ad");
  }
  std::vector<double> flat() const {
    const RowMatrix<double> x = expected();
    return {x.data(), x.data() + x.size()};
  }
};

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

TEST_F(H5ad, DamagedFilesAreRefusedWithTheirPlace) {
  auto refused = [&](const std::function<void(Fixture&)>& fill, const std::vector<std::string>& words, bool tables = true) {
    const std::string name = file(fill, tables);
    expect_names(error_of([&] { read_dataset<float>(name); }), words);
  };
  refused([](Fixture&) {}, {"no such matrix", "'X'"});
  refused([&](Fixture& f) { f.doubles("X", {3, 4}, flat()); }, {"'obs'"}, false);
  refused([&](Fixture& f) { f.doubles("X", {4, 3}, flat()); }, {"4 x 3", "3 samples and 4 features"});
  refused([&](Fixture& f) { f.doubles("X", {3, 2, 2}, flat()); }, {"3 dimensions"});
  refused([](Fixture& f) { f.texts("X", {"a", "b"}); }, {"no numbers"});
  refused([](Fixture& f) { f.group("X"); }, {"encoding"});
  refused([](Fixture& f) { f.sparse("X", "coo_matrix", true); }, {"'coo_matrix'"});
  refused([](Fixture& f) { f.sparse("X", "csr_matrix", false); }, {"do not fit together"});
  refused(
      [](Fixture& f) {
        f.group("X");
        f.attribute("X", "encoding-type", "csr_matrix");
        f.shape("X", {3, 4});
        f.doubles("X/data", {1}, {1});
        f.integers("X/indices", {4});
        f.integers("X/indptr", {0, 1, 1, 1});
      },
      {"index 4", "indices"});
  refused(
      [](Fixture& f) {
        f.group("X");
        f.attribute("X", "encoding-type", "csr_matrix");
        f.shape("X", {3, 4});
        f.doubles("X/data", {1}, {1});
        f.integers("X/indices", {0});
        f.integers("X/indptr", {0, 1, 0, 1});
      },
      {"do not fit together"});
  refused(
      [&](Fixture& f) {
        f.doubles("X", {3, 4}, flat());
        f.group("obs/c");
        f.attribute("obs/c", "encoding-type", "categorical");
        f.integers("obs/c/codes", {0, 5, 0});
        f.texts("obs/c/categories", {"x"});
      },
      {"code 5", "obs/c/codes"});
  refused(
      [&](Fixture& f) {
        f.doubles("X", {3, 4}, flat());
        f.doubles("obs/short", {2}, {1, 2});
      },
      {"'obs/short'", "2 values"});
  auto nan = flat();
  nan[6] = std::nan("");
  refused([&](Fixture& f) { f.doubles("X", {3, 4}, nan); }, {"missing or NaN", "'s2'", "'C'"});
  auto huge = flat();
  huge[6] = 1e200;
  refused([&](Fixture& f) { f.doubles("X", {3, 4}, huge); }, {"too large", "'s2'", "'C'"});
}

// Lengths and shapes that a damaged file announces, found by changing bytes of small files.
TEST_F(H5ad, AnnouncedLengthsAreNoMemory) {
  constexpr hsize_t huge = hsize_t{1} << 45;
  auto refused = [&](const std::function<void(Fixture&)>& fill, const std::vector<std::string>& words, bool tables = true) {
    const std::string name = file(fill, tables);
    expect_names(error_of([&] { read_dataset<float>(name); }), words);
  };
  auto csr = [](Fixture& f, const std::vector<int64_t>& shape) {
    f.group("X");
    f.attribute("X", "encoding-type", "csr_matrix");
    f.shape("X", shape);
    f.doubles("X/data", {1}, {1});
    f.integers("X/indices", {0});
  };
  refused(
      [&](Fixture& f) {
        csr(f, {std::numeric_limits<int64_t>::max(), 4});
        f.integers("X/indptr", {0, 1, 1, 1});
      },
      {"do not fit together"});
  refused(
      [&](Fixture& f) {
        csr(f, {3, 4});
        f.compressed("X/indptr", H5T_NATIVE_INT32, {huge}, {1024}, false, {});
      },
      {"do not fit together"});
  refused(
      [&](Fixture& f) {
        f.doubles("X", {3, 4}, flat());
        f.compressed("obs/age", H5T_NATIVE_DOUBLE, {huge}, {1024}, false, {});
      },
      {"'obs/age'", "values where the index has 3"});
  refused(
      [&](Fixture& f) {
        f.doubles("X", {3, 4}, flat());
        f.group("obs/c");
        f.attribute("obs/c", "encoding-type", "categorical");
        f.compressed("obs/c/codes", H5T_NATIVE_INT8, {huge}, {1024}, false, {});
        f.texts("obs/c/categories", {"x"});
      },
      {"'obs/c/codes'", "values where the index has 3"});
  refused(
      [&](Fixture& f) {
        f.doubles("X", {3, 4}, flat());
        f.group("obs/c");
        f.attribute("obs/c", "encoding-type", "categorical");
        f.integers("obs/c/codes", {0, 0, 0});
        f.compressed("obs/c/categories", H5T_NATIVE_DOUBLE, {huge}, {1024}, false, {});
      },
      {"'obs/c/categories'", "more than a file of"});
}

TEST_F(H5ad, FractionsAreNoIndicesAndNoCodes) {
  auto refused = [&](const std::function<void(Fixture&)>& fill, const std::vector<std::string>& words) {
    const std::string name = file(fill);
    expect_names(error_of([&] { read_dataset<float>(name); }), words);
  };
  for (const std::string part : {"indices", "indptr"})
    refused(
        [&](Fixture& f) {
          f.group("X");
          f.attribute("X", "encoding-type", "csr_matrix");
          f.shape("X", {3, 4});
          f.doubles("X/data", {1}, {1});
          if (part == "indices") f.doubles("X/indices", {1}, {0.5});
          else f.integers("X/indices", {0});
          if (part == "indptr") f.doubles("X/indptr", {4}, {0, 0.5, 1, 1});
          else f.integers("X/indptr", {0, 1, 1, 1});
        },
        {"X/" + part, "whole numbers"});
  refused(
      [&](Fixture& f) {
        f.doubles("X", {3, 4}, flat());
        f.group("obs/c");
        f.attribute("obs/c", "encoding-type", "categorical");
        f.doubles("obs/c/codes", {3}, {0, 0.5, 0});
        f.texts("obs/c/categories", {"x"});
      },
      {"obs/c/codes", "0.5", "whole numbers"});
}

TEST_F(H5ad, NamesWithinTablesThatRepeat) {
  auto categorical = [&](Fixture& f) {
    f.doubles("X", {3, 4}, flat());
    f.group("obs/c");
    f.attribute("obs/c", "encoding-type", "categorical");
    f.integers("obs/c/codes", {0, 1, 0});
  };
  expect_names(error_of([&] {
                 read_dataset<float>(file([&](Fixture& f) {
                   categorical(f);
                   f.texts("obs/c/categories", {"x", "x"});
                 }));
               }),
               {"'x' stands twice", "obs/c/categories"});
  // A group within itself was followed without end.
  expect_names(error_of([&] {
                 read_dataset<float>(file([&](Fixture& f) {
                   categorical(f);
                   f.group("obs/c/categories");
                   f.link("obs/c/categories", "obs/c/categories/values");
                 }));
               }),
               {"is no dataset", "obs/c/categories/values"});
  const Table obs = read_dataset<float>(file([&](Fixture& f) {
                      categorical(f);
                      f.texts("obs/c/categories", {"x", "y"});
                      f.attributes("obs", "column-order", {"c", "c"});
                    })).obs;
  EXPECT_EQ(obs.columns.size(), 1u);
}

TEST_F(H5ad, NotHdf5Truncated) {
  expect_names(error_of([&] { read_dataset<float>(put("x.h5ad", "")); }), {"empty"});
  expect_names(error_of([&] { read_dataset<float>(put("x.h5ad", "sample\tA\n")); }), {"not an HDF5 file"});
  expect_names(error_of([&] { read_dataset<float>(path("none.h5ad")); }), {"cannot read"});
  write_dataset(path("whole.h5ad"), dataset<float>(RowMatrix<float>::Random(50, 40)));
  const std::string bytes = read_file(path("whole.h5ad"));
  for (size_t cut : {size_t{100}, bytes.size() / 3, bytes.size() - 1}) error_of([&] { read_dataset<float>(put("cut.h5ad", bytes.substr(0, cut))); });
}

// Written from a table of genes x samples as it was, which AnnData does not mind.
TEST_F(H5ad, GenesInRowsAreRefused) {
  Dataset<float> d = dataset<float>(RowMatrix<float>::Ones(5, 3));
  d.kind = "";
  for (size_t i = 0; i < 5; ++i) d.obs.keys[i] = fmt::format("ENSG{:011}", 141510 + i);
  write_dataset(path("t.h5ad"), d);
  expect_names(error_of([&] { read_dataset<float>(path("t.h5ad")); }), {"t.h5ad", "ENSG00000141510", "AnnData.T", "--rows samples"});
  expect_names(error_of([&] { read_large_dataset(path("t.h5ad"), {}, path("")); }), {"t.h5ad", "ENSG00000141510"});
  ReadOptions said;
  said.rows = Rows::samples;
  EXPECT_EQ(read_dataset<float>(path("t.h5ad"), said).samples(), 5);
  for (size_t i = 0; i < 3; ++i) d.var.keys[i] = fmt::format("ENSG{:011}", i);  // genes by genes
  write_dataset(path("t.h5ad"), d);
  EXPECT_EQ(read_dataset<float>(path("t.h5ad")).samples(), 5);
}

// A fault of the HDF5 library in the midst of a file: one line that names the file, and the exit code of bad input.
TEST_F(H5ad, AFaultOfTheLibraryNamesTheFile) {
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT}) {
    const std::string message = path("message.txt");
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      if (!std::freopen(message.c_str(), "w", stderr)) ::_exit(99);
      install_damage_handler();
      detail::file_being_read("damaged.h5ad");
      ::raise(signal);
      ::_exit(98);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << signal;
    EXPECT_EQ(WEXITSTATUS(status), 3) << signal;
    const std::string text = read_file(message);
    EXPECT_NE(text.find("panvae: error: "), std::string::npos);
    EXPECT_NE(text.find("damaged.h5ad"), std::string::npos);
  }
}

TEST_F(H5ad, RoundTrip) {
  Dataset<double> d = dataset<double>(RowMatrix<double>::Random(6, 3));
  d.kind = "log";
  d.obs.key_name = "sample";
  d.obs.set(factor_from_text("cohort", {"A", "B", "", "A", "Ä/ö", "B"}));
  d.obs.set(numeric_column("age", {1, 2, std::nan(""), 4, 5, 6.5}));
  d.obs.set(numeric_column("whole", {1, 2, 3, 4, 5, 6}));
  d.obs.set(numeric_column("zeros and ones", {1, 0, 0, 1, 1, 0}));
  Column yes = numeric_column("yes", {1, 0, 0, 1, 1, 0}), perhaps = numeric_column("perhaps", {1, 0, std::nan(""), 1, 1, 0});
  Column stage = factor_from_text("stage", {"I", "II", "I", "", "III", "II"});
  yes.boolean = perhaps.boolean = stage.ordered = true;
  d.obs.set(yes), d.obs.set(perhaps), d.obs.set(stage);
  std::vector<std::string> many;
  for (int i = 0; i < 3; ++i) many.push_back("name" + std::to_string(i));
  d.var.set(factor_from_text("symbol", many));
  d.frozen.settings = {{"format", 1}, {"text", "Ä"}};
  d.frozen.arrays["m"] = {{2, 2}, {1, 2, 3, 4.5}};
  d.frozen.features = d.var.keys;
  write_dataset(path("d.h5ad"), d);
  const auto back = read_dataset<double>(path("d.h5ad"));
  EXPECT_EQ(back.x, d.x);
  EXPECT_EQ(back.kind, "log");
  EXPECT_EQ(back.obs.key_name, "sample");
  EXPECT_EQ(back.obs.keys, d.obs.keys);
  for (const Column& c : d.obs.columns)
    for (int64_t r = 0; r < 6; ++r) EXPECT_EQ(back.obs.at(c.name).text(r), c.text(r)) << c.name;
  for (const Column& c : d.obs.columns) {
    EXPECT_EQ(back.obs.at(c.name).boolean, c.boolean) << c.name;
    EXPECT_EQ(back.obs.at(c.name).ordered, c.ordered) << c.name;
  }
  EXPECT_TRUE(back.obs.select({0, 4}).at("perhaps").boolean && back.obs.select({0, 4}).at("stage").ordered);
  EXPECT_EQ(rows_where(back.obs, {"perhaps=True"}), (std::vector<int64_t>{0, 3, 4}));
  EXPECT_EQ(rows_where(back.obs, {"yes=0"}), (std::vector<int64_t>{1, 2, 5}));
  EXPECT_EQ(back.frozen.settings, d.frozen.settings);
  EXPECT_EQ(back.frozen.arrays.at("m").values, d.frozen.arrays.at("m").values);
  EXPECT_EQ(back.frozen.arrays.at("m").shape, d.frozen.arrays.at("m").shape);
  EXPECT_EQ(back.frozen.features, d.frozen.features);
  const std::string bytes = read_file(path("d.h5ad"));
  write_dataset(path("e.h5ad"), d);
  EXPECT_EQ(read_file(path("e.h5ad")), bytes) << "equal content is equal bytes";
  EXPECT_EQ(read_obs(path("d.h5ad")).keys, d.obs.keys);
  error_of([&] { write_dataset(path("no/d.h5ad"), d); }, ErrorCode::machine);
}

// Half precision ends at 65504; what rounds beyond it is refused by name, infinite values are not made up.
TEST_F(H5ad, Float16HasALargestNumber) {
  Dataset<float> d = dataset<float>(RowMatrix<float>::Constant(2, 2, 1.5f));
  d.x(1, 0) = 65519;
  write_dataset(path("half.h5ad"), d, Storage::float16);
  EXPECT_EQ(read_dataset<float>(path("half.h5ad")).x(1, 0), 65504);
  d.x(1, 0) = -65520;
  expect_names(error_of([&] { write_dataset(path("half.h5ad"), d, Storage::float16); }), {"-65520", "float16", "sample 's2', feature 'g1'"});
}

// What is too large for memory is written strip by strip, beside arrays that are not.
TEST_F(H5ad, AnArrayInStripsOfColumns) {
  Dataset<float> d = dataset(RowMatrix<float>(RowMatrix<float>::Random(4, 3)));
  d.frozen.settings["a"] = 1;
  d.frozen.arrays["small"] = {{2}, {1, 2}};
  RowMatrix<double> whole(3, 7);
  for (int64_t i = 0; i < whole.size(); ++i) whole.data()[i] = static_cast<double>(i) / 3;
  const LargeArray more{"large", 3, 7, [&](const auto& add) {
                          for (const auto& [first, count] : {std::pair{4, 3}, {0, 1}, {1, 3}}) add(first, whole.middleCols(first, count));
                        }};
  write_dataset(path("strips.h5ad"), d, Storage::same, &more);
  const auto back = read_dataset<float>(path("strips.h5ad"));
  EXPECT_EQ(back.x, d.x);
  const NamedArray& large = back.frozen.arrays.at("large");
  EXPECT_EQ(large.shape, (std::vector<int64_t>{3, 7}));
  EXPECT_TRUE(std::equal(large.values.begin(), large.values.end(), whole.data(), whole.data() + whole.size()));
  EXPECT_EQ(back.frozen.arrays.at("small").values, (std::vector<double>{1, 2}));
  error_of([&] { write_dataset(path("strips.tsv"), d, Storage::same, &more); }, ErrorCode::usage);
  EXPECT_FALSE(std::filesystem::exists(path("strips.tsv")));
  const LargeArray ragged{"large", 3, 7, [&](const auto& add) { add(0, RowMatrix<double>(2, 7)); }};
  error_of([&] { write_dataset(path("ragged.h5ad"), d, Storage::same, &ragged); }, ErrorCode::usage);
  EXPECT_FALSE(std::filesystem::exists(path("ragged.h5ad")));
}

// Chunks that go through zlib here, on all threads, are what the library reads and writes itself: every type, chunks that do not
// divide the matrix, shuffled or not, ranges that begin and end within chunks.
TEST_F(H5ad, CompressedChunksAreWhatTheLibraryReads) {
  const std::vector<std::pair<const char*, hid_t>> types = {{"i8", H5T_NATIVE_INT8},    {"u8", H5T_NATIVE_UINT8},   {"i16", H5T_NATIVE_INT16},
                                                            {"u16", H5T_NATIVE_UINT16}, {"i32", H5T_NATIVE_INT32},  {"u32", H5T_NATIVE_UINT32},
                                                            {"i64", H5T_NATIVE_INT64},  {"u64", H5T_NATIVE_UINT64}, {"f16", hdf5::native<f16>()},
                                                            {"f32", H5T_NATIVE_FLOAT},  {"f64", H5T_NATIVE_DOUBLE}, {"f32be", H5T_IEEE_F32BE}};
  constexpr hsize_t rows = 37, columns = 53;
  std::vector<double> values;
  for (hsize_t i = 0; i < rows * columns; ++i) values.push_back(static_cast<double>((i * 7919) % 120));
  const std::string name = path("chunks.h5");
  int made = 0;
  {
    Fixture f(name);
    for (const auto& [type, stored] : types)
      for (const std::vector<hsize_t>& chunk : std::vector<std::vector<hsize_t>>{{5, 7}, {37, 53}, {4, 53}, {40, 60}, {1, 1}})
        for (bool shuffled : {false, true}) f.compressed(fmt::format("d{}", made++), stored, {rows, columns}, chunk, shuffled, values);
    f.compressed("line", H5T_NATIVE_INT32, {rows * columns}, {100}, true, values);
    f.compressed("never_written", H5T_NATIVE_INT32, {rows, columns}, {5, 7}, true, {});
  }
  const hdf5::File file(name);
  for (int i = 0; i < made; ++i) {
    const hdf5::NumberSource source(file, fmt::format("d{}", i));
    for (const auto& [begin, count] : {std::pair{0, 37}, std::pair{3, 20}, std::pair{36, 1}, std::pair{5, 5}}) {
      const size_t n = static_cast<size_t>(count) * columns;
      std::vector<double> doubles(n);
      std::vector<float> floats(n);
      std::vector<int64_t> integers(n);
      source.read(begin, count, doubles.data());
      source.read(begin, count, floats.data());
      source.read(begin, count, integers.data());
      for (size_t k = 0; k < n; ++k) {
        const double expected = values[static_cast<size_t>(begin) * columns + k];
        ASSERT_EQ(doubles[k], expected) << i << " " << begin;
        ASSERT_EQ(floats[k], static_cast<float>(expected));
        ASSERT_EQ(integers[k], static_cast<int64_t>(expected));
      }
    }
  }
  EXPECT_EQ(file.doubles("line"), values);
  EXPECT_EQ(file.doubles("never_written"), std::vector<double>(rows * columns, 0.0));
  // Fractions and numbers beyond the range become what the library makes of them.
  {
    Fixture f(path("odd.h5"));
    f.compressed("fractions", H5T_NATIVE_DOUBLE, {4}, {2}, true, {-1.75, 2.5, 1e300, 3});
  }
  const hdf5::File odd(path("odd.h5"));
  std::vector<int64_t> cut_off(4);
  hdf5::NumberSource(odd, "fractions").read(0, 4, cut_off.data());
  EXPECT_EQ(cut_off, (std::vector<int64_t>{-1, 2, std::numeric_limits<int64_t>::max(), 3}));
}

TEST_F(H5ad, CountsAreWrittenInTheBytesOfTheLibrary) {
  RowMatrix<double> x(300, 1500);
  for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = static_cast<double>((i * 31 + i / 7) % 90);
  {
    hdf5::Writer w(path("ours.h5"), "ours.h5");
    w.numbers("X", {300, 1500}, x.data(), true);
    w.close();
    Fixture f(path("library.h5"));
    f.compressed("X", H5T_NATIVE_DOUBLE, {300, 1500}, {174, 1500}, true, std::vector<double>(x.data(), x.data() + x.size()));
  }
  std::vector<hsize_t> sizes;
  for (const char* name : {"ours.h5", "library.h5"}) {
    const hid_t file = H5Fopen(path(name).c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, "X", H5P_DEFAULT);
    std::vector<double> read(static_cast<size_t>(x.size()));
    EXPECT_GE(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, read.data()), 0) << name;
    EXPECT_EQ(read, std::vector<double>(x.data(), x.data() + x.size())) << name;
    sizes.push_back(H5Dget_storage_size(set));
    H5Dclose(set);
    H5Fclose(file);
  }
  EXPECT_EQ(sizes[0], sizes[1]);
}

TEST_F(H5ad, ADamagedChunkIsRefused) {
  std::vector<double> values(40 * 50);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i * i));  // compresses badly
  {
    Fixture f(path("whole.h5"));
    f.compressed("X", H5T_NATIVE_DOUBLE, {40, 50}, {5, 50}, true, values);
  }
  std::string bytes = read_file(path("whole.h5"));
  // The chunks are most of the file: what is changed behind its middle is one of them.
  for (size_t i = bytes.size() * 3 / 5; i < bytes.size() * 3 / 5 + 60; ++i) bytes[i] = static_cast<char>(~bytes[i]);
  const hdf5::File file(put("damaged.h5", bytes));
  expect_names(error_of([&] { file.doubles("X"); }), {"cannot be read", "X"});
}

// Samples of a matrix that stays on disk, in any order and more than once.
TEST_F(H5ad, SamplesAreReadWhenAskedFor) {
  const std::vector<int64_t> rows = {2, 0, 2, 1};
  RowMatrix<double> wanted(4, 4);
  for (int64_t i = 0; i < 4; ++i) wanted.row(i) = expected().row(rows[static_cast<size_t>(i)]);
  for (const bool csr : {true, false}) {
    const SampleSource source(file([&](Fixture& f) { f.sparse("X", csr ? "csr_matrix" : "csc_matrix", csr); }), {});
    EXPECT_EQ(source.in_memory(), !csr) << "columns cannot be read sample by sample";
    EXPECT_EQ(source.samples_of(rows), wanted);
    EXPECT_EQ(source.samples_of(std::vector<int64_t>{}).rows(), 0);
    EXPECT_EQ(source.obs().keys, (std::vector<std::string>{"s1", "s2", "s3"}));
    EXPECT_EQ(source.var().keys.size(), 4u);
  }
}

}  // namespace
}  // namespace panvae::data::test
