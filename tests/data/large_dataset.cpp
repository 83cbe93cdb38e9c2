// What goes through a file on disk is what memory gives, byte for byte; float16 on disk.
#include "data/large_dataset.h"

#include <cmath>
#include <limits>

#include "base/float_types.h"
#include "data/preprocess.h"
#include "data/simulate.h"
#include "data/write.h"
#include "support.h"

namespace panvae::data::test {
namespace {

TEST(LargeMatrix, HoldsWhatIsWrittenThroughReleases) {
  LargeMatrix<float> x(300, 1700, std::filesystem::temp_directory_path().string());
  EXPECT_EQ(x(299, 1699), 0);
  for (int64_t r = 0; r < 300; ++r) {
    for (int64_t c = 0; c < 1700; ++c) x(r, c) = static_cast<float>(r * 1700 + c);
    x.release(r, r + 1);
  }
  x.release(0, 300);
  for (int64_t r = 0; r < 300; ++r)
    for (int64_t c = 0; c < 1700; ++c) ASSERT_EQ(x(r, c), static_cast<float>(r * 1700 + c));
  LargeMatrix<float> y = std::move(x);
  y.reshape(1700, 300);
  EXPECT_EQ(y(1, 0), 300);
  error_of([&] { y.reshape(1701, 300); }, ErrorCode::usage);
  error_of([] { LargeMatrix<float>(10, 10, "/nowhere/at/all"); }, ErrorCode::machine);
  EXPECT_EQ(LargeMatrix<float>(0, 5, "/nowhere/at/all").size(), 0);
}

class LargeFiles : public Files {
 protected:
  // Runs the steps of the command on the same file twice and compares the files.
  void same_bytes(const std::string& in, const PreprocessOptions& options, const ReadOptions& read, Storage storage = Storage::same) {
    SCOPED_TRACE(in);
    Dataset<float> memory = read_dataset<float>(in, read);
    LargeDataset<float> disk = read_large_dataset(in, read, path(""));
    ASSERT_EQ(memory.obs.keys, disk.obs.keys);
    ASSERT_EQ(memory.var.keys, disk.var.keys);
    EXPECT_EQ(memory.kind, disk.kind);
    for (int64_t r = 0; r < memory.samples(); ++r) ASSERT_EQ(memory.x.row(r), disk.x.row(r));
    Preprocessor a, b;
    const PreprocessReport in_memory = a.fit(memory, options), on_disk = b.fit(disk, options);
    EXPECT_EQ(in_memory.dropped_features_variance, on_disk.dropped_features_variance);
    EXPECT_EQ(in_memory.tmm_factors, on_disk.tmm_factors);
    write_dataset(path("memory.h5ad"), memory, storage);
    write_dataset(path("disk.h5ad"), disk, storage);
    EXPECT_TRUE(read_file(path("memory.h5ad")) == read_file(path("disk.h5ad"))) << "the files differ";
    Dataset<float> new_memory = read_dataset<float>(in, read);
    LargeDataset<float> new_disk = read_large_dataset(in, read, path(""));
    a.apply(new_memory);
    b.apply(new_disk);
    ASSERT_EQ(new_memory.samples(), new_disk.samples());
    for (int64_t r = 0; r < new_memory.samples(); ++r) ASSERT_EQ(new_memory.x.row(r), new_disk.x.row(r));
  }
  // ATAC counts, unsorted, with empty features and an empty sample.
  Dataset<float> study() {
    SimulateOptions o;
    o.donors = 24;
    o.genes = 60;
    o.cohorts = 3;
    o.peaks = 700;
    o.atac_fraction = 1;
    o.seed = 5;
    Dataset<float> d = simulate_study(o).atac->dataset();
    std::vector<int64_t> order;
    for (int64_t c = 0; c < d.features(); ++c) order.push_back(c * 303 % d.features());
    select_features(d, order);
    d.x.col(17).setZero();
    d.x.col(400).setZero();
    d.x.row(9).setZero();
    return d;
  }
};

TEST_F(LargeFiles, EveryFormatGivesTheBytesOfMemory) {
  const Dataset<float> d = study();
  write_dataset(path("dense.h5ad"), d);
  write_dataset(path("rows.tsv.gz"), d);
  std::string turned = "peak";
  for (const std::string& name : d.obs.keys) turned += "\t" + name;
  for (int64_t c = 0; c < d.features(); ++c) {
    turned += "\n" + d.var.keys[static_cast<size_t>(c)];
    for (int64_t r = 0; r < d.samples(); ++r) turned += "\t" + std::to_string(static_cast<int>(d.x(r, c)));
  }
  put("features.tsv", turned + "\n");
  std::string entries, barcodes, features;
  int64_t count = 0;
  for (int64_t r = 0; r < d.samples(); ++r)
    for (int64_t c = 0; c < d.features(); ++c)
      if (d.x(r, c) > 0) {
        entries += fmt::format("{} {} {}\n", c + 1, r + 1, d.x(r, c));
        ++count;
      }
  for (const std::string& name : d.obs.keys) barcodes += name + "\n";
  for (const std::string& name : d.var.keys) features += name + "\n";
  put("matrix.mtx", fmt::format("%%MatrixMarket matrix coordinate integer general\n{} {} {}\n{}", d.features(), d.samples(), count, entries));
  put("barcodes.tsv", barcodes);
  put("features.tsv.unused", features);
  PreprocessOptions o;
  o.modality = "atac";
  same_bytes(path("dense.h5ad"), o, {});
  same_bytes(path("rows.tsv.gz"), o, {});
  ReadOptions turn;
  turn.rows = Rows::features;
  same_bytes(path("features.tsv"), o, turn);
  std::filesystem::rename(path("features.tsv.unused"), path("features.tsv"));
  same_bytes(path("matrix.mtx"), o, {});
  EXPECT_EQ(matrix_bytes(path("dense.h5ad"), 0), 4.0 * 700 * 48);
  EXPECT_EQ(matrix_bytes(path("rows.tsv.gz"), 0), 4.0 * 700 * 48);
  EXPECT_EQ(matrix_bytes(path("matrix.mtx"), 0), 4.0 * 700 * 48);
  EXPECT_GE(matrix_bytes(path("rows.tsv.gz"), 1e12), 4.0 * 700 * 48) << "an upper bound";
}

TEST_F(LargeFiles, EveryStepGivesTheBytesOfMemory) {
  SimulateOptions s;
  s.donors = 24;
  s.genes = 60;
  s.cohorts = 3;
  s.peaks = 300;
  s.atac_fraction = 1;
  simulate_study(s).atac->write(path("csr.h5ad"));
  PreprocessOptions o;
  o.modality = "atac";
  o.batch_keys = {"batch"};
  o.covariates = {"age"};
  o.preserve = {"cohort"};
  o.unknown_batch = UnknownBatch::zero;  // few donors: a batch may have none that trains
  o.tmm = true;
  o.variance = VarianceFilter::parse("quantile:0.1");
  same_bytes(path("csr.h5ad"), o, {});
  same_bytes(path("csr.h5ad"), o, {}, Storage::float16);
  o.variance = VarianceFilter::parse("cv2:0.5");
  o.quantile = false;
  o.fit_on_all = true;
  ReadOptions some;
  some.where = {"sex=female"};
  same_bytes(path("csr.h5ad"), o, some);
  o.variance = VarianceFilter::parse("nzv:0.9");
  same_bytes(path("csr.h5ad"), o, {});
}

TEST_F(LargeFiles, TheSameIsRefused) {
  put("bad.tsv", "s\tchr1:1-2\tchr1:3-4\na\t1\t2\nb\t1\t-2\n");
  LargeDataset<float> d = read_large_dataset(path("bad.tsv"), {}, path(""));
  PreprocessOptions o;
  o.modality = "atac";
  expect_names(error_of([&] { Preprocessor().fit(d, o); }), {"negative count", "'b'", "'chr1:3-4'"});
  put("nan.tsv", "s\tchr1:1-2\tchr1:3-4\na\t1\t2\nb\tNA\t2\n");
  expect_names(error_of([&] { read_large_dataset(path("nan.tsv"), {}, path("")); }), {"missing or NaN", "'b'"});
  put("twice.tsv", "s\tchr1:1-2\tchr1:1-2\na\t1\t2\nb\t3\t2\n");
  expect_names(error_of([&] { read_large_dataset(path("twice.tsv"), {}, path("")); }), {"stands twice"});
}

TEST(Float16, RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {  // every half survives the way to float and back
    const f16 h{static_cast<uint16_t>(bits)};
    const float f = to_float(h);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(to_float(to_f16(f))));
    } else {
      ASSERT_EQ(to_f16(f).bits, bits);
    }
  }
  EXPECT_EQ(to_float(f16{0x3C00}), 1.0f);
  EXPECT_EQ(to_float(f16{0x0001}), std::ldexp(1.0f, -24));
  EXPECT_EQ(to_float(f16{0x7BFF}), 65504.0f);
  EXPECT_EQ(to_float(to_f16(1 + std::ldexp(1.0f, -11))), 1.0f);                          // a tie goes to even
  EXPECT_EQ(to_float(to_f16(1 + 3 * std::ldexp(1.0f, -11))), 1 + std::ldexp(1.0f, -9));  // up, to even
  EXPECT_EQ(to_float(to_f16(65519.0f)), 65504.0f);
  EXPECT_EQ(to_float(to_f16(65520.0f)), std::numeric_limits<float>::infinity());
  EXPECT_EQ(to_float(to_f16(std::ldexp(1.0f, -25))), 0.0f);
  EXPECT_EQ(to_float(to_f16(-std::ldexp(3.0f, -26))), -std::ldexp(1.0f, -24));
}

TEST_F(LargeFiles, Float16IsReadBack) {
  RowMatrix<float> x(3, 5);
  for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = std::sin(static_cast<float>(i)) * 12;
  Dataset<float> d = dataset(x);
  write_dataset(path("half.h5ad"), d, Storage::float16);
  const Dataset<float> back = read_dataset<float>(path("half.h5ad"));
  for (int64_t i = 0; i < x.size(); ++i) EXPECT_EQ(back.x.data()[i], to_float(to_f16(x.data()[i])));
  EXPECT_EQ(read_dataset<double>(path("half.h5ad")).x, back.x.cast<double>());
  d.x(1, 2) = 70000;
  expect_names(error_of([&] { write_dataset(path("half.h5ad"), d, Storage::float16); }), {"float16", "'s2'", "'g3'", "float32"});
  error_of([&] { write_dataset(path("half.tsv"), d, Storage::float16); }, ErrorCode::usage);
}

}  // namespace
}  // namespace panvae::data::test
