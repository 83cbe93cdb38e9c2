#include "bench/timing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

namespace panvae::bench {
namespace {

void busy(double seconds) {
  const auto begin = std::chrono::steady_clock::now();
  while (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < seconds) {
  }
}

TEST(timing, a_call_of_known_length) {
  Stream stream({DeviceType::cpu, 0});
  int64_t called = 0, tidied = 0;
  const Summary s = time_calls(stream, {0.3, 0.01}, {[&] { busy(1e-3), ++called; }, [&](int64_t calls) { tidied += calls; }});
  EXPECT_GE(s.median, 1e-3);
  EXPECT_LT(s.p20, 2e-3);  // the fast fifth, since a loaded machine stretches the rest
  EXPECT_GE(s.samples, 7u);
  EXPECT_EQ(tidied, called);
  EXPECT_LE(s.low, s.median);
  EXPECT_LE(s.median, s.high);
}

TEST(timing, short_calls_are_timed_many_at_a_time) {
  Stream stream({DeviceType::cpu, 0});
  int64_t calls = 0;
  const Summary s = time_calls(stream, {0.05, 0.01}, {[&] { ++calls; }, {}});
  EXPECT_GE(calls, static_cast<int64_t>(50 * s.samples));
  EXPECT_LT(s.p20, 1e-6);
}

TEST(timing, a_call_longer_than_the_limit_still_gets_its_samples) {
  Stream stream({DeviceType::cpu, 0});
  EXPECT_EQ(time_calls(stream, {0, 0.01}, {[] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); }, {}}).samples, 7u);
}

TEST(timing, works_take_turns) {
  Stream stream({DeviceType::cpu, 0});
  std::string turns;
  int64_t tidied = 0;
  const Work slow{[&] { busy(2e-3), turns += 's'; }, [&](int64_t calls) { tidied += calls; }}, fast{[&] { busy(1e-3), turns += 'f'; }, {}};
  const std::vector<Summary> both = time_in_turns(stream, {0.2, 0}, {slow, fast});
  ASSERT_EQ(both.size(), 2u);
  EXPECT_GE(both[0].median, 2e-3);
  EXPECT_GE(both[1].median, 1e-3);
  EXPECT_LT(both[1].p20, 2e-3);
  EXPECT_GE(both[0].samples, 7u);
  EXPECT_GE(both[1].samples, both[0].samples);
  EXPECT_EQ(tidied, std::count(turns.begin(), turns.end(), 's'));
  size_t changes = 0;
  for (size_t i = 1; i < turns.size(); ++i) changes += turns[i] != turns[i - 1];
  EXPECT_GE(changes, 6u) << turns;
}

}  // namespace
}  // namespace panvae::bench
