// What is read past the HDF5 library is what it would read, and what does not lie as expected is left to it.
#include "data/hdf5_direct.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "data/hdf5_file.h"
#include "data/read.h"
#include "data/write.h"
#include "support.h"

namespace panvae::data::test {
namespace {

using hdf5::Handle;
using hdf5::StoredBytes;

class Hdf5Direct : public Files {
 protected:
  static std::vector<std::string> many_names() {
    std::vector<std::string> names = {"", "a", std::string(70000, 'x'), "Gen \xc3\xa4", "ENSG00000000003.14"};
    for (int i = 0; i < 9000; ++i) names.push_back("gene" + std::to_string(i * i));
    return names;
  }
  std::string with_names(const char* name, const std::vector<std::string>& names) {
    const std::string file = path(name);
    hdf5::Writer writer(file, file);
    writer.texts("names", names);
    writer.close();
    return file;
  }
  static bool direct_names(const std::string& file, std::vector<std::string>& out) {
    const Handle f(H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose), d(f ? H5Dopen2(f.get(), "names", H5P_DEFAULT) : -1, H5Dclose);
    if (!d) return false;
    const Handle space(H5Dget_space(d.get()), H5Sclose);
    const auto stored = StoredBytes::of(d.get(), H5Sget_simple_extent_npoints(space.get()), hdf5::text_reference);
    return stored && read_stored_texts(*stored, out);
  }
};

TEST_F(Hdf5Direct, NamesOfEveryLength) {
  const std::vector<std::string> names = many_names();
  const std::string file = with_names("names.h5", names);
  std::vector<std::string> read;
  ASSERT_TRUE(direct_names(file, read));
  EXPECT_EQ(read, names);
  EXPECT_EQ(hdf5::File(file).texts("names"), names);
}

TEST_F(Hdf5Direct, AFileThatBeginsLaterIsLeftToTheLibrary) {
  const std::vector<std::string> names = many_names();
  const std::string plain = with_names("plain.h5", names), shifted = path("shifted.h5");
  {
    const Handle create(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    H5Pset_userblock(create.get(), 512);
    const Handle from(H5Fopen(plain.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
    const Handle to(H5Fcreate(shifted.c_str(), H5F_ACC_TRUNC, create.get(), H5P_DEFAULT), H5Fclose);
    ASSERT_GE(H5Ocopy(from.get(), "names", to.get(), "names", H5P_DEFAULT, H5P_DEFAULT), 0);
  }
  std::vector<std::string> read;
  EXPECT_FALSE(direct_names(shifted, read));
  EXPECT_EQ(hdf5::File(shifted).texts("names"), names);
}

// Every byte of heap and references changed in turn: the names are read or they are not, within the file's bounds.
TEST_F(Hdf5Direct, DamageEndsNothing) {
  const std::vector<std::string> names = {"alpha", "beta", "", "gamma gamma"};
  const std::string file = with_names("names.h5", names);
  std::string bytes = [&] {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream all;
    all << in.rdbuf();
    return all.str();
  }();
  const size_t heap = bytes.find("GCOL");
  ASSERT_NE(heap, std::string::npos);
  int refused = 0;
  for (size_t at = heap; at < heap + 160; ++at)
    for (const char change : {'\xff', '\x80', '\x01'}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ change);
      std::ofstream(file, std::ios::binary | std::ios::trunc) << damaged;
      std::vector<std::string> read;
      if (direct_names(file, read)) EXPECT_EQ(read.size(), names.size());
      else ++refused;
    }
  EXPECT_GT(refused, 50);
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes.substr(0, heap + 20);
  std::vector<std::string> read;
  EXPECT_FALSE(direct_names(file, read));
}

// More than one piece of a thread's work; the last value is not finite.
TEST_F(Hdf5Direct, NumbersAndWhetherTheyAreFinite) {
  Dataset<float> d;
  d.x.resize(301, 701);
  for (int64_t i = 0; i < d.x.size(); ++i) d.x.data()[i] = std::sin(static_cast<float>(i));
  for (int64_t i = 0; i < 301; ++i) d.obs.keys.push_back("s" + std::to_string(i));
  for (int64_t i = 0; i < 701; ++i) d.var.keys.push_back("f" + std::to_string(i));
  d.kind = "log";
  const std::string file = path("x.h5ad");
  for (const float last : {1.0F, std::numeric_limits<float>::max(), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN()}) {
    d.x(300, 700) = last;
    write_dataset(file, d);
    {
      const hdf5::File in(file);
      const hdf5::NumberSource source(in, "X");
      EXPECT_TRUE(source.holds_floats());
      RowMatrix<float> x(301, 701);
      EXPECT_TRUE(source.read(0, 300, x.data()));
      EXPECT_EQ(source.read(300, 1, x.data() + 300 * 701), std::isfinite(last));
      EXPECT_EQ(x.topRows(300), d.x.topRows(300));
      EXPECT_EQ(x.row(300).head(700), d.x.row(300).head(700));
      std::vector<double> doubles(701);
      source.read(300, 1, doubles.data());
      EXPECT_EQ(doubles[699], static_cast<double>(d.x(300, 699)));
    }
    if (std::isfinite(last)) EXPECT_EQ(read_dataset<float>(file).x, d.x);
    else expect_names(error_of([&] { read_dataset<float>(file); }), {"'s300'", "'f700'", std::isnan(last) ? "NaN" : "infinite"});
  }
}

}  // namespace
}  // namespace panvae::data::test
