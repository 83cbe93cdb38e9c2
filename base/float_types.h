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

}  // namespace panvae
