// What the cpu's backend does in parts side by side: copies and fills of many pages, where they begin and end in the middle of one,
// and copies onto themselves, which are one.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "base/threads.h"
#include "kernels/device.h"

namespace panvae::test {
namespace {

constexpr size_t kLarge = (size_t{5} << 20) + 3;

std::vector<uint32_t> counted(size_t n) {
  std::vector<uint32_t> x(n);
  std::iota(x.begin(), x.end(), uint32_t{1});
  return x;
}

class BackendCpu : public testing::Test {
 protected:
  void SetUp() override { set_threads(3); }
  void TearDown() override { set_threads(before_); }
  void copy(void* to, const void* from, size_t bytes) { cpu_backend().copy(0, to, from, bytes, CopyKind::device_to_device, nullptr); }

 private:
  int before_ = threads();
};

TEST_F(BackendCpu, copies_every_byte_and_none_behind) {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{1000}, kLarge / 4}) {
    const std::vector<uint32_t> from = counted(n);
    std::vector<uint32_t> to(n + 2, 0);
    copy(to.data() + 1, from.data(), n * 4);
    EXPECT_EQ(to.front(), 0U);
    EXPECT_EQ(to.back(), 0U);
    EXPECT_TRUE(std::equal(from.begin(), from.end(), to.begin() + 1)) << n;
  }
}

TEST_F(BackendCpu, copies_onto_itself) {
  for (const bool up : {true, false}) {
    const std::vector<uint32_t> from = counted(kLarge / 4);
    std::vector<uint32_t> x = from;
    constexpr size_t kShift = 1000;
    const size_t n = x.size() - kShift;
    copy(x.data() + (up ? kShift : 0), x.data() + (up ? 0 : kShift), n * 4);
    for (size_t i = 0; i < x.size(); ++i) {
      const bool moved = up ? i >= kShift : i < n;
      ASSERT_EQ(x[i], from[moved ? (up ? i - kShift : i + kShift) : i]) << (up ? "up " : "down ") << i;
    }
  }
}

TEST_F(BackendCpu, fills_every_byte_and_none_behind) {
  for (const size_t bytes : {size_t{0}, size_t{1}, kLarge}) {
    std::vector<uint8_t> x(bytes + 2, 7);
    cpu_backend().fill_bytes(0, x.data() + 1, 0xA5, bytes, nullptr);
    EXPECT_EQ(x.front(), 7);
    EXPECT_EQ(x.back(), 7);
    EXPECT_EQ(std::count(x.begin(), x.end(), 0xA5), static_cast<std::ptrdiff_t>(bytes));
  }
}

}  // namespace
}  // namespace panvae::test
