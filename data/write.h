// Writing matrices: h5ad as AnnData 0.8 and later read it, or text.
#pragma once
#include <functional>
#include <string>

#include "data/large_dataset.h"

namespace panvae::data {

// How numbers of an h5ad are stored: as the matrix has them, or in half the bytes of a float (11 significant bits).
enum class Storage { same, float16 };

// A matrix of uns/panvae that is too large for memory: `fill` gives it in strips of columns, add(first, part), part [rows, n].
struct LargeArray {
  std::string name;
  int64_t rows = 0, columns = 0;
  std::function<void(const std::function<void(int64_t first, const RowMatrix<double>& part)>& add)> fill;
};

// By the ending of `path`: .h5ad, or .tsv/.csv (.gz too; the tables go beside a text matrix only if asked: it holds the
// matrix alone). X is stored as T unless `storage` says otherwise; text has the shortest digits that read back the same T.
// Whole or not at all. ErrorCode::input for a number too large for float16. `more` is for h5ad, beside what is frozen.
template <class T, class Matrix>
void write_dataset(const std::string& path, const Dataset<T, Matrix>& data, Storage storage = Storage::same, const LargeArray* more = nullptr);
extern template void write_dataset(const std::string&, const Dataset<float>&, Storage, const LargeArray*);
extern template void write_dataset(const std::string&, const Dataset<double>&, Storage, const LargeArray*);
extern template void write_dataset(const std::string&, const LargeDataset<float>&, Storage, const LargeArray*);

// Called before the work, not after it: ErrorCode::usage if `path` has an ending we do not write, ErrorCode::machine if nothing can be
// written there.
void check_output(const std::string& path, Storage storage = Storage::same);

}  // namespace panvae::data
