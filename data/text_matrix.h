// Rows of numbers in text, one at a time.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "data/read.h"
#include "data/text_reader.h"

namespace panvae::data {

// First row (after comments, LineReader): names of the columns, with or without a cell over the row names. Then per row a name and one number per
// column; missing cells (NA and the like) become NaN. ErrorCode::input: empty, ragged, a cell that is no number.
//
// Tables of features may begin with chrom, start, end (as BED, bedtools, featureCounts and the TCGA-ATAC counts of the GDC do,
// under their names for these), a name before or after them, and, here and after the names of genes, columns such as gene_name, gene_type,
// Description, Entrez_Gene_Id, Length or strand: these are no values, and the name of a row without one is chrom:start-end.
//
// Tables of Firehose (GDAC) have a second row that names what the columns hold, under the names of the samples, which may stand several
// times: of one kind alone all columns are read, else the counts of each sample (raw_count beside scaled_estimate and transcript_id).
class TextMatrixReader {
 public:
  explicit TextMatrixReader(const std::string& path);

  // Names of the columns; known after the constructor.
  const std::vector<std::string>& columns() const { return columns_; }
  const std::string& corner() const { return corner_; }
  // Names of the leading columns of a table of features, the name of the row left out: chrom, start, end, ..., symbol; else empty.
  const std::vector<std::string>& annotations() const { return annotations_; }
  // Their cells in the row that next() read last.
  const std::vector<std::string>& annotation_cells() const { return cells_; }
  // ErrorCode::input for a table whose rows are features and were not said to be: one of peaks (with annotations), and where nothing was
  // said, one whose corner or `names` of rows say so (data/row_names.h).
  void expect_rows_as_said(Rows rows, std::span<const std::string> names = {}) const;
  // What the second row says of the columns, and which are read, for the log; empty where there is no such row.
  const std::string& kinds() const { return kinds_; }
  // The rows before the first of numbers.
  int64_t head_rows() const { return kinds_.empty() ? 1 : 2; }
  // The next row into `values` [columns] of float or double, where numbers beyond the range of T are infinite; false at the end.
  template <class T>
  bool next(std::string& name, T* values);
  std::string where() const { return reader_.where(); }

 private:
  template <class T>
  void parse_row(std::string_view line, std::string& name, T* values);
  bool take_kinds(const std::vector<std::string>& cells);
  void find_annotations(const std::string& first_name);
  void check_columns() const;
  void check_numbers_as_names() const;
  [[noreturn]] void fail_cell(std::string_view cell, size_t column, const std::string& row) const;
  [[noreturn]] void fail_ragged(std::string_view line, size_t found) const;

  LineReader reader_;
  std::string head_at_;  // where the first row is
  std::vector<std::string> columns_;
  std::string corner_;
  std::vector<std::string> annotations_, cells_;
  std::vector<size_t> annotation_at_;  // fields of a row that hold them
  size_t leading_ = 1, name_at_ = 0;   // fields before the numbers, and which of them names the row (leading_: none does)
  std::string kinds_;                  // for the log
  std::vector<uint8_t> taken_;         // of the columns of numbers in the file, those that are read; empty: all
  std::string first_;                  // the first row of numbers, read ahead to understand the head
  bool has_first_ = false;
};

}  // namespace panvae::data
