#include "engine/memory.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace panvae {

namespace {
constexpr size_t kAlign = 256;
size_t rounded(size_t bytes) {
  return (std::max<size_t>(bytes, 1) + kAlign - 1) / kAlign * kAlign;
}
}  // namespace

Memory::Memory(Device device, ExternalAllocator external) : device_(device), external_(std::move(external)) {
  PV_CHECK(!external_.alloc == !external_.free, "memory: an allocator that has {} alone", external_.alloc ? "alloc" : "free");
}

Memory::~Memory() {
  if (arena_) device_free(arena_, arena_bytes_);
  release_cache();
}

void* Memory::device_alloc(size_t bytes) {
  void* p = external_.alloc ? external_.alloc(bytes) : backend_of(device_.type).alloc(device_.index, bytes);
  if (reinterpret_cast<uintptr_t>(p) % kAlign != 0) {
    external_.free(p);
    PV_CHECK(false, "memory: the allocator of the host program gave an address that is no multiple of {} bytes", kAlign);
  }
  if (p) {
    held_ += bytes;
    peak_ = std::max(peak_, held_);
  }
  return p;
}

void Memory::device_free(void* p, size_t bytes) noexcept {
  if (external_.free) external_.free(p);
  else backend_of(device_.type).free(device_.index, p);
  held_ -= bytes;
}

void Memory::release_cache() noexcept {
  for (auto& [bytes, p] : cache_) device_free(p, bytes);
  cache_.clear();
}

Memory::Block Memory::take(size_t bytes, const char* label) {
  bytes = rounded(bytes);
  if (in_step_) {
    arena_wanted_ += bytes;
    if (arena_used_ + bytes <= arena_bytes_) {
      Block b{arena_ + arena_used_, bytes, step_};
      arena_used_ += bytes;
      return b;
    }
  }
  PV_CHECK(!arena_only,
           "graph: {} for {} are taken {} while a step is captured: make what outlives a step before, and run each step once before it is captured",
           human_bytes(static_cast<int64_t>(bytes)), label, in_step_ ? "beside the arena" : "outside of a Step");
  // A cached block up to an eighth larger than asked will do; a larger one is kept for who needs it.
  if (auto it = cache_.lower_bound(bytes); it != cache_.end() && it->first <= bytes + bytes / 8) {
    Block b{it->second, it->first, 0};
    cache_.erase(it);
    live_[b.data] = {b.bytes, label};
    return b;
  }
  void* p = device_alloc(bytes);
  if (!p) {
    release_cache();
    p = device_alloc(bytes);
  }
  if (!p)
    throw Error(ErrorCode::machine, fmt::format("out of memory: {} for {} ({})", human_bytes(static_cast<int64_t>(bytes)), label, report()), to_string(device_),
                "use a smaller model or batch", "memory");
  live_[p] = {bytes, label};
  return {p, bytes, 0};
}

void Memory::give(const Block& block) noexcept {
  if (block.arena_step != 0) return;
  live_.erase(block.data);
  try {
    cache_.emplace(block.bytes, block.data);
  } catch (...) {
    device_free(block.data, block.bytes);
  }
}

void Memory::settle_arena() {
  PV_CHECK(!in_step_, "step: begun within a step");
  if (arena_wanted_ <= arena_bytes_) return;
  PV_CHECK(!arena_only, "graph: the arena of steps must grow while a step is captured: run each step once before it is captured");
  if (arena_) device_free(arena_, arena_bytes_);
  arena_ = nullptr;
  arena_bytes_ = 0;
  ++arena_moves_;
  // The step before left its blocks in the cache: they become the arena.
  release_cache();
  arena_ = static_cast<char*>(device_alloc(arena_wanted_));
  if (arena_) arena_bytes_ = arena_wanted_;  // without an arena steps still run, from the cache
}

void Memory::begin_step(Stream& stream) {
  settle_arena();
  if (poison_arena && arena_) stream.backend().fill_bytes(device_.index, arena_, 0xFF, arena_bytes_, stream.handle());
  arena_used_ = 0;
  arena_wanted_ = 0;
  ++step_;
  in_step_ = true;
}

void Memory::end_step() {
  in_step_ = false;
  ++step_;  // tensors of the arena are known to be dead from here on
}

std::string Memory::report() const {
  std::map<std::string, std::pair<size_t, int>> by_label;
  for (const auto& [p, l] : live_) {
    auto& [bytes, count] = by_label[l.label];
    bytes += l.bytes;
    ++count;
  }
  std::vector<std::pair<size_t, std::string>> rows;
  for (const auto& [label, v] : by_label)
    rows.emplace_back(v.first, fmt::format("{} in {} of {}", human_bytes(static_cast<int64_t>(v.first)), v.second, label));
  std::sort(rows.rbegin(), rows.rend());
  std::string out = fmt::format("held {}", human_bytes(static_cast<int64_t>(held_)));
  if (arena_bytes_) out += fmt::format(", arena {}", human_bytes(static_cast<int64_t>(arena_bytes_)));
  for (size_t i = 0; i < std::min<size_t>(rows.size(), 5); ++i) out += ", " + rows[i].second;
  return out;
}

}  // namespace panvae
