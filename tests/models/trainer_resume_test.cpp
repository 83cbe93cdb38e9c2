// A run goes on where it was stopped, and what lies between its rows changes nothing.
#include <limits>

#include "base/file.h"
#include "base/interrupt.h"
#include "base/safetensors.h"
#include "engine/checkpoint.h"
#include "models/trainer.h"
#include "tests/engine/helpers.h"
#include "tests/models/rna_trainer_setup.h"

namespace panvae::test {
namespace {

// Stopped after any batch, within an epoch, between two or in validation, and resumed.
TEST(trainer, resume_equals_the_uninterrupted_run_bit_for_bit) {
  Folder folder;
  RunSetup s;
  s.checkpoint = folder.file("whole");
  Session whole(s);
  const TrainResult expected = whole.trainer.run();
  // An epoch asks for 4 training and 2 validation batches. Odd ones: by a source that is asked while the step before is under way.
  for (int64_t stop : {1, 2, 4, 5, 9, 15, 23, 26}) {
    SCOPED_TRACE(stop);
    s.checkpoint = folder.file("stopped" + std::to_string(stop));
    std::vector<std::string> lines;
    {
      Session first(s);
      first.source.interrupt_at = stop;
      first.source.ahead = stop % 2 == 1;
      const Error e = error_of([&] { first.trainer.run(); });
      set_interrupted(false);
      EXPECT_EQ(e.code(), ErrorCode::interrupted);
      EXPECT_CONTAINS(e.hint(), "--resume");
      lines = first.lines;
    }
    Session second(s);
    second.source.ahead = stop % 2 == 1;
    EXPECT_EQ(second.trainer.resume(), static_cast<int64_t>(lines.size()));
    const TrainResult r = second.trainer.run();
    lines.insert(lines.end(), second.lines.begin(), second.lines.end());
    EXPECT_EQ(lines, whole.lines);
    EXPECT_EQ(second.weights(), whole.weights());
    EXPECT_EQ(r.best_epoch, expected.best_epoch);
    EXPECT_EQ(r.steps, expected.steps);
    EXPECT_EQ(r.stopped_because, expected.stopped_because);
    EXPECT_EQ(r.validation_loss, expected.validation_loss);
    EXPECT_EQ(r.train_loss, expected.train_loss);
    EXPECT_EQ(read_file(s.checkpoint), read_file(folder.file("whole"))) << "and the same checkpoint at the end";
  }
}

// What a result says of "this call" is of this call, whatever the same trainer did before it: stopped, gone on, asked once more.
TEST(trainer, a_second_call_counts_its_own_steps_items_and_time) {
  RunSetup s;
  s.device = {DeviceType::simt, 0};  // which replays steps
  s.simt = {simt::Order::forward, 1, 1};
  const auto context = Session::with(s);
  RnaVae model(s.shape);
  ModuleState state(*context, model, 11);
  WatchedSource source(*context, s.data, kSamples);
  RowTask task(model, source, rows(0, 64), rows(64, kSamples));
  VaeTrainer trainer(*context, task, state, s.loss, s.train);
  double loading = 0;
  trainer.on_epoch = [&](const EpochMetrics& m) { loading += m.loading_seconds; };
  source.interrupt_at = 27;  // an epoch asks for 4 training and 2 validation batches: within the fifth of 8
  EXPECT_EQ(error_of([&] { trainer.run(); }).code(), ErrorCode::interrupted);
  set_interrupted(false);
  const int64_t replayed_before = trainer.graph().replays(), asked_before = static_cast<int64_t>(source.asked.size());
  const double waited_before = task.seconds_loading;
  ASSERT_GT(replayed_before, 0);
  ASSERT_GT(waited_before, 0);

  loading = 0;
  const TrainResult second = trainer.run();
  const int64_t asked = static_cast<int64_t>(source.asked.size()) - asked_before;
  EXPECT_EQ(second.steps, 8 * 4) << "of the whole run";
  EXPECT_EQ(second.replayed_steps, trainer.graph().replays() - replayed_before);
  EXPECT_GT(second.replayed_steps, 0);
  EXPECT_LT(second.replayed_steps, asked);
  EXPECT_EQ(second.loading_seconds, task.seconds_loading - waited_before);
  EXPECT_GT(second.loading_seconds, 0);
  EXPECT_LE(second.loading_seconds, second.seconds);
  EXPECT_NEAR(loading, second.loading_seconds, 1e-9) << "the sum over the epochs of this call";
  EXPECT_NEAR(second.samples_per_second * second.seconds, static_cast<double>(asked - 2 * 4) * 16, 1e-6) << "validation of four epochs apart";

  const TrainResult third = trainer.run();  // nothing is left to do
  EXPECT_EQ(third.steps, 8 * 4);
  EXPECT_EQ(third.replayed_steps, 0);
  EXPECT_EQ(third.loading_seconds, 0);
  EXPECT_EQ(third.samples_per_second, 0);
  EXPECT_EQ(third.best_epoch, second.best_epoch);
  EXPECT_EQ(third.stopped_because, second.stopped_because);
}

// Rows of 40 genes, 48 wide: what a GPU uses so that products find them aligned.
TEST(trainer, padded_rows_change_nothing_but_rounding) {
  for (Device device : host_devices())
    for (bool fused : {true, false}) {
      SCOPED_TRACE(to_string(device) + (fused ? ", fused" : ""));
      RunSetup s;
      s.device = device;
      s.train.max_epochs = 3;
      Session plain(s);
      s.shape.row_multiple = 16;
      Session padded(s);
      ASSERT_EQ(padded.model.width(), 48);
      EXPECT_EQ(padded.state.parameter_count(), plain.state.parameter_count());
      EXPECT_EQ(padded.state.unpadded<float>(padded.state.flat_parameters()), plain.weights()) << "they start from the same weights";
      for (Session* run : {&plain, &padded}) {
        run->context->fused = fused;
        run->trainer.run();
      }
      for (size_t i = 0; i < plain.epochs.size(); ++i) {
        EXPECT_NEAR(padded.epochs[i].train_loss, plain.epochs[i].train_loss, 1e-5 * plain.epochs[i].train_loss);
        EXPECT_NEAR(padded.epochs[i].validation_loss, plain.epochs[i].validation_loss, 1e-5 * plain.epochs[i].validation_loss);
      }
      EXPECT_LE(worst_relative(padded.state.unpadded<float>(padded.state.flat_parameters()), plain.weights()), 1e-4);
      expect_zero_padding(padded.state);
      Context& c = *padded.context;
      MatrixSource source(c, s.data.data(), kSamples, kGenes, 48), unpadded(c, s.data.data(), kSamples, kGenes);
      Folder folder;  // padded weights into a model without padding, by the file
      TensorWriter w;
      w.add(padded.state, "model.");
      w.file.write(folder.file("w"));
      RnaVae narrow(RunSetup().shape);
      ModuleState state(c, narrow, 1);
      read_state(SafetensorsReader(folder.file("w")), state, "model.");
      const Posteriors wide = posteriors(c, padded.model, source, true), thin = posteriors(c, narrow, unpadded, true);
      EXPECT_LE(worst_relative(wide.mean, thin.mean), 1e-5);
      EXPECT_LE(worst_relative(decodings(c, padded.model, wide.mean.data(), kSamples), decodings(c, narrow, wide.mean.data(), kSamples)), 1e-5);
      EXPECT_LE(worst_relative(padded.model.decoder_metric(Tensor::from(c, {kSamples, 5}, wide.mean)).host<float>(),
                               narrow.decoder_metric(Tensor::from(c, {kSamples, 5}, wide.mean)).host<float>()),
                1e-5);
    }
}

// A training run holds the padding more, and no second copy of anything padded.
TEST(trainer, padded_rows_take_memory_for_their_padding_alone) {
  RunSetup s;
  s.shape = {.genes = 1501, .hidden = 700, .latent = 5};
  PhiloxSequence draw({3, 0, 0});
  s.data.resize(static_cast<size_t>(kSamples * s.shape.genes));
  for (float& v : s.data) v = static_cast<float>(draw.normal());
  s.train.max_epochs = 1;
  s.validation = false;  // no copy of the best weights
  const auto peak = [&](int64_t row_multiple) {
    s.shape.row_multiple = row_multiple;
    Session run(s);
    run.trainer.run();
    return run.context->memory().peak_bytes();
  };
  const int64_t plain = peak(1), padded = peak(4);
  EXPECT_GT(padded, plain);
  EXPECT_LE(padded, plain + (2 << 20)) << "weights of the encoder are " << 4 * 700 * 1504 << " bytes";
}

// A run that began with padded rows, on a GPU, may go on without them, on a CPU, and the other way round.
TEST(trainer, resume_does_not_ask_how_rows_are_padded) {
  Folder folder;
  RunSetup s;
  s.train.max_epochs = 6;
  Session whole(s);
  whole.trainer.run();
  for (bool padded_first : {true, false}) {
    s.checkpoint = folder.file(padded_first ? "padded" : "plain");
    s.shape.row_multiple = padded_first ? 16 : 1;
    {
      Session first(s);
      first.source.interrupt_at = 15;
      error_of([&] { first.trainer.run(); });
      set_interrupted(false);
    }
    s.shape.row_multiple = padded_first ? 1 : 16;
    Session second(s);
    EXPECT_EQ(second.trainer.resume(), 2);
    second.trainer.run();
    EXPECT_LE(worst_relative(second.state.unpadded<float>(second.state.flat_parameters()), whole.weights()), 1e-4);
    // What is written has no padding: equal sizes of files.
    const SafetensorsReader file(s.checkpoint);
    EXPECT_EQ(file.at("model.encoder.hidden.weight").shape, (std::vector<int64_t>{24, kGenes}));
    EXPECT_EQ(file.at("model.decoder.output.bias").shape, (std::vector<int64_t>{kGenes}));
    EXPECT_EQ(file.at("adam.first_moment").shape, (std::vector<int64_t>{whole.state.flat_parameters().count()}));
    EXPECT_EQ(file.at("best").shape, (std::vector<int64_t>{whole.state.flat_parameters().count()}));
  }
  RunSetup wrong;
  wrong.shape.row_multiple = 16;
  Session run(wrong);
  MatrixSource narrow(*run.context, wrong.data.data(), kSamples, kGenes);
  EXPECT_CONTAINS(error_of([&] { VaeTrainer(*run.context, run.model, run.state, narrow, rows(0, 64), {}, wrong.loss, wrong.train); }).message(),
                  "rows of 40 for a model that takes rows of 48");
}

TEST(trainer, resume_works_twice_and_on_simt) {
  Folder folder;
  RunSetup s;
  s.device = {DeviceType::simt, 0};
  s.simt = {simt::Order::forward, 1, 1};
  s.train.max_epochs = 4;
  s.checkpoint = folder.file("whole");
  Session whole(s);
  whole.trainer.run();
  s.checkpoint = folder.file("stopped");
  for (int64_t stop : {3, 8}) {
    Session part(s);
    if (stop > 3) part.trainer.resume();
    part.source.interrupt_at = stop;
    error_of([&] { part.trainer.run(); });
    set_interrupted(false);
  }
  Session last(s);
  last.trainer.resume();
  last.trainer.run();
  EXPECT_EQ(last.weights(), whole.weights());
}

TEST(trainer, a_finished_run_resumes_to_the_same_result) {
  Folder folder;
  RunSetup s;
  s.checkpoint = folder.file("c");
  Session first(s);
  const TrainResult a = first.trainer.run();
  Session again(s);
  again.trainer.resume();
  const TrainResult b = again.trainer.run();
  EXPECT_TRUE(again.lines.empty()) << "nothing is left to train";
  EXPECT_EQ(again.weights(), first.weights());
  EXPECT_EQ(b.best_epoch, a.best_epoch);
  EXPECT_EQ(b.epochs, a.epochs);
  EXPECT_EQ(b.stopped_because, a.stopped_because);
}

TEST(trainer, a_checkpoint_of_something_else_is_refused_and_changes_nothing) {
  Folder folder;
  RunSetup s;
  s.checkpoint = folder.file("c");
  s.train.max_epochs = 4;
  { Session(s).trainer.run(); }
  auto refused = [&](const RunSetup& other) {
    Session session(other);
    const auto before = session.weights();
    const Error e = error_of([&] { session.trainer.resume(); });
    EXPECT_EQ(e.code(), ErrorCode::input);
    EXPECT_EQ(session.weights(), before);
    return e;
  };
  RunSetup config = s;
  config.fingerprint = "config 2";
  EXPECT_CONTAINS(refused(config).message(), "another configuration");
  RunSetup shape = s;
  shape.shape.hidden = 25;
  EXPECT_CONTAINS(refused(shape).message(), "do not fit");
  RunSetup absent = s;
  absent.checkpoint = folder.file("absent");
  EXPECT_CONTAINS(refused(absent).message(), "cannot read");
  const std::string whole = read_file(s.checkpoint);
  RunSetup cut = s;
  cut.checkpoint = folder.file("cut");
  write_file(cut.checkpoint, whole.substr(0, whole.size() / 2));
  EXPECT_CONTAINS(refused(cut).message(), "not a valid safetensors file");
  RunSetup moved = s;
  moved.checkpoint = folder.file("moved");
  const SafetensorsReader written(s.checkpoint);
  const std::vector<double> position = written.doubles("position");
  const auto refused_at = [&](const std::vector<double>& elsewhere) {
    SafetensorsWriter w;
    for (const auto& [name, tensor] : written.tensors())
      if (name != "position") w.add(name, tensor.dtype, tensor.shape, tensor.data);
    w.add("position", elsewhere);
    for (const auto& [key, value] : written.metadata()) w.metadata(key, value);
    w.write(moved.checkpoint);
    const Error e = refused(moved);
    EXPECT_CONTAINS(e.where(), "moved");
    return e;
  };
  std::vector<double> longer = position, no_number = position, fraction = position;
  longer.push_back(0);
  no_number.front() = std::numeric_limits<double>::quiet_NaN();
  fraction[1] = 0.5;
  EXPECT_CONTAINS(refused_at(longer).hint(), "another version");
  for (const auto& damaged : {no_number, fraction}) EXPECT_CONTAINS(refused_at(damaged).message(), "counts");
}

}  // namespace
}  // namespace panvae::test
