#include "data/damage.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/error.h"

namespace panvae::data {

namespace {

// All that the handler touches: plain memory, written before the signal can come.
char line[600];
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

void file_being_read(const char* path) noexcept {
  line_length = 0;
  if (!path) return;
  const std::string text = fmt::format("panvae: error: the HDF5 library fails on this file ({}): it is damaged, fetch or write it again\n", quoted(path, 400));
  const size_t n = std::min(text.size(), sizeof line);
  std::memcpy(line, text.data(), n);
  line_length = static_cast<sig_atomic_t>(n);
}

}  // namespace detail

}  // namespace panvae::data
