// Tensors: dense row-major arrays on a device, with a place in the graph of the active tape.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "base/float_types.h"
#include "engine/shape.h"

namespace panvae {

class Context;
class Tensor;
struct MatrixProduct;

enum class DType : int { f32, f64, bf16, i64, f16 };
int64_t item_bytes(DType t);
const char* dtype_name(DType t);  // as safetensors spells it: F32, F64, BF16, I64, F16
template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  else if constexpr (std::is_same_v<T, double>) return DType::f64;
  else if constexpr (std::is_same_v<T, bf16>) return DType::bf16;
  else if constexpr (std::is_same_v<T, f16>) return DType::f16;
  else {
    static_assert(std::is_same_v<T, int64_t>);
    return DType::i64;
  }
}

// A block of device memory with a version that counts in-place writes.
struct Storage;

// Which gradients that are one product of matrices an optimizer finds as that (ModuleState::keep_products).
enum class KeptProducts { none, best, all };

// What autograd knows of a tensor that needs a gradient; shared by all copies of the tensor.
struct Variable {
  std::string name;      // of a parameter; the op's name otherwise
  bool leaf = false;     // a parameter: its gradient outlives the tape
  bool written = false;  // the gradient holds this backward pass's values
  bool spent = false;    // the op that made the tensor has run backward, or its tape is gone: no gradient can pass through it
  std::unique_ptr<Tensor> gradient;
  // Of a leaf, for an optimizer that computes it together with its update (ModuleState::keep_products).
  bool keeps_product = false;                                // a gradient that is one product of matrices may be kept as that
  bool keeps_best_alone = false;                             // where MatrixProduct::best_kept() says so
  bool used_up = false;                                      // the optimizer has computed it so: there is no gradient until gradients are forgotten
  std::unique_ptr<MatrixProduct> product;                    // the gradient, where it is kept so and not `written`
  std::unique_ptr<Tensor> factor_squares;                    // [2], f64: the sums of squares of both factors, taken when a product is kept
  std::vector<std::function<void(Tensor& gradient)>> hooks;  // called when a leaf's gradient is complete
};

class Tensor {
 public:
  Tensor() = default;
  // Uninitialised memory of the context's device (of its arena within a step). `label`: a literal for memory reports.
  static Tensor empty(Context& context, Shape shape, DType dtype = DType::f32, const char* label = "tensor");
  static Tensor zeros(Context& context, Shape shape, DType dtype = DType::f32, const char* label = "tensor");
  // A copy of host values onto the device; values.size() is shape.count().
  template <class T>
  static Tensor from(Context& context, Shape shape, const std::vector<T>& values) {
    Tensor t = empty(context, shape, dtype_of<T>());
    t.upload(values.data(), static_cast<int64_t>(values.size()));
    return t;
  }
  // Memory of the caller, on the context's device (any host pointer is, on cpu), aligned for its type, which must outlive the tensor: no
  // copy.
  static Tensor wrap(Context& context, void* data, Shape shape, DType dtype);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t size(int dimension) const { return shape_[dimension]; }
  int64_t count() const { return shape_.count(); }
  int rank() const { return shape_.rank(); }
  DType dtype() const { return dtype_; }
  Context& context() const;

  // Device pointers. T must be the stored type; a tensor of a step's arena is an error once the step has ended.
  template <class T>
  T* data() const {
    return static_cast<T*>(raw(dtype_of<std::remove_const_t<T>>()));
  }
  void* bytes() const { return raw(dtype_); }
  bool of_step() const;   // of a step's arena
  bool outlived() const;  // and the step has ended

  // Host copies; both wait for the device.
  template <class T>
  std::vector<T> host() const {
    std::vector<T> v(static_cast<size_t>(count()));
    download(v.data(), dtype_of<T>());
    return v;
  }
  template <class T>
  void upload(const T* values, int64_t n) {
    upload_bytes(values, n, dtype_of<T>());
  }
  // Copies the values of a tensor of the same shape, type and context; an in-place write.
  void assign(const Tensor& from);
  double item() const;  // of a tensor with one element, f32 or f64

  // The same memory under another shape of the same count, without a place in the graph (ops::reshape has one).
  Tensor view(Shape shape) const;
  // `count` elements from `first` on, as a 1-D or given shape; no place in the graph.
  Tensor part(int64_t first, Shape shape) const;

  // Autograd. A parameter is made by require_gradient, of a tensor that no op made on a tape: detach() that one first. Ops give their
  // outputs a variable while a tape is active.
  bool needs_gradient() const { return variable_ != nullptr; }
  void require_gradient(std::string name);
  void require_gradient(std::string name, Tensor gradient_buffer);
  const std::shared_ptr<Variable>& variable() const { return variable_; }
  void set_variable(std::shared_ptr<Variable> v) { variable_ = std::move(v); }
  // Of a leaf: the gradient after Tape::backward, computed now where it was kept as a product; undefined tensor if none was written.
  Tensor gradient() const;
  // The same values without a place in the graph.
  Tensor detach() const;

  // In-place writes must say so: a tape that saved this tensor then refuses to use it.
  void bump_version();
  uint64_t version() const;
  bool same_memory(const Tensor& o) const { return storage_ == o.storage_; }

 private:
  void* raw(DType as) const;
  void download(void* to, DType as) const;
  void upload_bytes(const void* from, int64_t n, DType as);

  std::shared_ptr<Storage> storage_;
  int64_t offset_ = 0;  // elements
  Shape shape_;
  DType dtype_ = DType::f32;
  std::shared_ptr<Variable> variable_;
};

// Throws where the two are of different contexts.
void check_same_context(const char* op, const Tensor& a, const Tensor& b);

// op(a) op(b), op = transpose where asked, of tensors that must not change before it is computed.
struct MatrixProduct {
  MatrixProduct(Tensor a, bool transpose_a, Tensor b, bool transpose_b);
  // c [M, N] = the product, or c plus it
  void into(Tensor& c, bool accumulate) const;
  void check_unchanged(const std::string& of) const;
  // Whether it is best computed together with the update of what it is the gradient of, in its context as that is now. On cpu. On cuda, where
  // it is large, and our kernels compute products anyhow, or by warpgroups (kernels/matmul_adam_warpgroups.h); the vendor's library, which cannot do
  // both, multiplies faster than our other kernels. Simt, which stands in for both in tests, goes by the stream's provider.
  bool best_kept() const;
  // Elements. On a GPU a smaller gradient is cheaper written, and read again from its cache, than the launches of an update of its own; by
  // warpgroups the gain begins where its update takes longer than its product.
  static constexpr int64_t kSmallestKeptOnCuda = int64_t{1} << 22, kSmallestByWarpgroups = int64_t{1} << 23;

  Tensor a;
  bool transpose_a;
  Tensor b;
  bool transpose_b;

 private:
  uint64_t version_a_, version_b_;
};

// f(type tag) with the C++ type of a computing dtype: dispatch(x.dtype(), "op", [&]<class T>(T) { ... x.data<T>() ... }).
template <class F>
void dispatch(DType dtype, const char* op, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f(float{});
    case DType::f64:
      return f(double{});
    default:
      PV_CHECK(false, "{}: no arithmetic on {}", op, dtype_name(dtype));
  }
}

}  // namespace panvae
