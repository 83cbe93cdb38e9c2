// What `evaluate all` judges: the models of runs and their principal-component baselines, each as an embedding of one matrix.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/results.h"
#include "tools/dataset_options.h"
#include "tools/run_samples.h"

namespace panvae::tools {

struct JudgedModel {
  eval::ResultsModel info;
  data::Dataset<double> embedding;  // of every sample of the data; values of float32, as a file would hold them
  // Reconstructions of these rows of the data, in its units: [rows, features].
  std::function<data::RowMatrix<float>(const std::vector<int64_t>& rows)> reconstruct;
  data::Table curves;  // of training; no rows if there was none
};

struct JudgedData {
  eval::ResultsData info;
  data::Dataset<float> matrix;
  std::vector<JudgedModel> models;  // baselines first
  std::vector<std::string> warnings;
};

// Which baselines: "512" or any number of components, "latent" (as many as each run of the data has), "best" (of 8, 16, 32, ...
// the number with which a classifier trained on the training samples knows most cohorts of the validation samples).
// ErrorCode::usage for anything else.
struct PcaBaselines {
  std::vector<int64_t> components;
  bool latent = false, best = false;
};
PcaBaselines parse_pca_baselines(const std::string& text);

// The runs' embeddings, grouped by their data. `files` are matched to runs by their features; where there are none, a run's
// data is the file it was trained on, beside the run's folder or here. Names of models and data are made unique.
// ErrorCode::input naming the run where no file fits or the file holds counts.
std::vector<JudgedData> load_judged(Context& context, const std::vector<std::string>& runs, const std::vector<std::string>& files,
                                    const DatasetOptions& options, const PcaBaselines& baselines, uint64_t seed);

}  // namespace panvae::tools
