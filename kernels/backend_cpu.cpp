// The backend of cpu: host memory, work done when a call returns.
#include <sys/mman.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/memory.h"
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
      .copy =
          [](int, void* to, const void* from, size_t bytes, CopyKind, void*) {
            if (bytes) std::memmove(to, from, bytes);
          },
      .fill_bytes =
          [](int, void* to, int value, size_t bytes, void*) {
            if (bytes) std::memset(to, value, bytes);
          },
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
      .read_later =
          [](int, void* to, const void* from, size_t bytes, void*) {
            if (bytes) std::memcpy(to, from, bytes);
          },
  };
  return backend;
}

}  // namespace panvae
