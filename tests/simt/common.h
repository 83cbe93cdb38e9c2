// What the tests of the executor share. The kernels under test stand in the test files: kernels/language.h is made for that.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "kernels/language.h"

namespace panvae::test {

struct Orders {
  const char* name;
  simt::Options options;
};
// Few OS threads: the orders matter here, and tests run beside each other.
inline std::vector<Orders> orders() {
  return {{"forward", {simt::Order::forward, 1, 1}},
          {"reverse", {simt::Order::reverse, 1, 1}},
          {"random 1", {simt::Order::random, 1, 1}},
          {"random 2", {simt::Order::random, 2, 1}},
          {"random 3, two OS threads", {simt::Order::random, 3, 2}}};
}

// Runs `fill(stream, out)` in every order on an output full of NaN, expects the same bits, and returns the forward ones.
template <class T, class F>
std::vector<T> in_all_orders(size_t size, F&& fill) {
  std::vector<T> first;
  for (const Orders& o : orders()) {
    Stream stream({DeviceType::simt, 0});
    stream.simt = o.options;
    std::vector<T> out(size);
    std::memset(out.data(), 0xFF, size * sizeof(T));
    fill(stream, out.data());
    if (first.empty()) first = out;
    EXPECT_EQ(std::memcmp(first.data(), out.data(), size * sizeof(T)), 0) << "order " << o.name;
  }
  return first;
}

// The text of the Error that `f` throws, "" if it throws none.
template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

// Under ThreadSanitizer the time of a barrier grows with the square of the block: blocks are kept small there.
#ifdef __SANITIZE_THREAD__
inline constexpr bool kThreadSanitizer = true;
#else
inline constexpr bool kThreadSanitizer = false;
#endif

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace panvae::test
