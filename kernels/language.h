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

// Which element of the matrices of D = A B + D a register of a lane holds (PTX ISA, "Matrix Fragments for mma").
// A is M x K, B is K x N, D is M x N. tf32: one element per register. bf16: two per register, so `i` counts halves,
// register i / 2, low half first.
namespace fragment {
struct Place {
  int row, col;
  bool operator==(const Place&) const = default;
};
// D: 16 x 8, i < 4.
__host__ __device__ constexpr Place d(int lane, int i) {
  return {lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2};
}
// A of tf32: 16 x 8, i < 4. B: 8 x 8, i < 2.
__host__ __device__ constexpr Place tf32_a(int lane, int i) {
  return {lane / 4 + i % 2 * 8, lane % 4 + i / 2 * 4};
}
__host__ __device__ constexpr Place tf32_b(int lane, int i) {
  return {lane % 4 + i * 4, lane / 4};
}
// A of bf16: 16 x 16, i < 8. B: 16 x 8, i < 4.
__host__ __device__ constexpr Place bf16_a(int lane, int i) {
  return {lane / 4 + i / 2 % 2 * 8, lane % 4 * 2 + i % 2 + i / 4 * 8};
}
__host__ __device__ constexpr Place bf16_b(int lane, int i) {
  return {lane % 4 * 2 + i % 2 + i / 2 * 8, lane / 4};
}
}  // namespace fragment

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
