// What the tests of the engine share.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/context.h"
#include "engine/ops/arithmetic.h"
#include "engine/tape.h"
#include "engine/tensor.h"

namespace panvae::test {

// The Error that `f` throws; a test failure and an empty one if it throws none.
template <class F>
Error error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  } catch (const std::exception& e) {
    ADD_FAILURE() << "an exception that is no Error: " << e.what();
  }
  ADD_FAILURE() << "no error was thrown";
  return Error(ErrorCode::internal, "");
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}
#define EXPECT_CONTAINS(text, part) EXPECT_TRUE(::panvae::test::contains(text, part)) << "'" << (text) << "' lacks '" << (part) << "'"

// A folder that is gone when the test ends.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "panvae_test_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline Tensor tensor(Context& c, Shape shape, std::vector<float> values) {
  return Tensor::from(c, shape, values);
}
inline Tensor parameter(Context& c, Shape shape, std::vector<float> values, const char* name) {
  Tensor t = Tensor::from(c, shape, values);
  t.require_gradient(name);
  return t;
}

inline std::vector<float> ramp(size_t n, float scale = 1) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = scale * (static_cast<float>(i * 37 % 101) / 50 - 1);
  return v;
}

// All devices that any machine has; simt in one order after the other is the business of tests/cases.
inline std::vector<Device> host_devices() {
  return {{DeviceType::cpu, 0}, {DeviceType::simt, 0}};
}

}  // namespace panvae::test
