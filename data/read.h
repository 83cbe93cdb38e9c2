// Reading matrices and tables, whatever their format: one function for every command.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "data/large_dataset.h"

namespace panvae::data {

// What happens to NaN cells. `mean` fills them with the mean of the feature over the samples whose split is `train`
// (over all samples where there is no split); `keep` leaves them, for code that treats them itself (preprocessing).
enum class Missing { refuse, mean, keep };

// What the rows of a text matrix are (--rows). `unsaid` means samples, and a table whose rows are named like genes or peaks is refused.
enum class Rows { unsaid, samples, features };

struct ReadOptions {
  Rows rows = Rows::unsaid;                 // features: the text file is transposed
  std::string obs_table, var_table;         // --obs, --var: files whose columns are joined by name
  std::vector<std::string> where;           // --where COLUMN=VALUE[,VALUE...]
  Missing missing = Missing::refuse;        // --missing
  bool make_unique = false;                 // --make-unique: the second 'A' becomes 'A-1', the third 'A-2'
  std::map<std::string, std::string> keys;  // {"cohort", "tumour_type"}: --cohort-key and the like, see canonical_columns()
};

// Columns of obs that commands look for: donor, cohort, dataset, batch, age, sex, ethnicity, os_time, os_event, split,
// fold. Where ReadOptions::keys gives one another name, reading copies that column to the canonical name, so that no
// code after it deals with keys. ErrorCode::input if the named column does not exist.
const std::vector<std::string>& canonical_columns();

// .h5ad (FILE.h5ad:layers/NAME, :obsm/NAME, :raw/X name another matrix of it), .tsv/.csv/.txt/.gct(.gz), .mtx(.gz) or a 10x
// folder. Checks everything (CLI.md, "Refused with exit 3"): the matrix returned is finite (unless Missing::keep), its names are unique, it has a
// sample and a feature. What htseq-count and STAR write beside the genes (__no_feature, N_unmapped) is left out. T is float or double.
template <class T>
Dataset<T> read_dataset(const std::string& path, const ReadOptions& options = {});
extern template Dataset<float> read_dataset(const std::string&, const ReadOptions&);
extern template Dataset<double> read_dataset(const std::string&, const ReadOptions&);

// The same for a matrix that does not fit in memory: into a temporary file in `folder` (data/large_dataset.h). Missing values
// are kept or refused.
LargeDataset<float> read_large_dataset(const std::string& path, const ReadOptions& options, const std::string& folder);
// Bytes of the file's matrix as float. For a text table that could be above `limit` the whole file is read to know; where it
// cannot, an upper bound is given.
double matrix_bytes(const std::string& path, double limit);

// Only the tables of a file (h5ad, or a text table): rows, no matrix. For --split-from and joins.
Table read_obs(const std::string& path);
// A TSV or CSV (.gz too), first column the key. ErrorCode::input: empty, ragged, duplicate keys, duplicate columns.
Table read_table(const std::string& path);
// TSV or CSV by the name's ending; missing cells are empty.
void write_table(const std::string& path, const Table& table);

// Joins columns of `more` to `table` by key (see --obs). `what` is "sample" or "feature".
void join_table(Table& table, const Table& more, const std::string& what, const std::string& path);
// Rows of `obs` that satisfy every condition COLUMN=VALUE[,VALUE...]; ErrorCode::input if none does.
std::vector<int64_t> rows_where(const Table& obs, const std::vector<std::string>& conditions);
// Donor of each row: the column `donor`, the sample's own name where it is missing or absent.
std::vector<std::string> donors_of(const Table& obs);
// 0 to n - 1.
std::vector<int64_t> all_rows(int64_t n);
// Rows whose split is `train`; all rows where there is no split column.
std::vector<int64_t> training_rows(const Table& obs);
// Rows whose split is `side` (train, validation, holdout); ErrorCode::input for a value that is none of the three.
std::vector<int64_t> rows_of_split(const Table& obs, const std::string& side);

// counts (all non-negative integers), z (features with mean 0 and sd 1), log (smaller than 100, some negative or
// fractional), else "". NaN is ignored.
template <class T>
std::string detect_kind(const RowMatrix<T>& x);
template <class T>
std::string detect_kind(const LargeMatrix<T>& x);

// Replaces NaN by the mean of the feature over `rows`. ErrorCode::input for a feature with no value there.
template <class T>
void fill_missing_with_means(Dataset<T>& data, const std::vector<int64_t>& rows);

// Keeps these rows or columns of the matrix and its tables.
template <class T, class Matrix>
void select_samples(Dataset<T, Matrix>& data, const std::vector<int64_t>& rows);
template <class T, class Matrix>
void select_features(Dataset<T, Matrix>& data, const std::vector<int64_t>& columns);

}  // namespace panvae::data
