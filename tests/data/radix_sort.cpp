#include "data/radix_sort.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/philox.h"

namespace panvae::data {
namespace {

// Beside std::sort: logs of counts with their many ties, numbers that differ in their last bits alone, both signs, infinities.
TEST(RadixSort, IsTheOrderOfComparisons) {
  PhiloxSequence g(PhiloxKey{7, 1, 0});
  constexpr double inf = std::numeric_limits<double>::infinity();
  for (const size_t n : {0, 1, 2, 255, 256, 257, 5000})
    for (int kind = 0; kind < 5; ++kind) {
      std::vector<double> values;
      for (size_t i = 0; i < n; ++i) {
        const double u = g.normal();
        values.push_back(kind == 0   ? std::log2(std::floor(std::exp(3 + 2 * u)) + 0.3)
                         : kind == 1 ? 1e6 + u * 1e-8
                         : kind == 2 ? u * std::exp2(std::floor(100 * g.normal()))
                         : kind == 3 ? (u > 1.5    ? inf
                                        : u < -1.5 ? -inf
                                        : u < 0    ? -0.0
                                                   : 0.0)
                                     : 3.0);
      }
      std::vector<uint64_t> bits, spare;
      for (const double v : values) bits.push_back(ordered_bits(v));
      radix_sort(bits, spare, [](uint64_t b) { return b; });
      std::sort(values.begin(), values.end());
      ASSERT_EQ(bits.size(), n);
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(from_ordered_bits(bits[i]), values[i]) << n << " of kind " << kind << " at " << i;
    }
}

TEST(RadixSort, ZerosAreOneNumber) {
  EXPECT_EQ(ordered_bits(-0.0), ordered_bits(0.0));
  EXPECT_LT(ordered_bits(-1), ordered_bits(-0.5));
  EXPECT_LT(ordered_bits(-std::numeric_limits<double>::denorm_min()), ordered_bits(0));
}

}  // namespace
}  // namespace panvae::data
