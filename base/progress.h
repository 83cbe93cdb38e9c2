// Progress of long work: how far, how fast, how long still. Shown by the program on a terminal; silent in the library.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace panvae {

struct ProgressState {
  std::string title, unit, note;
  int64_t done = 0, total = 0;  // total 0: unknown
  double seconds = 0, rate = 0, seconds_left = -1;
  bool finished = false;
};
using ProgressSink = std::function<void(const ProgressState&)>;
ProgressSink set_progress_sink(ProgressSink sink);

class Progress {
 public:
  Progress(std::string title, int64_t total, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // Cheap: the sink is called at most ten times a second. Call it from one thread.
  void advance(int64_t n = 1, std::string note = {});

 private:
  void emit();
  ProgressState state_;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace panvae
