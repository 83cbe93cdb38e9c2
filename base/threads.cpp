#include "base/threads.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <thread>
#include <vector>

#include "base/cgroup.h"

namespace panvae {

namespace {

thread_local bool within_loop = false;

// Loops of a step follow each other within microseconds, and to wake a thread takes some, too: so who waits does so for this long before
// it sleeps.
constexpr std::chrono::microseconds kPatience{50};

void pause_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether `there` came true in that time.
template <class F>
bool spin_until(F&& there) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  do {
    for (int i = 0; i < 16; ++i) {
      if (there()) return true;
      pause_processor();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// The cores on which helper `index` of `threads` threads is to be, where OMP_PROC_BIND or OMP_PLACES say: OpenMP has bound the caller to
// one of them by then, and a thread begins where its maker is.
std::vector<int> place_of(int64_t index, int64_t threads) {
  const int places = omp_get_num_places();
  const omp_proc_bind_t bind = omp_get_proc_bind();
  if (places == 0 || (bind != omp_proc_bind_true && bind != omp_proc_bind_close && bind != omp_proc_bind_spread)) return {};
  const int64_t apart = bind == omp_proc_bind_spread && threads < places ? index * places / threads : index;
  const int place = static_cast<int>((std::max(0, omp_get_place_num()) + apart) % places);
  std::vector<int> cores(static_cast<size_t>(omp_get_place_num_procs(place)));
  omp_get_place_proc_ids(place, cores.data());
  return cores;
}

void stay_on(const std::vector<int>& cores) {
  if (cores.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores)
    if (core < CPU_SETSIZE) CPU_SET(core, &set);
  sched_setaffinity(0, sizeof set, &set);  // where it fails, the thread is where it was: slower at worst
}

// Threads that help one caller. A loop is open from when the caller has described it until all its chunks are taken. Helpers that come
// meanwhile join; the caller waits for those who have joined, for they have a chunk in hand, and for nobody else.
class Pool {
 public:
  ~Pool() {
    if (owner_ != getpid()) return;  // they are the parent's, and their stacks are gone
    stop_ = true;
    call_helpers();
    for (std::thread& h : *helpers_) h.join();
    delete helpers_;
  }

  void run(int64_t chunks, void (*run_chunk)(const void*, int64_t, int64_t), const void* body, int64_t threads) {
    const int64_t n = std::min(chunks, owner_ == getpid() ? have(threads) : 1);
    for (int64_t t = 0; t < n; ++t) {
      parts_[static_cast<size_t>(t)].next.store(chunks / n * t + std::min(t, chunks % n), std::memory_order_relaxed);
      parts_[static_cast<size_t>(t)].end = chunks / n * (t + 1) + std::min(t + 1, chunks % n);
    }
    run_ = run_chunk, body_ = body;
    participants_.store(n, std::memory_order_relaxed);
    state_.store(kOpen, std::memory_order_release);
    if (n > 1) call_helpers();
    work(0);
    state_.fetch_and(~kOpen, std::memory_order_relaxed);
    uint32_t joined = 0;
    const auto alone = [&] { return (joined = state_.load(std::memory_order_acquire)) == 0; };
    if (alone() || (spins_.load(std::memory_order_relaxed) && spin_until(alone))) return;
    while (!alone()) state_.wait(joined, std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t kOpen = uint32_t{1} << 31;  // of state_; the other bits count who has joined
  struct alignas(64) Part {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  // Helpers for `threads` threads, or as many as the system gives; how many threads that makes.
  int64_t have(int64_t threads) {
    if (static_cast<int64_t>(parts_.size()) < threads) {
      parts_ = std::vector<Part>(static_cast<size_t>(threads));
      const char* policy = std::getenv("OMP_WAIT_POLICY");
      spins_ = threads <= omp_get_num_procs() && !(policy && strcasecmp(policy, "passive") == 0);
      sigset_t all, before;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, &before);  // signals are for threads of the program
      try {
        for (int64_t i = static_cast<int64_t>(helpers_->size()) + 1; i < threads; ++i)
          helpers_->emplace_back([this, i, round = round_.load(), cores = place_of(i, threads)] { serve(i, round, cores); });
      } catch (const std::exception&) {  // no more threads, or no room for one
      }
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    return std::min(threads, static_cast<int64_t>(helpers_->size()) + 1);
  }

  void call_helpers() {
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
  }

  void serve(int64_t index, uint32_t round, const std::vector<int>& cores) {
    stay_on(cores);
    within_loop = true;
    omp_set_num_threads(1);
    for (;;) {
      const auto called = [&] { return round_.load(std::memory_order_acquire) != round; };
      if (!spins_.load(std::memory_order_relaxed) || !spin_until(called)) round_.wait(round, std::memory_order_acquire);
      round = round_.load(std::memory_order_acquire);
      if (stop_) return;
      if (index >= participants_.load(std::memory_order_relaxed) || !join()) continue;
      if (index < participants_.load(std::memory_order_relaxed)) work(index);
      if (state_.fetch_sub(1, std::memory_order_release) == 1) state_.notify_one();
    }
  }

  bool join() {
    for (uint32_t s = state_.load(std::memory_order_relaxed); s & kOpen;)
      if (state_.compare_exchange_weak(s, s + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    return false;
  }

  // The thread's own part of the chunks first, which it may have had in the loop before and have in its cache; then what is left of others'.
  void work(int64_t index) {
    const int64_t n = participants_.load(std::memory_order_relaxed);
    for (int64_t i = 0; i < n; ++i) {
      Part& part = parts_[static_cast<size_t>((index + i) % n)];
      while (part.next.load(std::memory_order_relaxed) < part.end) {
        const int64_t chunk = part.next.fetch_add(1, std::memory_order_relaxed);
        if (chunk < part.end) run_(body_, chunk, index);
      }
    }
  }

  const pid_t owner_ = getpid();
  std::vector<std::thread>* const helpers_ = new std::vector<std::thread>;
  alignas(64) std::atomic<uint32_t> round_{0};  // one more with each loop: helpers sleep on it
  alignas(64) std::atomic<uint32_t> state_{0};
  std::atomic<bool> spins_{true}, stop_{false};
  // Of the open loop; read by who has joined.
  alignas(64) std::vector<Part> parts_ = std::vector<Part>(1);
  std::atomic<int64_t> participants_{0};
  void (*run_)(const void*, int64_t, int64_t) = nullptr;
  const void* body_ = nullptr;
};

}  // namespace

// As many as the system lets work at a time: more would only be stopped together when the quota is used up.
static int all_cores() {
  const double quota = cpu_quota();
  const int cores = omp_get_num_procs();
  return quota > 0 ? static_cast<int>(std::clamp(std::ceil(quota), 1.0, static_cast<double>(cores))) : cores;
}

void set_threads(int n) {
  static const int at_first = omp_get_max_threads();  // where the variable is set, OpenMP has taken it from there
  if (n <= 0) n = std::getenv("OMP_NUM_THREADS") ? at_first : all_cores();
  // OpenBLAS waits for as many threads as are said, and for ever where OpenMP gives fewer: under OMP_THREAD_LIMIT, or with OMP_DYNAMIC on a
  // busy machine.
  omp_set_dynamic(0);
  omp_set_num_threads(std::clamp(n, 1, std::min(kMostThreads, omp_get_thread_limit())));
}

int threads() {
  return omp_get_max_threads();
}

OneThread::OneThread() : before_(omp_get_max_threads()) {
  if (before_ != 1) omp_set_num_threads(1);
}

OneThread::~OneThread() {
  if (before_ != 1) omp_set_num_threads(before_);
}

void detail::run_chunks(int64_t chunks, void (*run)(const void*, int64_t, int64_t), const void* body) {
  const int n = threads();
  if (n == 1 || chunks == 1 || within_loop || omp_in_parallel()) {
    for (int64_t c = 0; c < chunks; ++c) run(body, c, 0);
    return;
  }
  static thread_local Pool pool;
  const OneThread each;
  within_loop = true;
  pool.run(chunks, run, body, n);
  within_loop = false;
}

}  // namespace panvae
