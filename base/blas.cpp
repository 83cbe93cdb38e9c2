#include "base/blas.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"

// OpenBLAS has these; another BLAS leaves them null.
extern "C" char* openblas_get_config() __attribute__((weak));
extern "C" int openblas_get_parallel() __attribute__((weak));
extern "C" void* blas_memory_alloc(int) __attribute__((weak));
extern "C" void blas_memory_free(void*) __attribute__((weak));

namespace panvae {

namespace {

struct Part {
  int64_t rows, columns;
};

// Parts of c for `threads` threads: of those that come out alike in work, the one for which BLAS rearranges the least of a and b.
Part part_for(int64_t M, int64_t N, int64_t K, int64_t threads) {
  constexpr int64_t kStep = 64;        // whole tiles of BLAS
  constexpr int64_t kRearranged = 32;  // multiply-adds in the time that an element takes to be rearranged
  Part best{M, N};
  if (threads == 1 || K == 0 || M * N <= kUncutWork / K) return best;
  const auto cost = [](Part p) { return p.rows * p.columns + kRearranged * (p.rows + p.columns); };
  const auto share = [](int64_t size, int64_t parts) { return std::min(size, (size + parts * kStep - 1) / (parts * kStep) * kStep); };
  for (int64_t down = 1; down <= threads; ++down)
    if (const Part p{share(M, down), share(N, threads / down)}; cost(p) < cost(best)) best = p;
  return best;
}

}  // namespace

std::string blas_description() {
  return openblas_get_config ? openblas_get_config() : "BLAS";
}

// 0: of one thread; 1: threads of its own; 2: those of OpenMP, whose number each thread that calls has for itself.
bool blas_keeps_to_one_thread() {
  return openblas_get_parallel && openblas_get_parallel() != 1;
}

void prepare_blas() {
  constexpr int64_t kMebi = int64_t{1} << 20, kOfThread = 137 * kMebi;  // a buffer of 128 MiB, a stack of 8 MiB, their margins
  static std::mutex mutex;
  static int there = 0;  // buffers
  const std::lock_guard lock(mutex);
  const int n = threads();
  if (n <= there || !blas_memory_alloc || !blas_memory_free) return;
  const std::optional<int64_t> left = address_space_left();
  if (!left) return;
  if (const int64_t needed = (n - there) * kOfThread; *left < needed)
    fail_machine(fmt::format("the address space of this process is limited, {} MiB of it are left, and BLAS takes {} MiB for {} thread{}", *left / kMebi,
                             needed / kMebi, n, n == 1 ? "" : "s"),
                 {}, "raise the limit (ulimit -v, or the memory asked of the batch system), or use fewer threads");
  // Held at a time, for else one is given again and again; and not by products on all threads, of which some may come too late.
  std::vector<void*> buffers;
  for (int i = 0; i < n; ++i) buffers.push_back(blas_memory_alloc(0));
  for (void* buffer : buffers) blas_memory_free(buffer);
  there = n;
}

template <class T>
void gemm_in_parts(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, T beta, T* c,
                   int64_t ldc, T alpha) {
  if (!blas_keeps_to_one_thread()) return gemm(transpose_a, transpose_b, M, N, K, a, lda, b, ldb, beta, c, ldc, alpha);
  const Part part = part_for(M, N, K, threads());
  const int64_t across = (N + part.columns - 1) / part.columns, parts = (M + part.rows - 1) / part.rows * across;
  if (parts == 1) {
    const OneThread this_one;
    return gemm(transpose_a, transpose_b, M, N, K, a, lda, b, ldb, beta, c, ldc, alpha);
  }
  parallel_chunks(parts, 1, [&](int64_t i, int64_t) {
    const int64_t row = i / across * part.rows, column = i % across * part.columns;
    gemm(transpose_a, transpose_b, std::min(part.rows, M - row), std::min(part.columns, N - column), K, a + (transpose_a ? row : row * lda), lda,
         b + (transpose_b ? column * ldb : column), ldb, beta, c + row * ldc + column, ldc, alpha);
  });
}

template void gemm_in_parts<float>(bool, bool, int64_t, int64_t, int64_t, const float*, int64_t, const float*, int64_t, float, float*, int64_t, float);
template void gemm_in_parts<double>(bool, bool, int64_t, int64_t, int64_t, const double*, int64_t, const double*, int64_t, double, double*, int64_t, double);

}  // namespace panvae
