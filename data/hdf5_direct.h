// What lies in an HDF5 file as this machine has it, read without the library: numbers of contiguous datasets on all threads, and
// names of variable length a heap at a time, where the library takes a few hundred nanoseconds for each. Whatever is stored
// otherwise, cut off or damaged is left to the library, whose answer counts. Format: "HDF5 File Format Specification", III.E
// (global heap) and IV.A.2.d (references of variable-length data).
#pragma once
#include <hdf5.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace panvae::data::hdf5 {

// Where the elements of a contiguous dataset lie in an open file that nobody writes.
class StoredBytes {
 public:
  // Nothing where the library has to be asked. `item`: bytes of an element in the file.
  static std::optional<StoredBytes> of(hid_t dataset, int64_t elements, size_t item);
  int64_t elements() const { return elements_; }
  size_t item() const { return item_; }
  // Elements [begin, begin + count) as stored, or bytes anywhere in the file. False if the file ends before, or cannot be read.
  bool read(int64_t begin, int64_t count, void* out) const;
  bool read_file(int64_t offset, int64_t size, void* out) const;
  int64_t file_size() const { return file_size_; }

 private:
  int file_ = -1;
  size_t item_ = 1;
  int64_t offset_ = 0, elements_ = 0, file_size_ = 0;
};

// Elements [begin, begin + count) of a dataset of T on all threads. False as above. `finite`: whether none of them is NaN or
// infinite, looked at while they are in the cache.
template <class T>
bool read_stored(const StoredBytes& stored, int64_t begin, int64_t count, T* out, bool& finite);

// All strings of a dataset of variable-length strings, each up to its first NUL. False as above.
bool read_stored_texts(const StoredBytes& references, std::vector<std::string>& out);
constexpr size_t text_reference = 16;  // bytes of an element of such a dataset

}  // namespace panvae::data::hdf5
