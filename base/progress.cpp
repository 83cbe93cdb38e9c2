#include "base/progress.h"

#include <utility>

namespace panvae {

namespace {
ProgressSink& sink() {
  static ProgressSink s;
  return s;
}
}  // namespace

ProgressSink set_progress_sink(ProgressSink next) {
  std::swap(next, sink());
  return next;
}

Progress::Progress(std::string title, int64_t total, std::string unit) : start_(std::chrono::steady_clock::now()), last_(start_) {
  state_.title = std::move(title);
  state_.unit = std::move(unit);
  state_.total = total;
}

Progress::~Progress() {
  state_.finished = true;
  emit();
}

void Progress::advance(int64_t n, std::string note) {
  state_.done += n;
  if (!note.empty()) state_.note = std::move(note);
  auto now = std::chrono::steady_clock::now();
  if (now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  emit();
}

void Progress::emit() {
  if (!sink()) return;
  state_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  state_.rate = state_.seconds > 0 ? static_cast<double>(state_.done) / state_.seconds : 0;
  state_.seconds_left = state_.total > 0 && state_.rate > 0 ? static_cast<double>(state_.total - state_.done) / state_.rate : -1;
  sink()(state_);
}

}  // namespace panvae
