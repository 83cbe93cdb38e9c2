#include "engine/module.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/padding.h"
#include "engine/tape.h"
#include "kernels/kernels.h"

namespace panvae {

void Module::declare_parameter(std::string name, Tensor& slot, Shape shape, Init init) {
  declare_parameter(std::move(name), slot, shape, init, shape);
}
void Module::declare_parameter(std::string name, Tensor& slot, Shape shape, Init init, Shape used) {
  PV_CHECK(used.rank() == shape.rank() && (used == shape || shape.rank() <= 2), "module: {} of shape {} holds {}", name, shape.str(), used.str());
  for (int i = 0; i < shape.rank(); ++i) PV_CHECK(used[i] <= shape[i], "module: {} of shape {} holds {}", name, shape.str(), used.str());
  parameters_.push_back({std::move(name), &slot, shape, init, used});
}
void Module::declare_buffer(std::string name, Tensor& slot, Shape shape, Init init) {
  buffers_.push_back({std::move(name), &slot, shape, init, shape});
}
void Module::declare_module(std::string name, Module& child) {
  children_.emplace_back(std::move(name), &child);
}

void Module::check_has_memory(const char* layer, const Tensor& declared) {
  PV_CHECK(declared.defined(), "{}: used before its parameters have memory: make a ModuleState of it, or of the module that declares it", layer);
}

void Module::set_training(bool training) {
  training_ = training;
  for (auto& [name, child] : children_) child->set_training(training);
}

void Module::collect(const std::string& prefix, bool buffers, std::vector<std::pair<std::string, Declared>>& out) const {
  for (const Declared& d : buffers ? buffers_ : parameters_) out.emplace_back(prefix + d.name, d);
  for (const auto& [name, child] : children_) child->collect(prefix + name + ".", buffers, out);
}

void Module::check_not_constant(const char* what) const {
  PV_CHECK(constants_ == 0, "module: {} while a part of the module is Constant: do it before, or afterwards", what);
  for (const auto& [name, child] : children_) child->check_not_constant(what);
}

std::vector<NamedTensor> Module::parameters(const std::string& prefix) {
  std::vector<std::pair<std::string, Declared>> all;
  collect(prefix, false, all);
  std::vector<NamedTensor> out;
  for (auto& [name, d] : all) out.push_back({name, d.slot, d.init, d.used});
  return out;
}

std::vector<NamedTensor> Module::buffers(const std::string& prefix) {
  std::vector<std::pair<std::string, Declared>> all;
  collect(prefix, true, all);
  std::vector<NamedTensor> out;
  for (auto& [name, d] : all) out.push_back({name, d.slot, d.init, d.used});
  return out;
}

namespace {

constexpr int64_t kAlignElements = 16;  // 64 bytes of f32

int64_t aligned(int64_t count) {
  return (count + kAlignElements - 1) / kAlignElements * kAlignElements;
}

// Moves dense rows at the beginning of `view` to their places, with zeros behind them. From the last row on: no place begins before
// the rows that have yet to move. Some at a time, by way of a second place: a row may overlap its own.
template <class T>
void spread(Context& context, Tensor& view, const PaddedRows& rows) {
  constexpr int64_t kBytesAtATime = int64_t{1} << 20;
  const int64_t most = std::clamp<int64_t>(kBytesAtATime / (rows.stride * static_cast<int64_t>(sizeof(T))), 1, rows.count);
  const Tensor some = Tensor::zeros(context, {most, rows.stride}, view.dtype(), "initial weights");
  for (int64_t end = rows.count, n; end > 0; end -= n) {
    n = std::min(most, end);
    const int64_t first = end - n;
    k::copy_strided<T>(context.stream(), view.data<T>() + first * rows.columns, rows.columns, some.data<T>(), rows.stride, n, rows.columns, false);
    view.part(first * rows.stride, {n, rows.stride}).assign(some.part(0, {n, rows.stride}));
  }
}

template <class T>
void start(Context& context, Tensor& view, const Init& init, const Shape& used, const PhiloxKey& key) {
  const T bound = static_cast<T>(init.bound);
  // The numbers that are drawn are those of a tensor without padding.
  if (init.kind == Init::Kind::uniform) k::random_uniform<T>(context.stream(), view.data<T>(), used.count(), -bound, bound, key);
  else k::fill<T>(context.stream(), view.data<T>(), used.count(), bound);
  if (const PaddedRows rows(view.shape(), used); !rows.dense()) spread<T>(context, view, rows);
}

}  // namespace

ModuleState::ModuleState(Context& context, Module& module, uint64_t seed, DType dtype) : context_(&context), module_(&module) {
  PV_CHECK(!context.memory().in_step(), "module: its memory cannot be made within a step");
  module.check_not_constant("a state is made");
  std::set<std::string> names;
  std::map<const Tensor*, std::string> name_of;
  for (const bool buffers : {false, true}) {
    std::vector<std::pair<std::string, Module::Declared>> all;
    module.collect("", buffers, all);
    for (const auto& [name, d] : all) {
      PV_CHECK(names.insert(name).second, "module: two tensors have the name {}", name);
      const auto [first, is_new] = name_of.emplace(d.slot, name);
      PV_CHECK(is_new, "module: {} and {} are one tensor: declare what is shared in one place alone", first->second, name);
    }
    int64_t total = 0;
    std::vector<int64_t> offsets;
    for (const auto& [name, d] : all) {
      offsets.push_back(total);
      total += aligned(d.shape.count());
    }
    Tensor flat = Tensor::zeros(context, {total}, dtype, buffers ? "buffers" : "parameters");
    std::vector<Entry>& entries = buffers ? buffer_entries_ : entries_;
    for (size_t i = 0; i < all.size(); ++i) {
      const auto& [name, d] = all[i];
      Tensor view = flat.part(offsets[i], d.shape);
      dispatch(dtype, "module", [&]<class T>(T) { start<T>(context, view, d.init, d.used, PhiloxKey{seed, static_cast<uint32_t>(i), kInitStep}); });
      *d.slot = view;
      entries.push_back({name, view, offsets[i], d.used});
      if (!buffers) slots_.push_back(d.slot);
    }
    (buffers ? buffers_ : parameters_) = flat;
    context.claim_calls("initial weights", flat.shape());
  }
}

void ModuleState::require_gradients() {
  if (gradients_.defined()) return;
  PV_CHECK(!context_->memory().in_step(), "module: gradients, or an optimizer, cannot be made within a step: their memory would be gone with it");
  check_in_use();
  module_->check_not_constant("gradients are asked for");
  gradients_ = Tensor::empty(*context_, parameters_.shape(), parameters_.dtype(), "gradients");
  factor_squares_ = Tensor::empty(*context_, {static_cast<int64_t>(entries_.size()), 2}, DType::f64, "gradients");
  for (size_t i = 0; i < entries_.size(); ++i) {
    Entry& e = entries_[i];
    const int64_t end = e.offset + e.tensor.count(), next = i + 1 < entries_.size() ? entries_[i + 1].offset : gradients_.count();
    dispatch(gradients_.dtype(), "module", [&]<class T>(T) { k::fill<T>(context_->stream(), gradients_.part(end, {next - end}).data<T>(), next - end, T(0)); });
    e.tensor.require_gradient(e.name, gradients_.part(e.offset, e.tensor.shape()));
    e.tensor.variable()->factor_squares = std::make_unique<Tensor>(factor_squares_.part(2 * static_cast<int64_t>(i), {2}));
    *slots_[i] = e.tensor;
  }
  keep_products(kept_products_);
}

void ModuleState::release_gradients() {
  module_->check_not_constant("gradients are released");
  gradients_ = factor_squares_ = Tensor();
  for (size_t i = 0; i < entries_.size(); ++i) {
    entries_[i].tensor = entries_[i].tensor.detach();
    if (slots_[i]->same_memory(parameters_)) *slots_[i] = entries_[i].tensor;  // else the module is another state's
  }
}

void ModuleState::check_in_use() const {
  for (size_t i = 0; i < entries_.size(); ++i)
    PV_CHECK(slots_[i]->same_memory(parameters_), "module: {} was put into another ModuleState since: what this one would train, its module does not use",
             entries_[i].name);
}

void ModuleState::forget_gradients() {
  PV_CHECK(gradients_.defined(), "module: there are no gradients: call require_gradients(), or make an optimizer, before");
  for (Entry& e : entries_) {
    Variable& v = *e.tensor.variable();
    v.written = v.used_up = false;
    v.product.reset();
  }
}

void ModuleState::keep_products(KeptProducts which) {
  kept_products_ = which;
  if (!gradients_.defined()) return;
  const int64_t smallest = context_->device().type == DeviceType::cuda ? MatrixProduct::kSmallestKeptOnCuda : 0;
  for (Entry& e : entries_) {
    Variable& v = *e.tensor.variable();
    v.keeps_product = which != KeptProducts::none && e.tensor.count() >= smallest;
    v.keeps_best_alone = which == KeptProducts::best;
  }
  k::fill<double>(context_->stream(), factor_squares_.data<double>(), factor_squares_.count(), 0.0);
}

void ModuleState::settle_gradients(bool products_too) {
  PV_CHECK(gradients_.defined(), "module: there are no gradients: call require_gradients(), or make an optimizer, before");
  check_in_use();
  for (Entry& e : entries_) {
    Variable& v = *e.tensor.variable();
    PV_CHECK(!v.used_up, "the gradient of {} was used up by the optimizer's step; call zero_grad() and run backward again", e.name);
    if (v.product && (products_too || v.product->a.same_memory(parameters_) || v.product->b.same_memory(parameters_))) compute_product(v);
    if (v.written || v.product) continue;
    dispatch(e.tensor.dtype(), "module", [&]<class T>(T) { k::fill<T>(context_->stream(), v.gradient->data<T>(), v.gradient->count(), T(0)); });
    v.gradient->bump_version();
  }
}

int64_t ModuleState::parameter_count() const {
  int64_t n = 0;
  for (const Entry& e : entries_) n += e.used.count();
  return n;
}

bool ModuleState::padded() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const Entry& e) { return e.padded(); });
}

int64_t ModuleState::unpadded_count() const {
  int64_t n = 0;
  for (const Entry& e : entries_) n += aligned(e.used.count());
  return n;
}

template <class T>
std::vector<T> ModuleState::unpadded(const Tensor& flat) const {
  std::vector<T> values = flat.host<T>();
  if (!padded()) return values;
  std::vector<T> out(static_cast<size_t>(unpadded_count()));
  T* to = out.data();
  for (const Entry& e : entries_) {
    PaddedRows(e.tensor.shape(), e.used).take(values.data() + e.offset, to);
    to += aligned(e.used.count());
  }
  return out;
}

template std::vector<float> ModuleState::unpadded(const Tensor&) const;
template std::vector<double> ModuleState::unpadded(const Tensor&) const;

template <class T>
void ModuleState::pad(const std::vector<T>& unpadded, Tensor& flat) const {
  PV_CHECK(static_cast<int64_t>(unpadded.size()) == unpadded_count() && flat.shape() == parameters_.shape(), "module: {} values for a flat tensor of {}",
           unpadded.size(), unpadded_count());
  std::vector<T> values(static_cast<size_t>(flat.count()));
  const T* from = unpadded.data();
  for (const Entry& e : entries_) {
    PaddedRows(e.tensor.shape(), e.used).put(from, values.data() + e.offset);
    from += aligned(e.used.count());
  }
  flat.upload(values.data(), flat.count());
  flat.bump_version();
}
template void ModuleState::pad(const std::vector<float>&, Tensor&) const;
template void ModuleState::pad(const std::vector<double>&, Tensor&) const;

}  // namespace panvae
