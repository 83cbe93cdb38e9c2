#include "models/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "base/file.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "engine/checkpoint.h"
#include "tests/base/warnings.h"
#include "tests/engine/helpers.h"
#include "tests/models/trainer_helpers.h"

namespace panvae::test {
namespace {

constexpr int64_t kSamples = 96, kGenes = 40;

// Three hidden programs and some noise.
std::vector<float> expression(uint64_t seed = 1) {
  PhiloxSequence draw({seed, 0, 0});
  std::vector<double> programs(3 * kGenes);
  for (double& v : programs) v = draw.normal();
  std::vector<float> x;
  for (int64_t i = 0; i < kSamples; ++i) {
    double activity[3];
    for (double& a : activity) a = draw.normal();
    for (int64_t g = 0; g < kGenes; ++g) {
      double v = 0.1 * draw.normal();
      for (int64_t p = 0; p < 3; ++p) v += activity[p] * programs[static_cast<size_t>(p * kGenes + g)];
      x.push_back(static_cast<float>(v));
    }
  }
  return x;
}

std::vector<int64_t> rows(int64_t from, int64_t to) {
  std::vector<int64_t> r(static_cast<size_t>(to - from));
  std::iota(r.begin(), r.end(), from);
  return r;
}

struct RunSetup {
  RnaVaeShape shape{.genes = kGenes, .hidden = 24, .latent = 5, .activation = {Activation::relu, 0}};
  LossOptions loss{.huber_delta = 1, .kl_weight = 0.05, .kl_warmup_epochs = 3};
  TrainOptions train{.batch_size = 16, .learning_rate = 3e-3, .max_epochs = 8, .checkpoint_seconds = 1e9, .seed = 5};
  Device device;
  simt::Options simt;
  std::vector<float> data = expression();
  int64_t train_rows = 64;  // of kSamples; the rest validates
  bool validation = true;
  std::string checkpoint, fingerprint = "config 1";
};

// Everything of one run, so that several live side by side.
struct Session {
  explicit Session(const RunSetup& s)
      : setup(s),
        context(with(s)),
        model(s.shape),
        state(*context, model, 11),
        source(*context, setup.data, kSamples, s.shape.row_multiple > 1 ? model.width() : 0),
        trainer(*context, model, state, source, rows(0, s.train_rows), s.validation ? rows(s.train_rows, kSamples) : std::vector<int64_t>{}, s.loss, s.train) {
    trainer.checkpoint_path = s.checkpoint;
    trainer.fingerprint = s.fingerprint;
    trainer.on_epoch = [this](const EpochMetrics& m) {
      epochs.push_back(m);
      lines.push_back(m.json().dump());
      if (m.best) best_weights = state.flat_parameters().host<float>();
    };
  }
  static std::unique_ptr<Context> with(const RunSetup& s) {
    auto c = std::make_unique<Context>(s.device);
    c->stream().simt = s.simt;
    return c;
  }
  std::vector<float> weights() const { return state.flat_parameters().host<float>(); }

  RunSetup setup;
  std::unique_ptr<Context> context;
  RnaVae model;
  ModuleState state;
  WatchedSource source;
  VaeTrainer trainer;
  std::vector<EpochMetrics> epochs;
  std::vector<std::string> lines;
  std::vector<float> best_weights;
};

// 64 samples in batches of 16 are 4 steps; 10 at least take 3 passes, each of which sees every sample once.
TEST(trainer, an_epoch_passes_over_a_small_set_several_times) {
  RunSetup s;
  s.validation = false;
  s.train.max_epochs = 2;
  s.train.epoch_steps = 10;
  Session run(s);
  EXPECT_EQ(run.trainer.run().steps, 24);
  ASSERT_EQ(run.epochs.size(), 2u);
  ASSERT_EQ(run.source.asked.size(), 24u);
  for (size_t pass = 0; pass < 6; ++pass) {
    std::vector<int64_t> seen;
    for (size_t b = 4 * pass; b < 4 * pass + 4; ++b) seen.insert(seen.end(), run.source.asked[b].begin(), run.source.asked[b].end());
    EXPECT_NE(seen, rows(0, 64)) << "not shuffled";
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(seen, rows(0, 64)) << "pass " << pass;
  }
  EXPECT_NE(run.source.asked[0], run.source.asked[4]);
  // Six epochs of one pass take the same steps.
  RunSetup short_epochs = s;
  short_epochs.train.max_epochs = 6;
  short_epochs.train.epoch_steps = 1;
  short_epochs.loss.kl_warmup_epochs = s.loss.kl_warmup_epochs = 0;
  Session a(s), b(short_epochs);
  a.trainer.run(), b.trainer.run();
  EXPECT_EQ(a.weights(), b.weights());
}

TEST(trainer, the_loss_falls) {
  RunSetup s;
  s.train.max_epochs = 60;
  s.train.patience = 100;
  Session run(s);
  const TrainResult r = run.trainer.run();
  ASSERT_EQ(run.epochs.size(), 60u);
  EXPECT_LT(run.epochs.back().train_huber, 0.5 * run.epochs.front().train_huber);
  EXPECT_LT(run.epochs.back().validation_huber, 0.6 * run.epochs.front().validation_huber);
  EXPECT_GE(run.epochs.back().active_units, 3) << "three programs were planted";
  EXPECT_EQ(r.epochs, 60);
  EXPECT_EQ(r.steps, 60 * 4);
  EXPECT_EQ(r.skipped_steps, 0);
  EXPECT_CONTAINS(r.stopped_because, "max_epochs 60");
  EXPECT_NEAR(r.samples_per_second * r.seconds, 60 * 64, 1e-6);
}

// Whatever the last batch of a validation holds, each sample counts alike: 20 of them in batches of 16 and at once.
TEST(trainer, validation_is_a_mean_over_samples) {
  EpochMetrics of[2];
  for (int64_t batch : {16, 20}) {
    RunSetup s;
    s.train_rows = kSamples - 20;
    s.train.batch_size = batch;
    s.train.learning_rate = 0;  // the weights stay those of the beginning
    s.train.max_epochs = 1;
    Session run(s);
    run.trainer.run();
    of[batch == 20] = run.epochs.at(0);
  }
  EXPECT_NEAR(of[0].validation_huber, of[1].validation_huber, 1e-5 * of[1].validation_huber);
  EXPECT_NEAR(of[0].validation_kl, of[1].validation_kl, 1e-5 * of[1].validation_kl);
  EXPECT_GT(of[1].validation_kl, 0);
}

// Latents whose posterior means have a variance (n - 1) above 0.01 over the validation samples (SPEC L1).
TEST(trainer, active_units_are_those_whose_means_vary) {
  RunSetup s;
  s.loss.kl_weight = 10;  // some latents are given up
  s.train.max_epochs = 40;
  s.train.patience = 100;
  Session run(s);
  int small = 0, off_centre = 0, active = 0;
  run.trainer.on_epoch = [&](const EpochMetrics& m) {
    const std::vector<float> z = posteriors(*run.context, run.model, run.source).mean;
    int64_t expected = 0;
    for (size_t j = 0; j < 5; ++j) {
      const double n = static_cast<double>(kSamples - 64);
      double mean = 0, squares = 0, second = 0;
      for (size_t i = 64; i < kSamples; ++i) mean += z[i * 5 + j] / n;
      for (size_t i = 64; i < kSamples; ++i) squares += std::pow(z[i * 5 + j] - mean, 2), second += std::pow(z[i * 5 + j], 2);
      const double variance = squares / (n - 1);
      expected += variance > 0.01;
      active += variance > 0.01;
      small += variance < 0.01 && std::sqrt(variance) > 0.01;
      off_centre += variance < 0.01 && second / (n - 1) > 0.01;
    }
    EXPECT_EQ(m.active_units, expected) << "epoch " << m.epoch;
  };
  run.trainer.run();
  EXPECT_GT(active, 0);
  EXPECT_GT(small, 0) << "a latent of which the standard deviation alone is above 0.01";
  EXPECT_GT(off_centre, 0) << "one that is far from zero and does not vary";
}

// A run that dies finds what it wrote last: after every step where that is asked for, and only at the end where never.
TEST(trainer, checkpoints_are_written_while_it_runs) {
  Folder folder;
  RunSetup s;
  s.checkpoint = folder.file("whole");
  Session whole(s);
  whole.trainer.run();
  for (double seconds : {0.0, 1e9}) {
    s.checkpoint = folder.file(seconds > 0 ? "at the end" : "after every step");
    s.train.checkpoint_seconds = seconds;
    Session dies(s);
    dies.trainer.on_epoch = [](const EpochMetrics& m) {
      if (m.epoch == 3) throw std::runtime_error("as if the process ended");
    };
    EXPECT_THROW(dies.trainer.run(), std::runtime_error);
    EXPECT_EQ(std::filesystem::exists(s.checkpoint), seconds == 0);
    if (seconds > 0) continue;
    Session second(s);
    EXPECT_EQ(second.trainer.resume(), 2) << "two epochs, and the steps of the third";
    second.trainer.run();
    EXPECT_EQ(second.weights(), whole.weights());
    EXPECT_EQ(second.lines, (std::vector<std::string>{whole.lines.begin() + 2, whole.lines.end()}));
  }
}

// One when it is due, and then none before the time has passed again.
TEST(trainer, a_checkpoint_is_not_written_anew_before_its_time) {
  Folder folder;
  RunSetup s;
  s.checkpoint = folder.file("c");
  s.train.checkpoint_seconds = 3;  // epochs take milliseconds, on a machine under load perhaps many
  s.train.max_epochs = 3;
  Session run(s);
  run.trainer.on_epoch = [&](const EpochMetrics& m) {
    EXPECT_EQ(std::filesystem::exists(s.checkpoint), m.epoch == 2) << "epoch " << m.epoch;
    if (m.epoch == 1) std::this_thread::sleep_for(std::chrono::milliseconds(3050));
    std::filesystem::remove(s.checkpoint);
  };
  run.trainer.run();
  EXPECT_TRUE(std::filesystem::exists(s.checkpoint)) << "and one at the end";
}

// How far it is counts the steps of the runs that were continued.
TEST(trainer, progress_goes_on_where_the_run_was_stopped) {
  Folder folder;
  RunSetup s;
  s.checkpoint = folder.file("c");
  {
    Session first(s);
    first.source.interrupt_at = 9;
    error_of([&] { first.trainer.run(); });
    set_interrupted(false);
  }
  std::vector<ProgressState> seen;
  const ProgressSink before = set_progress_sink([&](const ProgressState& p) { seen.push_back(p); });
  Session second(s);
  second.trainer.resume();
  second.trainer.run();
  set_progress_sink(before);
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back().total, 8 * 4);
  EXPECT_EQ(seen.back().done, 8 * 4);
}

TEST(trainer, kl_weight_rises_over_the_warm_up_and_losses_add_up) {
  Session run{RunSetup{}};
  run.trainer.run();
  const double expected[] = {0.05 / 3, 0.1 / 3, 0.05, 0.05};
  for (size_t i = 0; i < 4; ++i) {
    const EpochMetrics& m = run.epochs[i];
    EXPECT_EQ(m.epoch, static_cast<int64_t>(i) + 1);
    EXPECT_DOUBLE_EQ(m.kl_weight, expected[i]);
    EXPECT_NEAR(m.train_loss, m.train_huber + m.kl_weight * m.train_kl, 1e-5 * m.train_loss);
    EXPECT_NEAR(m.validation_loss, m.validation_huber + 0.05 * m.validation_kl, 1e-9) << "validation takes the full weight";
    EXPECT_EQ(m.json(), (Json{{"epoch", m.epoch},
                              {"kl_weight", m.kl_weight},
                              {"train_loss", m.train_loss},
                              {"train_huber", m.train_huber},
                              {"train_kl", m.train_kl},
                              {"validation_loss", m.validation_loss},
                              {"validation_huber", m.validation_huber},
                              {"validation_kl", m.validation_kl},
                              {"active_units", m.active_units},
                              {"best", m.best}}));
  }
  EXPECT_FALSE(run.epochs[0].best || run.epochs[1].best) << "no candidate within the warm-up";
  EXPECT_TRUE(run.epochs[2].best);
  RunSetup brief;
  brief.train.max_epochs = 2;
  EXPECT_EQ(Session(brief).trainer.run().best_epoch, 2) << "of a run that ends within the warm-up the last epoch is one";
}

TEST(trainer, an_epoch_takes_each_sample_once_in_even_batches_and_another_order) {
  RunSetup s;
  s.train_rows = 50;
  s.validation = false;
  s.train.max_epochs = 2;
  Session run(s);
  run.trainer.run();
  ASSERT_EQ(run.source.asked.size(), 8u);
  std::vector<int64_t> order[2];
  for (size_t b = 0; b < 8; ++b) {
    EXPECT_TRUE(run.source.asked[b].size() == 12 || run.source.asked[b].size() == 13) << run.source.asked[b].size();
    order[b / 4].insert(order[b / 4].end(), run.source.asked[b].begin(), run.source.asked[b].end());
  }
  EXPECT_NE(order[0], order[1]);
  for (auto& o : order) {
    EXPECT_NE(o, rows(0, 50));
    std::sort(o.begin(), o.end());
    EXPECT_EQ(o, rows(0, 50));
  }
  EXPECT_FALSE(run.epochs[0].json().contains("validation_loss"));
}

TEST(trainer, the_same_seed_gives_the_same_bits_and_another_does_not) {
  RunSetup s;
  Session a(s), b(s);
  a.trainer.run();
  b.trainer.run();
  EXPECT_EQ(a.weights(), b.weights());
  EXPECT_EQ(a.lines, b.lines);
  s.train.seed = 6;
  Session c(s);
  c.trainer.run();
  EXPECT_NE(a.weights(), c.weights());
}

// The loop of the trainer written out for the RNA VAE by hand: no layer between may change a bit.
TEST(trainer, equals_the_plain_loop_bit_for_bit) {
  RunSetup s;
  s.train.max_epochs = 4;
  s.train_rows = 50;
  s.validation = false;
  Session run(s);
  run.context->fused = false;  // the loop below calls op after op
  run.trainer.run();
  Context c;
  RnaVae model(s.shape);
  ModuleState state(c, model, 11);
  MatrixSource source(c, s.data.data(), kSamples, kGenes);
  Adam adam(state, {.weight_decay = s.train.weight_decay});
  adam.learning_rate = s.train.learning_rate;
  c.generator = {s.train.seed, 0, 0};
  for (int64_t epoch = 1; epoch <= 4; ++epoch) {
    std::vector<int64_t> order = rows(0, 50);
    PhiloxSequence draw({s.train.seed, static_cast<uint32_t>(epoch), 0xFFFFFFFEu});
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draw.below(i)]);
    const double kl_weight = 0.05 * std::min(1.0, static_cast<double>(epoch) / 3);
    double sums[3] = {};
    for (int64_t b = 0; b < 4; ++b) {
      const std::vector<int64_t> taken(order.begin() + b * 50 / 4, order.begin() + (b + 1) * 50 / 4);
      Tensor x = Tensor::empty(c, {static_cast<int64_t>(taken.size()), kGenes});
      source.fill(taken, x);
      {
        Tape tape(c);
        const Posterior q = model.encode(x);
        const Tensor z = ops::reparameterize(q.mean, q.logvar, c.generator.next());
        const ops::VaeLoss loss = ops::huber_kl(model.decode(z), x, q.mean, q.logvar, 1, kl_weight);
        adam.zero_grad();
        tape.backward(loss.loss);
        const std::vector<float> parts = loss.parts.host<float>();
        for (size_t i = 0; i < 3; ++i) sums[i] += parts[i] * static_cast<double>(taken.size());
      }
      adam.step();
      c.generator.next_step();
    }
    // Each sample counts alike, though batches are of 12 and 13.
    const EpochMetrics& m = run.epochs.at(static_cast<size_t>(epoch) - 1);
    EXPECT_DOUBLE_EQ(m.train_loss, sums[0] / 50);
    EXPECT_DOUBLE_EQ(m.train_huber, sums[1] / 50);
    EXPECT_DOUBLE_EQ(m.train_kl, sums[2] / 50);
  }
  EXPECT_EQ(run.weights(), state.flat_parameters().host<float>());
}

// Weight gradients that are never written: the same curve.
TEST(trainer, fused_updates_give_the_same_curve) {
  for (Device device : host_devices()) {
    RunSetup s;
    s.device = device;
    s.simt = {simt::Order::forward, 1, 1};
    s.train.max_epochs = device.type == DeviceType::cpu ? 8 : 2;
    Session fused(s);
    // Never reached, but clipping needs the norm first, so gradients are written.
    s.train.clip_norm = 1e9;
    Session plain(s);
    fused.trainer.run(), plain.trainer.run();
    ASSERT_EQ(fused.epochs.size(), plain.epochs.size());
    for (size_t i = 0; i < fused.epochs.size(); ++i) {
      EXPECT_NEAR(fused.epochs[i].train_loss, plain.epochs[i].train_loss, 1e-5 * plain.epochs[i].train_loss);
      EXPECT_NEAR(fused.epochs[i].validation_loss, plain.epochs[i].validation_loss, 1e-5 * plain.epochs[i].validation_loss);
    }
    // On simt the gradients are the same bits; the update is rounded as the compiler contracts it, in either kernel.
    if (device.type == DeviceType::simt) {
      EXPECT_LE(worst_relative(fused.weights(), plain.weights()), 1e-6);
    }
  }
}

// The norms of a product's factors stand for that of a gradient that is not written: they are taken where a step needs them, and not
// where clipping, or a network that runs op by op, has the gradients themselves.
TEST(trainer, norms_of_factors_are_taken_for_kept_products_alone) {
  for (bool fused : {true, false})
    for (double clip_norm : {0.0, 5.0}) {
      RunSetup s;
      s.train.max_epochs = 1;
      s.train.clip_norm = clip_norm;
      Session run(s);
      run.context->fused = fused;
      run.trainer.run();
      const std::vector<double> squares = run.state.factor_squares().host<double>();
      for (size_t i = 0; i < run.state.entries().size(); ++i) {
        const ModuleState::Entry& e = run.state.entries()[i];
        const bool kept = fused && clip_norm == 0 && e.tensor.rank() == 2;
        EXPECT_EQ(squares[2 * i] > 0 && squares[2 * i + 1] > 0, kept) << e.name;
        EXPECT_EQ(squares[2 * i] == 0 && squares[2 * i + 1] == 0, !kept) << e.name;
      }
    }
}

// Three steps of the CUDA sources on the CPU.
TEST(trainer, three_steps_on_simt_equal_cpu_and_do_not_depend_on_the_order_of_threads) {
  RunSetup s;
  s.train_rows = 48;
  s.train.max_epochs = 1;
  s.train.clip_norm = 5;
  Session cpu(s);
  EXPECT_EQ(cpu.trainer.run().steps, 3);
  s.device = {DeviceType::simt, 0};
  std::vector<float> first;
  for (const simt::Options& o :
       {simt::Options{simt::Order::forward, 1, 1}, {simt::Order::reverse, 1, 1}, {simt::Order::random, 1, 1}, {simt::Order::random, 2, 2}}) {
    s.simt = o;
    Session simt(s);
    simt.trainer.run();
    const std::vector<float> w = simt.weights();
    if (first.empty()) first = w;
    EXPECT_EQ(w, first) << "another order of threads, other weights";
    EXPECT_NEAR(simt.epochs[0].train_loss, cpu.epochs[0].train_loss, 1e-5 * cpu.epochs[0].train_loss);
    EXPECT_NEAR(simt.epochs[0].validation_loss, cpu.epochs[0].validation_loss, 1e-5 * cpu.epochs[0].validation_loss);
  }
  const std::vector<float> c = cpu.weights();
  double worst = 0, largest = 0, moved = 0;
  Session start(s);
  const std::vector<float> before = start.weights();
  for (size_t i = 0; i < c.size(); ++i) {
    worst = std::max<double>(worst, std::abs(c[i] - first[i]));
    largest = std::max<double>(largest, std::abs(c[i]));
    moved = std::max<double>(moved, std::abs(c[i] - before[i]));
  }
  EXPECT_LE(worst, 1e-5 * largest);
  EXPECT_GT(moved, 1e-3) << "the steps did something";
}

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
}

TEST(trainer, early_stopping_restores_the_best_weights) {
  RunSetup s;
  s.train_rows = 12;  // few samples and a high rate: it overfits soon
  s.train.batch_size = 4;
  s.train.learning_rate = 2e-2;
  s.train.max_epochs = 400;
  s.train.patience = 6;
  Session run(s);
  const TrainResult r = run.trainer.run();
  EXPECT_LT(r.epochs, 400);
  EXPECT_EQ(r.epochs, r.best_epoch + 6) << "patience counts the epochs without a better loss (SPEC L8)";
  EXPECT_EQ(r.stopped_because, "no better validation loss in 6 epochs");
  EXPECT_EQ(run.weights(), run.best_weights);
  double best = 1e300;
  int64_t best_epoch = 0;
  for (const EpochMetrics& m : run.epochs)
    if (m.epoch >= s.loss.kl_warmup_epochs && m.validation_loss < best) best = m.validation_loss, best_epoch = m.epoch;
  EXPECT_EQ(r.best_epoch, best_epoch);
  EXPECT_EQ(r.validation_loss, best);
  EXPECT_EQ(r.train_loss, run.epochs.at(static_cast<size_t>(best_epoch) - 1).train_loss) << "of the best epoch, as the weights";
  // The weights that were left give that loss.
  const std::vector<float> means = posteriors(*run.context, run.model, run.source).mean;
  EXPECT_EQ(means.size(), static_cast<size_t>(kSamples * 5));
  for (float v : means) EXPECT_TRUE(std::isfinite(v));
}

TEST(trainer, min_epochs_holds_patience_back) {
  RunSetup s;
  s.train_rows = 12;
  s.train.learning_rate = 2e-2;
  s.train.max_epochs = 60;
  s.train.patience = 1;
  Session soon(s);
  const int64_t without = soon.trainer.run().epochs;
  s.train.min_epochs = 50;
  Session late(s);
  EXPECT_GT(late.trainer.run().epochs, 50);
  EXPECT_LT(without, 50);
}

// Where no weight moves every epoch has the same loss: the first candidate is and stays the best, and patience counts the epochs behind
// min_epochs, or behind the best.
TEST(trainer, equal_losses_are_no_better_and_patience_counts_behind_min_epochs) {
  for (int64_t min_epochs : {0, 5}) {
    RunSetup s;
    s.train.learning_rate = 0;
    s.train.max_epochs = 60;
    s.train.patience = 2;
    s.train.min_epochs = min_epochs;
    Session run(s);
    const TrainResult r = run.trainer.run();
    EXPECT_EQ(r.best_epoch, 3) << "the first with the full KL weight";
    EXPECT_EQ(r.epochs, min_epochs == 0 ? 5 : 7);
    EXPECT_EQ(r.stopped_because, "no better validation loss in 2 epochs");
  }
  RunSetup s;
  s.train.learning_rate = 0;
  s.train.max_epochs = 60;
  s.train.patience = 0;
  const TrainResult r = Session(s).trainer.run();
  EXPECT_EQ(r.epochs, 4) << "less patience than one epoch there is not";
  EXPECT_EQ(r.stopped_because, "no better validation loss in 1 epochs");
}

TEST(trainer, a_source_that_queues_is_asked_for_the_same_batches_and_gives_the_same_run) {
  for (Device device : host_devices()) {
    RunSetup s;
    s.device = device;
    s.train.max_epochs = 3;
    Session waits(s), queues(s);
    queues.source.ahead = true;
    waits.trainer.run(), queues.trainer.run();
    EXPECT_EQ(queues.source.asked, waits.source.asked);
    EXPECT_EQ(queues.lines, waits.lines);
    EXPECT_EQ(queues.weights(), waits.weights());
  }
  // The second batch is asked for within the first step, or at the begin of the second.
  for (bool ahead : {false, true}) {
    Session run(RunSetup{});
    run.source.ahead = ahead;
    run.source.interrupt_at = 2;
    const Error e = error_of([&] { run.trainer.run(); });
    set_interrupted(false);
    EXPECT_CONTAINS(e.message(), ahead ? "after 1 of 4 batches" : "after 2 of 4 batches");
  }
}

TEST(trainer, nan_in_the_data_is_explained_by_op_and_tensor) {
  for (float bad : {NAN, INFINITY}) {
    for (Device device : host_devices()) {
      RunSetup s;
      s.device = device;
      s.data[static_cast<size_t>(30 * kGenes + 7)] = bad;
      Session run(s);
      run.source.ahead = bad == INFINITY;
      const Error e = error_of([&] { run.trainer.run(); });
      EXPECT_EQ(e.code(), ErrorCode::input);
      EXPECT_EQ(e.op(), "linear");
      EXPECT_CONTAINS(e.message(), "its output of shape [16, 24] holds a NaN or an infinity");
      for (float v : run.weights()) ASSERT_TRUE(std::isfinite(v)) << "the weights are those of before";
      EXPECT_FALSE(run.context->nan_guard) << "the context is left as it was";
      EXPECT_EQ(run.context->tape(), nullptr);
    }
  }
}

TEST(trainer, a_validation_loss_that_is_not_finite_ends_the_run) {
  for (float bad : {NAN, 3e38f}) {
    RunSetup s;
    s.data[static_cast<size_t>((s.train_rows + 1) * kGenes + 7)] = bad;
    Session run(s);
    const Error e = error_of([&] { run.trainer.run(); });
    EXPECT_EQ(e.code(), ErrorCode::input);
    EXPECT_CONTAINS(e.message(), "the validation loss of epoch 1 is not finite");
    EXPECT_CONTAINS(e.hint(), "validation samples");
  }
}

// h = 0 exactly, so the loss is finite whatever the output weights are; their gradient path overflows.
TEST(trainer, a_gradient_with_infinities_is_skipped_and_counted) {
  for (Device device : host_devices()) {
    RunSetup s;
    s.device = device;
    s.train.max_epochs = 2;
    s.shape.activation = {};
    for (float& v : s.data) v = std::abs(v) + 2;
    Session run(s);
    for (const auto& e : run.state.entries()) {
      Tensor t = e.tensor;
      float value = 0;
      if (e.name == "decoder.output.weight") value = 3e38f;
      else if (e.name.rfind("decoder.", 0) != 0) continue;
      const std::vector<float> all(static_cast<size_t>(t.count()), value);
      t.upload(all.data(), t.count());
    }
    const auto before = run.weights();
    const Warnings said;
    const TrainResult r = run.trainer.run();
    EXPECT_EQ(r.steps, 8);
    EXPECT_EQ(r.skipped_steps, 8);
    ASSERT_EQ(said.lines.size(), 1u);
    EXPECT_CONTAINS(said.lines[0], "8 steps were skipped because their gradient was not finite");
    EXPECT_EQ(run.weights(), before) << "skipped steps change nothing";
    EXPECT_TRUE(std::isfinite(r.train_loss) && std::isfinite(run.epochs[0].train_loss));
  }
}

TEST(trainer, refuses_what_cannot_be_trained) {
  RunSetup s;
  s.train_rows = 0;
  error_of([&] { Session{s}; });
  RunSetup batch;
  batch.train.batch_size = 0;
  error_of([&] { Session{batch}; });
  RunSetup genes;
  genes.shape.genes = kGenes + 1;
  EXPECT_CONTAINS(error_of([&] { Session{genes}; }).message(), "40 features for a model of 41");
}

// ---- the model
TEST(rna_vae, has_the_parameters_of_the_paper) {
  Context c;
  RnaVae model({.genes = 7, .hidden = 5, .latent = 3});
  ModuleState state(c, model, 1);
  std::vector<std::string> names;
  for (const auto& e : state.entries()) names.push_back(e.name + " " + e.tensor.shape().str());
  EXPECT_EQ(names, (std::vector<std::string>{"encoder.hidden.weight [5, 7]", "encoder.hidden.bias [5]", "encoder.mean.weight [3, 5]", "encoder.mean.bias [3]",
                                             "encoder.logvar.weight [3, 5]", "encoder.logvar.bias [3]", "decoder.hidden.weight [5, 3]",
                                             "decoder.hidden.bias [5]", "decoder.output.weight [7, 5]", "decoder.output.bias [7]"}));
}

// Against loops in f64.
TEST(rna_vae, encodes_and_decodes_as_its_formula_says) {
  for (Fusable activation : {Fusable{Activation::relu, 0}, Fusable{Activation::leaky_relu, 0.1}, Fusable{}}) {
    Context c;
    RnaVae model({.genes = 7, .hidden = 5, .latent = 3, .activation = activation});
    ModuleState state(c, model, 1);
    std::map<std::string, std::vector<float>> w;
    for (const auto& e : state.entries()) w[e.name] = e.tensor.host<float>();
    auto layer = [&](const std::vector<double>& x, const std::string& name, bool activated) {
      const auto &weight = w[name + ".weight"], &bias = w[name + ".bias"];
      std::vector<double> y(bias.begin(), bias.end());
      for (size_t o = 0; o < y.size(); ++o) {
        for (size_t i = 0; i < x.size(); ++i) y[o] += weight[o * x.size() + i] * x[i];
        if (activated && y[o] < 0 && activation.activation != Activation::none) y[o] *= activation.slope;
      }
      return y;
    };
    const std::vector<float> x = ramp(7, 3);
    const std::vector<double> h = layer({x.begin(), x.end()}, "encoder.hidden", true), mean = layer(h, "encoder.mean", false),
                              logvar = layer(h, "encoder.logvar", false), back = layer(layer(mean, "decoder.hidden", true), "decoder.output", false);
    const Tensor batch = tensor(c, {1, 7}, x);
    const Posterior q = model.encode(batch);
    const auto m = q.mean.host<float>(), l = q.logvar.host<float>(), r = model(batch).host<float>();
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(m[i], mean[i], 1e-5);
      EXPECT_NEAR(l[i], logvar[i], 1e-5);
    }
    for (size_t i = 0; i < 7; ++i) EXPECT_NEAR(r[i], back[i], 1e-5);
  }
}

TEST(rna_vae, batches_of_any_size_give_the_same_posteriors_and_reconstructions) {
  RunSetup s;
  Session run(s);
  const Posteriors a = posteriors(*run.context, run.model, run.source, true, 7), b = posteriors(*run.context, run.model, run.source, true, 500);
  const std::vector<float> c = decodings(*run.context, run.model, a.mean.data(), kSamples, 11),
                           d = decodings(*run.context, run.model, a.mean.data(), kSamples, 96);
  ASSERT_EQ(a.mean.size(), static_cast<size_t>(kSamples * 5));
  ASSERT_EQ(a.logvar.size(), a.mean.size());
  ASSERT_EQ(c.size(), s.data.size());
  for (size_t i = 0; i < a.mean.size(); ++i) ASSERT_NEAR(a.mean[i], b.mean[i], 1e-5);
  for (size_t i = 0; i < a.mean.size(); ++i) ASSERT_NEAR(a.logvar[i], b.logvar[i], 1e-5);
  for (size_t i = 0; i < c.size(); ++i) ASSERT_NEAR(c[i], d[i], 1e-5);
  EXPECT_TRUE(posteriors(*run.context, run.model, run.source).logvar.empty());
}

// For the linear variant the metric is exact: |decode(z) - decode(z')|^2 = (z - z')^T G (z - z').
TEST(rna_vae, decoder_metric_measures_reconstructions) {
  Context c;
  RnaVae model({.genes = 11, .hidden = 6, .latent = 3, .activation = {}});
  ModuleState state(c, model, 4);
  const std::vector<float> a{0.5f, -1, 2}, b{1, 0.25f, -0.5f};
  const auto G = model.decoder_metric(tensor(c, {1, 3}, a)).host<float>(), x = model.decode(tensor(c, {1, 3}, a)).host<float>(),
             y = model.decode(tensor(c, {1, 3}, b)).host<float>();
  double distance = 0, form = 0;
  for (size_t i = 0; i < x.size(); ++i) distance += (x[i] - y[i]) * (x[i] - y[i]);
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) form += (a[i] - b[i]) * G[i * 3 + j] * (a[j] - b[j]);
  EXPECT_NEAR(form, distance, 1e-5 * distance);
}

}  // namespace
}  // namespace panvae::test
