// Whether numbers are all there.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace panvae::data {

// No NaN and no infinity among `count` values. By their bits: without the sign those of infinity are the least that is not finite, and
// the largest of integers waits for no addition.
template <class T>
bool all_finite(const T* values, int64_t count) {
  using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  Bits largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::bit_cast<Bits>(values[i]) & std::numeric_limits<Bits>::max());
  return largest < std::bit_cast<Bits>(std::numeric_limits<T>::infinity());
}

}  // namespace panvae::data
