// RUN, the folder of a trained model: config.toml, model.safetensors, metrics.jsonl, checkpoint.safetensors, MODEL_CARD.md,
// training.json (what 'train' answered: times, memory, device).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/preprocess.h"
#include "data/read.h"
#include "eval/axes.h"
#include "models/rna_vae.h"
#include "models/trainer.h"
#include "tools/config.h"

namespace panvae::tools {

// Features as the network sees them: z = clip((x - mean) / sd, -10, 10), mean and sd (n - 1) of the training samples; a
// constant feature has sd 1. With model.scale = none mean is 0, sd 1 and nothing is clipped.
struct FeatureScale {
  std::vector<float> mean, sd;
  bool clip = true;
  static FeatureScale fit(const data::RowMatrix<float>& x, const std::vector<int64_t>& rows, const std::string& scale);
  void apply(data::RowMatrix<float>& x) const;
  void invert(data::RowMatrix<float>& x) const;  // clipping cannot be undone
};

// Everything a trained model is, on one device.
struct Run {
  RunConfig config;
  data::Frozen preprocess;  // empty: the matrix came from elsewhere, and new samples must come as it did
  std::vector<std::string> features;
  FeatureScale scale;
  eval::LatentAxes axes;
  Json provenance = Json::object();
  std::unique_ptr<RnaVae> model;
  std::unique_ptr<ModuleState> state;
};

// Whether a file or folder of that name is there.
bool exists(const std::string& path);

RnaVaeShape shape_of(const RunConfig& config, int64_t features);

// What embed and reconstruct do with a file: read with `options`, preprocessed by the run's frozen steps unless `input` says it is
// processed ("" decides by the file: what preprocess wrote is processed), features matched, scaled. Counts go through in
// doubles. ErrorCode::input where the file does not fit the run.
data::Dataset<float> read_for_run(const Run& run, const std::string& path, const data::ReadOptions& options, const std::string& input);

// Posterior means of samples from read_for_run, [samples, latent]. Canonical axes are applied in doubles, row by row: a sample's
// vector does not depend on who else is in the file.
data::RowMatrix<float> embedding_of(Context& context, const Run& run, const data::Dataset<float>& in, bool canonical);
// Samples from read_for_run through encoder and decoder, in the log2 units of the preprocessed data, [samples, features].
data::RowMatrix<float> reconstruction_of(Context& context, const Run& run, const data::Dataset<float>& in);

// Canonical axes of the trained model over these scaled training samples.
eval::LatentAxes fit_axes(Context& context, RnaVae& model, const data::RowMatrix<float>& scaled, const std::vector<int64_t>& rows);

void write_model(const std::string& path, const Run& run);
// ErrorCode::input if `folder` holds no finished run.
Run load_run(Context& context, const std::string& folder);

}  // namespace panvae::tools
