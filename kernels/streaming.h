// Stores that go past the caches, for the CPU loops. An ordinary store fetches its cache line first, so a loop that writes
// another array than it reads moves a third more bytes than it needs (y = f(x): 12 instead of 8 an element of f32). Where
// the output is too large to be found in a cache later, whole lines are written to memory without that fetch.
//
//   const bool streaming = streams(y, n, x);
//   parallel_chunks(n, chunk_of(streaming), [=](int64_t begin, int64_t end) {
//     store(streaming, y + begin, end - begin, [=](int64_t first, int64_t count, T* to) {
//       for (int64_t i = 0; i < count; ++i) to[i] = f(x[begin + first + i]);   // to: part of y, or a buffer in L1
//     });
//     end_stores(streaming);
//   });
//
// The values are the same either way. Processors without such stores take the ordinary path.
#pragma once
#include <algorithm>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace panvae::cpu {

// Outputs of this size stream: more than a core's part of any last-level cache. Smaller ones are still there when the next
// kernel reads them.
inline constexpr int64_t kStreamBytes = 16 << 20;
inline constexpr int64_t kLineBytes = 64;

// Elements of a chunk of parallel_chunks: enough to hide the hand-over between threads, and the wait in end_stores.
constexpr int64_t chunk_of(bool streaming) {
  return streaming ? 131072 : 16384;
}

// Whether y [n] is to be streamed: it is large, and no input of n elements lies in it, whose lines would be in the cache.
template <class T, class... X>
bool streams([[maybe_unused]] const T* y, [[maybe_unused]] int64_t n, [[maybe_unused]] const X*... x) {
#if defined(__SSE2__)
  [[maybe_unused]] auto apart = [&](const void* from, int64_t item) {
    const auto a = reinterpret_cast<uintptr_t>(y), b = reinterpret_cast<uintptr_t>(from);
    return a + static_cast<uintptr_t>(n) * sizeof(T) <= b || b + static_cast<uintptr_t>(n * item) <= a;
  };
  return n * static_cast<int64_t>(sizeof(T)) >= kStreamBytes && (apart(x, sizeof(X)) && ...);
#else
  return false;
#endif
}

#if defined(__SSE2__)
#if defined(__AVX512F__)
using LinePart = __m512i;
inline LinePart load_part(const char* p) {
  return _mm512_loadu_si512(p);
}
inline void stream_part(char* p, LinePart v) {
  _mm512_stream_si512(reinterpret_cast<LinePart*>(p), v);
}
#elif defined(__AVX__)
using LinePart = __m256i;
inline LinePart load_part(const char* p) {
  return _mm256_loadu_si256(reinterpret_cast<const LinePart*>(p));
}
inline void stream_part(char* p, LinePart v) {
  _mm256_stream_si256(reinterpret_cast<LinePart*>(p), v);
}
#else
using LinePart = __m128i;
inline LinePart load_part(const char* p) {
  return _mm_loadu_si128(reinterpret_cast<const LinePart*>(p));
}
inline void stream_part(char* p, LinePart v) {
  _mm_stream_si128(reinterpret_cast<LinePart*>(p), v);
}
#endif

// Copies `count` elements to the begin of a line; they are whole lines.
template <class T>
void stream_lines(T* to, const T* from, int64_t count) {
  char* t = reinterpret_cast<char*>(to);
  const char* f = reinterpret_cast<const char*>(from);
  for (int64_t i = 0; i < count * static_cast<int64_t>(sizeof(T)); i += sizeof(LinePart)) stream_part(t + i, load_part(f + i));
}

// plain(first, count) for what lies before the first and behind the last whole line of y [n], lines(first, count) between.
template <class T, class Plain, class Lines>
void by_lines(T* y, int64_t n, Plain&& plain, Lines&& lines) {
  constexpr int64_t kLine = kLineBytes / static_cast<int64_t>(sizeof(T));
  const int64_t past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(y) % kLineBytes) / static_cast<int64_t>(sizeof(T));
  const int64_t head = past == 0 ? 0 : std::min(n, kLine - past), last = head + (n - head) / kLine * kLine;
  if (head > 0) plain(int64_t{0}, head);
  if (last > head) lines(head, last - head);
  if (last < n) plain(last, n - last);
}
#endif

// Behind the last store of a chunk: before another thread is told that the values are there.
inline void end_stores([[maybe_unused]] bool streaming) {
#if defined(__SSE2__)
  if (streaming) _mm_sfence();
#endif
}

// y [n] = what `write(first, count, to)` puts into to [count] for elements [first, first + count) of y, called for stretches
// in order. What it writes must not depend on how they are cut.
template <class T, class F>
void store([[maybe_unused]] bool streaming, T* y, int64_t n, F&& write) {
#if defined(__SSE2__)
  if (streaming) {
    constexpr int64_t kBuffer = 1024 / static_cast<int64_t>(sizeof(T));  // stays in L1
    alignas(kLineBytes) T buffer[kBuffer];
    by_lines(
        y, n, [&](int64_t first, int64_t count) { write(first, count, y + first); },
        [&](int64_t first, int64_t count) {
          for (int64_t i = 0; i < count; i += kBuffer) {
            const int64_t m = std::min(kBuffer, count - i);
            write(first + i, m, static_cast<T*>(buffer));
            stream_lines(y + first + i, static_cast<const T*>(buffer), m);
          }
        });
    return;
  }
#endif
  if (n > 0) write(int64_t{0}, n, y);
}

// y [n] = x [n], and y [n] = value everywhere: without the buffer.
template <class T>
void store_copy([[maybe_unused]] bool streaming, T* y, const T* x, int64_t n) {
#if defined(__SSE2__)
  if (streaming)
    return by_lines(
        y, n, [=](int64_t first, int64_t count) { std::copy_n(x + first, count, y + first); },
        [=](int64_t first, int64_t count) { stream_lines(y + first, x + first, count); });
#endif
  std::copy_n(x, n, y);
}
template <class T>
void store_value([[maybe_unused]] bool streaming, T* y, T value, int64_t n) {
#if defined(__SSE2__)
  if (streaming) {
    T values[sizeof(LinePart) / sizeof(T)];
    std::fill_n(values, sizeof(LinePart) / sizeof(T), value);
    const LinePart part = load_part(reinterpret_cast<const char*>(values));
    return by_lines(
        y, n, [=](int64_t first, int64_t count) { std::fill_n(y + first, count, value); },
        [=](int64_t first, int64_t count) {
          char* to = reinterpret_cast<char*>(y + first);
          for (int64_t i = 0; i < count * static_cast<int64_t>(sizeof(T)); i += sizeof(LinePart)) stream_part(to + i, part);
        });
  }
#endif
  std::fill_n(y, n, value);
}

}  // namespace panvae::cpu
