#include "eval/thinning.h"

#include <bit>
#include <cmath>

#include "base/error.h"
#include "base/philox.h"

namespace panvae::eval {

std::vector<uint64_t> thinning_keys(const std::vector<std::string>& features) {
  std::vector<uint64_t> keys;
  keys.reserve(features.size());
  // The low bits are left to the words of one draw.
  for (const std::string& name : features) keys.push_back(stable_hash(name.data(), name.size()) << 20);
  return keys;
}

std::vector<double> thin(std::span<const double> counts, std::span<const uint64_t> feature_key, const std::vector<std::string>& features,
                         const std::string& sample, uint64_t seed) {
  const uint64_t who = stable_hash(sample.data(), sample.size());
  const PhiloxKey key{seed ^ 0x7468696eull, static_cast<uint32_t>(who), static_cast<uint32_t>(who >> 32)};  // "thin"
  std::vector<double> half(counts.size());
  for (size_t g = 0; g < counts.size(); ++g) {
    const double c = counts[g];
    if (!(c >= 0 && c <= 4294967295.0 && c == std::floor(c)))
      fail_input(fmt::format("{} is no count", c), fmt::format("sample {}, feature {}", panvae::quoted(sample), panvae::quoted(features[g])),
                 "thinning needs the raw counts, whole numbers from 0");
    auto left = static_cast<uint64_t>(c);
    if (left == 0) continue;
    PhiloxSequence bits(key, feature_key[g]);
    int64_t heads = 0;
    for (; left >= 64; left -= 64) heads += std::popcount(bits());
    if (left > 0) heads += std::popcount(bits() & ((uint64_t{1} << left) - 1));
    half[g] = static_cast<double>(heads);
  }
  return half;
}

}  // namespace panvae::eval
