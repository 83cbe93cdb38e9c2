// One thread that waits by the clock of the device. It is no kernel of the table: it computes nothing, and the executor on the
// CPU, where a call returns when its work is done, has nothing to delay.
#include <cuda_runtime.h>

#include <cstdint>

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

}  // namespace panvae
