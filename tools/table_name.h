#pragma once
#include <string>

namespace panvae::tools {

// Called before the work, not after it: ErrorCode::usage naming the option for a table whose name does not end in .tsv or .csv (.gz
// too), ErrorCode::machine if nothing can be written there.
void check_table_output(const std::string& path, const std::string& option);

}  // namespace panvae::tools
