// What the two trained stages make of ATAC samples, in evaluation mode and streamed: no more than a few samples are in memory
// beside the results that are asked for. A sample's numbers are the same alone or among others: batches have one shape,
// the last is filled up with zeros.
#pragma once
#include <functional>
#include <vector>

#include "engine/batch_source.h"
#include "models/atac_block_vae.h"
#include "models/atac_hierarchical_vae.h"
#include "models/blocks.h"

namespace panvae {

// use(sample, values): samples come in order; `values` lives until it returns.
using SampleUse = std::function<void(int64_t sample, const float* values)>;

// Posterior means of the tiled blocks: values [tiles * latent], block after block (113 * 512 = 57,856 at full width).
void block_means(Context& context, AtacBlockVae& model, BlockSource& source, const BlockSchedule& schedule, const SampleUse& use);
std::vector<float> block_means(Context& context, AtacBlockVae& model, BlockSource& source, const BlockSchedule& schedule);  // [samples, tiles * latent]

// Both stages; the references must live as long as this.
struct AtacModel {
  AtacBlockVae& blocks;
  AtacHierarchicalVae& whole;
  const BlockSchedule& schedule;
};

// Posterior means of whole samples: [samples, latent].
std::vector<float> atac_embeddings(Context& context, const AtacModel& model, BlockSource& source);
// Peaks decoded from latents z [samples, latent] (SPEC M5): values [peaks]. Where tiles overlap, their mean.
void atac_decode(Context& context, const AtacModel& model, const float* z, int64_t samples, const SampleUse& use);

}  // namespace panvae
