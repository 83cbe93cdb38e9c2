#include "base/threads.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>

namespace panvae {

void set_threads(int n) {
  static const int at_first = omp_get_max_threads();  // where the variable is set, OpenMP has taken it from there
  if (n <= 0 && std::getenv("OMP_NUM_THREADS")) n = at_first;
  if (n <= 0) {
    cpu_set_t set;
    n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : omp_get_num_procs();
  }
  // OpenBLAS waits for as many threads as are said, and for ever where OpenMP gives fewer: under OMP_THREAD_LIMIT, or with OMP_DYNAMIC on a
  // busy machine. Beyond 1024: OpenMP keeps a note of each on the stack, and crashes on 100,000.
  omp_set_dynamic(0);
  omp_set_num_threads(std::clamp(n, 1, std::min(1024, omp_get_thread_limit())));
}

int threads() {
  return omp_get_max_threads();
}

int thread_index() {
  return omp_get_thread_num();
}

}  // namespace panvae
