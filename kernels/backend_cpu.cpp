// The backend of cpu: host memory, work done when a call returns.
#include <sys/mman.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"
#include "kernels/device.h"

namespace panvae {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

void* cpu_alloc(int, size_t bytes) {
  const size_t align = bytes >= kHugePage ? kHugePage : 256;
  void* p = std::aligned_alloc(align, (bytes + align - 1) / align * align);
  // Weights and moments are read end to end in every step: large pages spare the page walks where the system grants them.
  if (p && bytes >= kHugePage) ::madvise(p, bytes, MADV_HUGEPAGE);
  return p;
}

// f(begin, bytes) for parts of a stretch of memory, side by side: the system clears new pages on the threads that touch them first,
// and they lie in memory near these.
template <class F>
void in_parts(size_t bytes, F f) {
  parallel_chunks(static_cast<int64_t>(bytes), static_cast<int64_t>(kHugePage),
                  [&](int64_t begin, int64_t end) { f(static_cast<size_t>(begin), static_cast<size_t>(end - begin)); });
}

void cpu_copy(void* to, const void* from, size_t bytes) {
  auto* const t = static_cast<char*>(to);
  const auto* const f = static_cast<const char*>(from);
  const auto a = reinterpret_cast<uintptr_t>(t), b = reinterpret_cast<uintptr_t>(f);
  if (a + bytes <= b || b + bytes <= a) in_parts(bytes, [=](size_t begin, size_t n) { std::memcpy(t + begin, f + begin, n); });
  else std::memmove(t, f, bytes);
}

using Clock = std::chrono::steady_clock;

[[noreturn]] void no_graphs() {
  throw Error(ErrorCode::usage, "graph: the cpu captures none", "", "run the work as it is", "graph");
}

}  // namespace

const Backend& cpu_backend() {
  static const Backend backend = {
      .name = "cpu",
      .device_count = [] { return 1; },
      .why_unusable = [] { return std::string(); },
      .properties =
          [](int) {
            return DeviceProperties{"CPU", available_bytes(), static_cast<int>(std::thread::hardware_concurrency()), 0, cache_bytes()};
          },
      .alloc = cpu_alloc,
      .free = [](int, void* p) noexcept { std::free(p); },
      .copy = [](int, void* to, const void* from, size_t bytes, CopyKind, void*) { cpu_copy(to, from, bytes); },
      .fill_bytes = [](int, void* to, int value, size_t bytes,
                       void*) { in_parts(bytes, [=](size_t begin, size_t n) { std::memset(static_cast<char*>(to) + begin, value, n); }); },
      .stream_create = [](int) -> void* { return nullptr; },
      .stream_destroy = [](int, void*) noexcept {},
      .sync = [](int, void*) {},
      .delay = [](int, double, void*) {},
      .event_create = [](int) -> void* { return new Clock::time_point; },
      .event_destroy = [](void* e) noexcept { delete static_cast<Clock::time_point*>(e); },
      .event_record = [](void* e, void*) { *static_cast<Clock::time_point*>(e) = Clock::now(); },
      .event_wait = [](void*) {},
      .event_milliseconds =
          [](void* a, void* b) {
            return std::chrono::duration<float, std::milli>(*static_cast<Clock::time_point*>(b) - *static_cast<Clock::time_point*>(a)).count();
          },
      .order = nullptr,
      .range_push = [](const char*) {},
      .range_pop = [] {},
      .why_no_graphs = [] { return std::string("the cpu has none"); },
      .graph_begin = [](int, void*) { no_graphs(); },
      .graph_end = [](int, void*) -> void* { no_graphs(); },
      .graph_launch = [](int, void*, void*) { no_graphs(); },
      .graph_destroy = [](void*) noexcept {},
      .graph_difference = nullptr,
      .alloc_host = cpu_alloc,
      .free_host = [](void* p) noexcept { std::free(p); },
      .read_later = [](int, void* to, const void* from, size_t bytes, void*) { cpu_copy(to, from, bytes); },
  };
  return backend;
}

}  // namespace panvae
