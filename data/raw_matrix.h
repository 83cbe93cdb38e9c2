// What the readers of each format return before names and values are checked (internal to this room).
#pragma once
#include <string>

#include "data/dataset.h"
#include "data/h5ad.h"
#include "data/large_dataset.h"
#include "data/matrix_path.h"
#include "data/read.h"

namespace panvae::data {

// A dataset as it lies in the file: names may repeat, values may be NaN.
template <class T>
using RawMatrix = Dataset<T>;

// Text with one row of names, then a name and numbers per row; transposed while reading where the rows are features.
template <class T>
RawMatrix<T> read_text_matrix(const std::string& path, Rows rows);
// Matrix Market coordinates with barcodes and features beside the file, as 10x writes them.
template <class T>
RawMatrix<T> read_mtx(const std::string& path);
// `inner` names the matrix: "X", "layers/NAME", "obsm/NAME", "raw/X". `finite`: true where reading has shown that all values are
// finite; false says nothing.
template <class T>
RawMatrix<T> read_h5ad(const std::string& path, const std::string& inner, bool& finite);

// The same onto disk, in a temporary file in `folder`.
LargeDataset<float> read_text_matrix_large(const std::string& path, Rows rows, const std::string& folder);
LargeDataset<float> read_mtx_large(const std::string& path, const std::string& folder);
LargeDataset<float> read_h5ad_large(const std::string& path, const std::string& inner, const std::string& folder, bool& finite);
// Cells of a text matrix (the file is read to its end) and of an .mtx (its head is read).
double text_cells(const std::string& path);
double mtx_cells(const std::string& path);

Table read_h5ad_obs(const std::string& path);
// The tables, the frozen fit, kind and path that belong to a matrix of the file: `out` without its values.
template <class T, class Matrix>
void read_h5ad_tables(const hdf5::File& file, const std::string& inner, const H5adMatrix& matrix, Dataset<T, Matrix>& out);

// ErrorCode::machine where a matrix of this size does not fit into the memory that is free: a damaged or sparse file may announce any, which
// must not end in the kernel's out-of-memory killer.
void expect_room_for(int64_t rows, int64_t columns, size_t item, const std::string& where);

// ErrorCode::usage where `rows` says of a file of another format than text that its rows are features.
void expect_rows_to_say(const MatrixPath& at, const std::string& path, Rows rows);
// ErrorCode::input where the samples of a file of another format than text are named like features: written from a table of genes x
// samples as it was.
void expect_samples_in_rows(const Table& obs, const Table& var, const Frozen& frozen, const std::string& path, Rows rows);
// The features without what htseq-count and STAR count beside the genes, which would swell every library; none where all stay, as those
// of a fit do. Says what is left out.
std::vector<int64_t> features_without_tallies(const Table& var, const Frozen& frozen, const std::string& path);

// What read_dataset() does to the tables: names checked, --obs and --var joined, columns renamed by the keys, --where
// applied. Returns the rows of the file that are left, which `obs` then holds.
std::vector<int64_t> prepare_tables(Table& obs, Table& var, const std::string& path, const ReadOptions& options);

}  // namespace panvae::data
