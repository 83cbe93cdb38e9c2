#pragma once
#include <cstdint>
#include <optional>

namespace panvae {

// Largest resident set of this process so far, in bytes (VmHWM); 0 where the system does not say.
int64_t peak_resident_bytes();
// Resident set now, in bytes.
int64_t resident_bytes();
// Memory this process may still take: the least of the machine's available memory, memory_left() of its cgroups and address_space_left(), in bytes.
int64_t available_bytes();
// What may still be mapped where the address space is limited (RLIMIT_AS: `ulimit -v`, the memory limit of some batch systems), in
// bytes; nothing where it is not.
std::optional<int64_t> address_space_left();
// The last-level cache that the first core uses, in bytes; 0 where the system does not say.
int64_t cache_bytes();

}  // namespace panvae
