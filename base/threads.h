// Threads of the CPU path. One number for OpenMP and BLAS; loops split into chunks of fixed size, so that results of
// reductions do not depend on the number of threads.
#pragma once
#include <cstdint>

namespace panvae {

// Number of threads that parallel loops and BLAS use. 0 = OMP_NUM_THREADS where it is set, else all
// cores this process may run on.
void set_threads(int n);
int threads();
// Of the thread that asks, within a parallel loop: in [0, threads()). Outside of one, 0.
int thread_index();

// body(begin, end) over [0, n) in contiguous ranges of at most `chunk` elements, in parallel. Exceptions must not leave body.
template <class F>
void parallel_chunks(int64_t n, int64_t chunk, F&& body) {
  const int64_t chunks = (n + chunk - 1) / chunk;
  if (chunks <= 1) {
    if (n > 0) body(int64_t{0}, n);
    return;
  }
#pragma omp parallel for schedule(static)
  for (int64_t c = 0; c < chunks; ++c) body(c * chunk, c * chunk + chunk < n ? c * chunk + chunk : n);
}

}  // namespace panvae
