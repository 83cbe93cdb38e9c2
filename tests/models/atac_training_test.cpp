// How both stages are trained: what an epoch takes, equality of executors, resumption, what is learned.
#include <set>

#include "atac_helpers.h"
#include "base/file.h"
#include "engine/ops/vae.h"
#include "models/trained_model.h"

namespace panvae::test {
namespace {

TEST(block_training, an_epoch_takes_each_pair_once_at_its_offset_and_announces_the_next_batch) {
  AtacSetup s;
  s.train.max_epochs = 5;  // offsets 0, 4, 8, 12, 0
  s.train.batch_size = 10;
  BlockRun run(s);
  run.trainer.run();
  size_t at = 0;
  std::vector<std::vector<BlockRef>> orders;
  for (int64_t epoch = 1; epoch <= 5; ++epoch) {
    std::set<std::pair<int64_t, int64_t>> wanted, taken;
    for (int64_t r = 0; r < 12; ++r)
      for (int64_t first : run.schedule.starts(epoch - 1)) wanted.insert({r, first});
    orders.emplace_back();
    size_t pairs = 0, smallest = 100, largest = 0;
    while (pairs < wanted.size()) {
      const std::vector<BlockRef>& batch = run.source.asked.at(at++);
      pairs += batch.size();
      smallest = std::min(smallest, batch.size());
      largest = std::max(largest, batch.size());
      for (const BlockRef& b : batch) taken.insert({b.sample, b.first});
      orders.back().insert(orders.back().end(), batch.begin(), batch.end());
    }
    EXPECT_EQ(pairs, wanted.size());
    EXPECT_EQ(taken, wanted);
    EXPECT_LE(largest - smallest, 1u);
    // Validation: the tiling, in order.
    std::vector<BlockRef> validated, tiling;
    for (int64_t r = 12; r < 20; ++r)
      for (int64_t first : run.schedule.tiling()) tiling.push_back({r, first});
    while (validated.size() < tiling.size()) {
      const auto& batch = run.source.asked.at(at++);
      validated.insert(validated.end(), batch.begin(), batch.end());
    }
    EXPECT_EQ(validated, tiling);
  }
  EXPECT_EQ(at, run.source.asked.size());
  EXPECT_NE(orders[0], orders[4]) << "the same pairs in another order";
  EXPECT_EQ(run.source.announced, run.source.asked) << "each batch is announced once, in the order of use";
}

// Items 3, batch 2: one batch of 3 and not a single item beside a pair, which batch normalisation cannot take.
TEST(block_training, no_batch_is_a_single_item) {
  AtacSetup s;
  s.train_rows = 3;
  s.train.batch_size = 2;
  s.train.max_epochs = 2;
  s.shape.block = kPeaks;
  BlockRun run(s);
  EXPECT_EQ(run.trainer.run().steps, 2);
  s.train.batch_size = 1;
  s.train_rows = 5;
  BlockRun ones(s);
  EXPECT_EQ(ones.trainer.run().steps, 4) << "two batches of 2 and 3";
  s.train_rows = 1;
  EXPECT_CONTAINS(error_of([&] { BlockRun{s}; }).message(), "batch normalisation needs 2");
}

TEST(block_training, three_steps_on_simt_equal_cpu_and_do_not_depend_on_the_order_of_threads) {
  AtacSetup s;
  s.train.max_epochs = 1;
  s.loss.kl_warmup_epochs = 1;
  BlockRun cpu(s), start(s);
  EXPECT_EQ(cpu.trainer.run().steps, 3);
  s.device = {DeviceType::simt, 0};
  std::vector<float> first, first_buffers;
  for (const simt::Options& o :
       {simt::Options{simt::Order::forward, 1, 1}, {simt::Order::reverse, 1, 1}, {simt::Order::random, 1, 1}, {simt::Order::random, 2, 2}}) {
    s.simt = o;
    BlockRun simt(s);
    simt.trainer.run();
    if (first.empty()) first = simt.weights(), first_buffers = simt.buffers();
    EXPECT_EQ(simt.weights(), first) << "another order of threads, other weights";
    EXPECT_EQ(simt.buffers(), first_buffers);
    EXPECT_NEAR(simt.watch.epochs[0].train_loss, cpu.watch.epochs[0].train_loss, 1e-5 * cpu.watch.epochs[0].train_loss);
    EXPECT_NEAR(simt.watch.epochs[0].validation_loss, cpu.watch.epochs[0].validation_loss, 1e-5 * cpu.watch.epochs[0].validation_loss);
  }
  EXPECT_LE(worst_relative(first, cpu.weights()), 1e-5);
  EXPECT_LE(worst_relative(first_buffers, cpu.buffers()), 1e-5);
  EXPECT_GT(worst_relative(start.weights(), cpu.weights()), 1e-4) << "the steps did something";
}

// Stopped after any batch and resumed, running statistics of batch normalisation included.
TEST(block_training, resume_equals_the_uninterrupted_run_bit_for_bit) {
  Folder folder;
  AtacSetup s;
  s.train.max_epochs = 6;
  s.checkpoint = folder.file("whole");
  BlockRun whole(s);
  const TrainResult expected = whole.trainer.run();
  const int64_t asked = static_cast<int64_t>(whole.source.asked.size());
  for (int64_t stop : {int64_t{1}, int64_t{2}, int64_t{4}, int64_t{9}, asked / 2, asked - 3}) {
    SCOPED_TRACE(stop);
    s.checkpoint = folder.file("stopped" + std::to_string(stop));
    std::vector<std::string> lines;
    {
      BlockRun first(s);
      first.source.interrupt_at = stop;
      EXPECT_EQ(error_of([&] { first.trainer.run(); }).code(), ErrorCode::interrupted);
      set_interrupted(false);
      lines = first.watch.lines;
    }
    BlockRun second(s);
    EXPECT_EQ(second.trainer.resume(), static_cast<int64_t>(lines.size()));
    const TrainResult r = second.trainer.run();
    lines.insert(lines.end(), second.watch.lines.begin(), second.watch.lines.end());
    EXPECT_EQ(lines, whole.watch.lines);
    EXPECT_EQ(second.weights(), whole.weights());
    EXPECT_EQ(second.buffers(), whole.buffers());
    EXPECT_EQ(r.best_epoch, expected.best_epoch);
    EXPECT_EQ(read_file(s.checkpoint), read_file(folder.file("whole")));
  }
}

TEST(block_training, the_best_weights_come_back_with_their_running_statistics) {
  AtacSetup s;
  s.train_rows = 3;
  s.train.learning_rate = 3e-2;
  s.train.max_epochs = 200;
  s.train.patience = 4;
  s.data = accessibility(20, 7, 1.0);
  BlockRun run(s);
  const TrainResult r = run.trainer.run();
  ASSERT_LT(r.epochs, 200);
  ASSERT_EQ(r.epochs, r.best_epoch + 4);
  EXPECT_EQ(run.weights(), run.watch.best_weights);
  EXPECT_EQ(run.buffers(), run.watch.best_buffers);
  EXPECT_FALSE(run.model.training()) << "left in evaluation mode";
}

TEST(block_training, nan_is_explained_and_leaves_weights_and_running_statistics_as_they_were) {
  for (Device device : host_devices()) {
    AtacSetup s;
    s.device = device;
    s.data[static_cast<size_t>(7 * kPeaks + 20)] = NAN;
    BlockRun run(s);
    const Error e = error_of([&] { run.trainer.run(); });
    EXPECT_EQ(e.code(), ErrorCode::input);
    EXPECT_EQ(e.op(), "linear");
    for (float v : run.weights()) ASSERT_TRUE(std::isfinite(v));
    for (float v : run.buffers()) ASSERT_TRUE(std::isfinite(v));
  }
}

TEST(block_training, refuses_what_does_not_fit) {
  AtacSetup s;
  Context c;
  MatrixBlockSource source(c, s.data.data(), 20, kPeaks);
  AtacBlockVae model(s.shape);
  EXPECT_CONTAINS(error_of([&] { BlockTask(model, source, BlockSchedule(kPeaks - 1, 16, 4), {0, 1}, {}); }).message(), "57 peaks for blocks of 56");
  EXPECT_CONTAINS(error_of([&] { BlockTask(model, source, BlockSchedule(kPeaks, 15, 5), {0, 1}, {}); }).message(), "blocks of 15 peaks for a model of 16");
  EXPECT_CONTAINS(error_of([&] { BlockTask(model, source, BlockSchedule(kPeaks, 16, 4), {}, {}); }).message(), "no training samples");
}

// Both stages on planted cohorts. 60 samples train, 30 are never seen.
struct Pipeline {
  static constexpr int64_t kSamples = 90, kTrain = 54, kSeen = 60;
  Pipeline() : source(context, data.data(), kSamples, kPeaks), blocks_state(context, blocks, 11), whole_state(context, whole, 12) {
    LossOptions loss{.huber_delta = 1, .kl_weight = 0.02, .kl_warmup_epochs = 5};
    TrainOptions train{.batch_size = 32, .learning_rate = 3e-3, .max_epochs = 150, .patience = 200, .checkpoint_seconds = 1e9, .seed = 1};
    {
      BlockTask task(blocks, source, schedule, rows(0, kTrain), rows(kTrain, kSeen));
      VaeTrainer trainer(context, task, blocks_state, loss, train);
      trainer.on_epoch = [this](const EpochMetrics& m) { block_epochs.push_back(m); };
      trainer.run();
    }
    blocks_state.release_gradients();
    means = block_means(context, blocks, source, schedule);
    mean_rows = std::make_unique<MatrixSource>(context, means.data(), kSamples, whole.features());
    train.batch_size = 18;
    VaeTrainer trainer(context, whole, whole_state, *mean_rows, rows(0, kTrain), rows(kTrain, kSeen), loss, train);
    trainer.on_epoch = [this](const EpochMetrics& m) { whole_epochs.push_back(m); };
    trainer.run();
  }
  AtacModel model() { return {blocks, whole, schedule}; }

  Context context;
  std::vector<float> data = accessibility(kSamples, 3);
  MatrixBlockSource source;
  BlockSchedule schedule{kPeaks, 16, 4};
  AtacBlockVae blocks{{.block = 16, .widths = {24, 16, 12}, .latent = 6}};
  ModuleState blocks_state;
  AtacHierarchicalVae whole{{.blocks = 4, .block_latent = 6, .channels = 8, .widths = {24, 16}, .latent = 5}};
  ModuleState whole_state;
  std::vector<EpochMetrics> block_epochs, whole_epochs;
  std::vector<float> means;
  std::unique_ptr<MatrixSource> mean_rows;
};

Pipeline& pipeline() {
  static Pipeline p;
  return p;
}

double squared_distance(const float* a, const double* b, int64_t n) {
  double d = 0;
  for (int64_t i = 0; i < n; ++i) d += (a[i] - b[i]) * (a[i] - b[i]);
  return d;
}

TEST(atac, losses_fall_in_both_stages) {
  Pipeline& p = pipeline();
  for (const auto* epochs : {&p.block_epochs, &p.whole_epochs}) {
    ASSERT_EQ(epochs->size(), 150u);
    EXPECT_LT(epochs->back().train_huber, 0.7 * epochs->front().train_huber);
    EXPECT_LT(epochs->back().validation_huber, 0.7 * epochs->front().validation_huber);
    EXPECT_GE(epochs->back().active_units, 2);
  }
}

TEST(atac, the_embedding_separates_planted_cohorts_of_samples_never_seen) {
  Pipeline& p = pipeline();
  const std::vector<float> z = atac_embeddings(p.context, p.model(), p.source);
  ASSERT_EQ(z.size(), static_cast<size_t>(Pipeline::kSamples * 5));
  std::vector<double> centers(kCohorts * 5);
  for (int64_t i = 0; i < Pipeline::kTrain; ++i)
    for (int64_t j = 0; j < 5; ++j) centers[static_cast<size_t>(i % kCohorts * 5 + j)] += z[static_cast<size_t>(i * 5 + j)] / (Pipeline::kTrain / kCohorts);
  int64_t right = 0;
  for (int64_t i = Pipeline::kSeen; i < Pipeline::kSamples; ++i) {
    int64_t nearest = 0;
    for (int64_t c = 1; c < kCohorts; ++c)
      if (squared_distance(&z[static_cast<size_t>(i * 5)], &centers[static_cast<size_t>(c * 5)], 5) <
          squared_distance(&z[static_cast<size_t>(i * 5)], &centers[static_cast<size_t>(nearest * 5)], 5))
        nearest = c;
    right += nearest == i % kCohorts;
  }
  EXPECT_GE(right, 28) << "of 30";
}

// Better than the mean over training samples, at each peak.
TEST(atac, reconstructions_explain_samples_never_seen) {
  Pipeline& p = pipeline();
  std::vector<double> mean(kPeaks);
  for (int64_t i = 0; i < Pipeline::kTrain; ++i)
    for (int64_t k = 0; k < kPeaks; ++k) mean[static_cast<size_t>(k)] += p.data[static_cast<size_t>(i * kPeaks + k)] / static_cast<double>(Pipeline::kTrain);
  double error = 0, spread = 0;
  int64_t next = 0;
  const std::vector<float> z = atac_embeddings(p.context, p.model(), p.source);
  atac_decode(p.context, p.model(), z.data(), p.source.samples(), [&](int64_t sample, const float* peaks) {
    EXPECT_EQ(sample, next++);
    if (sample < Pipeline::kSeen) return;
    for (int64_t k = 0; k < kPeaks; ++k) {
      const double x = p.data[static_cast<size_t>(sample * kPeaks + k)];
      error += (peaks[k] - x) * (peaks[k] - x);
      spread += (mean[static_cast<size_t>(k)] - x) * (mean[static_cast<size_t>(k)] - x);
    }
  });
  EXPECT_EQ(next, Pipeline::kSamples);
  EXPECT_LT(error, 0.5 * spread);
}

TEST(atac, a_sample_is_the_same_alone_or_among_others) {
  Pipeline& p = pipeline();
  const std::vector<float> all = atac_embeddings(p.context, p.model(), p.source);
  for (int64_t sample : {0, 41, 89}) {
    MatrixBlockSource alone(p.context, p.data.data() + sample * kPeaks, 1, kPeaks);
    const std::vector<float> z = atac_embeddings(p.context, p.model(), alone);
    EXPECT_LE(worst_relative(z, {all.begin() + sample * 5, all.begin() + (sample + 1) * 5}), 1e-5);
  }
  MatrixBlockSource none(p.context, p.data.data(), 0, kPeaks);
  EXPECT_TRUE(atac_embeddings(p.context, p.model(), none).empty());
  EXPECT_FALSE(p.blocks.training() || p.whole.training());
}

// Block means are those of each tile by itself; decoded blocks are stitched.
TEST(atac, block_means_and_decoding_follow_the_tiling) {
  Pipeline& p = pipeline();
  int64_t seen = 0;  // more samples than share a batch
  block_means(p.context, p.blocks, p.source, p.schedule, [&](int64_t i, const float* values) {
    EXPECT_EQ(i, seen++);
    EXPECT_EQ((std::vector<float>{values, values + 24}), (std::vector<float>{p.means.begin() + i * 24, p.means.begin() + (i + 1) * 24})) << i;
  });
  EXPECT_EQ(seen, Pipeline::kSamples);
  MatrixBlockSource wider(p.context, p.data.data(), 1, kPeaks + 1);
  EXPECT_CONTAINS(error_of([&] { block_means(p.context, p.blocks, wider, p.schedule); }).message(),
                  fmt::format("{} peaks for blocks of {}", kPeaks + 1, kPeaks));
  const int64_t sample = 17;
  std::vector<float> tiles;
  for (int64_t first : p.schedule.tiling()) tiles.insert(tiles.end(), p.data.begin() + sample * kPeaks + first, p.data.begin() + sample * kPeaks + first + 16);
  const std::vector<float> own = p.blocks.encode(tensor(p.context, {4, 16}, tiles)).mean.host<float>();
  EXPECT_LE(worst_relative(own, {p.means.begin() + sample * 24, p.means.begin() + (sample + 1) * 24}), 1e-5);
  const std::vector<float> z = ramp(5), latents = p.whole.decode(tensor(p.context, {1, 5}, z)).host<float>();
  const std::vector<float> blocks = p.blocks.decode(tensor(p.context, {4, 6}, latents)).host<float>();
  std::vector<float> expected(kPeaks);
  stitch(p.schedule, blocks.data(), expected.data());
  int64_t calls = 0;
  atac_decode(p.context, p.model(), z.data(), 1, [&](int64_t, const float* peaks) {
    ++calls;
    EXPECT_LE(worst_relative({peaks, peaks + kPeaks}, expected), 1e-5);
  });
  EXPECT_EQ(calls, 1);
}

// End to end: the loss is that of decoded tiles, gradients reach all parameters of the hierarchical VAE and none of the block
// VAE, and training lowers it.
TEST(peak_training, is_the_huber_loss_of_decoded_peaks) {
  Pipeline& p = pipeline();
  AtacHierarchicalVae whole({.blocks = 4, .block_latent = 6, .channels = 8, .widths = {24, 16}, .latent = 5});
  ModuleState state(p.context, whole, 12);
  PeakTask task(whole, p.blocks, *p.mean_rows, p.source, p.schedule, rows(0, Pipeline::kTrain), rows(Pipeline::kTrain, Pipeline::kSeen));
  whole.set_training(false);
  const ItemBatch batch{0, {0, 1, 2}};
  task.load(p.context, batch);
  const std::vector<float> parts = task.loss(p.context, false, 1.0, 0.5).loss.parts.host<float>();
  double huber = 0;
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t sample = Pipeline::kTrain + i;
    const Posterior q = whole.encode(tensor(p.context, {1, 24}, {p.means.begin() + sample * 24, p.means.begin() + (sample + 1) * 24}));
    const std::vector<float> y = p.blocks.decode(whole.decode(q.mean).view({4, 6})).host<float>();
    for (size_t t = 0; t < 4; ++t)
      for (int64_t k = 0; k < 16; ++k) {
        const double r = std::abs(y[t * 16 + static_cast<size_t>(k)] - p.data[static_cast<size_t>(sample * kPeaks + p.schedule.tiling()[t] + k)]);
        huber += r <= 1 ? r * r / 2 : r - 0.5;
      }
  }
  EXPECT_NEAR(parts[1], huber / 3, 1e-4 * huber);
  EXPECT_NEAR(parts[0], parts[1] + 0.5 * parts[2], 1e-4 * parts[0]);

  const std::vector<float> frozen = p.blocks_state.flat_parameters().host<float>(), statistics = p.blocks_state.flat_buffers().host<float>();
  std::vector<EpochMetrics> epochs;
  VaeTrainer trainer(p.context, task, state, {.kl_weight = 0.02, .kl_warmup_epochs = 2},
                     {.batch_size = 18, .learning_rate = 3e-3, .max_epochs = 25, .patience = 100, .checkpoint_seconds = 1e9, .seed = 1});
  trainer.on_epoch = [&](const EpochMetrics& m) { epochs.push_back(m); };
  trainer.run();
  EXPECT_LT(epochs.back().train_huber, 0.8 * epochs.front().train_huber);
  EXPECT_LT(epochs.back().validation_huber, 0.8 * epochs.front().validation_huber);
  EXPECT_EQ(p.blocks_state.flat_parameters().host<float>(), frozen);
  EXPECT_EQ(p.blocks_state.flat_buffers().host<float>(), statistics);
}

// In training what is decoded is mean + exp(logvar / 2) noise, the noise that of the context's generator; in validation it is the mean.
TEST(peak_training, decodes_latents_with_noise_in_training_alone) {
  Pipeline& p = pipeline();
  AtacHierarchicalVae whole({.blocks = 4, .block_latent = 6, .channels = 8, .widths = {24, 16}, .latent = 5});
  ModuleState state(p.context, whole, 15);
  PeakTask task(whole, p.blocks, *p.mean_rows, p.source, p.schedule, rows(0, Pipeline::kTrain), rows(Pipeline::kTrain, Pipeline::kSeen));
  whole.set_training(false);  // so that a batch's statistics do not matter
  const Posterior q = whole.encode(tensor(p.context, {3, 24}, {p.means.begin(), p.means.begin() + 3 * 24}));
  const std::vector<float> mean = q.mean.host<float>(), logvar = q.logvar.host<float>(), zeros(15);
  const auto huber_of = [&](bool training, uint32_t step) {
    p.context.generator = {3, step, 0};
    task.load(p.context, {1, {0, 1, 2}});
    return static_cast<double>(task.loss(p.context, training, 1.0, 0.5).loss.parts.host<float>()[1]);
  };
  const auto expected = [&](const std::vector<float>& noise) {
    std::vector<float> z(15);
    for (size_t i = 0; i < z.size(); ++i) z[i] = mean[i] + std::exp(logvar[i] / 2) * noise[i];
    const std::vector<float> y = p.blocks.decode(whole.decode(tensor(p.context, {3, 5}, z)).view({12, 6})).host<float>();
    double huber = 0;
    for (int64_t row = 0; row < 12; ++row)
      for (int64_t k = 0; k < 16; ++k) {
        const int64_t peak = p.schedule.tiling()[static_cast<size_t>(row % 4)] + k;
        const double r = std::abs(y[static_cast<size_t>(row * 16 + k)] - p.data[static_cast<size_t>(row / 4 * kPeaks + peak)]);
        huber += r <= 1 ? r * r / 2 : r - 0.5;
      }
    return huber / 3;
  };
  std::set<double> drawn;
  double seen = 0;  // of the noise, at most: what it does to the residuals of a step may cancel
  for (uint32_t step : {0u, 1u, 2u}) {
    p.context.generator = {3, step, 0};
    const Tensor none = tensor(p.context, {3, 5}, zeros);
    const std::vector<float> noise = ops::reparameterize(none, none, p.context.generator.next()).host<float>();
    const double wanted = expected(noise);
    EXPECT_NEAR(huber_of(true, step), wanted, 1e-5 * wanted);
    seen = std::max(seen, std::abs(wanted - expected(zeros)) / wanted);
    drawn.insert(huber_of(true, step));
    EXPECT_NEAR(huber_of(false, step), expected(zeros), 1e-5 * wanted);
  }
  EXPECT_GT(seen, 1e-3) << "the noise is seen";
  EXPECT_EQ(drawn.size(), 3u) << "each step draws its own";
}

// The mean over latents of J J^T, J [latents, peaks of tiles] the differences quotient half a unit up and down: all tiles where they are
// few; of many some, evenly spaced, that stand for all; and of many latents four. Peaks of two tiles count in both.
TEST(atac, decoder_metric_is_the_mean_square_of_central_differences) {
  Context c;
  struct Case {
    int64_t peaks, samples;
    std::vector<int64_t> tiles, centers;  // that are taken
  };
  for (const Case& k : {Case{57, 2, {0, 1, 2, 3}, {0, 1}}, Case{160, 9, {0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 18}, {0, 2, 4, 6}}}) {
    const int64_t size = k.peaks == 57 ? 16 : 8;
    AtacNetworks model(c, {.peaks = k.peaks, .block = {.block = size, .widths = {12, 9}, .latent = 4}, .slide = 4, .channels = 3, .widths = {10}, .latent = 3},
                       6);
    model.blocks.set_training(false);
    model.whole.set_training(false);
    const int64_t tiles = model.schedule.tiles();
    ASSERT_EQ(tiles, k.peaks == 57 ? 4 : 20);
    const std::vector<float> z = ramp(static_cast<size_t>(k.samples * 3), 2);
    double expected[3][3] = {};
    for (int64_t center : k.centers) {
      std::vector<float> end[3][2];  // peaks of all tiles at either end of each axis
      for (size_t axis = 0; axis < 3; ++axis)
        for (int side : {0, 1}) {
          std::vector<float> at(z.begin() + center * 3, z.begin() + center * 3 + 3);
          at[axis] += side == 0 ? 0.5f : -0.5f;
          end[axis][side] = model.blocks.decode(model.whole.decode(tensor(c, {1, 3}, at)).view({tiles, 4})).host<float>();
        }
      const double scale = static_cast<double>(tiles) / static_cast<double>(k.tiles.size() * k.centers.size());
      for (size_t i = 0; i < 3; ++i)
        for (size_t j = 0; j < 3; ++j)
          for (int64_t t : k.tiles)
            for (auto e = static_cast<size_t>(t * size); e < static_cast<size_t>((t + 1) * size); ++e)
              expected[i][j] += scale * (static_cast<double>(end[i][0][e]) - end[i][1][e]) * (static_cast<double>(end[j][0][e]) - end[j][1][e]);
    }
    const std::vector<float> metric = model.decoder_metric(c, z);
    ASSERT_EQ(metric.size(), 9u);
    for (size_t i = 0; i < 9; ++i) EXPECT_NEAR(metric[i], expected[i / 3][i % 3], 1e-4 * expected[0][0]) << k.peaks << " " << i;
  }
}

// Axes are moved 64 at a time.
TEST(atac, decoder_metric_of_many_latents) {
  Context c;
  AtacNetworks model(c, {.peaks = 40, .block = {.block = 16, .widths = {12}, .latent = 4}, .slide = 16, .channels = 3, .widths = {10}, .latent = 70}, 6);
  model.blocks.set_training(false);
  model.whole.set_training(false);
  const int64_t tiles = model.schedule.tiles();
  const std::vector<float> z = ramp(70, 2), metric = model.decoder_metric(c, z);
  ASSERT_EQ(metric.size(), 70u * 70u);
  for (size_t axis : {0u, 63u, 64u, 69u}) {
    std::vector<float> end[2];
    for (int side : {0, 1}) {
      std::vector<float> at = z;
      at[axis] += side == 0 ? 0.5f : -0.5f;
      end[side] = model.blocks.decode(model.whole.decode(tensor(c, {1, 70}, at)).view({tiles, 4})).host<float>();
    }
    double expected = 0;
    for (size_t i = 0; i < end[0].size(); ++i) expected += std::pow(static_cast<double>(end[0][i]) - end[1][i], 2);
    EXPECT_GT(expected, 1e-6);
    EXPECT_NEAR(metric[axis * 71], expected, 1e-4 * expected) << axis;
  }
}

TEST(peak_training, refuses_a_block_vae_that_asks_for_gradients) {
  AtacSetup s;
  BlockRun run(s);
  AtacHierarchicalVae whole({.blocks = 4, .block_latent = 5, .channels = 2, .widths = {6}, .latent = 3});
  ModuleState state(*run.context, whole, 1);
  const std::vector<float> means(static_cast<size_t>(20 * 20));
  MatrixSource mean_rows(*run.context, means.data(), 20, 20);
  EXPECT_CONTAINS(error_of([&] { PeakTask(whole, run.model, mean_rows, run.source, run.schedule, {0, 1}, {}); }).message(), "asks for a gradient");
  run.state.release_gradients();
  EXPECT_NO_THROW(PeakTask(whole, run.model, mean_rows, run.source, run.schedule, {0, 1}, {}));
  AtacHierarchicalVae other({.blocks = 5, .block_latent = 4, .channels = 2, .widths = {6}, .latent = 3});
  EXPECT_CONTAINS(error_of([&] { PeakTask(other, run.model, mean_rows, run.source, run.schedule, {0, 1}, {}); }).message(), "4 blocks of 5 latents");
}

// Gradients through the block decoder in evaluation mode, against differences of the loss in f32.
TEST(peak_training, gradients_pass_through_the_block_decoder) {
  Pipeline& p = pipeline();
  AtacHierarchicalVae whole({.blocks = 4, .block_latent = 6, .channels = 8, .widths = {24, 16}, .latent = 5});
  ModuleState state(p.context, whole, 14);
  state.require_gradients();
  PeakTask task(whole, p.blocks, *p.mean_rows, p.source, p.schedule, rows(0, Pipeline::kTrain), {});
  task.load(p.context, {1, rows(0, 20)});
  auto loss_now = [&] {
    p.context.generator = {3, 0, 0};
    return static_cast<double>(task.loss(p.context, true, 1.0, 0.1).loss.parts.host<float>()[0]);
  };
  {
    Tape tape(p.context);
    p.context.generator = {3, 0, 0};
    state.forget_gradients();
    tape.backward(task.loss(p.context, true, 1.0, 0.1).loss.loss);
  }
  // Along the gradient itself the loss must change by the square of its length.
  const std::vector<float> g = state.flat_gradients().host<float>(), w = state.flat_parameters().host<float>();
  double square = 0;
  for (float v : g) square += static_cast<double>(v) * v;
  ASSERT_GT(square, 0);
  const double h = 5e-5 / std::sqrt(square);  // as small as the rounding of the loss allows, for the curvature
  auto at = [&](double step) {
    std::vector<float> moved = w;
    for (size_t i = 0; i < w.size(); ++i) moved[i] += static_cast<float>(step * g[i]);
    Tensor flat = state.flat_parameters();
    flat.upload(moved.data(), flat.count());
    return loss_now();
  };
  EXPECT_NEAR((at(h) - at(-h)) / (2 * h), square, 0.02 * square);
}

}  // namespace
}  // namespace panvae::test
