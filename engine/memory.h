// Memory of one device: a best-fit cache of freed blocks, and a bump arena for what lives within one training step.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/device.h"

namespace panvae {

class Context;

// An embedding code may bring its own memory.
struct ExternalAllocator {
  std::function<void*(size_t)> alloc;  // null when out of memory; 256-byte aligned. Both functions or none
  std::function<void(void*)> free;     // work that uses the block may still be queued: waits for the device, as cudaFree does
};

class Memory {
 public:
  explicit Memory(Device device, ExternalAllocator external = {});
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  struct Block {
    void* data = nullptr;
    size_t bytes = 0;         // what was asked for, rounded up
    uint64_t arena_step = 0;  // 0: from the cache; else the step whose arena holds it
  };
  // `label` (a literal) names the holder in the report of an out-of-memory error. Throws Error{machine}.
  Block take(size_t bytes, const char* label);
  void give(const Block& block) noexcept;

  // Between begin_step and end_step blocks come from the arena: addresses are the same in every step of one shape. Its
  // size is what the first step took; a step that needs more takes the rest from the cache, and the arena grows after it, at the
  // begin of the next or by settle_arena().
  void begin_step(Stream& stream);
  void end_step();
  void settle_arena();
  // How often the arena has moved: a graph that was captured before knows a place that is gone.
  int64_t arena_moves() const { return arena_moves_; }
  // While a step is captured nothing may come from anywhere but the arena: what a graph remembers of the cache, others get later.
  bool arena_only = false;
  bool in_step() const { return in_step_; }
  uint64_t step() const { return step_; }
  // Whose memory it is; null once that is gone: tensors share the memory, and may outlive their context.
  Context* context = nullptr;
  // Tests: the arena is filled with NaN at each begin_step, so that reading what a step did not write is seen.
  bool poison_arena = false;

  int64_t held_bytes() const { return static_cast<int64_t>(held_); }  // taken from the device, cache and arena included
  int64_t peak_bytes() const { return static_cast<int64_t>(peak_); }  // most ever held
  std::string report() const;                                         // who holds what, largest first

 private:
  void* device_alloc(size_t bytes);
  void device_free(void* p, size_t bytes) noexcept;
  void release_cache() noexcept;

  Device device_;
  ExternalAllocator external_;
  std::multimap<size_t, void*> cache_;  // free blocks by size
  struct Live {
    size_t bytes;
    const char* label;
  };
  std::unordered_map<void*, Live> live_;
  size_t held_ = 0, peak_ = 0;

  char* arena_ = nullptr;
  size_t arena_bytes_ = 0, arena_used_ = 0, arena_wanted_ = 0;
  uint64_t step_ = 0;
  int64_t arena_moves_ = 0;
  bool in_step_ = false;
};

}  // namespace panvae
