#include "engine/step_graph.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "kernels/kernels.h"

namespace panvae {

namespace {

// While a step is recorded: memory comes from the arena alone, and noise by the step that the device knows.
class Recording {
 public:
  Recording(Context& context, const double* step) : context_(context) {
    context.memory().arena_only = true;
    context.generator.step_at = step;
  }
  ~Recording() {
    context_.memory().arena_only = false;
    context_.generator.step_at = nullptr;
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  Context& context_;
};

}  // namespace

StepGraph::StepGraph(Context& context) : context_(context), why_eager_(context.stream().backend().why_no_graphs()) {}

StepGraph::~StepGraph() {
  if (records_.empty()) return;
  try {
    context_.stream().synchronize();  // a graph that still runs must not go
  } catch (const Error&) {
    // The device is at fault, and who uses it next is told.
  }
}

std::string StepGraph::why_eager() const {
  if (!on) return "switched off";
  if (context_.nan_guard) return "the NaN guard looks at every tensor";
  if (context_.stream().profile) return "the profile times every kernel";
  return why_eager_;
}

StepGraph::Record* StepGraph::find(const Key& key) {
  const auto it = std::find_if(records_.begin(), records_.end(), [&](const Record& r) { return r.key == key; });
  return it == records_.end() ? nullptr : &*it;
}

StepGraph::Record& StepGraph::add(Key key) {
  if (records_.size() == kMostRecords) {
    context_.stream().synchronize();
    records_.erase(std::min_element(records_.begin(), records_.end(), [](const Record& a, const Record& b) { return a.used < b.used; }));
  }
  records_.emplace_back();
  records_.back().key = std::move(key);
  return records_.back();
}

void StepGraph::capture(Record& record, const std::function<void()>& step) {
  Stream& stream = context_.stream();
  const uint32_t first = context_.generator.op;
  Graph graph;
  {
    const Recording recording(context_, step_.data<double>());
    graph = stream.capture(step);
  }
  record.draws = context_.generator.op - first;
  context_.generator.op = first;
  ++captures_;
  if (record.graph) {
    const std::string difference = record.graph.difference(graph);
    if (!difference.empty())
      throw Error(ErrorCode::internal, fmt::format("graph: a step recorded twice is not the same: {}", difference), "",
                  "a number of the host's is baked in: name it to StepGraph::run, or keep it on the device", "graph");
  }
  record.graph = std::move(graph);
}

void StepGraph::give_up(const Error& why) {
  why_eager_ = fmt::format("a step could not be recorded: {}", why.what());
  context_.stream().synchronize();
  records_.clear();
  log::warning("training goes on without graphs, kernel by kernel: {}", why.what());
}

void StepGraph::run(const std::vector<Tensor>& inputs, const std::vector<double>& baked, const std::function<void()>& step) {
  PV_CHECK(!context_.memory().in_step(), "graph: run within a Step");
  PV_CHECK(!context_.tape(), "graph: run while a tape records: it would not see what a replayed step does");
  auto eagerly = [&] {
    step();
    ++eager_steps_;
  };
  if (!why_eager().empty()) return eagerly();
  Stream& stream = context_.stream();
  Memory& memory = context_.memory();
  if (!step_.defined()) step_ = Tensor::zeros(context_, {1}, DType::f64, "number of the step");
  Key key{{}, {}, baked};
  for (const Tensor& t : inputs) {
    key.places.push_back(t.bytes());
    key.shapes.push_back(t.shape());
  }
  key.baked.push_back(static_cast<double>(stream.math));
  key.baked.push_back(static_cast<double>(stream.provider));
  Record* record = find(key);
  if (!record) {
    eagerly();  // may throw: then it is not known, and the next time is the first again
    add(std::move(key)).used = ++uses_;
    return;
  }
  record->used = ++uses_;
  const Generator before = context_.generator;
  try {
    memory.settle_arena();
    context_.prepare_overlap();
    if (record->graph && (record->arena_moves != memory.arena_moves() || record->scratch_moves != stream.scratch_moves())) {
      stream.synchronize();
      record->graph = {};
    }
    if (!record->graph || verify) {
      record->arena_moves = memory.arena_moves();
      record->scratch_moves = stream.scratch_moves();
      capture(*record, step);
    }
    k::fill<double>(stream, step_.data<double>(), 1, static_cast<double>(context_.generator.step));
    record->graph.launch(stream);
  } catch (const Error& e) {
    context_.generator = before;
    if (verify) throw;
    give_up(e);
    return eagerly();
  }
  context_.generator.op += record->draws;
  ++replays_;
}

}  // namespace panvae
