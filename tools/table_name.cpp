#include "tools/table_name.h"

#include "base/error.h"
#include "base/text.h"

namespace panvae::tools {

void check_table_name(const std::string& path, const std::string& option) {
  for (const char* ending : {".tsv", ".csv", ".tsv.gz", ".csv.gz"})
    if (path.ends_with(ending)) return;
  fail_usage(fmt::format("the ending of {} is not known", quoted(path, 400)), option, "tables are .tsv or .csv (.gz too)");
}

}  // namespace panvae::tools
