// The functions of kernels/vector_math.h against those of the C library in f64.
#include "kernels/vector_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/philox.h"

namespace panvae::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// In units in the last place of the right value, of which a denormal number has as many as the smallest normal one.
double units_off(float value, double right) {
  const int exponent = right == 0 ? -126 : std::max(std::ilogb(right), -126);
  return std::abs(static_cast<double>(value) - right) / std::ldexp(1, exponent - 23);
}

TEST(vector_math, exponential_is_within_two_units) {
  double largest = 0;
  for (int32_t i = -104'000'000; i <= 88'500'000; i += 37) {
    const float x = static_cast<float>(i) * 1e-6f;
    largest = std::max(largest, units_off(exponential(x), std::exp(static_cast<double>(x))));
  }
  EXPECT_LE(largest, 2);
  EXPECT_EQ(exponential(0.0f), 1);
  EXPECT_EQ(exponential(-110.0f), 0);
  EXPECT_EQ(exponential(-std::numeric_limits<float>::infinity()), 0);
  EXPECT_EQ(exponential(std::numeric_limits<float>::infinity()), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(exponential(kNaN)));
}

// All numbers that noise takes it of, and others of every magnitude.
TEST(vector_math, logarithm_is_within_one_unit) {
  double largest = 0;
  auto look = [&](float u) { largest = std::max(largest, units_off(logarithm(u), std::log(static_cast<double>(u)))); };
  for (uint64_t word = 0; word <= 0xFFFFFFFF; word += 256) look(uniform_open(static_cast<uint32_t>(word)));
  for (uint32_t bits = 0x00800000; bits < 0x7F800000; bits += 9973) look(std::bit_cast<float>(bits));
  EXPECT_LE(largest, 1);
  EXPECT_EQ(logarithm(1.0f), 0);
}

TEST(vector_math, circle_goes_around_once) {
  double largest = 0;
  for (uint64_t word = 0; word <= 0xFFFFFFFF; word += 256) {
    const float u = uniform_open(static_cast<uint32_t>(word));
    const Circle<float> at = circle(u);
    const double angle = 2 * std::numbers::pi * static_cast<double>(u);
    largest = std::max({largest, std::abs(static_cast<double>(at.cosine) - std::cos(angle)), std::abs(static_cast<double>(at.sine) - std::sin(angle))});
  }
  EXPECT_LE(largest, 1.2e-7);
  for (int quarter = 0; quarter <= 4; ++quarter) {
    const Circle<float> at = circle(0.25f * static_cast<float>(quarter));
    const int cosines[] = {1, 0, -1, 0, 1}, sines[] = {0, 1, 0, -1, 0};
    EXPECT_EQ(at.cosine, static_cast<float>(cosines[quarter])) << quarter;
    EXPECT_EQ(at.sine, static_cast<float>(sines[quarter])) << quarter;
  }
}

TEST(vector_math, a_uniform_number_is_neither_0_nor_1) {
  EXPECT_GT(uniform_open(0), 0);
  EXPECT_LT(uniform_open(0xFFFFFFFF), 1);
}

}  // namespace
}  // namespace panvae::test
