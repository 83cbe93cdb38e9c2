// The ceiling of moving what a row moves: a loop that does nothing else, over the row's own buffers. The triad of large
// arrays in place is no measure of a few megabytes, nor of an output beside its input, whose lines are fetched before they
// are written.
#pragma once
#include <cstdint>
#include <vector>

namespace panvae::bench {

// Memory of a call, and what becomes of it.
struct Span {
  char* data;
  int64_t bytes;
  bool read, written;
};

// Reads each span that is read once and writes each that is written once, all of them together from begin to end, by the
// threads and in the chunks of an elementwise kernel. What is only written holds rubbish afterwards; the rest is as before.
class PlainLoop {
 public:
  explicit PlainLoop(std::vector<Span> spans);
  double bytes() const;  // that a pass moves
  void pass();

 private:
  std::vector<Span> spans_;       // without those that are small beside the largest
  int64_t blocks_ = 0;            // of the largest
  std::vector<uint64_t> checks_;  // of what the chunks have read: no load can be left out
};

}  // namespace panvae::bench
