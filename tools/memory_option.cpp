#include "tools/memory_option.h"

#include <cmath>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/table.h"

namespace panvae::tools {

void MemoryOption::declare(CLI::App& command) {
  command
      .add_option(
          "--memory", text,
          "Memory that may be used, such as 6GiB (auto: 80 % of what is free); a matrix that needs more goes through a temporary file beside the output, "
          "with the same result")
      ->type_name("SIZE")
      ->capture_default_str();
}

// "auto", or a number with or without a unit: 6GiB, 6G, 500M, 6000000000.
double MemoryOption::allowed() const {
  if (text == "auto") {
    const auto available = static_cast<double>(available_bytes());
    return available > 0 ? 0.8 * available : INFINITY;
  }
  const size_t at = text.find_first_not_of("0123456789.");
  double value = 0;
  const bool number = at != 0 && data::parse_number(text.substr(0, at), value) && std::isfinite(value);
  static const std::map<std::string, double> units = {{"", 1},       {"B", 1},         {"K", 1 << 10},   {"M", 1 << 20},   {"G", 1 << 30},
                                                      {"T", 0x1p40}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 0x1p40},
                                                      {"KB", 1e3},   {"MB", 1e6},      {"GB", 1e9},      {"TB", 1e12}};
  const auto unit = units.find(at == std::string::npos ? "" : text.substr(at));
  if (!number || unit == units.end()) fail_usage(fmt::format("{} is no amount of memory", quoted(text)), "--memory", "say auto, or a size such as 6GiB");
  return value * unit->second;
}

std::string temporary_folder(const std::string& in, const std::string& out, double needed, double allowed) {
  const std::string folder = std::filesystem::path(out).parent_path().string();
  log::info("{}: {} needed in memory, {} allowed: the matrix goes through a temporary file in {}", in, human_bytes(static_cast<int64_t>(needed)),
            human_bytes(static_cast<int64_t>(allowed)), quoted(folder.empty() ? "." : folder, 400));
  return folder;
}

}  // namespace panvae::tools
