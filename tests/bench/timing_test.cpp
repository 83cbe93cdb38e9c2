#include "bench/timing.h"

#include <gtest/gtest.h>

#include <chrono>
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

}  // namespace
}  // namespace panvae::bench
