// What the kernels of a stream cost: time, bytes and operations of every call, while a profile is set on it
// (Stream::profile), by kernel and by the operation that called them. Without one a call costs a comparison with null.
#pragma once
#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device.h"

namespace panvae {

// Of one call: the fewest bytes that move, operations, and what tells calls of a kernel apart.
struct Work {
  double bytes = 0, flops = 0;
  std::array<int64_t, 5> sizes = {};  // 0 behind the last
  const char* variant = "";           // of products which operand is transposed
  bool reads_only = false;            // next to nothing is written: another bandwidth is the ceiling
};

// On cpu and simt a call is done when it returns, and is timed by the steady clock. On cuda a pair of events stands around
// each call; a span on the device's own clock, so it does not count what the host waits.
class Profile {
 public:
  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  struct Call {
    const char* kernel;
    Work work;
    double begin, seconds;  // on cpu and simt since the profile was made; on cuda since the first call
    size_t op;              // place in op_names()
    int64_t claim;          // equal for the calls of one operation
  };
  // Calls of one kernel with one set of sizes.
  struct Row {
    std::string name;  // "matmul NT 256 x 1024 x 19421"
    int64_t calls = 0;
    double seconds = 0, bytes = 0, flops = 0;  // sums
    bool reads_only = false;
  };
  // Rows by time, the longest first. settle() was called for all streams, or they are gone.
  std::vector<Row> rows() const;
  // An operation, such as "linear [256, 1024] backward", with its kernels. Calls that no operation claimed go under the name of
  // their kernel.
  struct Op {
    std::string name;
    int64_t calls = 0;
    double seconds = 0;
    std::vector<Row> kernels;  // by time
  };
  std::vector<Op> ops() const;  // likewise by time
  const std::vector<std::string>& op_names() const { return op_names_; }
  double seconds_in_kernels() const;
  // The first so many calls, for a trace; all of them count in rows().
  const std::vector<Call>& calls() const { return calls_; }
  int64_t calls_seen() const { return seen_; }
  static constexpr size_t kMostCalls = 200000;
  // Since the profile was made; until finish() was called.
  double seconds() const;
  void finish() { finished_ = seconds(); }
  // Of the calls.
  Device device() const { return device_; }
  MathMode math() const { return math_; }

  // Called by kernels.h around each call, and by the stream when it ends or is asked for results.
  void begin(Stream& stream, const char* kernel, const Work& work);
  void end(Stream& stream);
  void settle(Stream& stream);
  // Claims the calls since the last claim for the operation of this name, which is done. An operation that called nothing counts, too.
  void claim(const std::string& op);

 private:
  struct Pending {
    const char* kernel;
    Work work;
    double begin, seconds;  // not on cuda
    void *first, *last;     // events, on cuda
    size_t op;
    int64_t claim;
  };
  static constexpr size_t kUnclaimed = static_cast<size_t>(-1);
  void drain(Stream& stream, size_t count);  // the oldest
  void add(const Pending& call, double begin, double seconds);
  size_t op_number(const std::string& name);
  struct Key {
    size_t op;
    const char *kernel, *variant;
    std::array<int64_t, 5> sizes;
    auto operator<=>(const Key&) const = default;
  };

  std::chrono::steady_clock::time_point start_;
  double finished_ = -1;
  Device device_;
  MathMode math_ = MathMode::ieee;
  std::map<Key, Row> rows_;
  std::vector<std::string> op_names_;
  std::vector<int64_t> op_calls_;  // beside op_names_
  std::map<std::string, size_t> op_numbers_;
  std::vector<Call> calls_;
  int64_t seen_ = 0;
  std::deque<Pending> pending_;  // not yet claimed, or on cuda not yet timed
  size_t unclaimed_ = 0;         // of them, at the end
  int64_t claims_ = 0;
  void* origin_ = nullptr;  // event of the first call on cuda
  // The call at work.
  const char* kernel_ = nullptr;
  Work work_;
  double begin_ = 0;
  void* first_ = nullptr;
};

}  // namespace panvae
