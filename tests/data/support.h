// Shared by the tests of this room: temporary files, errors, small matrices.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "data/read.h"

namespace panvae::data::test {

// A folder of its own for each test, removed afterwards.
class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ =
        std::filesystem::temp_directory_path() / ("panvae_" + std::string(info->test_suite_name()) + "_" + info->name() + "_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string put(const std::string& name, const std::string& content) const {
    write_file(path(name), content);
    return path(name);
  }

 private:
  std::filesystem::path folder_;
};

// The text of the Error that `f` throws, which must be of `code`; every part of the message is checked by the caller.
template <class F>
std::string error_of(F&& f, ErrorCode code = ErrorCode::input) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(code)) << e.what();
    EXPECT_FALSE(e.hint().empty() && e.where().empty()) << "says neither where nor what to do: " << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return {};
}

// Every word must stand in the message.
inline void expect_names(const std::string& message, const std::vector<std::string>& words) {
  for (const std::string& w : words) EXPECT_NE(message.find(w), std::string::npos) << "'" << w << "' is missing in: " << message;
}

// 0, 1, ..., n - 1
inline std::vector<int64_t> range(int64_t n) {
  std::vector<int64_t> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 0);
  return v;
}

inline std::string reference(const std::string& name) {
  return std::string(PANVAE_SOURCE_DIR) + "/tests/reference/stats/" + name;
}

template <class T>
Dataset<T> dataset(const RowMatrix<T>& x) {
  Dataset<T> d;
  d.x = x;
  d.path = "memory";
  for (int64_t r = 0; r < x.rows(); ++r) d.obs.keys.push_back("s" + std::to_string(r + 1));
  for (int64_t c = 0; c < x.cols(); ++c) d.var.keys.push_back("g" + std::to_string(c + 1));
  d.kind = detect_kind(d.x);
  return d;
}

}  // namespace panvae::data::test
