// Shared memory of the running block, with redzones around every array.
#include <sys/mman.h>

#include <cerrno>
#include <system_error>

#include "kernels/simt_executor.h"
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, bytes) (void)(p), (void)(bytes)
#define ASAN_UNPOISON_MEMORY_REGION(p, bytes) (void)(p), (void)(bytes)
#endif

#ifdef PANVAE_SIMT_TSAN
extern "C" void __tsan_read_range(void* p, unsigned long bytes);
extern "C" void __tsan_write_range(void* p, unsigned long bytes);
#endif

namespace panvae::simt::detail {

namespace {

// A redzone is NaN in every float format, as the poison 0xFF is, but not equal to it: neither a result that was read
// nor poison that was copied passes for an untouched redzone.
constexpr unsigned char kPoison = 0xFF;
constexpr size_t kRedzone = SharedArena::kRedzone;
constexpr auto kPattern = [] {
  std::array<unsigned char, 2 * kRedzone> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = i % 2 ? 0xFF : 0xC9;
  return bytes;
}();
[[maybe_unused]] unsigned char redzone_byte(const unsigned char* p) {
  return reinterpret_cast<uintptr_t>(p) % 2 ? 0xFF : 0xC9;
}
[[maybe_unused]] const unsigned char* pattern_for(const unsigned char* p) {
  return kPattern.data() + reinterpret_cast<uintptr_t>(p) % 2;
}

#ifdef PANVAE_SIMT_TSAN
// memset and memcpy are watched by TSan wherever they are called from, and would count as writes of the fiber.
void fill_poison(unsigned char* p, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) static_cast<volatile unsigned char*>(p)[i] = kPoison;
}
void fill_redzone(unsigned char* p, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) static_cast<volatile unsigned char*>(p)[i] = redzone_byte(p + i);
}
bool intact(const unsigned char* begin, const unsigned char* end) {
  for (const volatile unsigned char* p = begin; p < end; ++p)
    if (*p != redzone_byte(const_cast<const unsigned char*>(p))) return false;
  return true;
}
#else
void fill_poison(unsigned char* p, size_t bytes) {
  std::memset(p, kPoison, bytes);
}
void fill_redzone(unsigned char* p, size_t bytes) {
  std::memcpy(p, pattern_for(p), bytes);
}
[[maybe_unused]] bool intact(const unsigned char* begin, const unsigned char* end) {
  return std::memcmp(begin, pattern_for(begin), static_cast<size_t>(end - begin)) == 0;
}
#endif

void* map(void* at, size_t bytes) {
  void* memory = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
  if (memory == MAP_FAILED) fail_machine("simt: no memory for the shared memory of a block", std::generic_category().message(errno));
  return memory;
}

}  // namespace

SharedArena::SharedArena() : memory_(static_cast<unsigned char*>(map(nullptr, kBytes))) {
#ifdef PANVAE_SIMT_WATCH
  unwritten_ = static_cast<unsigned char*>(map(nullptr, kBytes));
#endif
}
SharedArena::~SharedArena() {
  end_block();
  munmap(memory_, kBytes);
#ifdef PANVAE_SIMT_WATCH
  munmap(unwritten_, kBytes);
#endif
}

void SharedArena::begin_block(size_t dynamic_bytes, const Site& launch) {
#ifdef PANVAE_SIMT_TSAN
  // Makes TSan forget what blocks before did here; they are not ordered with this one.
  if (used_ > 0) map(memory_, used_);
#endif
  used_ = kRedzone, static_bytes_ = 0, count_ = 0;
  fill_redzone(memory_, kRedzone);
  ASAN_POISON_MEMORY_REGION(memory_, kRedzone);
  append(dynamic_bytes, 16, "dynamic shared memory", launch);
}

unsigned char* SharedArena::append(size_t bytes, size_t align, const char* name, const Site& at) {
  align = std::clamp<size_t>(align, 16, kRedzone);
  unsigned char* begin = memory_ + (used_ + align - 1) / align * align;
  // What alignment skips belongs to the redzone before.
  fill_redzone(memory_ + used_, static_cast<size_t>(begin - memory_) - used_);
  ASAN_POISON_MEMORY_REGION(memory_ + used_, static_cast<size_t>(begin - memory_) - used_);
  fill_poison(begin, bytes);
  fill_redzone(begin + bytes, kRedzone);
  ASAN_POISON_MEMORY_REGION(begin + bytes, kRedzone);
  used_ = static_cast<size_t>(begin + bytes - memory_) + kRedzone;
  arrays_[static_cast<size_t>(count_++)] = {name, at, begin, bytes};
  set_written(begin, bytes, false);
  return begin;
}

Fault SharedArena::place(size_t bytes, size_t align, const char* name, const Site& at, void*& result) {
  if (count_ == kArrays) return Fault::too_many_arrays;
  static_bytes_ += (bytes + 15) / 16 * 16;
  if (static_bytes_ > kStaticSharedLimit || static_bytes_ + dynamic_bytes() > kDynamicSharedLimit) return Fault::static_shared_size;
  result = append(bytes, align, name, at);
  return Fault::none;
}

const SharedArray* SharedArena::array_at(const void* p, size_t bytes) const {
  const auto* q = static_cast<const unsigned char*>(p);
  for (int i = 0; i < count_; ++i) {
    const SharedArray& a = arrays_[static_cast<size_t>(i)];
    if (q >= a.begin && q + bytes <= a.begin + a.bytes) return &a;
  }
  return nullptr;
}

#ifdef PANVAE_SIMT_WATCH
// Loops and not memchr and memset, which the sanitizer would look at in turn.
bool SharedArena::written(const void* p, size_t bytes) const {
  const size_t first = static_cast<size_t>(static_cast<const unsigned char*>(p) - memory_), last = std::min(first + bytes, used_);
  unsigned char any = 0;
  for (size_t i = first; i < last; ++i) any |= unwritten_[i];
  return any == 0;
}
void SharedArena::set_written(const void* p, size_t bytes, bool yes) {
  const size_t first = static_cast<size_t>(static_cast<const unsigned char*>(p) - memory_), last = std::min(first + bytes, used_);
  for (size_t i = first; i < last; ++i) unwritten_[i] = !yes;
}
#endif

const SharedArray* SharedArena::damaged([[maybe_unused]] ptrdiff_t& offset) const {
#ifndef __SANITIZE_ADDRESS__           // which has reported it at the very access, and forbids to look
  for (int i = -1; i < count_; ++i) {  // the redzone behind array i; -1 is the one before all
    const SharedArray* before = i < 0 ? nullptr : &arrays_[static_cast<size_t>(i)];
    const SharedArray* after = i + 1 < count_ ? &arrays_[static_cast<size_t>(i + 1)] : nullptr;
    const unsigned char* begin = before ? before->begin + before->bytes : memory_;
    const unsigned char* end = after ? after->begin : memory_ + used_;
    if (intact(begin, end)) continue;
    const unsigned char* first = begin;
    while (*first == redzone_byte(first)) ++first;
    const unsigned char* last = end - 1;
    while (*last == redzone_byte(last)) --last;
    const bool past_end = before && (!after || first - begin <= end - last);
    offset = past_end ? first - begin : last - end;
    return past_end ? before : after;
  }
#endif
  return nullptr;
}

// TSan does not see what this file writes; it is told, since the copy is the kernel's.
void perform(const Copy& c) {
#ifdef PANVAE_SIMT_TSAN
  __tsan_read_range(const_cast<void*>(c.from), static_cast<unsigned long>(c.bytes));
  __tsan_write_range(c.to, static_cast<unsigned long>(c.size));
#endif
  auto* to = static_cast<volatile unsigned char*>(c.to);
  for (int i = 0; i < c.size; ++i) to[i] = i < c.bytes ? static_cast<const volatile unsigned char*>(c.from)[i] : 0;
}

void SharedArena::end_block() {
#ifdef PANVAE_SIMT_WATCH
  std::memset(unwritten_, 0, used_);
#endif
  ASAN_UNPOISON_MEMORY_REGION(memory_, used_);
}

}  // namespace panvae::simt::detail
