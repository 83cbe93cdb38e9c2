// A folder that the tests of a suite share, and the program run in it.
#pragma once
#include <unistd.h>

#include <filesystem>

#include "base/json.h"
#include "tests/tools/helpers.h"

namespace panvae::test {

// class Mine : public SuiteFolder<Mine> { public: static void prepare() { expect_done("simulate -o sim"); } };
// prepare() runs once, before the first test of the suite.
template <class Suite>
class SuiteFolder : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    char name[] = "/tmp/panvae_test_XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder = name;
    Suite::prepare();
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder); }
  static Outcome run(const std::string& arguments) { return shell("'" + kProgram + "' " + arguments, folder); }
  static void expect_done(const std::string& arguments) {
    const Outcome o = run(arguments);
    ASSERT_EQ(o.code, 0) << arguments << "\n" << o.err;
  }
  static std::string at(const std::string& name) { return folder + "/" + name; }
  static Json json(const std::string& name) { return Json::parse(read_file(at(name))); }
  static inline std::string folder;
};

}  // namespace panvae::test
