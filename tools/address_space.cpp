// OpenBLAS maps 128 MiB while it is loaded and, where the system refuses them, asks again for ever: a limit of the address space
// (RLIMIT_AS: `ulimit -v`, some batch systems) would make each command, --help too, hang before main. So the room is looked for before
// any library begins, twice as much, for others map theirs before it. Of the C library nothing is ready yet but its system calls.
#include <sys/mman.h>
#include <unistd.h>

#include <string_view>

#include "base/error.h"

namespace {

void need_address_space() {
  constexpr size_t kNeeded = size_t{256} << 20;
  if (void* const room = ::mmap(nullptr, kNeeded, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); room != MAP_FAILED) {
    ::munmap(room, kNeeded);
    return;
  }
  constexpr std::string_view text =
      "panvae: error: the address space of this process is limited to less than its libraries need: raise the limit (ulimit -v, or the memory asked of the "
      "batch system) by 256 MiB or more\n";
  [[maybe_unused]] const ssize_t told = ::write(STDERR_FILENO, text.data(), text.size());
  ::_exit(static_cast<int>(panvae::ErrorCode::machine));
}

__attribute__((section(".preinit_array"), used)) void (*const before_libraries)() = need_address_space;

}  // namespace
