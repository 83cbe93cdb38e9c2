#include "base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "base/error.h"

namespace panvae {

namespace {
std::atomic<bool> flag{false};
static_assert(std::atomic<bool>::is_always_lock_free);
extern "C" void on_signal(int) {
  if (flag.exchange(true)) ::_exit(130);
}
}  // namespace

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}
bool interrupted() noexcept {
  return flag.load(std::memory_order_relaxed);
}
void set_interrupted(bool value) noexcept {
  flag.store(value);
}
void throw_if_interrupted() {
  if (interrupted()) throw Error(ErrorCode::interrupted, "interrupted");
}

}  // namespace panvae
