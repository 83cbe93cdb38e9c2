#include "models/atac_inference.h"

#include <algorithm>

#include "base/interrupt.h"
#include "engine/context.h"
#include "models/inference.h"

namespace panvae {

namespace {

constexpr int64_t kBlocksOfBatch = 128;  // where a sample has fewer blocks, several samples share a batch

int64_t samples_of_batch(const BlockSchedule& schedule) {
  return std::max<int64_t>(1, kBlocksOfBatch / schedule.tiles());
}

void check(const AtacBlockVae& model, const BlockSchedule& schedule) {
  PV_CHECK(model.features() == schedule.size(), "blocks of {} peaks for a model of {}", schedule.size(), model.features());
}
void check(const AtacModel& m) {
  check(m.blocks, m.schedule);
  PV_CHECK(m.whole.shape().blocks == m.schedule.tiles() && m.whole.shape().block_latent == m.blocks.latent(),
           "{} blocks of {} latents for a hierarchical model of {} of {}", m.schedule.tiles(), m.blocks.latent(), m.whole.shape().blocks,
           m.whole.shape().block_latent);
}

}  // namespace

void block_means(Context& context, AtacBlockVae& model, BlockSource& source, const BlockSchedule& schedule, const SampleUse& use) {
  check(model, schedule);
  PV_CHECK(source.features() == schedule.peaks(), "{} peaks for blocks of {}", source.features(), schedule.peaks());
  const Inference inference(model);
  const int64_t tiles = schedule.tiles(), size = schedule.size(), at_once = samples_of_batch(schedule);
  auto blocks_from = [&](int64_t first) {
    std::vector<BlockRef> blocks;
    for (int64_t s = first; s < std::min(source.samples(), first + at_once); ++s)
      for (int64_t start : schedule.tiling()) blocks.push_back({s, start});
    return blocks;
  };
  source.prefetch(blocks_from(0), size);
  for (int64_t first = 0; first < source.samples(); first += at_once) {
    throw_if_interrupted();
    const std::vector<BlockRef> blocks = blocks_from(first);
    source.prefetch(blocks_from(first + at_once), size);
    std::vector<float> means;
    {
      Step step(context);
      Tensor x = Tensor::zeros(context, {at_once * tiles, size}, DType::f32, "batch");
      Tensor taken = x.part(0, {static_cast<int64_t>(blocks.size()), size});
      source.fill(blocks, taken);
      means = model.encode(x).mean.host<float>();
    }
    for (int64_t i = 0; i < static_cast<int64_t>(blocks.size()) / tiles; ++i) use(first + i, means.data() + i * tiles * model.latent());
  }
}

std::vector<float> block_means(Context& context, AtacBlockVae& model, BlockSource& source, const BlockSchedule& schedule) {
  const int64_t width = schedule.tiles() * model.latent();
  std::vector<float> out;
  out.reserve(static_cast<size_t>(source.samples() * width));
  block_means(context, model, source, schedule, [&](int64_t, const float* values) { out.insert(out.end(), values, values + width); });
  return out;
}

std::vector<float> atac_embeddings(Context& context, const AtacModel& model, BlockSource& source) {
  check(model);
  const std::vector<float> means = block_means(context, model.blocks, source, model.schedule);
  MatrixSource rows(context, means.data(), source.samples(), model.whole.features());
  return posteriors(context, model.whole, rows).mean;
}

void atac_decode(Context& context, const AtacModel& model, const float* z, int64_t samples, const SampleUse& use) {
  check(model);
  const Inference whole(model.whole), blocks(model.blocks);
  const int64_t tiles = model.schedule.tiles(), size = model.schedule.size(), latent = model.whole.latent();
  const int64_t at_once = samples_of_batch(model.schedule);
  std::vector<float> peaks(static_cast<size_t>(model.schedule.peaks()));
  for (int64_t first = 0; first < samples; first += at_once) {
    throw_if_interrupted();
    const int64_t n = std::min(at_once, samples - first);
    std::vector<float> values;
    {
      Step step(context);
      Tensor batch = Tensor::zeros(context, {at_once, latent}, DType::f32, "batch");
      batch.part(0, {n, latent}).upload(z + first * latent, n * latent);
      const Tensor means = model.whole.decode(batch).view({at_once * tiles, model.blocks.latent()});
      values = model.blocks.decode(means).host<float>();
    }
    for (int64_t i = 0; i < n; ++i) {
      stitch(model.schedule, values.data() + i * tiles * size, peaks.data());
      use(first + i, peaks.data());
    }
  }
}

}  // namespace panvae
