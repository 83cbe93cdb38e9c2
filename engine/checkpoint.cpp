#include "engine/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "engine/context.h"
#include "engine/padding.h"

namespace panvae {

namespace {

std::vector<int64_t> sizes_of(const Shape& shape) {
  std::vector<int64_t> sizes;
  for (int i = 0; i < shape.rank(); ++i) sizes.push_back(shape[i]);
  return sizes;
}

}  // namespace

void TensorWriter::add(const std::string& name, const Tensor& t) {
  const void* bytes = t.bytes();
  if (t.context().device().type == DeviceType::cuda || t.of_step()) {  // a step's memory is the next step's, too
    std::vector<char>& copy = copies_.emplace_back(static_cast<size_t>(t.count() * item_bytes(t.dtype())));
    Stream& s = t.context().stream();
    s.backend().copy(s.device().index, copy.data(), t.bytes(), copy.size(), CopyKind::device_to_host, s.handle());
    bytes = copy.data();
  }
  kept_.push_back(t);
  file.add(name, dtype_name(t.dtype()), sizes_of(t.shape()), bytes);
}

template <class T>
void TensorWriter::add_values(const std::string& name, const Shape& shape, const std::vector<T>& values) {
  const char* bytes = reinterpret_cast<const char*>(values.data());
  std::vector<char>& copy = copies_.emplace_back(bytes, bytes + values.size() * sizeof(T));
  file.add(name, dtype_name(dtype_of<T>()), sizes_of(shape), copy.data());
}

void TensorWriter::add_flat(const std::string& name, const ModuleState& state, const Tensor& flat) {
  if (!state.padded()) return add(name, flat);
  dispatch(flat.dtype(), "weights", [&]<class T>(T) { add_values(name, {state.unpadded_count()}, state.unpadded<T>(flat)); });
}

void TensorWriter::add(const ModuleState& state, const std::string& prefix) {
  for (const auto& e : state.entries()) {
    if (!e.padded()) add(prefix + e.name, e.tensor);
    else dispatch(e.tensor.dtype(), "weights", [&]<class T>(T) { add_values(prefix + e.name, e.used, used_values<T>(e.tensor, e.used)); });
  }
  for (const auto& e : state.buffer_entries()) add(prefix + e.name, e.tensor);
}

namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

// "" if the stored tensor fits
std::string mismatch(const TensorInfo& stored, DType dtype, const Shape& shape) {
  if (stored.dtype == dtype_name(dtype) && stored.shape == sizes_of(shape)) return "";
  return fmt::format("{} {} in the file, {} {} in the model", stored.dtype, shape_text(stored.shape), dtype_name(dtype), shape.str());
}

void check(const SafetensorsReader& file, const std::string& name, DType dtype, const Shape& shape) {
  if (const std::string wrong = mismatch(file.at(name), dtype, shape); !wrong.empty())
    fail_input("tensor " + quoted(name) + ": " + wrong, quoted(file.path(), 400), "it belongs to another model");
}

// In memory that is aligned, as that of a file need not be.
template <class T>
std::vector<T> values_of(const TensorInfo& stored) {
  std::vector<T> values(static_cast<size_t>(stored.bytes) / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), stored.data, values.size() * sizeof(T));
  return values;
}

void fill(const TensorInfo& stored, Tensor& t) {
  Stream& s = t.context().stream();
  s.backend().copy(s.device().index, t.bytes(), stored.data, static_cast<size_t>(stored.bytes), CopyKind::host_to_device, s.handle());
  t.bump_version();
}

}  // namespace

void read_tensor(const SafetensorsReader& file, const std::string& name, Tensor& t) {
  check(file, name, t.dtype(), t.shape());
  fill(file.at(name), t);
}

void read_flat(const SafetensorsReader& file, const std::string& name, const ModuleState& state, Tensor& flat) {
  if (!state.padded()) return read_tensor(file, name, flat);
  check(file, name, flat.dtype(), {state.unpadded_count()});
  dispatch(flat.dtype(), "weights", [&]<class T>(T) { state.pad(values_of<T>(file.at(name)), flat); });
}

void read_state(const SafetensorsReader& file, ModuleState& state, const std::string& prefix, const std::vector<std::string>& ignored) {
  std::map<std::string, ModuleState::Entry> wanted;
  for (const auto& e : state.entries()) wanted.emplace(prefix + e.name, e);
  for (const auto& e : state.buffer_entries()) wanted.emplace(prefix + e.name, e);
  std::vector<std::string> problems;
  for (const auto& [name, e] : wanted) {
    auto it = file.tensors().find(name);
    if (it == file.tensors().end()) problems.push_back("missing " + quoted(name));
    else if (const std::string wrong = mismatch(it->second, e.tensor.dtype(), e.used); !wrong.empty()) problems.push_back(quoted(name) + ": " + wrong);
  }
  for (const auto& [name, info] : file.tensors()) {
    const bool ours =
        name.rfind(prefix, 0) == 0 && std::none_of(ignored.begin(), ignored.end(), [&, &n = name](const std::string& p) { return n.rfind(p, 0) == 0; });
    if (ours && !wanted.count(name)) problems.push_back("extra " + quoted(name));
  }
  if (!problems.empty()) {
    std::string list;
    for (size_t i = 0; i < problems.size(); ++i) list += (i ? "; " : "") + problems[i];
    fail_input(fmt::format("weights do not fit the model: {}", list), quoted(file.path(), 400), "the file belongs to another model or configuration");
  }
  for (auto& [name, e] : wanted) {
    const TensorInfo& stored = file.at(name);
    if (!e.padded()) fill(stored, e.tensor);
    else dispatch(e.tensor.dtype(), "weights", [&]<class T>(T) { set_used_values(e.tensor, e.used, values_of<T>(stored).data()); });
  }
}

}  // namespace panvae
