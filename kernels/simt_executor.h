// Inside of the simt executor; kernels see kernels/simt.h only.
//
// Grid: OS threads of a pool take block indices (simt.cpp). Block: one OS thread from begin to end, on a BlockRunner
// (simt_block.cpp). CUDA thread: a fiber (simt_fiber.cpp), switched by hand at barriers and warp operations only; a fiber
// whose thread has ended takes the next one that has not begun, so a kernel without barriers is a plain loop.
//
// Rules of these files, for the sake of ThreadSanitizer: they are compiled without -fsanitize=thread (so that their own
// bookkeeping is no race) but with PANVAE_SIMT_TSAN (so that they tell it about fibers and barriers), and nothing that
// runs on a fiber allocates.
#pragma once
#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "kernels/language.h"

namespace panvae::simt::detail {

inline constexpr int kMaxThreads = 1024, kMaxWarps = kMaxThreads / kWarp;

// ---- fibers (simt_fiber.cpp)
struct Fiber {
  void* stack_pointer = nullptr;  // while it does not run
  void* context = nullptr;        // ucontext_t where there is no switch of our own
  char* stack = nullptr;          // lowest usable byte; the page below is a guard
  size_t stack_bytes = 0;
  int thread = -1;  // the CUDA thread it runs, or is to run
  void* asan_fake_stack = nullptr;
  void* tsan_identity = nullptr;
};
void create_stack(Fiber& f, int colour, void (*entry)());
void reset_stack(Fiber& f, int colour, void (*entry)());  // after its frames were abandoned
void destroy_stack(Fiber& f);
void adopt_current_stack(Fiber& f);  // the OS thread's own stack
void switch_fiber(Fiber& from, Fiber& to);
void entered_fiber(Fiber& main);  // first statement on a new fiber

// ---- what TSan has to know; nothing otherwise
#ifdef PANVAE_SIMT_TSAN
void tsan_release(void* token);
void tsan_acquire(void* token);
void tsan_release_as(Fiber& fiber, Fiber& self, void* token);  // what `fiber` did so far, though it will not run again
#else
inline void tsan_release(void*) {}
inline void tsan_acquire(void*) {}
inline void tsan_release_as(Fiber&, Fiber&, void*) {}
#endif

// ---- warp operations (simt_warp.cpp)
const char* name_of(WarpKind kind);
// All lanes of `mask` have come: computes every lane's result. ops[l] is null for lanes outside.
void evaluate(WarpOp* const (&ops)[kWarp], uint32_t mask);

// ---- launches and faults
struct Launch {
  dim3 grid, block;
  size_t smem = 0;
  Options options;
  Call call{};
  Site at;
  unsigned* arrivals = nullptr;  // of the stream (kernels/arrivals.h)
};

enum class Fault : uint8_t {
  none,
  no_progress,
  barrier_sites,
  barrier_number,
  barrier_count,
  mask_differs,
  lane_outside_mask,
  warp_sites,
  static_shared_size,
  too_many_arrays,
  redzone,
  unwritten,
  copy_alignment,
  copy_place,
  copy_count,
  too_many_copies,
  warpgroup_operand,
  warpgroup_sums,
  too_many_products,
  exception,
};

// A block in shared memory. Arrays lie between redzones, which tell a write outside; content and redzones are NaN in any
// float format, and differ.
struct SharedArray {
  const char* name = "";
  Site at;
  unsigned char* begin = nullptr;
  size_t bytes = 0;
};

class SharedArena {
 public:
  SharedArena();
  ~SharedArena();
  SharedArena(const SharedArena&) = delete;
  SharedArena& operator=(const SharedArena&) = delete;
  void begin_block(size_t dynamic_bytes, const Site& launch);
  Fault place(size_t bytes, size_t align, const char* name, const Site& at, void*& result);  // none, or why it does not fit
  const SharedArray* damaged(ptrdiff_t& offset) const;  // an array with a write outside, and where: < 0 before its begin, >= 0 after its end
  unsigned char* dynamic() const { return arrays_[0].begin; }
  size_t dynamic_bytes() const { return arrays_[0].bytes; }
  const SharedArray* array_at(const void* p, size_t bytes) const;  // the one that holds all of these bytes, or null
  size_t static_bytes() const { return static_bytes_; }
  void end_block();

  // Where the executor sees each access (simt_watch.cpp), it knows which bytes the block has written. What lies outside
  // of arrays counts as written: it is for AddressSanitizer to report.
#ifdef PANVAE_SIMT_WATCH
  bool spans(const void* p) const {
    return static_cast<size_t>(static_cast<const unsigned char*>(p) - memory_) < used_;
  }
  bool written(const void* p, size_t bytes) const;
  void set_written(const void* p, size_t bytes, bool yes);
#else
  void set_written(const void*, size_t, bool) {}
#endif

  static constexpr size_t kRedzone = 256;

 private:
  static constexpr int kArrays = 64;
  static constexpr size_t kBytes = kDynamicSharedLimit + kStaticSharedLimit + (kArrays + 2) * 2 * kRedzone;
  unsigned char* append(size_t bytes, size_t align, const char* name, const Site& at);
#ifdef PANVAE_SIMT_WATCH
  unsigned char* unwritten_ = nullptr;  // for each byte of memory_, 1 or 0
#endif
  unsigned char* memory_ = nullptr;
  size_t used_ = 0, static_bytes_ = 0;
  std::array<SharedArray, kArrays> arrays_;  // [0] is the dynamic one
  int count_ = 0;
};

// The copies a CUDA thread has begun and not yet waited for.
struct Copy {
  void* to;
  const void* from;
  int bytes, size;
};
struct CopyQueue {
  static constexpr int kCopies = 256, kGroups = 64;
  int begun = 0, applied = 0;            // counts of copies; copy i is at i % kCopies
  int groups = 0;                        // committed
  std::array<int, kGroups> group_end{};  // value of `begun` at the commit of group g, at g % kGroups
  std::array<Copy, kCopies> copies{};
};
void perform(const Copy& copy);

// The products by warpgroups that a CUDA thread has begun and not yet waited for, all into the same sums.
struct ProductQueue {
  static constexpr int kProducts = 64, kSums = 64;
  int begun = 0, committed = 0;
  float* sums = nullptr;
  int count = 0;        // of the sums
  float before[kSums];  // what they were when the first began
  WarpgroupProduct products[kProducts];
};

// A set of CUDA threads by their position in the order of execution.
class ThreadSet {
 public:
  void insert(int p) { words_[p / 64] |= uint64_t{1} << (p % 64), summary_ |= 1u << (p / 64); }
  void erase(int p) {
    if ((words_[p / 64] &= ~(uint64_t{1} << (p % 64))) == 0) summary_ &= ~(1u << (p / 64));
  }
  bool empty() const { return summary_ == 0; }
  int first() const {
    const int w = std::countr_zero(summary_);
    return w * 64 + std::countr_zero(words_[w]);
  }
  void clear() { words_ = {}, summary_ = 0; }
  void fill(int n);
  void take(ThreadSet& other);  // moves all of `other` here

 private:
  std::array<uint64_t, kMaxThreads / 64> words_{};
  uint32_t summary_ = 0;
};

// Runs blocks, one at a time, on the OS thread that owns it.
class BlockRunner {
 public:
  BlockRunner();
  ~BlockRunner();
  BlockRunner(const BlockRunner&) = delete;
  BlockRunner& operator=(const BlockRunner&) = delete;

  void begin_launch(const Launch& launch);
  void run_block(uint64_t index);  // throws Error
  void end_launch();

  // On a fiber of the running block:
  Votes barrier(const char* what, bool vote, const Site& at);
  void named_barrier(int id, int threads, bool wait, const Site& at);
  void warp_operation(WarpOp& op, const Site& at);
  void place_shared(SharedSlot& slot, size_t bytes, size_t align, const char* name, const Site& at);
  void* dynamic_shared() { return arena_.dynamic(); }
  void copy_begin(void* shared, const void* global, int bytes, int size, const Site& at);
  void copy_under_way(void* shared, int size) { arena_.set_written(shared, static_cast<size_t>(size), false); }
  void copy_commit(const Site& at);
  void copy_wait(int groups, const Site& at);
  void warpgroup_begin(float* sums, int count, const WarpgroupProduct& product, const Site& at);
  void warpgroup_commit(const Site& at);
  void warpgroup_wait(const Site& at);
  [[noreturn]] void fiber_loop();

#ifdef PANVAE_SIMT_WATCH
  // Each access of a kernel; `pc` is behind it.
  void read(const void* p, size_t bytes, const void* pc) {
    if (current_ && arena_.spans(p) && !arena_.written(p, bytes)) [[unlikely]]
      read_unwritten(p, pc);
  }
  void written(const void* p, size_t bytes) {
    if (current_ && arena_.spans(p)) arena_.set_written(p, bytes, true);
  }
#endif

 private:
  enum class Wait : uint8_t { none, barrier, warp };
  struct ThreadState {
    Fiber* fiber = nullptr;  // while suspended
    Wait wait = Wait::none;
    const char* what = "";  // the operation it waits in
    Site at;
  };
  struct Warp {
    uint32_t arrived = 0;  // lanes that wait in a warp operation
    uint32_t common = 0;   // the mask all of them named, 0 if they differ
    uint32_t ended = 0;
    uint32_t existing = 0;  // less than 32 lanes in the last warp of an odd block
    WarpOp* ops[kWarp] = {};
    char tokens[kWarp][2] = {};  // for TSan: by lowest lane of the mask, by parity of that lane's operations
    uint8_t parity[kWarp] = {};
  };

  static constexpr int kNamedBarriers = 16;  // 0 is that of __syncthreads
  struct NamedBarrier {
    int threads = 0, arrived = 0;  // who are to come, and have
    ThreadSet waiting;
    Site at;              // of who came first
    char tokens[2] = {};  // for TSan, in turns
    int parity = 0;
  };

  void begin_block(uint64_t index);
  void forget_named_barriers();
  void shuffle_order();
  void run_thread(int t);
  int take_ready() {
    const int p = ready_.first();
    ready_.erase(p);
    return order_[static_cast<size_t>(p)];
  }
  void release_barrier();
  void suspend(Wait wait, const char* what, const Site& at);  // returns when the thread was made ready again and chosen
  void switch_to_next(Fiber& from);
  void to_main(Fiber& from);
  void make_ready(int t) {
    ready_.insert(position_[static_cast<size_t>(t)]);
  }
  [[noreturn]] void stop(Fault fault, const Site& at, int other = -1, const Site& other_at = {});
  void create_fiber();
  void abandon();
  [[noreturn]] void read_unwritten(const void* p, const void* pc);
  CopyQueue& copy_queue();
  void forget_copies();
  ProductQueue& product_queue();
  void forget_products();
  void check_peers(const Warp& w, int lane, const WarpOp& op, const Site& at);
  static uint32_t arrived_with(const Warp& w, uint32_t mask);
  bool has_ended(int t) const {
    return warps_[static_cast<size_t>(t / kWarp)].ended >> (t % kWarp) & 1;
  }
  [[noreturn]] void report();
  std::string describe_failure(std::string& where, std::string& hint) const;
  std::string describe_waiting() const;
  std::string thread_name(int t) const;

  Launch launch_;
  int n_ = 0;                   // threads of a block
  uint64_t index_ = 0;          // linear index of the running block
  std::vector<uint3> indices_;  // threadIdx by thread number
  std::vector<int> order_;      // thread number by position
  std::vector<int> position_;
  std::vector<ThreadState> threads_;
  std::array<Warp, kMaxWarps> warps_;
  ThreadSet ready_, at_barrier_;
  std::array<NamedBarrier, kNamedBarriers> named_;
  bool named_used_ = false;
  uint64_t random_ = 1;

  int ended_ = 0, waiting_ = 0, yes_ = 0;
  Votes votes_{};
  Site barrier_at_;
  int barrier_thread_ = -1;  // who came first
  int barrier_parity_ = 0;

  Fiber main_;
  Fiber* current_ = nullptr;
  int wanted_ = -1;  // thread for which main has to create a fiber
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_, used_;  // used_: under TSan, where every CUDA thread of a block is a fiber of its own
  std::vector<Fiber*> resting_;      // under TSan, the fibers of earlier blocks, those that ran longest ago first

  SharedArena arena_;
  CopyQueue* copies_ = nullptr;  // [kMaxThreads], mapped, touched where used
  bool copies_used_ = false;
  ProductQueue* products_ = nullptr;  // likewise
  bool products_used_ = false;

  struct {
    Fault fault = Fault::none;
    Site at, other_at;
    int thread = -1, other = -1;
    uint32_t mask = 0, other_mask = 0;
    const char *what = "", *other_what = "";
    size_t bytes = 0;
    ptrdiff_t offset = 0;
    const void* pc = nullptr;
    std::exception_ptr exception;
  } failure_;
  char start_token_ = 0, end_token_ = 0, barrier_tokens_[2] = {};
};

void run_launch(const Launch& launch);
BlockRunner& this_runner();                                            // of this OS thread, made on first use
extern constinit thread_local BlockRunner* active_runner PV_SIMT_TLS;  // not null on fibers

// ---- text (simt_report.cpp)
std::string describe(const Site& at);            // "kernels/x.cu:31"
std::string function_name(const void* address);  // of a kernel, from the symbol table of the program; "" if stripped
std::string describe_kernel(const Launch& launch);
// GCC keeps one record per call; a template or an inline function in two object files may have two.
bool same_text(const Site& a, const Site& b);
inline bool same_site(const Site& a, const Site& b) {
  static_assert(sizeof(Site) == sizeof(void*));
  return std::bit_cast<const void*>(a) == std::bit_cast<const void*>(b) || same_text(a, b);
}

}  // namespace panvae::simt::detail
