// Devices, streams and what a device can do. Everything above this room talks to devices through these types alone.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace panvae {

// cpu: the production CPU path. simt: the CUDA kernels themselves, run on the CPU (tests). cuda: an NVIDIA GPU.
enum class DeviceType : int { cpu, simt, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};
std::string to_string(Device d);  // "cpu", "simt", "cuda:0"
// "cpu", "simt", "cuda", "cuda:1" or "auto" (the first usable GPU, else cpu). Throws for other words and absent devices.
Device parse_device(std::string_view text);
// Why `auto` chose what it chose, for the log: "cuda:0 (NVIDIA H200)" or "cpu (no CUDA device: ...)".
std::string describe_device(Device d);

// How matrix products on f32 data may round: ieee f32, tf32 (10-bit mantissa inputs) or bf16 inputs; accumulation is
// f32 in all. The cpu device knows ieee only.
enum class MathMode : int { ieee, tf32, bf16 };

// Who computes products and convolutions on cuda: our kernels or the vendor's library (kernels/provider.h).
enum class Provider : int { automatic, ours, vendor };

// How our products bring their operands to shared memory (kernels/tile.h): through registers or by asynchronous copies where
// the product allows them, with the same bits as result; or for warpgroups, with others, where product, math mode and device allow it,
// else as if pipelined were asked for. automatic: as measured with the provider, else pipelined.
enum class ProductFill : int { automatic, staged, pipelined, warpgroups };

struct DeviceProperties {
  std::string name;
  int64_t memory_bytes = 0;
  int multiprocessors = 0;
  int compute_capability = 0;  // 90 for 9.0; 0 where it has no meaning
  int64_t cache_bytes = 0;     // of the last level; 0 where unknown
};

enum class CopyKind { host_to_device, device_to_host, device_to_device };

// These functions are all that a device must bring. A function throws Error{machine} on failure; release functions
// (free, *_destroy) never throw. `stream` is the handle of stream_create; on cpu it is null. On cpu and simt work is done when
// the call returns.
struct Backend {
  const char* name;
  int (*device_count)();
  std::string (*why_unusable)();  // empty where device_count() > 0
  DeviceProperties (*properties)(int device);
  void* (*alloc)(int device, size_t bytes);  // null when out of memory; at least 256-byte aligned
  void (*free)(int device, void* p) noexcept;
  void (*copy)(int device, void* to, const void* from, size_t bytes, CopyKind kind, void* stream);
  void (*fill_bytes)(int device, void* to, int value, size_t bytes, void* stream);
  void* (*stream_create)(int device);
  void (*stream_destroy)(int device, void* stream) noexcept;
  void (*sync)(int device, void* stream);
  // Keeps the stream busy for about so long, so that work queued meanwhile runs without gaps (timing). Nothing on cpu.
  void (*delay)(int device, double microseconds, void* stream);
  void* (*event_create)(int device);
  void (*event_destroy)(void* event) noexcept;
  void (*event_record)(void* event, void* stream);
  void (*event_wait)(void* event);  // for what the stream had been told before the event was recorded
  float (*event_milliseconds)(void* begin, void* end);
  // What is queued on `later` from now on waits for what `earlier` has been told so far. Where `earlier` captures a graph, `later` joins
  // it, and must be waited for before the capture ends. Null where streams do at once what they are told.
  void (*order)(int device, void* earlier, void* later);
  // A named range of the host's time for the vendor's profiler (NVTX). Nothing on cpu.
  void (*range_push)(const char* name);
  void (*range_pop)();
  // Between graph_begin and graph_end, called by one thread, what is queued on the stream is recorded, arguments by value, and
  // not done. What cannot be recorded is an error and makes the capture void: waiting for the stream, events, copies from or to
  // the host, and memory taken or given back by that thread.
  std::string (*why_no_graphs)();  // empty where there are graphs
  void (*graph_begin)(int device, void* stream);
  void* (*graph_end)(int device, void* stream);  // an executable graph; ends a capture that is void, too, and throws
  void (*graph_launch)(int device, void* graph, void* stream);
  void (*graph_destroy)(void* graph) noexcept;
  // The first call that two graphs do not have in common; empty where they are the same. Null where nobody can tell (cuda).
  std::string (*graph_difference)(void* a, void* b);
  // Memory of the host that the device copies from and to at full speed (page-locked for a GPU); null when out of memory.
  void* (*alloc_host)(int device, size_t bytes);
  void (*free_host)(void* p) noexcept;
  // Copies to such memory, and waits for nothing: the bytes are there once an event recorded behind it has come.
  void (*read_later)(int device, void* to, const void* from, size_t bytes, void* stream);
};
const Backend& backend_of(DeviceType type);
const Backend& cpu_backend();
const Backend& simt_backend();
const Backend& cuda_backend();       // the stub where CUDA was not compiled in
std::string cuda_toolkit_version();  // "13.0", or "" without CUDA
// PANVAE_SYNC=1 in the environment: cuda waits for each kernel, so that an error is reported at the kernel that made it.
bool synchronous_launches();

namespace simt {
// In which order the executor runs the threads of a block between barriers. Results must not depend on it.
enum class Order { forward, reverse, random };
struct Options {
  Order order = Order::forward;
  uint64_t seed = 1;  // of Order::random
  int threads = 0;    // OS threads that take blocks; 0 = all
  // CUDA threads of a launch beyond which it throws TooManyThreads; 0 = any number. For tests under sanitizers, where
  // only small launches are quick.
  uint64_t most_threads = 0;
};
class TooManyThreads : public Error {
 public:
  using Error::Error;
};
}  // namespace simt

// An executable graph: what a stream was told while it captured.
class Graph {
 public:
  Graph() = default;
  Graph(const Backend& backend, void* handle) : backend_(&backend), handle_(handle) {}
  ~Graph() {
    if (handle_) backend_->graph_destroy(handle_);
  }
  Graph(Graph&& other) noexcept : backend_(other.backend_), handle_(std::exchange(other.handle_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(backend_, other.backend_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  explicit operator bool() const { return handle_ != nullptr; }
  // Does it all again, with the memory, the sizes and the numbers of then.
  void launch(class Stream& stream) const;
  // As Backend::graph_difference.
  std::string difference(const Graph& other) const { return backend_->graph_difference ? backend_->graph_difference(handle_, other.handle_) : std::string(); }

 private:
  const Backend* backend_ = nullptr;
  void* handle_ = nullptr;
};

// A queue of work on one device, with the little state that kernels need beside their arguments.
class Stream {
 public:
  explicit Stream(Device device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  DeviceType type() const { return device_.type; }
  const Backend& backend() const { return *backend_; }
  void* handle() const { return handle_; }
  void synchronize() { backend_->sync(device_.index, handle_); }

  // What `work` queues on this stream, recorded and not done. Throws what `work` throws, and where the device has no graphs or
  // `work` did what cannot be recorded; the stream is usable afterwards.
  Graph capture(const std::function<void()>& work);
  bool capturing() const { return capturing_; }

  // Memory for partial results of one kernel call; its content is undefined at the next call. Grows as asked, but not while a
  // graph is captured.
  void* scratch(size_t bytes);
  // How often it has moved: a graph that was captured before knows a place that is gone.
  int64_t scratch_moves() const { return scratch_moves_; }
  size_t scratch_bytes() const { return scratch_bytes_; }
  template <class T>
  T* scratch(int64_t count) {
    return static_cast<T*>(scratch(static_cast<size_t>(count) * sizeof(T)));
  }

  MathMode math = MathMode::ieee;
  Provider provider = Provider::automatic;  // automatic: as the environment says, else as measured, else the vendor
  Provider computed_by = Provider::ours;    // who did the last product or convolution of this stream
  ProductFill fill = ProductFill::automatic;
  ProductFill measured_fill = ProductFill::automatic;  // for the product that comes next, from who chose its provider
  // Up to so many elements, kernels that divide indices have them in 32 bits, which is faster. Tests lower it: to 0, and tensors of any size
  // go the way of those that are too large for a test.
  int64_t short_index = 0x7FFFFFFF;
  simt::Options simt;
  class Profile* profile = nullptr;  // measures every kernel call while it is set (kernels/profile.h); must outlive the stream
  // Handles and plans of the vendor's libraries for this stream; kernels/cuda/vendor.cpp knows what is in it.
  std::shared_ptr<void> vendor;

 private:
  Device device_;
  const Backend* backend_;
  void* handle_ = nullptr;
  void* scratch_ = nullptr;
  size_t scratch_bytes_ = 0;
  int64_t scratch_moves_ = 0;
  bool capturing_ = false;
};

}  // namespace panvae
