#include "data/hdf5_direct.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/threads.h"
#include "data/finite.h"
#include "data/hdf5_file.h"

namespace panvae::data::hdf5 {

std::optional<StoredBytes> StoredBytes::of(hid_t dataset, int64_t elements, size_t item) {
  if constexpr (std::endian::native != std::endian::little) return {};
  const Handle plist(H5Dget_create_plist(dataset), H5Pclose), file(H5Iget_file_id(dataset), H5Fclose);
  if (!plist || !file || H5Pget_layout(plist.get()) != H5D_CONTIGUOUS || H5Pget_external_count(plist.get()) != 0) return {};
  const Handle access(H5Fget_access_plist(file.get()), H5Pclose), creation(H5Fget_create_plist(file.get()), H5Pclose);
  hsize_t before = 1;
  size_t address = 0, length = 0;
  if (H5Pget_driver(access.get()) != H5FD_SEC2 || H5Pget_userblock(creation.get(), &before) < 0 || before != 0 ||
      H5Pget_sizes(creation.get(), &address, &length) < 0 || address != 8 || length != 8)
    return {};
  void* handle = nullptr;
  if (H5Fget_vfd_handle(file.get(), access.get(), &handle) < 0 || !handle) return {};
  const haddr_t offset = H5Dget_offset(dataset);  // undefined where nothing was ever written
  if (offset == HADDR_UNDEF) return {};
  StoredBytes stored;
  stored.file_ = *static_cast<const int*>(handle);
  struct stat info {};
  if (::fstat(stored.file_, &info) != 0) return {};
  stored.file_size_ = static_cast<int64_t>(info.st_size);
  const auto end = static_cast<uint64_t>(info.st_size);
  const uint64_t size = H5Dget_storage_size(dataset);
  if (elements < 0 || offset > end || size > end - offset || size % item != 0 || size / item != static_cast<uint64_t>(elements)) return {};
  stored.offset_ = static_cast<int64_t>(offset);
  stored.elements_ = elements;
  stored.item_ = item;
  return stored;
}

bool StoredBytes::read_file(int64_t offset, int64_t size, void* out) const {
  if (offset < 0 || size < 0 || offset > file_size_ || size > file_size_ - offset) return false;
  for (char* to = static_cast<char*>(out); size > 0;) {
    const ssize_t n = ::pread(file_, to, static_cast<size_t>(size), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to += n;
    offset += n;
    size -= n;
  }
  return true;
}

bool StoredBytes::read(int64_t begin, int64_t count, void* out) const {
  const auto item = static_cast<int64_t>(item_);
  return begin >= 0 && count >= 0 && begin <= elements_ && count <= elements_ - begin && read_file(offset_ + begin * item, count * item, out);
}

template <class T>
bool read_stored(const StoredBytes& stored, int64_t begin, int64_t count, T* out, bool& finite) {
  PV_ASSERT(stored.item() == sizeof(T));
  constexpr int64_t chunk = (int64_t{1} << 18) / static_cast<int64_t>(sizeof(T));  // stays in the cache of a core
  std::atomic<bool> whole = true, finite_here = true;
  parallel_chunks(count, chunk, [&](int64_t from, int64_t to) {
    if (!stored.read(begin + from, to - from, out + from)) {
      whole = false;
      return;
    }
    if (!all_finite(out + from, to - from)) finite_here = false;
  });
  finite = whole && finite_here;
  return whole;
}
template bool read_stored(const StoredBytes&, int64_t, int64_t, float*, bool&);
template bool read_stored(const StoredBytes&, int64_t, int64_t, double*, bool&);

namespace {

template <class T>
T number_at(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// A collection of the global heap: the place of each object within its bytes.
class Heap {
 public:
  bool load(const StoredBytes& file, int64_t address, int64_t& allowed) {
    constexpr int64_t head = 16;
    char start[head];
    if (!file.read_file(address, head, start) || std::memcmp(start, "GCOL\1", 5) != 0) return false;
    const auto size = number_at<uint64_t>(start + 8);
    // Heaps that lie one over the other are damage: together they are at most as long as the file.
    if (size < static_cast<uint64_t>(head) || size > static_cast<uint64_t>(allowed)) return false;
    allowed -= static_cast<int64_t>(size);
    bytes_.resize(size);
    if (!file.read_file(address, static_cast<int64_t>(size), bytes_.data())) return false;
    // An object: number (0: what follows is free), references, 4 bytes unused, length, and the bytes up to a multiple of 8.
    for (uint64_t at = head; at + head <= size;) {
      const auto number = number_at<uint16_t>(bytes_.data() + at);
      const auto length = number_at<uint64_t>(bytes_.data() + at + 8);
      if (number == 0) break;
      if (length > size - at - head) return false;
      if (place_.size() <= number) place_.resize(size_t{number} + 1, 0);
      place_[number] = at;
      at += head + (length + 7) / 8 * 8;
    }
    return true;
  }
  // The object of this number, which must have this length.
  bool text(uint32_t number, uint32_t length, std::string_view& out) const {
    if (number >= place_.size() || place_[number] == 0) return false;
    const char* object = bytes_.data() + place_[number];
    if (number_at<uint64_t>(object + 8) != length) return false;
    out = std::string_view(object + 16, length);
    return true;
  }

 private:
  std::vector<char> bytes_;
  std::vector<uint64_t> place_;
};

}  // namespace

bool read_stored_texts(const StoredBytes& references, std::vector<std::string>& out) {
  // A reference: length (4 bytes), address of the heap (8), number of the object in it (4).
  PV_ASSERT(references.item() == text_reference);
  const int64_t count = references.elements();
  std::vector<char> all(static_cast<size_t>(count) * text_reference);
  if (!references.read(0, count, all.data())) return false;
  out.clear();
  std::unordered_map<int64_t, Heap> heaps;
  const Heap* heap = nullptr;
  int64_t last = 0, allowed = references.file_size();
  out.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const char* reference = all.data() + static_cast<size_t>(i) * text_reference;
    const auto address = number_at<int64_t>(reference + 4);
    std::string_view text;
    if (address != 0) {  // 0: no string, taken as an empty one
      if (!heap || address != last) {
        const auto [at, is_new] = heaps.try_emplace(address);
        if (is_new && !at->second.load(references, address, allowed)) return false;
        heap = &at->second;
        last = address;
      }
      if (!heap->text(number_at<uint32_t>(reference + 12), number_at<uint32_t>(reference), text)) return false;
    }
    out.emplace_back(text.substr(0, text.find('\0')));
  }
  return true;
}

}  // namespace panvae::data::hdf5
