// What a profile counts as one call.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/kernels.h"

namespace panvae::test {
namespace {

TEST(profile, a_call_that_throws_is_over) {
  Stream stream({DeviceType::simt, 0});
  Profile profile;
  stream.profile = &profile;
  stream.simt.most_threads = 1;
  std::vector<float> x(8, 1.0f), y(8);
  EXPECT_THROW(k::scale<float>(stream, x.data(), y.data(), 8, 2.0f), simt::TooManyThreads);
  stream.simt.most_threads = 0;
  k::scale<float>(stream, x.data(), y.data(), 8, 2.0f);
  profile.settle(stream);
  EXPECT_EQ(profile.calls().size(), 2u);
}

// A product with a bias and an activation, which the library ends by a kernel of ours: one call.
class OnCuda : public testing::Test {
 public:
  void TestBody() override {
    Stream stream({DeviceType::cuda, 0});
    const Backend& backend = stream.backend();
    constexpr int64_t N = 64;
    auto* p = static_cast<float*>(backend.alloc(0, 4 * N * N * sizeof(float)));
    ASSERT_TRUE(p);
    backend.fill_bytes(0, p, 0, 4 * N * N * sizeof(float), stream.handle());
    {
      Profile profile;
      stream.profile = &profile;
      Epilogue<float> e;
      e.bias = p + 3 * N * N;
      e.activation = Activation::relu;
      for (int i = 0; i < 5; ++i) k::matmul<float>(stream, p, false, p + N * N, true, p + 2 * N * N, N, N, N, e);
      profile.settle(stream);
      stream.profile = nullptr;
      ASSERT_EQ(profile.calls().size(), 5u);
      for (const Profile::Call& call : profile.calls()) {
        EXPECT_STREQ(call.kernel, "matmul");
        EXPECT_GT(call.seconds, 0);
      }
    }
    backend.free(0, p);
  }
};
[[maybe_unused]] const bool registered = [] {
  if (cuda_backend().device_count() > 0)
    testing::RegisterTest("profile", "cuda", nullptr, nullptr, __FILE__, __LINE__, []() -> testing::Test* { return new OnCuda; });
  return true;
}();

}  // namespace
}  // namespace panvae::test
