// The name of a matrix: a file, and for h5ad which of its matrices.
#pragma once
#include <string>

namespace panvae::data {

// "FILE.h5ad:layers/counts" cut into the file and the matrix within ("X" where none is named).
struct MatrixPath {
  enum class Format { h5ad, text, mtx } format;
  std::string file, inner;
};
// ErrorCode::input for an ending that is none of ours, naming those that are.
MatrixPath parse_matrix_path(const std::string& path);

}  // namespace panvae::data
