#include "engine/tensor.h"

#include <utility>

#include "engine/context.h"
#include "engine/tape.h"
#include "kernels/kernels.h"
#include "kernels/provider.h"

namespace panvae {

struct Storage {
  std::shared_ptr<Memory> memory;  // shared, so a tensor may die after its context
  bool wrapped = false;            // the block is the caller's
  Memory::Block block;
  uint64_t version = 0;

  Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage() {
    if (memory && !wrapped) memory->give(block);
  }
};

int64_t item_bytes(DType t) {
  switch (t) {
    case DType::f32:
      return 4;
    case DType::f64:
      return 8;
    case DType::bf16:
      return 2;
    case DType::i64:
      return 8;
    case DType::f16:
      return 2;
  }
  return 0;
}

const char* dtype_name(DType t) {
  switch (t) {
    case DType::f32:
      return "F32";
    case DType::f64:
      return "F64";
    case DType::bf16:
      return "BF16";
    case DType::i64:
      return "I64";
    case DType::f16:
      return "F16";
  }
  return "?";
}

Tensor Tensor::empty(Context& context, Shape shape, DType dtype, const char* label) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.storage_ = std::make_shared<Storage>();
  t.storage_->block = context.memory().take(static_cast<size_t>(shape.count() * item_bytes(dtype)), label);
  t.storage_->memory = context.shared_memory();
  return t;
}

Tensor Tensor::zeros(Context& context, Shape shape, DType dtype, const char* label) {
  Tensor t = empty(context, shape, dtype, label);
  context.stream().backend().fill_bytes(context.device().index, t.bytes(), 0, static_cast<size_t>(t.count() * item_bytes(dtype)), context.stream().handle());
  return t;
}

Tensor Tensor::wrap(Context& context, void* data, Shape shape, DType dtype) {
  PV_CHECK(data || shape.count() == 0, "wrap: {} at no address", shape.str());
  PV_CHECK(reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(item_bytes(dtype)) == 0, "wrap: {} of {} at an address that is no multiple of {} bytes",
           shape.str(), dtype_name(dtype), item_bytes(dtype));
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.storage_ = std::make_shared<Storage>();
  t.storage_->memory = context.shared_memory();
  t.storage_->wrapped = true;
  t.storage_->block = {data, static_cast<size_t>(shape.count() * item_bytes(dtype)), 0};
  return t;
}

Context& Tensor::context() const {
  PV_CHECK(storage_, "tensor: undefined");
  PV_CHECK(storage_->memory->context, "tensor: {} is of a context that is gone", shape_.str());
  return *storage_->memory->context;
}

void* Tensor::raw(DType as) const {
  PV_CHECK(storage_, "tensor: undefined");
  PV_CHECK(as == dtype_, "tensor: {} read as {}", dtype_name(dtype_), dtype_name(as));
  PV_CHECK(!outlived(), "tensor: {} was made within a step that has ended", shape_.str());
  return static_cast<char*>(storage_->block.data) + offset_ * item_bytes(dtype_);
}

bool Tensor::of_step() const {
  return storage_ && storage_->block.arena_step != 0;
}
bool Tensor::outlived() const {
  return of_step() && storage_->block.arena_step != storage_->memory->step();
}

void Tensor::download(void* to, DType as) const {
  const void* from = raw(as);
  Stream& s = context().stream();
  s.backend().copy(s.device().index, to, from, static_cast<size_t>(count() * item_bytes(dtype_)), CopyKind::device_to_host, s.handle());
}

void Tensor::upload_bytes(const void* from, int64_t n, DType as) {
  void* to = raw(as);
  PV_CHECK(n == count(), "tensor: {} values for {}", n, shape_.str());
  Stream& s = context().stream();
  s.backend().copy(s.device().index, to, from, static_cast<size_t>(n * item_bytes(dtype_)), CopyKind::host_to_device, s.handle());
  bump_version();
}

void Tensor::assign(const Tensor& from) {
  PV_CHECK(from.shape() == shape_ && from.dtype() == dtype_, "assign: {} {} from {} {}", shape_.str(), dtype_name(dtype_), from.shape().str(),
           dtype_name(from.dtype()));
  check_same_context("assign", *this, from);
  Stream& s = context().stream();
  s.backend().copy(s.device().index, bytes(), from.bytes(), static_cast<size_t>(count() * item_bytes(dtype_)), CopyKind::device_to_device, s.handle());
  bump_version();
}

double Tensor::item() const {
  PV_CHECK(count() == 1, "item: a tensor of shape {} has no single value", shape_.str());
  return dtype_ == DType::f64 ? host<double>()[0] : static_cast<double>(host<float>()[0]);
}

Tensor Tensor::view(Shape shape) const {
  PV_CHECK(shape.count() == count(), "view: {} as {}", shape_.str(), shape.str());
  return part(0, shape);
}

Tensor Tensor::part(int64_t first, Shape shape) const {
  PV_CHECK(first >= 0 && first <= count() && shape.count() <= count() - first, "part: {} elements from {} of {}", shape.count(), first, shape_.str());
  Tensor t;
  t.storage_ = storage_;
  t.offset_ = offset_ + first;
  t.shape_ = shape;
  t.dtype_ = dtype_;
  return t;
}

void Tensor::require_gradient(std::string name) {
  PV_CHECK(!variable_ || variable_->leaf, "require_gradient: {} of shape {} was made by {} on a tape, whose gradient would stop here: detach() it first", name,
           shape_.str(), variable_->name);
  variable_ = std::make_shared<Variable>();
  variable_->name = std::move(name);
  variable_->leaf = true;
}

void Tensor::require_gradient(std::string name, Tensor gradient_buffer) {
  PV_CHECK(gradient_buffer.shape() == shape_ && gradient_buffer.dtype() == dtype_, "require_gradient: a buffer of shape {} for {}",
           gradient_buffer.shape().str(), shape_.str());
  require_gradient(std::move(name));
  variable_->gradient = std::make_unique<Tensor>(std::move(gradient_buffer));
}

Tensor Tensor::gradient() const {
  if (variable_ && variable_->product) compute_product(*variable_);
  if (!variable_ || !variable_->gradient || !variable_->written) return {};
  return *variable_->gradient;
}

Tensor Tensor::detach() const {
  Tensor t = *this;
  t.variable_ = nullptr;
  return t;
}

MatrixProduct::MatrixProduct(Tensor a_, bool transpose_a_, Tensor b_, bool transpose_b_)
    : a(std::move(a_)), transpose_a(transpose_a_), b(std::move(b_)), transpose_b(transpose_b_), version_a_(a.version()), version_b_(b.version()) {}

void MatrixProduct::into(Tensor& c, bool accumulate) const {
  const int64_t K = a.size(transpose_a ? 0 : 1);
  dispatch(a.dtype(), "matmul", [&]<class T>(T) {
    Epilogue<T> e;
    e.accumulate = accumulate;
    k::matmul<T>(a.context().stream(), a.data<T>(), transpose_a, b.data<T>(), transpose_b, c.data<T>(), c.size(0), c.size(1), K, e);
  });
}

bool MatrixProduct::best_kept() const {
  Stream& s = a.context().stream();
  if (s.type() == DeviceType::cpu) return true;
  if (s.type() == DeviceType::simt) return s.provider != Provider::vendor;
  const Provider provider = s.provider == Provider::automatic ? ProviderTable::of_process().settings().provider : s.provider;
  const int64_t M = a.size(transpose_a ? 1 : 0), N = b.size(transpose_b ? 0 : 1), K = a.size(transpose_a ? 0 : 1);
  if (provider != Provider::automatic) return provider == Provider::ours && M * N >= kSmallestKeptOnCuda;
  return M * N >= kSmallestByWarpgroups && a.dtype() == DType::f32 && updates_by_warpgroups(s, transpose_a, transpose_b, M, N, K);
}

void MatrixProduct::check_unchanged(const std::string& of) const {
  for (const auto& [t, version] : {std::pair(&a, version_a_), std::pair(&b, version_b_)}) {
    PV_CHECK(!t->outlived(), "{}: its gradient was kept as a product of tensors that are gone; take the optimizer's step before the Step ends", of);
    PV_CHECK(t->version() == version, "{}: a tensor of shape {} that its gradient needs was changed in place after use", of, t->shape().str());
  }
}

void check_same_context(const char* op, const Tensor& a, const Tensor& b) {
  PV_CHECK(&a.context() == &b.context(), "{}: tensors of two contexts, on {} and on {}", op, to_string(a.context().device()), to_string(b.context().device()));
}

void Tensor::bump_version() {
  PV_CHECK(storage_, "tensor: undefined");
  ++storage_->version;
}
uint64_t Tensor::version() const {
  return storage_ ? storage_->version : 0;
}

}  // namespace panvae
