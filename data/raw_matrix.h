// What the readers of each format return before names and values are checked (internal to this room).
#pragma once
#include <string>

#include "data/dataset.h"

namespace panvae::data {

// A dataset as it lies in the file: names may repeat, values may be NaN.
template <class T>
using RawMatrix = Dataset<T>;

// Text with one row of names, then a name and numbers per row. `rows_are_features`: transposed while reading.
template <class T>
RawMatrix<T> read_text_matrix(const std::string& path, bool rows_are_features);
// Matrix Market coordinates with barcodes and features beside the file, as 10x writes them.
template <class T>
RawMatrix<T> read_mtx(const std::string& path);
// `inner` names the matrix: "X", "layers/NAME", "obsm/NAME", "raw/X".
template <class T>
RawMatrix<T> read_h5ad(const std::string& path, const std::string& inner);

Table read_h5ad_obs(const std::string& path);

// "FILE.h5ad:layers/counts" cut into the file and the matrix within ("X" where none is named).
struct MatrixPath {
  enum class Format { h5ad, text, mtx } format;
  std::string file, inner;
};
// ErrorCode::input for an ending that is none of ours, naming those that are.
MatrixPath parse_matrix_path(const std::string& path);

}  // namespace panvae::data
