#include "kernels/blas.h"

#include <mutex>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"

// OpenBLAS has this; another BLAS leaves it null.
extern "C" char* openblas_get_config() __attribute__((weak));

namespace panvae {

std::string blas_description() {
  return openblas_get_config ? openblas_get_config() : "BLAS";
}

void prepare_blas() {
  constexpr int64_t kMebi = int64_t{1} << 20, kOfThread = 137 * kMebi;  // a buffer of 128 MiB, a stack of 8 MiB, their margins
  static std::mutex mutex;
  static int prepared = 0;
  const std::lock_guard lock(mutex);
  const int n = threads();
  if (n <= prepared || !openblas_get_config) return;
  const std::optional<int64_t> left = address_space_left();
  if (!left) return;
  if (const int64_t needed = (n - prepared) * kOfThread; *left < needed)
    fail_machine(fmt::format("the address space of this process is limited, {} MiB of it are left, and BLAS takes {} MiB for {} thread{}", *left / kMebi,
                             needed / kMebi, n, n == 1 ? "" : "s"),
                 {}, "raise the limit (ulimit -v, or the memory asked of the batch system), or use fewer threads");
  constexpr int64_t kSide = 256;  // large enough for all threads
  const std::vector<double> a(kSide * kSide);
  std::vector<double> c(kSide * kSide);
  gemm(false, false, kSide, kSide, kSide, a.data(), kSide, a.data(), kSide, 0.0, c.data(), kSide);
  prepared = n;
}

}  // namespace panvae
