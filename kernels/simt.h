// CUDA's vocabulary on a CPU, for kernels compiled by g++ (include kernels/language.h, which chooses). The names live in
// panvae::simt, where the kernels are; only what the grammar demands is a macro. Behind them stands the executor
// (simt_executor.h): a block is run by one OS thread, a CUDA thread is a fiber, and whatever a GPU would leave undefined
// is an error that names kernel, block, threads and line. docs/simt.md tells the whole.
#pragma once
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <tuple>
#include <type_traits>

#include "base/float_types.h"
#include "kernels/device.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

#include "kernels/fragments.h"

// The lambda gives each declaration a type of its own, hence a slot of its own. __shared__ itself is not offered.
#define SHARED(T, name, N) T(&name)[N] = ::panvae::simt::detail::shared_array<T, (N)>(#name, [] {})
#define DYN_SHARED(T, name) T* name = static_cast<T*>(::panvae::simt::detail::dynamic_shared())

namespace panvae::simt {

// Vector types, aligned as CUDA aligns them: a misaligned access is then seen by UBSan.
#define PV_SIMT_VECTORS(T, name, align2, align4)         \
  struct alignas(align2) name##2 {                       \
    T x, y;                                              \
  };                                                     \
  struct name##3 {                                       \
    T x, y, z;                                           \
  };                                                     \
  struct alignas(align4) name##4 {                       \
    T x, y, z, w;                                        \
  };                                                     \
  constexpr name##2 make_##name##2(T x, T y) {           \
    return {x, y};                                       \
  }                                                      \
  constexpr name##3 make_##name##3(T x, T y, T z) {      \
    return {x, y, z};                                    \
  }                                                      \
  constexpr name##4 make_##name##4(T x, T y, T z, T w) { \
    return {x, y, z, w};                                 \
  }
PV_SIMT_VECTORS(float, float, 8, 16)
PV_SIMT_VECTORS(double, double, 16, 16)
PV_SIMT_VECTORS(int, int, 8, 16)
PV_SIMT_VECTORS(unsigned, uint, 8, 16)
PV_SIMT_VECTORS(short, short, 4, 8)
PV_SIMT_VECTORS(unsigned short, ushort, 4, 8)
PV_SIMT_VECTORS(signed char, char, 2, 4)
PV_SIMT_VECTORS(unsigned char, uchar, 2, 4)
#undef PV_SIMT_VECTORS

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

// Who runs, set by the executor whenever it turns to another CUDA thread. thread_local serves because a block never
// leaves its OS thread; initial-exec keeps an access one instruction even in position-independent code.
#define PV_SIMT_TLS __attribute__((tls_model("initial-exec")))
extern constinit thread_local uint3 threadIdx PV_SIMT_TLS;
extern constinit thread_local uint3 blockIdx PV_SIMT_TLS;
extern constinit thread_local dim3 blockDim PV_SIMT_TLS;
extern constinit thread_local dim3 gridDim PV_SIMT_TLS;

namespace detail {

using Site = std::source_location;

// ---- shared memory
struct SharedSlot {  // where one SHARED declaration lies within the block that runs now
  uint64_t epoch = 0;
  void* place = nullptr;
};
extern constinit thread_local uint64_t block_epoch PV_SIMT_TLS;  // another value for every block this OS thread runs
void place_shared(SharedSlot& slot, size_t bytes, size_t align, const char* name, const Site& at);
void* dynamic_shared();

template <class T, size_t N, class Declaration>
inline T (&shared_array(const char* name, Declaration, Site at = Site::current()))[N] {
  static_assert(std::is_trivially_destructible_v<T>, "nobody destroys shared memory");
  static constinit thread_local SharedSlot slot;
  if (slot.epoch != block_epoch) [[unlikely]]
    place_shared(slot, sizeof(T[N]), alignof(T), name, at);
  return *static_cast<T(*)[N]>(slot.place);
}

// ---- barriers and warp operations
struct Votes {
  int yes, all;
};
Votes block_barrier(const char* what, bool vote, const Site& at);
void named_barrier(int id, int threads, bool wait, const Site& at);

enum class WarpKind : uint8_t { sync, shfl, shfl_up, shfl_down, shfl_xor, ballot, any, all, reduce_add, mma_tf32, mma_bf16 };

// One lane's part of a warp operation. It lies on the stack of that lane until all lanes of the mask have come; the last
// of them works out all results, so nothing has to be buffered.
struct WarpOp {
  WarpKind kind;
  uint32_t mask;
  int lane = 0;  // shfl*: source lane or distance
  int width = 32;
  uint64_t value = 0, result = 0;
  const uint32_t *a = nullptr, *b = nullptr;  // mma
  float* d = nullptr;
};
void warp_operation(WarpOp& op, const Site& at);

template <class T>
concept Shuffled = std::is_arithmetic_v<T> && sizeof(T) % 4 == 0 && sizeof(T) <= 8;

template <Shuffled T>
inline T shuffle(WarpKind kind, unsigned mask, T value, int lane, int width, const Site& at) {
  WarpOp op{kind, mask, lane, width};
  std::memcpy(&op.value, &value, sizeof value);
  warp_operation(op, at);
  std::memcpy(&value, &op.result, sizeof value);
  return value;
}
inline uint32_t collective(WarpKind kind, unsigned mask, uint64_t value, const Site& at) {
  WarpOp op{kind, mask};
  op.value = value;
  warp_operation(op, at);
  return static_cast<uint32_t>(op.result);
}

// ---- asynchronous copies
void copy_begin(void* shared, const void* global, int bytes, int size, const Site& at);
void copy_under_way(void* shared, int size);  // who reads there now reads too early
void copy_commit(const Site& at);
void copy_wait(int groups, const Site& at);

// ---- products by warpgroups
// One that has begun. `run` adds it to the sums; it stands in the kernel's own object file, whose reads sanitizers see.
struct WarpgroupProduct {
  void (*run)(int thread, float* sums, const void* a, const void* b, int part);
  const void *a, *b;
  int part;
};
void warpgroup_begin(float* sums, int count, const WarpgroupProduct& product, const Site& at);
void warpgroup_commit(const Site& at);
void warpgroup_wait(const Site& at);

// ---- launches
struct Call {  // a kernel with its arguments, ready to be run by any thread
  void (*run)(const void* arguments);
  const void* arguments;
  const void* kernel;  // its address: errors name it
  size_t bytes;        // of the arguments: a graph copies them
  // The first parameter that two sets of arguments do not have in common, counted from 0; -1: none.
  int (*difference)(const void* a, const void* b);
};
// Bit for bit, so that a NaN equals itself, and without what lies between the members.
template <class T>
bool same_bits(T a, T b) {
#if __has_builtin(__builtin_clear_padding)
  __builtin_clear_padding(&a);
  __builtin_clear_padding(&b);
#else
  if constexpr (std::is_class_v<T> && !std::has_unique_object_representations_v<T>) return true;  // nobody can tell
#endif
  return std::memcmp(&a, &b, sizeof a) == 0;
}
template <class... P>
int first_difference(const std::tuple<P...>& a, const std::tuple<P...>& b) {
  int at = 0, found = -1;
  std::apply(
      [&](const P&... left) { std::apply([&](const P&... right) { ((found < 0 && !same_bits<P>(left, right) ? void(found = at) : void(), ++at), ...); }, b); },
      a);
  return found;
}
struct StreamAt {  // carries the place of the launch along
  Stream& stream;
  Site at;
  StreamAt(Stream& s, Site place = Site::current()) : stream(s), at(place) {}
};
void run_grid(Stream& stream, const Site& at, dim3 grid, dim3 block, size_t smem, const Call& call);

}  // namespace detail

// Runs `kernel` to its end, or notes it where the stream captures. What a GPU would leave undefined, and an exception within
// the kernel, arrive here as Error.
template <class... P, class... A>
void launch(detail::StreamAt stream, dim3 grid, dim3 block, size_t smem, void (*kernel)(P...), A... args) {
  static_assert(sizeof...(P) == sizeof...(A), "the kernel has another number of parameters");
  static_assert((std::is_trivially_copyable_v<P> && ...), "arguments travel as bytes");
  struct Arguments {
    void (*kernel)(P...);
    std::tuple<P...> values;
  };
  const Arguments arguments{kernel, std::tuple<P...>(args...)};
  auto run = [](const void* p) {
    const auto& a = *static_cast<const Arguments*>(p);
    std::apply(a.kernel, a.values);
  };
  auto difference = [](const void* a, const void* b) {
    return detail::first_difference(static_cast<const Arguments*>(a)->values, static_cast<const Arguments*>(b)->values);
  };
  detail::run_grid(stream.stream, stream.at, grid, block, smem, {run, &arguments, reinterpret_cast<const void*>(kernel), sizeof arguments, difference});
}

// ---- synchronisation. The last parameter is never given: it says where the call stands.
inline void begin_kernel() {}  // kernels run one after the other here

inline void __syncthreads(detail::Site at = detail::Site::current()) {
  detail::block_barrier("__syncthreads", false, at);
}
inline int __syncthreads_count(int p, detail::Site at = detail::Site::current()) {
  return detail::block_barrier("__syncthreads_count", p != 0, at).yes;
}
inline int __syncthreads_or(int p, detail::Site at = detail::Site::current()) {
  return detail::block_barrier("__syncthreads_or", p != 0, at).yes != 0;
}
inline int __syncthreads_and(int p, detail::Site at = detail::Site::current()) {
  const auto v = detail::block_barrier("__syncthreads_and", p != 0, at);
  return v.yes == v.all;
}

inline void barrier_sync(int id, int threads, detail::Site at = detail::Site::current()) {
  detail::named_barrier(id, threads, true, at);
}
inline void barrier_arrive(int id, int threads, detail::Site at = detail::Site::current()) {
  detail::named_barrier(id, threads, false, at);
}

// ---- warp operations
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, detail::Site at = detail::Site::current()) {
  detail::collective(detail::WarpKind::sync, mask, 0, at);
}
template <detail::Shuffled T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, detail::Site at = detail::Site::current()) {
  return detail::shuffle(detail::WarpKind::shfl, mask, value, lane, width, at);
}
template <detail::Shuffled T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, detail::Site at = detail::Site::current()) {
  return detail::shuffle(detail::WarpKind::shfl_up, mask, value, static_cast<int>(distance), width, at);
}
template <detail::Shuffled T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, detail::Site at = detail::Site::current()) {
  return detail::shuffle(detail::WarpKind::shfl_down, mask, value, static_cast<int>(distance), width, at);
}
template <detail::Shuffled T>
inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, detail::Site at = detail::Site::current()) {
  return detail::shuffle(detail::WarpKind::shfl_xor, mask, value, bits, width, at);
}
inline unsigned __ballot_sync(unsigned mask, int p, detail::Site at = detail::Site::current()) {
  return detail::collective(detail::WarpKind::ballot, mask, p != 0, at);
}
inline int __any_sync(unsigned mask, int p, detail::Site at = detail::Site::current()) {
  return static_cast<int>(detail::collective(detail::WarpKind::any, mask, p != 0, at));
}
inline int __all_sync(unsigned mask, int p, detail::Site at = detail::Site::current()) {
  return static_cast<int>(detail::collective(detail::WarpKind::all, mask, p != 0, at));
}
template <class T>
requires(std::same_as<T, int> || std::same_as<T, unsigned>) inline T __reduce_add_sync(unsigned mask, T value, detail::Site at = detail::Site::current()) {
  return static_cast<T>(detail::collective(detail::WarpKind::reduce_add, mask, static_cast<uint32_t>(value), at));
}

// ---- memory
template <class T>
inline T __ldg(const T* p) {
  return *p;
}
// Integers only: a sum of floats by atomics depends on the order of threads. The old value is returned. As on a GPU they order no other
// memory, except atomic_add_acq_rel.
template <class T>
concept AtomicInteger = std::same_as<T, int> || std::same_as<T, unsigned> || std::same_as<T, unsigned long long>;
template <AtomicInteger T>
inline T atomicAdd(T* p, std::type_identity_t<T> value) {
  return __atomic_fetch_add(p, value, __ATOMIC_RELAXED);
}
inline unsigned atomic_add_acq_rel(unsigned* p, unsigned value) {
  return __atomic_fetch_add(p, value, __ATOMIC_ACQ_REL);
}
template <AtomicInteger T>
inline T atomicMax(T* p, std::type_identity_t<T> value) {
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (old < value && !__atomic_compare_exchange_n(p, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
template <AtomicInteger T>
inline T atomicMin(T* p, std::type_identity_t<T> value) {
  T old = __atomic_load_n(p, __ATOMIC_RELAXED);
  while (value < old && !__atomic_compare_exchange_n(p, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}

// The destination is spoilt here and filled at the wait: who reads too early sees NaN. Spoiling and the look at the
// source stand in the kernel's own object file, so that sanitizers report a bad address at the kernel's line.
inline void cp_async16(void* shared, const void* global, int bytes = 16, detail::Site at = detail::Site::current()) {
  detail::copy_begin(shared, global, bytes, 16, at);
  std::memset(shared, 0xFF, 16);
  detail::copy_under_way(shared, 16);
  if (bytes > 0) (void)(static_cast<const volatile char*>(global)[0] + static_cast<const volatile char*>(global)[bytes - 1]);
}
inline void cp_async4(void* shared, const void* global, int bytes = 4, detail::Site at = detail::Site::current()) {
  detail::copy_begin(shared, global, bytes, 4, at);
  std::memset(shared, 0xFF, 4);
  detail::copy_under_way(shared, 4);
  if (bytes > 0) (void)(static_cast<const volatile char*>(global)[0] + static_cast<const volatile char*>(global)[bytes - 1]);
}
inline void cp_async_commit(detail::Site at = detail::Site::current()) {
  detail::copy_commit(at);
}
template <int N>
inline void cp_async_wait(detail::Site at = detail::Site::current()) {
  detail::copy_wait(N, at);
}

// ---- tensor cores
uint32_t to_tf32(float x);
template <class T>
constexpr T* opaque(T* p) {
  return p;
}
constexpr uint32_t pack_bf16(float low, float high) {
  return to_bf16(low).bits | uint32_t{to_bf16(high).bits} << 16;
}
inline void mma_tf32(float d[4], const uint32_t a[4], const uint32_t b[2], detail::Site at = detail::Site::current()) {
  detail::WarpOp op{.kind = detail::WarpKind::mma_tf32, .mask = 0xFFFFFFFFu, .a = a, .b = b, .d = d};
  detail::warp_operation(op, at);
}
inline void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2], detail::Site at = detail::Site::current()) {
  detail::WarpOp op{.kind = detail::WarpKind::mma_bf16, .mask = 0xFFFFFFFFu, .a = a, .b = b, .d = d};
  detail::warp_operation(op, at);
}

// Products by warpgroups are worked out at the wait, from what the operands are then, and their sums are NaN until then: who touches
// either too early is found out. That fences are missing is not.
inline constexpr bool kWarpgroupCode = true;
inline bool warpgroups_multiply(int) {
  return true;
}
inline void fence_shared() {}
inline void warpgroup_fence() {}
template <MathMode mode, int kSums>
void warpgroup_mma(float (&sums)[kSums], const void* a, const void* b, int part, detail::Site at = detail::Site::current()) {
  static_assert(mode != MathMode::ieee && (kSums == 32 || kSums == 64));
  auto run = [](int thread, float* d, const void* of_a, const void* of_b, int of_k) {
    constexpr int kWords = 8;
    const auto words = [of_k](const void* p, int row, uint32_t(&to)[kWords]) {
      for (int w = 0; w < kWords; ++w) {
        const unsigned at_word = static_cast<unsigned>(of_k * kWords + w), chunk = warpgroup_chunk(static_cast<unsigned>(row), at_word / 4);
        to[w] = static_cast<const uint32_t*>(p)[static_cast<unsigned>(row) * 32 + chunk * 4 + at_word % 4];
      }
    };
    uint32_t rows[2][kWords], columns[2][kWords];
    for (int i = 0; i < kSums; ++i) {
      const fragment::Place place = fragment::warpgroup(thread, i);
      if (i < 4 && i % 2 == 0) words(of_a, place.row, rows[i / 2]);
      if (i % 4 < 2) words(of_b, place.col, columns[i % 4]);
      const auto &x = rows[i % 4 / 2], &y = columns[i % 2];
      for (int w = 0; w < kWords; ++w) {
        if constexpr (mode == MathMode::tf32) {
          d[i] += std::bit_cast<float>(x[w] & 0xFFFFE000u) * std::bit_cast<float>(y[w] & 0xFFFFE000u);
        } else {
          d[i] += std::bit_cast<float>(x[w] << 16) * std::bit_cast<float>(y[w] << 16);
          d[i] += std::bit_cast<float>(x[w] & 0xFFFF0000u) * std::bit_cast<float>(y[w] & 0xFFFF0000u);
        }
      }
    }
  };
  detail::warpgroup_begin(sums, kSums, {run, a, b, part}, at);
}
inline void warpgroup_commit(detail::Site at = detail::Site::current()) {
  detail::warpgroup_commit(at);
}
inline void warpgroup_wait(detail::Site at = detail::Site::current()) {
  detail::warpgroup_wait(at);
}
template <int kSums>
void warpgroup_wait(float (&)[kSums], detail::Site at = detail::Site::current()) {
  detail::warpgroup_wait(at);
}

// ---- arithmetic that CUDA has and <cmath> lacks
inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline double rsqrt(double x) {
  return 1.0 / std::sqrt(x);
}
constexpr unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
constexpr int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
constexpr float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
constexpr float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
constexpr int __popc(unsigned x) {
  return std::popcount(x);
}
constexpr int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
constexpr int __ffs(int x) {
  return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1;
}
template <class A, class B>
requires(std::is_arithmetic_v<A>&& std::is_arithmetic_v<B>) constexpr std::common_type_t<A, B> min(A a, B b) {
  if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return std::fmin(a, b);
  else return b < a ? b : a;
}
template <class A, class B>
requires(std::is_arithmetic_v<A>&& std::is_arithmetic_v<B>) constexpr std::common_type_t<A, B> max(A a, B b) {
  if constexpr (std::is_floating_point_v<std::common_type_t<A, B>>) return std::fmax(a, b);
  else return a < b ? b : a;
}

}  // namespace panvae::simt
