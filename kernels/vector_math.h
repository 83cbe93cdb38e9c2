// exp, log, sine and cosine and the normal distribution for loops that a compiler turns into vector code: no branch, no call, no
// table. In f32 only; f64, which is for tests, takes them from the C library. One text for all devices, which
// differ by what their compilers contract into one multiply-add, at most.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/language.h"

namespace panvae {

// exp(x) within 2 units in the last place, denormal results included; NaN stays NaN. With n the integer nearest to x / ln 2
// and r the rest: exp(r) by its series, |r| <= 0.35, times 2^n in two steps.
__host__ __device__ inline float exponential(float x) {
  constexpr float kMagic = 12582912.0f;                                      // 1.5 * 2^23: a sum with it has n in its low bits
  constexpr float kLn2 = 0.693359375f, kLn2Rest = -2.12194440054690583e-4f;  // ln 2 in two parts; n times the first is exact
  const float y = x > 90.0f ? 90.0f : x < -105.0f ? -105.0f : x;
  const float shifted = y * 1.44269504f + kMagic, n = shifted - kMagic;
  const float r = (y - n * kLn2) - n * kLn2Rest;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  const uint32_t bits = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kMagic);  // n
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(bits) >> 1);
  return p * std::bit_cast<float>((half + 127) << 23) * std::bit_cast<float>((bits - half + 127) << 23);
}
__host__ __device__ inline double exponential(double x) {
  return std::exp(x);
}

// log(1 + u) for u in [0, 1], small ones included: 2 artanh(s), s = u / (2 + u) <= 1/3, by its series, whose first term left
// out is below 2e-8 of the value. NaN stays NaN.
__host__ __device__ inline float log_1_plus(float u) {
  const float s = u / (2.0f + u), z = s * s;
  float p = 1.0f / 13;
  p = p * z + 1.0f / 11;
  p = p * z + 1.0f / 9;
  p = p * z + 1.0f / 7;
  p = p * z + 1.0f / 5;
  p = p * z + 1.0f / 3;
  return 2.0f * s * (p * z + 1.0f);
}
__host__ __device__ inline double log_1_plus(double u) {
  return std::log1p(u);
}

// log(u) of a normal number above 0, within 1 unit in the last place, near 1 too: u = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)); e ln 2
// in two parts, of which e times the first is exact, and log(1 + f) = 2 artanh(s), s = f / (2 + f), |s| < 0.172, by its series, as
// f - (f^2/2 - s (f^2/2 + r)): f is exact, and what rounds is small beside it.
__host__ __device__ inline float logarithm(float u) {
  constexpr uint32_t kRootHalf = 0x3F3504F3;  // sqrt(1/2)
  const uint32_t bits = std::bit_cast<uint32_t>(u);
  const int32_t e = static_cast<int32_t>(bits - kRootHalf) >> 23;
  const float n = static_cast<float>(e), f = std::bit_cast<float>(bits - (static_cast<uint32_t>(e) << 23)) - 1.0f;
  const float s = f / (2.0f + f), z = s * s, half = 0.5f * f * f;
  float r = 2.0f / 9;
  r = r * z + 2.0f / 7;
  r = r * z + 2.0f / 5;
  r = r * z + 2.0f / 3;
  return n * 0.693359375f + (f - (half - (s * (half + r * z) + n * -2.12194440054690583e-4f)));
}
__host__ __device__ inline double logarithm(double u) {
  return std::log(u);
}

// cos(2 pi u) and sin(2 pi u) of a part u of a turn, 0 <= u <= 1, within 1.2e-7: 4 u = q + r with a whole q and |r| <= 1/2, both exact;
// cosine and sine of r quarters of a turn by their series, and q says which of them is which, and its sign.
template <class T>
struct Circle {
  T cosine, sine;
};
__host__ __device__ inline Circle<float> circle(float u) {
  constexpr float kMagic = 12582912.0f;  // as above
  const float shifted = 4.0f * u + kMagic, r = 4.0f * u - (shifted - kMagic), z = r * r;
  const uint32_t q = std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(kMagic);
  float s = 1.604411848e-4f;
  s = s * z - 4.681754135e-3f;
  s = s * z + 7.969262625e-2f;
  s = s * z - 6.459640975e-1f;
  s = s * z * r + 1.570796327f * r;
  float c = -2.520204237e-5f;
  c = c * z + 9.192602748e-4f;
  c = c * z - 2.086348076e-2f;
  c = c * z + 2.536695079e-1f;
  c = c * z - 1.233700550f;
  c = c * z + 1.0f;
  const uint32_t odd = q & 1, of_cosine = std::bit_cast<uint32_t>(odd ? s : c), of_sine = std::bit_cast<uint32_t>(odd ? c : s);
  return {std::bit_cast<float>(of_cosine ^ ((q + 1) & 2) << 30), std::bit_cast<float>(of_sine ^ (q & 2) << 30)};
}
__host__ __device__ inline Circle<double> circle(double u) {
  const double angle = 6.283185307179586476925 * u;
  return {std::cos(angle), std::sin(angle)};
}

// c[0] + c[1] u + c[2] u^2 + ...
template <int N>
__host__ __device__ constexpr float polynomial(const float (&c)[N], float u) {
  float p = c[N - 1];
  for (int i = N - 2; i >= 0; --i) p = p * u + c[i];
  return p;
}

// P(x), the standard normal distribution, and d/dx (x P(x)) = P(x) + x p(x): both are 1/2 and an odd function of x, here x
// times a rational function of x^2, fitted on Chebyshev nodes by reweighted least squares until the largest error was least:
// 1e-8 over |x| <= 5.6 and 6e-9 over |x| <= 6.2. Beyond, they are 0 or 1 to as much. With the rounding of f32: 2e-7.
__host__ __device__ inline float normal_below(float x) {
  constexpr float kP[] = {0.3989422215580706f,     0.03437608222496881f,   0.004707257762551345f,
                          0.00017385047877014917f, 6.356530010263868e-06f, 2.214533261667119e-08f};
  constexpr float kQ[] = {1.0f, 0.2528337727100927f, 0.02894007322898861f, 0.0019129766922539166f, 7.510184314036236e-05f, 1.1802124261589272e-06f};
  const float u = x * x, odd = x * polynomial(kP, u) / polynomial(kQ, u);
  return x > 5.6f ? 1.0f : x < -5.6f ? 0.0f : 0.5f + odd;
}
__host__ __device__ inline float gelu_slope(float x) {
  constexpr float kP[] = {0.7978845136545882f,   -0.01823648749754106f,   0.013698821624716015f,  0.000277601596229141f,
                          3.41619823849169e-05f, 1.1253993552615603e-06f, 1.8735099031948204e-08f};
  constexpr float kQ[] = {1.0f,
                          0.3104767024386084f,
                          0.045662823579101744f,
                          0.004185693040843508f,
                          0.0002643425884592342f,
                          1.1299540542432776e-05f,
                          3.964305994305759e-07f,
                          1.3763783124218147e-09f};
  const float u = x * x, odd = x * polynomial(kP, u) / polynomial(kQ, u);
  return x > 6.2f ? 1.0f : x < -6.2f ? 0.0f : 0.5f + odd;
}
__host__ __device__ inline double normal_below(double x) {
  return 0.5 * std::erfc(-0.707106781186547524 * x);
}
__host__ __device__ inline double gelu_slope(double x) {
  return normal_below(x) + x * 0.398942280401432678 * std::exp(-0.5 * x * x);
}

}  // namespace panvae
