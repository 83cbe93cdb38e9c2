// Rows of numbers in text, one at a time.
#pragma once
#include <string>
#include <vector>

#include "data/text_reader.h"

namespace panvae::data {

// First row: names of the columns, with or without a cell over the row names. Then per row a name and one number per
// column; missing cells (NA and the like) become NaN. ErrorCode::input: empty, ragged, a cell that is no number.
class TextMatrixReader {
 public:
  explicit TextMatrixReader(const std::string& path);

  // Names of the columns; known after the constructor.
  const std::vector<std::string>& columns() const { return columns_; }
  const std::string& corner() const { return corner_; }
  // The next row into `values` [columns]; false at the end.
  bool next(std::string& name, double* values);
  // The same for a float or double matrix: numbers beyond the range of T are infinite.
  template <class T>
  bool next_as(std::string& name, T* values);
  std::string where() const { return reader_.where(); }

 private:
  template <class T>
  void parse_row(std::string_view line, std::string& name, T* values);
  [[noreturn]] void fail_cell(std::string_view cell, size_t column, const std::string& row) const;
  [[noreturn]] void fail_ragged(std::string_view line, size_t found) const;

  LineReader reader_;
  std::vector<std::string> columns_;
  std::string corner_;
  std::string first_;  // the first row of numbers, read ahead to understand the head
  bool has_first_ = false;
};

}  // namespace panvae::data
