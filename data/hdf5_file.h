// HDF5 behind a few calls: handles that close themselves, strings and numbers read with their types checked. The only
// file of this room, with its sources, hdf5_chunks and hdf5_direct, that calls the C library's read and write functions. Not thread-safe (the
// library is not): one thread reads or writes.
#pragma once
#include <hdf5.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/float_types.h"
#include "data/damage.h"
#include "data/hdf5_chunks.h"
#include "data/hdf5_direct.h"

namespace panvae::data::hdf5 {

// The library's type for a number of ours.
template <class T>
hid_t native();
template <>
inline hid_t native<float>() {
  return H5T_NATIVE_FLOAT;
}
template <>
inline hid_t native<double>() {
  return H5T_NATIVE_DOUBLE;
}
template <>
inline hid_t native<int8_t>() {
  return H5T_NATIVE_INT8;
}
template <>
inline hid_t native<int32_t>() {
  return H5T_NATIVE_INT32;
}
template <>
inline hid_t native<int64_t>() {
  return H5T_NATIVE_INT64;
}

template <>
hid_t native<f16>();

// An identifier of the library, closed by its kind's function.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& o) noexcept : id_(std::exchange(o.id_, -1)), close_(o.close_) {}
  Handle& operator=(Handle&& o) noexcept {
    std::swap(id_, o.id_);
    std::swap(close_, o.close_);
    return *this;
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }
  hid_t release() { return std::exchange(id_, -1); }
  explicit operator bool() const { return id_ >= 0; }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

// Before the first call of the library in a process; File and Writer see to it.
void prepare_library();

// A file opened for reading. Paths are relative to its root ("obs/cohort"). Reading functions throw ErrorCode::input
// naming file and path.
class File {
 public:
  explicit File(const std::string& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const std::string& path() const { return path_; }
  // Faults are no longer taken for this file's (data/damage.h): for one that stays open between reads, each of which says so itself.
  void rest();
  std::string where(const std::string& inner) const;
  [[noreturn]] void fail(const std::string& inner, const std::string& what, const std::string& hint = {}) const;

  bool exists(const std::string& inner) const;
  bool is_group(const std::string& inner) const;
  bool is_dataset(const std::string& inner) const;
  // Names, sorted, and texts (below) that are not UTF-8 are refused: what is written from them could not be read elsewhere.
  std::vector<std::string> children(const std::string& group) const;

  bool has_attribute(const std::string& inner, const std::string& name) const;
  // Text attribute, `fallback` if absent or no text.
  std::string attribute(const std::string& inner, const std::string& name, const std::string& fallback = {}) const;
  std::vector<std::string> attribute_list(const std::string& inner, const std::string& name) const;
  std::vector<int64_t> attribute_integers(const std::string& inner, const std::string& name) const;
  bool attribute_boolean(const std::string& inner, const std::string& name) const;  // false if it is absent or none
  // The path of the object an attribute refers to (old categoricals), "" if it is no reference.
  std::string attribute_reference(const std::string& inner, const std::string& name) const;

  std::vector<int64_t> shape(const std::string& dataset) const;
  bool is_text(const std::string& dataset) const;
  bool is_number(const std::string& dataset) const;        // integer, float or boolean enum
  bool is_boolean(const std::string& dataset) const;       // an enumeration of one byte, as h5py writes booleans
  bool holds_fractions(const std::string& dataset) const;  // floats, whatever their values
  // Whole datasets. A scalar counts as one element. integers() refuses fractions.
  std::vector<std::string> texts(const std::string& dataset) const;
  std::vector<double> doubles(const std::string& dataset) const;
  std::vector<int64_t> integers(const std::string& dataset) const;

 private:
  void expect_utf8(const std::string& inner, const std::vector<std::string>& texts) const;
  Handle open(const std::string& dataset) const;
  std::string path_;
  std::optional<detail::FileBeingRead> being_read_;  // closing it included
  Handle file_;
  friend class NumberSource;
};

// A numeric dataset of one or two dimensions, read piece by piece.
class NumberSource {
 public:
  NumberSource(const File& file, const std::string& dataset);
  const std::vector<int64_t>& shape() const { return shape_; }
  // Whether float holds whatever a number of the file may be: it is stored as float, or in 16 bits.
  bool holds_floats() const { return half_ || single_; }
  // Before memory for `elements` of `item` bytes is asked for: ErrorCode::input if the file is too small to hold them.
  void expect_room(int64_t elements, size_t item) const;
  // Rows [begin, begin + count) of a 2-D dataset, or elements of a 1-D one, converted to T (float, double, int64_t). True where
  // reading has shown that all of them are finite; false says nothing.
  template <class T>
  bool read(int64_t begin, int64_t count, T* out) const;

 private:
  const File& file_;
  std::string name_;
  Handle dataset_;
  std::optional<ChunkReader> chunks_;
  std::optional<StoredBytes> stored_;  // of numbers stored as float or double
  std::vector<int64_t> shape_;
  bool boolean_ = false, half_ = false, single_ = false;
};

// A new file. Writing functions throw ErrorCode::machine naming the file.
class Writer {
 public:
  // `temporary`: where it is written; `final_path`: named in messages.
  Writer(const std::string& temporary, std::string final_path);
  void group(const std::string& path);
  void attribute(const std::string& path, const std::string& name, const std::string& value);
  void attribute(const std::string& path, const std::string& name, const std::vector<std::string>& values);
  void attribute(const std::string& path, const std::string& name, const std::vector<int64_t>& values);
  void attribute(const std::string& path, const std::string& name, bool value);
  void text(const std::string& path, const std::string& value);  // scalar
  void texts(const std::string& path, const std::vector<std::string>& values);
  // T: float, double, int8_t, int32_t, int64_t. `compressed`: gzip with shuffle, in chunks of rows.
  template <class T>
  void numbers(const std::string& path, const std::vector<int64_t>& shape, const T* values, bool compressed = false);
  void booleans(const std::string& path, const std::vector<int8_t>& values);  // as h5py writes them
  // Part of a dataset made by create(): rows [begin, begin + count). T: float, double, f16.
  template <class T>
  void create(const std::string& path, const std::vector<int64_t>& shape);
  template <class T>
  void rows(const std::string& path, int64_t begin, int64_t count, const T* values);
  // The same for columns [begin, begin + count) of all rows of a 2-D dataset of doubles.
  void columns(const std::string& path, int64_t begin, int64_t count, const double* values);
  // One dimension that grows by append(), compressed in chunks of growing_chunk elements. T: float, int32_t.
  static constexpr size_t growing_chunk = size_t{1} << 17;
  template <class T>
  void create_growing(const std::string& path);
  template <class T>
  void append(const std::string& path, int64_t count, const T* values);
  void close();

 private:
  void check(long long result) const;
  // What is in the file begins to go to the disk, and nobody waits: the sync at the end then finds little left to do.
  void begin_to_store() const;
  // Part of a dataset: [begin, begin + count) of one axis, all of the others.
  void part(const std::string& path, size_t axis, int64_t begin, int64_t count, hid_t type, const void* values);
  std::string path_;
  Handle file_;
};

}  // namespace panvae::data::hdf5
