// The counter of a stream by which the blocks of a kernel learn which of them is the last (kernels/last_block.h).
#pragma once
#include <cstddef>

#include "kernels/device.h"

namespace panvae {

inline constexpr size_t kArrivalsBytes = 256;

// It lies behind the scratch memory and is zero between two kernels. Kernels of one stream run one after the other, so they share it;
// two streams have two, as they have two scratch memories. It moves when scratch memory grows: ask for that first.
inline unsigned* arrivals_of(Stream& stream) {
  return reinterpret_cast<unsigned*>(stream.scratch<char>(1) + stream.scratch_bytes());
}

}  // namespace panvae
