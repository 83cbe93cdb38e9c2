// .h5ad files built of the fuzzer's bytes: any group, dataset or attribute at any place that is looked at. What is read without the
// library, or in pieces, is what the library reads.
#include <hdf5.h>

#include <array>

#include "data/h5ad.h"
#include "data/hdf5_file.h"
#include "data/read.h"
#include "data/write.h"
#include "tests/fuzz/fuzz.h"

using namespace panvae;
using data::hdf5::Handle;

namespace {

constexpr std::array kPlaces = {"X",
                                "obs",
                                "var",
                                "obs/_index",
                                "obs/index",
                                "obs/a",
                                "obs/a/codes",
                                "obs/a/categories",
                                "obs/a/values",
                                "obs/a/mask",
                                "obs/__categories",
                                "obs/__categories/a",
                                "var/_index",
                                "var/b",
                                "var/b/codes",
                                "var/b/categories",
                                "X/data",
                                "X/indices",
                                "X/indptr",
                                "layers",
                                "layers/l",
                                "raw",
                                "raw/X",
                                "raw/var",
                                "raw/var/_index",
                                "uns/panvae",
                                "uns/panvae/kind",
                                "uns/panvae/settings",
                                "uns/panvae/features",
                                "uns/panvae/arrays",
                                "uns/panvae/arrays/feature_mean",
                                "obsm/e"};
constexpr std::array kAttributes = {"encoding-type", "_index", "column-order", "shape", "ordered", "h5sparse_format", "h5sparse_shape", "categories"};
constexpr std::array kWords = {"array", "csr_matrix", "csc_matrix", "categorical", "dataframe", "nullable-integer", "nullable-boolean", "nullable-string-array",
                               "null",  "_index",     "index",      "a",           "",          "{\"format\":1}",   "counts",           "NA"};

class Builder {
 public:
  Builder(hid_t file, fuzz::Input& in) : file_(file), in_(in) {}

  void step() {
    const std::string at = of(kPlaces);
    switch (in_.byte() % 8) {
      case 0:
        clear(at);
        return Handle(H5Gcreate2(file_, at.c_str(), parents_.get(), H5P_DEFAULT, H5P_DEFAULT), H5Gclose), void();
      case 1:
      case 2:
        clear(at);
        return numbers(at);
      case 3:
        clear(at);
        return texts(at);
      case 4:
        return text_attribute(at);
      case 5:
        return number_attribute(at);
      case 6:
        return clear(at);
      case 7: {
        const std::string other = of(kPlaces);
        clear(at);
        H5Lcreate_soft(("/" + other).c_str(), file_, at.c_str(), parents_.get(), H5P_DEFAULT);
      }
    }
  }

 private:
  template <class A>
  std::string of(const A& list) {
    return list[in_.byte() % list.size()];
  }
  void clear(const std::string& at) { H5Ldelete(file_, at.c_str(), H5P_DEFAULT); }
  std::vector<hsize_t> shape(size_t most = 3) {
    std::vector<hsize_t> out;
    for (size_t n = in_.byte() % (most + 1); n > 0; --n) out.push_back(in_.byte() % 5u);
    return out;
  }
  static Handle space_of(const std::vector<hsize_t>& shape) {
    return {shape.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr), H5Sclose};
  }
  static size_t count(const std::vector<hsize_t>& shape) {
    size_t n = 1;
    for (const hsize_t d : shape) n *= d;
    return n;
  }
  hid_t number_type() {
    const std::array types = {H5T_STD_I8LE,
                              H5T_STD_U8LE,
                              H5T_STD_I16BE,
                              H5T_STD_I32LE,
                              H5T_STD_U32LE,
                              H5T_STD_I64LE,
                              H5T_STD_U64LE,
                              H5T_IEEE_F32LE,
                              H5T_IEEE_F64LE,
                              H5T_IEEE_F64BE,
                              data::hdf5::native<f16>(),
                              H5T_STD_I64LE};
    return types[in_.byte() % types.size()];
  }
  std::string bytes(size_t n) {
    std::string out(in_.take(n));
    out.resize(n);
    return out;
  }
  // Chunks, compressed in one of the ways that are read without the library, or in others; or none.
  Handle layout(const std::vector<hsize_t>& shape) {
    Handle p(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    const uint8_t how = in_.byte();
    if (how % 3 == 0 || count(shape) == 0 || shape.empty()) return p;
    std::vector<hsize_t> chunk;
    for (const hsize_t d : shape) chunk.push_back(1 + in_.byte() % d);
    H5Pset_chunk(p.get(), static_cast<int>(chunk.size()), chunk.data());
    if (how & 4) H5Pset_shuffle(p.get());
    if (how & 8) H5Pset_deflate(p.get(), 1);
    if (how & 16) H5Pset_fletcher32(p.get());
    return p;
  }
  void numbers(const std::string& at) {
    const hid_t type = number_type();
    const std::vector<hsize_t> s = shape();
    const Handle space = space_of(s), p = layout(s);
    const Handle d(H5Dcreate2(file_, at.c_str(), type, space.get(), parents_.get(), p.get(), H5P_DEFAULT), H5Dclose);
    const std::string values = bytes(count(s) * H5Tget_size(type));
    if (d && in_.byte() % 8 != 0) H5Dwrite(d.get(), type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());  // else: never written
  }
  std::string text() {
    if (in_.byte() & 1) return of(kWords);
    std::string s(in_.take(in_.byte() % 12u));
    return s.substr(0, s.find('\0'));
  }
  void texts(const std::string& at) {
    const size_t fixed = in_.byte() % 4 == 0 ? 1 + in_.byte() % 6 : 0;
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), fixed ? fixed : H5T_VARIABLE);
    const std::vector<hsize_t> s = shape(2);
    const Handle space = space_of(s), p = layout(s);
    const Handle d(H5Dcreate2(file_, at.c_str(), type.get(), space.get(), parents_.get(), p.get(), H5P_DEFAULT), H5Dclose);
    std::vector<std::string> values;
    for (size_t i = 0; i < count(s); ++i) values.push_back(text());
    std::vector<const char*> pointers;
    std::string all;
    for (std::string& v : values) {
      pointers.push_back(v.empty() && in_.byte() % 4 == 0 ? nullptr : v.c_str());
      all += v, all.resize(all.size() + fixed - std::min(fixed, v.size())), all.resize(pointers.size() * fixed);
    }
    if (d && in_.byte() % 8 != 0) H5Dwrite(d.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, fixed ? static_cast<const void*>(all.data()) : pointers.data());
  }
  void attribute(const std::string& at, const std::string& name, hid_t type, const std::vector<hsize_t>& s, const void* values) {
    H5Adelete_by_name(file_, at.c_str(), name.c_str(), H5P_DEFAULT);
    const Handle space = space_of(s);
    const Handle a(H5Acreate_by_name(file_, at.c_str(), name.c_str(), type, space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
    if (a) H5Awrite(a.get(), type, values);
  }
  void text_attribute(const std::string& at) {
    const std::string name = of(kAttributes);
    const std::vector<hsize_t> s = shape(1);
    std::vector<std::string> values;
    for (size_t i = 0; i < count(s); ++i) values.push_back(text());
    std::vector<const char*> pointers;
    for (const std::string& v : values) pointers.push_back(v.c_str());
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), H5T_VARIABLE);
    attribute(at, name, type.get(), s, pointers.data());
  }
  void number_attribute(const std::string& at) {
    const std::string name = of(kAttributes);
    const std::vector<hsize_t> s = shape(1);
    const hid_t type = number_type();
    const std::string values = bytes(count(s) * H5Tget_size(type));
    attribute(at, name, type, s, values.data());
  }

  const hid_t file_;
  fuzz::Input& in_;
  const Handle parents_ = [] {
    Handle p(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
    H5Pset_create_intermediate_group(p.get(), 1);
    return p;
  }();
};

// As the library reads it.
std::vector<std::string> plain_texts(hid_t file, const char* at, H5T_cset_t set) {
  const Handle d(H5Dopen2(file, at, H5P_DEFAULT), H5Dclose), type(H5Tcopy(H5T_C_S1), H5Tclose), space(H5Dget_space(d.get()), H5Sclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), set);
  std::vector<char*> pointers(static_cast<size_t>(H5Sget_simple_extent_npoints(space.get())));
  FUZZ_EXPECT(pointers.empty() || H5Dread(d.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()) >= 0, "{} cannot be read", at);
  std::vector<std::string> out;
  for (const char* p : pointers) out.emplace_back(p ? p : "");
  if (!pointers.empty()) H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, pointers.data());
  return out;
}

void compare(const std::string& path) {
  const Handle plain(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  const data::hdf5::File file(path);
  for (const char* at : kPlaces) {
    if (!file.is_dataset(at)) continue;
    const Handle d(H5Dopen2(plain.get(), at, H5P_DEFAULT), H5Dclose), type(H5Dget_type(d.get()), H5Tclose);
    fuzz::reads("file.h5ad", [&] {
      if (H5Tis_variable_str(type.get()) > 0) FUZZ_EXPECT(file.texts(at) == plain_texts(plain.get(), at, H5Tget_cset(type.get())), "texts of {} differ", at);
      if (H5Tget_class(type.get()) != H5T_INTEGER && H5Tget_class(type.get()) != H5T_FLOAT) return;
      const std::vector<double> values = file.doubles(at);
      std::vector<double> expected(values.size());
      FUZZ_EXPECT(values.empty() || H5Dread(d.get(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, expected.data()) >= 0, "{} cannot be read", at);
      for (size_t i = 0; i < values.size(); ++i) FUZZ_EXPECT(fuzz::same(values[i], expected[i]), "{} of {}: {} and {}", i, at, values[i], expected[i]);
    });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const fuzz::Folder folder;
  data::hdf5::prepare_library();
  fuzz::Input in(bytes, size);
  const std::string path = folder.file("file.h5ad");
  {
    data::Dataset<double> d;
    d.x.resize(2, 3);
    d.x << 1, 2, 3, 4, 5, 6;
    d.obs.keys = {"A", "B"};
    d.var.keys = {"g", "h", "i"};
    d.obs.columns.push_back(data::factor_from_text("a", {"x", "y"}));
    d.var.columns.push_back(data::numeric_column("b", {1, 2, 0.5}));
    data::write_dataset(path, d);
    const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    Builder builder(file.get(), in);
    for (int steps = 0; steps < 24 && !in.empty(); ++steps) builder.step();
  }
  compare(path);
  data::ReadOptions options;
  options.missing = data::Missing::keep;
  options.make_unique = true;
  for (const char* inner : {"", ":layers/l", ":raw/X", ":obsm/e"}) {
    data::Dataset<double> all;
    data::LargeDataset<float> large;
    const bool read = fuzz::reads("file.h5ad", [&] { all = data::read_dataset<double>(path + inner, options); });
    if (fuzz::reads("file.h5ad", [&] { large = data::read_large_dataset(path + inner, options, folder.file("")); })) {
      FUZZ_EXPECT(read, "refused in memory, not on disk");
      fuzz::expect_same_values(all.x, large.x);
      fuzz::expect_same(all.obs, large.obs);
    }
    if (!read) continue;
    FUZZ_EXPECT(all.obs.rows() == all.samples() && all.var.rows() == all.features(), "the tables do not fit the matrix");
    fuzz::reads("again.h5ad", [&] {
      data::write_dataset(folder.file("again.h5ad"), all);
      const data::Dataset<double> again = data::read_dataset<double>(folder.file("again.h5ad"), options);
      fuzz::expect_same_values(all.x, again.x);
      FUZZ_EXPECT(all.obs.keys == again.obs.keys && all.var.keys == again.var.keys, "names differ");
    });
  }
  return 0;
}
