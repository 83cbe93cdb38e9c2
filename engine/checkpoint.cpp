#include "engine/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "engine/context.h"

namespace panvae {

void TensorWriter::add(const std::string& name, const Tensor& t) {
  std::vector<int64_t> shape;
  for (int i = 0; i < t.rank(); ++i) shape.push_back(t.size(i));
  const void* bytes = t.bytes();
  if (t.context().device().type == DeviceType::cuda) {
    std::vector<char>& copy = copies_.emplace_back(static_cast<size_t>(t.count() * item_bytes(t.dtype())));
    Stream& s = t.context().stream();
    s.backend().copy(s.device().index, copy.data(), t.bytes(), copy.size(), CopyKind::device_to_host, s.handle());
    bytes = copy.data();
  }
  kept_.push_back(t);
  file.add(name, dtype_name(t.dtype()), std::move(shape), bytes);
}

void TensorWriter::add(const ModuleState& state, const std::string& prefix) {
  for (const auto& e : state.entries()) add(prefix + e.name, e.tensor);
  for (const auto& e : state.buffer_entries()) add(prefix + e.name, e.tensor);
}

namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

// "" if the stored tensor fits
std::string mismatch(const TensorInfo& stored, const Tensor& t) {
  bool same = static_cast<int>(stored.shape.size()) == t.rank() && stored.dtype == dtype_name(t.dtype());
  for (int i = 0; same && i < t.rank(); ++i) same = stored.shape[static_cast<size_t>(i)] == t.size(i);
  if (same) return "";
  return fmt::format("{} {} in the file, {} {} in the model", stored.dtype, shape_text(stored.shape), dtype_name(t.dtype()), t.shape().str());
}

void fill(const TensorInfo& stored, Tensor& t) {
  Stream& s = t.context().stream();
  s.backend().copy(s.device().index, t.bytes(), stored.data, static_cast<size_t>(stored.bytes), CopyKind::host_to_device, s.handle());
  t.bump_version();
}

}  // namespace

void read_tensor(const SafetensorsReader& file, const std::string& name, Tensor& t) {
  const TensorInfo& stored = file.at(name);
  if (const std::string wrong = mismatch(stored, t); !wrong.empty())
    fail_input("tensor " + quoted(name) + ": " + wrong, quoted(file.path(), 400), "it belongs to another model");
  fill(stored, t);
}

void read_state(const SafetensorsReader& file, ModuleState& state, const std::string& prefix, const std::vector<std::string>& ignored) {
  std::map<std::string, Tensor> wanted;
  for (const auto& e : state.entries()) wanted.emplace(prefix + e.name, e.tensor);
  for (const auto& e : state.buffer_entries()) wanted.emplace(prefix + e.name, e.tensor);
  std::vector<std::string> problems;
  for (const auto& [name, t] : wanted) {
    auto it = file.tensors().find(name);
    if (it == file.tensors().end()) problems.push_back("missing " + quoted(name));
    else if (const std::string wrong = mismatch(it->second, t); !wrong.empty()) problems.push_back(quoted(name) + ": " + wrong);
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
  for (auto& [name, t] : wanted) fill(file.at(name), t);
}

}  // namespace panvae
