// What every command of the program shares: common options, results to stdout or --json, errors to exit codes.
#pragma once
#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "kernels/profile.h"

namespace panvae::tools {

// Options that many commands have; filled by the parser before a command's callback runs.
struct Globals {
  std::string device = "auto";
  std::string precision;              // empty: the device's default
  std::string provider;               // of products and convolutions on cuda; empty: as the environment says
  std::string tune;                   // file of measured providers, empty for none
  std::string profile;                // file of a trace of kernels, empty for none
  std::shared_ptr<Profile> profiler;  // where there is such a file
  int threads = 0;                    // 0: all cores
  uint64_t seed = 0;
  std::string json;  // file, "-" for stdout, empty for none
  bool quiet = false, verbose = false;
};

class Session {
 public:
  Globals globals;
  std::vector<std::string> arguments;  // the command line, without the program's name
  std::string* answer = nullptr;       // within a command that runs others: what goes to stdout elsewhere
  // Declares --json, --quiet, --verbose, --threads and, where asked for, --seed, --device with --profile, and --precision with
  // --provider and --tune. blas: the command decomposes matrices; it and one with a device begin with prepare_blas()
  // (base/blas.h).
  enum Option : unsigned { none = 0, seed = 1, device = 2, precision = 4, blas = 8 };
  void common(CLI::App& command, unsigned options = none);
  // The same option, marked as the name of a file or folder that the command writes.
  CLI::Option* writes(CLI::Option* option);
  // Applies --threads, --quiet, --verbose, and sees that what the command writes would replace no other file of the command line and
  // that --json and --profile can be written; every command's callback begins with it.
  void begin() const;
  // After the command: the table of --profile to stderr, its trace to the file.
  void end() const;
  // The result of a command: `text` to stdout, unless --json - asked for JSON there; JSON to the file of --json.
  void emit(const std::string& text, const Json& json) const;

 private:
  struct Command {
    const CLI::App* app;
    unsigned options;
  };
  std::vector<Command> commands_;  // with common options
  std::vector<const CLI::Option*> outputs_;
  void refuse_to_replace_what_is_named() const;
};

// A command: the name it has under `panvae` (or under `panvae evaluate`) and the function that declares it.
// One file per command; tools/commands.h lists them all.
//
// Declares a leaf command: purpose, one example that works as pasted, and the callback.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& purpose, const std::string& example);

}  // namespace panvae::tools
