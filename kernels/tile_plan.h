// How a product is cut: into tiles of c, and k into ranges. Pure functions of the sizes, so that the same product is cut
// alike on every device, in every math mode and by both fills (kernels/tile.h): the ranges decide in which order products
// are added, hence the bits of the result.
#pragma once
#include <algorithm>
#include <cstdint>

namespace panvae {

struct TileSize {
  int m, n;
  bool operator==(const TileSize&) const = default;
};

struct TilePlan {
  TileSize tile;
  int64_t k_range;  // multiple of kRangeUnit
  int64_t ranges;   // at least 1
};

// One block, and two, for each of the 132 multiprocessors of an H100.
inline constexpr int64_t kFewBlocks = 132, kWantedBlocks = 264;
// A range of k is whole stages of every loop, and pays for its second pass (partial sums written, read and added).
inline constexpr int64_t kRangeUnit = 32, kLeastRange = 128;
inline constexpr TileSize kTileSizes[] = {{128, 128}, {64, 128}, {64, 64}};

constexpr int64_t tiles_of(TileSize t, int64_t M, int64_t N) {
  return ((M + t.m - 1) / t.m) * ((N + t.n - 1) / t.n);
}

// Ranges of k only where c alone has too few tiles to fill a GPU, as many blocks as are wanted.
constexpr TilePlan plan_ranges(TileSize tile, int64_t M, int64_t N, int64_t K, int64_t blocks = kWantedBlocks) {
  const int64_t units = (K + kRangeUnit - 1) / kRangeUnit;
  const int64_t wanted = std::clamp<int64_t>(blocks / tiles_of(tile, M, N), 1, std::max<int64_t>(1, K / kLeastRange));
  const int64_t k_range = std::max<int64_t>(1, (units + wanted - 1) / wanted) * kRangeUnit;
  return {tile, k_range, std::max<int64_t>(1, (K + k_range - 1) / k_range)};
}

// The largest tile that gives every multiprocessor a block, for it moves the fewest bytes a product. None that would be half
// empty where a smaller one is not: a batch of 64 takes 64 x 128. Where all give too few blocks: 64 x 64, the most.
constexpr TilePlan tile_plan(int64_t M, int64_t N, int64_t K) {
  for (const TileSize t : kTileSizes) {
    if ((t.m > 64 && M <= 64) || (t.n > 64 && N <= 64)) continue;
    const TilePlan plan = plan_ranges(t, M, N, K);
    if (tiles_of(t, M, N) * plan.ranges >= kFewBlocks) return plan;
  }
  return plan_ranges({64, 64}, M, N, K);
}

// Of products by warpgroups. Where k is split, operands are most of what is moved: 256 rows, one block a multiprocessor, read b once
// for as many. Else 128 x 128, two blocks, of which one multiplies while the other stores.
constexpr TilePlan warpgroup_plan(int64_t M, int64_t N, int64_t K) {
  if (M > 128) {
    const TilePlan plan = plan_ranges({256, 128}, M, N, K, kFewBlocks);
    if (plan.ranges > 1) return plan;
  }
  return plan_ranges({128, 128}, M, N, K);
}

// n / d and n % d by a multiplication, for 0 <= n < 2^31 and 1 <= d < 2^31. With s = ceil(log2 d) the factor is 2^(31 + s) / d,
// rounded up by less than one; so the product is too large by less than n / 2^(31 + s) < 1 / d, which reaches no whole number.
class Divider {
 public:
  constexpr explicit Divider(int64_t divisor = 1) : divisor_(static_cast<uint32_t>(std::max<int64_t>(1, divisor))) {
    while ((uint64_t{1} << (shift_ - 31)) < divisor_) ++shift_;
    factor_ = static_cast<uint32_t>(((uint64_t{1} << shift_) + divisor_ - 1) / divisor_);
  }
  constexpr int quotient(int n) const { return static_cast<int>(uint64_t{static_cast<uint32_t>(n)} * factor_ >> shift_); }
  constexpr int remainder(int n) const { return n - quotient(n) * static_cast<int>(divisor_); }

 private:
  uint32_t divisor_, factor_ = 0;
  int shift_ = 31;
};

}  // namespace panvae
