// A folder that the tests of a suite share, and the program run in it.
#pragma once
#include <unistd.h>

#include <filesystem>

#include "base/json.h"
#include "tests/tools/helpers.h"

namespace panvae::test {

// class Mine : public SuiteFolder<Mine> { public: static void prepare() { expect_done("simulate -o sim"); } };
// prepare() runs once, in the first test of the suite, and no test passes where it failed. (In SetUpTestSuite a failure would have the tests
// skipped, and ctest would say so of each, and not that one failed.)
template <class Suite>
class SuiteFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!prepared_) {
      prepared_ = true;
      char name[] = "/tmp/panvae_test_XXXXXX";
      ASSERT_NE(mkdtemp(name), nullptr);
      folder = name;
      Suite::prepare();
      well_ = !HasFailure();
    }
    if (!well_) FAIL() << "what the tests of this suite share could not be prepared";
  }
  static void TearDownTestSuite() {
    if (!folder.empty()) std::filesystem::remove_all(folder);
  }
  static Outcome run(const std::string& arguments) { return shell("'" + kProgram + "' " + arguments, folder); }
  static void expect_done(const std::string& arguments) {
    const Outcome o = run(arguments);
    ASSERT_EQ(o.code, 0) << arguments << "\n" << o.err;
  }
  static std::string at(const std::string& name) { return folder + "/" + name; }
  static Json json(const std::string& name) { return Json::parse(read_file(at(name))); }
  static inline std::string folder;

 private:
  static inline bool prepared_ = false, well_ = false;
};

}  // namespace panvae::test
