#include "bench/measure.h"

#include <gtest/gtest.h>

namespace panvae::bench {
namespace {

// y += 1 of n elements, said to be `expected` more.
cases::OpCase adding(double expected, std::vector<double>* first_values = nullptr) {
  cases::OpCase c;
  c.name = "adding";
  c.dims = {"N"};
  c.body([=]<class T>(cases::Run<T>& r, const cases::Sizes& s) {
    const auto y = r.inout(s[0]);
    r.call([=, n = s[0]](Stream&) {
      if (first_values) first_values->push_back(static_cast<double>(y.data[0]));
      for (int64_t i = 0; i < n; ++i) y.data[i] += T(1);
    });
    r.expect(y, 4, [&](int64_t i) { return y[i] + expected; });
  });
  c.flops = [](const cases::Sizes& s) { return static_cast<double>(s[0]); };
  c.bytes = [](const cases::Sizes& s, double item) { return 2 * item * static_cast<double>(s[0]); };
  return c;
}

Row row_of(const cases::OpCase& c, int64_t n) {
  return {&c, contender("ours", DeviceType::cpu), {n}, DType::f32};
}

TEST(measure, a_wrong_result_is_not_timed) {
  Stream stream({DeviceType::cpu, 0});
  const cases::OpCase wrong = adding(1.001);
  const Measurement m = measure(stream, row_of(wrong, 1000), {});
  ASSERT_FALSE(m.failures.empty());
  EXPECT_NE(m.failures[0].find("buffer 0[0]"), std::string::npos) << m.failures[0];
  EXPECT_EQ(m.time.samples, 0u);
}

TEST(measure, a_sample_of_the_result_is_compared) {
  Stream stream({DeviceType::cpu, 0});
  const cases::OpCase right = adding(1);
  Options options;
  options.limits.seconds = 0;
  options.hot = true;
  const Measurement m = measure(stream, row_of(right, 100000), options);
  EXPECT_TRUE(m.failures.empty()) << m.failures[0];
  EXPECT_GE(m.checked, 200);
  EXPECT_LE(m.checked, 300);
  EXPECT_GE(m.time.samples, 7u);
}

// Calls go round the copies; what they change is undone before it runs away.
TEST(measure, copies_are_taken_in_turn_and_restored) {
  Stream stream({DeviceType::cpu, 0});
  std::vector<double> seen;
  const cases::OpCase right = adding(1, &seen);
  constexpr int64_t bytes = 4 * 1000 + 512;
  Rotation rotation(stream, row_of(right, 1000), 3 * bytes - 1, 1 << 20);
  ASSERT_EQ(rotation.copies(), 3u);
  EXPECT_FALSE(rotation.hot());
  const double start = seen[0];
  seen.clear();
  const Work work = rotation.work();
  for (int i = 0; i < 100; ++i) work.call(), work.tidy(1);
  for (size_t i = 0; i < 100; ++i) EXPECT_FLOAT_EQ(seen[i], start + static_cast<double>(i % 24 / 3)) << i;
}

TEST(measure, one_copy_serves_where_the_cache_cannot_be_exceeded) {
  Stream stream({DeviceType::cpu, 0});
  const cases::OpCase right = adding(1);
  constexpr int64_t bytes = 4 * 1000 + 512;
  for (const auto& [cold, memory] : {std::pair<int64_t, int64_t>{0, 1 << 20}, {3 * bytes, 3 * bytes}, {int64_t{1} << 50, int64_t{1} << 50}}) {
    const Rotation rotation(stream, row_of(right, 1000), cold, memory);
    EXPECT_TRUE(rotation.hot()) << cold;
    EXPECT_EQ(rotation.copies(), 1u) << cold;
  }
}

TEST(measure, cold_is_eight_times_the_cache) {
  Stream stream({DeviceType::cpu, 0});
  const int64_t cache = stream.backend().properties(0).cache_bytes;
  if (cache > 0) {
    EXPECT_EQ(cold_bytes(stream), 8 * cache);
  }
  EXPECT_GE(cold_bytes(stream), int64_t{8} << 20);
}

}  // namespace
}  // namespace panvae::bench
