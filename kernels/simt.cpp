// Launches: the blocks of a grid, shared out over OS threads that are kept from launch to launch.
#include "kernels/simt.h"

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <numeric>
#include <thread>

#include "kernels/arrivals.h"
#include "kernels/simt_executor.h"
#include "kernels/simt_graph.h"

namespace panvae::simt::detail {

namespace {

#ifdef PANVAE_SIMT_TSAN
constexpr int kMostOsThreads = 2;  // each holds up to 2048 fibers, and TSan knows 8128 threads and fibers in all
#else
constexpr int kMostOsThreads = 16;  // a stack with its guard costs two of the 65530 mappings that Linux grants
#endif
constexpr uint64_t kThreadsWorthHelp = 2048;  // CUDA threads below which waking another OS thread costs more than it gains

int usable_cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency());
}

// Blocks are taken in another order too, for kernels whose blocks secretly depend on each other: i -> a i + c modulo
// their number visits each once if a has no factor in common with it.
struct BlockOrder {
  BlockOrder(const Options& options, uint64_t blocks) : count(blocks) {
    if (options.order == Order::reverse) factor = blocks - 1, offset = blocks - 1;  // -i - 1
    if (options.order == Order::random) {
      factor = (options.seed * 0x9E3779B97F4A7C15ull >> 20) % blocks;
      while (std::gcd(factor, blocks) != 1) ++factor;
      offset = (options.seed * 0xBF58476D1CE4E5B9ull >> 20) % blocks;
    }
  }
  uint64_t operator()(uint64_t i) const { return static_cast<uint64_t>((static_cast<unsigned __int128>(factor) * i + offset) % count); }
  uint64_t count, factor = 1, offset = 0;
};

struct Job {
  Job(const Launch& l, uint64_t blocks) : launch(l), order(l.options, blocks) {}
  const Launch& launch;
  BlockOrder order;
  std::atomic<uint64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;

  // Takes blocks until there are none, or one has failed anywhere.
  void work() {
    BlockRunner& runner = this_runner();
    runner.begin_launch(launch);
    for (uint64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < order.count;) {
      try {
        runner.run_block(order(i));
      } catch (...) {
        next.store(order.count, std::memory_order_relaxed);
        std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    }
    runner.end_launch();
  }
};

// Never destroyed: its threads sleep until the process ends.
class Pool {
 public:
  // Works on the job with up to `others` threads of the pool; alone where another launch has them.
  void run(Job& job, int others) {
    std::unique_lock turn(turn_, std::defer_lock);
    if (others == 0 || owner_ != getpid() || !turn.try_lock()) return job.work();  // after fork() the threads are not there
    {
      std::lock_guard lock(mutex_);
      for (; threads_ < others; ++threads_) std::thread([this] { serve(); }).detach();
      job_ = &job, places_ = others;
    }
    wake_.notify_all();
    job.work();
    std::unique_lock lock(mutex_);
    job_ = nullptr;
    idle_.wait(lock, [&] { return working_ == 0; });
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return job_ && places_ > 0; });
      Job& job = *job_;
      --places_, ++working_;
      lock.unlock();
      job.work();
      lock.lock();
      if (--working_ == 0) idle_.notify_all();
    }
  }

  const pid_t owner_ = getpid();
  std::mutex turn_, mutex_;
  std::condition_variable wake_, idle_;
  Job* job_ = nullptr;
  int threads_ = 0, places_ = 0, working_ = 0;
};

// Made before main() and not on first use: TSan, which does not look into this file, would miss that others wait for that.
Pool& pool = *new Pool;

BlockRunner& running() {
  if (!active_runner) throw Error(ErrorCode::internal, "simt: a barrier, warp operation or shared array outside of a kernel");
  return *active_runner;
}

void check_shape(const Launch& l) {
  auto refuse = [&](std::string text) {
    throw Error(ErrorCode::internal, fmt::format("simt: kernel {}: {}", describe_kernel(l), text), describe(l.at), {}, describe_kernel(l));
  };
  const dim3 b = l.block;
  if (active_runner) refuse("launched from within a kernel");
  if (b.x == 0 || b.y == 0 || b.z == 0 || uint64_t{b.x} * b.y * b.z > uint64_t{kMaxThreads} || b.z > 64)
    refuse(fmt::format("a block of {}x{}x{} threads; it must have 1 to {}, and at most 64 in z", b.x, b.y, b.z, kMaxThreads));
  if (l.grid.x > 0x7FFFFFFFu || l.grid.y > 65535 || l.grid.z > 65535)
    refuse(fmt::format("a grid of {}x{}x{} blocks; the limits are 2147483647, 65535, 65535", l.grid.x, l.grid.y, l.grid.z));
  const uint64_t threads = uint64_t{l.grid.x} * l.grid.y * l.grid.z * b.x * b.y * b.z;
  if (l.options.most_threads > 0 && threads > l.options.most_threads)
    throw TooManyThreads(ErrorCode::usage, fmt::format("simt: {} threads in one launch, the stream's limit is {}", threads, l.options.most_threads));
  if (l.smem > kDynamicSharedLimit) refuse(fmt::format("{} bytes of dynamic shared memory; the limit is {}", l.smem, kDynamicSharedLimit));
}

}  // namespace

BlockRunner& this_runner() {
  static thread_local std::unique_ptr<BlockRunner> runner;
  if (!runner) runner = std::make_unique<BlockRunner>();
  return *runner;
}

void run_grid(Stream& stream, const Site& at, dim3 grid, dim3 block, size_t smem, const Call& call) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const Launch launch{grid, block, smem, stream.simt, call, at, stream.scratch_bytes() > 0 ? arrivals_of(stream) : nullptr};
  check_shape(launch);
  auto* queue = static_cast<Queue*>(stream.handle());
  if (Recording* recording = queue->current()) recording->add(launch, !queue->recording);
  else run_launch(launch);
}

void run_launch(const Launch& launch) {
  const dim3 grid = launch.grid, block = launch.block;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  static const int cores = usable_cores();
  const int wanted = std::min(launch.options.threads > 0 ? launch.options.threads : cores, kMostOsThreads);
  const bool worth = blocks > 1 && (launch.options.threads > 1 || blocks * block.x * block.y * block.z >= kThreadsWorthHelp);
  Job job(launch, blocks);
  pool.run(job, worth ? static_cast<int>(std::min<uint64_t>(static_cast<uint64_t>(wanted), blocks)) - 1 : 0);
  if (!job.failure) return;
  if (launch.arrivals) std::memset(launch.arrivals, 0, kArrivalsBytes);  // the blocks that were dropped did not come
  std::rethrow_exception(job.failure);
}

Votes block_barrier(const char* what, bool vote, const Site& at) {
  return running().barrier(what, vote, at);
}
void named_barrier(int id, int threads, bool wait, const Site& at) {
  running().named_barrier(id, threads, wait, at);
}
void warp_operation(WarpOp& op, const Site& at) {
  running().warp_operation(op, at);
}
void place_shared(SharedSlot& slot, size_t bytes, size_t align, const char* name, const Site& at) {
  running().place_shared(slot, bytes, align, name, at);
}
void* dynamic_shared() {
  return running().dynamic_shared();
}
void copy_begin(void* shared, const void* global, int bytes, int size, const Site& at) {
  running().copy_begin(shared, global, bytes, size, at);
}
void copy_under_way(void* shared, int size) {
  running().copy_under_way(shared, size);
}
void copy_commit(const Site& at) {
  running().copy_commit(at);
}
void copy_wait(int groups, const Site& at) {
  running().copy_wait(groups, at);
}
void warpgroup_begin(float* sums, int count, const WarpgroupProduct& product, const Site& at) {
  running().warpgroup_begin(sums, count, product, at);
}
void warpgroup_commit(const Site& at) {
  running().warpgroup_commit(at);
}
void warpgroup_wait(const Site& at) {
  running().warpgroup_wait(at);
}

}  // namespace panvae::simt::detail
