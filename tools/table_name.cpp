#include "tools/table_name.h"

#include "base/error.h"
#include "base/file.h"

namespace panvae::tools {

void check_table_output(const std::string& path, const std::string& option) {
  bool known = false;
  for (const char* ending : {".tsv", ".csv", ".tsv.gz", ".csv.gz"}) known |= path.ends_with(ending);
  if (!known) fail_usage(fmt::format("the ending of {} is not known", quoted(path, 400)), option, "tables are .tsv or .csv (.gz too)");
  AtomicFile probe(path);
}

}  // namespace panvae::tools
