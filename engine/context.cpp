#include "engine/context.h"

#include <cmath>
#include <utility>

#include "base/blas.h"
#include "kernels/kernels.h"
#include "kernels/profile.h"

namespace panvae {

Context::Context(Device device, uint64_t seed, ExternalAllocator allocator)
    : generator{seed, 0, 0}, stream_(device), memory_(std::make_shared<Memory>(device, std::move(allocator))) {
  memory_->context = this;
  if (device.type == DeviceType::cpu) prepare_blas();
}

Context::~Context() {
  memory_->context = nullptr;
}

void Context::prepare_overlap() {
  if (!overlaps || !stream_.backend().order) return;
  if (!side_) side_ = std::make_unique<Stream>(device());
  side_->scratch(stream_.scratch_bytes());
}

bool Context::turn_aside() {
  if (!overlaps || !side_ || !stream_.capturing() || aside_) return false;
  Stream& side = *side_;
  side.math = stream_.math, side.provider = stream_.provider, side.fill = stream_.fill, side.simt = stream_.simt, side.short_index = stream_.short_index;
  side.vendor = stream_.vendor;  // with plans that are made
  side.backend().order(device().index, stream_.handle(), side.handle());
  return aside_ = unjoined_ = true;
}

void Context::join() {
  if (!std::exchange(unjoined_, false)) return;
  stream_.backend().order(device().index, side_->handle(), stream_.handle());
}

void Context::check_finite(const Tensor& t, const char* op, const std::string& what) {
  if (t.dtype() != DType::f32 && t.dtype() != DType::f64) return;
  const Memory::Block b = memory_->take(sizeof(double), "nan guard");
  double sum = 0;
  dispatch(t.dtype(), op, [&]<class T>(T) { k::sum_squares<T>(stream_, t.data<T>(), static_cast<double*>(b.data), t.count()); });
  stream_.backend().copy(stream_.device().index, &sum, b.data, sizeof sum, CopyKind::device_to_host, stream_.handle());
  memory_->give(b);
  claim_calls("nan guard", t.shape());
  if (!std::isfinite(sum))
    throw Error(ErrorCode::input, fmt::format("{}: {} of shape {} holds a NaN or an infinity", op, what, t.shape().str()), "",
                "look for extreme values in the input, or lower the learning rate", op);
}

void Context::name_calls(const char* op, const Shape& shape, const char* phase) {
  stream_.profile->claim(fmt::format("{} {}{}{}", op, shape.str(), *phase ? " " : "", phase));
}

}  // namespace panvae
