// --memory: how much a command may hold before a matrix goes through a temporary file.
#pragma once
#include <string>

#include "tools/cli.h"

namespace panvae::tools {

struct MemoryOption {
  std::string text = "auto";

  void declare(CLI::App& command);
  // Bytes. ErrorCode::usage for a text that is no amount of memory.
  double allowed() const;
};

// The folder of the temporary file: that of the output. Says in the log why there is one.
std::string temporary_folder(const std::string& in, const std::string& out, double needed, double allowed);

}  // namespace panvae::tools
