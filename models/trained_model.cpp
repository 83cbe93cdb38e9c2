#include "models/trained_model.h"

#include <algorithm>

#include "base/text.h"
#include "engine/context.h"
#include "engine/ops/linear.h"

namespace panvae {

void TrainedModel::reconstruct(Context& context, const float* x, int64_t samples, const SampleUse& use) {
  decode(context, posteriors(context, x, samples).mean.data(), samples, use);
}

DenseModel::DenseModel(Context& context, const RnaVaeShape& shape, uint64_t seed, std::string kind)
    : vae(shape.on(context.device())), state(context, vae, seed), kind_(std::move(kind)) {}

std::string DenseModel::network() const {
  const RnaVaeShape& s = vae.shape();
  return fmt::format("{} - {} - {} - {} - {}", s.genes, s.hidden, s.latent, s.hidden, s.genes);
}

Json DenseModel::stages(const std::string& modality) {
  return Json::array({architecture(vae, "VAE", modality, features())});
}

Posteriors DenseModel::posteriors(Context& context, const float* x, int64_t samples, bool with_logvar) {
  MatrixSource source(context, x, samples, features(), vae.width());
  return panvae::posteriors(context, vae, source, with_logvar);
}

void DenseModel::decode(Context& context, const float* z, int64_t samples, const SampleUse& use) {
  const std::vector<float> values = decodings(context, vae, z, samples);
  for (int64_t i = 0; i < samples; ++i) use(i, values.data() + i * features());
}

std::vector<float> DenseModel::latent_inputs(Context&, const float* x, int64_t samples) {
  return {x, x + samples * features()};
}

std::vector<float> DenseModel::decoder_metric(Context& context, const std::vector<float>& z) {
  return vae.decoder_metric(Tensor::from(context, {static_cast<int64_t>(z.size()) / latent(), latent()}, z)).host<float>();
}

void DenseModel::add_to(TensorWriter& file, const std::string& prefix) const {
  file.add(state, prefix + "model.");
}

void DenseModel::read_from(const SafetensorsReader& file, const std::string& prefix) {
  read_state(file, state, prefix + "model.");
}

AtacNetworks::AtacNetworks(Context& context, const AtacShape& s, uint64_t seed)
    : schedule(s.peaks, s.block.block, s.slide),
      blocks({schedule.size(), s.block.widths, s.block.latent}),
      whole({schedule.tiles(), s.block.latent, s.channels, s.widths, s.latent}),
      block_state(context, blocks, seed),
      whole_state(context, whole, seed) {}

std::string AtacNetworks::network() const {
  const AtacBlockVaeShape& b = blocks.shape();
  const AtacHierarchicalVaeShape& h = whole.shape();
  return fmt::format("{} blocks of {} peaks - {} - {} each; {} channels - {} - {}", h.blocks, b.block, fmt::join(b.widths, " - "), b.latent, h.channels,
                     fmt::join(h.widths, " - "), h.latent);
}

Json AtacNetworks::stages(const std::string& modality) {
  return Json::array(
      {architecture(blocks, "block VAE", modality, features(), schedule.tiles()), architecture(whole, "hierarchical VAE", modality, whole.features())});
}

Posteriors AtacNetworks::posteriors(Context& context, const float* x, int64_t samples, bool with_logvar) {
  const std::vector<float> means = latent_inputs(context, x, samples);
  MatrixSource rows(context, means.data(), samples, whole.features());
  return panvae::posteriors(context, whole, rows, with_logvar);
}

void AtacNetworks::decode(Context& context, const float* z, int64_t samples, const SampleUse& use) {
  atac_decode(context, both(), z, samples, use);
}

std::vector<float> AtacNetworks::latent_inputs(Context& context, const float* x, int64_t samples) {
  const std::unique_ptr<BlockSource> source = block_source(context, x, samples, features());
  return block_means(context, blocks, *source, schedule);
}

std::vector<float> AtacNetworks::decoder_metric(Context& context, const std::vector<float>& z) {
  constexpr int64_t kCenters = 4, kTiles = 16, kRows = 64;
  constexpr float kStep = 0.5f;
  const int64_t latents = latent(), samples = static_cast<int64_t>(z.size()) / latents, tiles = schedule.tiles(), size = schedule.size();
  const int64_t centers = std::min(samples, kCenters), taken = std::min(tiles, kTiles);
  PV_CHECK(samples > 0 && samples * latents == static_cast<int64_t>(z.size()), "decoder metric: {} values for latents of {}", z.size(), latents);
  const Inference of_whole(whole), of_blocks(blocks);
  const float scale = static_cast<float>(static_cast<double>(tiles) / static_cast<double>(taken) / static_cast<double>(centers));

  std::vector<double> metric(static_cast<size_t>(latents * latents));
  for (int64_t c = 0; c < centers; ++c) {
    const float* center = z.data() + c * samples / centers * latents;
    // Block means at either end of each axis, [latents, tiles * block_latent], a batch of rows at a time.
    std::vector<float> ends[2];
    for (const int side : {0, 1})
      for (int64_t first = 0; first < latents; first += kRows) {
        const int64_t n = std::min(kRows, latents - first);
        std::vector<float> moved;
        for (int64_t i = first; i < first + n; ++i) {
          moved.insert(moved.end(), center, center + latents);
          moved[static_cast<size_t>((i - first) * latents + i)] += side == 0 ? kStep : -kStep;
        }
        Step step(context);
        const std::vector<float> means = whole.decode(Tensor::from(context, {n, latents}, moved)).host<float>();
        ends[side].insert(ends[side].end(), means.begin(), means.end());
      }
    for (int64_t t = 0; t < taken; ++t) {
      Step step(context);
      auto peaks = [&](const std::vector<float>& means) {
        std::vector<float> of_tile;
        for (int64_t i = 0; i < latents; ++i) {
          const float* row = means.data() + (i * tiles + t * tiles / taken) * blocks.latent();
          of_tile.insert(of_tile.end(), row, row + blocks.latent());
        }
        return blocks.decode(Tensor::from(context, {latents, blocks.latent()}, of_tile)).host<float>();
      };
      std::vector<float> jacobian = peaks(ends[0]);  // [latents, size]
      const std::vector<float> other = peaks(ends[1]);
      for (size_t i = 0; i < jacobian.size(); ++i) jacobian[i] = (jacobian[i] - other[i]) / (2 * kStep);
      const Tensor j = Tensor::from(context, {latents, size}, jacobian);
      const std::vector<float> part = ops::matmul(j, j, false, true).host<float>();
      for (size_t i = 0; i < part.size(); ++i) metric[i] += static_cast<double>(part[i]) * static_cast<double>(scale);
    }
  }
  return {metric.begin(), metric.end()};
}

void AtacNetworks::add_to(TensorWriter& file, const std::string& prefix) const {
  file.add(block_state, prefix + "block.");
  file.add(whole_state, prefix + "hierarchical.");
}

void AtacNetworks::read_from(const SafetensorsReader& file, const std::string& prefix) {
  read_state(file, block_state, prefix + "block.");
  read_state(file, whole_state, prefix + "hierarchical.");
}

}  // namespace panvae
