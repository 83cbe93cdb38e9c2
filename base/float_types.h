// Storage types of tensors and the formats beside IEEE single and double.
#pragma once
#include <bit>
#include <cstdint>

namespace panvae {

// bfloat16 in storage: the upper half of a float. Arithmetic happens in float.
struct bf16 {
  uint16_t bits;
};

// Round to nearest, ties to even; NaN stays NaN.
constexpr bf16 to_bf16(float x) {
  uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return {static_cast<uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16)};
}
constexpr float to_float(bf16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// IEEE half precision, 11 significant bits: storage of matrices that are read and not computed with, in files and in memory.
struct f16 {
  uint16_t bits;
};

// Round to nearest, ties to even; beyond 65504 infinity; NaN stays NaN.
constexpr f16 to_f16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), sign = u >> 16 & 0x8000u, magnitude = u & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return {static_cast<uint16_t>(sign | 0x7E00u)};
  if (magnitude >= 0x477FF000u) return {static_cast<uint16_t>(sign | 0x7C00u)};
  if (magnitude >= 0x38800000u) return {static_cast<uint16_t>(sign | (magnitude - 0x38000000u + 0xFFFu + (magnitude >> 13 & 1u)) >> 13)};
  // Below 2^-14 halves are multiples of 2^-24, as floats are in [0.5, 1): the sum rounds.
  const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
  return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3F000000u))};
}
constexpr float to_float(f16 x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16, rest = x.bits & 0x7FFFu;
  // The exponent is 112 too small then, also of numbers that are no longer normal: the product is exact.
  const uint32_t finite = std::bit_cast<uint32_t>(std::bit_cast<float>(rest << 13) * 0x1p112f);
  return std::bit_cast<float>(sign | (rest >= 0x7C00u ? 0x7F800000u | (rest & 0x3FFu) << 13 : finite));
}

}  // namespace panvae
