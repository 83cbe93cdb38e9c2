// Autograd: a list of what was done, run backwards.
#pragma once
#include <functional>
#include <initializer_list>
#include <vector>

#include "engine/context.h"
#include "engine/tensor.h"

namespace panvae {

class Tape;

// What an op's backward function works with. The first write to a gradient overwrites, later ones add, so that no buffer
// is ever cleared.
class Grads {
 public:
  // dL/d(output), [shape of the output]
  const Tensor& out() const { return out_; }
  // The output is the loss itself: out() holds 1, and a pass that multiplies by it can be spared.
  bool out_is_one() const { return out_is_one_; }
  bool needs(int input) const;
  // Hands `f` a tensor of the input's shape to fill with this op's share of dL/d(input). Does nothing where the input
  // needs no gradient.
  void write(int input, const std::function<void(Tensor&)>& f);
  // For kernels that can add in place: `f(gradient, accumulate)`.
  void write_or_add(int input, const std::function<void(Tensor&, bool accumulate)>& f);
  // The share is op(a) op(b), of tensors that nobody writes to in the rest of the step. A leaf may keep that instead of a gradient.
  void write_product(int input, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b);
  // The share is already in `share`, out() for instance, which nobody else uses: taken over instead of copied where it is the first
  // one, and written to later. Given to two inputs it is copied for the second.
  void give(int input, Tensor share);
  // The same for a loss whose forward pass made the gradient: what is given is share times out(), one number.
  void give_scaled(int input, Tensor share);

 private:
  friend class Tape;
  Grads(const std::vector<std::shared_ptr<Variable>>& inputs, const std::vector<Shape>& shapes, Tensor out, bool out_is_one)
      : inputs_(inputs), shapes_(shapes), out_(std::move(out)), out_is_one_(out_is_one) {}
  const std::vector<std::shared_ptr<Variable>>& inputs_;
  const std::vector<Shape>& shapes_;
  Tensor out_;
  bool out_is_one_;
  bool went_aside_ = false;    // work of this node has (Context::Aside)
  std::vector<Tensor> taken_;  // shares that are gradients now
};

class Tape {
 public:
  // Records what is done in the context until it goes out of scope; one at a time.
  explicit Tape(Context& context);
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // Runs backward from a tensor with one element, made by an op on this tape: dL/dL = 1. Each node is freed once used, so a tape runs
  // once; recording may go on behind it, but not from tensors that were made before: their gradients could go no further, which is
  // an error. So add losses that share a part of the network. Gradients of leaves stay in Tensor::gradient(), others are freed. An
  // exception on the way leaves some gradients of leaves with a part of their sum: forget them (ModuleState::forget_gradients).
  void backward(const Tensor& loss);
  size_t size() const { return nodes_.size(); }

 private:
  friend Tensor record(const char*, const std::vector<Tensor>&, Tensor, std::initializer_list<Tensor>, std::function<void(Grads&)>);
  struct Node {
    const char* name;
    std::vector<std::shared_ptr<Variable>> inputs;  // null where no gradient is needed
    std::vector<Shape> shapes;
    std::shared_ptr<Variable> output;
    std::vector<std::pair<Tensor, uint64_t>> saved;  // with the version it had
    std::function<void(Grads&)> backward;
  };
  void run_node(const Node& node, const Variable* loss);
  static void retire(const Node& node);

  Context& context_;
  std::vector<Node> nodes_;
};

// Computes the gradient that a leaf keeps as a product.
void compute_product(Variable& v);

// Ends an op: notes it on the active tape, if there is one and any input needs a gradient, and returns `output` with its
// place in the graph. `saved` lists the tensors the backward function reads: writing to them in place before backward is
// an error there, never a wrong gradient.
Tensor record(const char* name, const std::vector<Tensor>& inputs, Tensor output, std::initializer_list<Tensor> saved, std::function<void(Grads&)> backward);

}  // namespace panvae
