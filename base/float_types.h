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

// IEEE half precision in storage: 11 significant bits, up to 65504. For matrices on disk.
struct f16 {
  uint16_t bits;
};

// Round to nearest, ties to even; NaN stays NaN, from 65520 on the result is infinite.
constexpr f16 to_f16(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x), sign = (u >> 16) & 0x8000u;
  uint32_t a = u & 0x7FFFFFFFu;
  if (a > 0x7F800000u) return {static_cast<uint16_t>(sign | 0x7E00u)};
  if (a >= 0x477FF000u) return {static_cast<uint16_t>(sign | 0x7C00u)};
  // Below 2^-14 a half is a multiple of 2^-24; adding 2^23 to that many of them rounds to a whole number.
  if (a < 0x38800000u) return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(std::bit_cast<float>(a) * 16777216.0f + 8388608.0f) - 0x4B000000u))};
  a += 0xFFFu + ((a >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((a - 0x38000000u) >> 13))};
}
constexpr float to_float(f16 x) {
  const uint32_t sign = uint32_t{x.bits & 0x8000u} << 16, exponent = (x.bits >> 10) & 31u, mantissa = x.bits & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent == 0) return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(mantissa) * (1.0f / 16777216.0f)));
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

}  // namespace panvae
