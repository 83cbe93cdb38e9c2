// Progress, log, interrupt, memory.
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/progress.h"
#include "helpers.h"

namespace panvae::test {
namespace {

TEST(progress, counts_and_ends) {
  std::vector<ProgressState> states;
  auto old = set_progress_sink([&](const ProgressState& s) { states.push_back(s); });
  {
    Progress p("train", 100, "step");
    for (int i = 0; i < 40; ++i) p.advance(1, "note " + std::to_string(i));
    EXPECT_LE(states.size(), 5u) << "the sink is not called for each step";
  }
  set_progress_sink(old);
  ASSERT_FALSE(states.empty());
  const ProgressState& last = states.back();
  EXPECT_TRUE(last.finished);
  EXPECT_EQ(last.done, 40);
  EXPECT_EQ(last.total, 100);
  EXPECT_EQ(last.title, "train");
  EXPECT_EQ(last.unit, "step");
  EXPECT_EQ(last.note, "note 39");
  EXPECT_GE(last.seconds_left, 0);
}

TEST(progress, is_silent_without_a_sink_and_shows_slow_work) {
  { Progress p("quiet", 0, "x"); }
  int calls = 0;
  auto old = set_progress_sink([&](const ProgressState& s) {
    ++calls;
    if (!s.finished) {
      EXPECT_LT(s.seconds_left, 0) << "no total, no estimate";
    }
  });
  {
    Progress p("slow", 0, "x");
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
    p.advance();
    EXPECT_EQ(calls, 1);
  }
  EXPECT_EQ(calls, 2);
  set_progress_sink(old);
}

TEST(progress, tells_rate_and_time_left_of_what_is_done_ten_times_a_second) {
  std::vector<ProgressState> states;
  auto old = set_progress_sink([&](const ProgressState& s) { states.push_back(s); });
  const auto start = std::chrono::steady_clock::now();
  {
    Progress p("slow", 2000, "x");
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
    p.advance(500, "a note");
    for (int i = 0; i < 1000; ++i) p.advance();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_LE(static_cast<double>(states.size()), 10 * seconds) << "as many as there were tenths of a second";
  }
  set_progress_sink(old);
  ASSERT_GE(states.size(), 2u);
  for (const ProgressState& s : states) {
    EXPECT_GE(s.seconds, 0.12);
    EXPECT_NEAR(s.rate * s.seconds, static_cast<double>(s.done), 1e-6);
    EXPECT_NEAR(s.seconds_left * s.rate, static_cast<double>(2000 - s.done), 1e-6);
    EXPECT_EQ(s.note, "a note") << "until there is another";
  }
  EXPECT_EQ(states.front().done, 500);
  EXPECT_EQ(states.back().done, 1500);
}

TEST(log, goes_to_the_sink) {
  std::vector<std::string> lines;
  log::info("nobody hears {}", 1);
  auto old = log::set_sink([&](log::Level level, std::string_view line) { lines.push_back(std::to_string(static_cast<int>(level)) + std::string(line)); });
  log::warning("x = {}", 3);
  log::debug("y");
  log::set_sink(old);
  log::info("nor this");
  EXPECT_EQ(lines, (std::vector<std::string>{"2x = 3", "0y"}));
}

TEST(interrupt, is_a_flag) {
  set_interrupted(false);
  EXPECT_NO_THROW(throw_if_interrupted());
  set_interrupted(true);
  EXPECT_TRUE(interrupted());
  EXPECT_EQ(error_of([] { throw_if_interrupted(); }).code(), ErrorCode::interrupted);
  set_interrupted(false);
}

TEST(interrupt, a_signal_sets_it) {
  install_interrupt_handler();
  std::raise(SIGTERM);
  EXPECT_TRUE(interrupted());
  set_interrupted(false);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
}

// A terminal that closes, which the kernel says and the shell says again; under nohup it is nobody's business.
TEST(interrupt, a_hangup_sets_it_and_may_come_twice_unless_it_is_ignored) {
  const auto before = std::signal(SIGHUP, SIG_DFL);
  install_interrupt_handler();
  std::raise(SIGHUP);
  EXPECT_TRUE(interrupted());
  std::raise(SIGHUP);
  set_interrupted(false);
  std::signal(SIGHUP, SIG_IGN);
  install_interrupt_handler();
  std::raise(SIGHUP);
  EXPECT_FALSE(interrupted());
  std::signal(SIGHUP, before);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
}

TEST(interrupt, a_second_signal_ends_the_process) {
  EXPECT_EXIT(
      {
        install_interrupt_handler();
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      testing::ExitedWithCode(130), "");
}

TEST(memory, the_system_says_something) {
  EXPECT_GT(resident_bytes(), 1 << 20);
  EXPECT_GE(peak_resident_bytes(), resident_bytes());
  EXPECT_GT(available_bytes(), 1 << 20);
}

TEST(memory, resident_is_what_was_touched_and_the_peak_stays) {
  constexpr int64_t size = 128 << 20, most = size / 100 * 99, little = size / 4;
  const int64_t before = resident_bytes(), peak_before = peak_resident_bytes();
  void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_LT(resident_bytes(), before + little) << "mapped is not there yet";
  EXPECT_LT(peak_resident_bytes(), peak_before + little);
  std::memset(mapped, 1, size);
  EXPECT_GE(resident_bytes(), before + most);
  ::munmap(mapped, size);
  EXPECT_LT(resident_bytes(), before + little);
  EXPECT_GE(peak_resident_bytes(), before + most);
}

TEST(memory, an_address_space_that_is_limited_counts) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &before), 0);
  EXPECT_EQ(address_space_left().has_value(), before.rlim_cur != RLIM_INFINITY);
  const rlimit limited{std::min(rlim_t{1} << 46, before.rlim_max), before.rlim_max};  // sanitizers map terabytes
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &limited), 0);
  const std::optional<int64_t> left = address_space_left();
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &before), 0);
  ASSERT_TRUE(left);
  EXPECT_LT(*left, static_cast<int64_t>(limited.rlim_cur));
  EXPECT_GT(*left, static_cast<int64_t>(limited.rlim_cur / 4));
}

}  // namespace
}  // namespace panvae::test
