// What the host reads of a step while the device goes on.
#include "engine/readback.h"

#include <gtest/gtest.h>

#include "helpers.h"

namespace panvae::test {
namespace {

TEST(readback, is_what_the_tensor_held_when_it_was_queued) {
  for (Device device : host_devices()) {
    Context c(device);
    Tensor t = tensor(c, {3}, {1, 2, 3});
    Readback readback(c, 12);
    readback.queue(t);
    t.assign(tensor(c, {3}, {4, 5, 6}));
    EXPECT_EQ(readback.wait(), (std::vector<float>{1, 2, 3}));
    readback.queue(t.part(1, {2}));
    EXPECT_EQ(readback.wait(), (std::vector<float>{5, 6}));
    readback.queue(t);  // nobody waits for it
  }
}

TEST(readback, refuses_what_it_has_no_room_for_and_to_wait_for_nothing) {
  Context c, other;
  Readback readback(c, 8);
  EXPECT_CONTAINS(error_of([&] { readback.wait(); }).message(), "nothing is queued");
  EXPECT_CONTAINS(error_of([&] { readback.queue(tensor(c, {3}, {1, 2, 3})); }).message(), "[3] F32 where there are 8 bytes");
  EXPECT_CONTAINS(error_of([&] { readback.queue(Tensor::zeros(c, {1}, DType::f64)); }).message(), "F64");
  EXPECT_CONTAINS(error_of([&] { readback.queue(tensor(other, {1}, {1})); }).message(), "another context");
  readback.queue(tensor(c, {1}, {7}));
  EXPECT_EQ(readback.wait(), std::vector<float>{7});
  EXPECT_CONTAINS(error_of([&] { readback.wait(); }).message(), "nothing is queued");
}

TEST(readback, is_no_part_of_a_graph) {
  Context c({DeviceType::simt, 0});
  const Tensor t = tensor(c, {1}, {1});
  Readback readback(c, 4);
  EXPECT_CONTAINS(error_of([&] { c.stream().capture([&] { readback.queue(t); }); }).message(), "memory of the device is copied to the host");
}

}  // namespace
}  // namespace panvae::test
