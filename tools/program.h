// The whole command line as a function, so that a command (demo) can run others as a user would.
#pragma once
#include <string>
#include <vector>

namespace panvae::tools {

// Runs one command line (without the program's name) and returns its exit code: 0, or 2 after a usage error was printed.
// Other failures are thrown as Error. `print_results` false: results go to --json alone.
int run_program(const std::vector<std::string>& arguments, bool print_results = true);

}  // namespace panvae::tools
