// The stand-ins for the vendor's libraries, and operands on the cpu device for them.
#pragma once
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/philox.h"
#include "kernels/kernels.h"
#include "tests/base/helpers.h"

namespace panvae::test {

// A value that the stand-in counts ("objects", "heuristics") or obeys ("fail_matmul", 0 or a status).
inline int& fake_value(const std::string& library, const char* name) {
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  auto* ask = handle ? reinterpret_cast<int* (*)(const char*)>(::dlsym(handle, "fake_value")) : nullptr;
  int* value = ask ? ask(name) : nullptr;
  PV_CHECK(value, "fake_value: {} knows no {}", library, name);
  return *value;
}
// Sets such a value while it lives.
class Fault {
 public:
  Fault(const std::string& library, const char* name, int value) : value_(fake_value(library, name)) { value_ = value; }
  ~Fault() { value_ = 0; }
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;

 private:
  int& value_;
};

// n numbers in [-1, 1], `offset` elements behind a 256-byte boundary.
template <class T>
class Numbers {
 public:
  explicit Numbers(int64_t n, uint32_t op, int64_t offset = 0) : n_(n) {
    data_ = static_cast<T*>(std::aligned_alloc(256, (static_cast<size_t>(n + offset) * sizeof(T) + 255) / 256 * 256 + 256)) + offset;
    block_ = data_ - offset;
    PhiloxSequence sequence({11, op, 0});
    for (int64_t i = 0; i < n; ++i) data_[i] = static_cast<T>(2 * sequence.uniform() - 1);
  }
  ~Numbers() { std::free(block_); }
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;
  operator T*() const { return data_; }
  double operator[](int64_t i) const { return static_cast<double>(data_[i]); }
  std::vector<double> values() const { return {data_, data_ + n_}; }

 private:
  T *data_, *block_;
  int64_t n_;
};

template <class T>
void expect_near(const Numbers<T>& got, const std::vector<double>& expected) {
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(got[static_cast<int64_t>(i)], expected[i], (sizeof(T) == 8 ? 1e-13 : 2e-6) * (1 + std::abs(expected[i]))) << "element " << i;
}

// act(x), as Epilogue says it.
inline double activated(double x, Activation a, double slope) {
  return x >= 0 || a == Activation::none || std::isnan(x) ? x : a == Activation::relu ? 0 : slope * x;
}

}  // namespace panvae::test
