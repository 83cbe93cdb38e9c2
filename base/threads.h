// Threads of the CPU path. One number for OpenMP and BLAS; loops split into chunks of fixed size, so that results of
// reductions do not depend on the number of threads.
#pragma once
#include <cstdint>
#include <type_traits>

namespace panvae {

// Number of threads that parallel loops and BLAS use where this thread calls them; other threads of a host program say so for themselves.
// 0 = OMP_NUM_THREADS where it is set, else all cores this process may run on. OMP_THREAD_LIMIT caps either; OMP_DYNAMIC is switched off.
void set_threads(int n);
int threads();
// Of the thread that asks in the innermost parallel loop around it, whoever began that: within parallel_chunks the third argument of
// its body is meant.
int thread_index();

// body(begin, end) or body(begin, end, thread) over [0, n) in contiguous ranges of at most `chunk` elements, in parallel; `thread`, in
// [0, threads()), says who of this loop runs it. The caller may be a thread of a parallel loop itself. Exceptions must not leave body.
template <class F>
void parallel_chunks(int64_t n, int64_t chunk, F&& body) {
  constexpr bool asks = std::is_invocable_v<F&, int64_t, int64_t, int64_t>;
  if (n <= 0) return;
  const int64_t chunks = (n + chunk - 1) / chunk;
  if (chunks == 1) {  // no loop of its own: thread_index() would be that of a loop of the caller's
    if constexpr (asks) body(int64_t{0}, n, int64_t{0});
    else body(int64_t{0}, n);
    return;
  }
#pragma omp parallel for schedule(static)
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t end = c * chunk + chunk < n ? c * chunk + chunk : n;
    if constexpr (asks) body(c * chunk, end, static_cast<int64_t>(thread_index()));
    else body(c * chunk, end);
  }
}

}  // namespace panvae
