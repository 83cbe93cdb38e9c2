// The parts of tiled products: how a product is cut, where the elements of a stage lie, which thread has which element of a
// tile; and that both main loops give the same bits. That the products are right is for tests/cases.
#include "kernels/tile.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/philox.h"
#include "kernels/kernels.h"

namespace panvae::test {
namespace {

// ---- cuts
static_assert(tile_plan(256, 19421, 1024).tile == TileSize{128, 128} && tile_plan(256, 19421, 1024).ranges == 1);
static_assert(tile_plan(256, 1024, 19421).tile == TileSize{128, 128} && tile_plan(256, 1024, 19421).ranges == 16);
static_assert(tile_plan(1024, 19421, 256).tile == TileSize{128, 128});
static_assert(tile_plan(64, 2048, 5000).tile == TileSize{64, 128} && tile_plan(64, 2048, 5000).ranges == 16);  // a batch of 64
static_assert(tile_plan(64, 28928, 1536).tile == TileSize{64, 128});                                           // a convolution to 64 channels
static_assert(tile_plan(64, 512, 512).tile == TileSize{64, 64} && tile_plan(64, 512, 512).ranges == 4);        // too few blocks otherwise
static_assert(tile_plan(5000, 40, 300).tile == TileSize{64, 64});
static_assert(tile_plan(1, 1, 0).ranges == 1 && tile_plan(1, 1, 0).k_range == kRangeUnit);
static_assert(warpgroup_plan(256, 1024, 19421).tile == TileSize{256, 128} && warpgroup_plan(256, 1024, 19421).ranges == 16);
static_assert(warpgroup_plan(256, 19421, 1024).tile == TileSize{128, 128} && warpgroup_plan(256, 19421, 1024).ranges == 1);
static_assert(warpgroup_plan(64, 2048, 5000).tile == TileSize{128, 128} && warpgroup_plan(64, 2048, 5000).ranges == 16);

TEST(tile_plan, ranges_cover_k) {
  for (const int64_t M : {1, 64, 65, 128, 129, 1000, 100000})
    for (const int64_t N : {1, 63, 64, 200, 19421})
      for (const int64_t K : {0, 1, 31, 32, 33, 127, 128, 255, 256, 2100, 19421, 1000003}) {
        for (const TilePlan& p : {tile_plan(M, N, K), warpgroup_plan(M, N, K)}) {
          EXPECT_EQ(p.k_range % kRangeUnit, 0);
          EXPECT_GE(p.ranges * p.k_range, K);
          EXPECT_TRUE(p.ranges == 1 || (p.ranges - 1) * p.k_range < K) << "an empty range";
          EXPECT_TRUE(p.ranges == 1 || p.k_range >= kLeastRange || p.ranges * kLeastRange <= K) << "ranges that do not pay";
          EXPECT_LE(p.ranges * tiles_of(p.tile, M, N), std::max(kWantedBlocks, tiles_of(p.tile, M, N)));
        }
      }
}

constexpr bool divides(int64_t d, int n) {
  const Divider by(d);
  return by.quotient(n) == n / d && by.remainder(n) == n % d;
}
static_assert(divides(1, 0) && divides(1, 0x7FFFFFFF) && divides(3, 0x7FFFFFFF) && divides(0x7FFFFFFF, 0x7FFFFFFE));

TEST(divider, is_division) {
  for (int64_t d = 1; d < 3000; ++d)
    for (const int64_t n : {int64_t{0}, d - 1, d, d + 1, 1000 * d - 1, 1000 * d, 0x7FFFFFFF / d * d - 1, 0x7FFFFFFF / d * d, int64_t{0x7FFFFFFF}})
      EXPECT_TRUE(divides(d, static_cast<int>(n))) << n << " / " << d;
  PhiloxSequence random({1, 0, 0});
  for (int i = 0; i < 100000; ++i) {
    const auto d = static_cast<int64_t>(1 + std::exp2(31 * random.uniform()) * 0.99999);
    const auto n = static_cast<int>(0x7FFFFFFF * random.uniform());
    ASSERT_TRUE(divides(d, n)) << n << " / " << d;
    ASSERT_TRUE(divides(d, static_cast<int>(n / d * d)) && divides(d, static_cast<int>(std::max<int64_t>(0, n / d * d - 1)))) << d;
  }
}

// ---- bank conflicts
// Shared memory has 32 banks of 4 bytes. A warp's access of one word a lane is served at once, of two by half warps, of four by
// quarters, where no two lanes want different words of one bank. The most rounds that an access needs beyond these.
template <class Address>  // of a lane, in words
constexpr int conflicts(int width, Address address) {
  int most = 0;
  for (int part = 0; part < width; ++part) {
    std::array<int, 32> rounds{};
    std::array<int, 32 * 4> seen{};
    int words = 0;
    for (int lane = part * 32 / width; lane < (part + 1) * 32 / width; ++lane) {
      const auto first = static_cast<int>(address(lane));
      for (int word = first; word < first + width; ++word) {
        bool again = false;
        for (int i = 0; i < words; ++i) again |= seen[static_cast<size_t>(i)] == word;
        if (again) continue;
        seen[static_cast<size_t>(words++)] = word;
        most = std::max(most, rounds[static_cast<size_t>(word % 32)]++);
      }
    }
  }
  return most;
}
static_assert(conflicts(1, [](int lane) { return lane; }) == 0 && conflicts(1, [](int) { return 7; }) == 0);
static_assert(conflicts(1, [](int lane) { return 2 * lane; }) == 1 && conflicts(1, [](int lane) { return 32 * lane; }) == 31);
static_assert(conflicts(2, [](int lane) { return 2 * lane; }) == 0 && conflicts(4, [](int lane) { return 4 * lane; }) == 0);
static_assert(conflicts(4, [](int lane) { return lane % 2 * 4 + lane / 2 * 32; }) == 3);

template <class Layout>
constexpr int copy_conflicts(bool k_contiguous) {
  int most = 0;
  for (int e = 0; e < Layout::ROWS * Layout::BK; e += 32)
    most = std::max(most, conflicts(1, [&](int lane) {
                      const stage::Place p = Layout::narrow(k_contiguous, e + lane);
                      return Layout::offset(p.row, p.k);
                    }));
  for (int e = 0; Layout::takes_wide(k_contiguous) && e < Layout::ROWS * Layout::BK / 4; e += 32)
    most = std::max(most, conflicts(4, [&](int lane) {
                      const stage::Place p = Layout::wide(e + lane);
                      return Layout::offset(p.row, p.k);
                    }));
  return most;
}

// Every read of every warp, as MmaLoop and RawView read: lane (g, t) the four rows from 4 g and the four k from 4 t on, a row or
// a k at a time as they lie in memory.
template <class Layout>
constexpr int fragment_conflicts() {
  int most = 0;
  const bool by_k = Layout::offset(0, 1) == 1;
  for (unsigned row = 0; row < Layout::ROWS; row += 32)
    for (unsigned k = 0; k < Layout::BK; k += 16)
      for (unsigned i = 0; i < 4; ++i)
        most = std::max(most, conflicts(4, [&](unsigned lane) {
                          const unsigned r = row + lane / 4 * 4, from = k + lane % 4 * 4;
                          return by_k ? Layout::offset(r + i, from) : Layout::offset(r, from + i);
                        }));
  return most;
}

// Four neighbouring rows at one k, as IeeeLoop reads both operands.
template <class Loop, class LayoutA, class LayoutB>
constexpr int ieee_conflicts() {
  int most = 0;
  for (int thread = 0; thread < Loop::threads; thread += 32)
    for (int group = 0; group < 2; ++group) {
      most = std::max(most, conflicts(4, [&](int lane) { return LayoutA::offset(Loop::row_of(thread + lane, 4 * group % (4 * Loop::row_groups)), 5); }));
      most = std::max(most, conflicts(4, [&](int lane) { return LayoutB::offset(Loop::column_of(thread + lane, 4 * group % (4 * Loop::column_groups)), 5); }));
    }
  return most;
}

template <int ROWS>
struct NoConflicts {
  using ByK = stage::Swizzled<ROWS, 32, true>;
  using ByRow = stage::Swizzled<ROWS, 32, false>;
  using Ieee = stage::Padded<ROWS, 16>;
  static_assert(copy_conflicts<ByK>(true) == 0);
  static_assert(copy_conflicts<ByRow>(false) == 0);
  static_assert(copy_conflicts<Ieee>(true) == 0);
  static_assert(copy_conflicts<Ieee>(false) == 0);
  static_assert(fragment_conflicts<ByK>() == 0);
  static_assert(fragment_conflicts<ByRow>() == 0);
};
template struct NoConflicts<64>;
template struct NoConflicts<128>;

template <int BM, int BN>
using Ieee = simt::IeeeLoop<float, BM, BN, BM / 16, BN / 16>;
template <int BM, int BN>
constexpr int ieee_tile_conflicts = ieee_conflicts<Ieee<BM, BN>, stage::Padded<BM, 16>, stage::Padded<BN, 16>>();
static_assert(ieee_tile_conflicts<128, 128> == 0 && ieee_tile_conflicts<64, 128> == 0 && ieee_tile_conflicts<64, 64> == 0);

// What the count is for: without its permutation or its padding a layout has conflicts.
struct Plain {
  static constexpr int ROWS = 64, BK = 32;
  static constexpr int offset(int row, int k) { return row * BK + k; }
};
static_assert(fragment_conflicts<Plain>() == 1);

// ---- places
template <class Layout>
void expect_bijection(bool k_contiguous) {
  std::vector<int> at(Layout::size, -1), narrow(Layout::ROWS * Layout::BK), wide(Layout::ROWS * Layout::BK);
  for (int row = 0; row < Layout::ROWS; ++row)
    for (int k = 0; k < Layout::BK; ++k) {
      const int offset = Layout::offset(row, k);
      ASSERT_TRUE(offset >= 0 && offset < Layout::size);
      EXPECT_EQ(std::exchange(at[static_cast<size_t>(offset)], row * Layout::BK + k), -1) << "two elements in one place";
    }
  auto count = [](std::vector<int>& times, stage::Place p) { ++times.at(static_cast<size_t>(p.row * Layout::BK + p.k)); };
  for (int e = 0; e < Layout::ROWS * Layout::BK; ++e) count(narrow, Layout::narrow(k_contiguous, e));
  EXPECT_EQ(narrow, std::vector<int>(narrow.size(), 1)) << "each element is copied once";
  // From one copy of a thread to the next it is always as far, along rows or along k (copy_inside).
  auto expect_steps = [&](auto place, int copies) {
    for (const int threads : {128, 256})
      for (int e = 0; e + threads < copies; ++e) {
        const stage::Place step{place(threads).row - place(0).row, place(threads).k - place(0).k}, p = place(e), q = place(e + threads);
        EXPECT_TRUE(q == (stage::Place{p.row + step.row, p.k + step.k}) && (k_contiguous ? step.k == 0 : step.row == 0)) << e << ", " << threads << " threads";
      }
  };
  expect_steps([&](int e) { return Layout::narrow(k_contiguous, e); }, Layout::ROWS * Layout::BK);
  if (!Layout::takes_wide(k_contiguous)) return;
  expect_steps([](int e) { return Layout::wide(e); }, Layout::ROWS * Layout::BK / 4);
  for (int e = 0; e < Layout::ROWS * Layout::BK / 4; ++e) {
    const stage::Place p = Layout::wide(e);
    EXPECT_EQ(Layout::offset(p.row, p.k) % 4, 0) << "16 bytes go to a multiple of 16";
    EXPECT_EQ((k_contiguous ? p.k : p.row) % 4, 0);
    for (int i = 0; i < 4; ++i) {
      const stage::Place q = k_contiguous ? stage::Place{p.row, p.k + i} : stage::Place{p.row + i, p.k};
      count(wide, q);
      EXPECT_EQ(Layout::offset(q.row, q.k), Layout::offset(p.row, p.k) + i) << "neighbours in memory stay neighbours";
    }
  }
  EXPECT_EQ(wide, std::vector<int>(wide.size(), 1)) << "each element is copied once";
}

TEST(stage, places_are_bijections) {
  expect_bijection<stage::Padded<64, 16>>(true);
  expect_bijection<stage::Padded<64, 16>>(false);
  expect_bijection<stage::Padded<128, 16>>(true);
  expect_bijection<stage::Padded<128, 16>>(false);
  expect_bijection<stage::Swizzled<64, 32, true>>(true);
  expect_bijection<stage::Swizzled<64, 32, false>>(false);
  expect_bijection<stage::Swizzled<128, 32, true>>(true);
  expect_bijection<stage::Swizzled<128, 32, false>>(false);
}

// Each element of a tile is in one quad of one thread.
template <class Loop>
void expect_whole_tile() {
  std::vector<int> times(Loop::BM * Loop::BN);
  for (unsigned thread = 0; thread < Loop::threads; ++thread)
    for (int q = 0; q < Loop::quads; ++q) {
      const fragment::Place p = Loop::place_of(thread, q);
      EXPECT_EQ(p.col % 4, 0);
      for (int e = 0; e < 4; ++e) ++times.at(static_cast<size_t>(p.row * Loop::BN + p.col + e));
    }
  EXPECT_EQ(times, std::vector<int>(times.size(), 1)) << Loop::BM << " x " << Loop::BN;
}
TEST(loops, quads_are_the_tile) {
  expect_whole_tile<simt::IeeeLoop<float, 128, 128, 8, 8>>();
  expect_whole_tile<simt::IeeeLoop<float, 64, 128, 4, 8>>();
  expect_whole_tile<simt::IeeeLoop<float, 64, 64, 4, 4>>();
  expect_whole_tile<simt::MmaLoop<MathMode::tf32, 128, 128, 2, 4>>();
  expect_whole_tile<simt::MmaLoop<MathMode::tf32, 128, 128, 2, 2>>();
  expect_whole_tile<simt::MmaLoop<MathMode::tf32, 64, 128, 1, 4>>();
  expect_whole_tile<simt::MmaLoop<MathMode::tf32, 64, 64, 2, 2>>();
  expect_whole_tile<simt::WarpgroupLoop<MathMode::tf32, 128, 128>>();
  expect_whole_tile<simt::WarpgroupLoop<MathMode::tf32, 256, 128>>();
}

// Stores of pieces for warpgroups: without bank conflicts, and each piece of the rows once.
template <MathMode mode, int ROWS, int THREADS, bool kContiguous>
constexpr bool pieces_are_whole() {
  using Pieces = simt::WarpgroupPieces<mode, ROWS, THREADS, kContiguous>;
  std::array<int, ROWS * 8> times{};  // of 16 bytes each
  int most = 0;
  for (int i = 0; i < Pieces::kPieces; ++i)
    for (int warp = 0; warp < THREADS; warp += 32) {
      most = std::max(most, conflicts(4, [&](int lane) { return Pieces::place(warp + lane, i) / 4; }));
      for (int lane = 0; lane < 32; ++lane) ++times[Pieces::place(warp + lane, i) / 16];
    }
  bool whole = most == 0;
  for (unsigned row = 0; row < ROWS; ++row)
    for (unsigned c = 0; c < 8; ++c) whole &= times[row * 8 + warpgroup_chunk(row, c)] == (c < Pieces::kDeep ? 1 : 0);
  return whole;
}
template <MathMode mode>
constexpr bool all_pieces_are_whole() {
  return pieces_are_whole<mode, 128, 256, true>() && pieces_are_whole<mode, 128, 256, false>() && pieces_are_whole<mode, 256, 512, true>() &&
         pieces_are_whole<mode, 256, 512, false>() && pieces_are_whole<mode, 128, 512, true>() && pieces_are_whole<mode, 128, 512, false>();
}
TEST(warpgroup_pieces, are_whole_and_without_conflicts) {
  EXPECT_TRUE(all_pieces_are_whole<MathMode::tf32>());
  EXPECT_TRUE(all_pieces_are_whole<MathMode::bf16>());
}

// ---- the same bits by both main loops
const char* name(MathMode mode) {
  return mode == MathMode::ieee ? "ieee" : mode == MathMode::tf32 ? "tf32" : "bf16";
}

// Numbers of which some are so small that their products vanish, and a few are not finite.
std::vector<float> numbers(int64_t n, uint32_t seed) {
  PhiloxSequence random({seed, 0, 0});
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) {
    const double u = random.uniform();
    x = static_cast<float>(2 * random.uniform() - 1) * (u < 0.05 ? 1e-30f : 1.0f);
    if (u > 0.9999) x = INFINITY;
  }
  return v;
}

// run(stream, out) by both fills, the pipelined one in several orders of threads: the same bits.
template <class F>
void expect_same_bits(MathMode mode, int64_t outputs, const std::vector<float>& before, F run) {
  auto result = [&](ProductFill fill, simt::Options order) {
    Stream stream({DeviceType::simt, 0});
    stream.math = mode, stream.fill = fill, stream.simt = order;
    std::vector<float> out(static_cast<size_t>(outputs), NAN);
    if (!before.empty()) out = before;
    run(stream, out.data());
    return out;
  };
  const std::vector<float> staged = result(ProductFill::staged, {simt::Order::forward, 1, 1});
  for (const simt::Options& order : {simt::Options{simt::Order::forward, 1, 1}, {simt::Order::reverse, 1, 1}, {simt::Order::random, 7, 1}}) {
    const std::vector<float> pipelined = result(ProductFill::pipelined, order);
    size_t different = 0;
    // Which NaN comes of two is not said anywhere.
    for (size_t i = 0; i < staged.size(); ++i)
      different += std::isnan(staged[i]) ? !std::isnan(pipelined[i]) : std::memcmp(&staged[i], &pipelined[i], sizeof(float)) != 0;
    EXPECT_EQ(different, 0u) << name(mode) << ", order " << static_cast<int>(order.order);
  }
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kSlow = true;  // a barrier takes milliseconds there
#else
constexpr bool kSlow = false;
#endif

struct Product {
  int64_t M, N, K;
  bool ta, tb;
  int shift;  // of the pointers, from 16-byte alignment
};

void expect_same_product(const Product& p) {
  SCOPED_TRACE(fmt::format("{} x {} x {}, {}{}, shifted by {}", p.M, p.N, p.K, p.ta ? 't' : 'n', p.tb ? 't' : 'n', p.shift));
  const std::vector<float> a = numbers(p.M * p.K + 4, 1), b = numbers(p.K * p.N + 4, 2), bias = numbers(p.N, 3), before = numbers(p.M * p.N, 4);
  auto aligned = [&](const std::vector<float>& v) { return v.data() + p.shift; };  // operator new gives 16 bytes
  for (const MathMode mode : {MathMode::ieee, MathMode::tf32, MathMode::bf16})
    expect_same_bits(mode, p.M * p.N, before, [&](Stream& stream, float* c) {
      Epilogue<float> e{bias.data(), Activation::leaky_relu, 0.1f, true};
      k::matmul<float>(stream, aligned(a), p.ta, aligned(b), p.tb, c, p.M, p.N, p.K, e);
    });
}

static_assert(tile_plan(3, 130, 10600).tile == TileSize{64, 128} && tile_plan(2, 132, 10601).tile == TileSize{64, 128});
static_assert(tile_plan(66, 65, 21200).tile == TileSize{128, 128} && tile_plan(132, 68, 10601).tile == TileSize{128, 128});
static_assert(tile_plan(140, 129, 5300).tile == TileSize{128, 128});

TEST(fills, products_agree_to_the_bit) {
  std::vector<Product> products;
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      products.push_back({5, 7, 37, ta, tb, 0});
      if (kSlow) continue;
      products.push_back({68, 132, 72, ta, tb, 0});   // wide copies, edges of both kinds
      products.push_back({68, 132, 72, ta, tb, 1});   // the same, misaligned
      products.push_back({65, 131, 101, ta, tb, 0});  // rows of odd length
    }
  for (const int64_t K : {0, 1, 4, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 97, 129}) products.push_back({3, 2, K, false, true, 0});
  if (!kSlow) {
    products.push_back({3, 130, 10600, false, true, 0});  // tiles of 64 x 128, in ranges of k
    products.push_back({2, 132, 10601, true, false, 0});
    products.push_back({66, 65, 21200, false, true, 0});  // of 128 x 128
    products.push_back({132, 68, 10601, true, false, 0});
    products.push_back({140, 129, 5300, false, false, 0});
  }
  for (const Product& p : products) expect_same_product(p);
}

TEST(fills, convolutions_agree_to_the_bit) {
  for (const Conv1dShape& s : {Conv1dShape{2, 3, 20, 5, 10, 3, 2, 1, 1}, Conv1dShape{3, 20, 16, 9, 16, 3, 1, 1, 1}, Conv1dShape{2, 4, 19, 3, 10, 4, 2, 3, 2}}) {
    SCOPED_TRACE(fmt::format("B {} C_in {} L_in {} C_out {} L_out {}", s.B, s.C_in, s.L_in, s.C_out, s.L_out));
    const std::vector<float> x = numbers(s.B * s.C_in * s.L_in, 1), w = numbers(s.C_out * s.C_in * s.K, 2), gy = numbers(s.B * s.C_out * s.L_out, 3);
    for (const MathMode mode : {MathMode::ieee, MathMode::tf32, MathMode::bf16}) {
      expect_same_bits(mode, s.B * s.C_out * s.L_out, {},
                       [&](Stream& stream, float* y) { k::conv1d<float>(stream, x.data(), w.data(), y, s, Epilogue<float>{}); });
      expect_same_bits(mode, s.B * s.C_in * s.L_in, {},
                       [&](Stream& stream, float* gx) { k::conv1d_grad_input<float>(stream, gy.data(), w.data(), gx, s, Epilogue<float>{}); });
      expect_same_bits(mode, s.C_out * s.C_in * s.K, {},
                       [&](Stream& stream, float* gw) { k::conv1d_grad_weight<float>(stream, x.data(), gy.data(), gw, s, false); });
    }
  }
}

// ---- operands that are part of a larger matrix
struct Sums {
  float* p;
  int64_t N;
  __device__ void store(int64_t row, int64_t column, float x) const { p[row * N + column] = x; }
};

// Rows of M of 4 n + 1 and K of 4 n + 2 numbers lie in rows of 4 n, aligned: copies of 16 bytes at the edges would take what is not
// theirs. Small whole numbers, so every math mode is exact.
TEST(fills, take_nothing_from_beyond_an_edge) {
  constexpr int64_t M = 69, N = 21, K = 70, kStride = 72;
  for (const bool a_by_k : {true, false})
    for (const bool b_by_k : {true, false}) {
      if (!a_by_k && b_by_k) continue;  // no pipeline takes both transposed
      auto element = [](int64_t row, int64_t k) { return static_cast<float>((row * 3 + k * 5) % 7 - 3); };
      auto matrix = [&](bool by_k, int64_t rows) {
        std::vector<float> m(static_cast<size_t>(kStride * kStride) + 4, NAN);
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t k = 0; k < K; ++k) m[static_cast<size_t>(by_k ? row * kStride + k : k * kStride + row)] = element(row, k);
        return m;
      };
      const std::vector<float> a = matrix(a_by_k, M), b = matrix(b_by_k, N);
      std::vector<float> expected(static_cast<size_t>(M * N));
      for (int64_t i = 0; i < M * N; ++i)
        for (int64_t k = 0; k < K; ++k) expected[static_cast<size_t>(i)] += element(i / N, k) * element(i % N, k);
      for (const MathMode mode : {MathMode::ieee, MathMode::tf32, MathMode::bf16})
        for (const ProductFill fill : {ProductFill::staged, ProductFill::pipelined, ProductFill::warpgroups}) {
          Stream stream({DeviceType::simt, 0});
          stream.math = mode, stream.fill = fill;
          std::vector<float> out(expected.size(), NAN);
          const simt::MatrixOperand<float> left{a.data(), kStride, a_by_k}, right{b.data(), kStride, b_by_k};
          EXPECT_TRUE(left.wide() && right.wide());
          simt::tile_product<float>(stream, left, right, Sums{out.data(), N}, M, N, K);
          EXPECT_TRUE(out == expected) << name(mode) << ", fill " << static_cast<int>(fill) << ", along k: " << a_by_k << b_by_k;
        }
    }
}

// ---- outputs that end tiles
// Small whole numbers, whose sums are exact in any order and math mode: so what is stored is the same by all fills, and what is summed over
// tiles is, but for rounding.
TEST(fills, outputs_that_end_tiles_agree) {
  struct Size {
    int64_t rows, columns, K;
  };
  auto whole = [](int64_t n, int64_t step) {
    std::vector<float> v(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) v[static_cast<size_t>(i)] = static_cast<float>((i * step + i / 7) % 5 - 2);
    return v;
  };
  for (const Size& s : {Size{40, 200, 100}, {130, 140, 300}, {260, 37, 129}}) {  // one range of k; two, in tiles of 256 rows
    if (kSlow && s.rows > 100) continue;
    const std::vector<float> x = whole(s.rows * s.K, 3), w = whole(s.columns * s.K, 7), bias = whole(s.columns, 11), target = whole(s.rows * s.columns, 13);
    for (const MathMode mode : {MathMode::tf32, MathMode::bf16}) {
      SCOPED_TRACE(fmt::format("{} x {} x {}, {}", s.rows, s.columns, s.K, name(mode)));
      struct Result {
        std::vector<float> grad, h, y;
        std::array<float, 3> loss;
      };
      auto result = [&](ProductFill fill, simt::Options order) {
        Stream stream({DeviceType::simt, 0});
        stream.math = mode, stream.fill = fill, stream.simt = order;
        const auto count = static_cast<size_t>(s.rows * s.columns), n = static_cast<size_t>(s.columns);
        Result r{std::vector<float>(count, NAN), std::vector<float>(count, NAN), std::vector<float>(count, NAN), {}};
        const std::vector<float> latent(static_cast<size_t>(s.rows), 0.5f);
        std::vector<float> mu(latent), logvar(latent), mean(n), var(n, 1), statistics(3 * n);
        k::linear_huber_kl<float>(stream, x.data(), w.data(), bias.data(), target.data(), latent.data(), latent.data(), s.rows, s.rows, s.columns, s.K, 1, 1.5f,
                                  0.5f, r.loss.data(), r.grad.data(), nullptr, mu.data(), logvar.data());
        const Epilogue<float> e{bias.data(), Activation::leaky_relu, 0.5f, false};
        k::linear_batchnorm<float>(stream, x.data(), w.data(), e, nullptr, nullptr, s.rows, s.columns, s.K, 1e-5f, 0.1f, mean.data(), var.data(), r.h.data(),
                                   r.y.data(), statistics.data());
        return r;
      };
      const Result expected = result(ProductFill::pipelined, {});
      for (const simt::Order order : {simt::Order::forward, simt::Order::reverse, simt::Order::random}) {
        const Result r = result(ProductFill::warpgroups, {order, 7, 1});
        EXPECT_EQ(r.grad, expected.grad);
        EXPECT_EQ(r.h, expected.h);
        for (size_t i = 0; i < r.loss.size(); ++i) EXPECT_NEAR(r.loss[i], expected.loss[i], 1e-5f * std::abs(expected.loss[i]));
        for (size_t i = 0; i < r.y.size(); ++i) ASSERT_NEAR(r.y[i], expected.y[i], 2e-5f) << i;
      }
    }
  }
}

TEST(linear_huber_kl, gradients_of_the_bias_need_those_of_the_predictions) {
  for (const DeviceType type : {DeviceType::cpu, DeviceType::simt}) {
    Stream stream({type, 0});
    const std::vector<float> ones(4, 1.0f);
    std::vector<float> loss(3), grad_bias(2), mu(2), logvar(2);
    const float* const x = ones.data();
    const auto call = [&](float* sums) {
      k::linear_huber_kl<float>(stream, x, x, x, x, x, x, 2, 2, 2, 2, 1, 1.0f, 0.5f, loss.data(), nullptr, sums, mu.data(), logvar.data());
    };
    call(nullptr);
    EXPECT_THROW(call(grad_bias.data()), Error);
  }
}

}  // namespace
}  // namespace panvae::test
