// One row: checked, then timed.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/plain.h"
#include "bench/rows.h"

namespace panvae::bench {

// Bytes that calls go round in before they come back to the same: eight times the last-level cache. At three times it, caches
// that do not simply drop the oldest line still serve a fifth of them.
int64_t cold_bytes(Stream& stream);

// A row's call and copies of it, in buffers of more than `cold` bytes together: taken in turn, no call finds its data in the
// cache. Where `memory` bytes or a few thousand copies are not enough for that, and where `cold` is 0, the same buffers serve
// every call.
class Rotation {
 public:
  // Makes the call and checks what came out, a sample of each output. Copies are made where nothing was wrong.
  Rotation(Stream& stream, const Row& row, int64_t cold, int64_t memory);
  const std::vector<std::string>& failures() const { return failures_; }
  bool declined() const { return declined_; }   // a library that cannot compute this: nothing was checked
  int64_t checked() const { return checked_; }  // elements compared
  size_t copies() const { return calls_.size(); }
  bool hot() const { return hot_; }  // not cold
  Work work();
  // The plain loop over the same buffers, likewise in turn; none where the row moves other bytes than its buffers have.
  std::optional<Work> plain(const Row& row);

 private:
  template <class T>
  void make(Stream& stream, const Row& row);
  std::vector<std::unique_ptr<cases::Calls>> calls_;
  std::vector<PlainLoop> plain_;
  std::vector<std::string> failures_;
  int64_t checked_ = 0;
  bool hot_ = false, declined_ = false;
  size_t next_ = 0, next_plain_ = 0, since_restored_ = 0;
};

struct Measurement {
  std::vector<std::string> failures;  // if any, nothing was timed
  int64_t checked = 0;
  size_t copies = 0;
  bool declined = false, hot = false, noisy = false;
  Summary time;
  std::optional<Summary> graph;  // on cuda, of calls below 50 us
  std::optional<Summary> plain;  // on cpu, cold: the plain loop over the row's buffers
  std::optional<Summary> blas;   // on cpu: a product by BLAS alone
};

Measurement measure(Stream& stream, const Row& row, const Options& options);

}  // namespace panvae::bench
