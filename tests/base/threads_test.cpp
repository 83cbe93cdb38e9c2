// Parallel loops: who runs what, and what a loop does where its helpers come late, or never.
#include "base/threads.h"

#include <omp.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "helpers.h"

namespace panvae::test {
namespace {

using Clock = std::chrono::steady_clock;

class threads_of_loops : public ::testing::Test {
 protected:
  void TearDown() override { set_threads(before_); }
  // Waits for what another thread brings about; false after ten seconds.
  template <class F>
  static bool comes_true(F&& there) {
    for (const auto end = Clock::now() + std::chrono::seconds(10); !there(); std::this_thread::yield())
      if (Clock::now() > end) return false;
    return true;
  }

 private:
  const int before_ = threads();
};

TEST_F(threads_of_loops, chunks_cover_each_element_once_whatever_the_number_of_threads) {
  for (int n : {1, 2, 5}) {
    set_threads(n);
    EXPECT_EQ(threads(), n);
    for (int64_t size : {0, 1, 9, 10, 11, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(size));
      std::atomic<int> calls{0};
      parallel_chunks(size, 10, [&](int64_t begin, int64_t end) {
        ++calls;
        EXPECT_LE(end - begin, 10);
        EXPECT_EQ(begin % 10, 0);
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      EXPECT_EQ(calls, (size + 9) / 10);
      for (const auto& s : seen) EXPECT_EQ(s, 1);
    }
  }
  set_threads(100'000);
  EXPECT_EQ(threads(), 512) << "more would take OpenBLAS down, and OpenMP";
  set_threads(0);
  EXPECT_GE(threads(), 1);
}

TEST_F(threads_of_loops, a_body_knows_who_of_its_loop_runs_it) {
  set_threads(3);
  std::vector<int64_t> by(64, -1);
  std::atomic<int> others{0};
  parallel_chunks(64, 1, [&](int64_t begin, int64_t, int64_t thread) {
    by[static_cast<size_t>(begin)] = thread;
    if (thread != 0) ++others;
    if (begin == 0) {
      EXPECT_TRUE(comes_true([&] { return others > 0; })) << "nobody helps";
    }
  });
  for (int64_t t : by) EXPECT_TRUE(t >= 0 && t < 3) << t;
  parallel_chunks(0, 1, [](int64_t, int64_t) { FAIL() << "of nothing"; });
}

// A thread of the loop that is kept from running keeps nobody from its share, but for the chunk that it has in hand.
TEST_F(threads_of_loops, what_a_late_thread_has_not_begun_is_done_by_others) {
  set_threads(2);
  constexpr int kChunks = 64;
  std::atomic<int> done{0};
  std::atomic<bool> held{false};
  parallel_chunks(kChunks, 1, [&](int64_t, int64_t, int64_t thread) {
    if (thread == 0) comes_true([&] { return held.load(); });
    if (thread == 1 && !held.exchange(true)) {
      EXPECT_TRUE(comes_true([&] { return done == kChunks - 1; })) << done << " done";
    }
    ++done;
  });
  EXPECT_EQ(done, kChunks);
}

TEST_F(threads_of_loops, loops_within_loops_run_on_the_thread_that_calls_them) {
  set_threads(3);
  std::vector<std::atomic<int>> seen(8 * 8);
  parallel_chunks(8, 1, [&](int64_t outer, int64_t) {
    EXPECT_EQ(threads(), 1);
    const std::thread::id self = std::this_thread::get_id();
    parallel_chunks(8, 1, [&](int64_t inner, int64_t, int64_t thread) {
      EXPECT_EQ(thread, 0);
      EXPECT_EQ(std::this_thread::get_id(), self);
      ++seen[static_cast<size_t>(8 * outer + inner)];
    });
  });
  for (const auto& s : seen) EXPECT_EQ(s, 1);
  EXPECT_EQ(threads(), 3) << "as before";
#pragma omp parallel for num_threads(3) schedule(static)
  for (int i = 0; i < 3; ++i) {
    const std::thread::id self = std::this_thread::get_id();
    parallel_chunks(8, 1, [&](int64_t, int64_t, int64_t thread) {
      EXPECT_EQ(thread, 0);
      EXPECT_EQ(std::this_thread::get_id(), self);
    });
  }
}

TEST_F(threads_of_loops, one_thread_for_as_long_as_it_is_said) {
  set_threads(3);
  {
    const OneThread one;
    EXPECT_EQ(threads(), 1);
    std::set<std::thread::id> who;
    parallel_chunks(64, 1, [&](int64_t, int64_t) { who.insert(std::this_thread::get_id()); });
    EXPECT_EQ(who, std::set{std::this_thread::get_id()});
  }
  EXPECT_EQ(threads(), 3);
}

// Loops one after the other, of changing size and number of threads: the descriptions of two never mix.
TEST_F(threads_of_loops, loops_follow_each_other_at_once) {
  int64_t sum = 0, expected = 0;
  for (int64_t round = 0; round < 20'000; ++round) {
    set_threads(static_cast<int>(2 + round % 3));
    const int64_t n = 2 + round % 7;
    std::atomic<int64_t> of_this{0};
    parallel_chunks(n, 1, [&](int64_t i, int64_t) { of_this += i + round; });
    sum += of_this;
    expected += n * (n - 1) / 2 + n * round;
  }
  EXPECT_EQ(sum, expected);
}

TEST_F(threads_of_loops, each_caller_has_its_own) {
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&, c] {
      set_threads(1 + c);
      for (int round = 0; round < 500; ++round) {
        std::vector<std::atomic<int>> seen(100);
        parallel_chunks(100, 3, [&](int64_t begin, int64_t end, int64_t thread) {
          if (thread < 0 || thread > c) ++wrong;
          for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
        });
        for (const auto& s : seen) wrong += s != 1;
      }
    });
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(threads_of_loops, a_child_of_fork_works_alone) {
  set_threads(3);
  parallel_chunks(64, 1, [](int64_t, int64_t) {});  // there are helpers now, which the child has not
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::alarm(20);
    std::atomic<int> done{0};
    parallel_chunks(64, 1, [&](int64_t, int64_t, int64_t thread) { done += thread == 0; });
    std::exit(done == 64 ? 0 : 1);  // and ends as programs do
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// Signals are for the threads of the program, which may wait for them.
TEST_F(threads_of_loops, helpers_take_no_signals) {
  set_threads(2);
  std::atomic<int> blocked{-1};
  parallel_chunks(64, 1, [&](int64_t, int64_t, int64_t thread) {
    if (thread == 0) return void(comes_true([&] { return blocked >= 0; }));
    sigset_t now;
    pthread_sigmask(SIG_SETMASK, nullptr, &now);
    blocked = sigismember(&now, SIGINT) == 1 && sigismember(&now, SIGTERM) == 1;
  });
  EXPECT_EQ(blocked, 1);
  sigset_t own;
  pthread_sigmask(SIG_SETMASK, nullptr, &own);
  EXPECT_EQ(sigismember(&own, SIGINT), 0);
}

// Where OpenMP binds threads, the first is bound to one core before main() begins, and what it starts would be there, too.
TEST_F(threads_of_loops, are_where_OpenMP_would_have_them) {
  set_threads(2);
  const auto cores = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    std::set<int> found;
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set)) found.insert(i);
    return found;
  };
  std::set<int> of[2];
  std::atomic<int> come{0};
  parallel_chunks(2, 1, [&](int64_t, int64_t, int64_t thread) {
    of[thread] = cores();
    ++come;
    EXPECT_TRUE(comes_true([&] { return come == 2; }));
  });
  if (omp_get_proc_bind() == omp_proc_bind_false) EXPECT_EQ(of[0], of[1]);
  else EXPECT_NE(of[0], of[1]);
}

TEST_F(threads_of_loops, are_where_OMP_PROC_BIND_says) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < 2) GTEST_SKIP() << "this process may run on one core alone";
  for (const char* environment : {"OMP_PROC_BIND=true", "OMP_PROC_BIND=close OMP_PLACES=threads", "OMP_PROC_BIND=spread OMP_PLACES=threads"}) {
    const std::string command = "env " + std::string(environment) + " OMP_NUM_THREADS=2 /proc/" + std::to_string(getpid()) +
                                "/exe --gtest_filter=threads_of_loops.are_where_OpenMP_would_have_them 2>&1";
    FILE* const from = ::popen(command.c_str(), "r");
    ASSERT_TRUE(from);
    std::string said;
    char some[512];
    while (std::fgets(some, sizeof some, from)) said += some;
    EXPECT_EQ(::pclose(from), 0) << environment << ":\n" << said;
    EXPECT_CONTAINS(said, "1 test from");
  }
}

}  // namespace
}  // namespace panvae::test
