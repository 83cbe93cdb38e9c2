// What the tests of the cases compare, for programs that are linked with a kernel that has a planted fault: a fault that passes
// would mean that they prove nothing.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "kernels/kernels.h"

namespace panvae {

inline const simt::Options kOrders[] = {{simt::Order::forward, 1, 1}, {simt::Order::reverse, 1, 1}, {simt::Order::random, 1, 1}};

struct Verdict {
  bool orders_differ = false, has_nan = false;
  bool reported = false;  // by the executor itself, which sees reads under AddressSanitizer
  bool noticed() const { return orders_differ || has_nan || reported; }
};

// The comparison of orders that tests/cases make: outputs full of NaN, one run an order, the same bits.
template <class F>
Verdict compare_orders(size_t outputs, F run) {
  std::vector<float> first;
  Verdict v;
  for (const simt::Options& o : kOrders) {
    Stream stream({DeviceType::simt, 0});
    stream.simt = o;
    std::vector<float> y(outputs);
    std::memset(y.data(), 0xFF, outputs * sizeof(float));
    try {
      run(stream, y.data());
    } catch (const Error&) {
      v.reported = true;
      continue;
    }
    for (float x : y) v.has_nan = v.has_nan || std::isnan(x);
    if (first.empty()) first = y;
    v.orders_differ = v.orders_differ || std::memcmp(first.data(), y.data(), outputs * sizeof(float)) != 0;
  }
  return v;
}

inline std::vector<float> numbers(size_t n) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = static_cast<float>(i * 7919 % 1000) / 500 - 1;
  return v;
}

inline Verdict product(int64_t M, int64_t N, int64_t K, MathMode mode, ProductFill fill) {
  const std::vector<float> a = numbers(static_cast<size_t>(M * K)), b = numbers(static_cast<size_t>(K * N));
  return compare_orders(static_cast<size_t>(M * N), [&](Stream& stream, float* c) {
    stream.math = mode;
    stream.fill = fill;
    k::matmul<float>(stream, a.data(), false, b.data(), false, c, M, N, K, Epilogue<float>{});
  });
}

}  // namespace panvae
