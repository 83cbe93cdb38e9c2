// This program is linked with kernels/matmul.cu compiled without its barrier (PV_TEST_WITHOUT_MATMUL_BARRIER). What the
// tests of the cases compare must notice: a planted fault that passes would mean that they prove nothing.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "kernels/kernels.h"

namespace panvae {
namespace {

const simt::Options kOrders[] = {{simt::Order::forward, 1, 1}, {simt::Order::reverse, 1, 1}, {simt::Order::random, 1, 1}};

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

std::vector<float> numbers(size_t n) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = static_cast<float>(i * 7919 % 1000) / 500 - 1;
  return v;
}

Verdict product(int64_t M, int64_t N, int64_t K, MathMode mode) {
  const std::vector<float> a = numbers(static_cast<size_t>(M * K)), b = numbers(static_cast<size_t>(K * N));
  return compare_orders(static_cast<size_t>(M * N), [&](Stream& stream, float* c) {
    stream.math = mode;
    k::matmul<float>(stream, a.data(), false, b.data(), false, c, M, N, K, Epilogue<float>{});
  });
}

TEST(matmul_without_barrier, is_noticed_by_the_orders) {
  for (MathMode mode : {MathMode::ieee, MathMode::tf32, MathMode::bf16}) {
    const Verdict v = product(33, 65, 40, mode);
    EXPECT_TRUE(v.noticed()) << "a matmul without its barrier passed, mode " << static_cast<int>(mode);
  }
}

TEST(matmul_without_barrier, is_noticed_in_large_tiles) {
  const Verdict v = product(130, 140, 24, MathMode::ieee);
  EXPECT_TRUE(v.noticed());
}

// Control: what was not planted passes the same comparison, here a reduction with barriers of its own.
TEST(matmul_without_barrier, leaves_other_kernels_alone) {
  const std::vector<float> x = numbers(700);
  const Verdict v = compare_orders(7, [&](Stream& stream, float* y) { k::sum_rows<float>(stream, x.data(), y, 7, 100); });
  EXPECT_FALSE(v.noticed());
}

// And the CPU twin, which has no barrier, is right even in this program.
TEST(matmul_without_barrier, cpu_twin_is_right) {
  Stream stream({DeviceType::cpu, 0});
  const std::vector<float> a{1, 2, 3, 4}, b{5, 6, 7, 8};
  std::vector<float> c(4);
  k::matmul<float>(stream, a.data(), false, b.data(), false, c.data(), 2, 2, 2, Epilogue<float>{});
  EXPECT_EQ(c, (std::vector<float>{19, 22, 43, 50}));
}

}  // namespace
}  // namespace panvae
