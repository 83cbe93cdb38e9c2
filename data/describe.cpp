#include "data/describe.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "data/hdf5_file.h"
#include "data/preprocess.h"
#include "data/raw_matrix.h"
#include "data/read.h"

namespace panvae::data {

namespace {

ColumnSummary describe(const Column& c) {
  ColumnSummary s;
  s.name = c.name;
  s.type = c.numeric ? "number" : "factor";
  s.missing = c.count_missing();
  if (c.numeric) {
    double low = INFINITY, high = -INFINITY;
    for (double x : c.number)
      if (!std::isnan(x)) low = std::min(low, x), high = std::max(high, x);
    if (low <= high) s.content = shortest(low) + " to " + shortest(high);
    return s;
  }
  std::vector<std::pair<int64_t, std::string>> counts;
  for (const std::string& level : c.levels) counts.emplace_back(0, level);
  for (int32_t code : c.code)
    if (code >= 0) ++counts[static_cast<size_t>(code)].first;
  counts.erase(std::remove_if(counts.begin(), counts.end(), [](const auto& x) { return x.first == 0; }), counts.end());
  std::stable_sort(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  s.levels = static_cast<int64_t>(counts.size());
  for (size_t i = 0; i < counts.size() && i < 4; ++i) s.content += fmt::format("{}{} ({})", i ? ", " : "", quoted(counts[i].second, 24), counts[i].first);
  if (counts.size() > 4) s.content += ", ...";
  return s;
}

}  // namespace

std::vector<std::string> matrices_beside(const MatrixPath& at) {
  std::vector<std::string> names;
  if (at.format != MatrixPath::Format::h5ad) return names;
  const hdf5::File file(at.file);
  for (const char* group : {"layers", "obsm"})
    if (file.is_group(group))
      for (const std::string& name : file.children(group)) names.push_back(std::string(group) + "/" + name);
  if (file.exists("raw/X")) names.push_back("raw/X");
  std::erase(names, at.inner);
  return names;
}

bool holds_natural_logs(const MatrixPath& at) {
  if (at.format != MatrixPath::Format::h5ad || at.inner != "X") return false;
  const hdf5::File file(at.file);
  // A base that is None is not there, or a null.
  const std::string base = "uns/log1p/base";
  return file.exists("uns/log1p") && (!file.exists(base) || file.attribute(base, "encoding-type") == "null");
}

FileSummary describe_file(const std::string& path, Rows rows) {
  const MatrixPath at = parse_matrix_path(path);
  FileSummary s;
  s.path = path;
  s.format = at.format == MatrixPath::Format::h5ad ? "h5ad" : at.format == MatrixPath::Format::text ? "text" : "mtx";
  ReadOptions options;
  options.rows = rows;
  options.missing = Missing::keep;
  options.make_unique = true;  // a description refuses less than work does
  const Dataset<float> data = read_dataset<float>(path, options);
  s.kind = data.kind;
  s.samples = data.samples();
  s.features = data.features();
  s.preprocessed = holds_preprocessing(data.frozen);
  s.smallest = INFINITY;
  s.largest = -INFINITY;
  int64_t zeros = 0;
  const float* x = data.x.data();
  for (int64_t i = 0, n = data.x.size(); i < n; ++i) {
    if (std::isnan(x[i])) {
      ++s.missing_values;
      continue;
    }
    zeros += x[i] == 0;
    s.negative_values += x[i] < 0;
    s.smallest = std::min(s.smallest, static_cast<double>(x[i]));
    s.largest = std::max(s.largest, static_cast<double>(x[i]));
  }
  if (s.smallest > s.largest) s.smallest = s.largest = std::nan("");
  s.zero_share = static_cast<double>(zeros) / static_cast<double>(data.x.size());
  for (const Column& c : data.obs.columns) s.obs.push_back(describe(c));
  for (const Column& c : data.var.columns) s.var.push_back(describe(c));
  s.matrices = matrices_beside(at);
  return s;
}

std::string to_text(const FileSummary& s) {
  TextTable head({"file", s.path});
  head.row({"format", s.format});
  head.row({"samples x features", fmt::format("{} x {}", s.samples, s.features)});
  head.row({"kind", s.kind.empty() ? "unknown" : s.kind});
  head.row({"values", fmt::format("{:g} to {:g}, {:.1f} % zero", s.smallest, s.largest, 100 * s.zero_share)});
  head.row({"missing values", std::to_string(s.missing_values)});
  if (s.preprocessed) head.row({"preprocessed", "yes, the fit is in uns/panvae"});
  std::string others;
  for (const std::string& m : s.matrices) others += (others.empty() ? "" : ", ") + m;
  if (!others.empty()) head.row({"other matrices", others});
  std::string out = head.str();
  for (const auto& [title, columns] : {std::pair{"sample column", &s.obs}, std::pair{"feature column", &s.var}}) {
    if (columns->empty()) continue;
    TextTable table({title, "type", "missing", "levels", "content"});
    for (const ColumnSummary& c : *columns)
      table.row({c.name, c.type, std::to_string(c.missing), c.type == "factor" ? std::to_string(c.levels) : "", c.content});
    out += "\n" + table.str();
  }
  return out;
}

Json to_json(const FileSummary& s) {
  Json json = {{"path", s.path},
               {"format", s.format},
               {"kind", s.kind},
               {"samples", s.samples},
               {"features", s.features},
               {"missing_values", s.missing_values},
               {"negative_values", s.negative_values},
               {"smallest", s.smallest},
               {"largest", s.largest},
               {"zero_share", s.zero_share},
               {"preprocessed", s.preprocessed},
               {"matrices", s.matrices}};
  for (const auto& [key, columns] : {std::pair{"obs", &s.obs}, std::pair{"var", &s.var}}) {
    json[key] = Json::array();
    for (const ColumnSummary& c : *columns)
      json[key].push_back({{"name", c.name}, {"type", c.type}, {"missing", c.missing}, {"levels", c.levels}, {"content", c.content}});
  }
  return json;
}

}  // namespace panvae::data
