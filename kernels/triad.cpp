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
  constexpr int64_t kChunk = 131072;
  std::vector<float> sums(static_cast<size_t>((n_ + kChunk - 1) / kChunk));
  const float *p = arrays_[0], *m = arrays_[1], *v = arrays_[2], *g = arrays_[3];
  parallel_chunks(n_, kChunk, [=, to = sums.data()](int64_t begin, int64_t end) {
    float s = 0;
#pragma omp simd reduction(+ : s)
    for (int64_t i = begin; i < end; ++i) s += (p[i] + m[i]) + (v[i] + g[i]);
    to[begin / kChunk] = s;
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace panvae
