// Tables as text whose first column is no key.
#pragma once
#include <string>

#include "data/table.h"

namespace panvae::data {

// As read_table (data/read.h), but the first column may repeat names and lack some, as that of gene tables does: keys are its
// cells as they stand.
Table read_rows(const std::string& path);

}  // namespace panvae::data
