// Tables as text: read_table, write_table, joins.
#include "data/table_io.h"

#include <algorithm>
#include <cctype>
#include <unordered_set>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "data/read.h"
#include "data/text_reader.h"
#include "data/text_writer.h"

namespace panvae::data {

namespace {

Table read(const std::string& path, bool keyed) {
  LineReader reader(path);
  std::string_view line;
  if (!reader.next(line)) fail_input("the table is empty", quoted(path, 400), "its first row should name the columns");
  std::vector<std::string> head = split_fields(reader, line);
  std::vector<std::vector<std::string>> cells;
  Table table;
  std::unordered_map<std::string, int64_t> line_of;
  bool first = true;
  while (reader.next(line)) {
    std::vector<std::string> row = split_fields(reader, line);
    if (first) {
      // R's write.table names one column fewer where row names are written.
      if (row.size() == head.size() + 1) {
        if (row.back().empty()) fail_trailing_separator(reader);
        head.insert(head.begin(), "index");
      }
      first = false;
      cells.resize(head.size());
    }
    if (row.size() != head.size())
      fail_input(fmt::format("{} cells where the first row names {} columns", row.size(), head.size()), reader.where(),
                 head.size() == 1 ? "is the separator right? .csv means commas, .tsv tabs" : "every row needs one cell per column");
    if (keyed && row[0].empty()) fail_input("a row without a name", reader.where() + ", column 1", "the first column is the key of the row");
    if (auto [at, fresh] = line_of.emplace(row[0], reader.line_number()); keyed && !fresh)
      fail_input(fmt::format("the name {} stands twice", quoted(row[0])), fmt::format("{} and line {}", reader.where(), at->second),
                 "names of rows must be unique; they are read from the first column");
    for (size_t c = 0; c < row.size(); ++c) cells[c].push_back(std::move(row[c]));
  }
  if (first) fail_input("the table has no rows", quoted(path, 400), "its first row names the columns, then one row follows per sample or feature");
  table.key_name = head[0].empty() ? "index" : head[0];
  table.keys = std::move(cells[0]);
  std::unordered_set<std::string> seen;
  for (size_t c = 1; c < head.size(); ++c) {
    if (head[c].empty()) fail_input(fmt::format("column {} has no name", c + 1), fmt::format("{}, line 1", quoted(path, 400)), "name it");
    if (!seen.insert(head[c]).second)
      fail_input(fmt::format("two columns are named {}", quoted(head[c])), fmt::format("{}, line 1", quoted(path, 400)), "rename one");
    table.columns.push_back(column_from_text(head[c], cells[c]));
  }
  return table;
}

// Names as R's make.names() and a careless hand write them: '.' for what is no letter or digit, an X before a digit.
std::string loosely(const std::string& name) {
  std::string out;
  for (unsigned char c : name) out += std::isalnum(c) ? static_cast<char>(std::tolower(c)) : '.';
  out.erase(0, out.find_first_not_of('.'));
  while (!out.empty() && out.back() == '.') out.pop_back();
  if (out.size() > 1 && out[0] == 'x' && std::isdigit(static_cast<unsigned char>(out[1]))) out.erase(0, 1);
  return out;
}

// What may be wrong where `key` has no row in the table; empty where nothing is found.
std::string likely_cause(const Table& table, const Table& more, const std::string& key, const std::string& what) {
  for (const Column& c : more.columns)
    if (!c.numeric && std::find(c.levels.begin(), c.levels.end(), key) != c.levels.end())
      return fmt::format("the names are in its column {}: make it the first", quoted(c.name));
  const auto is_unused = [rows = table.row_of()](const std::string& name) { return !rows.contains(name); };
  const std::string loose = loosely(key);
  const std::string* part = nullptr;  // the longest name that is a part of the other
  for (const std::string& name : more.keys) {
    const std::string other = loosely(name);
    if (!is_unused(name) || other.empty()) continue;
    if (other == loose) {
      part = &name;
      break;
    }
    const std::string &longer = other.size() > loose.size() ? other : loose, &shorter = other.size() > loose.size() ? loose : other;
    const size_t at = longer.find(shorter);
    if (shorter.size() < 3 || at == std::string::npos) continue;
    // S1 is no part of S10.
    const auto ends = [&](size_t i) { return i >= longer.size() || longer[i] == '.'; };
    if ((at == 0 || ends(at - 1)) && ends(at + shorter.size()) && (!part || name.size() > part->size())) part = &name;
  }
  if (!part) return {};
  return fmt::format("is {} of the matrix {} of the table? names must be the same to the letter: rename the {}s of one of them", quoted(key, 100),
                     quoted(*part, 100), what);
}

}  // namespace

Table read_table(const std::string& path) {
  return read(path, true);
}

Table read_rows(const std::string& path) {
  return read(path, false);
}

void write_table(const std::string& path, const Table& table) {
  TextWriter out(path);
  const bool lone = table.columns.empty();
  out.field(table.key_name, lone);
  for (const Column& c : table.columns) out.field(c.name);
  out.end_row();
  for (int64_t r = 0; r < table.rows(); ++r) {
    out.field(table.keys[static_cast<size_t>(r)], lone);
    for (const Column& c : table.columns) out.field(c.text(r));
    out.end_row();
  }
  out.commit();
}

void join_table(Table& table, const Table& more, const std::string& what, const std::string& path) {
  const auto row_of = more.row_of();
  std::vector<int64_t> rows;
  int64_t absent = 0;
  std::string first_absent;
  for (const std::string& key : table.keys) {
    const auto at = row_of.find(key);
    if (at == row_of.end()) {
      if (absent++ == 0) first_absent = key;
    }
    rows.push_back(at == row_of.end() ? -1 : at->second);
  }
  const std::string cause = absent > 0 ? likely_cause(table, more, first_absent, what) : "";
  if (absent == table.rows())
    fail_input(fmt::format("no {} of the matrix has a row in the table, whose first row is {}", what, quoted(more.keys.front())),
               fmt::format("{}, {} {}", quoted(path, 400), what, quoted(first_absent)),
               !cause.empty()     ? cause
               : what == "sample" ? "the first column must hold the sample names; a matrix of features x samples needs --rows features"
                                  : "the first column must hold the feature names");
  if (absent > 0)
    fail_input(fmt::format("{} of {} {}s have no row in the table", absent, table.rows(), what),
               fmt::format("{}, first {} {}", quoted(path, 400), what, quoted(first_absent)),
               cause.empty() ? fmt::format("add the missing rows, or take these {}s out of the matrix", what) : cause);
  if (const int64_t unused = more.rows() - table.rows(); unused > 0) log::info("{} rows of {} belong to no {} of the matrix", unused, quoted(path, 400), what);
  Table chosen = more.select(rows);
  for (Column& c : chosen.columns) table.set(std::move(c));
}

}  // namespace panvae::data
