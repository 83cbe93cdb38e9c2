#include "engine/readback.h"

#include <utility>

namespace panvae {

Readback::Readback(Context& context, int64_t most_bytes) : context_(context), most_bytes_(most_bytes) {
  const Backend& backend = context.stream().backend();
  const int device = context.device().index;
  memory_ = backend.alloc_host(device, static_cast<size_t>(most_bytes));
  if (!memory_) fail_machine(fmt::format("out of memory: {} bytes for what the host reads of a step", most_bytes), to_string(context.device()));
  try {
    event_ = backend.event_create(device);
  } catch (...) {
    backend.free_host(memory_);
    throw;
  }
}

Readback::~Readback() {
  const Backend& backend = context_.stream().backend();
  if (count_ >= 0) {
    try {
      backend.event_wait(event_);  // the device still writes to the memory
    } catch (const Error&) {
      // The device is at fault, and who uses it next is told.
    }
  }
  backend.event_destroy(event_);
  backend.free_host(memory_);
}

void Readback::queue(const Tensor& t) {
  PV_CHECK(t.dtype() == DType::f32 && t.count() * item_bytes(t.dtype()) <= most_bytes_, "readback: {} {} where there are {} bytes for f32", t.shape().str(),
           dtype_name(t.dtype()), most_bytes_);
  PV_CHECK(&t.context() == &context_, "readback: a tensor of another context");
  Stream& s = context_.stream();
  s.backend().read_later(s.device().index, memory_, t.bytes(), static_cast<size_t>(t.count() * item_bytes(t.dtype())), s.handle());
  s.backend().event_record(event_, s.handle());
  count_ = t.count();
}

std::vector<float> Readback::wait() {
  PV_CHECK(count_ >= 0, "readback: nothing is queued");
  context_.stream().backend().event_wait(event_);
  const float* values = static_cast<const float*>(memory_);
  return {values, values + std::exchange(count_, -1)};
}

}  // namespace panvae
