#pragma once
#include <cstdint>

namespace panvae {

// Largest resident set of this process so far, in bytes (VmHWM); 0 where the system does not say.
int64_t peak_resident_bytes();
// Resident set now, in bytes.
int64_t resident_bytes();
// Memory this process may still take: the lesser of the machine's available memory and its cgroup's limit, in bytes.
int64_t available_bytes();
// The last-level cache that the first core uses, in bytes; 0 where the system does not say.
int64_t cache_bytes();

}  // namespace panvae
