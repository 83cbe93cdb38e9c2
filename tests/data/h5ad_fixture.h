// Files as AnnData writes them, built with the C library.
#pragma once
#include <hdf5.h>

#include <functional>
#include <string>
#include <vector>

#include "data/h5ad.h"
#include "support.h"

namespace panvae::data::test {

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

inline RowMatrix<double> expected() {
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

}  // namespace panvae::data::test
