#include "base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "base/error.h"

namespace panvae {

namespace {
std::atomic<bool> flag{false};
static_assert(std::atomic<bool>::is_always_lock_free);
extern "C" void on_signal(int signal) {
  // A terminal that closes says so twice: the kernel to its processes, the shell to its jobs.
  if (flag.exchange(true) && signal != SIGHUP) ::_exit(130);
}
}  // namespace

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup {};
  if (::sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN) ::sigaction(SIGHUP, &action, nullptr);  // nohup has it ignored
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
