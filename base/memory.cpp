#include "base/memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/cgroup.h"

namespace panvae {

namespace {
// A line "Key:   123 kB" of a file under /proc, in bytes, or 0.
int64_t proc_kilobytes(const char* file, const char* key) {
  std::FILE* f = std::fopen(file, "r");
  if (!f) return 0;
  char line[256];
  long long kb = 0;
  const size_t n = std::strlen(key);
  while (std::fgets(line, sizeof line, f))
    if (std::strncmp(line, key, n) == 0 && std::sscanf(line + n, ": %lld", &kb) == 1) break;
  std::fclose(f);
  return kb * 1024;
}
int64_t number_in(const char* file) {
  std::FILE* f = std::fopen(file, "r");
  if (!f) return 0;
  long long v = 0;
  if (std::fscanf(f, "%lld", &v) != 1) v = 0;
  std::fclose(f);
  return v;
}
}  // namespace

int64_t peak_resident_bytes() {
  return proc_kilobytes("/proc/self/status", "VmHWM");
}
int64_t resident_bytes() {
  return proc_kilobytes("/proc/self/status", "VmRSS");
}

int64_t available_bytes() {
  int64_t available = proc_kilobytes("/proc/meminfo", "MemAvailable");
  available = std::min(available, memory_left().value_or(available));
  return std::min(available, address_space_left().value_or(available));
}

std::optional<int64_t> address_space_left() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  return std::max<int64_t>(0, static_cast<int64_t>(limit.rlim_cur) - proc_kilobytes("/proc/self/status", "VmSize"));
}

int64_t cache_bytes() {
  // sysconf would give the sum over all caches of a processor, or what a hypervisor made of it.
  for (const char* file : {"/sys/devices/system/cpu/cpu0/cache/index3/size", "/sys/devices/system/cpu/cpu0/cache/index2/size"})
    if (const int64_t kb = number_in(file); kb > 0) return kb * 1024;  // "32768K"
  return 0;
}

}  // namespace panvae
