// Our own .h5ad files, read back and beside what the library writes.
#include <hdf5.h>

#include <limits>

#include "base/log.h"
#include "data/damage.h"
#include "data/h5ad.h"
#include "data/large_dataset.h"
#include "data/sample_source.h"
#include "data/write.h"
#include "h5ad_fixture.h"

namespace panvae::data::test {
namespace {

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

// HDF5 reads '/' as a path and "." as the table itself, AnnData keeps "_index": no column is lost for that, and none takes the place of
// another.
TEST_F(H5ad, ColumnsOfNamesThatFilesCannotHoldAreWrittenByOthers) {
  std::vector<std::string> lines;
  const auto names_of = [&](const std::string& key_name, const std::vector<std::string>& columns) {
    Dataset<float> d = dataset<float>(RowMatrix<float>::Ones(2, 2));
    d.obs.key_name = key_name;
    for (size_t i = 0; i < columns.size(); ++i) {
      const auto x = static_cast<double>(i);
      d.obs.columns.push_back(i % 2 ? numeric_column(columns[i], {x, x + 0.5}) : factor_from_text(columns[i], {fmt::format("a{}", i), "b"}));
    }
    lines.clear();
    const log::Sink before = log::set_sink([&](log::Level, std::string_view line) { lines.emplace_back(line); });
    write_dataset(path("n.h5ad"), d);
    log::set_sink(before);
    const Table back = read_dataset<float>(path("n.h5ad")).obs;
    EXPECT_EQ(back.keys, d.obs.keys);
    std::vector<std::string> names = {back.key_name};
    for (size_t i = 0; i < back.columns.size(); ++i) {
      names.push_back(back.columns[i].name);
      EXPECT_EQ(back.columns[i].numeric, i % 2 == 1) << names.back();
      EXPECT_EQ(back.columns[i].text(0), i % 2 ? std::to_string(i) : fmt::format("a{}", i)) << names.back();
    }
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(names_of("sample", {"a", ".."}), (Names{"sample", "a", ".."}));
  EXPECT_TRUE(lines.empty());
  EXPECT_EQ(names_of("sample", {"a/b", "c"}), (Names{"sample", "a_b", "c"}));
  ASSERT_EQ(lines.size(), 1u);
  expect_names(lines[0], {"'a/b'", "obs", "'a_b'", ".h5ad"});
  EXPECT_EQ(names_of("sample", {"a/b", "a_b", "a//b", "a_b_2"}), (Names{"sample", "a_b_3", "a_b", "a__b", "a_b_2"}));
  EXPECT_EQ(lines.size(), 2u);
  EXPECT_EQ(names_of("a_b", {"a/b"}), (Names{"a_b", "a_b_2"})) << "as the index is called";
  EXPECT_EQ(names_of("sample", {".", "/", "_"}), (Names{"sample", "__2", "__3", "_"}));
  EXPECT_EQ(names_of("sample", {"_index"}), (Names{"sample", "_index_2"}));
  expect_names(lines[0], {"'_index'", "'_index_2'"});
  EXPECT_EQ(names_of("index", {"_index", "index"}), (Names{"index", "_index_2", "index"}));
  EXPECT_EQ(names_of("sample", {"", "x", "x"}), (Names{"sample", "_2", "x", "x_2"}));
  for (const char* key : {".", "", "a/b", "_index", "x"}) EXPECT_EQ(names_of(key, {"x"}), (Names{"index", "x"})) << key;
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
