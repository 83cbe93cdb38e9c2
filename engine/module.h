// Modules: named parameters and buffers, arranged in a tree, living in flat memory.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/context.h"
#include "engine/tensor.h"

namespace panvae {

// How a parameter starts. uniform: U(-bound, bound); constant: `bound` everywhere.
struct Init {
  enum class Kind { uniform, constant } kind = Kind::constant;
  double bound = 0;
  static Init uniform(double bound) { return {Kind::uniform, bound}; }
  static Init constant(double value) { return {Kind::constant, value}; }
};

struct NamedTensor {
  std::string name;
  Tensor* tensor;
  Init init;
  Shape used;  // the tensor's shape without padding
};

// How many features a layer reads or writes, and how wide the rows are that hold them: `width` >= `count`, zeros behind the
// features. Rows of a multiple of 16 bytes are what the fastest products on a GPU need. Padding changes nothing: weights that are
// zero, at inputs that are zero, have gradients of zero.
struct Features {
  Features(int64_t n) : count(n), width(n) {}  // without padding
  Features(int64_t n, int64_t w) : count(n), width(w) { PV_CHECK(n > 0 && w >= n, "features: {} in rows of {}", n, w); }
  int64_t count, width;
};

// A layer or a network. A subclass declares its parameters, buffers and submodules in its constructor, by name; they get
// memory when the root is put into a ModuleState. What is shared, by a layer that is called in several places or by a module that
// keeps a reference to another's, is declared once in the tree, and each name is given once.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  virtual Tensor forward(const Tensor& x) = 0;
  Tensor operator()(const Tensor& x) { return forward(x); }

  // Of this module and all below, depth first in the order of declaration: "decoder.hidden.weight".
  std::vector<NamedTensor> parameters(const std::string& prefix = "");
  std::vector<NamedTensor> buffers(const std::string& prefix = "");
  // Submodules by their names, in the order of declaration.
  const std::vector<std::pair<std::string, Module*>>& children() const { return children_; }
  virtual void set_training(bool training);
  bool training() const { return training_; }

 protected:
  // `used`, of shape's rank, at most 2: the part that starts as `init` says; what lies behind it in a row, or in rows behind it, is
  // padding, starts as zero, and is in no file.
  void declare_parameter(std::string name, Tensor& slot, Shape shape, Init init);
  void declare_parameter(std::string name, Tensor& slot, Shape shape, Init init, Shape used);
  void declare_buffer(std::string name, Tensor& slot, Shape shape, Init init);
  void declare_module(std::string name, Module& child);
  // For forward(): an error where a declared tensor, such as the layer's weight, has no memory yet.
  static void check_has_memory(const char* layer, const Tensor& declared);

 private:
  friend class Constant;
  friend class ModuleState;
  struct Declared {
    std::string name;
    Tensor* slot;
    Shape shape;
    Init init;
    Shape used;
  };
  void collect(const std::string& prefix, bool buffers, std::vector<std::pair<std::string, Declared>>& out) const;
  std::vector<Declared> parameters_, buffers_;
  std::vector<std::pair<std::string, Module*>> children_;
  void check_not_constant(const char* what) const;
  bool training_ = true;
  int constants_ = 0;  // how many Constant there are of it
};

// The parameters of a module as constants for as long as this lives: what is computed meanwhile passes gradients on to its
// inputs, and none to the parameters. This is how part of a network is frozen. An optimizer whose state holds the parameters still
// moves them by the momentum that they have, and lets them decay where it is told to: give it a ModuleState of the other part alone.
// Meanwhile the module gets neither another ModuleState nor gradients, nor an optimizer, which asks for them.
class Constant {
 public:
  explicit Constant(Module& module) : parameters_(module.parameters()) {
    kept_.reserve(parameters_.size());
    mark(module);
    for (const NamedTensor& p : parameters_) {
      kept_.push_back(*p.tensor);
      *p.tensor = p.tensor->detach();
    }
  }
  ~Constant() {
    for (size_t i = 0; i < parameters_.size(); ++i) *parameters_[i].tensor = kept_[i];
    for (Module* m : modules_) --m->constants_;
  }
  Constant(const Constant&) = delete;
  Constant& operator=(const Constant&) = delete;

 private:
  void mark(Module& module) {
    modules_.push_back(&module);
    ++module.constants_;
    for (const auto& [name, child] : module.children()) mark(*child);
  }
  std::vector<NamedTensor> parameters_;
  std::vector<Tensor> kept_;
  std::vector<Module*> modules_;
};

// Evaluation mode of a module (batch normalisation by running statistics) for as long as this lives. Then each submodule is as
// it was, a part that was in evaluation mode all along, too.
class Evaluation {
 public:
  explicit Evaluation(Module& module) {
    note(module);
    module.set_training(false);
  }
  ~Evaluation() {
    for (const auto& [module, training] : before_) module->set_training(training);
  }
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

 private:
  // Above first: setting a module sets all below it.
  void note(Module& module) {
    before_.emplace_back(&module, module.training());
    for (const auto& [name, child] : module.children()) note(*child);
  }
  std::vector<std::pair<Module*, bool>> before_;
};

// The memory of a module's tensors: parameters in one flat tensor, gradients (where asked for) in a second, buffers in a
// third; each tensor is a view at a multiple of 64 bytes. So Adam, norms, an all-reduce or a checkpoint are one call each.
// Padding holds zeros and stays zero. Keep it alive as long as the module is used, and the module as long as it is trained. The last
// state that is made of a module has its tensors; training an earlier one, or asking it for gradients, is an error. States are made,
// and gradients asked for, outside of steps.
class ModuleState {
 public:
  // Initial values are drawn from `seed`, each parameter from a stream of its own (its position in the tree).
  ModuleState(Context& context, Module& module, uint64_t seed, DType dtype = DType::f32);
  // Makes the gradient buffer and marks all parameters as needing gradients. For training; inference spares the memory. The
  // buffer is not touched before gradients are written: on cpu, what none is written to takes no memory.
  void require_gradients();
  // Takes the gradients away again, and their memory: the parameters are constants from now on. An optimizer of this state must
  // be gone.
  void release_gradients();
  // The gradients of before are void: the next backward pass overwrites them.
  void forget_gradients();
  // A gradient that is one product of matrices, as a Linear's weight has it, is kept as that from the next backward pass on,
  // until somebody asks for it: a second product for the same weight, Tensor::gradient(), settle_gradients(), clip_grad_norm().
  // Adam, where it does not clip, asks for none: it computes the product part by part and updates with each at once, so the
  // gradient is never written. The factors must still be there: within a Step, the optimizer's step comes before its end.
  // best: those of which MatrixProduct::best_kept() says that it is the faster way; all: on a GPU, all that are not small.
  void keep_products(KeptProducts which);
  // Clears the gradients of parameters that the last backward pass did not reach, and computes those kept as products, or, where
  // `products_too` is false, only those with a parameter for a factor. Adam calls it.
  void settle_gradients(bool products_too = true);

  Context& context() const { return *context_; }
  const Tensor& flat_parameters() const { return parameters_; }
  // [entries, 2], f64: the sums of squares of the factors of each gradient that is kept as a product; of others 0, or of an earlier one.
  const Tensor& factor_squares() const { return factor_squares_; }
  const Tensor& flat_gradients() const { return gradients_; }
  const Tensor& flat_buffers() const { return buffers_; }
  struct Entry {
    std::string name;
    Tensor tensor;   // the module's own tensor, a view
    int64_t offset;  // elements into the flat tensor
    Shape used;      // the tensor's shape without padding
    bool padded() const { return used != tensor.shape(); }
  };
  const std::vector<Entry>& entries() const { return entries_; }
  const std::vector<Entry>& buffer_entries() const { return buffer_entries_; }
  int64_t parameter_count() const;  // without padding
  // A flat tensor like flat_parameters() (moments, best weights) as a state whose tensors have no padding holds it: the same on
  // devices that pad and on those that do not; and back.
  template <class T>
  std::vector<T> unpadded(const Tensor& flat) const;
  template <class T>
  void pad(const std::vector<T>& unpadded, Tensor& flat) const;
  int64_t unpadded_count() const;  // elements of such a flat tensor
  bool padded() const;

 private:
  void check_in_use() const;
  Context* context_;
  Module* module_;
  Tensor parameters_, gradients_, buffers_;
  std::vector<Entry> entries_, buffer_entries_;
  std::vector<Tensor*> slots_;
  KeptProducts kept_products_ = KeptProducts::none;
  Tensor factor_squares_;
};

}  // namespace panvae
