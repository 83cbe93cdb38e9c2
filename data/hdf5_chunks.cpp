#include "data/hdf5_chunks.h"

#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/interrupt.h"
#include "base/threads.h"
#include "data/hdf5_file.h"

namespace panvae::data::hdf5 {

namespace {

// The first bytes of all elements, then their second bytes, and so on.
void shuffle(const char* from, char* to, size_t elements, size_t item) {
  for (size_t byte = 0; byte < item; ++byte)
    for (size_t i = 0; i < elements; ++i) to[byte * elements + i] = from[i * item + byte];
}
void unshuffle(const char* from, char* to, size_t elements, size_t item) {
  for (size_t byte = 0; byte < item; ++byte)
    for (size_t i = 0; i < elements; ++i) to[i * item + byte] = from[byte * elements + i];
}

// Chunks that are held at a time.
int64_t at_once(size_t chunk_bytes) {
  const auto by_memory = static_cast<int64_t>((size_t{64} << 20) / std::max<size_t>(1, chunk_bytes));
  return std::clamp<int64_t>(by_memory, 1, 4 * static_cast<int64_t>(threads()));
}

}  // namespace

bool write_chunks(hid_t dataset, int64_t rows, int64_t row, int64_t chunk_rows, size_t item, int level, const void* values) {
  const size_t elements = static_cast<size_t>(chunk_rows * row), bytes = elements * item;
  const int64_t chunks = (rows + chunk_rows - 1) / chunk_rows, group = at_once(bytes);
  std::vector<std::vector<char>> packed(static_cast<size_t>(group));
  for (int64_t first = 0; first < chunks; first += group) {
    throw_if_interrupted();
    const int64_t count = std::min(group, chunks - first);
    std::atomic<bool> deflated = true;
    parallel_chunks(count, 1, [&](int64_t begin, int64_t end) {
      std::vector<char> whole, shuffled(bytes);
      for (int64_t c = begin; c < end; ++c) {
        const int64_t from = (first + c) * chunk_rows, there = std::min(chunk_rows, rows - from);
        const char* source = static_cast<const char*>(values) + static_cast<size_t>(from * row) * item;
        if (there < chunk_rows) {  // chunks at the edge are whole in the file
          whole.assign(bytes, 0);
          std::memcpy(whole.data(), source, static_cast<size_t>(there * row) * item);
          source = whole.data();
        }
        shuffle(source, shuffled.data(), elements, item);
        uLongf size = compressBound(static_cast<uLong>(bytes));
        std::vector<char>& out = packed[static_cast<size_t>(c)];
        out.resize(size);
        if (compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(shuffled.data()), static_cast<uLong>(bytes), level) != Z_OK)
          deflated = false;
        out.resize(size);
      }
    });
    if (!deflated) return false;
    for (int64_t c = 0; c < count; ++c) {
      const hsize_t offset[2] = {static_cast<hsize_t>((first + c) * chunk_rows), 0};
      const std::vector<char>& out = packed[static_cast<size_t>(c)];
      if (H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, offset, out.size(), out.data()) < 0) return false;
    }
  }
  return true;
}

ChunkReader::ChunkReader(hid_t dataset, const std::vector<int64_t>& shape) : dataset_(dataset), dimensions_(shape.size()) {
  if (shape.empty() || shape.size() > 2) return;
  const Handle plist(H5Dget_create_plist(dataset), H5Pclose), type(H5Dget_type(dataset), H5Tclose);
  if (H5Pget_layout(plist.get()) != H5D_CHUNKED) return;
  hsize_t chunk[2] = {0, 1};
  if (H5Pget_chunk(plist.get(), static_cast<int>(shape.size()), chunk) != static_cast<int>(shape.size()) || chunk[0] == 0 || chunk[1] == 0) return;
  std::vector<H5Z_filter_t> filters;
  for (int i = 0, n = H5Pget_nfilters(plist.get()); i < n; ++i) {
    unsigned flags = 0, config = 0;
    size_t values = 0;
    filters.push_back(H5Pget_filter2(plist.get(), static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, &config));
  }
  shuffled_ = filters == std::vector<H5Z_filter_t>{H5Z_FILTER_SHUFFLE, H5Z_FILTER_DEFLATE};
  if (!shuffled_ && filters != std::vector<H5Z_filter_t>{H5Z_FILTER_DEFLATE}) return;
  rows_ = shape[0];
  columns_ = shape.size() == 2 ? shape[1] : 1;
  chunk_rows_ = static_cast<int64_t>(chunk[0]);
  chunk_columns_ = static_cast<int64_t>(chunk[1]);
  item_ = H5Tget_size(type.get());
  const std::pair<hid_t, Type> known[] = {{H5T_NATIVE_INT8, Type::i8},    {H5T_NATIVE_UINT8, Type::u8},   {H5T_NATIVE_INT16, Type::i16},
                                          {H5T_NATIVE_UINT16, Type::u16}, {H5T_NATIVE_INT32, Type::i32},  {H5T_NATIVE_UINT32, Type::u32},
                                          {H5T_NATIVE_INT64, Type::i64},  {H5T_NATIVE_UINT64, Type::u64}, {native<f16>(), Type::f16},
                                          {H5T_NATIVE_FLOAT, Type::f32},  {H5T_NATIVE_DOUBLE, Type::f64}};
  for (const auto& [id, name] : known)
    if (H5Tequal(type.get(), id) > 0) type_ = name;
}

// Fractions and numbers beyond the range of an integer: the library knows what becomes of them.
template <class T>
bool ChunkReader::converts() const {
  if (!usable()) return false;
  return !std::is_integral_v<T> || (type_ != Type::u64 && type_ != Type::f16 && type_ != Type::f32 && type_ != Type::f64);
}

template <class T>
void ChunkReader::convert(const std::vector<char>& bytes, int64_t chunk_row, int64_t chunk_column, int64_t begin, int64_t count, T* out) const {
  const int64_t r0 = std::max(begin, chunk_row), r1 = std::min({begin + count, chunk_row + chunk_rows_, rows_});
  const int64_t c0 = chunk_column, c1 = std::min(chunk_column + chunk_columns_, columns_);
  const auto each = [&]<class S>(S) {
    const S* values = reinterpret_cast<const S*>(bytes.data());
    for (int64_t r = r0; r < r1; ++r) {
      const S* from = values + (r - chunk_row) * chunk_columns_;
      T* to = out + (r - begin) * columns_ + c0;
      for (int64_t c = 0; c < c1 - c0; ++c) {
        if constexpr (std::is_same_v<S, f16>) to[c] = static_cast<T>(to_float(from[c]));
        else to[c] = static_cast<T>(from[c]);
      }
    }
  };
  switch (type_) {
    case Type::i8:
      return each(int8_t{});
    case Type::u8:
      return each(uint8_t{});
    case Type::i16:
      return each(int16_t{});
    case Type::u16:
      return each(uint16_t{});
    case Type::i32:
      return each(int32_t{});
    case Type::u32:
      return each(uint32_t{});
    case Type::i64:
      return each(int64_t{});
    case Type::u64:
      return each(uint64_t{});
    case Type::f16:
      return each(f16{});
    case Type::f32:
      return each(float{});
    case Type::f64:
      return each(double{});
    case Type::other:
      return;
  }
}

template <class T>
bool ChunkReader::read(int64_t begin, int64_t count, T* out) const {
  if (!converts<T>() || count <= 0 || columns_ <= 0 || begin < 0 || begin + count > rows_) return false;
  const int64_t first_row = begin / chunk_rows_, last_row = (begin + count - 1) / chunk_rows_, across = (columns_ + chunk_columns_ - 1) / chunk_columns_;
  const int64_t chunks = (last_row - first_row + 1) * across;
  if (chunks < 2) return false;
  const size_t elements = static_cast<size_t>(chunk_rows_ * chunk_columns_), bytes = elements * item_;
  const int64_t group = at_once(bytes);
  std::vector<std::vector<char>> packed(static_cast<size_t>(group));
  const auto place = [&](int64_t i) { return std::pair{(first_row + i / across) * chunk_rows_, i % across * chunk_columns_}; };
  for (int64_t first = 0; first < chunks; first += group) {
    throw_if_interrupted();
    const int64_t some = std::min(group, chunks - first);
    for (int64_t i = 0; i < some; ++i) {
      const auto [row, column] = place(first + i);
      const hsize_t offset[2] = {static_cast<hsize_t>(row), static_cast<hsize_t>(column)};
      hsize_t size = 0;
      if (H5Dget_chunk_storage_size(dataset_, offset, &size) < 0 || size == 0) return false;
      // A damaged size would be memory that is asked for. zlib makes no chunk larger than its bound, and of a byte at most 1032.
      if (size > compressBound(static_cast<uLong>(bytes)) || bytes / 1032 > size) return false;
      packed[static_cast<size_t>(i)].resize(size);
      uint32_t left_out = 0;
      if (H5Dread_chunk(dataset_, H5P_DEFAULT, offset, &left_out, packed[static_cast<size_t>(i)].data()) < 0 || left_out != 0) return false;
    }
    std::atomic<bool> whole = true;
    parallel_chunks(some, 1, [&](int64_t from, int64_t to) {
      std::vector<char> inflated(bytes), ordered(shuffled_ ? bytes : 0);
      for (int64_t i = from; i < to; ++i) {
        const std::vector<char>& in = packed[static_cast<size_t>(i)];
        uLongf size = static_cast<uLongf>(bytes);
        if (uncompress(reinterpret_cast<Bytef*>(inflated.data()), &size, reinterpret_cast<const Bytef*>(in.data()), static_cast<uLong>(in.size())) != Z_OK ||
            size != bytes) {
          whole = false;
          continue;
        }
        if (shuffled_) unshuffle(inflated.data(), ordered.data(), elements, item_);
        const auto [row, column] = place(first + i);
        convert(shuffled_ ? ordered : inflated, row, column, begin, count, out);
      }
    });
    if (!whole) return false;
  }
  return true;
}
template bool ChunkReader::read(int64_t, int64_t, float*) const;
template bool ChunkReader::read(int64_t, int64_t, double*) const;
template bool ChunkReader::read(int64_t, int64_t, int64_t*) const;

}  // namespace panvae::data::hdf5
