// The backend of simt: the host's memory, as on cpu, and streams that capture. While one does, what a GPU refuses is refused.
#include <utility>

#include "base/error.h"
#include "kernels/device.h"
#include "kernels/simt_graph.h"

namespace panvae {

namespace {

using simt::detail::Queue;
using simt::detail::Recording;

// Of the capture that this thread has begun. A GPU refuses what the thread does outside of its streams, too: memory above all.
thread_local Recording* capture_of_thread = nullptr;

Queue& queue_of(void* stream) {
  return *static_cast<Queue*>(stream);
}
Recording* recording_of(void* stream) {
  return stream ? queue_of(stream).current() : nullptr;
}

const Recording& recording_in(void* graph) {
  return **static_cast<std::shared_ptr<const Recording>*>(graph);
}

void note(Recording& recording, const char* what) noexcept {
  try {
    if (recording.broken_by.empty()) recording.broken_by = what;
  } catch (const std::bad_alloc&) {
    std::terminate();  // nobody could say that the capture is void
  }
}
// `recording` null: there is no capture, and all is well.
void refuse(Recording* recording, const char* what, const char* hint) {
  if (!recording) return;
  note(*recording, what);
  throw Error(ErrorCode::usage, fmt::format("graph: {} while a step is captured", what), "", hint, "graph");
}

constexpr const char* kBefore = "do it before the capture, in memory that stays";
constexpr const char* kAfter = "read results after the launch";

}  // namespace

const Backend& simt_backend() {
  static const Backend backend = [] {
    Backend b = cpu_backend();
    b.name = "simt";
    b.alloc = [](int device, size_t bytes) {
      refuse(capture_of_thread, "memory is taken from the device", kBefore);
      return cpu_backend().alloc(device, bytes);
    };
    b.free = [](int device, void* p) noexcept {
      if (capture_of_thread && p) note(*capture_of_thread, "memory was given back to the device");
      cpu_backend().free(device, p);
    };
    b.alloc_host = [](int device, size_t bytes) {
      refuse(capture_of_thread, "page-locked memory is taken", kBefore);
      return cpu_backend().alloc_host(device, bytes);
    };
    b.free_host = [](void* p) noexcept {
      if (capture_of_thread && p) note(*capture_of_thread, "page-locked memory was given back");
      cpu_backend().free_host(p);
    };
    b.copy = [](int device, void* to, const void* from, size_t bytes, CopyKind kind, void* stream) {
      Recording* const recording = recording_of(stream);
      if (!recording) return cpu_backend().copy(device, to, from, bytes, kind, stream);
      if (bytes == 0) return;
      if (kind == CopyKind::host_to_device) refuse(recording, "memory of the host is copied to the device", kBefore);
      if (kind == CopyKind::device_to_host) refuse(recording, "memory of the device is copied to the host", kAfter);
      recording->add_copy(to, from, bytes, !queue_of(stream).recording);
    };
    b.fill_bytes = [](int device, void* to, int value, size_t bytes, void* stream) {
      if (Recording* const recording = recording_of(stream)) recording->add_fill(to, value, bytes, !queue_of(stream).recording);
      else cpu_backend().fill_bytes(device, to, value, bytes, stream);
    };
    b.stream_create = [](int) -> void* { return new Queue; };
    b.stream_destroy = [](int, void* stream) noexcept { delete static_cast<Queue*>(stream); };
    b.sync = [](int, void* stream) { refuse(recording_of(stream), "the host waits for the stream", kAfter); };
    b.event_record = [](void* event, void* stream) {
      refuse(recording_of(stream), "an event is recorded", kAfter);
      cpu_backend().event_record(event, stream);
    };
    b.event_wait = [](void* event) {
      refuse(capture_of_thread, "the host waits for an event", kAfter);
      cpu_backend().event_wait(event);
    };
    b.read_later = [](int device, void* to, const void* from, size_t bytes, void* stream) {
      refuse(recording_of(stream), "memory of the device is copied to the host", kAfter);
      cpu_backend().read_later(device, to, from, bytes, stream);
    };
    b.event_milliseconds = [](void* first, void* last) {
      refuse(capture_of_thread, "the time between events is asked for", kAfter);
      return cpu_backend().event_milliseconds(first, last);
    };
    b.why_no_graphs = [] { return std::string(); };
    b.graph_begin = [](int, void* stream) {
      PV_CHECK(!capture_of_thread, "graph: this thread captures already");
      queue_of(stream).recording = std::make_shared<Recording>();
      capture_of_thread = queue_of(stream).recording.get();
    };
    b.graph_end = [](int, void* stream) -> void* {
      PV_CHECK(capture_of_thread && capture_of_thread == recording_of(stream), "graph: ended by a thread that did not begin it");
      capture_of_thread = nullptr;
      const std::shared_ptr<Recording> recording = std::move(queue_of(stream).recording);
      recording->open = false;
      if (recording->broken_by.empty() && !recording->waited()) recording->broken_by = "nobody has waited for the stream that joined it";
      if (!recording->broken_by.empty())
        throw Error(ErrorCode::usage, fmt::format("graph: the capture is void: {}", recording->broken_by), "", kBefore, "graph");
      return new std::shared_ptr<const Recording>(recording);
    };
    b.order = [](int, void* earlier, void* later) {
      Queue &first = queue_of(earlier), &second = queue_of(later);
      if (first.recording && !second.recording) second.joined = first.recording, first.recording->fork();
      else if (second.recording && first.joined.lock() == second.recording) second.recording->wait();
    };
    b.graph_launch = [](int, void* graph, void* stream) {
      refuse(recording_of(stream), "a graph is launched", kBefore);
      recording_in(graph).run(queue_of(stream).launches++ % 2 == 1);
    };
    b.graph_destroy = [](void* graph) noexcept { delete static_cast<std::shared_ptr<const Recording>*>(graph); };
    b.graph_difference = [](void* one, void* other) { return recording_in(one).difference(recording_in(other)); };
    return b;
  }();
  return backend;
}

}  // namespace panvae
