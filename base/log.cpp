#include "base/log.h"

#include <mutex>

namespace panvae::log {

namespace {
std::mutex& mutex() {
  static std::mutex m;
  return m;
}
Sink& sink() {
  static Sink s;
  return s;
}
}  // namespace

Sink set_sink(Sink next) {
  std::lock_guard lock(mutex());
  std::swap(next, sink());
  return next;
}

void write(Level level, std::string_view line) {
  std::lock_guard lock(mutex());
  if (sink()) sink()(level, line);
}

}  // namespace panvae::log
