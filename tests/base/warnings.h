#pragma once
#include <string>
#include <vector>

#include "base/log.h"

namespace panvae::test {

// The warnings that are said while this lives.
class Warnings {
 public:
  Warnings()
      : before_(log::set_sink([this](log::Level level, std::string_view line) {
          if (level == log::Level::warning) lines.emplace_back(line);
        })) {}
  ~Warnings() { log::set_sink(before_); }
  Warnings(const Warnings&) = delete;
  Warnings& operator=(const Warnings&) = delete;

  std::vector<std::string> lines;

 private:
  log::Sink before_;
};

}  // namespace panvae::test
