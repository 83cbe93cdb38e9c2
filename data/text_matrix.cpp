#include "data/text_matrix.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

#include "base/error.h"
#include "data/raw_matrix.h"

namespace panvae::data {

namespace {

size_t count_fields(std::string_view line, char separator) {
  FieldSplitter fields(line, separator);
  size_t n = 0;
  for (std::string_view f; fields.next(f);) ++n;
  return n;
}

// Whole numbers of up to 15 digits, most cells of a count table, without the generality of from_chars. True if the
// cell at `p` is one and ends at `separator` or `end`; `p` then stands on the separator or `end`.
inline bool parse_short_integer(const char*& p, const char* end, char separator, double& value) {
  const char* q = p;
  int64_t n = 0;
  while (q < end && static_cast<unsigned char>(*q - '0') < 10) n = n * 10 + (*q++ - '0');
  if (q == p || q - p > 15 || (q < end && *q != separator)) return false;
  value = static_cast<double>(n);
  p = q;
  return true;
}

}  // namespace

TextMatrixReader::TextMatrixReader(const std::string& path) : reader_(path, separator_of(path)) {
  std::string_view line;
  if (!reader_.next(line)) fail_input("the table is empty", quoted(path, 400), "its first row should name the columns");
  columns_ = split_fields(reader_, line);
  has_first_ = reader_.next(line);
  if (!has_first_) fail_input("the table has no rows", quoted(path, 400), "its first row names the columns, then a row of numbers follows per name");
  first_.assign(line);
  // A corner cell stands over the row names, except in tables of R's write.table.
  if (count_fields(first_, reader_.separator()) != columns_.size() + 1) {
    corner_ = columns_.front();
    columns_.erase(columns_.begin());
  }
  if (columns_.empty()) fail_input("only one column", fmt::format("{}, line 1", quoted(path, 400)), "is the separator right? .csv means commas, .tsv tabs");
  for (size_t c = 0; c < columns_.size(); ++c)
    if (columns_[c].empty())
      fail_input(fmt::format("column {} has no name", c + 2), fmt::format("{}, line 1", quoted(path, 400)), "name every column in the first row");
}

void TextMatrixReader::fail_cell(std::string_view cell, size_t column, const std::string& row) const {
  fail_input(fmt::format("{} is no number", quoted(cell)), fmt::format("{}, row {}, column {}", reader_.where(), quoted(row), quoted(columns_[column])),
             cell.find(',') != std::string_view::npos
                 ? "write decimal points, no commas"
                 : "tables of samples are given with --obs; a matrix holds names in its first row and first column, else numbers");
}

void TextMatrixReader::fail_ragged(std::string_view line, size_t found) const {
  FieldSplitter fields(line, reader_.separator());
  std::string_view name;
  fields.next(name);
  fail_input(fmt::format("{} values where the first row names {} columns", found, columns_.size()), fmt::format("{}, row {}", reader_.where(), quoted(name)),
             found == 0 ? "is the separator right? .csv means commas, .tsv tabs" : "every row needs one value per column");
}

template <class T>
void TextMatrixReader::parse_row(std::string_view line, std::string& name, T* values) {
  const char separator = reader_.separator();
  FieldSplitter fields(line, separator);
  std::string_view field;
  fields.next(field);
  name.assign(field);
  if (name.empty()) fail_input("a row without a name", reader_.where() + ", column 1", "the first column holds the names");
  const size_t n = columns_.size();
  auto general = [&](std::string_view cell, size_t c) {
    double x = std::numeric_limits<double>::quiet_NaN();
    if (!is_missing_text(cell) && !parse_number(cell, x)) fail_cell(cell, c, name);
    return static_cast<T>(x);
  };
  size_t c = 0;
  if (line.find('"') != std::string_view::npos) {
    for (; fields.next(field); ++c) {
      if (c < n) values[c] = general(field, c);
    }
    if (fields.malformed()) fail_input("text after a closing quote", reader_.where(), "double a quote that is part of the text");
  } else if (line.size() > name.size()) {
    const char* p = line.data() + name.size() + 1;
    const char* end = line.data() + line.size();
    for (;; ++c) {
      if (c == n) fail_ragged(line, count_fields(line, separator) - 1);
      double x;
      if (parse_short_integer(p, end, separator, x)) {
        values[c] = static_cast<T>(x);
      } else {
        const auto* stop = static_cast<const char*>(std::memchr(p, separator, static_cast<size_t>(end - p)));
        if (!stop) stop = end;
        values[c] = general({p, static_cast<size_t>(stop - p)}, c);
        p = stop;
      }
      if (p == end) {
        ++c;
        break;
      }
      ++p;
    }
  }
  if (c != n) fail_ragged(line, c);
}

template <class T>
bool TextMatrixReader::next_as(std::string& name, T* values) {
  if (has_first_) {
    has_first_ = false;
    parse_row(first_, name, values);
    return true;
  }
  std::string_view line;
  if (!reader_.next(line)) return false;
  parse_row(line, name, values);
  return true;
}
template bool TextMatrixReader::next_as(std::string&, float*);
template bool TextMatrixReader::next_as(std::string&, double*);

bool TextMatrixReader::next(std::string& name, double* values) {
  return next_as(name, values);
}

template <class T>
RawMatrix<T> read_text_matrix(const std::string& path, bool rows_are_features) {
  TextMatrixReader reader(path);
  const auto columns = static_cast<int64_t>(reader.columns().size());
  // Rows are gathered in blocks, since their number is not known, and freed one by one as the matrix is filled.
  const int64_t block_rows = std::max<int64_t>(1, (int64_t{1} << 20) / columns);
  std::vector<std::unique_ptr<T[]>> blocks;
  std::vector<std::string> rows;
  std::string name;
  for (int64_t in_block = block_rows;; ++in_block) {
    if (in_block == block_rows) {
      blocks.push_back(std::make_unique_for_overwrite<T[]>(static_cast<size_t>(block_rows * columns)));
      in_block = 0;
    }
    if (!reader.next_as(name, blocks.back().get() + in_block * columns)) break;
    rows.push_back(name);
  }
  const auto n = static_cast<int64_t>(rows.size());
  RawMatrix<T> out;
  out.path = path;
  if (rows_are_features) out.x.resize(columns, n);
  else out.x.resize(n, columns);
  for (size_t b = 0; b < blocks.size(); ++b) {
    const int64_t first = static_cast<int64_t>(b) * block_rows, count = std::min(block_rows, n - first);
    if (count <= 0) break;
    const Eigen::Map<const RowMatrix<T>> block(blocks[b].get(), count, columns);
    if (rows_are_features) out.x.middleCols(first, count) = block.transpose();
    else out.x.middleRows(first, count) = block;
    blocks[b].reset();
  }
  Table& of_rows = rows_are_features ? out.var : out.obs;
  Table& of_columns = rows_are_features ? out.obs : out.var;
  of_rows.keys = std::move(rows);
  of_columns.keys = reader.columns();
  if (!reader.corner().empty()) of_rows.key_name = reader.corner();
  return out;
}
template RawMatrix<float> read_text_matrix(const std::string&, bool);
template RawMatrix<double> read_text_matrix(const std::string&, bool);

}  // namespace panvae::data
