// Sources of blocks: a matrix on the device, and a thread that reads ahead.
#include <atomic>

#include "base/float_types.h"
#include "engine/module.h"
#include "engine/staged_source.h"
#include "helpers.h"

namespace panvae::test {
namespace {

std::vector<float> counting(int64_t samples, int64_t features) {
  std::vector<float> v;
  for (int64_t i = 0; i < samples; ++i)
    for (int64_t j = 0; j < features; ++j) v.push_back(static_cast<float>(i * 100 + j));
  return v;
}

std::vector<float> expected(const std::vector<BlockRef>& blocks, int64_t width) {
  std::vector<float> v;
  for (const BlockRef& b : blocks)
    for (int64_t j = 0; j < width; ++j) v.push_back(static_cast<float>(b.sample * 100 + b.first + j));
  return v;
}

const std::vector<BlockRef> kBlocks{{2, 3}, {0, 0}, {2, 3}, {3, 6}}, kOthers{{1, 1}}, kMore{{0, 2}, {3, 0}};

StagedBlockSource::Read reader(std::atomic<int64_t>* calls = nullptr) {
  return [calls](int64_t sample, int64_t first, int64_t count, float* to) {
    if (calls) ++*calls;
    for (int64_t j = 0; j < count; ++j) to[j] = static_cast<float>(sample * 100 + first + j);
  };
}

TEST(block_source, gathers_blocks_of_f32_and_f16_on_every_device) {
  const std::vector<float> matrix = counting(4, 10);
  std::vector<f16> halves;
  for (float v : matrix) halves.push_back(to_f16(v));
  for (Device device : host_devices()) {
    Context c(device);
    MatrixBlockSource full(c, matrix.data(), 4, 10), half(c, halves.data(), 4, 10);
    const std::unique_ptr<BlockSource> made = block_source(c, matrix.data(), 4, 10), made_half = block_source(c, halves.data(), 4, 10);
    for (BlockSource* source : {static_cast<BlockSource*>(&full), static_cast<BlockSource*>(&half), made.get(), made_half.get()}) {
      EXPECT_EQ(source->samples(), 4);
      EXPECT_EQ(source->features(), 10);
      Tensor x = Tensor::empty(c, {4, 4}), none = Tensor::empty(c, {0, 4});
      source->prefetch(kBlocks, 4);
      source->fill(kBlocks, x);
      EXPECT_EQ(x.host<float>(), expected(kBlocks, 4));
      source->fill({}, none);
      EXPECT_CONTAINS(error_of([&] { source->fill(kOthers, x); }).message(), "[4, 4] for 1 blocks");
      EXPECT_CONTAINS(error_of([&] { source->fill({{0, 0}, {0, 7}, {0, 0}, {0, 0}}, x); }).message(), "features [7, 11) of sample 0");
      EXPECT_CONTAINS(error_of([&] { source->fill({{0, 0}, {4, 0}, {0, 0}, {0, 0}}, x); }).message(), "of sample 4");
      error_of([&] { source->fill({{0, 0}, {-1, 0}, {0, 0}, {0, 0}}, x); });
      error_of([&] { source->fill({{0, 0}, {0, -1}, {0, 0}, {0, 0}}, x); });
    }
    EXPECT_TRUE(stays_on_device(c, int64_t{1} << 60)) << "host memory is where it is";
  }
}

TEST(staged_source, reads_ahead_what_is_announced_and_anything_else_when_asked) {
  for (Device device : host_devices()) {
    Context c(device);
    StagedBlockSource source(c, reader(), 4, 10);
    auto filled = [&](const std::vector<BlockRef>& blocks, int64_t width) {
      Step step(c);
      Tensor x = Tensor::empty(c, {static_cast<int64_t>(blocks.size()), width});
      source.fill(blocks, x);
      EXPECT_EQ(x.host<float>(), expected(blocks, width));
    };
    filled(kBlocks, 4);
    EXPECT_EQ(source.fills_from_staging(), 0);
    // As a trainer does: one batch ahead, and sizes change.
    source.prefetch(kBlocks, 4);
    source.prefetch(kOthers, 9);
    filled(kBlocks, 4);
    source.prefetch(kMore, 5);
    filled(kOthers, 9);
    filled(kMore, 5);
    EXPECT_EQ(source.fills_from_staging(), 3);
    // A third announcement finds no buffer, and is read when it is asked for.
    source.prefetch(kBlocks, 4);
    source.prefetch(kOthers, 9);
    source.prefetch(kMore, 5);
    filled(kBlocks, 4);
    filled(kOthers, 9);
    filled(kMore, 5);
    EXPECT_EQ(source.fills_from_staging(), 5);
    // Other blocks, or another width, than announced: what was announced is dropped.
    source.prefetch(kBlocks, 4);
    source.prefetch(kOthers, 9);
    filled(kMore, 5);
    filled(kBlocks, 4);
    source.prefetch(kBlocks, 3);
    filled(kBlocks, 4);
    EXPECT_EQ(source.fills_from_staging(), 5);
    source.prefetch({}, 4);
    source.prefetch(kBlocks, 4);
    EXPECT_CONTAINS(error_of([&] {
                      const Step step(c);
                      source.prefetch(kOthers, 4);
                    }).message(),
                    "within a step");
  }  // and ends with a request under way
}

TEST(staged_source, many_batches_keep_their_order) {
  Context c;
  std::atomic<int64_t> calls{0};
  StagedBlockSource source(c, reader(&calls), 50, 60);
  auto batch = [](int64_t i) {
    std::vector<BlockRef> blocks;
    for (int64_t j = 0; j <= i % 7; ++j) blocks.push_back({(i * 11 + j) % 50, (i + 5 * j) % 40});
    return blocks;
  };
  source.prefetch(batch(0), 20);
  int64_t wanted = 0;
  for (int64_t i = 0; i < 500; ++i) {
    source.prefetch(batch(i + 1), 20);
    Tensor x = Tensor::empty(c, {static_cast<int64_t>(batch(i).size()), 20});
    source.fill(batch(i), x);
    ASSERT_EQ(x.host<float>(), expected(batch(i), 20));
    wanted += static_cast<int64_t>(batch(i).size());
  }
  EXPECT_EQ(source.fills_from_staging(), 500);
  EXPECT_GE(calls, wanted);
}

TEST(staged_source, an_error_of_the_reader_comes_out_of_fill) {
  Context c;
  StagedBlockSource source(
      c,
      [](int64_t sample, int64_t, int64_t count, float* to) {
        if (sample == 3) fail_input("the disk is gone");
        std::fill_n(to, count, 1.0f);
      },
      4, 10);
  Tensor x = Tensor::empty(c, {2, 5});
  source.prefetch(kMore, 5);
  EXPECT_CONTAINS(error_of([&] { source.fill(kMore, x); }).message(), "the disk is gone");
  EXPECT_CONTAINS(error_of([&] { source.fill(kMore, x); }).message(), "the disk is gone");
  source.prefetch({{0, 0}, {1, 0}}, 5);
  source.fill({{0, 0}, {1, 0}}, x);
  EXPECT_EQ(x.host<float>(), std::vector<float>(10, 1.0f));
}

TEST(release_gradients, makes_parameters_constants_again) {
  class One : public Module {
   public:
    One() { declare_parameter("w", w, {2}, Init::constant(3)); }
    Tensor forward(const Tensor& x) override { return ops::mul(x, w); }
    Tensor w;
  };
  Context c;
  One one;
  ModuleState state(c, one, 1);
  state.require_gradients();
  EXPECT_TRUE(one.w.needs_gradient());
  state.release_gradients();
  EXPECT_FALSE(one.w.needs_gradient());
  EXPECT_FALSE(state.flat_gradients().defined());
  Tape tape(c);
  one(tensor(c, {2}, {1, 2}));
  EXPECT_EQ(tape.size(), 0u) << "nothing to record";
  state.require_gradients();
  EXPECT_TRUE(one.w.needs_gradient());
}

}  // namespace
}  // namespace panvae::test
