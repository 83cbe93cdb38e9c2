// What a control group (Linux: containers, services, some batch systems) allows this process.
#pragma once
#include <string>

namespace panvae {

// How many cores' worth of time it may use, the least of its group's and of those above it; 0 where nothing limits it. cgroup v2 and v1.
double cpu_quota();
// Likewise, from the folder where the system shows its groups, and the text of /proc/self/cgroup.
double cpu_quota(const std::string& folder, const std::string& membership);

}  // namespace panvae
