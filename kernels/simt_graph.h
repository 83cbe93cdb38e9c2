// Graphs of simt: launches, copies and fills that were recorded instead of done. What a GPU cannot capture is an error here, too,
// so that code which is to be captured is tested without one.
//
// A stream may join the capture of another (Backend::order). A GPU may run what the two were told at the same time, in any order that
// the waits between them leave open. Here what the joined stream was told is done as late as they allow, and with every second launch of
// a stream as early. What must have waited for it and did not, or has overwritten what it reads, shows late; what it must have waited
// for itself, or overwrites before others have read it, early: as other bits than those of the same calls one after the other.
#pragma once
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "kernels/simt_executor.h"

namespace panvae::simt::detail {

class Recording {
 public:
  // `joined`: by the stream that has joined the one that captures.
  void add(const Launch& launch, bool joined);  // keeps a copy of the arguments, as a GPU does
  void add_copy(void* to, const void* from, size_t bytes, bool joined) { add_node(CopyNode{to, from, bytes}, joined); }
  void add_fill(void* to, int value, size_t bytes, bool joined) { add_node(FillNode{to, value, bytes}, joined); }
  // The stream that captures waits for the joined one; the joined one for what the other has been told so far.
  void wait() { add_node(WaitNode{}, false), waited_ = true; }
  void fork() { add_node(ForkNode{}, false); }
  bool waited() const { return waited_; }  // for all that the joined stream was told
  void run(bool early) const;
  std::string difference(const Recording& other) const;
  bool open = true;  // it still records
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
  struct WaitNode {};
  struct ForkNode {};
  using Node = std::variant<KernelNode, CopyNode, FillNode, WaitNode, ForkNode>;
  template <class N>
  void add_node(N node, bool joined) {
    nodes_.emplace_back(std::move(node));
    joined_.push_back(joined);
    if (joined) waited_ = false;
  }
  static void run(const Node& node);
  static std::string describe(const Node& node);
  static std::string difference(const KernelNode& a, const KernelNode& b);
  std::vector<Node> nodes_;
  std::vector<bool> joined_;  // of each node, whether the joined stream was told
  bool waited_ = true;
};

// What the handle of a stream points to.
struct Queue {
  std::shared_ptr<Recording> recording;  // while it captures
  std::weak_ptr<Recording> joined;       // of the stream whose capture it has joined
  unsigned launches = 0;                 // of graphs
  Recording* current() const {
    if (recording) return recording.get();
    const std::shared_ptr<Recording> other = joined.lock();
    return other && other->open ? other.get() : nullptr;
  }
};

}  // namespace panvae::simt::detail
