// Binomial thinning: a sample's counts dealt into two halves, as two libraries from one tube would have them.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace panvae::eval {

// half[g] ~ Binomial(counts[g], 1/2), drawn exactly, one random bit a count; the other half is counts - half. The draw
// of a count follows from (seed, sample name, feature name) alone. ErrorCode::input for what is no whole number from 0 to
// 2^32 - 1: thinning needs raw counts.
//   counts [features], feature_key [features] from thinning_keys(names)
std::vector<double> thin(std::span<const double> counts, std::span<const uint64_t> feature_key, const std::vector<std::string>& features,
                         const std::string& sample, uint64_t seed);
std::vector<uint64_t> thinning_keys(const std::vector<std::string>& features);

}  // namespace panvae::eval
