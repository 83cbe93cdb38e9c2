// Fibers: stacks, the switch between them, and what the sanitizers are told about it.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "kernels/simt_executor.h"
#if !defined(__x86_64__) && !defined(PANVAE_SIMT_UCONTEXT)
#define PANVAE_SIMT_UCONTEXT  // may be defined on x86-64 too, to test this way of switching there
#endif
#ifdef PANVAE_SIMT_UCONTEXT
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef PANVAE_SIMT_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#ifndef PANVAE_SIMT_UCONTEXT
// Saves what a call has to preserve (System V ABI; control words of the FPU are never changed by kernels), leaves the
// stack pointer in *save, and returns on the other stack.
extern "C" void panvae_simt_switch(void** save, void* to);
asm(R"(
.text
.globl panvae_simt_switch
.hidden panvae_simt_switch
.type panvae_simt_switch, @function
.p2align 4
panvae_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size panvae_simt_switch, .-panvae_simt_switch
)");
#endif

namespace panvae::simt::detail {

namespace {

// Frames are larger with sanitizers: red zones around variables, and reports are made on the stack of the fault.
#if defined(__SANITIZE_ADDRESS__) || defined(PANVAE_SIMT_TSAN)
constexpr size_t kStackBytes = 256 << 10;
#else
constexpr size_t kStackBytes = 64 << 10;
#endif

// Stacks begin on pages, so their hot lines would all fall into the same sets of the cache; shifting each by a few lines
// spreads them.
constexpr int kColours = 31;
constexpr size_t kColourBytes = 128;

void prime(Fiber& f, int colour, void (*entry)()) {
#ifndef PANVAE_SIMT_UCONTEXT
  auto sp = reinterpret_cast<void**>(f.stack + f.stack_bytes - static_cast<size_t>(colour % kColours) * kColourBytes);
  *--sp = nullptr;  // keeps the alignment of a call, and ends backtraces
  *--sp = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  f.stack_pointer = sp;
#else
  (void)colour;
  auto* context = f.context ? static_cast<ucontext_t*>(f.context) : new ucontext_t;
  f.context = context;
  getcontext(context);
  context->uc_stack.ss_sp = f.stack;
  context->uc_stack.ss_size = f.stack_bytes;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
#endif
#ifdef PANVAE_SIMT_TSAN
  f.tsan_identity = __tsan_create_fiber(0);
#endif
}

}  // namespace

void create_stack(Fiber& f, int colour, void (*entry)()) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, kStackBytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) fail_machine("simt: no memory for the stack of a CUDA thread", std::generic_category().message(errno));
  f.stack = static_cast<char*>(memory) + page;
  f.stack_bytes = kStackBytes;
  // Each guard costs two of the mappings a process may have (vm.max_map_count); without one things still run.
  (void)mprotect(memory, page, PROT_NONE);
  prime(f, colour, entry);
}

void reset_stack(Fiber& f, int colour, void (*entry)()) {
#ifdef __SANITIZE_ADDRESS__
  ASAN_UNPOISON_MEMORY_REGION(f.stack, f.stack_bytes);  // red zones of frames that never returned
  f.asan_fake_stack = nullptr;
#endif
#ifdef PANVAE_SIMT_TSAN
  __tsan_destroy_fiber(f.tsan_identity);
#endif
  f.thread = -1;
  prime(f, colour, entry);
}

void destroy_stack(Fiber& f) {
  if (!f.stack) return;
#ifdef __SANITIZE_ADDRESS__
  ASAN_UNPOISON_MEMORY_REGION(f.stack, f.stack_bytes);
#endif
#ifdef PANVAE_SIMT_TSAN
  __tsan_destroy_fiber(f.tsan_identity);
#endif
#ifdef PANVAE_SIMT_UCONTEXT
  delete static_cast<ucontext_t*>(f.context);
#endif
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  munmap(f.stack - page, f.stack_bytes + page);
  f.stack = nullptr;
}

void adopt_current_stack(Fiber& f) {
#ifdef PANVAE_SIMT_TSAN
  f.tsan_identity = __tsan_get_current_fiber();
#endif
#ifdef PANVAE_SIMT_UCONTEXT
  static thread_local ucontext_t context;
  f.context = &context;
#endif
  (void)f;
}

void switch_fiber(Fiber& from, Fiber& to) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.asan_fake_stack, to.stack, to.stack_bytes);
#endif
#ifdef PANVAE_SIMT_TSAN
  __tsan_switch_to_fiber(to.tsan_identity, __tsan_switch_to_fiber_no_sync);
#endif
#ifndef PANVAE_SIMT_UCONTEXT
  panvae_simt_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(static_cast<ucontext_t*>(from.context), static_cast<ucontext_t*>(to.context));
#endif
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(from.asan_fake_stack, nullptr, nullptr);
#endif
}

void entered_fiber([[maybe_unused]] Fiber& main) {
#ifdef __SANITIZE_ADDRESS__
  const void* bottom = nullptr;
  size_t bytes = 0;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  // The very first fiber is entered from the OS thread's own stack, whose place nobody else tells us.
  if (!main.stack) main.stack = const_cast<char*>(static_cast<const char*>(bottom)), main.stack_bytes = bytes;
#endif
}

#ifdef PANVAE_SIMT_TSAN
void tsan_release(void* token) {
  __tsan_release(token);
}
void tsan_acquire(void* token) {
  __tsan_acquire(token);
}
void tsan_release_as(Fiber& fiber, Fiber& self, void* token) {
  __tsan_switch_to_fiber(fiber.tsan_identity, __tsan_switch_to_fiber_no_sync);
  __tsan_release(token);
  __tsan_switch_to_fiber(self.tsan_identity, __tsan_switch_to_fiber_no_sync);
}
#endif

}  // namespace panvae::simt::detail
