#include "data/table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace panvae::data {

namespace {
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return s;
}

// The power of ten of the first digit that is not 0 of a decimal number: -3 for 0.002, 5 for 0.002e8. Far from 0 where the exponent is
// beyond all numbers.
double leading_power(std::string_view number) {
  const size_t e = std::min(number.find_first_of("eE"), number.size());
  const std::string_view mantissa = number.substr(0, e);
  const size_t point = std::min(mantissa.find('.'), mantissa.size()), digit = std::min(mantissa.find_first_of("123456789"), mantissa.size());
  const double power = digit < point ? static_cast<double>(point - digit) - 1 : -static_cast<double>(digit - point);
  double exponent = 0;
  if (e < number.size()) {
    std::string_view text = number.substr(e + 1);
    const bool negative = !text.empty() && text.front() == '-';
    if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
    for (const char c : text) exponent = std::min(1e15, exponent * 10 + (c - '0'));
    if (negative) exponent = -exponent;
  }
  return power + exponent;
}

// Levels keep their order; codes are renumbered.
void drop_unused_levels(Column& column) {
  std::vector<int32_t> renumbered(column.levels.size(), -1);
  for (int32_t c : column.code)
    if (c >= 0) renumbered[static_cast<size_t>(c)] = 0;
  std::vector<std::string> used;
  for (size_t l = 0; l < renumbered.size(); ++l) {
    if (renumbered[l] < 0) continue;
    renumbered[l] = static_cast<int32_t>(used.size());
    used.push_back(std::move(column.levels[l]));
  }
  for (int32_t& c : column.code)
    if (c >= 0) c = renumbered[static_cast<size_t>(c)];
  column.levels = std::move(used);
}
}  // namespace

bool Column::missing(int64_t row) const {
  const auto i = static_cast<size_t>(row);
  return numeric ? std::isnan(number[i]) : code[i] < 0;
}

std::string Column::text(int64_t row) const {
  if (missing(row)) return {};
  const auto i = static_cast<size_t>(row);
  if (numeric && std::abs(number[i]) < 1e15 && std::nearbyint(number[i]) == number[i]) return std::to_string(static_cast<int64_t>(number[i]));
  if (!numeric) return levels[static_cast<size_t>(code[i])];
  std::string digits = shortest(number[i]);
  if (std::abs(number[i]) >= kFirstInexact && digits.find_first_not_of("-0123456789") == std::string::npos) digits += ".0";  // else read as an identifier
  return digits;
}

int64_t Column::count_missing() const {
  if (numeric) return std::count_if(number.begin(), number.end(), [](double x) { return std::isnan(x); });
  return std::count_if(code.begin(), code.end(), [](int32_t c) { return c < 0; });
}

const Column* Table::find(std::string_view name) const {
  for (const Column& c : columns)
    if (c.name == name) return &c;
  return nullptr;
}

const Column& Table::at(std::string_view name) const {
  if (const Column* c = find(name)) return *c;
  std::vector<std::string> names;
  std::string list;
  for (const Column& c : columns) {
    names.push_back(c.name);
    if (names.size() <= 12) list += (list.empty() ? "" : ", ") + c.name;
  }
  if (names.size() > 12) list += ", ...";
  const std::string near = nearest_name(name, names);
  const std::string hint = columns.empty() ? "there are no columns: give a table with --obs"
                                           : fmt::format("{}there are: {}", near.empty() ? "" : fmt::format("did you mean {}? ", quoted(near)), list);
  fail_input(fmt::format("no column {}", quoted(name)), "sample table", hint);
}

void Table::set(Column column) {
  PV_CHECK(column.size() == rows(), "Table.set: column {} has {} rows, the table {}", quoted(column.name), column.size(), rows());
  for (Column& c : columns)
    if (c.name == column.name) {
      c = std::move(column);
      return;
    }
  columns.push_back(std::move(column));
}

Table Table::select(const std::vector<int64_t>& chosen) const {
  Table out;
  out.key_name = key_name;
  out.keys.reserve(chosen.size());
  for (int64_t r : chosen) out.keys.push_back(keys[static_cast<size_t>(r)]);
  for (const Column& c : columns) {
    Column s;
    s.name = c.name;
    s.numeric = c.numeric;
    s.levels = c.levels;
    s.boolean = c.boolean, s.ordered = c.ordered;
    for (int64_t r : chosen) {
      if (c.numeric) s.number.push_back(c.number[static_cast<size_t>(r)]);
      else s.code.push_back(c.code[static_cast<size_t>(r)]);
    }
    drop_unused_levels(s);
    out.columns.push_back(std::move(s));
  }
  return out;
}

std::unordered_map<std::string, int64_t> Table::row_of() const {
  std::unordered_map<std::string, int64_t> map;
  map.reserve(keys.size());
  for (int64_t r = 0; r < rows(); ++r) map.emplace(keys[static_cast<size_t>(r)], r);
  return map;
}

bool is_missing_text(std::string_view cell) {
  cell = trimmed(cell);
  return cell.empty() || cell == "NA" || cell == "NaN" || cell == "nan" || cell == "None" || cell == ".";
}

bool parse_number(std::string_view cell, double& value) {
  cell = trimmed(cell);
  if (!cell.empty() && cell.front() == '+') {
    cell.remove_prefix(1);
    if (!cell.empty() && cell.front() == '-') return false;
  }
  if (cell.empty()) return false;
  auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (end != cell.data() + cell.size() || error == std::errc::invalid_argument) return false;
  if (error == std::errc::result_out_of_range) {
    // from_chars leaves the value alone: too small becomes zero, too large infinite (and is refused as such).
    value = leading_power(cell) < 0 ? 0.0 : std::numeric_limits<double>::infinity();
    if (cell.front() == '-') value = -value;
  }
  return true;
}

Column numeric_column(std::string name, std::vector<double> values) {
  Column c;
  c.name = std::move(name);
  c.numeric = true;
  c.number = std::move(values);
  return c;
}

Column factor_from_text(std::string name, const std::vector<std::string>& cells) {
  Column c;
  c.name = std::move(name);
  c.code.reserve(cells.size());
  std::unordered_map<std::string, int32_t> code_of;
  for (const std::string& cell : cells) {
    if (is_missing_text(cell)) {
      c.code.push_back(-1);
      continue;
    }
    auto [at, fresh] = code_of.emplace(cell, static_cast<int32_t>(c.levels.size()));
    if (fresh) c.levels.push_back(cell);
    c.code.push_back(at->second);
  }
  return c;
}

std::string folded(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

namespace {
// Digits that a double would round.
bool is_long_integer(const std::string& cell, double x) {
  return std::abs(x) >= kFirstInexact && cell.find_first_not_of("+-0123456789 \t") == std::string::npos;
}
}  // namespace

Column column_from_text(std::string name, const std::vector<std::string>& cells) {
  std::vector<double> values;
  values.reserve(cells.size());
  for (const std::string& cell : cells) {
    double x = nan;
    if (!is_missing_text(cell) && (!parse_number(cell, x) || std::isnan(x) || is_long_integer(cell, x))) return factor_from_text(std::move(name), cells);
    values.push_back(x);
  }
  return numeric_column(std::move(name), std::move(values));
}

Column as_factor(const Column& column) {
  Column out;
  out.name = column.name;
  const auto n = static_cast<size_t>(column.size());
  out.code.assign(n, -1);
  std::unordered_map<std::string, int32_t> code_of;
  std::vector<std::string> cells(n);
  for (size_t i = 0; i < n; ++i) {
    if (column.missing(static_cast<int64_t>(i))) continue;
    cells[i] = column.text(static_cast<int64_t>(i));
    if (code_of.emplace(cells[i], 0).second) out.levels.push_back(cells[i]);
  }
  std::sort(out.levels.begin(), out.levels.end());
  for (size_t l = 0; l < out.levels.size(); ++l) code_of[out.levels[l]] = static_cast<int32_t>(l);
  for (size_t i = 0; i < n; ++i)
    if (!column.missing(static_cast<int64_t>(i))) out.code[i] = code_of[cells[i]];
  return out;
}

}  // namespace panvae::data
