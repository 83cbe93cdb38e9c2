// Sums that end in one number, in one launch: each block leaves its part in memory, and the block that comes last adds them all.
//
//   __global__ void sum_kernel(const float* x, int64_t n, double* parts, unsigned* arrivals, float* y) {
//     ...
//     if (threadIdx.x == 0) parts[blockIdx.x] = s;
//     if (!last_block(arrivals)) return;
//     ...                                          // the whole block: parts[0] to parts[gridDim.x - 1], in an order fixed by sizes alone
//   }
//   double* parts = stream.scratch<double>(blocks);
//   launch(stream, blocks, kBlock, 0, sum_kernel, x, n, parts, arrivals_of(stream), y);
//
// Which block is the last differs from run to run, but not what it adds, nor in which order: the bits are the same.
//
// Why it sees all parts (PTX ISA, "Memory Consistency Model"). Thread 0 of each block writes the part, then adds to a counter: a release. The
// addition of the last block reads what the additions of all others made of the counter, one by one: an acquire of each of them. So
// their parts are there for its thread 0, and behind a barrier for its other threads. Nobody but thread 0 may write a part, and parts are
// read by plain loads: not by __ldg nor through a __restrict__ pointer, which may look into a cache that nobody has told.
//
// Nobody waits: a block that is not the last ends, so the order in which blocks run, and how many at a time, is free.
#pragma once
#include "kernels/arrivals.h"
#include "kernels/language.h"

namespace panvae::PV_EXEC {

// Whether all other blocks of the grid, which has one dimension, have come here before; the same in each thread of the block. All threads
// must call it, once in a kernel. The last block leaves the counter as it was, at zero, for the kernel that follows.
__device__ inline bool last_block(unsigned* arrivals) {
  const unsigned blocks = gridDim.x;
  bool last = blocks == 1;
  if (threadIdx.x == 0 && !last) {
    last = atomic_add_acq_rel(arrivals, 1u) == blocks - 1;
    if (last) atomicAdd(arrivals, 0u - blocks);
  }
  return __syncthreads_or(last) != 0;
}

}  // namespace panvae::PV_EXEC
