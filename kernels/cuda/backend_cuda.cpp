// The backend of NVIDIA GPUs, on the CUDA runtime. The runtime is linked statically and opens the driver on first use,
// so a machine without one still runs the program.
#include <cuda_runtime.h>
#include <nvtx3/nvToolsExt.h>

#include <array>
#include <cstring>
#include <mutex>

#include "base/error.h"
#include "kernels/device.h"

namespace panvae {

cudaError_t start_delay(double microseconds, void* stream);  // delay.cu

namespace {

void check(cudaError_t e, const char* expression) {
  if (e == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky must not surface again at the next call
  throw Error(ErrorCode::machine, fmt::format("CUDA: {}", cudaGetErrorString(e)), expression, "", "cuda");
}
#define PV_CUDA(expression) check((expression), #expression)

struct Count {
  int n = 0;
  std::string why;
};
const Count& count() {
  static const Count c = [] {
    Count r;
    const cudaError_t e = cudaGetDeviceCount(&r.n);
    if (e != cudaSuccess || r.n == 0) {
      cudaGetLastError();
      r.n = 0;
      r.why = e != cudaSuccess ? cudaGetErrorString(e) : "no device";
    }
    return r;
  }();
  return c;
}

cudaStream_t as_stream(void* s) {
  return static_cast<cudaStream_t>(s);
}

// Small uploads of a device by way of page-locked memory: the host goes on at once, and the caller's memory may go away. A copy from
// memory that is not page-locked may do either, wait for the stream or read that memory later: CUDA does not say.
class Uploads {
 public:
  static Uploads& of(int device) {
    static auto* const all = new std::array<Uploads, 64>;  // never destroyed: the driver may be gone by then
    return all->at(static_cast<size_t>(device));
  }
  // False, and nothing was done: of more bytes, or while a capture is on, in which the host may copy nothing.
  bool take(void* to, const void* from, size_t bytes, cudaStream_t stream) {
    if (bytes > kSlotBytes) return false;
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    PV_CUDA(cudaStreamIsCapturing(stream, &capture));
    if (capture != cudaStreamCaptureStatusNone) return false;
    const std::lock_guard lock(mutex_);
    if (!memory_) begin();
    const size_t slot = next_++ % kSlots;
    char* const staged = memory_ + slot * kSlotBytes;
    PV_CUDA(cudaEventSynchronize(copied_[slot]));  // of long ago
    std::memcpy(staged, from, bytes);
    PV_CUDA(cudaMemcpyAsync(to, staged, bytes, cudaMemcpyHostToDevice, stream));
    PV_CUDA(cudaEventRecord(copied_[slot], stream));
    return true;
  }

 private:
  static constexpr size_t kSlots = 16, kSlotBytes = size_t{64} << 10;
  void begin() {
    for (cudaEvent_t& e : copied_)
      if (!e) PV_CUDA(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    void* p = nullptr;
    PV_CUDA(cudaHostAlloc(&p, kSlots * kSlotBytes, cudaHostAllocDefault));
    memory_ = static_cast<char*>(p);
  }
  std::mutex mutex_;
  char* memory_ = nullptr;
  std::array<cudaEvent_t, kSlots> copied_{};
  size_t next_ = 0;
};

}  // namespace

std::string cuda_toolkit_version() {
  return fmt::format("{}.{}", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
}

const Backend& cuda_backend() {
  static const Backend backend = {
      .name = "cuda",
      .device_count = [] { return count().n; },
      .why_unusable = [] { return count().why; },
      .properties =
          [](int device) {
            cudaDeviceProp p{};
            PV_CUDA(cudaGetDeviceProperties(&p, device));
            return DeviceProperties{p.name, static_cast<int64_t>(p.totalGlobalMem), p.multiProcessorCount, p.major * 10 + p.minor, p.l2CacheSize};
          },
      .alloc = [](int device, size_t bytes) -> void* {
        void* p = nullptr;
        PV_CUDA(cudaSetDevice(device));
        const cudaError_t e = cudaMalloc(&p, bytes);
        if (e == cudaErrorMemoryAllocation) {
          cudaGetLastError();
          return nullptr;
        }
        check(e, "cudaMalloc");
        return p;
      },
      .free = [](int, void* p) noexcept { cudaFree(p); },
      .copy =
          [](int device, void* to, const void* from, size_t bytes, CopyKind kind, void* stream) {
            if (bytes == 0) return;
            const cudaMemcpyKind k = kind == CopyKind::host_to_device   ? cudaMemcpyHostToDevice
                                     : kind == CopyKind::device_to_host ? cudaMemcpyDeviceToHost
                                                                        : cudaMemcpyDeviceToDevice;
            PV_CUDA(cudaSetDevice(device));
            if (kind == CopyKind::host_to_device && Uploads::of(device).take(to, from, bytes, as_stream(stream))) return;
            PV_CUDA(cudaMemcpyAsync(to, from, bytes, k, as_stream(stream)));
            // Host memory handed in may go away when this returns.
            if (kind != CopyKind::device_to_device) PV_CUDA(cudaStreamSynchronize(as_stream(stream)));
          },
      .fill_bytes =
          [](int device, void* to, int value, size_t bytes, void* stream) {
            PV_CUDA(cudaSetDevice(device));
            PV_CUDA(cudaMemsetAsync(to, value, bytes, as_stream(stream)));
          },
      .stream_create = [](int device) -> void* {
        cudaStream_t s = nullptr;
        PV_CUDA(cudaSetDevice(device));
        PV_CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
        return s;
      },
      .stream_destroy = [](int, void* s) noexcept { cudaStreamDestroy(as_stream(s)); },
      .sync = [](int, void* s) { PV_CUDA(cudaStreamSynchronize(as_stream(s))); },
      .delay =
          [](int device, double microseconds, void* s) {
            PV_CUDA(cudaSetDevice(device));
            PV_CUDA(start_delay(microseconds, s));
          },
      .event_create = [](int device) -> void* {
        cudaEvent_t e = nullptr;
        PV_CUDA(cudaSetDevice(device));
        PV_CUDA(cudaEventCreate(&e));
        return e;
      },
      .event_destroy = [](void* e) noexcept { cudaEventDestroy(static_cast<cudaEvent_t>(e)); },
      .event_record = [](void* e, void* s) { PV_CUDA(cudaEventRecord(static_cast<cudaEvent_t>(e), as_stream(s))); },
      .event_wait = [](void* e) { PV_CUDA(cudaEventSynchronize(static_cast<cudaEvent_t>(e))); },
      .event_milliseconds =
          [](void* a, void* b) {
            float ms = 0;
            PV_CUDA(cudaEventSynchronize(static_cast<cudaEvent_t>(b)));
            PV_CUDA(cudaEventElapsedTime(&ms, static_cast<cudaEvent_t>(a), static_cast<cudaEvent_t>(b)));
            return ms;
          },
      .order =
          [](int device, void* earlier, void* later) {
            cudaEvent_t e = nullptr;
            PV_CUDA(cudaSetDevice(device));
            PV_CUDA(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
            const cudaError_t recorded = cudaEventRecord(e, as_stream(earlier));
            const cudaError_t waited = recorded == cudaSuccess ? cudaStreamWaitEvent(as_stream(later), e, 0) : recorded;
            cudaEventDestroy(e);
            check(waited, "cudaStreamWaitEvent");
          },
      .range_push = [](const char* name) { nvtxRangePushA(name); },
      .range_pop = [] { nvtxRangePop(); },
      .why_no_graphs = [] { return synchronous_launches() ? std::string("PANVAE_SYNC waits for each kernel") : std::string(); },
      // Thread-local: threads that read batches may go on, and what this one must not do is an error at once.
      .graph_begin =
          [](int device, void* s) {
            PV_CUDA(cudaSetDevice(device));
            PV_CUDA(cudaStreamBeginCapture(as_stream(s), cudaStreamCaptureModeThreadLocal));
          },
      .graph_end = [](int device, void* s) -> void* {
        cudaGraph_t graph = nullptr;
        cudaGraphExec_t executable = nullptr;
        PV_CUDA(cudaSetDevice(device));
        PV_CUDA(cudaStreamEndCapture(as_stream(s), &graph));  // an error, and no graph, where the capture is void
        const cudaError_t e = cudaGraphInstantiate(&executable, graph, 0);
        cudaGraphDestroy(graph);
        check(e, "cudaGraphInstantiate");
        return executable;
      },
      .graph_launch =
          [](int device, void* g, void* s) {
            PV_CUDA(cudaSetDevice(device));
            PV_CUDA(cudaGraphLaunch(static_cast<cudaGraphExec_t>(g), as_stream(s)));
          },
      .graph_destroy = [](void* g) noexcept { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(g)); },
      .graph_difference = nullptr,
      .alloc_host = [](int device, size_t bytes) -> void* {
        void* p = nullptr;
        PV_CUDA(cudaSetDevice(device));
        const cudaError_t e = cudaHostAlloc(&p, bytes, cudaHostAllocDefault);
        if (e == cudaErrorMemoryAllocation) {
          cudaGetLastError();
          return nullptr;
        }
        check(e, "cudaHostAlloc");
        return p;
      },
      .free_host = [](void* p) noexcept { cudaFreeHost(p); },
      .read_later =
          [](int device, void* to, const void* from, size_t bytes, void* stream) {
            if (bytes == 0) return;
            PV_CUDA(cudaSetDevice(device));
            PV_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, as_stream(stream)));
          },
  };
  return backend;
}

}  // namespace panvae
