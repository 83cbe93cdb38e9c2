// A sparse matrix written row by row into an h5ad file: what is too large for memory as a whole.
#pragma once
#include <string>
#include <vector>

#include "data/hdf5_file.h"

namespace panvae::data {

class CsrWriter {
 public:
  // `inner`: "X" or "layers/NAME". The group is made at once; the matrix is readable after finish().
  CsrWriter(hdf5::Writer& writer, std::string inner, int64_t columns);
  // The next row: columns ascending, values not zero. [n]
  void row(const std::vector<int32_t>& columns, const std::vector<float>& values);
  void finish();

 private:
  void flush(bool all);

  hdf5::Writer& writer_;
  std::string inner_;
  int64_t columns_;
  std::vector<int64_t> indptr_ = {0};
  std::vector<int32_t> indices_;
  std::vector<float> data_;
};

}  // namespace panvae::data
