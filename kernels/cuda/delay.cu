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

// Never started: how much shared memory it has tells which of its codes the driver has chosen for a device.
__global__ void warpgroup_mark(int* to) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  constexpr int kNumbers = 64;
#else
  constexpr int kNumbers = 32;
#endif
  __shared__ int numbers[kNumbers];
  numbers[threadIdx.x] = to[threadIdx.x];
  __syncthreads();
  to[threadIdx.x] = numbers[kNumbers - 1 - threadIdx.x];
}

enum Answer : signed char { unknown, no, yes };
using Answers = std::array<std::atomic<signed char>, 64>;

// What `ask` says of a device, asked once.
template <class F>
bool remembered(Answers& known, int device, F ask) {
  if (device < 0 || static_cast<size_t>(device) >= known.size()) return false;
  std::atomic<signed char>& answer = known[static_cast<size_t>(device)];
  if (answer == unknown) answer = ask() ? yes : no;
  return answer == yes;
}

bool attribute_of(const void* kernel, cudaFuncAttributes& code) {
  return cudaFuncGetAttributes(&code, kernel) == cudaSuccess;
}

}  // namespace

cudaError_t start_delay(double microseconds, void* stream) {
  uint64_t nanoseconds = static_cast<uint64_t>(microseconds * 1e3);
  void* arguments[] = {&nanoseconds};
  return cudaLaunchKernel(reinterpret_cast<const void*>(wait_until_later), dim3(1), dim3(1), arguments, 0, static_cast<cudaStream_t>(stream));
}

namespace cuda {

bool launches_early(int device) {
  static Answers known{};
  return remembered(known, device, [device] {
    const char* asked = std::getenv("PANVAE_DEPENDENT_LAUNCH");
    int major = 0;
    cudaFuncAttributes code{};
    // Code of an older architecture, compiled anew for this card by the driver, has no wait in it.
    return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major >= 9 &&
           attribute_of(reinterpret_cast<const void*>(wait_until_later), code) && code.ptxVersion >= 90 && !(asked && std::strcmp(asked, "0") == 0);
  });
}

bool warpgroups_multiply(int device) {
  static Answers known{};
  return remembered(known, device, [device] {
    cudaFuncAttributes code{};
    // Attributes are those of the calling thread's device.
    return cudaSetDevice(device) == cudaSuccess && attribute_of(reinterpret_cast<const void*>(warpgroup_mark), code) &&
           code.sharedSizeBytes == 64 * sizeof(int);
  });
}

}  // namespace cuda

}  // namespace panvae
