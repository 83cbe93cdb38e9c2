#include "engine/tape.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "kernels/kernels.h"

namespace panvae {

namespace {

// The shape that tells calls of an op apart: of a loss, whose output is one number, that of its first input.
const Shape& told_by(const Shape& output, const Shape& first_input) {
  return output.count() == 1 ? first_input : output;
}

void check_not_used_up(const Variable& v) {
  PV_CHECK(!v.used_up, "backward: the gradient of {} was used up by the optimizer's step, so nothing can be added to it; call zero_grad() first", v.name);
}

// null where nobody wants the gradient
const std::shared_ptr<Variable>& variable_of(const std::vector<std::shared_ptr<Variable>>& inputs, int input) {
  PV_CHECK(input >= 0 && static_cast<size_t>(input) < inputs.size(), "backward: a gradient of input {} of an op that was recorded with {}", input,
           inputs.size());
  return inputs[static_cast<size_t>(input)];
}

}  // namespace

void compute_product(Variable& v) {
  v.product->check_unchanged(v.name);
  v.product->into(*v.gradient, false);
  v.gradient->bump_version();
  v.product.reset();
  v.written = true;
}

bool Grads::needs(int input) const {
  return variable_of(inputs_, input) != nullptr;
}

void Grads::write_or_add(int input, const std::function<void(Tensor&, bool)>& f) {
  Variable* v = variable_of(inputs_, input).get();
  if (!v) return;
  check_not_used_up(*v);
  const Context::Aside aside(out_.context(), v->leaf && v->hooks.empty());
  went_aside_ = went_aside_ || aside.taken();
  if (v->product) compute_product(*v);
  PV_CHECK(!v->gradient || !v->gradient->outlived(),
           "backward: the memory of the gradient of {} is that of a Step that has ended: give require_gradient() a buffer made outside of steps", v->name);
  if (!v->gradient) v->gradient = std::make_unique<Tensor>(Tensor::empty(out_.context(), shapes_[static_cast<size_t>(input)], out_.dtype(), "gradient"));
  f(*v->gradient, v->written);
  v->gradient->bump_version();  // whoever took the gradient of before into a graph is told
  v->written = true;
}

void Grads::write_product(int input, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b) {
  Variable* v = variable_of(inputs_, input).get();
  if (!v) return;
  const Shape shape{a.size(transpose_a ? 1 : 0), b.size(transpose_b ? 0 : 1)};
  PV_CHECK(shape == shapes_[static_cast<size_t>(input)] && a.size(transpose_a ? 0 : 1) == b.size(transpose_b ? 1 : 0),
           "backward: the product of {}{} and {}{} for an input of shape {}", a.shape().str(), transpose_a ? "^T" : "", b.shape().str(),
           transpose_b ? "^T" : "", shapes_[static_cast<size_t>(input)].str());
  MatrixProduct product(a, transpose_a, b, transpose_b);
  // The only share so far, and nobody looks at the gradient before the optimizer does.
  const bool keep = v->keeps_product && (!v->keeps_best_alone || product.best_kept());
  if (keep && !v->written && !v->product && v->hooks.empty() && !out_.context().nan_guard) {
    check_not_used_up(*v);
    // By these Adam decides whether to take a step. The factors are still in a cache, and beside what follows it costs little to read them.
    const Context::Aside aside(out_.context(), true);
    went_aside_ = went_aside_ || aside.taken();
    dispatch(a.dtype(), "backward", [&]<class T>(T) {
      double* squares = v->factor_squares->data<double>();
      k::sum_squares<T>(out_.context().stream(), a.data<T>(), squares, a.count());
      k::sum_squares<T>(out_.context().stream(), b.data<T>(), squares + 1, b.count());
    });
    v->product = std::make_unique<MatrixProduct>(std::move(product));
    return;
  }
  write_or_add(input, [&](Tensor& gradient, bool accumulate) { product.into(gradient, accumulate); });
}

void Grads::write(int input, const std::function<void(Tensor&)>& f) {
  write_or_add(input, [&](Tensor& gradient, bool accumulate) {
    if (!accumulate) return f(gradient);
    Tensor share = Tensor::empty(gradient.context(), gradient.shape(), gradient.dtype(), "gradient");
    f(share);
    give(input, share);
  });
}

void Grads::give(int input, Tensor share) {
  Variable* v = variable_of(inputs_, input).get();
  if (!v) return;
  const Shape& shape = shapes_[static_cast<size_t>(input)];
  PV_CHECK(share.count() == shape.count() && share.dtype() == out_.dtype(), "backward: a share of shape {} {} for the gradient of an input of shape {} {}",
           share.shape().str(), dtype_name(share.dtype()), shape.str(), dtype_name(out_.dtype()));
  check_same_context("backward", out_, share);
  const bool taken = std::any_of(taken_.begin(), taken_.end(), [&](const Tensor& t) { return t.same_memory(share); });
  if (!v->leaf && !v->written && !taken) {
    taken_.push_back(share);
    if (went_aside_ && share.same_memory(out_)) out_.context().join();  // others may add to it, and it is still read aside
    v->gradient = std::make_unique<Tensor>(share.view(shape));
    v->written = true;
    return;
  }
  write_or_add(input, [&](Tensor& gradient, bool accumulate) {
    dispatch(share.dtype(), "gradient", [&]<class T>(T) {
      Stream& stream = share.context().stream();
      if (accumulate) k::add<T>(stream, gradient.data<T>(), share.data<T>(), gradient.data<T>(), gradient.count());
      else k::copy<T>(stream, share.data<T>(), gradient.data<T>(), gradient.count());
    });
  });
}

void Grads::give_scaled(int input, Tensor share) {
  if (!needs(input)) return;
  if (!out_is_one_) {
    dispatch(share.dtype(), "gradient",
             [&]<class T>(T) { k::scale_by<T>(share.context().stream(), share.data<T>(), out_.data<T>(), share.data<T>(), share.count()); });
  }
  give(input, std::move(share));
}

Tape::Tape(Context& context) : context_(context) {
  PV_CHECK(!context.tape_, "tape: another tape of this context is active");
  context.tape_ = this;
}

Tape::~Tape() {
  context_.tape_ = nullptr;
  for (const Node& node : nodes_) retire(node);
}

// What the node made has no place in a graph any more. Its gradient may hold anything now: ops write in place over what nobody
// reads after them.
void Tape::retire(const Node& node) {
  Variable& v = *node.output;
  v.spent = true;
  v.written = false;
  v.gradient.reset();
}

Tensor record(const char* name, const std::vector<Tensor>& inputs, Tensor output, std::initializer_list<Tensor> saved, std::function<void(Grads&)> backward) {
  Context& context = output.context();
  context.claim_calls(name, told_by(output.shape(), inputs.empty() ? output.shape() : inputs.front().shape()));
  for (const Tensor& t : inputs)
    if (t.defined()) check_same_context(name, output, t);
  if (context.nan_guard) context.check_finite(output, name, "its output");
  bool wanted = false;
  for (const Tensor& t : inputs) wanted = wanted || t.needs_gradient();
  if (!context.tape() || !wanted) return output;
  PV_CHECK(backward, "{}: recorded without a backward function", name);
  for (const Tensor& t : inputs)
    PV_CHECK(
        !t.needs_gradient() || !t.variable()->spent,
        "{}: an input of shape {}, made by {}, belongs to a tape that has run backward or is gone, so no gradient can pass through it: record what made it "
        "on this tape, or detach() it",
        name, t.shape().str(), t.variable()->name);
  Tape::Node node;
  node.name = name;
  for (const Tensor& t : inputs) {
    node.inputs.push_back(t.variable());
    node.shapes.push_back(t.shape());
  }
  node.output = std::make_shared<Variable>();
  node.output->name = name;
  for (const Tensor& t : saved) node.saved.emplace_back(t, t.version());
  node.backward = std::move(backward);
  output.set_variable(node.output);
  context.tape()->nodes_.push_back(std::move(node));
  return output;
}

void Tape::run_node(const Node& node, const Variable* loss) {
  for (const auto& [t, version] : node.saved)
    PV_CHECK(t.version() == version, "{}: a tensor of shape {} that its gradient needs was changed in place after use", node.name, t.shape().str());
  Grads grads(node.inputs, node.shapes, *node.output->gradient, node.output.get() == loss);
  node.backward(grads);
  context_.claim_calls(node.name, told_by(node.output->gradient->shape(), node.shapes.front()), "backward");
  if (!context_.nan_guard) return;
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.inputs[i] && node.inputs[i]->written)
      context_.check_finite(*node.inputs[i]->gradient, node.name, fmt::format("the gradient of input {} ({})", i, node.inputs[i]->name));
}

void Tape::backward(const Tensor& loss) {
  PV_CHECK(loss.count() == 1, "backward: the loss has shape {}, not one element", loss.shape().str());
  PV_CHECK(loss.variable(), "backward: the loss does not depend on a parameter recorded on this tape");
  PV_CHECK(std::any_of(nodes_.rbegin(), nodes_.rend(), [&](const Node& n) { return n.output == loss.variable(); }),
           "backward: the loss was not made by an op on this tape, or the tape has run since: a tape runs once");
  Tensor one = Tensor::empty(context_, loss.shape(), loss.dtype(), "gradient");
  dispatch(loss.dtype(), "backward", [&]<class T>(T) { k::fill<T>(context_.stream(), one.data<T>(), 1, T(1)); });
  context_.claim_calls("seed of backward", loss.shape());
  loss.variable()->gradient = std::make_unique<Tensor>(one);
  loss.variable()->written = true;
  std::vector<Node> nodes = std::move(nodes_);
  nodes_.clear();
  std::unordered_map<Variable*, int> uses;  // of leaves: a gradient is complete after the last node that adds to it
  for (const Node& node : nodes)
    for (const auto& v : node.inputs)
      if (v && v->leaf) ++uses[v.get()];
  Tape* const recording = std::exchange(context_.tape_, nullptr);  // backward functions record nothing
  try {
    while (!nodes.empty()) {
      const Node& node = nodes.back();
      if (node.output->written) run_node(node, loss.variable().get());  // else it is not on a path to the loss
      for (const auto& v : node.inputs)
        if (v && v->leaf && --uses[v.get()] == 0 && v->written)
          for (const auto& hook : v->hooks) hook(*v->gradient);
      retire(node);
      nodes.pop_back();
    }
    context_.join();
  } catch (...) {
    for (const Node& node : nodes) retire(node);
    context_.tape_ = recording;
    throw;
  }
  context_.tape_ = recording;
}

}  // namespace panvae
