// Whole trainings whose steps run as graphs, against the same trainings kernel by kernel: the same bits in weights, metrics and
// checkpoints. On simt, which records and refuses as a GPU does; and on cuda where there is one.
#include "base/file.h"
#include "engine/staged_source.h"
#include "tests/base/warnings.h"
#include "tests/models/atac_helpers.h"

namespace panvae::test {
namespace {

constexpr Device kSimt{DeviceType::simt, 0};

// What a training leaves behind.
struct Left {
  std::vector<std::string> lines;
  std::vector<float> weights, buffers;
  std::string checkpoint = {};
  TrainResult result;
};
void expect_same(const Left& a, const Left& b) {
  EXPECT_EQ(a.lines, b.lines);
  EXPECT_EQ(a.weights, b.weights);
  EXPECT_EQ(a.buffers, b.buffers);
  EXPECT_EQ(a.checkpoint, b.checkpoint);
  EXPECT_EQ(a.result.steps, b.result.steps);
  EXPECT_EQ(a.result.best_epoch, b.result.best_epoch);
  EXPECT_EQ(a.result.skipped_steps, b.result.skipped_steps);
}

struct How {
  Device device = kSimt;
  bool graph = true, verify = true, resume = false;
  int64_t stop_after = -1;  // interrupted when so many batches were asked for
  std::string checkpoint = {};
};

// Batches of 7 and 8 items, a KL weight of its own in each of three epochs, clipping.
TrainOptions options_of(const How& how) {
  return {.batch_size = 8, .learning_rate = 3e-3, .clip_norm = 5, .max_epochs = 4, .epoch_steps = 6, .checkpoint_seconds = 1e9, .seed = 5, .graph = how.graph};
}
constexpr LossOptions kLoss{.huber_delta = 1, .kl_weight = 0.05, .kl_warmup_epochs = 3};

Left trained(const How& how, Context& context, TrainingTask& task, ModuleState& state, const std::function<void()>& watch = {}) {
  VaeTrainer trainer(context, task, state, kLoss, options_of(how));
  trainer.checkpoint_path = how.checkpoint;
  trainer.graph().verify = how.verify && how.device.type == DeviceType::simt;
  Left left;
  trainer.on_epoch = [&](const EpochMetrics& m) {
    left.lines.push_back(m.json().dump());
    if (watch) watch();
  };
  if (how.resume) trainer.resume();
  if (how.stop_after > 0) {
    EXPECT_EQ(error_of([&] { trainer.run(); }).code(), ErrorCode::interrupted);
    set_interrupted(false);
  } else {
    left.result = trainer.run();
    EXPECT_EQ(left.result.replayed_steps, trainer.graph().replays());
  }
  left.weights = state.flat_parameters().host<float>();
  left.buffers = state.flat_buffers().host<float>();
  if (!how.checkpoint.empty()) left.checkpoint = read_file(how.checkpoint);
  return left;
}

std::unique_ptr<Context> context_of(const How& how) {
  auto c = std::make_unique<Context>(how.device);
  c->stream().simt = {simt::Order::forward, 1, 1};
  c->memory().poison_arena = true;
  return c;
}

constexpr int64_t kTrain = 15, kAll = 24;

Left rna(const How& how) {
  const std::vector<float> data = accessibility(kAll);
  const auto context = context_of(how);
  RnaVae model({.genes = kPeaks, .hidden = 14, .latent = 5});
  ModuleState state(*context, model, 11);
  WatchedSource source(*context, data, kAll);
  source.interrupt_at = how.stop_after;
  RowTask task(model, source, rows(0, kTrain), rows(kTrain, kAll));
  return trained(how, *context, task, state);
}

// By blocks, which are read by a thread where `staged`.
Left blocks(const How& how, bool staged) {
  const std::vector<float> data = accessibility(kAll);
  const auto context = context_of(how);
  const BlockSchedule schedule(kPeaks, 16, 4);
  AtacBlockVae model({.block = 16, .widths = {14, 12, 10}, .latent = 5});
  ModuleState state(*context, model, 11);
  WatchedBlocks watched(*context, data);
  watched.interrupt_at = how.stop_after;
  auto read = [&](int64_t sample, int64_t first, int64_t count, float* to) { std::copy_n(data.begin() + sample * kPeaks + first, count, to); };
  StagedBlockSource threaded(*context, read, kAll, kPeaks);
  BlockTask task(model, staged ? static_cast<BlockSource&>(threaded) : watched, schedule, rows(0, 4), rows(kTrain, kAll));
  Left left = trained(how, *context, task, state);
  if (staged) {
    EXPECT_GT(threaded.fills_from_staging(), 0);
  }
  return left;
}

// Block means, or peaks through the decoder of a block VAE.
Left whole(const How& how, bool peaks) {
  const std::vector<float> data = accessibility(kAll);
  const auto context = context_of(how);
  const BlockSchedule schedule(kPeaks, 16, 4);
  AtacBlockVae block({.block = 16, .widths = {14, 12, 10}, .latent = 6});
  AtacHierarchicalVae model({.blocks = 4, .block_latent = 6, .channels = 4, .widths = {12, 8}, .latent = 5});
  ModuleState block_state(*context, block, 1), state(*context, model, 12);
  MatrixBlockSource source(*context, data.data(), kAll, kPeaks);
  const std::vector<float> means = block_means(*context, block, source, schedule);
  WatchedSource mean_rows(*context, means, kAll);
  mean_rows.interrupt_at = how.stop_after;
  if (peaks) {
    PeakTask task(model, block, mean_rows, source, schedule, rows(0, kTrain), rows(kTrain, kAll));
    return trained(how, *context, task, state);
  }
  RowTask task(model, mean_rows, rows(0, kTrain), rows(kTrain, kAll));
  return trained(how, *context, task, state);
}

using Training = std::function<Left(const How&)>;
const std::vector<std::pair<const char*, Training>>& trainings() {
  static const std::vector<std::pair<const char*, Training>> all = {{"rna", rna},
                                                                    {"blocks", [](const How& how) { return blocks(how, false); }},
                                                                    {"staged blocks", [](const How& how) { return blocks(how, true); }},
                                                                    {"block means", [](const How& how) { return whole(how, false); }},
                                                                    {"peaks", [](const How& how) { return whole(how, true); }}};
  return all;
}

void graphs_equal_eager(Device device) {
  for (const auto& [name, train] : trainings()) {
    SCOPED_TRACE(name);
    Folder folder;
    const Left graph = train({.device = device, .checkpoint = folder.file("graph")}),
               eager = train({.device = device, .graph = false, .checkpoint = folder.file("eager")});
    expect_same(graph, eager);
    EXPECT_EQ(eager.result.replayed_steps, 0);
    // Of two batch sizes and three KL weights each is taken kernel by kernel once, and where memory for batches grew for validation.
    EXPECT_GE(graph.result.steps, 24);
    EXPECT_GE(graph.result.replayed_steps, graph.result.steps - 10) << "steps are replayed";
    EXPECT_LT(graph.result.replayed_steps, graph.result.steps);
  }
}

TEST(graphs, training_equals_training_kernel_by_kernel) {
  graphs_equal_eager(kSimt);
}

TEST(graphs, do_not_depend_on_being_verified) {
  for (const auto& [name, train] : trainings()) {
    SCOPED_TRACE(name);
    expect_same(train({}), train({.verify = false}));
  }
}

// A checkpoint knows nothing of graphs: either way goes on from the other's, to the same bits.
TEST(graphs, a_run_resumes_with_and_without_them) {
  for (const auto& [name, train] : trainings()) {
    if (std::string(name) == "staged blocks") continue;  // it reads what "blocks" reads
    SCOPED_TRACE(name);
    Folder folder;
    const Left through = train({.checkpoint = folder.file("through")});
    for (const auto& [before, after] : {std::pair{true, true}, {true, false}, {false, true}}) {
      How how{.graph = before, .stop_after = 11, .checkpoint = folder.file(fmt::format("stopped{}{}", before, after))};
      const Left first = train(how);
      how.graph = after;
      how.stop_after = -1;
      how.resume = true;
      Left second = train(how);
      second.lines.insert(second.lines.begin(), first.lines.begin(), first.lines.end());
      expect_same(second, through);
      EXPECT_EQ(second.result.replayed_steps > 0, after);
    }
  }
}

// The NaN comes in with a sample. Wherever it is met, in a step that is replayed or not, it is explained, and weights and running
// statistics are those of before that step.
TEST(graphs, nan_is_explained_and_leaves_weights_and_running_statistics_as_they_were) {
  for (const bool graph : {true, false}) {
    std::vector<float> data = accessibility(kAll);
    Context context(kSimt);
    AtacBlockVae model({.block = 57, .widths = {14, 12, 10}, .latent = 5});
    ModuleState state(context, model, 11);
    MatrixBlockSource source(context, data.data(), kAll, kPeaks);
    BlockTask task(model, source, BlockSchedule(kPeaks, 57, 57), rows(0, kTrain), {});
    TrainOptions options = options_of({.graph = graph});
    options.batch_size = 15;  // all of them: the second epoch's first step replays
    options.epoch_steps = 6;
    VaeTrainer trainer(context, task, state, {.huber_delta = 1, .kl_weight = 0.05, .kl_warmup_epochs = 0}, options);
    std::vector<float> weights, buffers;
    trainer.on_epoch = [&](const EpochMetrics& m) {
      if (m.epoch != 2) return;
      weights = state.flat_parameters().host<float>();
      buffers = state.flat_buffers().host<float>();
      data[static_cast<size_t>(3 * kPeaks + 20)] = NAN;
    };
    const Error e = error_of([&] { trainer.run(); });
    EXPECT_EQ(e.code(), ErrorCode::input);
    EXPECT_EQ(e.op(), "linear");
    EXPECT_CONTAINS(e.message(), "holds a NaN or an infinity");
    ASSERT_FALSE(weights.empty());
    EXPECT_EQ(state.flat_parameters().host<float>(), weights);
    EXPECT_EQ(state.flat_buffers().host<float>(), buffers);
    EXPECT_EQ(trainer.graph().replays() > 0, graph);
    EXPECT_FALSE(context.nan_guard);
  }
}

// A task whose loss looks at the device: nothing to record. One warning, and the run is what it would have been without graphs.
class LookingTask : public RowTask {
 public:
  using RowTask::RowTask;
  ItemLoss loss(Context& context, bool training, double huber_delta, double kl_weight) override {
    ItemLoss l = RowTask::loss(context, training, huber_delta, kl_weight);
    seen += l.loss.parts.host<float>()[0];
    return l;
  }
  double seen = 0;
};

TEST(graphs, a_trainer_goes_on_without_them_after_one_warning) {
  auto run = [](bool graph) {
    const How how{.graph = graph, .verify = false};
    const std::vector<float> data = accessibility(kAll);
    const auto context = context_of(how);
    RnaVae model({.genes = kPeaks, .hidden = 14, .latent = 5});
    ModuleState state(*context, model, 11);
    MatrixSource source(*context, data.data(), kAll, kPeaks);
    LookingTask task(model, source, rows(0, kTrain), rows(kTrain, kAll));
    return trained(how, *context, task, state);
  };
  const Warnings said;
  const Left graph = run(true);
  ASSERT_EQ(said.lines.size(), 1u);
  EXPECT_CONTAINS(said.lines[0], "without graphs");
  EXPECT_CONTAINS(said.lines[0], "memory of the device is copied to the host");
  EXPECT_EQ(graph.result.replayed_steps, 0);
  expect_same(graph, run(false));
}

// A weight that a task changes behind the trainer's back, and that reaches a kernel by value.
class DriftingTask : public RowTask {
 public:
  using RowTask::RowTask;
  ItemLoss loss(Context& context, bool training, double huber_delta, double kl_weight) override {
    return RowTask::loss(context, training, huber_delta, kl_weight * (drift += training ? 0.125 : 0));
  }
  double drift = 1;
};

TEST(graphs, a_number_that_is_baked_in_and_changes_is_noticed) {
  const std::vector<float> data = accessibility(kAll);
  Context context(kSimt);
  RnaVae model({.genes = kPeaks, .hidden = 14, .latent = 5});
  ModuleState state(context, model, 11);
  MatrixSource source(context, data.data(), kAll, kPeaks);
  DriftingTask task(model, source, rows(0, kTrain), {});
  VaeTrainer trainer(context, task, state, kLoss, options_of({}));
  trainer.graph().verify = true;
  const Error e = error_of([&] { trainer.run(); });
  EXPECT_EQ(e.code(), ErrorCode::internal);
  EXPECT_CONTAINS(e.message(), "huber_kl.cu");
  EXPECT_CONTAINS(e.message(), "has another argument");
}

class OnCuda : public testing::Test {
 public:
  void TestBody() override { graphs_equal_eager({DeviceType::cuda, 0}); }
};
[[maybe_unused]] const bool registered = [] {
  if (cuda_backend().device_count() > 0)
    testing::RegisterTest("graphs", "cuda", nullptr, nullptr, __FILE__, __LINE__, []() -> testing::Test* { return new OnCuda; });
  return true;
}();

}  // namespace
}  // namespace panvae::test
