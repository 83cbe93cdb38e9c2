#pragma once
#include <string>

namespace panvae::tools {

// ErrorCode::usage naming the option for a table whose name does not end in .tsv or .csv (.gz too).
void check_table_name(const std::string& path, const std::string& option);

}  // namespace panvae::tools
