// What stands in for CUDA where it was not compiled: no device, and kernels that say so.
#include <string>

#include "base/error.h"
#include "kernels/device.h"
#include "kernels/provider.h"

#pragma GCC diagnostic ignored "-Wunused-parameter"

namespace panvae {

[[noreturn]] static void no_cuda() {
  fail_machine("this panvae was built without CUDA", "", "build it where the CUDA toolkit is installed, or use --device cpu");
}

std::string cuda_toolkit_version() {
  return "";
}

bool updates_by_warpgroups(const Stream&, bool, bool, int64_t, int64_t, int64_t) {
  return false;
}
bool multiplies_by_warpgroups(const Stream&) {
  return false;
}

const Backend& cuda_backend() {
  static const Backend backend = {
      .name = "cuda",
      .device_count = [] { return 0; },
      .why_unusable = [] { return std::string("built without CUDA"); },
      .properties = [](int) -> DeviceProperties { no_cuda(); },
      .alloc = [](int, size_t) -> void* { no_cuda(); },
      .free = [](int, void*) noexcept {},
      .copy = [](int, void*, const void*, size_t, CopyKind, void*) { no_cuda(); },
      .fill_bytes = [](int, void*, int, size_t, void*) { no_cuda(); },
      .stream_create = [](int) -> void* { no_cuda(); },
      .stream_destroy = [](int, void*) noexcept {},
      .sync = [](int, void*) { no_cuda(); },
      .delay = [](int, double, void*) { no_cuda(); },
      .event_create = [](int) -> void* { no_cuda(); },
      .event_destroy = [](void*) noexcept {},
      .event_record = [](void*, void*) { no_cuda(); },
      .event_wait = [](void*) { no_cuda(); },
      .event_milliseconds = [](void*, void*) -> float { no_cuda(); },
      .order = nullptr,
      .range_push = [](const char*) {},
      .range_pop = [] {},
      .why_no_graphs = [] { return std::string("built without CUDA"); },
      .graph_begin = [](int, void*) { no_cuda(); },
      .graph_end = [](int, void*) -> void* { no_cuda(); },
      .graph_launch = [](int, void*, void*) { no_cuda(); },
      .graph_destroy = [](void*) noexcept {},
      .graph_difference = nullptr,
      .alloc_host = [](int, size_t) -> void* { no_cuda(); },
      .free_host = [](void*) noexcept {},
      .read_later = [](int, void*, const void*, size_t, void*) { no_cuda(); },
  };
  return backend;
}

std::vector<VendorLibrary> vendor_libraries() {
  return {{"cuBLASLt", "", "built without CUDA"}, {"cuDNN", "", "built without CUDA"}};
}

}  // namespace panvae

#define PV_KERNEL(name, ...)                    \
  namespace cuda {                              \
  template <class T>                            \
  void name(Stream& stream, __VA_ARGS__) {      \
    no_cuda();                                  \
  }                                             \
  template decltype(name<float>) name<float>;   \
  template decltype(name<double>) name<double>; \
  }
#include "kernels/kernels.h"
