// Options of every command that reads a matrix.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "data/batch_effects.h"
#include "data/read.h"
#include "tools/cli.h"

namespace panvae::tools {

// --rows samples|features. Samples where nothing is said, and tables whose names say otherwise are refused then.
struct RowsOption {
  std::string word;  // empty: nothing was said
  CLI::Option* declare(CLI::App& command);
  data::Rows value() const;
};

// --unknown-batch error|zero
struct UnknownBatchOption {
  std::string word;
  CLI::Option* declare(CLI::App& command, const std::string& otherwise);  // otherwise: what is done where nothing is said
  std::optional<data::UnknownBatch> value() const;
};

// Filled by the parser; read() turns them into what read_dataset() takes.
struct DatasetOptions {
  RowsOption rows;
  std::string missing = "refuse";
  data::ReadOptions read_options;
  std::vector<std::pair<std::string, std::string>> keys;  // canonical column, name given by --*-key

  // Declares --obs, --where, --missing, --make-unique, --rows and a --COLUMN-key for every canonical column but batch.
  void declare(CLI::App& command);
  // For commands that read several matrices: the tables and conditions hold for each of them.
  data::ReadOptions read() const;
};

}  // namespace panvae::tools
