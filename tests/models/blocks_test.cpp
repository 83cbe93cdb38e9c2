#include "models/blocks.h"

#include <gtest/gtest.h>

#include "tests/engine/helpers.h"

namespace panvae::test {
namespace {

// How many blocks of a pass see each peak.
std::vector<int> seen(const BlockSchedule& s, int64_t pass) {
  std::vector<int> count(static_cast<size_t>(s.peaks()));
  for (int64_t first : s.starts(pass))
    for (int64_t p = first; p < first + s.size(); ++p) ++count.at(static_cast<size_t>(p));
  return count;
}

TEST(block_schedule, every_pass_sees_every_peak_and_blocks_lie_within) {
  for (int64_t size : {1, 2, 5, 10, 12})
    for (int64_t slide = 1; slide <= size; ++slide)
      for (int64_t peaks = 1; peaks <= 4 * size + 3; ++peaks) {
        const BlockSchedule s(peaks, size, slide);
        ASSERT_EQ(s.size(), std::min(size, peaks));
        ASSERT_EQ(s.phases(), peaks <= size ? 1 : (size + slide - 1) / slide);
        for (int64_t pass = 0; pass < 2 * s.phases() + 1; ++pass) {
          const std::vector<int64_t> starts = s.starts(pass);
          ASSERT_EQ(s.blocks_of(pass), static_cast<int64_t>(starts.size()));
          ASSERT_EQ(starts, s.starts(pass + s.phases()));
          ASSERT_EQ(starts.front(), 0);
          ASSERT_EQ(starts.back(), peaks - s.size()) << "the last block ends with the last peak";
          for (size_t i = 1; i < starts.size(); ++i) ASSERT_LT(starts[i - 1], starts[i]);
          for (int c : seen(s, pass)) ASSERT_TRUE(c >= 1 && c <= 3) << "peaks " << peaks << " size " << size << " slide " << slide << " pass " << pass;
        }
        for (int c : seen(s, 0)) ASSERT_LE(c, 2);
        ASSERT_EQ(s.tiles(), (peaks + size - 1) / size);
      }
}

TEST(block_schedule, offsets_slide_from_pass_to_pass) {
  const BlockSchedule s(53, 10, 2);
  EXPECT_EQ(s.starts(0), (std::vector<int64_t>{0, 10, 20, 30, 40, 43}));
  EXPECT_EQ(s.starts(1), (std::vector<int64_t>{0, 2, 12, 22, 32, 42, 43}));
  EXPECT_EQ(s.starts(4), (std::vector<int64_t>{0, 8, 18, 28, 38, 43}));
  EXPECT_EQ(s.starts(5), s.starts(0));
  const BlockSchedule uneven(53, 10, 4);  // 0, 4, 8
  EXPECT_EQ(uneven.phases(), 3);
  EXPECT_EQ(uneven.starts(2), (std::vector<int64_t>{0, 8, 18, 28, 38, 43}));
}

TEST(block_schedule, of_the_paper) {
  const BlockSchedule s(562709, 5000, 1000);
  EXPECT_EQ(s.phases(), 5);
  EXPECT_EQ(s.tiles(), 113);
  EXPECT_EQ(s.tiles() * 512, 57856);
  EXPECT_EQ(s.tiling().back(), 557709);
  // Five passes hold the windows a thousand peaks apart, each once, and what covers the ends.
  std::vector<int64_t> all;
  for (int64_t pass = 0; pass < 5; ++pass)
    for (int64_t first : s.starts(pass))
      if (first % 1000 == 0 && (first > 0 || pass == 0)) all.push_back(first);
  std::sort(all.begin(), all.end());
  ASSERT_EQ(all.size(), 558u);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], static_cast<int64_t>(i) * 1000);
}

TEST(block_schedule, peaks_at_the_edge_of_a_block) {
  EXPECT_EQ(BlockSchedule(7, 10, 2).starts(3), (std::vector<int64_t>{0}));
  EXPECT_EQ(BlockSchedule(7, 10, 2).size(), 7);
  EXPECT_EQ(BlockSchedule(10, 10, 2).starts(1), (std::vector<int64_t>{0}));
  EXPECT_EQ(BlockSchedule(11, 10, 2).starts(0), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(BlockSchedule(11, 10, 2).starts(1), (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(BlockSchedule(1, 1, 1).starts(0), (std::vector<int64_t>{0}));
}

TEST(block_schedule, refuses_nonsense) {
  EXPECT_CONTAINS(error_of([] { BlockSchedule(0, 10, 2); }).message(), "of 0 peaks");
  EXPECT_CONTAINS(error_of([] { BlockSchedule(10, 0, 1); }).message(), "blocks of 0");
  EXPECT_CONTAINS(error_of([] { BlockSchedule(10, 5, 0); }).message(), "slide of 0");
  EXPECT_CONTAINS(error_of([] { BlockSchedule(10, 5, 6); }).message(), "slide of 6");
  error_of([] { BlockSchedule(10, 5, 1).starts(-1); });
}

// Blocks cut from known peaks give these back; where two meet and differ, their mean stands.
TEST(stitch, puts_blocks_together_again) {
  for (int64_t peaks : {1, 4, 5, 6, 9, 10, 11, 23}) {
    const BlockSchedule s(peaks, 5, 1);
    std::vector<float> whole = ramp(static_cast<size_t>(peaks)), blocks, other, back(static_cast<size_t>(peaks), NAN);
    for (int64_t first : s.tiling()) blocks.insert(blocks.end(), whole.begin() + first, whole.begin() + first + s.size());
    stitch(s, blocks.data(), back.data());
    EXPECT_EQ(back, whole);
    for (size_t i = 0; i < blocks.size(); ++i) other.push_back(static_cast<float>(i / static_cast<size_t>(s.size())));  // the tile's number
    stitch(s, other.data(), back.data());
    const std::vector<int> count = seen(s, 0);
    for (int64_t p = 0; p < peaks; ++p) {
      const float tile = static_cast<float>(p / s.size());
      EXPECT_EQ(back[static_cast<size_t>(p)], count[static_cast<size_t>(p)] == 2 ? tile + 0.5f
                                              : p >= s.tiling().back()           ? static_cast<float>(s.tiles() - 1)
                                                                                 : tile);
    }
  }
}

}  // namespace
}  // namespace panvae::test
