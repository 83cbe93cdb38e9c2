// Threads of the CPU path. One number for loops and BLAS; loops are split into chunks of fixed size, so that results of reductions do not
// depend on the number of threads.
#pragma once
#include <cstdint>
#include <type_traits>

namespace panvae {

// The most threads: OpenMP keeps a note of each on the stack, and crashes on 100,000; and the OpenBLAS of distributions has buffers for 640
// products at a time, and crashes where more ask.
inline constexpr int kMostThreads = 512;

// Number of threads that parallel loops and BLAS use where this thread calls them; other threads of a host program say so for themselves.
// 0 = OMP_NUM_THREADS where it is set, else all cores this process may use (base/cgroup.h). OMP_THREAD_LIMIT and kMostThreads cap either;
// OMP_DYNAMIC is switched off.
void set_threads(int n);
// Within a parallel loop: 1.
int threads();

// For as long as it lives, threads() of the thread that made it is 1, and what it calls works on that thread alone: loops, and BLAS.
class OneThread {
 public:
  OneThread();
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

namespace detail {
void run_chunks(int64_t chunks, void (*run)(const void* body, int64_t chunk, int64_t thread), const void* body);
}

// body(begin, end) or body(begin, end, thread) over [0, n) in contiguous ranges of at most `chunk` elements, in parallel; `thread`, in
// [0, threads()), says who of this loop runs it. Each thread that calls this has others of its own to help, which take what is there when
// they come: on a busy machine one that the system does not let run is waited for only if it has a chunk in hand. Which of them runs a
// chunk may differ from time to time. In a body, and in a parallel region of OpenMP, loops run on the thread that calls them. After
// fork() the child's do, too. Exceptions must not leave body.
template <class F>
void parallel_chunks(int64_t n, int64_t chunk, F&& body) {
  if (n <= 0) return;
  const auto run = [&](int64_t c, int64_t thread) {
    const int64_t begin = c * chunk, end = begin + chunk < n ? begin + chunk : n;
    if constexpr (std::is_invocable_v<F&, int64_t, int64_t, int64_t>) body(begin, end, thread);
    else body(begin, end);
  };
  const int64_t chunks = (n + chunk - 1) / chunk;
  if (chunks == 1) return run(0, 0);
  detail::run_chunks(
      chunks, [](const void* r, int64_t c, int64_t thread) { (*static_cast<decltype(&run)>(r))(c, thread); }, &run);
}

}  // namespace panvae
