// Right kernels give right results, the same in every order.
#include <thread>

#include "common.h"

namespace panvae::PV_EXEC {

__device__ inline float warp_sum(float v) {
  for (int o = kWarp / 2; o > 0; o /= 2) v += __shfl_xor_sync(kFullMask, v, o);
  return v;
}

// Warp operations in one warp only, behind barriers of all.
__device__ inline float block_sum(float v) {
  SHARED(float, partial, kWarp);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = (blockDim.x + kWarp - 1) / kWarp;
  v = warp_sum(v);
  if (lane == 0) partial[warp] = v;
  __syncthreads();
  if (warp == 0) {
    v = warp_sum(lane < warps ? partial[lane] : 0.0f);
    if (lane == 0) partial[0] = v;
  }
  __syncthreads();
  v = partial[0];
  __syncthreads();
  return v;
}

__global__ void row_sums(const float* x, float* y, int columns) {  // x: [gridDim.x, columns], y: [gridDim.x]
  float sum = 0;
  for (int i = threadIdx.x; i < columns; i += blockDim.x) sum += x[size_t{blockIdx.x} * columns + i];
  const float all = block_sum(sum), twice = block_sum(2 * sum);  // the second call uses the same shared array
  if (threadIdx.x == 0) y[blockIdx.x] = all + twice;
}

__global__ void transpose(const float* x, float* y, int rows, int columns) {  // x: [rows, columns], block (16, 16)
  using Row = float[17];
  SHARED(Row, tile, 16);
  int c = blockIdx.x * 16 + threadIdx.x, r = blockIdx.y * 16 + threadIdx.y;
  if (r < rows && c < columns) tile[threadIdx.y][threadIdx.x] = x[r * columns + c];
  __syncthreads();
  c = blockIdx.x * 16 + threadIdx.y, r = blockIdx.y * 16 + threadIdx.x;
  if (r < rows && c < columns) y[c * rows + r] = tile[threadIdx.x][threadIdx.y];
}

__global__ void where(int* y) {  // y: [grid, block]
  const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  __syncthreads();
  y[block * blockDim.x * blockDim.y * blockDim.z + thread] = block * 10000 + thread;
}

__global__ void many_arrays(int* y, int n) {  // dynamic shared: int[n]
  SHARED(char, bytes, 3);
  SHARED(double, doubles, 5);
  SHARED(int, ints, 7);
  DYN_SHARED(int, dynamic);
  const int t = threadIdx.x;
  if (t < 3) bytes[t] = static_cast<char>(t + 1);
  if (t < 5) doubles[t] = t + 0.5;
  if (t < 7) ints[t] = 100 * t;
  for (int i = t; i < n; i += blockDim.x) dynamic[i] = i;
  __syncthreads();
  y[t] = bytes[t % 3] + static_cast<int>(2 * doubles[t % 5]) + ints[t % 7] + dynamic[n - 1 - t];
}

__global__ void ended_early(int* y, int alive) {
  SHARED(int, s, 64);
  if (static_cast<int>(threadIdx.x) >= alive) return;
  s[threadIdx.x] = threadIdx.x;
  __syncthreads();
  y[threadIdx.x] = s[alive - 1 - threadIdx.x] + __syncthreads_count(threadIdx.x % 2 == 0);
}

__global__ void votes(int* y) {
  const int t = threadIdx.x;
  y[4 * t] = __syncthreads_count(t % 3 == 0);
  y[4 * t + 1] = __syncthreads_or(t == 5);
  y[4 * t + 2] = __syncthreads_and(t != 5);
  y[4 * t + 3] = __syncthreads_and(t >= 0) + __syncthreads_or(t < 0);
}

__global__ void warp_ops(int64_t* y) {  // y: [threads, 12]
  const int t = threadIdx.x, lane = t % kWarp;
  int64_t* out = y + 12 * t;
  out[0] = __shfl_sync(kFullMask, t, 3);
  out[1] = __shfl_sync(kFullMask, t, lane + 1, 8);
  out[2] = __shfl_up_sync(kFullMask, t, 2, 16);
  out[3] = __shfl_down_sync(kFullMask, int64_t{t} << 40, 5);
  out[4] = static_cast<int64_t>(__shfl_xor_sync(kFullMask, t * 0.5, 9));
  out[5] = __ballot_sync(kFullMask, lane % 5 == 0);
  out[6] = __any_sync(kFullMask, lane == 31) + 2 * __all_sync(kFullMask, lane != 31);
  out[7] = __reduce_add_sync(kFullMask, lane - 7);
  __syncwarp();
  // Two groups at a time, then a mask that cuts across them.
  const unsigned half = lane < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  out[8] = lane < 16 ? __reduce_add_sync(0x0000FFFFu, t) : __shfl_sync(0xFFFF0000u, t, 31);
  out[9] = __ballot_sync(half, lane % 2);
  out[10] = lane % 2 ? __reduce_add_sync(0xAAAAAAAAu, 1) : 0;
  out[11] = __shfl_xor_sync(kFullMask, t, 16, 16);  // reaches into the segment before, not into the one behind
}

// The first warp makes numbers, two at a time in turns, the second adds them up: passed on by barriers of the two warps, while a third
// warp has a barrier of its own.
__global__ void handed_on(int* y, int rounds) {  // y: [rounds, 32] sums; [32] of the third warp
  SHARED(int, passed, 2 * kWarp);
  SHARED(int, own, kWarp);
  enum { ready = 1, taken = 3, alone = 15 };
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (warp == 0) {
    for (int r = 0; r < rounds; ++r) {
      if (r >= 2) barrier_sync(taken + r % 2, 64);
      passed[r % 2 * kWarp + lane] = 100 * r + lane;
      barrier_arrive(ready + r % 2, 64);
    }
  } else if (warp == 1) {
    for (int r = 0; r < rounds; ++r) {
      barrier_sync(ready + r % 2, 64);
      y[r * kWarp + lane] = passed[r % 2 * kWarp + (31 - lane)];
      if (r + 2 < rounds) barrier_arrive(taken + r % 2, 64);
    }
  } else {
    own[lane] = lane;
    barrier_sync(alone, 32);
    y[rounds * kWarp + lane] = own[31 - lane];
  }
  __syncthreads();
}

template <class T>
__global__ void counted(T* counter, T* highest, T* lowest) {
  atomicAdd(counter, 2);
  atomicMax(highest, static_cast<T>(blockIdx.x * blockDim.x + threadIdx.x));
  atomicMin(lowest, static_cast<T>(blockIdx.x * blockDim.x + threadIdx.x + 3));
}

__global__ void misaligned_tail(float4* y) {
  y[threadIdx.x] = make_float4(threadIdx.x, 1, 2, 3);
}

}  // namespace panvae::PV_EXEC

namespace panvae::test {
namespace {

std::vector<float> numbers(size_t n) {
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i) x[i] = static_cast<float>((i * 2654435761u) % 1000) / 500 - 1;
  return x;
}

TEST(correct, row_sums) {
  for (unsigned threads : {32u, 64u, 256u, 1024u}) {
    if (kThreadSanitizer && threads > 64) break;
    for (int columns : {1, 31, 33, 777}) {
      const int rows = 19;
      const auto x = numbers(static_cast<size_t>(rows * columns));
      const auto y = in_all_orders<float>(rows, [&](Stream& s, float* out) { simt::launch(s, rows, threads, 0, simt::row_sums, x.data(), out, columns); });
      for (int r = 0; r < rows; ++r) {
        double sum = 0;
        for (int c = 0; c < columns; ++c) sum += x[static_cast<size_t>(r * columns + c)];
        EXPECT_NEAR(y[static_cast<size_t>(r)], 3 * sum, 1e-4) << threads << " threads, row " << r;
      }
    }
  }
}

TEST(correct, transpose_in_two_dimensions) {
  const int rows = 37, columns = 50;
  const auto x = numbers(static_cast<size_t>(rows * columns));
  const simt::dim3 grid((columns + 15) / 16, (rows + 15) / 16), block(16, 16);
  const auto y = in_all_orders<float>(x.size(), [&](Stream& s, float* out) { simt::launch(s, grid, block, 0, simt::transpose, x.data(), out, rows, columns); });
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < columns; ++c) EXPECT_EQ(y[static_cast<size_t>(c * rows + r)], x[static_cast<size_t>(r * columns + c)]);
}

TEST(correct, indices_in_three_dimensions) {
  const simt::dim3 grid(3, 4, 5), block(5, 3, 2);
  const auto y = in_all_orders<int>(60 * 30, [&](Stream& s, int* out) { simt::launch(s, grid, block, 0, simt::where, out); });
  for (int b = 0; b < 60; ++b)
    for (int t = 0; t < 30; ++t) EXPECT_EQ(y[static_cast<size_t>(b * 30 + t)], b * 10000 + t);
}

TEST(correct, static_and_dynamic_arrays) {
  const int n = 100;
  const auto y = in_all_orders<int>(64, [&](Stream& s, int* out) { simt::launch(s, 1, 64, n * sizeof(int), simt::many_arrays, out, n); });
  for (int t = 0; t < 64; ++t) EXPECT_EQ(y[static_cast<size_t>(t)], t % 3 + 1 + t % 5 * 2 + 1 + t % 7 * 100 + n - 1 - t);
}

TEST(correct, threads_that_ended_count_as_arrived) {
  for (int alive : {1, 31, 32, 50}) {
    const auto y = in_all_orders<int>(static_cast<size_t>(alive), [&](Stream& s, int* out) { simt::launch(s, 1, 64, 0, simt::ended_early, out, alive); });
    for (int t = 0; t < alive; ++t) EXPECT_EQ(y[static_cast<size_t>(t)], alive - 1 - t + (alive + 1) / 2);
  }
}

TEST(correct, barriers_with_votes) {
  const auto y = in_all_orders<int>(4 * 40, [&](Stream& s, int* out) { simt::launch(s, 1, 40, 0, simt::votes, out); });
  for (size_t t = 0; t < 40; ++t) {
    EXPECT_EQ(y[4 * t], 14);
    EXPECT_EQ(y[4 * t + 1], 1);
    EXPECT_EQ(y[4 * t + 2], 0);
    EXPECT_EQ(y[4 * t + 3], 1);
  }
}

TEST(correct, warp_operations) {
  const auto y = in_all_orders<int64_t>(64 * 12, [&](Stream& s, int64_t* out) { simt::launch(s, 1, 64, 0, simt::warp_ops, out); });
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32, base = t - lane;
    const int64_t* out = &y[static_cast<size_t>(12 * t)];
    EXPECT_EQ(out[0], base + 3);
    EXPECT_EQ(out[1], base + lane / 8 * 8 + (lane + 1) % 8);
    EXPECT_EQ(out[2], lane % 16 < 2 ? t : t - 2);
    EXPECT_EQ(out[3], int64_t{lane + 5 < 32 ? t + 5 : t} << 40);
    EXPECT_EQ(out[4], (base + (lane ^ 9)) / 2);
    EXPECT_EQ(out[5], 0b01000010000100001000010000100001);
    EXPECT_EQ(out[6], 1);
    EXPECT_EQ(out[7], 31 * 32 / 2 - 7 * 32);
    EXPECT_EQ(out[8], lane < 16 ? 16 * base + 120 : base + 31);
    EXPECT_EQ(out[9], lane < 16 ? 0x0000AAAA : 0xAAAA0000);
    EXPECT_EQ(out[10], lane % 2 ? 16 : 0);
    EXPECT_EQ(out[11], lane < 16 ? t : t - 16);
  }
}

TEST(correct, barriers_of_some_warps) {
  constexpr int kRounds = 7;
  const auto y = in_all_orders<int>((kRounds + 1) * kWarp, [](Stream& s, int* out) { simt::launch(s, 1, 96, 0, simt::handed_on, out, kRounds); });
  for (int r = 0; r <= kRounds; ++r)
    for (int lane = 0; lane < kWarp; ++lane) EXPECT_EQ(y[static_cast<size_t>(r * kWarp + lane)], (r < kRounds ? 100 * r : 0) + 31 - lane);
}

TEST(correct, integer_atomics_across_os_threads) {
  Stream s({DeviceType::simt, 0});
  s.simt.threads = 4;
  unsigned counter = 0, highest = 0, lowest = 1000;
  simt::launch(s, 40, 96, 0, simt::counted<unsigned>, &counter, &highest, &lowest);
  EXPECT_EQ(counter, 2u * 40 * 96);
  EXPECT_EQ(highest, 40u * 96 - 1);
  EXPECT_EQ(lowest, 3u);
}

TEST(correct, empty_grids_launch_nothing) {
  Stream s({DeviceType::simt, 0});
  simt::launch(s, 0, 32, 0, simt::where, nullptr);
  simt::launch(s, simt::dim3(3, 0), 32, 0, simt::where, nullptr);
}

TEST(correct, vector_types_have_the_alignment_of_cuda) {
  static_assert(alignof(simt::float4) == 16 && alignof(simt::float2) == 8 && alignof(simt::float3) == 4 && alignof(simt::double2) == 16);
  static_assert(alignof(simt::uint4) == 16 && alignof(simt::uchar4) == 4 && sizeof(simt::float4) == 16 && sizeof(simt::float3) == 12);
  const auto y = in_all_orders<simt::float4>(32, [&](Stream& s, simt::float4* out) { simt::launch(s, 1, 32, 0, simt::misaligned_tail, out); });
  EXPECT_EQ(y[31].x, 31);
  EXPECT_EQ(y[31].w, 3);
}

// Launches from several host threads at a time: one has the pool, the others work alone.
TEST(correct, launches_from_several_threads) {
  const auto x = numbers(64 * 100);
  std::vector<std::vector<float>> results(4, std::vector<float>(64));
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&] {
      Stream s({DeviceType::simt, 0});
      s.simt.threads = 2;
      for (int i = 0; i < (kThreadSanitizer ? 2 : 20); ++i) simt::launch(s, 64, 64, 0, simt::row_sums, x.data(), result.data(), 100);
    });
  }
  for (auto& t : threads) t.join();
  for (auto& result : results) EXPECT_EQ(result, results[0]);
  EXPECT_FALSE(std::isnan(results[0][0]));
}

}  // namespace
}  // namespace panvae::test
