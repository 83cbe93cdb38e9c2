// AnnData on disk (https://anndata.readthedocs.io, "On-disk format", versions 0.7 to 0.12), the parts panvae uses.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "data/hdf5_file.h"
#include "data/large_dataset.h"

namespace panvae::data {

// obs or var: the group `path`. Columns of encodings that are no table column (2-D, nested) are left out with a note
// in the log. A column "a/b" is b within a group a, as AnnData writes it.
Table read_frame(const hdf5::File& file, const std::string& path);
// Columns whose names HDF5 or AnnData keep for themselves ("a/b", ".", "_index") are written by others, which the log says.
void write_frame(hdf5::Writer& writer, const std::string& path, const Table& table);

// uns/panvae: what panvae fitted, and the kind of the matrix.
Frozen read_frozen(const hdf5::File& file, std::string& kind);
void write_frozen(hdf5::Writer& writer, const Frozen& frozen, const std::string& kind);

// A whole file, or none: the tables, what panvae fitted, whatever `matrix` writes as X with its attributes, and what `more`
// adds at the end.
void write_h5ad(const std::string& path, const Table& obs, const Table& var, const Frozen& frozen, const std::string& kind,
                const std::function<void(hdf5::Writer&)>& matrix, const std::function<void(hdf5::Writer&)>& more = {});

// A matrix of the file, dense, CSR or CSC, as rows of numbers.
class H5adMatrix {
 public:
  // `inner`: "X", "layers/NAME", "obsm/NAME", "raw/X". ErrorCode::input naming the matrices that exist.
  H5adMatrix(const hdf5::File& file, const std::string& inner);
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  bool by_rows() const { return layout_ != Layout::csc; }
  // Dense, and of numbers that float holds: reading them as such loses nothing.
  bool holds_floats() const { return holds_floats_; }
  // Rows [begin, begin + count) into `out` [count, columns]. Not for CSC (whole() alone reads it). True where reading has shown
  // that all values are finite; false says nothing.
  template <class T>
  bool read_rows(int64_t begin, int64_t count, T* out) const;
  template <class T>
  bool whole(RowMatrix<T>& out) const;
  bool whole(LargeMatrix<float>& out) const;  // of its shape and zero

 private:
  enum class Layout { dense, csr, csc };
  // entry(major, minor, value) for the major lines [begin, end).
  template <class T, class F>
  void for_entries(int64_t begin, int64_t end, F&& entry) const;

  const hdf5::File& file_;
  std::string inner_;
  Layout layout_ = Layout::dense;
  bool holds_floats_ = false;
  int64_t rows_ = 0, columns_ = 0;
  std::vector<int64_t> indptr_;
};

}  // namespace panvae::data
