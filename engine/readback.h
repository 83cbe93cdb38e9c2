// A few numbers that the host looks at while the device goes on.
#pragma once
#include <vector>

#include "engine/context.h"

namespace panvae {

// What a tensor held when queue() was called, whatever is queued behind it. So a loop may give the device its next work before it looks at
// the last: a GPU that waits for the host waits some 20 microseconds a step.
//
//   readback.queue(losses);
//   source.fill(next_rows, x);                      // queued behind the losses of this step
//   std::vector<float> values = readback.wait();    // for this step, not for the batch
//
// On cpu and simt the values are there at once.
class Readback {
 public:
  // Takes page-locked memory for the largest tensor that will be read.
  Readback(Context& context, int64_t most_bytes);
  ~Readback();
  Readback(const Readback&) = delete;
  Readback& operator=(const Readback&) = delete;

  // One at a time: a second one before wait() takes the place of the first.
  void queue(const Tensor& t);
  // Waits for what was queued, and for nothing behind it. f32.
  std::vector<float> wait();

 private:
  Context& context_;
  int64_t most_bytes_, count_ = -1;
  void *memory_ = nullptr, *event_ = nullptr;
};

}  // namespace panvae
