#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/interrupt.h"
#include "data/hdf5_chunks.h"
#include "data/hdf5_file.h"

namespace panvae::data::hdf5 {

namespace {

constexpr int kLevel = 2;  // of deflate: counts are small numbers, and more effort gains little

Handle utf8_type() {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

// As h5py writes a bool: an enumeration over int8.
Handle boolean_type() {
  Handle type(H5Tenum_create(H5T_NATIVE_INT8), H5Tclose);
  for (const int8_t value : {int8_t{0}, int8_t{1}}) H5Tenum_insert(type.get(), value ? "TRUE" : "FALSE", &value);
  return type;
}

Handle simple_space(const std::vector<int64_t>& shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  std::vector<hsize_t> dims(shape.begin(), shape.end());
  return {H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose};
}

std::vector<const char*> pointers(const std::vector<std::string>& values) {
  std::vector<const char*> out;
  out.reserve(values.size());
  for (const std::string& v : values) out.push_back(v.c_str());
  return out;
}

// No times inside: equal content is equal bytes.
Handle dataset_properties() {
  Handle p(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(p.get(), 0);
  return p;
}

}  // namespace

void Writer::check(long long result) const {
  if (result < 0) fail_machine("cannot write the HDF5 file", quoted(path_, 400), errno == ENOSPC ? "free some space on the disk" : "is the disk full?");
}

Writer::Writer(const std::string& temporary, std::string final_path) : path_(std::move(final_path)) {
  prepare_library();
  Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);
  file_ = Handle(H5Fcreate(temporary.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), H5Fclose);
  check(file_.get());
}

void Writer::begin_to_store() const {
  void* handle = nullptr;
  // A hint: where it fails, the sync has more to do.
  if (H5Fget_vfd_handle(file_.get(), H5P_DEFAULT, &handle) >= 0 && handle) ::sync_file_range(*static_cast<const int*>(handle), 0, 0, SYNC_FILE_RANGE_WRITE);
}

void Writer::group(const std::string& path) {
  Handle properties(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
  H5Pset_obj_track_times(properties.get(), 0);
  Handle g(H5Gcreate2(file_.get(), path.c_str(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Gclose);
  check(g.get());
}

namespace {
Handle create_attribute(hid_t file, const std::string& path, const std::string& name, hid_t type, hid_t space) {
  const char* object = path.empty() ? "/" : path.c_str();
  return {H5Acreate_by_name(file, object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Aclose};
}
}  // namespace

void Writer::attribute(const std::string& path, const std::string& name, const std::string& value) {
  Handle type = utf8_type(), space = simple_space({});
  Handle a = create_attribute(file_.get(), path, name, type.get(), space.get());
  check(a.get());
  const char* p = value.c_str();
  check(H5Awrite(a.get(), type.get(), &p));
}

void Writer::attribute(const std::string& path, const std::string& name, const std::vector<std::string>& values) {
  Handle type = utf8_type(), space = simple_space({static_cast<int64_t>(values.size())});
  Handle a = create_attribute(file_.get(), path, name, type.get(), space.get());
  check(a.get());
  if (!values.empty()) check(H5Awrite(a.get(), type.get(), pointers(values).data()));
}

void Writer::attribute(const std::string& path, const std::string& name, const std::vector<int64_t>& values) {
  Handle space = simple_space({static_cast<int64_t>(values.size())});
  Handle a = create_attribute(file_.get(), path, name, H5T_NATIVE_INT64, space.get());
  check(a.get());
  check(H5Awrite(a.get(), H5T_NATIVE_INT64, values.data()));
}

void Writer::attribute(const std::string& path, const std::string& name, bool value) {
  Handle type = boolean_type(), space = simple_space({});
  Handle a = create_attribute(file_.get(), path, name, type.get(), space.get());
  check(a.get());
  const int8_t v = value;
  check(H5Awrite(a.get(), type.get(), &v));
}

void Writer::text(const std::string& path, const std::string& value) {
  Handle type = utf8_type(), space = simple_space({}), properties = dataset_properties();
  Handle d(H5Dcreate2(file_.get(), path.c_str(), type.get(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Dclose);
  check(d.get());
  const char* p = value.c_str();
  check(H5Dwrite(d.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &p));
}

void Writer::texts(const std::string& path, const std::vector<std::string>& values) {
  Handle type = utf8_type(), space = simple_space({static_cast<int64_t>(values.size())}), properties = dataset_properties();
  Handle d(H5Dcreate2(file_.get(), path.c_str(), type.get(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Dclose);
  check(d.get());
  if (!values.empty()) check(H5Dwrite(d.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers(values).data()));
}

void Writer::booleans(const std::string& path, const std::vector<int8_t>& values) {
  Handle type = boolean_type(), space = simple_space({static_cast<int64_t>(values.size())}), properties = dataset_properties();
  Handle d(H5Dcreate2(file_.get(), path.c_str(), type.get(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Dclose);
  check(d.get());
  if (!values.empty()) check(H5Dwrite(d.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()));
}

template <class T>
void Writer::numbers(const std::string& path, const std::vector<int64_t>& shape, const T* values, bool compressed) {
  Handle space = simple_space(shape), properties = dataset_properties();
  int64_t size = 1;
  for (int64_t s : shape) size *= s;
  compressed = compressed && size > 0 && !shape.empty() && shape.size() <= 2;
  std::vector<hsize_t> chunk(shape.begin(), shape.end());
  if (compressed) {
    const auto row = static_cast<hsize_t>(size / shape[0]);
    chunk[0] = std::min<hsize_t>(chunk[0], std::max<hsize_t>(1, (hsize_t{1} << 18) / row));
    H5Pset_chunk(properties.get(), static_cast<int>(chunk.size()), chunk.data());
    H5Pset_shuffle(properties.get());
    H5Pset_deflate(properties.get(), kLevel);
  }
  Handle d(H5Dcreate2(file_.get(), path.c_str(), native<T>(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Dclose);
  check(d.get());
  if (compressed) check(write_chunks(d.get(), shape[0], size / shape[0], static_cast<int64_t>(chunk[0]), sizeof(T), kLevel, values) ? 0 : -1);
  else if (size > 0) check(H5Dwrite(d.get(), native<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
  if (compressed) begin_to_store();
}
template void Writer::numbers(const std::string&, const std::vector<int64_t>&, const float*, bool);
template void Writer::numbers(const std::string&, const std::vector<int64_t>&, const double*, bool);
template void Writer::numbers(const std::string&, const std::vector<int64_t>&, const int8_t*, bool);
template void Writer::numbers(const std::string&, const std::vector<int64_t>&, const int32_t*, bool);
template void Writer::numbers(const std::string&, const std::vector<int64_t>&, const int64_t*, bool);

template <class T>
void Writer::create(const std::string& path, const std::vector<int64_t>& shape) {
  Handle space = simple_space(shape), properties = dataset_properties();
  Handle d(H5Dcreate2(file_.get(), path.c_str(), native<T>(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Dclose);
  check(d.get());
}
template void Writer::create<float>(const std::string&, const std::vector<int64_t>&);
template void Writer::create<double>(const std::string&, const std::vector<int64_t>&);
template void Writer::create<f16>(const std::string&, const std::vector<int64_t>&);

void Writer::part(const std::string& path, size_t axis, int64_t begin, int64_t count, hid_t type, const void* values) {
  if (count == 0) return;
  throw_if_interrupted();
  Handle d(H5Dopen2(file_.get(), path.c_str(), H5P_DEFAULT), H5Dclose);
  check(d.get());
  Handle space(H5Dget_space(d.get()), H5Sclose);
  std::vector<hsize_t> dims(static_cast<size_t>(H5Sget_simple_extent_ndims(space.get())));
  H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  std::vector<hsize_t> start(dims.size(), 0);
  start[axis] = static_cast<hsize_t>(begin);
  dims[axis] = static_cast<hsize_t>(count);
  check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, dims.data(), nullptr));
  Handle memory(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose);
  check(H5Dwrite(d.get(), type, memory.get(), space.get(), H5P_DEFAULT, values));
}

template <class T>
void Writer::rows(const std::string& path, int64_t begin, int64_t count, const T* values) {
  part(path, 0, begin, count, native<T>(), values);
  begin_to_store();
}
template void Writer::rows(const std::string&, int64_t, int64_t, const float*);
template void Writer::rows(const std::string&, int64_t, int64_t, const double*);
template void Writer::rows(const std::string&, int64_t, int64_t, const f16*);

void Writer::columns(const std::string& path, int64_t begin, int64_t count, const double* values) {
  part(path, 1, begin, count, H5T_NATIVE_DOUBLE, values);
}

template <class T>
void Writer::create_growing(const std::string& path) {
  const hsize_t none = 0, unlimited = H5S_UNLIMITED, chunk = growing_chunk;
  Handle space(H5Screate_simple(1, &none, &unlimited), H5Sclose), properties = dataset_properties();
  H5Pset_chunk(properties.get(), 1, &chunk);
  H5Pset_shuffle(properties.get());
  H5Pset_deflate(properties.get(), 1);
  Handle d(H5Dcreate2(file_.get(), path.c_str(), native<T>(), space.get(), H5P_DEFAULT, properties.get(), H5P_DEFAULT), H5Dclose);
  check(d.get());
}
template void Writer::create_growing<float>(const std::string&);
template void Writer::create_growing<int32_t>(const std::string&);

template <class T>
void Writer::append(const std::string& path, int64_t count, const T* values) {
  if (count == 0) return;
  throw_if_interrupted();
  Handle d(H5Dopen2(file_.get(), path.c_str(), H5P_DEFAULT), H5Dclose);
  check(d.get());
  hsize_t begin = 0;
  {
    Handle space(H5Dget_space(d.get()), H5Sclose);
    H5Sget_simple_extent_dims(space.get(), &begin, nullptr);
  }
  const auto n = static_cast<hsize_t>(count);
  const hsize_t end = begin + n;
  check(H5Dset_extent(d.get(), &end));
  Handle space(H5Dget_space(d.get()), H5Sclose), memory(H5Screate_simple(1, &n, nullptr), H5Sclose);
  check(H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, &begin, nullptr, &n, nullptr));
  check(H5Dwrite(d.get(), native<T>(), memory.get(), space.get(), H5P_DEFAULT, values));
}
template void Writer::append(const std::string&, int64_t, const float*);
template void Writer::append(const std::string&, int64_t, const int32_t*);

void Writer::close() {
  check(H5Fflush(file_.get(), H5F_SCOPE_GLOBAL));
  const hid_t id = file_.release();
  check(H5Fclose(id));
}

}  // namespace panvae::data::hdf5
