// What a file holds, for `panvae info FILE`.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "data/matrix_path.h"
#include "data/read.h"

namespace panvae::data {

struct ColumnSummary {
  std::string name, type;  // "number" or "factor"
  int64_t missing = 0, levels = 0;
  std::string content;  // "18 to 90" or "BRCA (112), LUAD (58), ..."
};

struct FileSummary {
  std::string path, format;  // "h5ad", "text", "mtx"
  std::string kind;          // counts, log, z, embedding, or "" if unknown
  int64_t samples = 0, features = 0;
  int64_t missing_values = 0, negative_values = 0;
  double smallest = 0, largest = 0, zero_share = 0;
  std::vector<ColumnSummary> obs, var;
  std::vector<std::string> matrices;  // matrices_beside() it
  bool preprocessed = false;          // uns/panvae holds a fit
};

// Of an h5ad, what FILE.h5ad:NAME can name beside X and the matrix that `at` names; nothing of other files.
std::vector<std::string> matrices_beside(const MatrixPath& at);

// Whether `at` is the X of an h5ad that says, as log1p of scanpy leaves it in uns/log1p, that it holds natural logarithms.
bool holds_natural_logs(const MatrixPath& at);

// Reads the whole file, in the samples x features reading; NaN values are counted, not refused. Other faults are
// ErrorCode::input as in read_dataset().
FileSummary describe_file(const std::string& path, Rows rows = Rows::unsaid);
std::string to_text(const FileSummary& summary);  // a table for people
Json to_json(const FileSummary& summary);

}  // namespace panvae::data
