// One thread that waits by the clock of the device. It is no kernel of the table: it computes nothing, and the executor on the
// CPU, where a call returns when its work is done, has nothing to delay. And what this file's code tells of all that was compiled with it.
#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace panvae {

namespace {

__global__ void wait_until_later(uint64_t nanoseconds) {
  uint64_t begin, now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
  do asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  while (now - begin < nanoseconds);
}

}  // namespace

cudaError_t start_delay(double microseconds, void* stream) {
  uint64_t nanoseconds = static_cast<uint64_t>(microseconds * 1e3);
  void* arguments[] = {&nanoseconds};
  return cudaLaunchKernel(reinterpret_cast<const void*>(wait_until_later), dim3(1), dim3(1), arguments, 0, static_cast<cudaStream_t>(stream));
}

namespace cuda {

bool launches_early(int device) {
  enum : signed char { unknown, no, yes };
  static std::array<std::atomic<signed char>, 64> known{};
  if (device < 0 || static_cast<size_t>(device) >= known.size()) return false;
  std::atomic<signed char>& answer = known[static_cast<size_t>(device)];
  if (answer == unknown) {
    const char* asked = std::getenv("PANVAE_DEPENDENT_LAUNCH");
    int major = 0;
    cudaFuncAttributes code{};
    // Code of an older architecture, compiled anew for this card by the driver, has no wait in it.
    const bool can = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major >= 9 &&
                     cudaFuncGetAttributes(&code, reinterpret_cast<const void*>(wait_until_later)) == cudaSuccess && code.ptxVersion >= 90;
    answer = can && !(asked && std::strcmp(asked, "0") == 0) ? yes : no;
  }
  return answer == yes;
}

}  // namespace cuda

}  // namespace panvae
