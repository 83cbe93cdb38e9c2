// A training step that is recorded once and replayed: on a GPU the host then starts one graph in place of some hundred kernels.
// docs/graphs.md.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/context.h"

namespace panvae {

// What may be recorded is a function of the inputs, of what stands outside of the arena (weights, moments, running statistics,
// the scalars of Adam) and of the noise of the context's generator, and leaves its results there, too. It begins and ends a Step
// of its own where it has temporaries, and never looks at a number that the device holds. Numbers that the host hands to kernels
// are baked into the record: those that change from step to step are named to run(). What the host does beside calling kernels,
// in a hook of a gradient for instance, it does when a step is recorded, and not when it is replayed.
class StepGraph {
 public:
  explicit StepGraph(Context& context);
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  // Does what `step` does, bit for bit. For inputs of new places or shapes, or new `baked` numbers: `step` itself, which sizes
  // the arena and has libraries and kernels loaded; the second time it is recorded; from then on the record is launched.
  // Where that is not possible: `step` each time (why_eager() says why), after one warning if it should have been.
  // No tape may be recording: `step` has its own. The number of the step is the generator's, as of the call; learning rates must be on the device
  // (Adam::upload_settings).
  void run(const std::vector<Tensor>& inputs, const std::vector<double>& baked, const std::function<void()>& step);

  bool on = true;  // false: `step` each time
  // Tests, on simt: each step is recorded anew and must equal what was recorded before, so that a number of the host's that
  // changes and is not among `baked` is an Error, as is a failure to record.
  bool verify = false;

  // Empty where steps are recorded.
  std::string why_eager() const;
  int64_t eager_steps() const { return eager_steps_; }
  int64_t captures() const { return captures_; }
  int64_t replays() const { return replays_; }
  // Records that are kept; those that were not used for longest go first.
  static constexpr size_t kMostRecords = 8;

 private:
  // Everything a record depends on.
  struct Key {
    std::vector<const void*> places;
    std::vector<Shape> shapes;
    std::vector<double> baked;
    bool operator==(const Key&) const = default;
  };
  struct Record {
    Key key;
    Graph graph;
    int64_t arena_moves = 0, scratch_moves = 0;  // of the memory it knows
    uint32_t draws = 0;                          // of the generator
    uint64_t used = 0;
  };
  Record* find(const Key& key);
  Record& add(Key key);
  void capture(Record& record, const std::function<void()>& step);
  void give_up(const Error& why);

  Context& context_;
  std::string why_eager_;  // for good
  std::vector<Record> records_;
  Tensor step_;  // [1] of f64: the number of the step, for the kernels that draw
  uint64_t uses_ = 0;
  int64_t eager_steps_ = 0, captures_ = 0, replays_ = 0;
};

}  // namespace panvae
