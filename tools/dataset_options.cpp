#include "tools/dataset_options.h"

namespace panvae::tools {

CLI::Option* RowsOption::declare(CLI::App& command) {
  return command.add_option("--rows", word, "What the rows of a text matrix are (asked for where their names look like genes or peaks)")
      ->check(CLI::IsMember({"samples", "features"}))
      ->default_str("samples");
}

data::Rows RowsOption::value() const {
  return word.empty() ? data::Rows::unsaid : word == "features" ? data::Rows::features : data::Rows::samples;
}

CLI::Option* UnknownBatchOption::declare(CLI::App& command, const std::string& otherwise) {
  return command.add_option("--unknown-batch", word, "A batch that training never saw: error, or zero (its effect stays in); default: " + otherwise)
      ->check(CLI::IsMember({"error", "zero"}));
}

std::optional<data::UnknownBatch> UnknownBatchOption::value() const {
  if (word.empty()) return {};
  return word == "zero" ? data::UnknownBatch::zero : data::UnknownBatch::error;
}

void DatasetOptions::declare(CLI::App& command) {
  command.add_option("--obs", read_options.obs_table, "Table of samples (TSV or CSV, first column the sample's name) whose columns are joined")
      ->type_name("TABLE")
      ->group("Input");
  command.add_option("--where", read_options.where, "Only samples whose column has one of the values; repeatable, all must hold")
      ->type_name("COLUMN=VALUE[,VALUE...]")
      ->allow_extra_args(false)
      ->group("Input");
  rows.declare(command)->group("Input");
  command.add_option("--missing", missing, "Missing values of logs: refuse, or fill with the feature's mean over the training samples")
      ->check(CLI::IsMember({"refuse", "mean"}))
      ->capture_default_str()
      ->group("Input");
  command.add_flag("--make-unique", read_options.make_unique, "Number repeated sample and feature names (A, A-1, A-2) instead of refusing them")
      ->group("Input");
  // Reserved up front: the parser keeps pointers to the elements.
  keys.reserve(data::canonical_columns().size());
  for (const std::string& column : data::canonical_columns()) {
    if (column == "batch") continue;  // --batch-key of preprocess names any number of columns
    std::string option = column;
    for (char& c : option)
      if (c == '_') c = '-';
    keys.emplace_back(column, "");
    command.add_option("--" + option + "-key", keys.back().second, "Column that holds " + column)
        ->type_name("COLUMN")
        ->default_str(column)
        ->group("Columns of the sample table");
  }
}

data::ReadOptions DatasetOptions::read() const {
  data::ReadOptions o = read_options;
  o.rows = rows.value();
  o.missing = missing == "mean" ? data::Missing::mean : data::Missing::refuse;
  for (const auto& [canonical, given] : keys)
    if (!given.empty()) o.keys[canonical] = given;
  return o;
}

}  // namespace panvae::tools
