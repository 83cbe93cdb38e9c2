#include "bench/processor.h"

#include <string_view>

namespace panvae::bench {

std::string processor_name(std::istream& cpuinfo) {
  std::string implementer, part;
  for (std::string line; std::getline(cpuinfo, line);) {
    const auto value_of = [&](std::string_view key) {
      const size_t colon = line.find(": ");
      return line.starts_with(key) && colon != std::string::npos ? line.substr(colon + 2) : std::string();
    };
    if (std::string name = value_of("model name"); !name.empty()) return name;
    if (implementer.empty()) implementer = value_of("CPU implementer");
    if (part.empty()) part = value_of("CPU part");
  }
  return implementer.empty() || part.empty() ? "CPU" : "CPU implementer " + implementer + ", part " + part;
}

}  // namespace panvae::bench
