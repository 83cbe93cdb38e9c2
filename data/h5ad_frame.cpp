// obs, var and uns/panvae of an h5ad file.
#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "base/error.h"
#include "base/log.h"
#include "base/read_json.h"
#include "data/h5ad.h"

namespace panvae::data {

namespace {

// Text of a one-dimensional column whatever its type; `column` is what read_column made of it.
std::vector<std::string> cells_of(const Column& column) {
  std::vector<std::string> out;
  for (int64_t r = 0; r < column.size(); ++r) out.push_back(column.text(r));
  return out;
}

// A dataset of a column: text, or numbers. Whole numbers beyond what a double holds are text: they name something, and rounded, two of them
// would be one.
struct Cells {
  bool text = false, boolean = false;
  std::vector<std::string> texts;
  std::vector<double> numbers;
};

// `mask`: where it is not 0, there is no value, whatever the file holds.
Cells read_cells(const hdf5::File& file, const std::string& path, const std::vector<int64_t>& mask = {}) {
  Cells c;
  c.text = file.is_text(path);
  if (c.text) c.texts = file.texts(path);
  else c.numbers = file.doubles(path), c.boolean = file.is_boolean(path);
  if (!mask.empty() && mask.size() != (c.text ? c.texts.size() : c.numbers.size())) file.fail(path, "its values and its mask differ in length");
  for (size_t i = 0; i < mask.size(); ++i) {
    if (!mask[i]) continue;
    if (c.text) c.texts[i].clear();
    else c.numbers[i] = std::numeric_limits<double>::quiet_NaN();
  }
  if (c.text || c.boolean || file.holds_fractions(path)) return c;
  double largest = 0;
  for (const double x : c.numbers)
    if (std::abs(x) > largest) largest = std::abs(x);
  if (largest < kFirstInexact) return c;
  // HDF5 would make the largest number of 63 bits of them all.
  if (largest >= 0x1p63) file.fail(path, "holds whole numbers of more than 63 bits", "write them as text");
  const std::vector<int64_t> exact = file.integers(path);
  for (size_t i = 0; i < exact.size(); ++i) c.texts.push_back(std::isnan(c.numbers[i]) ? "" : std::to_string(exact[i]));
  c.text = true;
  c.numbers.clear();
  return c;
}

std::vector<std::string> labels(const hdf5::File& file, const std::string& categories) {
  Cells cells = read_cells(file, file.is_group(categories) ? categories + "/values" : categories);  // a group: nullable-string-array
  if (cells.text) return std::move(cells.texts);
  if (!cells.boolean) return cells_of(numeric_column("", std::move(cells.numbers)));
  for (const double x : cells.numbers) cells.texts.emplace_back(x != 0 ? "True" : "False");  // as Python shows them
  return std::move(cells.texts);
}

Column column_of(const std::string& name, Cells cells) {
  if (cells.text) return factor_from_text(name, cells.texts);
  Column c = numeric_column(name, std::move(cells.numbers));
  c.boolean = cells.boolean;
  return c;
}

// Asked before anything is read: a damaged length would be memory that is asked for. `rows`: -1 for any.
void expect_length(const hdf5::File& file, const std::string& path, int64_t rows) {
  int64_t length = 1;
  for (const int64_t d : file.shape(path)) length *= d;
  if (rows >= 0 && length != rows) file.fail(path, fmt::format("has {} values where the index has {}", length, rows));
}

// path: what has the attributes.
Column categorical(const hdf5::File& file, const std::string& path, const std::string& name, const std::string& codes, const std::string& categories,
                   int64_t rows) {
  expect_length(file, codes, rows);
  Column c;
  c.name = name;
  c.levels = labels(file, categories);
  c.ordered = file.attribute_boolean(path, "ordered");
  const auto n = static_cast<int64_t>(c.levels.size());
  std::unordered_set<std::string> seen;
  for (const std::string& level : c.levels)
    if (!seen.insert(level).second) file.fail(categories, fmt::format("the category {} stands twice", quoted(level)));
  for (int64_t code : file.integers(codes)) {
    if (code >= n || code < -1) file.fail(codes, fmt::format("code {} where there are {} categories", code, n));
    const bool missing = code < 0 || is_missing_text(c.levels[static_cast<size_t>(code)]);
    c.code.push_back(missing ? -1 : static_cast<int32_t>(code));
  }
  return c;
}

// False if the object is no column of a table. `rows`: as expect_length() takes it.
bool read_column(const hdf5::File& file, const std::string& path, const std::string& name, int64_t rows, Column& out) {
  if (file.is_group(path)) {
    const std::string encoding = file.attribute(path, "encoding-type");
    if (encoding == "categorical") {
      out = categorical(file, path, name, path + "/codes", path + "/categories", rows);
      return true;
    }
    if (encoding.rfind("nullable-", 0) != 0) return false;
    expect_length(file, path + "/values", rows);
    expect_length(file, path + "/mask", rows);
    const std::vector<int64_t> mask = file.integers(path + "/mask");
    out = column_of(name, read_cells(file, path + "/values", mask));
    return true;
  }
  if (!file.is_dataset(path) || file.shape(path).size() != 1) return false;
  expect_length(file, path, rows);
  if (const std::string categories = file.attribute_reference(path, "categories"); !categories.empty()) {
    out = categorical(file, path, name, path, categories, rows);
  } else if (file.is_text(path) || file.is_number(path)) {
    out = column_of(name, read_cells(file, path));
  } else {
    return false;
  }
  return true;
}

}  // namespace

Table read_frame(const hdf5::File& file, const std::string& path) {
  if (!file.exists(path)) file.fail(path, "the file has no such table", "an .h5ad file needs obs and var: is it one?");
  if (!file.is_group(path)) file.fail(path, "a table as AnnData wrote it before 0.7", "read and write the file with a newer AnnData");
  std::string index = file.attribute(path, "_index");
  if (index.empty()) index = file.exists(path + "/_index") ? "_index" : "index";
  if (!file.exists(path + "/" + index)) file.fail(path, fmt::format("its index {} does not exist", quoted(index)));
  Table table;
  Column names;
  // Text first: a name such as "NA" is a name here, not a missing value.
  if (file.is_dataset(path + "/" + index) && file.is_text(path + "/" + index)) table.keys = file.texts(path + "/" + index);
  else if (read_column(file, path + "/" + index, index, -1, names)) table.keys = cells_of(names);
  else file.fail(path + "/" + index, "cannot be read as names");
  table.key_name = index == "_index" ? "index" : index;

  std::vector<std::string> order = file.attribute_list(path, "column-order");
  std::vector<std::string> present = file.children(path);
  // AnnData writes a column "a/b" as b within a group a.
  std::unordered_set<std::string> outer;
  for (const std::string& name : order)
    if (const size_t slash = name.find('/'); slash != std::string::npos && file.exists(path + "/" + name)) outer.insert(name.substr(0, slash));
  for (const std::string& name : present)
    if (std::find(order.begin(), order.end(), name) == order.end() && name != index && name.rfind("__", 0) != 0 && !outer.contains(name)) order.push_back(name);
  std::unordered_set<std::string> taken;  // a damaged list may name a column twice
  for (const std::string& name : order) {
    const std::string inner = path + "/" + name;
    if (name == index || !taken.insert(name).second) continue;
    if (std::find(present.begin(), present.end(), name) == present.end() && (name.find('/') == std::string::npos || !file.exists(inner))) continue;
    Column column;
    if (!read_column(file, inner, name, table.rows(), column)) {
      log::info("column {} of {} is not read: no column of numbers or text", quoted(name), file.where(path));
      continue;
    }
    table.columns.push_back(std::move(column));
  }
  return table;
}

namespace {

// Whether a column can have this name in the file: HDF5 reads '/' as a path and "." as the table itself, AnnData keeps "_index" for the
// names of rows and writes no table with a column called so.
bool is_storable(const std::string& name) {
  return !name.empty() && name != "." && name != "_index" && name.find('/') == std::string::npos;
}

// The name of each column in the file, none twice and none that of the index. Those that can stay, stay; another one is said.
std::vector<std::string> stored_names(const std::string& path, const Table& table, const std::string& index) {
  std::unordered_set<std::string> taken = {"_index", index};
  std::vector<std::string> names(table.columns.size());
  for (size_t i = 0; i < names.size(); ++i)
    if (const std::string& name = table.columns[i].name; is_storable(name) && taken.insert(name).second) names[i] = name;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!names[i].empty()) continue;
    std::string base = table.columns[i].name == "." ? "_" : table.columns[i].name;
    std::replace(base.begin(), base.end(), '/', '_');
    names[i] = base;
    for (int n = 2; !is_storable(names[i]) || !taken.insert(names[i]).second; ++n) names[i] = fmt::format("{}_{}", base, n);
    log::info("column {} of {} is written as {}: an .h5ad file cannot hold it by its name", quoted(table.columns[i].name), path, quoted(names[i]));
  }
  return names;
}

}  // namespace

void write_frame(hdf5::Writer& writer, const std::string& path, const Table& table) {
  writer.group(path);
  // A column may be named as the index is.
  const std::string index = table.key_name == "index" || table.find(table.key_name) || !is_storable(table.key_name) ? "_index" : table.key_name;
  const std::vector<std::string> order = stored_names(path, table, index);
  writer.attribute(path, "encoding-type", std::string("dataframe"));
  writer.attribute(path, "encoding-version", std::string("0.2.0"));
  writer.attribute(path, "_index", index);
  auto array = [&](const std::string& at, const std::string& type) {
    writer.attribute(at, "encoding-type", type);
    writer.attribute(at, "encoding-version", std::string("0.2.0"));
  };
  writer.texts(path + "/" + index, table.keys);
  array(path + "/" + index, "string-array");
  for (size_t i = 0; i < table.columns.size(); ++i) {
    const Column& c = table.columns[i];
    const std::string at = path + "/" + order[i];
    const auto n = static_cast<int64_t>(c.size());
    if (c.numeric && c.boolean) {
      const bool nullable = c.count_missing() > 0;
      if (nullable) {
        writer.group(at);
        writer.attribute(at, "encoding-type", std::string("nullable-boolean"));
        writer.attribute(at, "encoding-version", std::string("0.1.0"));
      }
      const auto booleans = [&](const std::string& name, auto is) {
        std::vector<int8_t> values;
        for (double x : c.number) values.push_back(is(x));
        writer.booleans(name, values);
        array(name, "array");
      };
      booleans(nullable ? at + "/values" : at, [](double x) { return x == 1; });
      if (nullable) booleans(at + "/mask", [](double x) { return std::isnan(x); });
      continue;
    }
    if (c.numeric) {
      const bool whole = std::all_of(c.number.begin(), c.number.end(), [](double x) { return std::nearbyint(x) == x && std::abs(x) < 9e15; });
      if (whole) writer.numbers(at, {n}, std::vector<int64_t>(c.number.begin(), c.number.end()).data());
      else writer.numbers(at, {n}, c.number.data());
      array(at, "array");
      continue;
    }
    writer.group(at);
    array(at, "categorical");
    writer.attribute(at, "ordered", c.ordered);
    if (c.levels.size() < 128) writer.numbers(at + "/codes", {n}, std::vector<int8_t>(c.code.begin(), c.code.end()).data());
    else writer.numbers(at + "/codes", {n}, c.code.data());
    array(at + "/codes", "array");
    writer.texts(at + "/categories", c.levels);
    array(at + "/categories", "string-array");
  }
  writer.attribute(path, "column-order", order);
}

Frozen read_frozen(const hdf5::File& file, std::string& kind) {
  Frozen frozen;
  kind.clear();
  const std::string root = "uns/panvae";
  if (!file.is_group(root)) return frozen;
  auto scalar = [&](const std::string& name) {
    const std::string at = root + "/" + name;
    if (!file.is_dataset(at)) return std::string();
    const std::vector<std::string> all = file.texts(at);
    return all.size() == 1 ? all.front() : std::string();
  };
  kind = scalar("kind");
  const std::string settings = scalar("settings");
  if (settings.empty()) return frozen;
  frozen.settings = parse_json(settings);
  if (!frozen.settings.is_object()) file.fail(root + "/settings", "is no JSON object");
  if (file.is_dataset(root + "/features")) frozen.features = file.texts(root + "/features");
  if (file.is_group(root + "/arrays"))
    for (const std::string& name : file.children(root + "/arrays")) {
      const std::string at = root + "/arrays/" + name;
      frozen.arrays[name] = {file.shape(at), file.doubles(at)};
    }
  return frozen;
}

void write_frozen(hdf5::Writer& writer, const Frozen& frozen, const std::string& kind) {
  auto encoded = [&](const std::string& at, const std::string& type, const std::string& version) {
    writer.attribute(at, "encoding-type", type);
    writer.attribute(at, "encoding-version", version);
  };
  writer.group("uns");
  encoded("uns", "dict", "0.1.0");
  if (frozen.empty() && kind.empty()) return;
  const std::string root = "uns/panvae";
  writer.group(root);
  encoded(root, "dict", "0.1.0");
  if (!kind.empty()) {
    writer.text(root + "/kind", kind);
    encoded(root + "/kind", "string", "0.2.0");
  }
  if (frozen.empty()) return;
  writer.text(root + "/settings", frozen.settings.dump(-1, ' ', false, Json::error_handler_t::replace));
  encoded(root + "/settings", "string", "0.2.0");
  writer.texts(root + "/features", frozen.features);
  encoded(root + "/features", "string-array", "0.2.0");
  writer.group(root + "/arrays");
  encoded(root + "/arrays", "dict", "0.1.0");
  for (const auto& [name, array] : frozen.arrays) {
    writer.numbers(root + "/arrays/" + name, array.shape, array.values.data());
    encoded(root + "/arrays/" + name, "array", "0.2.0");
  }
}

}  // namespace panvae::data
