#include "data/damage.h"

#include <signal.h>
#include <unistd.h>

#include <iterator>

#include "base/error.h"

namespace panvae::data {

namespace {

// All that the handler touches: plain memory, written before the signal can come.
const char* volatile line = nullptr;
volatile sig_atomic_t line_length = 0;
constexpr int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT};  // the last: the allocator found its memory overwritten
constexpr size_t count = std::size(signals);
struct sigaction previous[count];

void on_fault(int signal) {
  if (line_length > 0) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line, static_cast<size_t>(line_length));
    ::_exit(static_cast<int>(ErrorCode::input));
  }
  // Returning with the former handler in place repeats the fault under it.
  for (size_t i = 0; i < count; ++i)
    if (signals[i] == signal) ::sigaction(signal, &previous[i], nullptr);
}

}  // namespace

void install_damage_handler() {
  struct sigaction action {};
  action.sa_handler = on_fault;
  sigemptyset(&action.sa_mask);
  struct sigaction current {};
  if (::sigaction(SIGSEGV, nullptr, &current) == 0 && current.sa_handler == on_fault) return;
  for (size_t i = 0; i < count; ++i) ::sigaction(signals[i], &action, &previous[i]);
}

namespace detail {

namespace {
FileBeingRead* last = nullptr;

void say(const std::string* text) {
  line_length = 0;
  if (!text) return;
  line = text->data();
  line_length = static_cast<sig_atomic_t>(text->size());
}
}  // namespace

FileBeingRead::FileBeingRead(const std::string& path)
    : line_(fmt::format("panvae: error: the HDF5 library fails on this file ({}): it is damaged, fetch or write it again\n", quoted(path, 400))),
      before_(last) {
  if (before_) before_->after_ = this;
  last = this;
  say(&line_);
}

FileBeingRead::~FileBeingRead() {
  if (before_) before_->after_ = after_;
  (after_ ? after_->before_ : last) = before_;
  say(last ? &last->line_ : nullptr);
}

}  // namespace detail

}  // namespace panvae::data
