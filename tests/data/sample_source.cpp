// SampleSource gives what read_dataset gives, sample by sample.
#include "data/sample_source.h"

#include <cmath>
#include <limits>

#include "data/write.h"
#include "tests/data/support.h"

namespace panvae::data {
namespace {

using test::error_of;
using test::expect_names;
using test::Files;

class SampleSourceTest : public Files {
 protected:
  Dataset<double> numbers(int64_t n, int64_t g) {
    RowMatrix<double> x(n, g);
    for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = std::sin(static_cast<double>(i * i));
    Dataset<double> d = test::dataset(x);
    std::vector<std::string> cells;
    for (int64_t i = 0; i < n; ++i) cells.push_back(i % 3 ? "A" : "B");
    d.obs.set(factor_from_text("tissue", cells));
    d.frozen.settings["x"] = 1;
    return d;
  }
};

TEST_F(SampleSourceTest, GivesWhatReadDatasetGives) {
  const Dataset<double> d = numbers(11, 7);
  const std::string h5ad = path("x.h5ad"), text = path("x.tsv");
  write_dataset(h5ad, d);
  write_dataset(text, d);
  const std::string obs = put("obs.tsv", [&] {
    std::string table = "sample\tkind\n";
    for (size_t i = 0; i < 11; ++i) table += d.obs.keys[10 - i] + "\t" + (i % 2 ? "odd" : "even") + "\n";
    return table;
  }());
  ReadOptions options;
  options.obs_table = obs;
  options.where = {"kind=odd"};
  options.keys = {{"cohort", "kind"}};
  for (const std::string& file : {h5ad, text}) {
    const Dataset<double> whole = read_dataset<double>(file, options);
    const SampleSource source(file, options);
    EXPECT_EQ(source.in_memory(), file == text);
    EXPECT_EQ(source.obs().keys, whole.obs.keys);
    EXPECT_EQ(source.samples(), 5);
    EXPECT_EQ(source.features(), 7);
    EXPECT_EQ(source.obs().at("cohort").text(1), "odd");
    EXPECT_EQ(source.path(), file);
    EXPECT_EQ(source.frozen().empty(), file == text);
    std::vector<int64_t> rows = {4, 0, 3};
    const RowMatrix<double> x = source.samples_of(rows);
    for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(x.row(i), whole.x.row(rows[static_cast<size_t>(i)]));
    int64_t seen = 0;
    source.for_samples(rows, [&](int64_t i, const double* values) {
      EXPECT_EQ(values[6], whole.x(rows[static_cast<size_t>(i)], 6));
      ++seen;
    });
    EXPECT_EQ(seen, 3);
  }
}

// In any order, more than once, with others left out: the numbers of the file, without a conversion.
TEST_F(SampleSourceTest, FloatsAsTheyAreStored) {
  Dataset<float> d;
  const Dataset<double> wide = numbers(9, 5);
  d.x = wide.x.cast<float>();
  d.obs = wide.obs;
  d.var = wide.var;
  const std::string file = path("x.h5ad"), of_doubles = path("doubles.h5ad");
  write_dataset(file, d);
  write_dataset(of_doubles, wide);
  EXPECT_FALSE(SampleSource(of_doubles, {}).holds_floats());
  EXPECT_FALSE(SampleSource(wide).holds_floats());
  const SampleSource source(file, {});
  ASSERT_TRUE(source.holds_floats());
  for (const std::vector<int64_t>& rows : {std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}, {3, 4, 7, 8}, {8, 2, 2, 3, 1, 0}, {}}) {
    RowMatrix<float> x(static_cast<int64_t>(rows.size()), 5);
    source.floats_of(rows, x.data());
    for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(x.row(static_cast<int64_t>(i)), d.x.row(rows[i]));
  }
  ReadOptions options;
  options.where = {"tissue=A"};
  const SampleSource some(file, options);
  const std::vector<int64_t> last = {some.samples() - 1};
  RowMatrix<float> x(1, 5);
  some.floats_of(last, x.data());
  EXPECT_EQ(x.row(0), d.x.row(8));
  d.x(7, 3) = std::numeric_limits<float>::quiet_NaN();
  write_dataset(file, d);
  const SampleSource damaged(file, {});
  const std::vector<int64_t> good = {0, 6, 8}, all = {8, 7, 6};
  RowMatrix<float> three(3, 5);
  damaged.floats_of(good, three.data());
  expect_names(error_of([&] { damaged.floats_of(all, three.data()); }), {d.obs.keys[7], d.var.keys[3], "NaN"});
}

TEST_F(SampleSourceTest, RefusesWhatReadDatasetRefuses) {
  Dataset<double> d = numbers(5, 3);
  const std::string file = path("x.h5ad");
  d.x(2, 1) = std::numeric_limits<double>::quiet_NaN();
  write_dataset(file, d);
  const SampleSource source(file, {});
  const std::vector<int64_t> all = {0, 1, 2, 3, 4}, good = {0, 1, 3, 4};
  EXPECT_EQ(source.samples_of(good).rows(), 4);
  expect_names(error_of([&] { source.samples_of(all); }), {d.obs.keys[2], d.var.keys[1], "NaN"});
  ReadOptions fill;
  fill.missing = Missing::mean;
  const SampleSource filled(file, fill);
  EXPECT_TRUE(filled.in_memory());
  EXPECT_TRUE(filled.samples_of(all).allFinite());
  d.x(2, 1) = std::numeric_limits<double>::infinity();
  write_dataset(file, d);
  expect_names(error_of([&] { SampleSource(file, {}).samples_of(all); }), {d.obs.keys[2], "infinite"});
  d.x(2, 1) = 0;
  d.obs.keys[3] = d.obs.keys[4];
  write_dataset(file, d);
  expect_names(error_of([&] { SampleSource(file, {}); }), {"stands twice"});
  ReadOptions unique;
  unique.make_unique = true;
  EXPECT_EQ(SampleSource(file, unique).samples(), 5);
  expect_names(error_of([&] { SampleSource(path("none.h5ad"), {}); }), {"none.h5ad"});
  ReadOptions turned;
  turned.rows = Rows::features;
  expect_names(error_of([&] { SampleSource(file, turned); }, ErrorCode::usage), {"--rows features", "x.h5ad"});
  d.obs.keys = {"ENSG00000141510", "ENSG00000012048", "ENSG00000139618", "ENSG00000171862", "ENSG00000133703"};
  d.frozen = {};
  write_dataset(file, d);
  expect_names(error_of([&] { read_dataset<double>(file); }), {"x.h5ad", "samples are expected"});
  expect_names(error_of([&] { SampleSource(file, {}); }), {"x.h5ad", "samples are expected"});
}

// They would swell every library.
TEST_F(SampleSourceTest, LeavesTalliesOut) {
  Dataset<float> d;
  d.x = numbers(4, 4).x.cwiseAbs().cast<float>();
  d.obs.keys = {"a", "b", "c", "d"};
  d.var.keys = {"TP53", "__no_feature", "BRCA1", "__ambiguous"};
  const std::string file = path("x.h5ad");
  write_dataset(file, d);
  const Dataset<double> whole = read_dataset<double>(file);
  const SampleSource source(file, {});
  EXPECT_FALSE(source.in_memory());
  ASSERT_EQ(source.var().keys, (std::vector<std::string>{"TP53", "BRCA1"}));
  ASSERT_TRUE(source.holds_floats());
  const std::vector<int64_t> rows = {2, 0, 1};
  const RowMatrix<double> x = source.samples_of(rows);
  RowMatrix<float> as_stored(3, 2);
  source.floats_of(rows, as_stored.data());
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(x.row(i), whole.x.row(rows[static_cast<size_t>(i)]));
    EXPECT_EQ(as_stored.row(i).cast<double>(), x.row(i));
  }
}

}  // namespace
}  // namespace panvae::data
