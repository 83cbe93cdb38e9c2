// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a counter-based
// generator. A draw is a pure function of (seed, op, step, element), so any device, block size or thread count draws the
// same bits, and backward regenerates noise instead of storing it. Everything is constexpr: device code may call it.
#pragma once
#include <cstdint>

namespace panvae {

struct Philox4 {
  uint32_t v[4];
};

constexpr Philox4 philox4x32_10(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t key) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = uint64_t{0xD2511F53u} * c0, p1 = uint64_t{0xCD9E8D57u} * c2;
    uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// One stream of draws: all random numbers of one op in one step. Element i is word i % 4 of counter (i / 4, op, step).
struct PhiloxKey {
  uint64_t seed = 0;
  uint32_t op = 0;
  uint32_t step = 0;
  // Where this is not null, kernels read the step there, in memory of their device, when they run: a graph that was captured
  // once then draws other numbers at each launch. (A double holds any step.)
  const double* step_at = nullptr;

  // With the step read. Kernels begin with it.
  constexpr PhiloxKey now() const { return step_at ? PhiloxKey{seed, op, static_cast<uint32_t>(*step_at)} : *this; }
  constexpr Philox4 four(uint64_t group) const { return philox4x32_10(static_cast<uint32_t>(group), static_cast<uint32_t>(group >> 32), op, step, seed); }
  constexpr uint32_t bits(uint64_t element) const { return four(element / 4).v[element % 4]; }
};

// 24 random bits to a float in (0, 1): never 0 (logarithms) and never 1, which the largest would round to.
constexpr float uniform_open(uint32_t bits) {
  const float u = (static_cast<float>(bits >> 8) + 0.5f) * (1.0f / 16777216.0f);
  return u < 1.0f ? u : 1.0f - 1.0f / 16777216.0f;
}
// 32 random bits to a double in [0, 1).
constexpr double uniform_double(uint32_t bits) {
  return bits * (1.0 / 4294967296.0);
}

// A generator for host code that draws one number after the other (shuffles, simulation): 64-bit words, any
// UniformRandomBitGenerator user, and its whole state is (key, position).
class PhiloxSequence {
 public:
  using result_type = uint64_t;
  explicit constexpr PhiloxSequence(PhiloxKey key, uint64_t position = 0) : key_(key), position_(position) {}
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return UINT64_MAX; }
  constexpr uint64_t operator()() {
    Philox4 f = key_.four(position_ / 2);
    uint64_t half = position_++ % 2;
    return uint64_t{f.v[2 * half]} << 32 | f.v[2 * half + 1];
  }
  // Uniform in [0, 1) with 53 bits.
  constexpr double uniform() { return static_cast<double>((*this)() >> 11) * (1.0 / 9007199254740992.0); }
  // Uniform in [0, n), unbiased (rejection), n > 0.
  constexpr uint64_t below(uint64_t n) {
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t x = (*this)();
    while (x >= limit) x = (*this)();
    return x % n;
  }
  // Standard normal by Box-Muller (host libm; two uniforms each).
  double normal();

 private:
  PhiloxKey key_;
  uint64_t position_;
};

// 64-bit hash of a string, stable over platforms and versions (FNV-1a with a SplitMix64 finaliser): keys of splits.
constexpr uint64_t stable_hash(const char* data, uint64_t size, uint64_t seed = 0) {
  uint64_t h = 0xcbf29ce484222325ull ^ (seed * 0x9E3779B97F4A7C15ull);
  for (uint64_t i = 0; i < size; ++i) h = (h ^ static_cast<unsigned char>(data[i])) * 0x100000001b3ull;
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
  return h ^ (h >> 31);
}

}  // namespace panvae
