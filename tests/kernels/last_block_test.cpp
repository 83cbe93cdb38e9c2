// Sums that the last block ends (kernels/last_block.h): whoever that is, and whatever became of the launch before.
#include "kernels/last_block.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/device_math.h"
#include "kernels/kernels.h"

namespace panvae::PV_EXEC {

// y[0]: sum of 1 to the number of blocks; y[1]: how many blocks were the last. Block `faulty` fails before it arrives, if it is there.
__global__ void count_blocks(int* parts, unsigned* arrivals, unsigned faulty, int* y) {
  PV_CHECK(blockIdx.x != faulty, "planted");
  if (threadIdx.x == 0) parts[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
  if (!last_block(arrivals)) return;
  int s = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += blockDim.x) s += parts[i];
  s = block_sum(s);
  if (threadIdx.x == 0) y[0] = s, y[1] += 1;
}

}  // namespace panvae::PV_EXEC

namespace panvae::test {
namespace {

constexpr unsigned kNoFault = ~0u;

struct SimtStream : Stream {
  explicit SimtStream(simt::Options options = {simt::Order::forward, 1, 1}) : Stream({DeviceType::simt, 0}) { simt = options; }
};

void count(Stream& stream, unsigned blocks, unsigned threads, unsigned faulty, int* y) {
  int* parts = stream.scratch<int>(blocks);
  simt::launch(stream, blocks, threads, 0, simt::count_blocks, parts, arrivals_of(stream), faulty, y);
}
bool all_zero(const unsigned* arrivals) {
  return std::all_of(arrivals, arrivals + kArrivalsBytes / sizeof(unsigned), [](unsigned n) { return n == 0; });
}

TEST(last_block, adds_the_parts_of_all_blocks_once) {
  for (const simt::Options& o :
       {simt::Options{simt::Order::forward, 1, 1}, {simt::Order::reverse, 1, 1}, {simt::Order::random, 3, 1}, {simt::Order::random, 4, 4}})
    for (const unsigned blocks : {1u, 2u, 7u, 300u})
      for (const unsigned threads : {32u, 96u}) {
        SimtStream stream(o);
        int y[2] = {};
        for (int call = 1; call <= 3; ++call) {
          y[0] = 0;
          count(stream, blocks, threads, kNoFault, y);
          EXPECT_EQ(y[0], static_cast<int>(blocks * (blocks + 1) / 2)) << blocks << " blocks of " << threads;
          EXPECT_EQ(y[1], call);
          EXPECT_TRUE(all_zero(arrivals_of(stream)));
        }
      }
}

// Neither a launch that ends early, eager or from a graph, nor scratch memory that moves leaves a count behind.
TEST(last_block, starts_from_zero_after_a_fault_and_in_other_memory) {
  SimtStream stream;
  int y[2] = {};
  EXPECT_THROW(count(stream, 5, 32, 3, y), Error);
  EXPECT_TRUE(all_zero(arrivals_of(stream)));
  const Graph faulty = stream.capture([&] { count(stream, 5, 32, 2, y); }), right = stream.capture([&] { count(stream, 5, 32, kNoFault, y); });
  EXPECT_THROW(faulty.launch(stream), Error);
  EXPECT_EQ(y[1], 0);
  for (int replay = 1; replay <= 3; ++replay) {
    y[0] = 0;
    right.launch(stream);
    EXPECT_EQ(y[0], 15);
    EXPECT_EQ(y[1], replay);
  }
  const unsigned* before = arrivals_of(stream);
  const size_t bytes = stream.scratch_bytes();
  std::fill_n(stream.scratch<char>(static_cast<int64_t>(bytes)), bytes, '\xFF');  // all that a kernel may write
  EXPECT_TRUE(all_zero(before));
  std::fill_n(stream.scratch<char>(static_cast<int64_t>(3 * bytes)), 3 * bytes, '\xFF');
  EXPECT_NE(arrivals_of(stream), before);
  count(stream, 5, 32, kNoFault, y);
  EXPECT_EQ(y[1], 4);
}

// Two streams whose work a graph may do at the same time share no counter.
TEST(last_block, of_two_streams_in_a_graph) {
  SimtStream main, side;
  std::vector<float> x(10000), y(2);
  std::iota(x.begin(), x.end(), 1.0f);
  float expected = 0;
  k::sum<float>(main, x.data(), &expected, 10000, 1.0f);
  side.scratch(main.scratch_bytes());
  EXPECT_NE(arrivals_of(main), arrivals_of(side));
  const Graph graph = main.capture([&] {
    main.backend().order(0, main.handle(), side.handle());
    k::sum<float>(side, x.data(), &y[1], 10000, 1.0f);
    k::sum<float>(main, x.data(), &y[0], 10000, 1.0f);
    main.backend().order(0, side.handle(), main.handle());
  });
  for (int replay = 0; replay < 3; ++replay) {
    y = {0, 0};
    graph.launch(main);
    EXPECT_EQ(y, (std::vector<float>{expected, expected}));
  }
}

}  // namespace
}  // namespace panvae::test
