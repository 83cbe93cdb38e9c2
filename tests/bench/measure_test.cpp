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

// What is read stays as it is, what is only written is written to its last block, and small spans count for nothing.
TEST(measure, a_plain_loop_moves_the_bytes_and_leaves_what_is_read) {
  for (const size_t n : {size_t{0}, size_t{31}, size_t{32}, size_t{1000}, size_t{100000}}) {
    std::vector<uint64_t> in(n), half(n / 2), both(n), out(n, 7), little(n / 100);
    for (size_t i = 0; i < n; ++i) in[i] = 3 * i + 1, both[i] = 5 * i + 2;
    for (size_t i = 0; i < n / 2; ++i) half[i] = 11 * i;
    const auto in_before = in, half_before = half, both_before = both, little_before = little;
    const auto span = [](std::vector<uint64_t>& v, bool read, bool written) {
      return Span{reinterpret_cast<char*>(v.data()), static_cast<int64_t>(8 * v.size()), read, written};
    };
    PlainLoop loop({span(in, true, false), span(half, true, false), span(both, true, true), span(out, false, true), span(little, true, true)});
    loop.pass();
    EXPECT_EQ(in, in_before);
    EXPECT_EQ(half, half_before);
    EXPECT_EQ(both, both_before);
    EXPECT_EQ(little, little_before);
    for (size_t block = 0; block < n / 32; ++block) EXPECT_NE(out[32 * block + 31], 7u) << n << " " << block;
    if (n >= 1000) {
      EXPECT_EQ(loop.bytes(), 8.0 * static_cast<double>(n / 2 + 4 * n));
    }
  }
}

// The plain loop beside a row that is cold and bound by memory, and not beside one that computes, or moves other bytes.
TEST(measure, rows_bound_by_memory_have_a_plain_loop) {
  Stream stream({DeviceType::cpu, 0});
  cases::OpCase c = adding(1);
  Options options;
  options.limits.seconds = 0;
  EXPECT_TRUE(measure(stream, row_of(c, 1000000), options).plain);
  options.hot = true;
  EXPECT_FALSE(measure(stream, row_of(c, 1000000), options).plain);
  options.hot = false;
  c.flops = [](const cases::Sizes& s) { return 1000.0 * static_cast<double>(s[0]); };
  EXPECT_FALSE(measure(stream, row_of(c, 1000000), options).plain);
  c = adding(1);
  c.bytes = [](const cases::Sizes& s, double item) { return 3 * item * static_cast<double>(s[0]); };
  EXPECT_FALSE(measure(stream, row_of(c, 1000000), options).plain);
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
