// The whole command line as a function, so that a command (demo) can run others as a user would.
#pragma once
#include <string>
#include <vector>

namespace panvae::tools {

// Runs one command line (without the program's name) and returns its exit code: 0, or 2 after a usage error was printed.
// Other failures are thrown as Error. What the command would print to stdout goes to `answer` where there is one.
int run_program(const std::vector<std::string>& arguments, std::string* answer = nullptr);

}  // namespace panvae::tools
