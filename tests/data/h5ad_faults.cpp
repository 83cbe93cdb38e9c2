// Damaged, cut off and contradictory .h5ad files.
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <limits>

#include "data/damage.h"
#include "data/h5ad.h"
#include "data/hdf5_file.h"
#include "data/large_dataset.h"
#include "data/sample_source.h"
#include "data/write.h"
#include "h5ad_fixture.h"

namespace panvae::data::test {
namespace {

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
  refused(
      [&](Fixture& f) {
        f.doubles("X", {3, 4}, flat());
        f.texts("obs/site", {"a", "Z\xfcrich", "b"});
      },
      {"'Z\\xfcrich' is not UTF-8", "'obs/site'"});
  refused(
      [&](Fixture& f) {
        f.doubles("X", {3, 4}, flat());
        f.texts("obs/site", {"a", "Z\xfcrich", "b"}, 8);
      },
      {"'Z\\xfcrich' is not UTF-8", "'obs/site'"});
  refused(
      [&](Fixture& f) {
        f.doubles("X", {3, 4}, flat());
        f.doubles(
            "obs/gr\xf6\xdf"
            "e",
            {3}, {1, 2, 3});
      },
      {"'gr\\xf6\\xdfe' is not UTF-8", "'obs'"});
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

// What a chunk announces, whether packed or not, beyond what can be one from the other: 1 GiB of each here.
TEST_F(H5ad, AnnouncedChunksAreNoMemory) {
  const auto peak = [] {
    struct rusage usage {};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // KiB
  };
  const auto refused = [&](const std::string& name) {
    const hdf5::File damaged(name);
    const long before = peak();
    expect_names(error_of([&] { damaged.doubles("X"); }), {"cannot be read", "'X'", name});
    EXPECT_LT(peak() - before, 512 << 10);
  };
  const auto bytes_of = [](auto... values) {
    std::string bytes;
    (bytes.append(reinterpret_cast<const char*>(&values), sizeof values), ...);
    return bytes;
  };
  std::vector<double> values(40 * 50);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i * i));
  {
    Fixture f(path("packed.h5"));
    f.compressed("X", H5T_NATIVE_DOUBLE, {40, 50}, {5, 50}, true, values);
  }
  unsigned mask = 0;
  haddr_t address = 0;
  hsize_t size = 0;
  const std::vector<hsize_t> third = {10, 0};
  {
    const hdf5::Handle file(H5Fopen(path("packed.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose), x(H5Dopen2(file.get(), "X", H5P_DEFAULT), H5Dclose);
    ASSERT_GE(H5Dget_chunk_info_by_coord(x.get(), third.data(), &mask, &address, &size), 0);
  }
  // The key of a chunk in the B-tree ("HDF5 File Format Specification", III.A.1), and its child.
  std::string bytes = read_file(path("packed.h5"));
  const size_t key = bytes.find(bytes_of(static_cast<uint32_t>(size), uint32_t{0}, uint64_t{10}, uint64_t{0}, uint64_t{0}, uint64_t{address}));
  ASSERT_NE(key, std::string::npos);
  bytes.replace(key, 4, bytes_of(uint32_t{1} << 30));
  refused(put("packed.h5", bytes));

  {
    const hdf5::Handle file(H5Fcreate(path("whole.h5").c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose);
    const hsize_t shape[2] = {2, 4}, most[2] = {2, H5S_UNLIMITED}, chunk[2] = {1, hsize_t{1} << 27};
    const hdf5::Handle space(H5Screate_simple(2, shape, most), H5Sclose), properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_chunk(properties.get(), 2, chunk);
    H5Pset_deflate(properties.get(), 2);
    const hdf5::Handle x(H5Dcreate2(file.get(), "X", H5T_NATIVE_DOUBLE, space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Dclose);
    for (const hsize_t row : {hsize_t{0}, hsize_t{1}}) {
      const hsize_t offset[2] = {row, 0};
      ASSERT_GE(H5Dwrite_chunk(x.get(), H5P_DEFAULT, 0, offset, 100, values.data()), 0);
    }
  }
  refused(path("whole.h5"));
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
      const detail::FileBeingRead reading("damaged.h5ad");
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

// Of files read one within the other, and of one that stays open between reads.
TEST_F(H5ad, AFaultElsewhereIsNotTheFiles) {
  const auto d = test::dataset(RowMatrix<double>(RowMatrix<double>::Ones(4, 3)));
  write_dataset(path("open.h5ad"), d);
  write_dataset(path("other.h5ad"), d);
  const auto fault_in = [&](auto&& work) {
    const pid_t child = ::fork();
    if (child == 0) {
      if (!std::freopen(path("message.txt").c_str(), "w", stderr)) ::_exit(99);
      install_damage_handler();
      work();
      ::_exit(98);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  };
  const int idle = fault_in([&] {
    const SampleSource source(path("open.h5ad"), {});
    std::abort();
  });
  EXPECT_TRUE(WIFSIGNALED(idle) && WTERMSIG(idle) == SIGABRT) << idle;
  const int refused = fault_in([&] {
    put("damaged.h5ad", std::string("\x89HDF\r\n\x1a\n") + std::string(500, 'x'));
    error_of([&] { read_dataset<double>(path("damaged.h5ad")); });
    std::abort();
  });
  EXPECT_TRUE(WIFSIGNALED(refused) && WTERMSIG(refused) == SIGABRT) << refused;
  const int outer = fault_in([&] {
    const hdf5::File file(path("open.h5ad"));
    { const hdf5::File inner(path("other.h5ad")); }
    std::abort();
  });
  EXPECT_TRUE(WIFEXITED(outer) && WEXITSTATUS(outer) == 3) << outer;
  EXPECT_NE(read_file(path("message.txt")).find("open.h5ad"), std::string::npos);
}

}  // namespace
}  // namespace panvae::data::test
