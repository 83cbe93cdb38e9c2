// What the kernels of a stream cost: time, bytes and operations of every call, while a profile is set on it
// (Stream::profile). Without one a call costs a comparison with null.
#pragma once
#include <array>
#include <chrono>
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
  };
  // Calls of one kernel with one set of sizes.
  struct Row {
    std::string name;  // "matmul NT 256 x 1024 x 19421"
    int64_t calls = 0;
    double seconds = 0, bytes = 0, flops = 0;  // sums
  };
  // Rows by time, the longest first. settle() was called for all streams, or they are gone.
  std::vector<Row> rows() const;
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

 private:
  void add(const char* kernel, const Work& work, double begin, double seconds);
  struct Pending {
    const char* kernel;
    Work work;
    void *first, *last;  // events
  };
  using Key = std::pair<std::pair<const char*, const char*>, std::array<int64_t, 5>>;

  std::chrono::steady_clock::time_point start_;
  double finished_ = -1;
  Device device_;
  MathMode math_ = MathMode::ieee;
  std::map<Key, Row> rows_;
  std::vector<Call> calls_;
  int64_t seen_ = 0;
  std::deque<Pending> pending_;
  void* origin_ = nullptr;  // event of the first call on cuda
  // The call at work.
  const char* kernel_ = nullptr;
  Work work_;
  double begin_ = 0;
  void* first_ = nullptr;
};

}  // namespace panvae
