// A check of options that are numbers with a least value and no greatest one.
#pragma once
#include <CLI/CLI.hpp>

namespace panvae::tools {

// "0 is below 1", where the library's own check would print the largest double digit by digit. Help shows the least value.
CLI::Validator at_least(int64_t least);

}  // namespace panvae::tools
