// Fragments, mma and asynchronous copies.
#include "base/float_types.h"
#include "common.h"

namespace panvae::PV_EXEC {

// One warp: d[16, 8] = a[16, 8] b[8, 8] + d.
__global__ void tf32_tile(const float* a, const float* b, float* d, bool rounded) {
  const int lane = threadIdx.x;
  uint32_t ra[4], rb[2];
  float rd[4];
  for (int i = 0; i < 4; ++i) {
    const auto p = fragment::tf32_a(lane, i);
    ra[i] = rounded ? to_tf32(a[p.row * 8 + p.col]) : __float_as_uint(a[p.row * 8 + p.col]);
  }
  for (int i = 0; i < 2; ++i) {
    const auto p = fragment::tf32_b(lane, i);
    rb[i] = rounded ? to_tf32(b[p.row * 8 + p.col]) : __float_as_uint(b[p.row * 8 + p.col]);
  }
  for (int i = 0; i < 4; ++i) rd[i] = d[fragment::d(lane, i).row * 8 + fragment::d(lane, i).col];
  mma_tf32(rd, ra, rb);
  for (int i = 0; i < 4; ++i) d[fragment::d(lane, i).row * 8 + fragment::d(lane, i).col] = rd[i];
}

// One warp: d[16, 8] = a[16, 16] b[16, 8] + d.
__global__ void bf16_tile(const bf16* a, const bf16* b, float* d) {
  const int lane = threadIdx.x;
  uint32_t ra[4] = {}, rb[2] = {};
  float rd[4];
  for (int i = 0; i < 8; ++i) {
    const auto p = fragment::bf16_a(lane, i);
    ra[i / 2] |= uint32_t{a[p.row * 16 + p.col].bits} << (i % 2 * 16);
  }
  for (int i = 0; i < 4; ++i) {
    const auto p = fragment::bf16_b(lane, i);
    rb[i / 2] |= uint32_t{b[p.row * 8 + p.col].bits} << (i % 2 * 16);
  }
  for (int i = 0; i < 4; ++i) rd[i] = d[fragment::d(lane, i).row * 8 + fragment::d(lane, i).col];
  mma_bf16(rd, ra, rb);
  for (int i = 0; i < 4; ++i) d[fragment::d(lane, i).row * 8 + fragment::d(lane, i).col] = rd[i];
}

// One warpgroup: d[64, N] = a[64, K] b[N, K]^T + d, K 32 numbers as tf32 or 64 as bf16.
template <MathMode mode, int N>
__global__ void warpgroup_tile(const float* a, const float* b, float* d) {
  constexpr int K = mode == MathMode::tf32 ? 32 : 64;
  DYN_SHARED(unsigned char, shared);
  unsigned char* const operands = shared + (1024 - reinterpret_cast<uintptr_t>(shared) % 1024) % 1024;
  for (int i = threadIdx.x; i < (64 + N) * K; i += blockDim.x) {
    const int k = i % K, row = i / K < 64 ? i / K : i / K - 64;
    const float x = (i < 64 * K ? a : b)[row * K + k];
    unsigned char* const of_row = operands + (i < 64 * K ? 0 : 8192) + row * 128;
    if constexpr (mode == MathMode::tf32) {
      reinterpret_cast<uint32_t*>(of_row + warpgroup_chunk(row, k / 4) * 16)[k % 4] = to_tf32(x);
    } else {
      reinterpret_cast<bf16*>(of_row + warpgroup_chunk(row, k / 8) * 16)[k % 8] = to_bf16(x);
    }
  }
  fence_shared();
  __syncthreads();
  const int thread = threadIdx.x;
  float sums[N / 2];
  for (int i = 0; i < N / 2; ++i) sums[i] = d[fragment::warpgroup(thread, i).row * N + fragment::warpgroup(thread, i).col];
  warpgroup_fence();
  for (int part = 0; part < 4; ++part) warpgroup_mma<mode>(sums, operands, operands + 8192, part);
  warpgroup_commit();
  warpgroup_wait(sums);
  for (int i = 0; i < N / 2; ++i) d[fragment::warpgroup(thread, i).row * N + fragment::warpgroup(thread, i).col] = sums[i];
}

// y[i] = the sum of x over the tile of i, tiles of 4 * blockDim.x floats streamed through two buffers; n need not be a
// multiple of anything.
__global__ void double_buffered(const float* x, float* y, int n, int tiles) {
  DYN_SHARED(float, buffer);  // [2, 4 * blockDim.x]
  const int width = 4 * blockDim.x, t = threadIdx.x;
  auto fetch = [&](int tile) {
    const int i = tile * width + 4 * t;
    const int bytes = i >= n ? 0 : n - i >= 4 ? 16 : (n - i) * 4;
    cp_async16(buffer + tile % 2 * width + 4 * t, x + (bytes ? i : 0), bytes);
    cp_async_commit();
  };
  float sum = 0;
  fetch(0);
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) {
      fetch(tile + 1);
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    __syncthreads();
    for (int i = 0; i < 4; ++i) sum += buffer[tile % 2 * width + (4 * (blockDim.x - 1 - t) + i)];
    __syncthreads();
  }
  y[t] = sum;
}

__global__ void copy_single(const float* x, float* y, int n) {
  SHARED(float, s, 32);
  cp_async4(&s[threadIdx.x], x + threadIdx.x, static_cast<int>(threadIdx.x) < n ? 4 : 0);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  y[threadIdx.x] = s[31 - threadIdx.x];
}

}  // namespace panvae::PV_EXEC

namespace panvae::test {
namespace {

template <class F>
constexpr bool is_bijection(F place, int registers, int rows, int columns) {
  bool seen[16][16] = {};
  for (int lane = 0; lane < kWarp; ++lane) {
    for (int i = 0; i < registers; ++i) {
      const auto p = place(lane, i);
      if (p.row < 0 || p.row >= rows || p.col < 0 || p.col >= columns || seen[p.row][p.col]) return false;
      seen[p.row][p.col] = true;
    }
  }
  return kWarp * registers == rows * columns;
}
static_assert(is_bijection(fragment::d, 4, 16, 8));
static_assert(is_bijection(fragment::tf32_a, 4, 16, 8));
static_assert(is_bijection(fragment::tf32_b, 2, 8, 8));
static_assert(is_bijection(fragment::bf16_a, 8, 16, 16));
static_assert(is_bijection(fragment::bf16_b, 4, 16, 8));

// Some entries as the PTX ISA prints them, so that a bijection is also the right one.
TEST(fragment, places_of_the_ptx_isa) {
  using fragment::Place;
  EXPECT_EQ(fragment::d(5, 1), (Place{1, 3}));
  EXPECT_EQ(fragment::d(5, 2), (Place{9, 2}));
  EXPECT_EQ(fragment::tf32_a(6, 1), (Place{9, 2}));
  EXPECT_EQ(fragment::tf32_a(6, 2), (Place{1, 6}));
  EXPECT_EQ(fragment::tf32_b(6, 1), (Place{6, 1}));
  EXPECT_EQ(fragment::bf16_a(7, 3), (Place{9, 7}));
  EXPECT_EQ(fragment::bf16_a(7, 4), (Place{1, 14}));
  EXPECT_EQ(fragment::bf16_b(7, 3), (Place{15, 1}));
}

TEST(tf32, rounding) {
  static_assert(tf32_bits(1.0f) == 0x3F800000u);
  EXPECT_EQ(tf32_bits(std::bit_cast<float>(0x3F800FFFu)), 0x3F800000u);
  EXPECT_EQ(tf32_bits(std::bit_cast<float>(0x3F801000u)), 0x3F802000u);  // ties away from zero
  EXPECT_EQ(tf32_bits(std::bit_cast<float>(0xBF801000u)), 0xBF802000u);
  EXPECT_EQ(tf32_bits(std::bit_cast<float>(0x3FFFF000u)), 0x40000000u);  // a carry into the exponent
  EXPECT_EQ(tf32_bits(std::bit_cast<float>(0x7F7FFFFFu)), 0x7F800000u);
  EXPECT_EQ(tf32_bits(std::bit_cast<float>(0xFF800000u)), 0xFF800000u);
  EXPECT_TRUE(std::isnan(std::bit_cast<float>(tf32_bits(std::bit_cast<float>(0x7FFFFFFFu)))));
  EXPECT_TRUE(std::isnan(std::bit_cast<float>(tf32_bits(std::bit_cast<float>(0x7F800001u)))));
  for (uint64_t u = 0; u < uint64_t{1} << 32; u += u % 4096 < 2 || u % 4096 > 4092 ? 1 : 1021) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(u));
    ASSERT_EQ(tf32_of_product(x) & 0xFFFFE000u, tf32_bits(x) & 0xFFFFE000u) << u;
  }
}

float number(int i) {
  return static_cast<float>((static_cast<unsigned>(i) * 2654435761u) % 4093) / 1024 - 2;
}

TEST(mma, tf32_against_a_loop) {
  std::vector<float> a(128), b(64), start(128);
  for (int i = 0; i < 128; ++i) a[static_cast<size_t>(i)] = number(i) * 1.0001f, start[static_cast<size_t>(i)] = number(i + 1000);
  for (int i = 0; i < 64; ++i) b[static_cast<size_t>(i)] = number(i + 500) * 0.9999f;
  for (bool rounded : {true, false}) {
    const auto d = in_all_orders<float>(128, [&](Stream& s, float* out) {
      std::copy(start.begin(), start.end(), out);
      simt::launch(s, 1, 32, 0, simt::tf32_tile, a.data(), b.data(), out, rounded);
    });
    auto input = [&](float x) { return std::bit_cast<float>(rounded ? tf32_bits(x) : std::bit_cast<uint32_t>(x) & 0xFFFFE000u); };
    for (size_t r = 0; r < 16; ++r) {
      for (size_t c = 0; c < 8; ++c) {
        double sum = start[r * 8 + c];
        for (size_t k = 0; k < 8; ++k) sum += static_cast<double>(input(a[r * 8 + k])) * static_cast<double>(input(b[k * 8 + c]));
        EXPECT_EQ(d[r * 8 + c], static_cast<float>(sum));
      }
    }
  }
}

TEST(mma, bf16_against_a_loop) {
  std::vector<bf16> a(256), b(128);
  std::vector<float> start(128);
  for (int i = 0; i < 256; ++i) a[static_cast<size_t>(i)] = to_bf16(number(i));
  for (int i = 0; i < 128; ++i) b[static_cast<size_t>(i)] = to_bf16(number(i + 300)), start[static_cast<size_t>(i)] = number(i + 700);
  const auto d = in_all_orders<float>(128, [&](Stream& s, float* out) {
    std::copy(start.begin(), start.end(), out);
    simt::launch(s, 1, 32, 0, simt::bf16_tile, a.data(), b.data(), out);
  });
  for (size_t r = 0; r < 16; ++r) {
    for (size_t c = 0; c < 8; ++c) {
      double sum = start[r * 8 + c];
      for (size_t k = 0; k < 16; ++k) sum += static_cast<double>(to_float(a[r * 16 + k])) * static_cast<double>(to_float(b[k * 8 + c]));
      EXPECT_EQ(d[r * 8 + c], static_cast<float>(sum));
    }
  }
}

template <MathMode mode, int columns>
void warpgroup_against_a_loop() {
  constexpr size_t K = mode == MathMode::tf32 ? 32 : 64, N = columns;
  std::vector<float> a(64 * K), b(N * K), start(64 * N);
  for (size_t i = 0; i < a.size(); ++i) a[i] = number(static_cast<int>(i));
  for (size_t i = 0; i < b.size(); ++i) b[i] = number(static_cast<int>(i) + 77);
  for (size_t i = 0; i < start.size(); ++i) start[i] = number(static_cast<int>(i) + 5);
  const auto rounded = [](float x) { return mode == MathMode::tf32 ? std::bit_cast<float>(tf32_bits(x)) : to_float(to_bf16(x)); };
  const auto d = in_all_orders<float>(start.size(), [&](Stream& s, float* out) {
    std::copy(start.begin(), start.end(), out);
    simt::launch(s, 1, 128, (64 + N) * 128 + 1024, simt::warpgroup_tile<mode, columns>, a.data(), b.data(), out);
  });
  for (size_t r = 0; r < 64; ++r)
    for (size_t c = 0; c < N; ++c) {
      double sum = start[r * N + c];
      for (size_t k = 0; k < K; ++k) sum += static_cast<double>(rounded(a[r * K + k])) * static_cast<double>(rounded(b[c * K + k]));
      ASSERT_NEAR(d[r * N + c], sum, 1e-4 * std::max(1.0, std::abs(sum))) << r << ", " << c;
    }
}
TEST(mma, warpgroups_against_a_loop) {
  warpgroup_against_a_loop<MathMode::tf32, 64>();
  warpgroup_against_a_loop<MathMode::tf32, 128>();
  warpgroup_against_a_loop<MathMode::bf16, 64>();
  warpgroup_against_a_loop<MathMode::bf16, 128>();
}

// Every element of 64 x 128 has one place.
TEST(fragment, of_a_warpgroup) {
  std::vector<int> found(64 * 128);
  for (int thread = 0; thread < 128; ++thread)
    for (int i = 0; i < 64; ++i) ++found[static_cast<size_t>(fragment::warpgroup(thread, i).row * 128 + fragment::warpgroup(thread, i).col)];
  EXPECT_EQ(found, std::vector<int>(64 * 128, 1));
  EXPECT_EQ(fragment::warpgroup(37, 6), (fragment::Place{25, 10}));  // warp 1, lane 5: row 16 + 1 + 8, column 8 + 2
}

TEST(cp_async, double_buffering) {
  for (int n : {1, 127, 128, 515, 1000}) {
    std::vector<float> x(static_cast<size_t>((n + 3) / 4 * 4));  // 16-byte aligned by operator new
    for (int i = 0; i < n; ++i) x[static_cast<size_t>(i)] = number(i);
    const int tiles = (n + 127) / 128;
    const auto y = in_all_orders<float>(
        32, [&](Stream& s, float* out) { simt::launch(s, 1, 32, 2 * 128 * sizeof(float), simt::double_buffered, x.data(), out, n, tiles); });
    for (int t = 0; t < 32; ++t) {
      float sum = 0;
      for (int tile = 0; tile < tiles; ++tile)
        for (int i = 0; i < 4; ++i) {
          const int j = tile * 128 + 4 * (31 - t) + i;
          sum += j < n ? x[static_cast<size_t>(j)] : 0.0f;
        }
      EXPECT_EQ(y[static_cast<size_t>(t)], sum);
    }
  }
}

TEST(cp_async, four_bytes_with_zero_fill) {
  std::vector<float> x(20);
  for (int i = 0; i < 20; ++i) x[static_cast<size_t>(i)] = number(i);
  const auto y = in_all_orders<float>(32, [&](Stream& s, float* out) { simt::launch(s, 1, 32, 0, simt::copy_single, x.data(), out, 20); });
  for (size_t t = 0; t < 32; ++t) EXPECT_EQ(y[t], 31 - t < 20 ? x[31 - t] : 0.0f);
}

}  // namespace
}  // namespace panvae::test
