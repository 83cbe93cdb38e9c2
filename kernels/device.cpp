#include "kernels/device.h"

#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "kernels/arrivals.h"
#include "kernels/profile.h"

namespace panvae {

std::string to_string(Device d) {
  switch (d.type) {
    case DeviceType::cpu:
      return "cpu";
    case DeviceType::simt:
      return "simt";
    case DeviceType::cuda:
      break;
  }
  return fmt::format("cuda:{}", d.index);
}

Device parse_device(std::string_view text) {
  const Backend& cuda = cuda_backend();
  if (text == "cpu") return {DeviceType::cpu, 0};
  if (text == "simt") return {DeviceType::simt, 0};
  if (text == "auto") return cuda.device_count() > 0 ? Device{DeviceType::cuda, 0} : Device{DeviceType::cpu, 0};
  int index = 0;
  if (text.substr(0, 5) == "cuda:") {
    const std::string_view digits = text.substr(5);
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error != std::errc{} || end != digits.data() + digits.size() || index < 0)
      fail_usage("no such device: " + quoted(text), "", "use auto, cpu, cuda or cuda:N");
  } else if (text != "cuda") {
    fail_usage("no such device: " + quoted(text), "", "use auto, cpu, cuda or cuda:N");
  }
  const int n = cuda.device_count();
  if (n == 0) fail_machine("no CUDA device", cuda.why_unusable(), "use --device cpu");
  if (index >= n) fail_machine(fmt::format("no device cuda:{}", index), fmt::format("this machine has {}", n), "name one of cuda:0 and following");
  return {DeviceType::cuda, index};
}

std::string describe_device(Device d) {
  if (d.type == DeviceType::cuda) return fmt::format("{} ({})", to_string(d), cuda_backend().properties(d.index).name);
  if (cuda_backend().device_count() > 0) return to_string(d);
  return fmt::format("{} (no CUDA device: {})", to_string(d), cuda_backend().why_unusable());
}

const Backend& backend_of(DeviceType type) {
  return type == DeviceType::cuda ? cuda_backend() : type == DeviceType::simt ? simt_backend() : cpu_backend();
}

bool synchronous_launches() {
  static const bool value = [] {
    const char* text = std::getenv("PANVAE_SYNC");
    return text && *text && *text != '0';
  }();
  return value;
}

Stream::Stream(Device device) : device_(device), backend_(&backend_of(device.type)) {
  handle_ = backend_->stream_create(device.index);
}

Stream::~Stream() {
  if (profile) {
    try {
      profile->settle(*this);
    } catch (const Error&) {
      // The device is lost: its last calls stay untimed.
    }
  }
  vendor.reset();  // while the stream is still there
  if (scratch_) backend_->free(device_.index, scratch_);
  backend_->stream_destroy(device_.index, handle_);
}

void Graph::launch(Stream& stream) const {
  PV_CHECK(handle_, "graph: launched before anything was captured");
  backend_->graph_launch(stream.device().index, handle_, stream.handle());
}

Graph Stream::capture(const std::function<void()>& work) {
  PV_CHECK(!capturing_, "graph: captured within a capture");
  if (const std::string why = backend_->why_no_graphs(); !why.empty())
    throw Error(ErrorCode::usage, "graph: this device captures none", why, "run the work as it is", "graph");
  backend_->graph_begin(device_.index, handle_);
  capturing_ = true;
  try {
    work();
  } catch (...) {
    capturing_ = false;
    try {
      const Graph half(*backend_, backend_->graph_end(device_.index, handle_));
    } catch (const Error&) {
      // The capture is over, and what went wrong first is on its way.
    }
    throw;
  }
  capturing_ = false;
  return {*backend_, backend_->graph_end(device_.index, handle_)};
}

void* Stream::scratch(size_t bytes) {
  if (bytes > scratch_bytes_) {
    PV_CHECK(!capturing_, "graph: {} bytes of scratch memory are asked for while a graph is captured, and there are {}: run the work once before", bytes,
             scratch_bytes_);
    ++scratch_moves_;
    // Work queued on this stream may still use the old block.
    synchronize();
    if (scratch_) backend_->free(device_.index, scratch_);
    scratch_ = nullptr;
    scratch_bytes_ = 0;
    const size_t rounded = (bytes + 0xFFFF) & ~size_t{0xFFFF};
    scratch_ = backend_->alloc(device_.index, rounded + kArrivalsBytes);
    if (!scratch_) fail_machine(fmt::format("out of memory: {} bytes of scratch", rounded), to_string(device_), "use a smaller model or batch");
    backend_->fill_bytes(device_.index, static_cast<char*>(scratch_) + rounded, 0, kArrivalsBytes, handle_);
    synchronize();  // a graph that uses it may be launched on another stream
    scratch_bytes_ = rounded;
  }
  return scratch_;
}

}  // namespace panvae
