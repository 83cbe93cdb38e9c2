// What the cpu's kernels that hold a tile of a product in registers share: its size, and vectors of the processor's width.
//
// A tile has up to kTile rows by kBlock columns, two vectors: for each step of the inner sum two loads, and one value broadcast
// for each row.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace panvae::cpu {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kTile = 14;  // 28 of 32 registers hold sums
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kTile = 6;  // 12 of 16
#else
constexpr int kVectorBytes = 16, kTile = 6;
#endif
template <class T>
using Vector [[gnu::vector_size(kVectorBytes)]] = T;
template <class T>
constexpr int64_t kLanes = kVectorBytes / sizeof(T);
template <class T>
constexpr int64_t kBlock = 2 * kLanes<T>;

template <class T>
Vector<T> load(const T* p) {
  Vector<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Keeps what was loaded in a register: where the load becomes part of each product that uses it, it is done again for each.
template <class T>
inline void in_register([[maybe_unused]] Vector<T>& v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__SSE2__)
  asm("" : "+x"(v));
#endif
}

// f(std::integral_constant<int, n>) for n in [1, numbers of the sequence].
template <class F, int... N>
void with_constant(int64_t n, F&& f, std::integer_sequence<int, N...>) {
  (void)((n == N + 1 && (f(std::integral_constant<int, N + 1>{}), true)) || ...);
}
template <class F>
void with_tile_size(int64_t n, F&& f) {
  with_constant(n, f, std::make_integer_sequence<int, kTile>{});
}

// As few parts of at most `most` as [0, n) can be cut into, and where part i of `parts` begins: their sizes differ by at most one.
constexpr int64_t parts_of(int64_t n, int64_t most) {
  return (n + most - 1) / most;
}
constexpr int64_t part_begin(int64_t n, int64_t parts, int64_t i) {
  return n * i / parts;
}
inline int64_t tiles_of(int64_t n) {
  return parts_of(n, kTile);
}
inline int64_t tile_begin(int64_t n, int64_t i) {
  return part_begin(n, tiles_of(n), i);
}

}  // namespace panvae::cpu
