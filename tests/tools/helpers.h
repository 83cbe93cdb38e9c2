// Running the program as its users do.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "base/file.h"

namespace panvae::test {

struct Outcome {
  int code;
  std::string out, err;
};

inline Outcome shell(const std::string& command, const std::string& folder) {
  const std::string full = "cd '" + folder + "' && " + command + " >stdout.txt 2>stderr.txt";
  const int status = std::system(full.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(folder + "/stdout.txt"), read_file(folder + "/stderr.txt")};
}

inline const std::string kProgram = PANVAE_PROGRAM;
// One line, "panvae: error: WHAT ...", and the exit code.
inline void expect_error(const Outcome& o, int code, const std::string& fragment) {
  EXPECT_EQ(o.code, code) << o.err;
  const size_t begin = o.err.find("panvae: error: ");
  ASSERT_NE(begin, std::string::npos) << o.err;
  EXPECT_EQ(o.err.find('\n', begin), o.err.size() - 1) << o.err;
  EXPECT_NE(o.err.find(fragment), std::string::npos) << o.err;
}

}  // namespace panvae::test
