// Seconds of a call: samples of it until their median is known well enough.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "bench/statistics.h"
#include "kernels/device.h"

namespace panvae::bench {

struct Limits {
  double seconds = 1;       // after so long a row ends, known or not
  double precision = 0.01;  // half-width of the median's interval at which it is known
};

// What is timed. `call` is queued on the stream again and again; `tidy` runs after each sample of so many calls, outside the
// clock, and may be empty.
struct Work {
  std::function<void()> call;
  std::function<void(int64_t calls)> tidy;
};

// On cpu and simt the steady clock; on cuda a pair of events behind a delay, under which the calls are queued, so that
// launching does not count. Short calls are timed several at a time.
Summary time_calls(Stream& stream, const Limits& limits, const Work& work);

// Of each of several works, on cpu: they take turns of a twentieth of the time, so that a machine whose speed changes is the
// same for all. The first decides when that is enough. Threads of OpenMP, which BLAS has, keep a core busy for some milliseconds
// when there is no more for them to do: works that do not share their threads `rest` so many seconds before a turn, and begin it
// with a call that is not timed.
std::vector<Summary> time_in_turns(Stream& stream, const Limits& limits, const std::vector<Work>& works, double rest = 0);

// The same calls as one CUDA graph of `calls` of them, seconds of one. Only on cuda.
Summary time_graph(Stream& stream, const Limits& limits, const Work& work, int calls);

}  // namespace panvae::bench
