// Writing matrices: h5ad as AnnData 0.8 and later read it, or text.
#pragma once
#include <string>

#include "data/dataset.h"

namespace panvae::data {

// By the ending of `path`: .h5ad, or .tsv/.csv (.gz too; the tables go beside a text matrix only if asked: it holds the
// matrix alone). X is stored as T; text has the shortest digits that read back the same T. Whole or not at all.
template <class T>
void write_dataset(const std::string& path, const Dataset<T>& data);
extern template void write_dataset(const std::string&, const Dataset<float>&);
extern template void write_dataset(const std::string&, const Dataset<double>&);

// ErrorCode::usage if `path` has an ending we do not write: called before the work, not after it.
void check_writable_name(const std::string& path);

}  // namespace panvae::data
