// Matrix Market files as 10x Genomics writes them: features x barcodes, with the names in files beside the matrix.

#include <charconv>

#include "base/error.h"
#include "base/file.h"
#include "data/raw_matrix.h"
#include "data/text_reader.h"

namespace panvae::data {

namespace {

// "GSM1_matrix.mtx.gz" has "GSM1_barcodes.tsv" beside it, "matrix.mtx" has "barcodes.tsv".
std::string beside(const std::string& path, const std::vector<std::string>& names) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  std::string file = path.substr(folder.size());
  const size_t stem = file.find("matrix.mtx");
  const std::string prefix = folder + (stem == std::string::npos ? "" : file.substr(0, stem));
  std::string tried;
  for (const std::string& name : names)
    for (const char* ending : {".tsv", ".tsv.gz"}) {
      if (exists(prefix + name + ending)) return prefix + name + ending;
      tried += (tried.empty() ? "" : ", ") + name + ending;
    }
  fail_input(fmt::format("no file {} beside the matrix", names.front() + ".tsv"), quoted(path, 400), "put one of these there: " + tried);
}

std::vector<std::vector<std::string>> read_columns(const std::string& path) {
  LineReader reader(path, '\t');
  std::vector<std::vector<std::string>> columns;
  int64_t rows = 0;
  for (std::string_view line; reader.next(line); ++rows) {
    std::vector<std::string> cells = split_fields(reader, line);
    if (rows == 0) columns.resize(cells.size());
    if (cells.size() != columns.size())
      fail_input(fmt::format("{} cells where the first line has {}", cells.size(), columns.size()), reader.where(), "every line needs the same columns");
    if (cells[0].empty()) fail_input("a line without a name", reader.where(), "the first column holds the names");
    for (size_t c = 0; c < cells.size(); ++c) columns[c].push_back(std::move(cells[c]));
  }
  if (rows == 0) fail_input("the file holds no names", quoted(path, 400), "it should have one line for each row or column of the matrix");
  return columns;
}

// The next token of a line of numbers.
template <class N>
bool token(const char*& p, const char* end, N& value) {
  while (p < end && (*p == ' ' || *p == '\t')) ++p;
  auto [stop, error] = std::from_chars(p, end, value);
  if (error != std::errc() || (stop < end && *stop != ' ' && *stop != '\t')) return false;
  p = stop;
  return true;
}

bool only_spaces(const char* p, const char* end) {
  while (p < end && (*p == ' ' || *p == '\t')) ++p;
  return p == end;
}

}  // namespace

namespace {

struct Head {
  bool pattern = false;
  int64_t rows = 0, columns = 0, entries = 0;
};

// The first lines, to the sizes.
Head read_head(LineReader& reader) {
  std::string_view line;
  if (!reader.next(line) || line.substr(0, 14) != "%%MatrixMarket")
    fail_input("not a Matrix Market file", reader.where(), "its first line should begin with %%MatrixMarket");
  const std::string head(line);
  Head out;
  out.pattern = head.find(" pattern ") != std::string::npos;
  if (head.find(" coordinate ") == std::string::npos || head.find(" general") == std::string::npos || head.find(" complex ") != std::string::npos)
    fail_input(fmt::format("{} is not supported", quoted(head)), reader.where(), "expected: matrix coordinate integer|real|pattern general");
  bool more = true;
  while ((more = reader.next(line)) && line[0] == '%') {
  }
  const char* p = line.data();
  const char* end = p + line.size();
  if (!more || !token(p, end, out.rows) || !token(p, end, out.columns) || !token(p, end, out.entries) || !only_spaces(p, end) || out.rows < 0 ||
      out.columns < 0 || out.entries < 0)
    fail_input("the line of sizes is broken", reader.where(), "expected: rows columns entries");
  return out;
}

// make(rows, columns): zeros of type Matrix.
template <class T, class Matrix, class Make>
Dataset<T, Matrix> read(const std::string& path, Make&& make) {
  LineReader reader(path, '\t');
  const auto [pattern, rows, columns, entries] = read_head(reader);
  const std::string barcodes_path = beside(path, {"barcodes"}), features_path = beside(path, {"features", "genes", "peaks"});
  std::vector<std::vector<std::string>> barcodes = read_columns(barcodes_path), features = read_columns(features_path);
  const auto n_samples = static_cast<int64_t>(barcodes[0].size()), n_features = static_cast<int64_t>(features[0].size());
  const bool by_feature = rows == n_features && columns == n_samples;
  if (!by_feature && !(rows == n_samples && columns == n_features))
    fail_input(fmt::format("the matrix is {} x {}, but there are {} features and {} barcodes", rows, columns, n_features, n_samples),
               fmt::format("{}, {}, {}", quoted(path, 400), quoted(features_path, 400), quoted(barcodes_path, 400)), "do the three files belong together?");
  Dataset<T, Matrix> out;
  out.path = path;
  out.x = make(n_samples, n_features);
  int64_t seen = 0;
  std::string_view line;
  for (; reader.next(line); ++seen) {
    int64_t i = 0, j = 0;
    double value = 1;
    const char* p = line.data();
    const char* end = p + line.size();
    if (!token(p, end, i) || !token(p, end, j) || (!pattern && !token(p, end, value)) || !only_spaces(p, end))
      fail_input(fmt::format("{} is no entry", quoted(line)), reader.where(), pattern ? "expected: row column" : "expected: row column number");
    if (i < 1 || i > rows || j < 1 || j > columns)
      fail_input(fmt::format("entry {} {} is outside the {} x {} matrix", i, j, rows, columns), reader.where(), "the file is damaged");
    (by_feature ? out.x(j - 1, i - 1) : out.x(i - 1, j - 1)) += static_cast<T>(value);
  }
  if (seen != entries)
    fail_input(fmt::format("{} entries where the head announces {}", seen, entries), quoted(path, 400),
               "the file is cut off or damaged: fetch or write it again");
  out.obs.keys = std::move(barcodes[0]);
  out.var.keys = std::move(features[0]);
  if (features.size() > 1) out.var.columns.push_back(factor_from_text("symbol", features[1]));
  if (features.size() > 2) out.var.columns.push_back(factor_from_text("feature_type", features[2]));
  return out;
}

}  // namespace

template <class T>
RawMatrix<T> read_mtx(const std::string& path) {
  return read<T, RowMatrix<T>>(path, [&](int64_t rows, int64_t columns) {
    expect_room_for(rows, columns, sizeof(T), quoted(path, 400));
    return RowMatrix<T>::Zero(rows, columns);
  });
}
template RawMatrix<float> read_mtx(const std::string&);
template RawMatrix<double> read_mtx(const std::string&);

LargeDataset<float> read_mtx_large(const std::string& path, const std::string& folder) {
  return read<float, LargeMatrix<float>>(path, [&](int64_t rows, int64_t columns) { return LargeMatrix<float>(rows, columns, folder); });
}

double mtx_cells(const std::string& path) {
  LineReader reader(path, '\t');
  const Head head = read_head(reader);
  return static_cast<double>(head.rows) * static_cast<double>(head.columns);
}

}  // namespace panvae::data
