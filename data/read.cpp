// From what lies in a file to a dataset that commands can trust.
#include "data/read.h"

#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "data/finite.h"
#include "data/large_dataset.h"
#include "data/raw_matrix.h"
#include "data/row_names.h"

namespace panvae::data {

namespace {

// The first place of each name, found by its hash. Places instead of copies of the names: tables of 20,000 genes are read often.
class FirstPlaces {
 public:
  explicit FirstPlaces(const std::vector<std::string>& names) : names_(names), slots_(std::bit_ceil(2 * names.size() + 2), -1) {}
  // Where the name of place i stands first: i, where it was not seen before.
  int64_t add(int64_t i) {
    const std::string& name = names_[static_cast<size_t>(i)];
    const size_t mask = slots_.size() - 1;
    for (size_t at = std::hash<std::string>{}(name)&mask;; at = (at + 1) & mask) {
      int64_t& slot = slots_[at];
      if (slot < 0) return slot = i;
      if (names_[static_cast<size_t>(slot)] == name) return slot;
    }
  }

 private:
  const std::vector<std::string>& names_;
  std::vector<int64_t> slots_;
};

// Names must be there and differ. The second 'A' becomes 'A-1' (AnnData's rule), skipping names that exist already.
void check_names(std::vector<std::string>& names, const std::string& what, const std::string& path, bool make_unique) {
  FirstPlaces places(names);
  std::vector<size_t> repeats;
  int64_t first_repeated = 0;  // where the first of the repeats stands first
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty())
      fail_input(fmt::format("a {} without a name", what), fmt::format("{}, {} {} of {}", quoted(path, 400), what, i + 1, names.size()),
                 "name every row and column");
    const int64_t first = places.add(static_cast<int64_t>(i));
    if (first == static_cast<int64_t>(i)) continue;
    if (repeats.empty()) first_repeated = first;
    repeats.push_back(i);
  }
  if (repeats.empty()) return;
  double value = 0;
  if (!make_unique)
    fail_input(fmt::format("the {} name {} stands twice{}", what, quoted(names[repeats[0]]),
                           repeats.size() > 1 ? fmt::format(" ({} repeated names in all)", repeats.size()) : ""),
               fmt::format("{}, {}s {} and {}", quoted(path, 400), what, first_repeated + 1, repeats[0] + 1),
               parse_number(names[repeats[0]], value)
                   ? "are these values? the first row and column hold names; else rename one, or number them with --make-unique"
               : what == "feature" && is_date(names[repeats[0]])
                   ? "Excel makes dates of genes such as MARCHF1 and SEPTIN2: write their names again, from the table before Excel"
                   : "rename one, or number repeated names with --make-unique");
  std::unordered_set<std::string> taken(names.begin(), names.end());
  std::unordered_map<std::string, int64_t> number;
  for (size_t i : repeats) {
    int64_t& n = number[names[i]];
    std::string unique;
    do unique = fmt::format("{}-{}", names[i], ++n);
    while (!taken.insert(unique).second);
    names[i] = unique;
  }
  log::info("{} repeated {} names numbered", repeats.size(), what);
}

enum class Bad { nan, infinite };

// Where the first value is that must not be there, and how many there are.
template <class T, class Matrix>
void check_values(const Dataset<T, Matrix>& data, Missing missing) {
  const int64_t n = data.samples(), g = data.features();
  std::vector<int64_t> nans(static_cast<size_t>(n), 0), infinities(static_cast<size_t>(n), 0);
  over_rows(data.x, 16, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* row = data.x.data() + r * g;
      if (all_finite(row, g)) continue;
      for (int64_t c = 0; c < g; ++c) {
        nans[static_cast<size_t>(r)] += std::isnan(row[c]);
        infinities[static_cast<size_t>(r)] += std::isinf(row[c]);
      }
    }
  });
  auto refuse = [&](const std::vector<int64_t>& found, Bad bad) {
    int64_t total = 0, row = -1;
    for (int64_t r = 0; r < n; ++r) {
      total += found[static_cast<size_t>(r)];
      if (row < 0 && found[static_cast<size_t>(r)] > 0) row = r;
    }
    if (row < 0) return;
    int64_t column = 0;
    while (bad == Bad::nan ? !std::isnan(data.x(row, column)) : !std::isinf(data.x(row, column))) ++column;
    const std::string what =
        bad == Bad::nan ? (total == 1 ? "a value is missing or NaN" : fmt::format("{} values are missing or NaN", total))
                        : fmt::format("{} infinite or too large for the type of the numbers", total == 1 ? "a value is" : fmt::format("{} values are", total));
    fail_input(what,
               fmt::format("{}, {}sample {}, feature {}", quoted(data.path, 400), total > 1 ? "first " : "", quoted(data.obs.keys[static_cast<size_t>(row)]),
                           quoted(data.var.keys[static_cast<size_t>(column)])),
               bad == Bad::nan ? "correct the file, or in logs fill missing values with --missing mean" : "correct the file");
  };
  refuse(infinities, Bad::infinite);
  if (missing == Missing::refuse) refuse(nans, Bad::nan);
}

void apply_keys(Table& obs, const std::map<std::string, std::string>& keys) {
  for (const auto& [canonical, given] : keys) {
    if (canonical == given) {
      (void)obs.at(given);
      continue;
    }
    Column c = obs.at(given);
    c.name = canonical;
    if (obs.find(canonical)) log::info("column {} takes the place of {}", quoted(given), quoted(canonical));
    obs.set(std::move(c));
  }
}

template <class T>
void keep_rows(RowMatrix<T>& x, const std::vector<int64_t>& rows) {
  // In place where rows ascend, so that a row moves up or stays.
  if (std::is_sorted(rows.begin(), rows.end())) {
    for (size_t i = 0; i < rows.size(); ++i)
      if (static_cast<int64_t>(i) != rows[i]) x.row(static_cast<int64_t>(i)) = x.row(rows[i]);
    x.conservativeResize(static_cast<int64_t>(rows.size()), Eigen::NoChange);
    return;
  }
  RowMatrix<T> chosen(static_cast<int64_t>(rows.size()), x.cols());
  for (size_t i = 0; i < rows.size(); ++i) chosen.row(static_cast<int64_t>(i)) = x.row(rows[i]);
  x = std::move(chosen);
}

template <class T>
void keep_rows(LargeMatrix<T>& x, const std::vector<int64_t>& rows) {
  const int64_t g = x.cols();
  auto move_to = [&](LargeMatrix<T>& to) {
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      if (&to != &x || at != rows[i]) std::copy(x.data() + rows[i] * g, x.data() + (rows[i] + 1) * g, to.data() + at * g);
      x.release(rows[i], rows[i] + 1);
      to.release(at, at + 1);
    }
  };
  if (std::is_sorted(rows.begin(), rows.end())) {
    move_to(x);
    x.reshape(static_cast<int64_t>(rows.size()), g);
    return;
  }
  LargeMatrix<T> chosen(static_cast<int64_t>(rows.size()), g, x.folder());
  move_to(chosen);
  x = std::move(chosen);
}

template <class T>
void keep_columns(RowMatrix<T>& x, const std::vector<int64_t>& columns) {
  const int64_t n = x.rows(), old = x.cols(), g = static_cast<int64_t>(columns.size());
  if (std::is_sorted(columns.begin(), columns.end())) {
    // Row by row towards the front of the same memory; the reallocation at the end shrinks it.
    T* base = x.data();
    for (int64_t r = 0; r < n; ++r)
      for (int64_t c = 0; c < g; ++c) base[r * g + c] = base[r * old + columns[static_cast<size_t>(c)]];
    x.conservativeResize((n * g + old - 1) / std::max<int64_t>(old, 1), Eigen::NoChange);
    RowMatrix<T> chosen = Eigen::Map<RowMatrix<T>>(x.data(), n, g);
    x = std::move(chosen);
    return;
  }
  RowMatrix<T> chosen(n, g);
  for (int64_t r = 0; r < n; ++r)
    for (int64_t c = 0; c < g; ++c) chosen(r, c) = x(r, columns[static_cast<size_t>(c)]);
  x = std::move(chosen);
}

template <class T>
void keep_columns(LargeMatrix<T>& x, const std::vector<int64_t>& columns) {
  const int64_t n = x.rows(), old = x.cols(), g = static_cast<int64_t>(columns.size());
  PV_CHECK(g <= old, "select_features: {} of {} features of a matrix on disk", g, old);
  std::vector<T> row(static_cast<size_t>(g));
  for (int64_t r = 0; r < n; ++r) {  // a row never ends beyond where it ended before
    const T* from = x.data() + r * old;
    for (int64_t c = 0; c < g; ++c) row[static_cast<size_t>(c)] = from[columns[static_cast<size_t>(c)]];
    std::copy(row.begin(), row.end(), x.data() + r * g);
    x.release(r * g / old, r + 1);  // where it went and where it was, in rows of the old width
  }
  x.reshape(n, g);
}

template <class T, class Matrix>
void drop_tallies(Dataset<T, Matrix>& data) {
  if (const std::vector<int64_t> genes = features_without_tallies(data.var, data.frozen, data.path); !genes.empty()) select_features(data, genes);
}

}  // namespace

const std::vector<std::string>& canonical_columns() {
  static const std::vector<std::string> names = {"donor", "cohort", "dataset", "batch", "age", "sex", "ethnicity", "os_time", "os_event", "split", "fold"};
  return names;
}

void expect_room_for(int64_t rows, int64_t columns, size_t item, const std::string& where) {
  const double needed = static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(item);
  const auto available = static_cast<double>(available_bytes());
  if (available > 0 && needed > available)
    fail_machine(fmt::format("the matrix of {} x {} needs {}, {} are free", rows, columns, human_bytes(static_cast<int64_t>(std::min(needed, 9e18))),
                             human_bytes(static_cast<int64_t>(available))),
                 where, "select samples or features first, or use a machine with more memory");
}

void expect_rows_to_say(const MatrixPath& at, const std::string& path, Rows rows) {
  if (rows == Rows::features && at.format != MatrixPath::Format::text)
    fail_usage("--rows features is for text tables", quoted(path, 400), "h5ad files hold samples in rows, 10x files are recognised");
}

void expect_samples_in_rows(const Table& obs, const Table& var, const Frozen& frozen, const std::string& path, Rows rows) {
  if (rows != Rows::unsaid || !frozen.empty()) return;
  if (const std::string why = rows_are_features_because(obs.key_name, obs.keys, var.keys); !why.empty())
    fail_input(fmt::format("{}: genes or peaks, where samples are expected", why), quoted(path, 400),
               "write it transposed (AnnData.T in Python), or say --rows samples if these are samples");
}

std::vector<int64_t> features_without_tallies(const Table& var, const Frozen& frozen, const std::string& path) {
  if (!frozen.empty()) return {};
  std::vector<int64_t> genes;
  std::string first;
  for (int64_t c = 0; c < var.rows(); ++c) {
    const std::string& name = var.keys[static_cast<size_t>(c)];
    if (!is_tally(name)) genes.push_back(c);
    else if (first.empty()) first = name;
  }
  if (first.empty()) return {};
  const auto n = var.rows() - static_cast<int64_t>(genes.size());
  if (genes.empty())
    fail_input("every feature is a count of reads without a gene", fmt::format("{}, {}", quoted(path, 400), quoted(first)), "is it the right file?");
  log::warning("{} feature{} of {} left out: {} of reads without a gene ({}{})", n, n == 1 ? "" : "s", quoted(path, 400), n == 1 ? "the count" : "counts",
               quoted(first), n == 1 ? "" : ", ...");
  return genes;
}

std::vector<int64_t> prepare_tables(Table& obs, Table& var, const std::string& path, const ReadOptions& options) {
  if (obs.rows() == 0) fail_input("the matrix has no samples", quoted(path, 400), "is it the right file?");
  if (var.rows() == 0) fail_input("the matrix has no features", quoted(path, 400), "is it the right file?");
  check_names(obs.keys, "sample", path, options.make_unique);
  check_names(var.keys, "feature", path, options.make_unique);
  if (!options.obs_table.empty()) join_table(obs, read_table(options.obs_table), "sample", options.obs_table);
  if (!options.var_table.empty()) join_table(var, read_table(options.var_table), "feature", options.var_table);
  apply_keys(obs, options.keys);
  if (options.where.empty()) return all_rows(obs.rows());
  std::vector<int64_t> rows = rows_where(obs, options.where);
  log::info("{} of {} samples selected", rows.size(), obs.rows());
  obs = obs.select(rows);
  return rows;
}

template <class T>
Dataset<T> read_dataset(const std::string& path, const ReadOptions& options) {
  const MatrixPath at = parse_matrix_path(path);
  expect_rows_to_say(at, path, options.rows);
  bool finite = false;  // known to be
  Dataset<T> data = at.format == MatrixPath::Format::h5ad   ? read_h5ad<T>(at.file, at.inner, finite)
                    : at.format == MatrixPath::Format::text ? read_text_matrix<T>(at.file, options.rows)
                                                            : read_mtx<T>(at.file);
  if (at.format != MatrixPath::Format::text) expect_samples_in_rows(data.obs, data.var, data.frozen, data.path, options.rows);
  const std::vector<int64_t> rows = prepare_tables(data.obs, data.var, path, options);
  if (static_cast<int64_t>(rows.size()) < data.x.rows()) keep_rows(data.x, rows);
  drop_tallies(data);
  if (!finite) check_values(data, options.missing);
  if (options.missing == Missing::mean) fill_missing_with_means(data, training_rows(data.obs));
  if (data.kind.empty()) data.kind = detect_kind(data.x);
  return data;
}
template Dataset<float> read_dataset(const std::string&, const ReadOptions&);
template Dataset<double> read_dataset(const std::string&, const ReadOptions&);

LargeDataset<float> read_large_dataset(const std::string& path, const ReadOptions& options, const std::string& folder) {
  const MatrixPath at = parse_matrix_path(path);
  PV_CHECK(options.missing != Missing::mean, "read_large_dataset: missing values are kept or refused");
  expect_rows_to_say(at, path, options.rows);
  bool finite = false;  // known to be
  LargeDataset<float> data = at.format == MatrixPath::Format::h5ad   ? read_h5ad_large(at.file, at.inner, folder, finite)
                             : at.format == MatrixPath::Format::text ? read_text_matrix_large(at.file, options.rows, folder)
                                                                     : read_mtx_large(at.file, folder);
  if (at.format != MatrixPath::Format::text) expect_samples_in_rows(data.obs, data.var, data.frozen, data.path, options.rows);
  const std::vector<int64_t> rows = prepare_tables(data.obs, data.var, path, options);
  if (static_cast<int64_t>(rows.size()) < data.x.rows()) keep_rows(data.x, rows);
  drop_tallies(data);
  if (!finite) check_values(data, options.missing);
  if (data.kind.empty()) data.kind = detect_kind(data.x);
  return data;
}

double matrix_bytes(const std::string& path, double limit) {
  const MatrixPath at = parse_matrix_path(path);
  if (at.format == MatrixPath::Format::h5ad) {
    const hdf5::File file(at.file);
    const H5adMatrix matrix(file, at.inner);
    return static_cast<double>(matrix.rows()) * static_cast<double>(matrix.columns()) * sizeof(float);
  }
  if (at.format == MatrixPath::Format::mtx) return mtx_cells(at.file) * sizeof(float);
  // A cell takes two bytes at least, and gzip makes counts ten times smaller, seldom more.
  struct stat info {};
  if (::stat(at.file.c_str(), &info) != 0) return 0;  // reading it says what is wrong
  const double most = static_cast<double>(info.st_size) * (at.file.ends_with(".gz") ? 20 : 1) / 2 * sizeof(float);
  return most <= limit ? most : text_cells(at.file) * sizeof(float);
}

Table read_obs(const std::string& path) {
  if (const size_t at = path.rfind(".h5ad:"); at != std::string::npos) return read_h5ad_obs(path.substr(0, at + 5));
  return path.ends_with(".h5ad") ? read_h5ad_obs(path) : read_table(path);
}

namespace {
// The value of a condition: that of booleans may be written as AnnData shows them.
bool number_of(const Column& column, const std::string& text, double& x) {
  if (column.boolean && (text == "True" || text == "False")) return x = text == "True", true;
  return parse_number(text, x);
}
}  // namespace

std::vector<int64_t> rows_where(const Table& obs, const std::vector<std::string>& conditions) {
  std::vector<bool> keep(obs.keys.size(), true);
  for (const std::string& condition : conditions) {
    const size_t equals = condition.find('=');
    if (equals == std::string::npos || equals == 0)
      fail_usage(fmt::format("{} is no condition", quoted(condition)), "--where", "write COLUMN=VALUE or COLUMN=VALUE,VALUE");
    const Column& column = obs.at(condition.substr(0, equals));
    std::vector<std::string> values;
    for (size_t begin = equals + 1; begin <= condition.size();) {
      const size_t comma = std::min(condition.find(',', begin), condition.size());
      values.push_back(condition.substr(begin, comma - begin));
      begin = comma + 1;
    }
    int64_t matches = 0;
    std::vector<bool> seen(values.size(), false);
    for (int64_t r = 0; r < obs.rows(); ++r) {
      bool hit = false;
      for (size_t v = 0; v < values.size(); ++v) {
        double x = 0;
        const bool same = column.missing(r) ? is_missing_text(values[v])
                          : column.numeric  ? number_of(column, values[v], x) && x == column.number[static_cast<size_t>(r)]
                                            : column.levels[static_cast<size_t>(column.code[static_cast<size_t>(r)])] == values[v];
        if (same) seen[v] = hit = true;
      }
      matches += hit;
      if (!hit) keep[static_cast<size_t>(r)] = false;
    }
    std::string known;
    if (!column.numeric)
      for (size_t l = 0; l < column.levels.size() && l < 20; ++l) known += (l ? ", " : "") + column.levels[l];
    if (matches == 0)
      fail_input(fmt::format("no sample has {}", quoted(condition)), fmt::format("column {}", quoted(column.name)),
                 known.empty() ? "check the value" : "its values are: " + known);
    for (size_t v = 0; v < values.size(); ++v)
      if (!seen[v]) log::warning("no sample has {} = {}", quoted(column.name), quoted(values[v]));
  }
  std::vector<int64_t> rows;
  for (int64_t r = 0; r < obs.rows(); ++r)
    if (keep[static_cast<size_t>(r)]) rows.push_back(r);
  if (rows.empty()) fail_input("no sample is left by the conditions together", "--where", "loosen one");
  return rows;
}

template <class T, class Matrix>
void select_samples(Dataset<T, Matrix>& data, const std::vector<int64_t>& rows) {
  data.obs = data.obs.select(rows);
  keep_rows(data.x, rows);
}
template void select_samples(Dataset<float>&, const std::vector<int64_t>&);
template void select_samples(Dataset<double>&, const std::vector<int64_t>&);
template void select_samples(LargeDataset<float>&, const std::vector<int64_t>&);

template <class T, class Matrix>
void select_features(Dataset<T, Matrix>& data, const std::vector<int64_t>& columns) {
  data.var = data.var.select(columns);
  keep_columns(data.x, columns);
}
template void select_features(Dataset<float>&, const std::vector<int64_t>&);
template void select_features(Dataset<double>&, const std::vector<int64_t>&);
template void select_features(LargeDataset<float>&, const std::vector<int64_t>&);

}  // namespace panvae::data
