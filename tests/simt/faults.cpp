// Kernels that are wrong on purpose: each fault is reported with kernel and line, and the executor works on afterwards.
// MARK_NEXT_LINE stands above the line that a report must name.
#include <stdexcept>

#include "common.h"

namespace panvae::test {
namespace {
int marked = 0;  // the line behind the last MARK_NEXT_LINE that ran
}
}  // namespace panvae::test
#define MARK_NEXT_LINE __atomic_store_n(&::panvae::test::marked, __LINE__ + 1, __ATOMIC_RELAXED)

namespace panvae::PV_EXEC {

__global__ void missing_barrier(float* y) {
  SHARED(float, s, 64);
  s[threadIdx.x] = static_cast<float>(threadIdx.x);
  MARK_NEXT_LINE;
  y[threadIdx.x] = threadIdx.x == 0 ? -1.0f : s[threadIdx.x - 1];
}

__global__ void divergent_barrier(int split) {
  if (static_cast<int>(threadIdx.x) < split) {
    __syncthreads();
  } else {
    MARK_NEXT_LINE;
    __syncthreads();
  }
}

__global__ void barrier_against_warp() {
  if (threadIdx.x < 16) {
    MARK_NEXT_LINE;
    __shfl_xor_sync(kFullMask, 1.0f, 1);
  } else {
    __syncthreads();
  }
}

__global__ void lane_that_ended() {
  if (threadIdx.x >= 20) return;
  MARK_NEXT_LINE;
  __syncwarp();
}

__global__ void masks_differ() {
  MARK_NEXT_LINE;
  __ballot_sync(threadIdx.x % 2 ? kFullMask : 0x7FFFFFFFu, 1);
}

__global__ void masks_nested() {
  MARK_NEXT_LINE;
  __ballot_sync(threadIdx.x < 16 ? kFullMask : 0xFFFF0000u, 1);
}

__global__ void lane_not_in_mask() {
  MARK_NEXT_LINE;
  __shfl_sync(0xFFFF0000u, 1, 20);
}

__global__ void two_warp_operations(float* y) {
  float v = 1;
  if (threadIdx.x % 2 == 0) v = __shfl_xor_sync(kFullMask, v, 1);
  else {
    MARK_NEXT_LINE;
    v = __shfl_down_sync(kFullMask, v, 1);
  }
  y[threadIdx.x] = v;
}

__global__ void overflow(int n) {
  SHARED(float, before, 8);
  MARK_NEXT_LINE;
  SHARED(float, values, 8);
  volatile float* v = values;  // keeps the compiler from seeing it
  if (threadIdx.x == 0)
    for (int i = 0; i < n; ++i) v[i] = before[0] = 1;
}

__global__ void underflow() {
  MARK_NEXT_LINE;
  SHARED(float, values, 8);
  volatile float* v = values;
  if (threadIdx.x == 0) v[-1] = 1;
}

__global__ void dynamic_overflow(int n) {
  DYN_SHARED(volatile float, values);
  if (threadIdx.x == 0) values[n] = 1;
}

__global__ void too_much_static(char* y) {
  SHARED(char, first, 40000);
  MARK_NEXT_LINE;
  SHARED(char, second, 9200);
  y[0] = first[0] + second[0];
}

__global__ void uninitialised(float* y, double* z) {
  SHARED(float, s, 32);
  SHARED(double, d, 32);
  if (threadIdx.x < 31) s[threadIdx.x] = d[threadIdx.x] = 1;
  __syncthreads();
  MARK_NEXT_LINE;
  y[threadIdx.x] = s[31 - threadIdx.x];
  z[threadIdx.x] = d[31 - threadIdx.x];
}

__global__ void uninitialised_dynamic(int* y) {  // dynamic shared: int[32]
  DYN_SHARED(int, s);
  if (threadIdx.x != 7) s[threadIdx.x] = 1;
  __syncthreads();
  MARK_NEXT_LINE;
  y[threadIdx.x] = s[threadIdx.x ^ 1];
}

__global__ void throws(int which) {
  SHARED(int, s, 64);
  s[threadIdx.x] = 1;
  __syncthreads();
  if (static_cast<int>(threadIdx.x) == which) throw std::runtime_error("planted");
  __syncthreads();
}

__global__ void checks(int n) {
  PV_CHECK(n > 0, "checks: n is {}", n);
}

__global__ void misaligned_copy(const float* x) {
  SHARED(float, s, 8);
  MARK_NEXT_LINE;
  cp_async16(s, x + 1);
}

__global__ void copy_to_global(float* x) {
  MARK_NEXT_LINE;
  cp_async16(x, x + 4);
}

__global__ void copy_read_early(const float* x, float* y) {
  SHARED(float, s, 4);
  cp_async16(s, x);
  cp_async_commit();
  MARK_NEXT_LINE;
  y[0] = s[0];
  cp_async_wait<0>();
  y[1] = s[0];
}

__global__ void barrier_of_another_count() {
  if (threadIdx.x < 32) barrier_arrive(2, 64);
  __syncthreads();
  MARK_NEXT_LINE;
  if (threadIdx.x >= 32) barrier_sync(2, 96);
}

__global__ void barrier_number(int id, int threads) {
  MARK_NEXT_LINE;
  barrier_sync(id, threads);
}

__global__ void barrier_nobody_comes_to() {
  if (threadIdx.x >= 32) return;
  MARK_NEXT_LINE;
  barrier_sync(3, 64);
}

// One warpgroup: y [4096] = a b^T over 32 numbers of k, y[i * 128 + t] = sums[i] of thread t.
__global__ void sums_read_early(float* y, bool wait, bool commit) {
  DYN_SHARED(float, shared);
  float* const operand = shared + (1024 - reinterpret_cast<uintptr_t>(shared) % 1024) % 1024 / 4;
  for (int i = threadIdx.x; i < 64 * 32; i += blockDim.x) operand[i] = 1;
  fence_shared();
  __syncthreads();
  float sums[32];
  for (float& s : sums) s = 2;
  warpgroup_fence();
  for (int part = 0; part < 4; ++part) warpgroup_mma<MathMode::tf32>(sums, operand, operand, part);
  if (commit) warpgroup_commit();
  if (wait) warpgroup_wait();
  for (int i = 0; i < 32; ++i) y[i * 128 + threadIdx.x] = sums[i];
}

__global__ void operand_elsewhere(float* global, int offset) {
  DYN_SHARED(float, shared);
  float* const operand = shared + (1024 - reinterpret_cast<uintptr_t>(shared) % 1024) % 1024 / 4;
  float sums[32] = {};
  MARK_NEXT_LINE;
  warpgroup_mma<MathMode::bf16>(sums, operand, global ? global : operand + offset, 0);
}

__global__ void recursive(Stream* stream) {
  launch(*stream, 1, 1, 0, checks, 1);
}

__global__ void right(int* y) {  // y: [grid, 64]
  SHARED(int, s, 64);
  s[threadIdx.x] = threadIdx.x;
  __syncthreads();
  y[64 * blockIdx.x + threadIdx.x] = s[63 - threadIdx.x] + __shfl_xor_sync(kFullMask, 0, 1);
}

}  // namespace panvae::PV_EXEC

namespace panvae::test {
namespace {

// The error names the kernel, the line `marked` and every one of `parts`, in each order; and the next launch is right.
template <class F>
void expect_fault(const char* kernel, std::vector<std::string> parts, bool line, F&& f) {
  for (const Orders& o : orders()) {
    SCOPED_TRACE(o.name);
    Stream s({DeviceType::simt, 0});
    s.simt = o.options;
    marked = 0;
    const std::string text = error_of([&] { f(s); });
    EXPECT_TRUE(contains(text, std::string("panvae::simt::") + kernel)) << text;
    const std::string place = line ? fmt::format("faults.cpp:{}", marked) : "";
    EXPECT_TRUE(contains(text, place)) << text << "\nlacks " << place;
    for (const auto& part : parts) EXPECT_TRUE(contains(text, part)) << text << "\nlacks " << part;
    int y[192] = {};
    simt::launch(s, 3, 64, 0, simt::right, &y[0]);
    for (int t = 0; t < 192; ++t) ASSERT_EQ(y[t], 63 - t % 64);
  }
}

#if defined(__SANITIZE_ADDRESS__)  // where the executor sees what is read
TEST(fault, missing_barrier_shows_in_another_order) {
  for (const Orders& o : orders()) {
    Stream s({DeviceType::simt, 0});
    s.simt = o.options;
    float y[64];
    marked = 0;
    const std::string text = error_of([&] { simt::launch(s, 1, 64, 0, simt::missing_barrier, &y[0]); });
    if (o.options.order == simt::Order::forward) {
      EXPECT_EQ(text, "");
      EXPECT_EQ(y[63], 62.0f);
    } else {
      EXPECT_TRUE(contains(text, "panvae::simt::missing_barrier") && contains(text, "before anybody has written it")) << text;
      EXPECT_TRUE(contains(text, fmt::format("faults.cpp:{}", marked))) << text << " lacks " << marked;
    }
  }
}
#elif !defined(__SANITIZE_THREAD__)  // which reports the race itself: sanitizers.cpp
TEST(fault, missing_barrier_shows_in_another_order) {
  std::vector<std::vector<float> > results;
  for (const Orders& o : orders()) {
    Stream s({DeviceType::simt, 0});
    s.simt = o.options;
    results.emplace_back(64, 0.0f);
    simt::launch(s, 1, 64, 0, simt::missing_barrier, results.back().data());
  }
  EXPECT_EQ(results[0][63], 62.0f);  // forward, all looks well
  EXPECT_EQ(results[1][0], -1.0f);
  for (size_t t = 1; t < 64; ++t) EXPECT_TRUE(std::isnan(results[1][t]));  // reverse: nothing was there yet
  int wrong = 0;
  for (size_t t = 1; t < 64; ++t) wrong += std::isnan(results[2][t]);
  EXPECT_GT(wrong, 0);
  EXPECT_LT(wrong, 63);
}
#endif

TEST(fault, divergent_barrier) {
  expect_fault("divergent_barrier", {"two barriers", "__syncthreads", "block (0,0,0) of a grid of 1x1x1 with 64x1x1 threads", "lane"}, true,
               [](Stream& s) { simt::launch(s, 1, 64, 0, simt::divergent_barrier, 32); });
}
TEST(fault, barrier_against_warp_operation) {
  expect_fault("barrier_against_warp",
               {"no thread can go on", "threads 0-15 waiting in __shfl_xor_sync", "for lanes 16-31", "threads 16-31 waiting in __syncthreads"}, true,
               [](Stream& s) { simt::launch(s, 1, 32, 0, simt::barrier_against_warp); });
}
TEST(fault, lane_that_ended) {
  expect_fault("lane_that_ended", {"no thread can go on", "lanes 20-31 that have ended"}, true,
               [](Stream& s) { simt::launch(s, 2, 32, 0, simt::lane_that_ended); });
}
TEST(fault, lanes_with_different_masks) {
  expect_fault("masks_differ", {"different masks", "0xffffffff", "0x7fffffff"}, true, [](Stream& s) { simt::launch(s, 1, 32, 0, simt::masks_differ); });
}
TEST(fault, lanes_that_others_do_not_wait_for) {
  expect_fault("masks_nested", {"threads 0-15 waiting in __ballot_sync", "lanes 16-31 that have ended"}, true,
               [](Stream& s) { simt::launch(s, 1, 32, 0, simt::masks_nested); });
}
TEST(fault, lane_not_in_its_mask) {
  expect_fault("lane_not_in_mask", {"leaves it out", "0xffff0000"}, true, [](Stream& s) { simt::launch(s, 1, 64, 0, simt::lane_not_in_mask); });
}
TEST(fault, two_warp_operations) {
  float y[32];
  expect_fault("two_warp_operations", {"two warp operations", "__shfl_xor_sync", "__shfl_down_sync"}, true,
               [&](Stream& s) { simt::launch(s, 1, 32, 0, simt::two_warp_operations, &y[0]); });
}

#ifndef __SANITIZE_ADDRESS__  // which stops the program at these, with a report of its own
TEST(fault, shared_overflow) {
  expect_fault("overflow", {"outside shared array 'values', 0 bytes after its end"}, true, [](Stream& s) { simt::launch(s, 4, 32, 0, simt::overflow, 9); });
}
TEST(fault, shared_underflow) {
  expect_fault("underflow", {"outside shared array 'values', 1 bytes before its begin"}, true, [](Stream& s) { simt::launch(s, 1, 32, 0, simt::underflow); });
}
TEST(fault, dynamic_shared_overflow) {
  expect_fault("dynamic_overflow", {"'dynamic shared memory', 8 bytes after its end"}, false,
               [](Stream& s) { simt::launch(s, 1, 32, 64, simt::dynamic_overflow, 18); });
}
#endif

TEST(fault, static_shared_memory_over_the_limit) {
  char y;
  expect_fault("too_much_static", {"'second'", "49200 bytes"}, true, [&](Stream& s) { simt::launch(s, 1, 32, 0, simt::too_much_static, &y); });
}
TEST(fault, dynamic_shared_memory_over_the_limit) {
  expect_fault("dynamic_overflow", {"240000 bytes of dynamic shared memory", "232448"}, false,
               [](Stream& s) { simt::launch(s, 1, 32, 240000, simt::dynamic_overflow, 0); });
}
#ifdef __SANITIZE_ADDRESS__
TEST(fault, shared_memory_read_before_it_is_written) {
  float y[32];
  double z[32];
  int n[32];
  expect_fault("uninitialised", {"thread 0 (warp 0, lane 0) reads byte 124 of shared array 's'", "before anybody has written it"}, true,
               [&](Stream& s) { simt::launch(s, 1, 32, 0, simt::uninitialised, &y[0], &z[0]); });
  expect_fault("uninitialised_dynamic", {"thread 6", "reads byte 28 of shared array 'dynamic shared memory'"}, true,
               [&](Stream& s) { simt::launch(s, 1, 32, 32 * sizeof(int), simt::uninitialised_dynamic, &n[0]); });
}
#else
TEST(fault, shared_memory_begins_as_nan) {
  in_all_orders<float>(32, [&](Stream& s, float* y) {
    std::vector<double> z(32);
    simt::launch(s, 1, 32, 0, simt::uninitialised, y, z.data());
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(z[0]));
    EXPECT_EQ(y[1] + z[1], 2);
  });
}
#endif

TEST(fault, exception_in_a_kernel) {
  expect_fault("throws", {"threw: planted", "thread 37 (warp 1, lane 5)"}, false, [](Stream& s) { simt::launch(s, 1, 64, 0, simt::throws, 37); });
  expect_fault("checks", {"threw: checks: n is -1"}, false, [](Stream& s) { simt::launch(s, 100, 256, 0, simt::checks, -1); });
}

TEST(fault, asynchronous_copies) {
  alignas(16) float x[16] = {};
  expect_fault("misaligned_copy", {"cp_async16", "no multiple of 16"}, true, [&](Stream& s) { simt::launch(s, 1, 32, 0, simt::misaligned_copy, &x[0]); });
  expect_fault("copy_to_global", {"not in a shared array"}, true, [&](Stream& s) { simt::launch(s, 1, 32, 0, simt::copy_to_global, &x[0]); });
  float y[2];
  x[0] = 5;
#ifdef __SANITIZE_ADDRESS__
  expect_fault("copy_read_early", {"reads byte 0 of shared array 's'", "before anybody has written it"}, true,
               [&](Stream& s) { simt::launch(s, 1, 1, 0, simt::copy_read_early, &x[0], &y[0]); });
#else
  Stream s({DeviceType::simt, 0});
  simt::launch(s, 1, 1, 0, simt::copy_read_early, &x[0], &y[0]);
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(y[1], 5);
#endif
}

TEST(fault, barriers_of_some_warps) {
  expect_fault("barrier_of_another_count", {"barrier_sync of barrier 2 for 96 threads", "named 64", "faults.cpp:"}, true,
               [](Stream& s) { simt::launch(s, 1, 128, 0, simt::barrier_of_another_count); });
  for (const auto& [id, threads] : {std::pair(0, 64), {16, 64}, {1, 0}, {1, 48}, {1, 128}})
    expect_fault("barrier_number", {fmt::format("barrier_sync of barrier {} for {} threads, in a block of 64", id, threads)}, true,
                 [&](Stream& s) { simt::launch(s, 1, 64, 0, simt::barrier_number, id, threads); });
  expect_fault("barrier_nobody_comes_to", {"no thread can go on: threads 0-31 waiting in barrier_sync", "threads 32-63 ended"}, true,
               [](Stream& s) { simt::launch(s, 1, 64, 0, simt::barrier_nobody_comes_to); });
}

TEST(fault, products_by_warpgroups_that_nobody_waits_for) {
  constexpr size_t kShared = 64 * 128 + 1024;
  for (const auto& [wait, commit] : {std::pair(true, true), {false, true}, {true, false}}) {
    const auto y = in_all_orders<float>(4096, [&](Stream& s, float* out) { simt::launch(s, 1, 128, kShared, simt::sums_read_early, out, wait, commit); });
    for (float x : y) {
      if (wait && commit) ASSERT_EQ(x, 34);
      else ASSERT_TRUE(std::isnan(x));
    }
  }
}

TEST(fault, operands_of_products_by_warpgroups) {
  std::vector<float> global(4096);
  constexpr size_t kShared = 64 * 128 + 1024;
  expect_fault("operand_elsewhere", {"warpgroup_mma of an operand", "64 rows of 128 bytes"}, true,
               [&](Stream& s) { simt::launch(s, 1, 128, kShared, simt::operand_elsewhere, global.data(), 0); });
  expect_fault("operand_elsewhere", {"begins 32 bytes behind a multiple of 1024"}, true,
               [&](Stream& s) { simt::launch(s, 1, 128, kShared, simt::operand_elsewhere, static_cast<float*>(nullptr), 8); });
}

TEST(fault, impossible_launches) {
  expect_fault("checks", {"33x32x1 threads"}, false, [](Stream& s) { simt::launch(s, 1, simt::dim3(33, 32), 0, simt::checks, 1); });
  expect_fault("checks", {"1x65536x1 blocks"}, false, [](Stream& s) { simt::launch(s, simt::dim3(1, 65536), 32, 0, simt::checks, 1); });
  expect_fault("recursive", {"launched from within a kernel"}, false, [](Stream& s) { simt::launch(s, 1, 1, 0, simt::recursive, &s); });
}

TEST(fault, launches_over_the_limit_of_a_stream) {
  Stream s({DeviceType::simt, 0});
  s.simt.most_threads = 192;
  int y[192];
  simt::launch(s, 3, 64, 0, simt::right, &y[0]);
  EXPECT_EQ(y[191], 0);
  EXPECT_THROW(simt::launch(s, 4, 64, 0, simt::right, &y[0]), simt::TooManyThreads);
}

TEST(fault, outside_of_a_kernel) {
  EXPECT_TRUE(contains(error_of([] { simt::__syncthreads(); }), "outside of a kernel"));
}

}  // namespace
}  // namespace panvae::test
