// Doubles in ascending order in time linear in their number: comparisons of 20,000 logs of counts mispredict half of their branches.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace panvae::data {

// Bits whose order as integers is that of the numbers, the same for -0 and 0. Not for NaN.
inline uint64_t ordered_bits(double value) {
  const auto bits = std::bit_cast<uint64_t>(value + 0.0);
  return bits ^ (bits >> 63 ? ~uint64_t{0} : uint64_t{1} << 63);
}
inline double from_ordered_bits(uint64_t bits) {
  return std::bit_cast<double>(bits ^ (bits >> 63 ? uint64_t{1} << 63 : ~uint64_t{0}));
}

// Ascending by bits_of(item). `spare`: memory that the next call takes again.
template <class Item, class Bits>
void radix_sort(std::vector<Item>& items, std::vector<Item>& spare, Bits&& bits_of) {
  const auto less = [&](const Item& a, const Item& b) { return bits_of(a) < bits_of(b); };
  if (items.size() < 256) return std::sort(items.begin(), items.end(), less);
  // Sign, exponent and 21 bits of the mantissa, from the lowest digit to the highest; then the few that share all of these.
  constexpr int digit = 11, lowest = 64 - 3 * digit;
  std::array<std::array<uint32_t, 1 << digit>, 3> counts{};
  const auto digit_of = [&](const Item& item, size_t pass) {
    return static_cast<size_t>(bits_of(item) >> (static_cast<size_t>(lowest) + pass * digit)) & ((size_t{1} << digit) - 1);
  };
  for (const Item& item : items)
    for (size_t pass = 0; pass < 3; ++pass) ++counts[pass][digit_of(item, pass)];
  spare.resize(items.size());
  for (size_t pass = 0; pass < 3; ++pass) {
    if (counts[pass][digit_of(items.front(), pass)] == items.size()) continue;
    uint32_t begin = 0;
    for (uint32_t& count : counts[pass]) begin += std::exchange(count, begin);
    for (const Item& item : items) spare[counts[pass][digit_of(item, pass)]++] = item;
    items.swap(spare);
  }
  for (size_t i = 0; i < items.size();) {
    size_t j = i + 1;
    bool sorted = true;
    for (; j < items.size() && bits_of(items[j]) >> lowest == bits_of(items[i]) >> lowest; ++j) sorted &= bits_of(items[j - 1]) <= bits_of(items[j]);
    if (!sorted) std::sort(items.begin() + static_cast<std::ptrdiff_t>(i), items.begin() + static_cast<std::ptrdiff_t>(j), less);
    i = j;
  }
}

}  // namespace panvae::data
