#include "data/hdf5_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <mutex>
#include <type_traits>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/foreign.h"

namespace panvae::data::hdf5 {

template <>
hid_t native<f16>() {
  // Sign 1, exponent 5, mantissa 10 bits, little-endian: what NumPy and h5py call float16.
  static const hid_t type = [] {
    const hid_t t = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(t, 15, 10, 5, 0, 10);
    H5Tset_size(t, 2);
    H5Tset_ebias(t, 15);
    return t;
  }();
  return type;
}

void prepare_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    // A file that could not be written stays half open in the library, which then crashes where it tidies up at exit.
    H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // else it prints its own error stacks to stderr
  });
}

namespace {

// All strings that `read` delivers for a type and a number of elements, of variable or fixed length. False on failure.
template <class Read>
bool read_strings(hid_t file_type, hid_t space, hsize_t count, const Read& read, std::vector<std::string>& out) {
  out.clear();
  if (count == 0) return true;
  if (H5Tis_variable_str(file_type) > 0) {
    Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), H5T_VARIABLE);
    H5Tset_cset(type.get(), H5Tget_cset(file_type));
    std::vector<char*> pointers(count, nullptr);
    if (read(type.get(), pointers.data()) < 0) return false;
    out.reserve(count);
    for (const char* p : pointers) out.emplace_back(p ? p : "");
    H5Dvlen_reclaim(type.get(), space, H5P_DEFAULT, pointers.data());
    return true;
  }
  const size_t size = H5Tget_size(file_type);
  Handle type(H5Tcopy(file_type), H5Tclose);
  std::string bytes(size * count, '\0');
  if (read(type.get(), bytes.data()) < 0) return false;
  const bool space_padded = H5Tget_strpad(file_type) == H5T_STR_SPACEPAD;
  for (hsize_t i = 0; i < count; ++i) {
    std::string_view s(bytes.data() + i * size, size);
    s = s.substr(0, s.find('\0'));
    while (space_padded && !s.empty() && s.back() == ' ') s.remove_suffix(1);
    out.emplace_back(s);
  }
  return true;
}

Handle open_attribute(hid_t file, const std::string& inner, const std::string& name) {
  const char* object = inner.empty() ? "/" : inner.c_str();
  if (H5Aexists_by_name(file, object, name.c_str(), H5P_DEFAULT) <= 0) return {};
  return {H5Aopen_by_name(file, object, name.c_str(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose};
}

}  // namespace

File::File(const std::string& path) : path_(path) {
  prepare_library();
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    fail_input(fmt::format("cannot read: {}", std::strerror(errno)), quoted(path, 400), "check the name and its permissions");
  if (S_ISDIR(info.st_mode)) fail_input("is a folder", quoted(path, 400), "name a file");
  if (info.st_size == 0) fail_input("the file is empty", quoted(path, 400), "is it the right one?");
  if (H5Fis_hdf5(path.c_str()) <= 0) {
    if (const Foreign foreign = recognise_foreign_file(path); !foreign.what.empty())
      fail_input(fmt::format("not an HDF5 file: {}", foreign.what), quoted(path, 400), std::string(foreign.hint));
    fail_input("not an HDF5 file", quoted(path, 400), "an .h5ad file is written by AnnData or by panvae; is this one damaged or another format?");
  }
  being_read_.emplace(path);
  file_ = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file_) fail_input("the HDF5 file cannot be opened", quoted(path, 400), "it is damaged, cut off, or still open for writing elsewhere");
}

File::~File() = default;

void File::rest() {
  being_read_.reset();
}

std::string File::where(const std::string& inner) const {
  return fmt::format("{}, {}", quoted(path_, 400), quoted(inner.empty() ? "/" : inner));
}

void File::fail(const std::string& inner, const std::string& what, const std::string& hint) const {
  fail_input(what, where(inner), hint.empty() ? "is the file damaged? write it again with AnnData" : hint);
}

void File::expect_utf8(const std::string& inner, const std::vector<std::string>& texts) const {
  for (const std::string& text : texts)
    if (valid_utf8(text) < text.size())
      fail(inner, fmt::format("{} is not UTF-8", quoted(text)), "write it as UTF-8 with AnnData: texts of bytes become so by .decode('latin-1')");
}

bool File::exists(const std::string& inner) const {
  // H5Lexists asks for every part of the path to exist.
  for (size_t slash = inner.find('/'); slash != std::string::npos; slash = inner.find('/', slash + 1))
    if (H5Lexists(file_.get(), inner.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) return false;
  return !inner.empty() && H5Lexists(file_.get(), inner.c_str(), H5P_DEFAULT) > 0 && H5Oexists_by_name(file_.get(), inner.c_str(), H5P_DEFAULT) > 0;
}

namespace {
H5O_type_t object_type(hid_t file, const std::string& inner) {
  // HDF5 1.12 gave the plain name a fifth argument; those with numbers stay what they are.
#if H5_VERSION_GE(1, 12, 0)
  H5O_info2_t info;
  const herr_t status = H5Oget_info_by_name3(file, inner.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT);
#else
  H5O_info_t info;
  const herr_t status = H5Oget_info_by_name2(file, inner.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT);
#endif
  if (status < 0) return H5O_TYPE_UNKNOWN;
  return info.type;
}
}  // namespace

bool File::is_group(const std::string& inner) const {
  return exists(inner) && object_type(file_.get(), inner) == H5O_TYPE_GROUP;
}
bool File::is_dataset(const std::string& inner) const {
  return exists(inner) && object_type(file_.get(), inner) == H5O_TYPE_DATASET;
}

std::vector<std::string> File::children(const std::string& group) const {
  std::vector<std::string> names;
  Handle g(H5Gopen2(file_.get(), group.c_str(), H5P_DEFAULT), H5Gclose);
  if (!g) fail(group, "cannot be opened as a group");
  auto add = [](hid_t, const char* name, const H5L_info_t*, void* to) -> herr_t {
    static_cast<std::vector<std::string>*>(to)->emplace_back(name);
    return 0;
  };
  if (H5Literate(g.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names) < 0) fail(group, "cannot be listed");
  expect_utf8(group, names);
  return names;
}

bool File::has_attribute(const std::string& inner, const std::string& name) const {
  return static_cast<bool>(open_attribute(file_.get(), inner, name));
}

std::vector<std::string> File::attribute_list(const std::string& inner, const std::string& name) const {
  std::vector<std::string> out;
  Handle a = open_attribute(file_.get(), inner, name);
  if (!a) return out;
  Handle type(H5Aget_type(a.get()), H5Tclose), space(H5Aget_space(a.get()), H5Sclose);
  if (H5Tget_class(type.get()) != H5T_STRING) return out;
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  if (count < 0 || !read_strings(
                       type.get(), space.get(), static_cast<hsize_t>(count), [&](hid_t t, void* to) { return H5Aread(a.get(), t, to); }, out))
    fail(inner, fmt::format("its attribute {} cannot be read", quoted(name)));
  return out;
}

std::string File::attribute(const std::string& inner, const std::string& name, const std::string& fallback) const {
  const std::vector<std::string> all = attribute_list(inner, name);
  return all.size() == 1 ? all.front() : fallback;
}

std::vector<int64_t> File::attribute_integers(const std::string& inner, const std::string& name) const {
  Handle a = open_attribute(file_.get(), inner, name);
  if (!a) return {};
  Handle type(H5Aget_type(a.get()), H5Tclose), space(H5Aget_space(a.get()), H5Sclose);
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  if (H5Tget_class(type.get()) != H5T_INTEGER || count < 0 || count > 64) return {};
  std::vector<int64_t> out(static_cast<size_t>(count));
  if (H5Aread(a.get(), H5T_NATIVE_INT64, out.data()) < 0) fail(inner, fmt::format("its attribute {} cannot be read", quoted(name)));
  return out;
}

namespace {
bool is_boolean_type(hid_t type) {
  return H5Tget_class(type) == H5T_ENUM && H5Tget_size(type) == 1;
}
}  // namespace

bool File::attribute_boolean(const std::string& inner, const std::string& name) const {
  Handle a = open_attribute(file_.get(), inner, name);
  if (!a) return false;
  Handle type(H5Aget_type(a.get()), H5Tclose), space(H5Aget_space(a.get()), H5Sclose);
  if (!is_boolean_type(type.get()) || H5Sget_simple_extent_npoints(space.get()) != 1) return false;
  int8_t value = 0;
  if (H5Aread(a.get(), type.get(), &value) < 0) fail(inner, fmt::format("its attribute {} cannot be read", quoted(name)));
  return value != 0;
}

std::string File::attribute_reference(const std::string& inner, const std::string& name) const {
  Handle a = open_attribute(file_.get(), inner, name);
  if (!a) return {};
  Handle type(H5Aget_type(a.get()), H5Tclose);
  if (H5Tequal(type.get(), H5T_STD_REF_OBJ) <= 0) return {};
  hobj_ref_t reference;
  if (H5Aread(a.get(), H5T_STD_REF_OBJ, &reference) < 0) return {};
  char buffer[1024];
  const ssize_t n = H5Rget_name(file_.get(), H5R_OBJECT, &reference, buffer, sizeof buffer);
  if (n <= 0 || n >= static_cast<ssize_t>(sizeof buffer)) return {};
  std::string path(buffer);
  return path[0] == '/' ? path.substr(1) : path;
}

Handle File::open(const std::string& dataset) const {
  Handle d(H5Dopen2(file_.get(), dataset.c_str(), H5P_DEFAULT), H5Dclose);
  if (!d) fail(dataset, exists(dataset) ? "is no dataset" : "does not exist");
  return d;
}

std::vector<int64_t> File::shape(const std::string& dataset) const {
  Handle d = open(dataset), space(H5Dget_space(d.get()), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0) fail(dataset, "its shape cannot be read");
  std::vector<hsize_t> dims(static_cast<size_t>(rank));
  H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  double elements = 1;
  for (const hsize_t extent : dims) elements *= static_cast<double>(std::max<hsize_t>(extent, 1));
  if (elements > 1e18) fail(dataset, "its shape is beyond what a file can hold");
  return {dims.begin(), dims.end()};
}

bool File::is_text(const std::string& dataset) const {
  Handle d = open(dataset), type(H5Dget_type(d.get()), H5Tclose);
  return H5Tget_class(type.get()) == H5T_STRING;
}

bool File::is_number(const std::string& dataset) const {
  Handle d = open(dataset), type(H5Dget_type(d.get()), H5Tclose);
  const H5T_class_t c = H5Tget_class(type.get());
  return c == H5T_INTEGER || c == H5T_FLOAT || is_boolean_type(type.get());
}

bool File::holds_fractions(const std::string& dataset) const {
  Handle d = open(dataset), type(H5Dget_type(d.get()), H5Tclose);
  return H5Tget_class(type.get()) == H5T_FLOAT;
}

bool File::is_boolean(const std::string& dataset) const {
  Handle d = open(dataset), type(H5Dget_type(d.get()), H5Tclose);
  return is_boolean_type(type.get());
}

namespace {
// A damaged length must not end in the kernel's out-of-memory killer. `stored`, `needed`: bytes of a value in the file before it is
// compressed, and in memory.
void expect_room(const File& file, hid_t dataset, const std::string& name, double elements, double stored, double needed) {
  hsize_t size = 0;
  const Handle whole(H5Iget_file_id(dataset), H5Fclose);
  // zlib makes of a byte at most 1032.
  if (H5Fget_filesize(whole.get(), &size) >= 0 && elements * stored > 16e6 + 2000 * static_cast<double>(size))
    file.fail(name, fmt::format("announces {:.0f} values, more than a file of {} can hold", elements, human_bytes(static_cast<int64_t>(size))));
  const auto available = static_cast<double>(available_bytes());
  if (available > 0 && elements * needed > available)
    fail_machine(fmt::format("its {:.0f} values need {}, {} are free", elements, human_bytes(static_cast<int64_t>(std::min(elements * needed, 9e18))),
                             human_bytes(static_cast<int64_t>(available))),
                 file.where(name), "is the file damaged? else use a machine with more memory");
}
}  // namespace

std::vector<std::string> File::texts(const std::string& dataset) const {
  Handle d = open(dataset), type(H5Dget_type(d.get()), H5Tclose), space(H5Dget_space(d.get()), H5Sclose);
  if (H5Tget_class(type.get()) != H5T_STRING) fail(dataset, "holds no text where text is expected");
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  std::vector<std::string> out;
  const bool variable = H5Tis_variable_str(type.get()) > 0;
  const auto item = static_cast<double>(variable ? text_reference : H5Tget_size(type.get()));
  if (count > 0) expect_room(*this, d.get(), dataset, static_cast<double>(count), item, item + sizeof(std::string));
  if (count > 0 && variable)
    if (const auto stored = StoredBytes::of(d.get(), static_cast<int64_t>(count), text_reference); stored && read_stored_texts(*stored, out)) {
      expect_utf8(dataset, out);
      return out;
    }
  if (count < 0 ||
      !read_strings(
          type.get(), space.get(), static_cast<hsize_t>(count), [&](hid_t t, void* to) { return H5Dread(d.get(), t, H5S_ALL, H5S_ALL, H5P_DEFAULT, to); }, out))
    fail(dataset, "cannot be read");
  expect_utf8(dataset, out);
  return out;
}

namespace {
template <class T>
std::vector<T> whole(const File& file, const std::string& dataset) {
  NumberSource source(file, dataset);
  int64_t rows = 1, size = 1;
  for (size_t i = 0; i < source.shape().size(); ++i) {
    if (i == 0) rows = source.shape()[i];
    size *= source.shape()[i];
  }
  source.expect_room(size, sizeof(T));
  std::vector<T> out(static_cast<size_t>(size));
  if (size > 0) source.read(0, rows, out.data());
  return out;
}
}  // namespace

std::vector<double> File::doubles(const std::string& dataset) const {
  return whole<double>(*this, dataset);
}
std::vector<int64_t> File::integers(const std::string& dataset) const {
  if (!holds_fractions(dataset)) return whole<int64_t>(*this, dataset);
  // The library would cut off what follows the point.
  const std::vector<double> values = whole<double>(*this, dataset);
  for (const double x : values)
    if (std::nearbyint(x) != x || std::abs(x) > 9e15) fail(dataset, fmt::format("holds {} where whole numbers are expected", x));
  return {values.begin(), values.end()};
}

NumberSource::NumberSource(const File& file, const std::string& dataset) : file_(file), name_(dataset), dataset_(file.open(dataset)) {
  Handle type(H5Dget_type(dataset_.get()), H5Tclose);
  const H5T_class_t c = H5Tget_class(type.get());
  boolean_ = is_boolean_type(type.get());
  if (c != H5T_INTEGER && c != H5T_FLOAT && !boolean_)
    file.fail(dataset, "holds no numbers where numbers are expected", "name another matrix, as in FILE.h5ad:layers/counts");
  half_ = c == H5T_FLOAT && H5Tequal(type.get(), native<f16>()) > 0;
  single_ = H5Tequal(type.get(), H5T_NATIVE_FLOAT) > 0;
  shape_ = file.shape(dataset);
  Handle plist(H5Dget_create_plist(dataset_.get()), H5Pclose);
  for (int i = 0, n = H5Pget_nfilters(plist.get()); i < n; ++i) {
    unsigned flags = 0, config = 0;
    size_t elements = 0;
    char name[64] = "";
    const H5Z_filter_t id = H5Pget_filter2(plist.get(), static_cast<unsigned>(i), &flags, &elements, nullptr, sizeof name, name, &config);
    if (id >= 0 && H5Zfilter_avail(id) <= 0)
      file.fail(dataset, fmt::format("is compressed with filter {} {}, which is not at hand", id, quoted(name)),
                "write the file with compression='gzip', or set HDF5_PLUGIN_PATH");
  }
  if (boolean_) return;
  chunks_.emplace(dataset_.get(), shape_);
  const Handle space(H5Dget_space(dataset_.get()), H5Sclose);
  const hssize_t elements = H5Sget_simple_extent_npoints(space.get());
  for (const hid_t same : {H5T_NATIVE_FLOAT, H5T_NATIVE_DOUBLE})
    if (elements > 0 && H5Tequal(type.get(), same) > 0) stored_ = StoredBytes::of(dataset_.get(), static_cast<int64_t>(elements), H5Tget_size(same));
}

void NumberSource::expect_room(int64_t elements, size_t item) const {
  const Handle type(H5Dget_type(dataset_.get()), H5Tclose);
  hdf5::expect_room(file_, dataset_.get(), name_, static_cast<double>(elements), static_cast<double>(H5Tget_size(type.get())), static_cast<double>(item));
}

template <class T>
bool NumberSource::read(int64_t begin, int64_t count, T* out) const {
  throw_if_interrupted();
  if constexpr (std::is_floating_point_v<T>)
    if (stored_ && stored_->item() == sizeof(T) && !shape_.empty() && begin >= 0 && count >= 0 && begin <= shape_[0] - count) {
      const int64_t row = stored_->elements() / shape_[0];
      if (bool finite = false; read_stored(*stored_, begin * row, count * row, out, finite)) return finite;
    }
  Handle space(H5Dget_space(dataset_.get()), H5Sclose);
  int64_t size = 1;
  if (!shape_.empty()) {
    std::vector<hsize_t> start(shape_.size(), 0), extent(shape_.begin(), shape_.end());
    start[0] = static_cast<hsize_t>(begin);
    extent[0] = static_cast<hsize_t>(count);
    for (hsize_t e : extent) size *= static_cast<int64_t>(e);
    if (size == 0) return false;
    if (begin < 0 || begin + count > shape_[0] || H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, extent.data(), nullptr) < 0)
      file_.fail(name_, "is shorter than other parts of the file say");
  }
  if (chunks_ && chunks_->read(begin, count, out)) return false;
  const auto n = static_cast<hsize_t>(size);
  Handle memory(H5Screate_simple(1, &n, nullptr), H5Sclose);
  if (boolean_) {
    // HDF5 converts no enum to a number: read as stored, one byte each.
    Handle type(H5Dget_type(dataset_.get()), H5Tclose);
    std::vector<int8_t> bytes(static_cast<size_t>(size));
    if (H5Dread(dataset_.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, bytes.data()) < 0) file_.fail(name_, "cannot be read");
    for (size_t i = 0; i < bytes.size(); ++i) out[i] = static_cast<T>(bytes[i]);
    return false;
  }
  if (half_) {
    // The library's own conversion takes many times as long as reading.
    std::vector<f16> halves(static_cast<size_t>(size));
    if (H5Dread(dataset_.get(), native<f16>(), memory.get(), space.get(), H5P_DEFAULT, halves.data()) < 0) file_.fail(name_, "cannot be read");
    for (size_t i = 0; i < halves.size(); ++i) out[i] = static_cast<T>(to_float(halves[i]));
    return false;
  }
  if (H5Dread(dataset_.get(), native<T>(), memory.get(), space.get(), H5P_DEFAULT, out) < 0) file_.fail(name_, "cannot be read");
  return false;
}
template bool NumberSource::read(int64_t, int64_t, float*) const;
template bool NumberSource::read(int64_t, int64_t, double*) const;
template bool NumberSource::read(int64_t, int64_t, int64_t*) const;

}  // namespace panvae::data::hdf5
