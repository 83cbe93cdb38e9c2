// Everything an op needs beside its tensors: a stream, memory, a generator, the active tape. There are no globals: tensors
// know their context, several contexts live side by side. A context is used by one thread at a time.
#pragma once
#include <memory>

#include "base/philox.h"
#include "engine/memory.h"
#include "engine/tensor.h"
#include "kernels/device.h"

namespace panvae {

class Tape;

// The generator's whole state is (seed, step, next op): what a checkpoint saves.
struct Generator {
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t op = 0;
  const double* step_at = nullptr;  // while a step is captured: where the device has the number of the step (step_graph.h)
  PhiloxKey next() { return {seed, op++, step_at ? 0 : step, step_at}; }
  void next_step() { ++step, op = 0; }
};
// Steps with this number draw initial weights, so that they meet no training step.
inline constexpr uint32_t kInitStep = 0xFFFFFFFFu;

class Context {
 public:
  explicit Context(Device device = {}, uint64_t seed = 0, ExternalAllocator allocator = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Device device() const { return stream_.device(); }
  Stream& stream() { return aside_ ? *side_ : stream_; }
  Memory& memory() { return *memory_; }
  std::shared_ptr<Memory> shared_memory() const { return memory_; }
  Generator generator;

  // The tape that records ops now; null: nothing is recorded (inference).
  Tape* tape() const { return tape_; }
  // With the guard on, every op's output and every gradient is checked, and the first that holds a NaN or an infinity
  // throws Error naming op and tensor. It costs a pass over every tensor and a synchronisation.
  bool nan_guard = false;
  void check_finite(const Tensor& t, const char* op, const std::string& what);

  // Tells a profile of the stream (kernels/profile.h) what the kernels called since the last time were for: an op with its output's
  // shape; `phase` stands behind them. Costs a comparison with null where there is no profile.
  void claim_calls(const char* op, const Shape& shape, const char* phase = "") {
    if (stream_.profile) name_calls(op, shape, phase);
  }

  // Models take the fused ops of engine/ops/fused.h where they have the choice. Not under the guard, which then sees the
  // tensors between.
  bool fused = true;
  bool fuses() const { return fused && !nan_guard; }

  // Gradients of parameters are read by nobody before the backward pass is over. While a step is captured they are computed on
  // a second stream, beside the chain of gradients that others wait for; a GPU runs both at once. The kernels are the same,
  // and so are the bits.
  bool overlaps = true;
  // For StepGraph, before it captures what has run once: gives the second stream the scratch memory that it needs.
  void prepare_overlap();
  // Work within its lifetime, if `wanted` and possible, goes to the second stream, behind all that has been queued so far.
  class Aside {
   public:
    Aside(Context& context, bool wanted) : context_(wanted && context.turn_aside() ? &context : nullptr) {}
    ~Aside() {
      if (context_) context_->aside_ = false;
    }
    Aside(const Aside&) = delete;
    Aside& operator=(const Aside&) = delete;
    bool taken() const { return context_ != nullptr; }

   private:
    Context* context_;
  };
  // What follows waits for all that went aside.
  void join();

 private:
  friend class Tape;
  bool turn_aside();
  void name_calls(const char* op, const Shape& shape, const char* phase);
  Stream stream_;
  std::unique_ptr<Stream> side_;
  bool aside_ = false;     // stream() is side_ now
  bool unjoined_ = false;  // work has gone aside since the last join
  std::shared_ptr<Memory> memory_;
  Tape* tape_ = nullptr;
};

// One training step: temporaries come from the arena and are gone at its end.
class Step {
 public:
  explicit Step(Context& context) : context_(context) { context_.memory().begin_step(context.stream()); }
  ~Step() { context_.memory().end_step(); }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

 private:
  Context& context_;
};

}  // namespace panvae
