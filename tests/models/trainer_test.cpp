#include "models/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "base/interrupt.h"
#include "base/progress.h"
#include "engine/checkpoint.h"
#include "tests/base/warnings.h"
#include "tests/engine/helpers.h"
#include "tests/models/rna_trainer_setup.h"

namespace panvae::test {
namespace {

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

}  // namespace
}  // namespace panvae::test
