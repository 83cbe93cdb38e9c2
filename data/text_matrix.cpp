#include "data/text_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <unordered_set>

#include "base/error.h"
#include "base/log.h"
#include "data/raw_matrix.h"
#include "data/row_names.h"

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
  const char* const most = end - p > 15 ? p + 15 : end;
  while (q < most && static_cast<unsigned char>(*q - '0') < 10) n = n * 10 + (*q++ - '0');
  if (q == p || (q < end && *q != separator)) return false;
  value = static_cast<double>(n);
  p = q;
  return true;
}

// "9,072", "1.234.567", "12 000", "4'096" without what separates their thousands; empty for what is not written so.
std::string without_thousands(std::string_view cell) {
  const size_t at = cell.find_first_not_of("0123456789");
  if (at == 0 || at > 3 || at == std::string_view::npos || cell[0] == '0') return "";
  constexpr std::string_view kSeparators[] = {",",           ".", " ", "'", "\xC2\xA0", "\xE2\x80\xAF",
                                              "\xE2\x80\x99"};  // the last: spaces that do not break, an apostrophe
  for (const std::string_view separator : kSeparators) {
    std::string whole(cell.substr(0, at));
    std::string_view rest = cell.substr(at);
    while (rest.starts_with(separator) && rest.size() >= separator.size() + 3 &&
           rest.substr(separator.size(), 3).find_first_not_of("0123456789") == std::string_view::npos) {
      whole += rest.substr(separator.size(), 3);
      rest.remove_prefix(separator.size() + 3);
    }
    if (rest.empty()) return whole;
  }
  return "";
}

}  // namespace

TextMatrixReader::TextMatrixReader(const std::string& path) : reader_(path) {
  std::string_view line;
  if (!reader_.next(line)) fail_input("the table is empty", quoted(path, 400), "its first row should name the columns");
  columns_ = split_fields(reader_, line);
  head_at_ = reader_.where();
  has_first_ = reader_.next(line);
  if (!has_first_) fail_input("the table has no rows", quoted(path, 400), "its first row names the columns, then a row of numbers follows per name");
  first_.assign(line);
  std::vector<std::string> cells = split_fields(reader_, first_);
  if (take_kinds(cells)) {
    if (!reader_.next(line)) fail_input("the table has no rows of numbers", quoted(path, 400), "two rows say what its columns are, and none follows");
    first_.assign(line);
    cells = split_fields(reader_, first_);
  }
  if (cells.size() == columns_.size() + 1 && kinds_.empty()) {  // tables of R's write.table name nothing over the row names
    if (cells.back().empty()) fail_trailing_separator(reader_);
    columns_.insert(columns_.begin(), "");
  }
  if (kinds_.empty()) find_annotations(cells.front());
  corner_ = leading_ > 1 && name_at_ == leading_ ? "peak" : columns_[name_at_];
  columns_.erase(columns_.begin(), columns_.begin() + static_cast<std::ptrdiff_t>(leading_));
  check_columns();
}

// Of columns that are named by numbers, under a word that is written over no names.
void TextMatrixReader::check_numbers_as_names() const {
  std::vector<int64_t> numbers;
  for (const std::string& name : columns_) {
    double x = 0;
    if (!parse_number(name, x) || x < 0 || x > 1e15 || x != std::floor(x)) return;
    numbers.push_back(static_cast<int64_t>(x));
  }
  if (heads_names(corner_)) return;
  std::vector<int64_t> sorted = numbers;
  std::sort(sorted.begin(), sorted.end());
  const bool distinct = std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end(), ascending = sorted == numbers;
  const bool run = distinct && sorted.size() > 2 && sorted.back() - sorted.front() == static_cast<int64_t>(sorted.size()) - 1;
  if (run) return;  // clusters and dimensions, in whatever order
  const bool one_length = std::all_of(columns_.begin(), columns_.end(), [&](const std::string& name) { return name.size() == columns_[0].size(); });
  const auto message = [&] { return fmt::format("{}, {}", head_at_, quoted(corner_)); };
  // Samples are numbered from 1, each once, most often in order or by codes of one length. The counts of a gene are not.
  if (sorted.front() == 0 || !distinct || sorted.size() == 1 || (!ascending && !one_length))
    fail_input("the first row holds numbers where names of columns are expected", message(),
               "write a row of names above it, or, if these are names, 'gene' or 'sample' over the names of the rows");
  log::warning("{}: the names of the columns are numbers, as values are ({}, {}, ...): if the table has no row of names, write one above its first", message(),
               columns_[0], columns_[1]);
}

bool TextMatrixReader::take_kinds(const std::vector<std::string>& cells) {
  const auto is_text = [](const std::string& cell) {
    double x = 0;
    return !is_missing_text(cell) && !parse_number(cell, x);
  };
  if (cells.size() != columns_.size() || cells.size() < 2 || !names_features(cells[0]) || !std::all_of(cells.begin() + 1, cells.end(), is_text)) return false;
  std::vector<std::string> kinds;
  for (size_t c = 1; c < cells.size(); ++c)
    if (std::find(kinds.begin(), kinds.end(), cells[c]) == kinds.end()) kinds.push_back(cells[c]);
  std::string all;
  for (size_t k = 0; k < std::min<size_t>(kinds.size(), 4); ++k) all += (k > 0 ? ", " : "") + quoted(kinds[k]);
  if (kinds.size() > 4) all += ", ...";
  columns_[0] = cells[0];
  kinds_ = fmt::format("the second row says what the columns hold: {}", all);
  if (kinds.size() == 1) return true;
  // Of several, the counts: where each sample has one column of them.
  const std::vector<std::string> names(columns_.begin() + 1, columns_.end());
  for (const std::string& kind : kinds) {
    static constexpr std::array<std::string_view, 4> kCounts = {"rawcount", "rawcounts", "readcount", "expectedcount"};
    if (std::find(kCounts.begin(), kCounts.end(), letters_of(kind)) == kCounts.end()) continue;
    taken_.assign(names.size(), 0);
    std::vector<std::string> taken;
    for (size_t c = 0; c < names.size(); ++c)
      if (cells[c + 1] == kind) taken_[c] = 1, taken.push_back(names[c]);
    const auto distinct = [](const std::vector<std::string>& of) { return std::unordered_set<std::string>(of.begin(), of.end()).size(); };
    if (distinct(taken) != taken.size() || distinct(names) != taken.size()) break;
    kinds_ += fmt::format("; {} of each sample is read", quoted(kind));
    columns_.assign({cells[0]});
    columns_.insert(columns_.end(), taken.begin(), taken.end());
    return true;
  }
  fail_input(fmt::format("the second row is no row of numbers: it says what the columns hold, {}", all), reader_.where(),
             "keep one column of counts for each sample, and the row of their names alone");
}

void TextMatrixReader::check_columns() const {
  if (columns_.empty() && leading_ > 1) fail_input("no column of numbers follows those that describe the rows", head_at_, "is it the table of counts?");
  if (columns_.empty()) fail_input("only one column", head_at_, "is the separator right? .csv means commas, .tsv tabs");
  for (size_t c = 0; c < columns_.size(); ++c)
    if (columns_[c].empty())
      fail_input(fmt::format("column {} has no name", c + 1 + leading_), head_at_, "name every column in the first row; no separator should stand at its end");
  const auto is_value = [](const std::string& name) {
    double x = 0;
    return parse_number(name, x);
  };
  const auto is_no_name = [](const std::string& name) {
    double x = 0;
    return parse_number(name, x) && (x < 0 || x != std::floor(x));
  };
  if (std::all_of(columns_.begin(), columns_.end(), is_value) && (is_feature_name(corner_) || std::any_of(columns_.begin(), columns_.end(), is_no_name)))
    fail_input("the first row holds numbers where names of columns are expected", fmt::format("{}, {}", head_at_, quoted(corner_)),
               "write a row of names above it");
  check_numbers_as_names();
  const auto measures = std::count_if(columns_.begin(), columns_.end(), [](const std::string& name) {
    static constexpr std::array<std::string_view, 8> kMeasures = {"tpm",           "fpkm",       "numreads",      "estcounts",
                                                                  "expectedcount", "unstranded", "tpmunstranded", "fpkmunstranded"};
    return std::find(kMeasures.begin(), kMeasures.end(), letters_of(name)) != kMeasures.end();
  });
  if (measures > 1)
    fail_input("the columns are measures of one sample, as salmon, kallisto, RSEM and the GDC write them", head_at_,
               "put the counts of all samples into one table, a column for each");
}

void TextMatrixReader::find_annotations(const std::string& first_name) {
  if (columns_[0].starts_with("#'"))  // deepTools
    for (std::string& name : columns_) {
      if (name.starts_with('#')) name.erase(0, 1);
      if (name.size() > 1 && name.front() == '\'' && name.back() == '\'') name = name.substr(1, name.size() - 2);
    }
  auto is = [&](size_t column, std::initializer_list<std::string_view> names) {
    return column < columns_.size() && std::find(names.begin(), names.end(), letters_of(columns_[column])) != names.end();
  };
  size_t first = 0;
  for (; first < 2; ++first)
    if (is(first, {"chrom", "chr", "chromosome", "seqnames", "seqname"}) && is(first + 1, {"start", "chromstart"}) &&
        is(first + 2, {"end", "stop", "chromend"}))
      break;
  const bool places = first < 2;
  // A first column without a name that numbers the rows, as R and pandas write it, names nothing.
  const bool numbered = columns_[0].empty() && (first_name == "0" || first_name == "1");
  constexpr size_t none = std::string::npos;
  size_t name_at = none;
  if (places) {
    annotations_ = {"chrom", "start", "end"};
    annotation_at_ = {first, first + 1, first + 2};
    leading_ = first + 3;
    if (first == 1 && !numbered) name_at = 0;
  } else if (numbered && columns_.size() > 1 && names_features(columns_[1])) {
    name_at = 1;
    leading_ = 2;
  } else if (names_features(columns_[0]) ||
             (columns_.size() > 1 && (columns_[0].empty() || is(0, {"name", "id"})) && (names_features(columns_[1]) || is(1, {"description"})))) {
    name_at = 0;
  } else {
    return;
  }
  for (; leading_ < columns_.size(); ++leading_) {
    const std::string& name = columns_[leading_];
    if (name_at == none && is(leading_, {"name", "peak", "peakid", "id", "interval", "intervalid"})) {
      name_at = leading_;
    } else if (describes_features(name) && std::find(annotations_.begin(), annotations_.end(), name) == annotations_.end()) {
      annotations_.push_back(name);
      annotation_at_.push_back(leading_);
    } else {
      break;
    }
  }
  name_at_ = std::min(name_at, leading_);
  cells_.resize(annotations_.size());
}

void TextMatrixReader::expect_rows_as_said(Rows rows, std::span<const std::string> names) const {
  if (rows == Rows::features) {
    if (const std::string why = named_like_features(columns_); !names.empty() && !why.empty() && named_like_features(names).empty())
      log::warning("{}: --rows features takes the columns for samples, but they {}", quoted(reader_.path(), 400), why);
    return;
  }
  if (!annotations_.empty())
    fail_input(annotations_.front() == "chrom" ? std::string("the table begins with chrom, start and end: its rows are peaks")
                                               : fmt::format("column {} of the table describes features: its rows are these", quoted(annotations_.front())),
               head_at_, "say --rows features");
  if (rows == Rows::samples) return;
  if (const std::string why = rows_are_features_because(corner_, names, columns_); !why.empty())
    fail_input(fmt::format("{}: genes or peaks, where samples are expected", why), quoted(reader_.path(), 400),
               "say --rows features to have the table transposed, or --rows samples if these are samples");
}

void TextMatrixReader::fail_cell(std::string_view cell, size_t column, const std::string& row) const {
  std::string without(cell);
  if (std::erase(without, ',') == 0) without.clear();
  double x = 0;
  std::string hint = "tables of samples are given with --obs, of features with --var; a matrix holds names in its first row and first column, else numbers";
  if (const std::string whole = without_thousands(cell); !whole.empty())
    hint = fmt::format("does it mean {}? write numbers without separators of thousands, and fractions with a point", whole);
  else if (!without.empty() && parse_number(without, x)) hint = "write decimal points, no commas";
  fail_input(fmt::format("{} is no number", quoted(cell)), fmt::format("{}, row {}, column {}", reader_.where(), quoted(row), quoted(columns_[column])), hint);
}

void TextMatrixReader::fail_ragged(std::string_view line, size_t found) const {
  const size_t named = taken_.empty() ? columns_.size() : taken_.size();
  FieldSplitter fields(line, reader_.separator());
  std::string_view name;
  for (size_t i = 0; i <= std::min(name_at_, leading_ - 1); ++i) fields.next(name);
  fail_input(fmt::format("{} values where the first row names {} columns", found, named), fmt::format("{}, row {}", reader_.where(), quoted(name)),
             found == 0 ? "is the separator right? .csv means commas, .tsv tabs" : "every row needs one value per column");
}

template <class T>
void TextMatrixReader::parse_row(std::string_view line, std::string& name, T* values) {
  const char separator = reader_.separator();
  FieldSplitter fields(line, separator);
  std::string_view field;
  const size_t n = columns_.size();
  size_t annotation = 0;
  for (size_t i = 0; i < leading_; ++i) {
    if (!fields.next(field)) fail_ragged(line, 0);
    if (i == name_at_) name.assign(field);
    else if (annotation < cells_.size() && annotation_at_[annotation] == i) cells_[annotation++].assign(field);
  }
  if (name_at_ == leading_) name = fmt::format("{}:{}-{}", cells_[0], cells_[1], cells_[2]);
  if (name.empty()) fail_input("a row without a name", fmt::format("{}, column {}", reader_.where(), name_at_ + 1), "the first column holds the names");
  auto general = [&](std::string_view cell, size_t c) {
    double x = std::numeric_limits<double>::quiet_NaN();
    if (!is_missing_text(cell) && !parse_number(cell, x)) fail_cell(cell, c, name);
    return static_cast<T>(x);
  };
  size_t c = 0;
  if (!taken_.empty()) {
    size_t at = 0, found = 0;
    for (; fields.next(field); ++found)
      if (found < taken_.size() && taken_[found]) values[at] = general(field, at), ++at;
    if (found != taken_.size()) fail_ragged(line, found);
    c = n;
    if (fields.malformed()) fail_input("text after a closing quote", reader_.where(), "double a quote that is part of the text");
  } else if (line.find('"') != std::string_view::npos) {
    for (; fields.next(field); ++c) {
      if (c < n) values[c] = general(field, c);
    }
    if (fields.malformed()) fail_input("text after a closing quote", reader_.where(), "double a quote that is part of the text");
  } else if (field.data() + field.size() < line.data() + line.size()) {
    const char* p = field.data() + field.size() + 1;
    const char* end = line.data() + line.size();
    for (;; ++c) {
      if (c == n) fail_ragged(line, count_fields(line, separator) - leading_);
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
bool TextMatrixReader::next(std::string& name, T* values) {
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
template bool TextMatrixReader::next(std::string&, float*);
template bool TextMatrixReader::next(std::string&, double*);

namespace {
// Names of samples and features, and the leading columns of a table of peaks.
template <class D>
void name_axes(D& out, const TextMatrixReader& reader, std::vector<std::string> rows, const std::vector<std::vector<std::string>>& annotations,
               bool rows_are_features) {
  Table& of_rows = rows_are_features ? out.var : out.obs;
  Table& of_columns = rows_are_features ? out.obs : out.var;
  // Names that are an index: 0, 1, 2, ... or 1, 2, 3, ...
  const auto is_index = [&] {
    const std::string first = rows.empty() ? "" : rows[0];
    for (size_t i = 0; i < rows.size(); ++i)
      if (rows[i] != std::to_string(i + (first == "1" ? 1 : 0))) return false;
    return rows.size() > 1;
  };
  if (rows_are_features && reader.corner().empty() && is_index())
    log::warning("{}: the features are named {} to {}, a running index, as pandas and R number rows that have no names: were these left out?",
                 quoted(out.path, 400), rows.front(), rows.back());
  of_rows.keys = std::move(rows);
  of_columns.keys = reader.columns();
  if (!reader.corner().empty()) of_rows.key_name = reader.corner();
  for (size_t a = 0; a < annotations.size(); ++a) {
    std::string name = reader.annotations()[a];
    const std::string plain = letters_of(name);
    if (plain == "genename" || plain == "genesymbol" || plain == "hugosymbol" || plain == "hgncsymbol") name = "symbol";  // as the var of AnnData calls it
    of_rows.set(name == "chrom" || name == "symbol" ? factor_from_text(name, annotations[a]) : column_from_text(name, annotations[a]));
  }
  std::string described;
  for (const std::string& name : reader.annotations()) described += (described.empty() ? "" : ", ") + quoted(name);
  if (!reader.kinds().empty()) log::info("{}: {}", quoted(out.path, 400), reader.kinds());
  if (!described.empty()) log::info("{}: read as descriptions of features: {}", quoted(out.path, 400), described);
  const std::vector<std::string>& known = canonical_columns();
  for (const std::string& name : out.var.keys)
    if (std::find(known.begin(), known.end(), name) != known.end())
      fail_input(fmt::format("{} is among the features: it describes samples", quoted(name)), quoted(out.path, 400),
                 "take it out of the matrix; tables of samples are given with --obs");
}
}  // namespace

template <class T>
RawMatrix<T> read_text_matrix(const std::string& path, Rows what) {
  TextMatrixReader reader(path);
  reader.expect_rows_as_said(what);
  const bool rows_are_features = what == Rows::features;
  const auto columns = static_cast<int64_t>(reader.columns().size());
  std::vector<std::vector<std::string>> annotations(reader.annotations().size());
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
    if (!reader.next(name, blocks.back().get() + in_block * columns)) break;
    rows.push_back(name);
    for (size_t a = 0; a < annotations.size(); ++a) annotations[a].push_back(reader.annotation_cells()[a]);
  }
  reader.expect_rows_as_said(what, rows);
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
  name_axes(out, reader, std::move(rows), annotations, rows_are_features);
  return out;
}
template RawMatrix<float> read_text_matrix(const std::string&, Rows);
template RawMatrix<double> read_text_matrix(const std::string&, Rows);

namespace {
int64_t count_rows(const std::string& path, int64_t head_rows) {
  LineReader reader(path);
  int64_t rows = -head_rows;
  for (std::string_view line; reader.next(line);) ++rows;
  return rows;
}
}  // namespace

double text_cells(const std::string& path) {
  const TextMatrixReader reader(path);
  return static_cast<double>(reader.columns().size()) * static_cast<double>(count_rows(path, reader.head_rows()));
}

LargeDataset<float> read_text_matrix_large(const std::string& path, Rows what, const std::string& folder) {
  TextMatrixReader reader(path);
  reader.expect_rows_as_said(what);
  const bool rows_are_features = what == Rows::features;
  const auto columns = static_cast<int64_t>(reader.columns().size()), rows = count_rows(path, reader.head_rows());
  LargeDataset<float> out;
  out.path = path;
  out.x = rows_are_features ? LargeMatrix<float>(columns, rows, folder) : LargeMatrix<float>(rows, columns, folder);
  std::vector<std::vector<std::string>> annotations(reader.annotations().size());
  // Features in rows are turned over a block at a time, so that each sample receives runs of values.
  const int64_t block_rows = rows_are_features ? std::clamp<int64_t>((int64_t{1} << 24) / columns, 1, 4096) : 1;
  RowMatrix<float> block(block_rows, columns);
  std::vector<std::string> names;
  std::string name;
  for (int64_t first = 0; first < rows; first += block_rows) {
    const int64_t count = std::min(block_rows, rows - first);
    for (int64_t r = 0; r < count; ++r) {
      if (!reader.next(name, block.row(r).data())) fail_input("the table became shorter while it was read", quoted(path, 400), "try again");
      names.push_back(name);
      for (size_t a = 0; a < annotations.size(); ++a) annotations[a].push_back(reader.annotation_cells()[a]);
    }
    if (rows_are_features) {
      for (int64_t s = 0; s < columns; ++s)
        for (int64_t r = 0; r < count; ++r) out.x(s, first + r) = block(r, s);
      out.x.release(0, columns);
    } else {
      std::copy(block.data(), block.data() + columns, out.x.data() + first * columns);
      out.x.release(first, first + 1);
    }
  }
  reader.expect_rows_as_said(what, names);
  name_axes(out, reader, std::move(names), annotations, rows_are_features);
  return out;
}

}  // namespace panvae::data
