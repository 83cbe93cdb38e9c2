#include "models/sample_stream.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace panvae::test {
namespace {

TEST(sample_stream, each_pass_has_each_item_once_in_an_order_of_its_own) {
  SampleStream stream(7, 3, 0);
  std::vector<int64_t> first = stream.items(0, 7), second = stream.items(7, 7), all(7);
  EXPECT_NE(first, second);
  std::iota(all.begin(), all.end(), int64_t{0});
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, all);
  EXPECT_EQ(second, all);
}

TEST(sample_stream, what_stands_at_a_place_depends_on_the_seed_and_the_stream_alone) {
  SampleStream at_once(5, 3, 0), resumed(5, 3, 0), other_seed(5, 4, 0), other_stream(5, 3, 1);
  const std::vector<int64_t> items = at_once.items(0, 40);
  EXPECT_EQ(resumed.items(23, 17), std::vector<int64_t>(items.begin() + 23, items.end()));
  EXPECT_EQ(at_once.items(3, 4), std::vector<int64_t>(items.begin() + 3, items.begin() + 7)) << "also further back";
  EXPECT_NE(other_seed.items(0, 40), items);
  EXPECT_NE(other_stream.items(0, 40), items);
}

TEST(sample_stream, of_nothing_there_is_nothing) {
  SampleStream empty(0, 3, 0), stream(4, 3, 0);
  EXPECT_TRUE(empty.items(0, 5).empty());
  EXPECT_TRUE(stream.items(6, 0).empty());
}

}  // namespace
}  // namespace panvae::test
