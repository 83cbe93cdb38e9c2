#include "base/float_types.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace panvae {
namespace {

// The value of a half by its definition: sign, 5 bits of exponent, 10 of mantissa.
double half_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  double v = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  if (exponent == 31) v = mantissa ? std::nan("") : std::numeric_limits<double>::infinity();
  return bits >> 15 ? -v : v;
}

TEST(f16, every_half_is_read_and_written_back) {
  for (uint32_t b = 0; b < 65536; ++b) {
    const uint16_t bits = static_cast<uint16_t>(b);
    const float x = to_float(f16{bits});
    const double v = half_value(bits);
    if (std::isnan(v)) {
      ASSERT_TRUE(std::isnan(x)) << b;
      ASSERT_TRUE(std::isnan(half_value(to_f16(x).bits))) << b;
    } else {
      ASSERT_EQ(x, v) << b;
      ASSERT_EQ(std::signbit(x), bits >> 15 != 0);
      ASSERT_EQ(to_f16(x).bits, bits) << b;
    }
  }
}

// Between two neighbours the nearer one; in the middle the even one; past the largest by half a step infinity.
TEST(f16, rounds_to_nearest_and_ties_to_even) {
  for (uint32_t b = 0; b < 0x7C00u; ++b) {
    const uint16_t low = static_cast<uint16_t>(b), high = static_cast<uint16_t>(b + 1);
    const double above = b == 0x7BFFu ? 65536.0 : half_value(high);
    const float middle = static_cast<float>((half_value(low) + above) / 2);  // exact
    ASSERT_EQ(to_f16(middle).bits, b % 2 == 0 ? low : high) << b;
    ASSERT_EQ(to_f16(std::nextafter(middle, 0.0f)).bits, low) << b;
    ASSERT_EQ(to_f16(std::nextafter(middle, 1e9f)).bits, high) << b;
    ASSERT_EQ(to_f16(-middle).bits, to_f16(middle).bits | 0x8000u);
  }
  EXPECT_EQ(to_f16(3e38f).bits, 0x7C00u);
  EXPECT_EQ(to_f16(-std::numeric_limits<float>::infinity()).bits, 0xFC00u);
  EXPECT_EQ(to_f16(1e-30f).bits, 0u);
  EXPECT_EQ(to_f16(std::numeric_limits<float>::denorm_min()).bits, 0u);
}

}  // namespace
}  // namespace panvae
