// Tables of samples (obs) and features (var): one key per row, named columns that are numeric or factors.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace panvae::data {

// A numeric column has one double per row, NaN where missing. A factor has one code per row into `levels` (in order of
// first appearance in text files, as stored in h5ad), -1 where missing.
struct Column {
  std::string name;
  bool numeric = false;
  std::vector<double> number;
  std::vector<int32_t> code;
  std::vector<std::string> levels;
  // What h5ad keeps beside the values: numbers are 0 and 1 and mean no and yes; the levels of a factor have an order.
  bool boolean = false, ordered = false;

  int64_t size() const { return static_cast<int64_t>(numeric ? number.size() : code.size()); }
  bool missing(int64_t row) const;
  // The cell as text that reads back as it is (whole numbers without an exponent, others in their shortest form), "" where missing.
  std::string text(int64_t row) const;
  int64_t count_missing() const;
};

struct Table {
  std::string key_name = "index";
  std::vector<std::string> keys;  // unique
  std::vector<Column> columns;

  int64_t rows() const { return static_cast<int64_t>(keys.size()); }
  const Column* find(std::string_view name) const;
  // As find, but ErrorCode::input naming the nearest column where there is none.
  const Column& at(std::string_view name) const;
  void set(Column column);                               // replaces a column of that name or appends
  Table select(const std::vector<int64_t>& rows) const;  // levels that none of them has are dropped
  std::unordered_map<std::string, int64_t> row_of() const;
};

// Whole numbers from here on are text in every table, for a double rounds them: identifiers of so many digits would be one.
inline constexpr double kFirstInexact = 9007199254740992.0;  // 2^53

// A column from text cells: numeric if every cell that is not missing parses as a number, none of them a whole number that a double
// rounds, else a factor. A column without a single value is numeric (all NaN).
Column column_from_text(std::string name, const std::vector<std::string>& cells);
// The same cells as a factor whatever they look like (names, identifiers, labels such as "1" and "2").
Column factor_from_text(std::string name, const std::vector<std::string>& cells);
Column numeric_column(std::string name, std::vector<double> values);
// The column as a factor with its levels sorted, unused levels dropped: numbers become their shortest text.
Column as_factor(const Column& column);

// "", NA, NaN, nan, None and "." stand for a missing value.
bool is_missing_text(std::string_view cell);
// The whole of `cell` (spaces around it aside) as a finite or infinite number; false if it is not one.
bool parse_number(std::string_view cell, double& value);
// In small letters: what names of cohorts, sexes and ethnicities of two tables are compared by.
std::string folded(std::string text);

}  // namespace panvae::data
