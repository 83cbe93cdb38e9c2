// RUN, the folder of a trained model: config.toml, model.safetensors, metrics.jsonl, checkpoint.safetensors, MODEL_CARD.md,
// training.json (what 'train' answered: times, memory, device).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/preprocess.h"
#include "eval/axes.h"
#include "models/trained_model.h"
#include "tools/config.h"

namespace panvae::tools {

// Features as the network sees them: z = clip((x - mean) / sd, -10, 10), mean and sd (n - 1) of the training samples; a
// constant feature has sd 1. With model.scale = none mean is 0, sd 1 and nothing is clipped.
struct FeatureScale {
  std::vector<float> mean, sd;
  bool clip = true;
  static FeatureScale fit(const data::RowMatrix<float>& x, const std::vector<int64_t>& rows, const std::string& scale);
  void apply(data::RowMatrix<float>& x) const;
  float inverse(float z, size_t feature) const { return z * sd[feature] + mean[feature]; }  // clipping cannot be undone
};

// Everything a trained model is, on one device.
struct Run {
  RunConfig config{"rna"};  // with the modality
  data::Frozen preprocess;  // empty: the matrix came from elsewhere, and new samples must come as it did
  std::vector<std::string> features;
  FeatureScale scale;
  eval::LatentAxes axes;
  Json provenance = Json::object();
  std::unique_ptr<TrainedModel> model;
  bool coembedded = false;  // one half of a co-embedding

  // Which axes embeddings have unless others are asked for: canonical for RNA, the latent units for ATAC (docs/atac-vae.md) and
  // in co-embeddings, where the axes of one modality are not those of the other.
  bool canonical_axes() const { return config.modality == "rna" && !coembedded; }
};

// The networks that a resolved configuration asks for, with weights drawn from `seed`.
std::unique_ptr<TrainedModel> make_model(Context& context, const RunConfig& config, int64_t features, uint64_t seed);

// Canonical axes of the trained model: over the posteriors of training samples, or over these scaled samples.
eval::LatentAxes fit_axes(Context& context, TrainedModel& model, const Posteriors& training);
eval::LatentAxes fit_axes(Context& context, TrainedModel& model, const data::RowMatrix<float>& scaled, const std::vector<int64_t>& rows);

void write_model(const std::string& path, const Run& run);
// Both halves, their names behind "rna." and "atac.", and what else belongs to the co-embedding.
void write_coembedding(const std::string& path, const Run& rna, const Run& atac, const RunConfig& config, const Json& provenance);
// ErrorCode::input if `folder` holds no finished run; ErrorCode::usage if it is a model of another modality than `modality`, or a
// co-embedding and that is empty. `option` is the one that says the modality: by its value, or, as --rna and --atac, by its name.
Run load_run(Context& context, const std::string& folder, const std::string& modality = "", const std::string& option = "--modality");
// Whether the finished run in the folder holds both modalities.
bool is_coembedding(const std::string& folder);
// The configuration that such a run was trained with.
RunConfig coembedding_config(const std::string& folder);

}  // namespace panvae::tools
