#include "bench/timing.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace panvae::bench {

namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr size_t kFewestSamples = 7, kMostSamples = 100000;
constexpr double kTurns = 20;
// Long enough that reading the clock is below 1 %: some 30 ns of steady_clock, half a microsecond of an event.
constexpr double kShortestOnHost = 10e-6, kShortestOnCard = 100e-6;

double seconds_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

class Stopwatch {
 public:
  explicit Stopwatch(Stream& stream) : stream_(stream) {
    if (on_card()) {
      begin_ = stream.backend().event_create(stream.device().index);
      end_ = stream.backend().event_create(stream.device().index);
    }
  }
  ~Stopwatch() {
    if (begin_) stream_.backend().event_destroy(begin_);
    if (end_) stream_.backend().event_destroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  bool on_card() const { return stream_.type() == DeviceType::cuda; }

  // Seconds of `calls` calls, one after the other.
  double time(int64_t calls, const std::function<void()>& call) {
    if (on_card()) return time_on_card(calls, call);
    const auto begin = SteadyClock::now();
    for (int64_t i = 0; i < calls; ++i) call();
    return seconds_since(begin);
  }

 private:
  double time_on_card(int64_t calls, const std::function<void()>& call) {
    const Backend& backend = stream_.backend();
    for (;;) {
      backend.delay(stream_.device().index, delay_ * 1e6, stream_.handle());
      const auto queued = SteadyClock::now();
      backend.event_record(begin_, stream_.handle());
      for (int64_t i = 0; i < calls; ++i) call();
      backend.event_record(end_, stream_.handle());
      const double needed = seconds_since(queued);
      stream_.synchronize();
      const double seconds = static_cast<double>(backend.event_milliseconds(begin_, end_)) * 1e-3;
      // The card was not kept waiting; or the calls are so long that it did not matter.
      if (needed < 0.8 * delay_ || needed < 0.01 * seconds || delay_ >= kLongestDelay) return seconds;
      delay_ = std::min(kLongestDelay, 2 * std::max(needed, delay_));
    }
  }

  static constexpr double kLongestDelay = 10e-3;
  Stream& stream_;
  void *begin_ = nullptr, *end_ = nullptr;
  double delay_ = 50e-6;
};

// Warm, and how many calls make a sample.
int64_t calls_of_sample(Stopwatch& watch, const Work& work) {
  watch.time(1, work.call);  // the first call loads code and memory
  const double once = std::max(watch.time(1, work.call), 1e-9), shortest = watch.on_card() ? kShortestOnCard : kShortestOnHost;
  if (work.tidy) work.tidy(2);
  return std::clamp(static_cast<int64_t>(shortest / once) + 1, int64_t{1}, int64_t{1000});
}

Summary sample(Stopwatch& watch, const Limits& limits, int64_t calls, const Work& work) {
  std::vector<double> values;
  size_t look = kFewestSamples;  // looking costs a sort: at numbers of samples that grow by a tenth
  const auto begin = SteadyClock::now();
  for (;;) {
    values.push_back(watch.time(calls, work.call) / static_cast<double>(calls));
    if (work.tidy) work.tidy(calls);
    const bool late = seconds_since(begin) >= limits.seconds || values.size() >= kMostSamples;
    if (values.size() < kFewestSamples || (values.size() < look && !late)) continue;
    look = values.size() + 1 + values.size() / 10;
    const Summary s = summarise(values);
    if (late || s.half_width() <= limits.precision) return s;
  }
}

}  // namespace

Summary time_calls(Stream& stream, const Limits& limits, const Work& work) {
  Stopwatch watch(stream);
  return sample(watch, limits, calls_of_sample(watch, work), work);
}

std::vector<Summary> time_in_turns(Stream& stream, const Limits& limits, const std::vector<Work>& works, double rest) {
  Stopwatch watch(stream);
  std::vector<int64_t> calls;
  for (const Work& w : works) calls.push_back(calls_of_sample(watch, w));
  std::vector<std::vector<double>> values(works.size());
  const auto begin = SteadyClock::now();
  for (;;) {
    for (size_t i = 0; i < works.size(); ++i) {
      if (rest > 0) {
        std::this_thread::sleep_for(std::chrono::duration<double>(rest));
        watch.time(1, works[i].call);
        if (works[i].tidy) works[i].tidy(1);
      }
      const auto turn = SteadyClock::now();
      do {
        values[i].push_back(watch.time(calls[i], works[i].call) / static_cast<double>(calls[i]));
        if (works[i].tidy) works[i].tidy(calls[i]);
      } while (seconds_since(turn) < limits.seconds / kTurns);
    }
    if (values[0].size() < kFewestSamples) continue;
    const bool late = seconds_since(begin) >= limits.seconds * static_cast<double>(works.size()) || values[0].size() >= kMostSamples;
    if (!late && summarise(values[0]).half_width() > limits.precision) continue;
    std::vector<Summary> summaries;
    for (std::vector<double>& v : values) summaries.push_back(summarise(std::move(v)));
    return summaries;
  }
}

Summary time_graph(Stream& stream, const Limits& limits, const Work& work, int calls) {
  const Graph graph = stream.capture([&] {
    for (int i = 0; i < calls; ++i) work.call();
  });
  Stopwatch watch(stream);
  const Work replay{[&] { graph.launch(stream); },
                    [&](int64_t) {
                      if (work.tidy) work.tidy(calls);
                    }};
  watch.time(1, replay.call);
  Summary s = sample(watch, limits, 1, replay);
  for (double* x : {&s.median, &s.p20, &s.p80, &s.low, &s.high}) *x /= calls;
  return s;
}

}  // namespace panvae::bench
