#include "bench/plain.h"

#include <algorithm>

#include "base/threads.h"

namespace panvae::bench {

namespace {

constexpr int64_t kWords = 32, kBlockBytes = 8 * kWords;  // four cache lines
constexpr int64_t kChunk = 256;                           // blocks of a chunk
constexpr int64_t kSmall = 16;                            // a span of less than this part of the largest is left out

// Zero, which the compiler does not know: what is read and written keeps its values.
volatile uint64_t zero = 0;

}  // namespace

PlainLoop::PlainLoop(std::vector<Span> spans) {
  int64_t largest = 0;
  for (const Span& s : spans) largest = std::max(largest, s.bytes);
  for (const Span& s : spans)
    if (s.bytes >= kBlockBytes && s.bytes >= largest / kSmall && (s.read || s.written)) spans_.push_back(s);
  blocks_ = largest / kBlockBytes;
  checks_.resize(static_cast<size_t>((blocks_ + kChunk - 1) / kChunk));
}

double PlainLoop::bytes() const {
  double n = 0;
  for (const Span& s : spans_) n += static_cast<double>(s.bytes) * (s.read + s.written);
  return n;
}

void PlainLoop::pass() {
  parallel_chunks(blocks_, kChunk, [this](int64_t begin, int64_t end) {
    const uint64_t mask = zero;
    uint64_t seen[kWords] = {};
    for (int64_t b = begin; b < end; ++b)
      for (const Span& s : spans_) {
        const int64_t blocks = s.bytes / kBlockBytes, at = blocks == blocks_ ? b : b * blocks / blocks_;
        if (blocks != blocks_ && (b + 1) * blocks / blocks_ == at) continue;
        uint64_t* p = reinterpret_cast<uint64_t*>(s.data) + at * kWords;
        if (!s.written) {
#pragma omp simd
          for (int64_t i = 0; i < kWords; ++i) seen[i] ^= p[i];
        } else if (!s.read) {
#pragma omp simd
          for (int64_t i = 0; i < kWords; ++i) p[i] = seen[i];
        } else {
#pragma omp simd
          for (int64_t i = 0; i < kWords; ++i) p[i] ^= seen[i] & mask;
        }
      }
    uint64_t all = 0;
    for (uint64_t w : seen) all ^= w;
    checks_[static_cast<size_t>(begin / kChunk)] = all;
  });
}

}  // namespace panvae::bench
