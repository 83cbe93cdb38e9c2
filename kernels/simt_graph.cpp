#include "kernels/simt_graph.h"

#include <cstring>
#include <utility>

namespace panvae::simt::detail {

void Recording::add(const Launch& launch, bool joined) {
  KernelNode kernel{launch, std::make_unique<std::max_align_t[]>(launch.call.bytes / sizeof(std::max_align_t) + 1)};
  std::memcpy(kernel.arguments.get(), launch.call.arguments, launch.call.bytes);
  kernel.launch.call.arguments = kernel.arguments.get();
  add_node(std::move(kernel), joined);
}

void Recording::run(const Node& node) {
  if (const auto* kernel = std::get_if<KernelNode>(&node)) run_launch(kernel->launch);
  else if (const auto* copy = std::get_if<CopyNode>(&node)) std::memmove(copy->to, copy->from, copy->bytes);
  else if (const auto* fill = std::get_if<FillNode>(&node)) std::memset(fill->to, fill->value, fill->bytes);
}

void Recording::run(bool early) const {
  const auto run_joined = [this](size_t first, size_t last) {
    for (size_t i = first; i < last; ++i)
      if (joined_[i]) run(nodes_[i]);
  };
  size_t done = 0;  // late: what the joined stream was told before this node has been done
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (std::holds_alternative<ForkNode>(nodes_[i]) && early) {
      size_t next = i + 1;
      while (next < nodes_.size() && !std::holds_alternative<ForkNode>(nodes_[next])) ++next;
      run_joined(i, next);
    } else if (std::holds_alternative<WaitNode>(nodes_[i]) && !early) {
      run_joined(std::exchange(done, i), i);
    } else if (!joined_[i]) {
      run(nodes_[i]);
    }
  }
}

std::string Recording::describe(const Node& node) {
  if (const auto* kernel = std::get_if<KernelNode>(&node))
    return fmt::format("kernel {} (launched at {})", describe_kernel(kernel->launch), detail::describe(kernel->launch.at));
  if (const auto* copy = std::get_if<CopyNode>(&node)) return fmt::format("a copy of {} bytes", copy->bytes);
  if (const auto* fill = std::get_if<FillNode>(&node)) return fmt::format("a fill of {} bytes", fill->bytes);
  return std::holds_alternative<WaitNode>(node) ? "a wait for the second stream" : "a wait of the second stream";
}

std::string Recording::difference(const KernelNode& a, const KernelNode& b) {
  auto same = [](dim3 x, dim3 y) { return x.x == y.x && x.y == y.y && x.z == y.z; };
  if (a.launch.call.kernel != b.launch.call.kernel) return "is another kernel";
  if (!same(a.launch.grid, b.launch.grid) || !same(a.launch.block, b.launch.block) || a.launch.smem != b.launch.smem) return "has another grid";
  const int parameter = a.launch.call.difference(a.arguments.get(), b.arguments.get());
  return parameter < 0 ? "" : fmt::format("has another argument {}", parameter + 1);
}

std::string Recording::difference(const Recording& other) const {
  for (size_t i = 0; i < std::min(nodes_.size(), other.nodes_.size()); ++i) {
    const Node &a = nodes_[i], &b = other.nodes_[i];
    if (a.index() != b.index()) return fmt::format("{} against {}", describe(a), describe(b));
    std::string how;
    if (const auto* kernel = std::get_if<KernelNode>(&a)) how = difference(*kernel, std::get<KernelNode>(b));
    else if (const auto* copy = std::get_if<CopyNode>(&a)) how = *copy == std::get<CopyNode>(b) ? "" : "has other ends";
    else if (const auto* fill = std::get_if<FillNode>(&a)) how = *fill == std::get<FillNode>(b) ? "" : "has another end or value";
    if (how.empty() && joined_[i] != other.joined_[i]) how = "is another stream's";
    if (!how.empty()) return fmt::format("{} {}", describe(a), how);
  }
  return nodes_.size() == other.nodes_.size() ? "" : fmt::format("{} calls against {}", nodes_.size(), other.nodes_.size());
}

}  // namespace panvae::simt::detail
