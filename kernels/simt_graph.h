// Graphs of simt: launches, copies and fills that were recorded instead of done. What a GPU cannot capture is an error here, too,
// so that code which is to be captured is tested without one.
#pragma once
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "kernels/simt_executor.h"

namespace panvae::simt::detail {

class Recording {
 public:
  void add(const Launch& launch);  // keeps a copy of the arguments, as a GPU does
  void add_copy(void* to, const void* from, size_t bytes) { nodes_.emplace_back(CopyNode{to, from, bytes}); }
  void add_fill(void* to, int value, size_t bytes) { nodes_.emplace_back(FillNode{to, value, bytes}); }
  void run() const;
  std::string difference(const Recording& other) const;
  // What made the capture void, empty if nothing did: the first such thing counts.
  std::string broken_by;

 private:
  struct KernelNode {
    Launch launch;
    std::unique_ptr<std::max_align_t[]> arguments;
  };
  struct CopyNode {
    void* to;
    const void* from;
    size_t bytes;
    bool operator==(const CopyNode&) const = default;
  };
  struct FillNode {
    void* to;
    int value;
    size_t bytes;
    bool operator==(const FillNode&) const = default;
  };
  using Node = std::variant<KernelNode, CopyNode, FillNode>;
  static std::string describe(const Node& node);
  static std::string difference(const KernelNode& a, const KernelNode& b);
  std::vector<Node> nodes_;
};

// What the handle of a stream points to.
struct Queue {
  std::unique_ptr<Recording> recording;  // while it captures
};

}  // namespace panvae::simt::detail
