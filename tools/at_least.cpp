#include "tools/at_least.h"

#include "base/error.h"
#include "data/table.h"

namespace panvae::tools {

CLI::Validator at_least(int64_t least) {
  return {[least](std::string& text) -> std::string {
            double value = 0;
            if (!data::parse_number(text, value)) return fmt::format("{} is no number", quoted(text));
            return value >= static_cast<double>(least) ? std::string() : fmt::format("{} is below {}", text, least);
          },
          fmt::format("{} or more", least)};
}

}  // namespace panvae::tools
