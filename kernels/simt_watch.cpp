// Under AddressSanitizer: reads of shared memory that nobody has written, at the line of the read.
//
// Kernels are compiled so that the sanitizer's check of an access is a call and not inlined code (PANVAE_WATCH_FLAGS in
// cmake/flags.cmake), and the linker turns the call to these functions (--wrap). They look, then jump on to the real
// check, which sees the kernel as its caller. Compiled without sanitizers; without AddressSanitizer this file is empty.
#ifdef PANVAE_SIMT_WATCH
#include "kernels/simt_executor.h"

namespace panvae::simt::detail {
namespace {

inline void watch_read(const void* p, size_t bytes, const void* pc) {
  if (active_runner) active_runner->read(p, bytes, pc);
}
inline void watch_write(const void* p, size_t bytes) {
  if (active_runner) active_runner->written(p, bytes);
}

}  // namespace
}  // namespace panvae::simt::detail

#define PV_WATCH(size)                                                      \
  extern "C" void __real___asan_load##size(const void* p);                  \
  extern "C" void __real___asan_store##size(const void* p);                 \
  extern "C" void __wrap___asan_load##size(const void* p) {                 \
    panvae::simt::detail::watch_read(p, size, __builtin_return_address(0)); \
    __real___asan_load##size(p);                                            \
  }                                                                         \
  extern "C" void __wrap___asan_store##size(const void* p) {                \
    panvae::simt::detail::watch_write(p, size);                             \
    __real___asan_store##size(p);                                           \
  }
PV_WATCH(1)
PV_WATCH(2)
PV_WATCH(4)
PV_WATCH(8)
PV_WATCH(16)

extern "C" void __real___asan_loadN(const void* p, size_t bytes);
extern "C" void __real___asan_storeN(const void* p, size_t bytes);
extern "C" void __wrap___asan_loadN(const void* p, size_t bytes) {
  panvae::simt::detail::watch_read(p, bytes, __builtin_return_address(0));
  __real___asan_loadN(p, bytes);
}
extern "C" void __wrap___asan_storeN(const void* p, size_t bytes) {
  panvae::simt::detail::watch_write(p, bytes);
  __real___asan_storeN(p, bytes);
}
#endif
