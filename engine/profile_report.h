// A profile of kernels (kernels/profile.h) as people and browsers read it.
#pragma once
#include <string>

#include "kernels/device.h"
#include "kernels/profile.h"

namespace panvae {

// What the device can do at most, measured in a second: bytes a second of the triad (kernels/triad.h; on cuda of a copy) beyond
// the cache, of reading alone (on cuda the same), and operations a second of a large product in the math mode. The bench measures
// the same with more patience.
struct DeviceCeilings {
  double bandwidth = 0, reading = 0, operations = 0;
};
DeviceCeilings measure_ceilings(Device device, MathMode math);

// Two tables, of operations and of the kernels that they called, a row for each and its sizes: calls, time, share of the whole, GB/s,
// GFLOP/s, and the time that its bytes at the bandwidth, or its operations at the peak, would take over the time it took; for an
// operation, the sum of these times over its kernels. Data that a cache still holds moves faster than memory: then that is above
// 100 %. The last rows are what is left of the rows that are too short to show, and the time outside of kernels.
std::string profile_table(const Profile& profile, const DeviceCeilings& ceilings, size_t rows = 30);

// Every call, and around the calls of an operation that operation, as an event of the trace format of Chrome (chrome://tracing,
// ui.perfetto.dev), times in microseconds. ErrorCode::machine: the disk.
void write_chrome_trace(const std::string& path, const Profile& profile);

}  // namespace panvae
