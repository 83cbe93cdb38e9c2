// Compressed chunks of HDF5 datasets on all threads. The library inflates and deflates one chunk after the other, and converts
// element by element; the time of reading counts is spent there. Stored bytes are those that the library's own filters make.
#pragma once
#include <hdf5.h>

#include <cstdint>
#include <vector>

namespace panvae::data::hdf5 {

// The whole of a dataset whose chunks are `chunk_rows` whole rows, with the filters shuffle and deflate of this level. `values` are as
// stored: rows * row elements of `item` bytes. False if the library could not write, or zlib had no memory.
bool write_chunks(hid_t dataset, int64_t rows, int64_t row, int64_t chunk_rows, size_t item, int level, const void* values);

// Numbers of one or two dimensions in chunks that are compressed by deflate, shuffled before or not, and stored as this machine has
// them. Anything else is not for it.
class ChunkReader {
 public:
  ChunkReader(hid_t dataset, const std::vector<int64_t>& shape);
  bool usable() const { return type_ != Type::other; }
  // Rows [begin, begin + count) into out, converted. False where the library has to be asked: few chunks, chunks that were never
  // written or whose filters were left out, conversions that need care, damage.
  template <class T>
  bool read(int64_t begin, int64_t count, T* out) const;

 private:
  enum class Type { i8, u8, i16, u16, i32, u32, i64, u64, f16, f32, f64, other };
  template <class T>
  void convert(const std::vector<char>& bytes, int64_t chunk_row, int64_t chunk_column, int64_t begin, int64_t count, T* out) const;
  template <class T>
  bool converts() const;

  hid_t dataset_;
  Type type_ = Type::other;
  size_t item_ = 0;
  bool shuffled_ = false;
  int64_t rows_ = 0, columns_ = 1, chunk_rows_ = 0, chunk_columns_ = 1;
  size_t dimensions_ = 0;
};

}  // namespace panvae::data::hdf5
