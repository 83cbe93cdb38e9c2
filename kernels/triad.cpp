#include "kernels/triad.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/threads.h"
#include "kernels/device.h"

namespace panvae {

// Arrays that begin at the same place of a page would wait for each other in some caches: they are staggered by five lines.
Triad::Triad(int64_t n) : n_(n) {
  constexpr int64_t stagger = 80;
  const int64_t stride = (n + 1023) / 1024 * 1024 + stagger;
  const size_t bytes = static_cast<size_t>(4 * stride) * sizeof(float);
  block_ = static_cast<float*>(cpu_backend().alloc(0, bytes));
  if (!block_) fail_machine(fmt::format("out of memory: {} bytes for the triad", bytes));
  std::fill(block_, block_ + 4 * stride, 1.0f);
  for (int i = 0; i < 4; ++i) arrays_[i] = block_ + i * stride;
}
Triad::~Triad() {
  cpu_backend().free(0, block_);
}

void Triad::pass() {
  float *p = arrays_[0], *m = arrays_[1], *v = arrays_[2];
  const float* g = arrays_[3];
  parallel_chunks(n_, 16384, [=](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      p[i] += 0.5f * g[i];
      m[i] += 0.5f * g[i];
      v[i] += 0.5f * g[i];
    }
  });
}

double Triad::read() {
  constexpr int64_t kChunk = 16384, kLanes = 128;  // lanes: additions need not wait for each other
  const int64_t chunks = (n_ + kChunk - 1) / kChunk;
  std::vector<float> sums(static_cast<size_t>(4 * chunks));
  parallel_chunks(4 * chunks, 8, [=, this, to = sums.data()](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const float* x = arrays_[c / chunks];
      const int64_t first = c % chunks * kChunk, last = std::min(n_, first + kChunk);
      float lanes[kLanes] = {};
      int64_t i = first;
      for (; i + kLanes <= last; i += kLanes)
#pragma omp simd
        for (int64_t j = 0; j < kLanes; ++j) lanes[j] += x[i + j];
      for (int64_t j = 0; i + j < last; ++j) lanes[j] += x[i + j];
      to[c] = std::accumulate(lanes, lanes + kLanes, 0.0f);
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace panvae
