// Controls: the same evaluation on labels that mean nothing.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace panvae::eval {

enum class Control { none, permuted };
Control parse_control(const std::string& text);  // "", "none", "permuted"; ErrorCode::usage otherwise

// A permutation of the samples: sample i takes the label (cohort, survival) of sample result[i]. Donors are permuted as
// wholes, among donors with equally many samples, since samples of a donor are not independent: permuted one by one, an
// embedding that only recognises donors would look better than chance. Sample k of a donor takes the label of sample k
// of the other. Drawn by (seed, round) in the order of donor names, so the order of samples matters only within donors.
// A donor with as many samples as no other stays in its place (warn_unpermuted).
//   donor [n]  name of each sample's donor
std::vector<int64_t> permute_donors(std::span<const std::string> donor, uint64_t seed, uint32_t round = 0);

}  // namespace panvae::eval
