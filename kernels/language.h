// The language of kernels: what a .cu file includes so that two compilers can read it.
//
//   nvcc  PV_EXEC is `cuda`: the CUDA runtime and the wrappers below.
//   g++   PV_EXEC is `simt`: kernels/simt.h gives the same names on the CPU. Names it does not give are not part of the
//         language: a kernel that needs one (a float atomic, __activemask) must be written another way.
//
// Everything that uses a CUDA name stands within `namespace panvae::PV_EXEC { ... }`: there the names of simt.h are
// found, and the twins of a kernel do not collide when both are linked. docs/simt.md has the rules for kernels.
//
//   namespace panvae::PV_EXEC {
//   __global__ void scale_kernel(const float* x, float* y, int64_t n, float a) {  // x, y: [n]
//     begin_kernel();
//     int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
//     if (i < n) y[i] = a * x[i];
//   }
//   void scale(Stream& stream, const float* x, float* y, int64_t n, float a) {
//     launch(stream, static_cast<unsigned>((n + 255) / 256), 256, 0, scale_kernel, x, y, n, a);
//   }
//   }
// Every kernel begins with begin_kernel(), before it reads or writes any memory: in a graph it may be on the device before the one
// ahead of it has ended (docs/graphs.md, "Dependent launch"). The layering test looks after it.
// Kernel and launcher need two names, since `launch` cannot choose from an overload.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/error.h"
#include "kernels/device.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#include <cxxabi.h>

#include <cstdlib>
#define PV_EXEC cuda
// SHARED(T, name, N): an array of the block, T name[N], 16-byte aligned; for two dimensions let T be an array type
// (using Row = float[33]).
// DYN_SHARED(T, name): a T* to the bytes asked for at launch, 16-byte aligned. All kernels of a file share one extern
// array of bytes, because nvcc refuses one name with two element types.
#define SHARED(T, name, N) __shared__ __align__(16) T name[N]
#define DYN_SHARED(T, name)                                          \
  extern __shared__ __align__(16) unsigned char pv_dynamic_shared[]; \
  T* name = reinterpret_cast<T*>(pv_dynamic_shared)
#else
#define PV_EXEC simt
#include "kernels/simt.h"
#endif
#include "kernels/fragments.h"

namespace panvae {

inline constexpr int kWarp = 32;
inline constexpr unsigned kFullMask = 0xFFFFFFFFu;
inline constexpr size_t kStaticSharedLimit = 48 << 10;    // bytes per block, all SHARED together
inline constexpr size_t kDynamicSharedLimit = 227 << 10;  // bytes per block that a launch may ask for (compute capability 9.0)

// The bits of x rounded to tf32 (10-bit mantissa), nearest, ties away from zero: what cvt.rna.tf32.f32 gives.
__host__ __device__ constexpr uint32_t tf32_bits(float x) {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFFFFFFu;  // NaN; infinity passes the line below unchanged
  return (u + 0x1000u) & 0xFFFFE000u;
}

// Likewise for tensor cores alone, which ignore the low 13 bits: here these are what is left there.
__host__ __device__ constexpr uint32_t tf32_of_product(float x) {
  const auto u = std::bit_cast<uint32_t>(x);
  return x == x ? u + 0x1000u : 0x7FFFFFFFu;  // infinity stays infinity
}

#ifdef __CUDACC__
namespace cuda {

// Waits until all that was queued before the kernel has ended, and its writes are there. Up to here a kernel may have come ahead of time.
__device__ __forceinline__ void begin_kernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Asynchronous copy of 16 (or 4) bytes from global to shared memory, both aligned to that size. Of the source only the
// first `bytes` are read, the rest of the destination becomes zero. The data are there after cp_async_wait; for other
// threads after a barrier behind it.
__device__ __forceinline__ void cp_async16(void* shared, const void* global, int bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))), "l"(global), "r"(bytes));
}
__device__ __forceinline__ void cp_async4(void* shared, const void* global, int bytes = 4) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))), "l"(global), "r"(bytes));
}
// Closes a group of the copies of this thread; waits until at most N groups, the youngest, are still under way.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// atomicAdd on global memory that orders: what this thread has written, or was told by a barrier, is there for a thread whose addition to
// *p comes later, and for those that meet it at a barrier behind that. atomicAdd alone orders nothing. A __threadfence before and one behind
// it would do the same by slower instructions (MEMBAR.SC twice for MEMBAR.ALL once).
__device__ __forceinline__ unsigned atomic_add_acq_rel(unsigned* p, unsigned value) {
  unsigned old;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(old) : "l"(__cvta_generic_to_global(p)), "r"(value) : "memory");
  return old;
}

__device__ __forceinline__ uint32_t to_tf32(float x) {
  uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

// p, of which the compiler shall know nothing: it then computes no sequence of addresses ahead, for which there are no registers.
template <class T>
__device__ __forceinline__ T* opaque(T* p) {
  asm volatile("" : "+l"(p));
  return p;
}

// Two numbers rounded to bf16 (nearest, ties to even), the first in the low half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

// D += A B on tensor cores, by all 32 lanes together; registers as `fragment` says. tf32: m16n8k8; the low 13 bits of
// the inputs are ignored, so round with to_tf32 first. bf16: m16n8k16.
__device__ __forceinline__ void mma_tf32(float d[4], const uint32_t a[4], const uint32_t b[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// A barrier of some warps of a block: `threads` of them, whole warps, by which of the 15 barriers beside that of __syncthreads, 1 to 15.
// What a thread wrote before it came is there for those who wait. barrier_arrive comes and does not wait.
__device__ __forceinline__ void barrier_sync(int id, int threads) {
  asm volatile("barrier.cta.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void barrier_arrive(int id, int threads) {
  asm volatile("barrier.cta.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Products by a warpgroup, four warps whose first thread is a multiple of 128, from operands in shared memory (compute capability 9.0 alone,
// code for sm_90a). a has 64 rows of 128 bytes, b has N, 64 or 128, from a multiple of 1024 bytes on: 32 numbers of k as tf32, or 64 as bf16. Of
// row r the 16 bytes c lie at warpgroup_chunk(r, c).
//
//   fence_shared()      what this thread has written to shared memory may be read by products that begin behind the next barrier
//   warpgroup_fence()   before a group of products, whose sums were touched since
//   warpgroup_mma<mode>(sums, a, b, part)   sums += a b^T over a part of k: 8 of tf32, 16 of bf16, part 0 to 3; begins, and returns
//   warpgroup_commit(), warpgroup_wait()    close a group; wait for all that are closed. Before, nobody touches sums or operands
//   warpgroup_wait(sums)   likewise; and no compiler moves what is made of the sums to before it
//
// sums: 64 x N, of which thread t of the group has as sums[i], i < N / 2, that at fragment::warpgroup(t, i).
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
inline constexpr bool kWarpgroupCode = true;
#else
inline constexpr bool kWarpgroupCode = false;  // also on the host, which asks warpgroups_multiply
#endif
__device__ __forceinline__ void fence_shared() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
__device__ __forceinline__ void warpgroup_fence() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void warpgroup_commit() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void warpgroup_wait() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#endif
}
template <int kSums>
__device__ __forceinline__ void warpgroup_wait(float (&sums)[kSums]) {
  warpgroup_wait();
#pragma unroll
  for (int i = 0; i < kSums; ++i) asm volatile("" : "+f"(sums[i])::"memory");
}
template <MathMode mode, int kSums>
__device__ __forceinline__ void warpgroup_mma([[maybe_unused]] float (&d)[kSums], [[maybe_unused]] const void* a, [[maybe_unused]] const void* b,
                                              [[maybe_unused]] int part) {
  static_assert(mode != MathMode::ieee && (kSums == 32 || kSums == 64));
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  // Descriptors (PTX ISA, "Matrix-descriptor"): address, and from eight rows to the next 1024 bytes, in units of 16; swizzled over 128 bytes.
  const auto descriptor = [part](const void* p) {
    return uint64_t{(static_cast<uint32_t>(__cvta_generic_to_shared(p)) >> 4 & 0x3FFF) + 2u * static_cast<uint32_t>(part)} | uint64_t{1} << 16 |
           uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
  };
  const uint64_t of_a = descriptor(a), of_b = descriptor(b);
#define PV_SUMS_8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define PV_SUMS_32(i) PV_SUMS_8(i), PV_SUMS_8(i + 8), PV_SUMS_8(i + 16), PV_SUMS_8(i + 24)
#define PV_REGISTERS_32                                                                                            \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31"
#define PV_REGISTERS_64                                                                                              \
  PV_REGISTERS_32                                                                                                    \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, " \
  "%54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
  if constexpr (mode == MathMode::tf32 && kSums == 32)
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32 {" PV_REGISTERS_32 "}, %32, %33, 1, 1, 1;" : PV_SUMS_32(0) : "l"(of_a), "l"(of_b));
  else if constexpr (mode == MathMode::tf32)
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 {" PV_REGISTERS_64 "}, %64, %65, 1, 1, 1;"
                 : PV_SUMS_32(0), PV_SUMS_32(32)
                 : "l"(of_a), "l"(of_b));
  else if constexpr (kSums == 32)
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" PV_REGISTERS_32 "}, %32, %33, 1, 1, 1, 0, 0;" : PV_SUMS_32(0) : "l"(of_a), "l"(of_b));
  else
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" PV_REGISTERS_64 "}, %64, %65, 1, 1, 1, 0, 0;"
                 : PV_SUMS_32(0), PV_SUMS_32(32)
                 : "l"(of_a), "l"(of_b));
#undef PV_REGISTERS_64
#undef PV_REGISTERS_32
#undef PV_SUMS_32
#undef PV_SUMS_8
#endif
}
// Whether kernels may use the above on the device, the calling thread's: compute capability 9.0, and this program has code for it.
bool warpgroups_multiply(int device);

namespace detail {

inline std::string kernel_name(const void* kernel) {
  const char* mangled = nullptr;
  if (cudaFuncGetName(&mangled, kernel) != cudaSuccess || !mangled) return "(unnamed)";
  int status = 0;
  char* text = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  std::string name = status == 0 && text ? text : mangled;
  std::free(text);
  return name;
}

inline void check_kernel(cudaError_t status, const char* doing, const void* kernel, dim3 grid, dim3 block, size_t smem) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();  // an error of this launch alone must not fail the next one
  std::string name = kernel_name(kernel);
  throw Error(
      ErrorCode::machine,
      panvae::detail::format_message("{} of CUDA kernel {} failed: {} ({})", doing, name, cudaGetErrorString(status), cudaGetErrorName(status)),
      panvae::detail::format_message("grid {}x{}x{}, block {}x{}x{}, {} bytes of shared memory", grid.x, grid.y, grid.z, block.x, block.y, block.z, smem),
      "PANVAE_SYNC=1 tells which kernel was at fault", name);
}

}  // namespace detail

// Whether kernels of a graph are brought to the device while what they wait for still runs: where it can (compute capability 9.0), and the
// code that it runs knows how to wait. PANVAE_DEPENDENT_LAUNCH=0 in the environment: nowhere. The device is the calling thread's.
bool launches_early(int device);

// Starts `kernel` on the stream. A grid without blocks starts nothing. PANVAE_SYNC=1 in the environment waits for each
// kernel, so that an error is reported at the kernel that made it.
template <class... P, class... A>
void launch(Stream& stream, dim3 grid, dim3 block, size_t smem, void (*kernel)(P...), A... args) {
  static_assert(sizeof...(P) == sizeof...(A), "the kernel has another number of parameters");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const void* function = reinterpret_cast<const void*>(kernel);
  auto handle = static_cast<cudaStream_t>(stream.handle());
  // A stream takes kernels of its own device, which another thread, or this one for another stream, may have left for another.
  detail::check_kernel(cudaSetDevice(stream.device().index), "preparation", function, grid, block, smem);
  // More than 48 KiB in all must be asked for; what the kernel's SHARED arrays add is not known here.
  if (smem > kStaticSharedLimit / 2)
    detail::check_kernel(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(smem)), "preparation", function, grid,
                         block, smem);
  auto start = [&](std::type_identity_t<P>... values) {
    void* pointers[] = {const_cast<void*>(static_cast<const void*>(&values))..., nullptr};
    if (!stream.capturing() || !launches_early(stream.device().index)) return cudaLaunchKernel(function, grid, block, pointers, smem, handle);
    cudaLaunchAttribute early{};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config{};
    config.gridDim = grid, config.blockDim = block, config.dynamicSmemBytes = smem, config.stream = handle;
    config.attrs = &early, config.numAttrs = 1;
    return cudaLaunchKernelExC(&config, function, pointers);
  };
  detail::check_kernel(start(args...), "launch", function, grid, block, smem);
  if (synchronous_launches()) {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(handle, &capture) == cudaSuccess && capture == cudaStreamCaptureStatusNone)
      detail::check_kernel(cudaStreamSynchronize(handle), "run", function, grid, block, smem);
  }
}

}  // namespace cuda
#endif

}  // namespace panvae
