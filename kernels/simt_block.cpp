// One block on one OS thread: which CUDA thread runs next, barriers, warp operations.
//
// Ready threads are a set ordered by position, and the first of it always runs: forward, position is the thread number;
// reverse, the other way round; random, a permutation drawn anew for each interval between barriers. A thread that has
// to wait picks its successor itself and switches to it directly; the OS thread's own stack ("main") is returned to when
// the block is done, has failed, or needs another fiber.
#include <sys/mman.h>

#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>

#include "kernels/simt_executor.h"

namespace panvae::simt {

constinit thread_local uint3 threadIdx{0, 0, 0};
constinit thread_local uint3 blockIdx{0, 0, 0};
constinit thread_local dim3 blockDim{1, 1, 1};
constinit thread_local dim3 gridDim{1, 1, 1};

namespace detail {

constinit thread_local uint64_t block_epoch = 0;
constinit thread_local BlockRunner* active_runner = nullptr;

namespace {

#ifdef PANVAE_SIMT_TSAN
constexpr bool kFiberPerThread = true;  // TSan tells CUDA threads apart by their fibers
#else
constexpr bool kFiberPerThread = false;
#endif
constexpr int kFibersInTurn = 512;  // then; two blocks of 256 threads. More cost time at every barrier

void fiber_entry() {
  active_runner->fiber_loop();
}

uint64_t mixed(uint64_t x) {  // SplitMix64
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

size_t at(int i) {
  return static_cast<size_t>(i);
}

}  // namespace

void ThreadSet::fill(int n) {
  clear();
  for (int w = 0; w * 64 < n; ++w) {
    words_[static_cast<size_t>(w)] = n - w * 64 >= 64 ? ~uint64_t{0} : (uint64_t{1} << (n - w * 64)) - 1;
    summary_ |= 1u << w;
  }
}

void ThreadSet::take(ThreadSet& other) {
  for (size_t w = 0; w < words_.size(); ++w) words_[w] |= other.words_[w];
  summary_ |= other.summary_;
  other.clear();
}

BlockRunner::BlockRunner() = default;

BlockRunner::~BlockRunner() {
  for (auto& f : fibers_) destroy_stack(*f);
  if (copies_) munmap(copies_, sizeof(CopyQueue) * kMaxThreads);
  if (products_) munmap(products_, sizeof(ProductQueue) * kMaxThreads);
}

void BlockRunner::begin_launch(const Launch& launch) {
  const bool same_shape = n_ > 0 && launch.block.x == launch_.block.x && launch.block.y == launch_.block.y && launch.block.z == launch_.block.z;
  const bool same_order = same_shape && launch.options.order == launch_.options.order && launch.options.order != Order::random;
  launch_ = launch;
  n_ = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
  if (!same_shape) {
    indices_.resize(at(n_)), order_.resize(at(n_)), position_.resize(at(n_)), threads_.resize(at(n_));
    int t = 0;
    for (unsigned z = 0; z < launch.block.z; ++z)
      for (unsigned y = 0; y < launch.block.y; ++y)
        for (unsigned x = 0; x < launch.block.x; ++x) indices_[at(t++)] = {x, y, z};
    for (int w = 0; w * kWarp < n_; ++w) warps_[at(w)].existing = n_ - w * kWarp >= kWarp ? kFullMask : (1u << (n_ - w * kWarp)) - 1;
  }
  if (!same_order) {
    for (int i = 0; i < n_; ++i) order_[at(i)] = launch.options.order == Order::reverse ? n_ - 1 - i : i;
    for (int i = 0; i < n_; ++i) position_[at(order_[at(i)])] = i;
  }
  adopt_current_stack(main_);
  blockDim = launch.block;
  gridDim = launch.grid;
  active_runner = this;
}

void BlockRunner::end_launch() {
  // Not block by block: the blocks of a grid are not ordered, and TSan is to see that.
  tsan_acquire(&end_token_);
  active_runner = nullptr;
}

void BlockRunner::shuffle_order() {
  for (int i = n_ - 1; i > 0; --i) {
    random_ = mixed(random_);
    std::swap(order_[at(i)], order_[at(static_cast<int>((random_ >> 32) * static_cast<uint64_t>(i + 1) >> 32))]);
  }
  for (int i = 0; i < n_; ++i) position_[at(order_[at(i)])] = i;
}

void BlockRunner::begin_block(uint64_t index) {
  const uint64_t row = index / launch_.grid.x;
  index_ = index;
  blockIdx = {static_cast<unsigned>(index % launch_.grid.x), static_cast<unsigned>(row % launch_.grid.y), static_cast<unsigned>(row / launch_.grid.y)};
  ++block_epoch;
  ended_ = waiting_ = yes_ = 0;
  for (int w = 0; w * kWarp < n_; ++w) warps_[at(w)].ended = 0;
  ready_.fill(n_);
  if (launch_.options.order == Order::random) {
    random_ = mixed(launch_.options.seed ^ mixed(index));
    shuffle_order();
  }
  arena_.begin_block(launch_.smem, launch_.at);
  if constexpr (kFiberPerThread) {
    // A race between blocks is seen if their threads are different fibers: those that rested longest take their turn
    // again, and the fewer threads a block has, the more blocks it takes until then.
    resting_.insert(resting_.end(), used_.begin(), used_.end());
    used_.clear();
    if (static_cast<int>(fibers_.size()) >= std::max(kFibersInTurn, 2 * n_)) {
      const auto end = resting_.begin() + std::clamp<std::ptrdiff_t>(n_ - std::ssize(free_), 0, std::ssize(resting_));
      free_.insert(free_.end(), resting_.begin(), end);
      resting_.erase(resting_.begin(), end);
    }
  }
  tsan_release(&start_token_);
}

void BlockRunner::run_block(uint64_t index) {
  begin_block(index);
  wanted_ = take_ready();
  do {
    if (free_.empty()) create_fiber();
    current_ = free_.back();
    free_.pop_back();
    current_->thread = wanted_;
    wanted_ = -1;
    switch_fiber(main_, *current_);
  } while (wanted_ >= 0);
  if (failure_.fault == Fault::none) {
    ptrdiff_t offset = 0;
    if (const SharedArray* array = arena_.damaged(offset)) {
      failure_.fault = Fault::redzone;
      failure_.at = array->at;
      failure_.what = array->name;
      failure_.offset = offset;
    }
  }
  if (failure_.fault != Fault::none) [[unlikely]]
    report();
  if (copies_used_) forget_copies();
  if (products_used_) forget_products();
  if (named_used_) forget_named_barriers();
  arena_.end_block();
}

void BlockRunner::create_fiber() {
  auto f = std::make_unique<Fiber>();
  create_stack(*f, static_cast<int>(fibers_.size()), fiber_entry);
  fibers_.push_back(std::move(f));
  for (auto* list : {&free_, &used_, &resting_}) list->reserve(fibers_.size());  // fibers push, and must not allocate
  free_.push_back(fibers_.back().get());
}

// ---- on fibers

void BlockRunner::fiber_loop() {
  entered_fiber(main_);
  for (;;) {
    Fiber& self = *current_;
    run_thread(self.thread);
    ++ended_;
    warps_[at(self.thread / kWarp)].ended |= 1u << (self.thread % kWarp);
    if (waiting_ > 0 && waiting_ + ended_ == n_) release_barrier();
    if constexpr (!kFiberPerThread) {
      if (!ready_.empty() && !threads_[at(order_[at(ready_.first())])].fiber) {
        self.thread = take_ready();
        continue;
      }
    }
    if (ended_ < n_ && ready_.empty()) stop(Fault::no_progress, launch_.at);
    (kFiberPerThread ? used_ : free_).push_back(&self);
    if (ended_ == n_) to_main(self);
    else switch_to_next(self);
    // Whoever came back here has put the next thread into self.thread.
  }
}

void BlockRunner::run_thread(int t) {
  threadIdx = indices_[at(t)];
  tsan_acquire(&start_token_);
  bool threw = false;
  try {
    launch_.call.run(launch_.call.arguments);
  } catch (...) {
    failure_.exception = std::current_exception();
    threw = true;
  }
  tsan_release(&end_token_);
  if (threw) stop(Fault::exception, launch_.at);
}

// Returns when somebody switches back to `from`.
void BlockRunner::switch_to_next(Fiber& from) {
  const int t = take_ready();
  Fiber* next = threads_[at(t)].fiber;
  if (next == &from) return;
  if (!next) {
    if (free_.empty()) {
      wanted_ = t;
      return to_main(from);
    }
    next = free_.back();
    free_.pop_back();
    next->thread = t;
  }
  current_ = next;
  switch_fiber(from, *next);
}

void BlockRunner::to_main(Fiber& from) {
  current_ = nullptr;
  switch_fiber(from, main_);
}

void BlockRunner::suspend(Wait wait, const char* what, const Site& site) {
  Fiber& self = *current_;
  const int t = self.thread;
  threads_[at(t)] = {&self, wait, what, site};
  if (ready_.empty()) stop(Fault::no_progress, site);
  switch_to_next(self);
  threads_[at(t)].fiber = nullptr;
  threadIdx = indices_[at(t)];
}

void BlockRunner::stop(Fault fault, const Site& site, int other, const Site& other_site) {
  failure_.fault = fault;
  failure_.at = site;
  failure_.other_at = other_site;
  failure_.thread = current_->thread;
  failure_.other = other;
  tsan_release(&end_token_);
  to_main(*current_);
  __builtin_unreachable();  // nobody returns to a fiber of a failed block
}

Votes BlockRunner::barrier(const char* what, bool vote, const Site& site) {
  const int t = current_->thread;
  if (waiting_ == 0) {
    barrier_at_ = site;
    barrier_thread_ = t;
  } else if (!same_site(site, barrier_at_)) [[unlikely]] {
    failure_.what = what, failure_.other_what = threads_[at(barrier_thread_)].what;
    stop(Fault::barrier_sites, site, barrier_thread_, barrier_at_);
  }
  ++waiting_;
  yes_ += vote;
  // Two tokens in turns: with one, a thread that resumes late would seem ordered behind what others did after this barrier.
  void* token = &barrier_tokens_[barrier_parity_];
  tsan_release(token);
  at_barrier_.insert(position_[at(t)]);
  if (waiting_ + ended_ == n_) release_barrier();
  suspend(Wait::barrier, what, site);
  tsan_acquire(token);
  return votes_;  // stays: the next barrier ends only after all have come to it, hence have read this
}

// Everybody waits here or has ended; so no thread is ready or in a warp operation.
void BlockRunner::release_barrier() {
  votes_ = {yes_, waiting_};
  waiting_ = yes_ = 0;
  barrier_parity_ ^= 1;
  if (launch_.options.order == Order::random) {
    at_barrier_.clear();
    shuffle_order();
    for (int t = 0; t < n_; ++t)
      if (!has_ended(t)) make_ready(t);
  } else {
    ready_.take(at_barrier_);
  }
}

void BlockRunner::named_barrier(int id, int threads, bool wait, const Site& site) {
  const char* const what = wait ? "barrier_sync" : "barrier_arrive";
  failure_.what = what, failure_.bytes = static_cast<size_t>(threads), failure_.offset = id;
  if (id < 1 || id >= kNamedBarriers || threads < kWarp || threads > n_ || threads % kWarp != 0) stop(Fault::barrier_number, site);
  named_used_ = true;
  NamedBarrier& b = named_[at(id)];
  const int t = current_->thread;
  if (b.arrived == 0) {
    b.threads = threads, b.at = site;
  } else if (b.threads != threads) {
    failure_.mask = static_cast<uint32_t>(b.threads);
    stop(Fault::barrier_count, site, -1, b.at);
  }
  void* token = &b.tokens[b.parity];
  tsan_release(token);
  if (++b.arrived == b.threads) {
    b.arrived = 0;
    b.parity ^= 1;
    ready_.take(b.waiting);
    // Not on at once: in reverse and random orders another may be the one to run next.
    if (wait) make_ready(t);
  } else if (wait) {
    b.waiting.insert(position_[at(t)]);
  }
  if (!wait) return;
  suspend(Wait::barrier, what, site);
  tsan_acquire(token);
}

void BlockRunner::forget_named_barriers() {
  for (NamedBarrier& b : named_) b.arrived = 0, b.waiting.clear();
  named_used_ = false;
}

void BlockRunner::warp_operation(WarpOp& op, const Site& site) {
  const int t = current_->thread, lane = t % kWarp;
  Warp& w = warps_[at(t / kWarp)];
  check_peers(w, lane, op, site);
  w.common = w.arrived == 0 || w.common == op.mask ? op.mask : 0;
  w.arrived |= 1u << lane;
  w.ops[lane] = &op;
  const int lowest = std::countr_zero(op.mask) % kWarp;  // the mask is not 0: it names this lane
  void* token = &w.tokens[lowest][w.parity[lowest]];
  const bool orders_memory = op.kind == WarpKind::sync;  // shuffles and votes do not (CUDA C++ Programming Guide)
  if (orders_memory) tsan_release(token);
  const uint32_t group = op.mask & w.existing;
  if (arrived_with(w, op.mask) == group) {
    evaluate(w.ops, group);
    w.arrived &= ~group;
    w.parity[lowest] ^= 1;
    for (uint32_t m = group; m != 0; m &= m - 1) {
      const int l = std::countr_zero(m);
      w.ops[l] = nullptr;
      make_ready(t - lane + l);
    }
  }
  suspend(Wait::warp, name_of(op.kind), site);
  if (orders_memory) tsan_acquire(token);
}

// The lanes that wait with this very mask; others of the mask may still be in an operation of fewer lanes.
uint32_t BlockRunner::arrived_with(const Warp& w, uint32_t mask) {
  if (w.common == mask) return w.arrived;
  uint32_t same = 0;
  for (uint32_t m = w.arrived & mask; m != 0; m &= m - 1)
    if (const int l = std::countr_zero(m); w.ops[l]->mask == mask) same |= 1u << l;
  return same;
}

void BlockRunner::check_peers(const Warp& w, int lane, const WarpOp& op, const Site& site) {
  auto fault = [&](Fault f, int l) {
    const int other = current_->thread - lane + l;
    failure_.what = name_of(op.kind), failure_.other_what = name_of(w.ops[l]->kind);
    failure_.mask = op.mask, failure_.other_mask = w.ops[l]->mask;
    stop(f, site, other, threads_[at(other)].at);
  };
  if (!(op.mask >> lane & 1)) {
    failure_.what = name_of(op.kind), failure_.mask = op.mask;
    stop(Fault::lane_outside_mask, site);
  }
  // Lanes of one mask agreed when they came, so where all named the same one peer is enough.
  uint32_t peers = w.arrived;
  if (peers != 0 && w.common == op.mask) peers &= -peers;
  for (; peers != 0; peers &= peers - 1) {
    const int l = std::countr_zero(peers);
    const uint32_t mask = w.ops[l]->mask;
    if (mask == op.mask) {
      if (w.ops[l]->kind != op.kind || !same_site(site, threads_[at(current_->thread - lane + l)].at)) fault(Fault::warp_sites, l);
    } else if ((op.mask >> l & 1) && (mask >> lane & 1)) {  // each waits for the other; if one did not, it might come later
      fault(Fault::mask_differs, l);
    }
  }
}

void BlockRunner::place_shared(SharedSlot& slot, size_t bytes, size_t align, const char* name, const Site& site) {
  if (Fault fault = arena_.place(bytes, align, name, site, slot.place); fault != Fault::none) {
    failure_.what = name;
    failure_.bytes = arena_.static_bytes();
    stop(fault, site);
  }
  slot.epoch = block_epoch;
}

void BlockRunner::read_unwritten(const void* p, const void* pc) {
  const SharedArray* array = arena_.array_at(p, 1);
  failure_.what = array ? array->name : "?";
  failure_.offset = array ? static_cast<const unsigned char*>(p) - array->begin : 0;
  failure_.pc = pc;
  stop(Fault::unwritten, array ? array->at : launch_.at);
}

// After a fault: the threads of the block never go on. Kernels have nothing to destroy, so their frames are dropped.
void BlockRunner::abandon() {
  for (auto* list : {&free_, &used_, &resting_})
    for (Fiber* f : *list) f->thread = -1;  // these have ended their threads; all others are in the midst of one
  for (size_t i = 0; i < fibers_.size(); ++i) {
    Fiber& f = *fibers_[i];
    if (f.thread < 0) continue;
    tsan_release_as(f, main_, &end_token_);
    reset_stack(f, static_cast<int>(i), fiber_entry);
    free_.push_back(&f);
  }
  tsan_acquire(&end_token_);
  for (auto& t : threads_) t = {};
  for (auto& w : warps_) {
    w.arrived = 0;
    for (auto& op : w.ops) op = nullptr;
  }
  ready_.clear(), at_barrier_.clear();
  current_ = nullptr;
  if (copies_used_) forget_copies();
  if (products_used_) forget_products();
  if (named_used_) forget_named_barriers();
  arena_.end_block();
  failure_ = {};
}

// ---- asynchronous copies

void BlockRunner::copy_begin(void* shared, const void* global, int bytes, int size, const Site& site) {
  auto misaligned = [&](const void* p) { return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(size) != 0; };
  failure_.bytes = static_cast<size_t>(size);
  if (bytes < 0 || bytes > size) stop(Fault::copy_count, site);
  if (misaligned(shared) || (bytes > 0 && misaligned(global))) stop(Fault::copy_alignment, site);
  if (!arena_.array_at(shared, static_cast<size_t>(size))) stop(Fault::copy_place, site);
  CopyQueue& q = copy_queue();
  if (q.begun - q.applied == CopyQueue::kCopies) stop(Fault::too_many_copies, site);
  q.copies[at(q.begun++ % CopyQueue::kCopies)] = {shared, global, bytes, size};
}

void BlockRunner::copy_commit(const Site&) {
  CopyQueue& q = copy_queue();
  q.group_end[at(q.groups++ % CopyQueue::kGroups)] = q.begun;
}

void BlockRunner::copy_wait(int groups, const Site&) {
  CopyQueue& q = copy_queue();
  if (q.groups <= groups) return;
  for (const int end = q.group_end[at((q.groups - 1 - groups) % CopyQueue::kGroups)]; q.applied < end; ++q.applied) {
    const Copy& c = q.copies[at(q.applied % CopyQueue::kCopies)];
    perform(c);
    arena_.set_written(c.to, static_cast<size_t>(c.size), true);
  }
}

CopyQueue& BlockRunner::copy_queue() {
  if (!copies_) {
    void* memory = mmap(nullptr, sizeof(CopyQueue) * kMaxThreads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail_machine("simt: no memory for asynchronous copies", std::generic_category().message(errno));
    copies_ = static_cast<CopyQueue*>(memory);  // zero is the empty queue
  }
  copies_used_ = true;
  return copies_[current_->thread];
}

void BlockRunner::forget_copies() {
  for (int t = 0; t < n_; ++t) copies_[t].begun = copies_[t].applied = copies_[t].groups = 0;
  copies_used_ = false;
}

// ---- products by warpgroups

// Not by memmove, which ThreadSanitizer takes for an access of the fiber, though the queue is the executor's own.
template <class T>
static void copy_unseen(const T* from, int count, T* to) {
  for (int i = 0; i < count; ++i) {
    to[i] = from[i];
    asm volatile("" ::: "memory");
  }
}

void BlockRunner::warpgroup_begin(float* sums, int count, const WarpgroupProduct& product, const Site& site) {
  constexpr size_t kRowBytes = 128;
  const size_t columns = 2 * static_cast<size_t>(count);
  for (const auto& [p, rows] : {std::pair(product.a, size_t{64}), {product.b, columns}}) {
    failure_.offset = static_cast<ptrdiff_t>(reinterpret_cast<uintptr_t>(p) % 1024);
    if (failure_.offset != 0 || !arena_.array_at(p, rows * kRowBytes)) stop(Fault::warpgroup_operand, site);
  }
  ProductQueue& q = product_queue();
  if (q.begun == ProductQueue::kProducts) stop(Fault::too_many_products, site);
  if (q.begun == 0) {
    q.sums = sums, q.count = count;
    copy_unseen(sums, count, q.before);
    std::fill_n(sums, count, std::numeric_limits<float>::quiet_NaN());
  } else if (sums != q.sums) {
    stop(Fault::warpgroup_sums, site);
  }
  q.products[q.begun++] = product;
}

void BlockRunner::warpgroup_commit(const Site&) {
  ProductQueue& q = product_queue();
  q.committed = q.begun;
}

void BlockRunner::warpgroup_wait(const Site&) {
  ProductQueue& q = product_queue();
  if (q.committed == 0) return;
  const int thread = current_->thread % 128;
  copy_unseen(q.before, q.count, q.sums);
  for (int i = 0; i < q.committed; ++i) q.products[i].run(thread, q.sums, q.products[i].a, q.products[i].b, q.products[i].part);
  // Those that nobody has closed stay under way.
  const int left = q.begun - q.committed;
  copy_unseen(q.products + q.committed, left, q.products);
  q.begun = left, q.committed = 0;
  if (left == 0) return;
  copy_unseen(q.sums, q.count, q.before);
  std::fill_n(q.sums, q.count, std::numeric_limits<float>::quiet_NaN());
}

ProductQueue& BlockRunner::product_queue() {
  if (!products_) {
    void* memory = mmap(nullptr, sizeof(ProductQueue) * kMaxThreads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail_machine("simt: no memory for products by warpgroups", std::generic_category().message(errno));
    products_ = static_cast<ProductQueue*>(memory);
  }
  products_used_ = true;
  return products_[current_->thread];
}

void BlockRunner::forget_products() {
  for (int t = 0; t < n_; ++t) products_[t].begun = products_[t].committed = 0;
  products_used_ = false;
}

}  // namespace detail
}  // namespace panvae::simt
