// What a control group (Linux: containers, services, some batch systems) allows this process.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace panvae {

// How many cores' worth of time it may use, the least of its group's and of those above it; 0 where nothing limits it. cgroup v2 and v1.
double cpu_quota();
// Likewise, from the folder where the system shows its groups, and the text of /proc/self/cgroup.
double cpu_quota(const std::string& folder, const std::string& membership);

// How many bytes its group and those above it may still take, the least of them; nothing where none is limited. Cached pages of files count
// as free: the system gives them back before it kills a process. cgroup v2 and v1.
std::optional<int64_t> memory_left();
std::optional<int64_t> memory_left(const std::string& folder, const std::string& membership);

}  // namespace panvae
