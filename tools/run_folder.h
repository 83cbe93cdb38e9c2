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

  // Which axes embeddings have unless others are asked for: canonical for RNA, the latent units for ATAC (docs/atac-vae.md).
  bool canonical_axes() const { return config.modality == "rna"; }
};

// Whether a file or folder of that name is there.
bool exists(const std::string& path);

// The networks that a resolved configuration asks for, with weights drawn from `seed`.
std::unique_ptr<TrainedModel> make_model(Context& context, const RunConfig& config, int64_t features, uint64_t seed);

// Canonical axes of the trained model over these scaled training samples.
eval::LatentAxes fit_axes(Context& context, TrainedModel& model, const data::RowMatrix<float>& scaled, const std::vector<int64_t>& rows);

// ErrorCode::usage unless `wanted`, the value of `option`, is empty or the modality of the run.
void check_modality(const Run& run, const std::string& wanted, const std::string& option);

void write_model(const std::string& path, const Run& run);
// ErrorCode::input if `folder` holds no finished run.
Run load_run(Context& context, const std::string& folder);

}  // namespace panvae::tools
