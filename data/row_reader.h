// A matrix read in ranges of samples, for files larger than memory.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace panvae::data {

// Works for dense and CSR matrices of .h5ad and for text tables with samples in rows. ErrorCode::input for others (CSC,
// .mtx, features in rows), which have to be converted first, and for every value that read_dataset() refuses.
class RowReader {
 public:
  explicit RowReader(const std::string& path);
  ~RowReader();
  RowReader(const RowReader&) = delete;
  RowReader& operator=(const RowReader&) = delete;

  const std::vector<std::string>& features() const;
  // The sample table where the file has one (h5ad); text files deliver the names with the rows.
  const Table& obs() const;

  // The next at most `rows` samples: their values into `x` [n, features], their names into `names`; n = 0 at the end.
  template <class T>
  int64_t next(int64_t rows, RowMatrix<T>& x, std::vector<std::string>& names);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace panvae::data
