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
  // The same on the latent units; empty where `embedding` is on them already. Pairs of modalities are compared there.
  std::function<data::Dataset<double>()> on_latent_units;
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

// Both modalities of donors in one space: a co-embedding, two runs that are not aligned, or their canonical correlation analysis.
struct JudgedPair {
  eval::ResultsModel info;
  std::shared_ptr<const data::Dataset<double>> rna, atac;  // equally many dimensions
  data::Table curves;                                      // as of JudgedModel
};

struct Judged {
  std::vector<JudgedData> data;
  std::vector<JudgedPair> pairs;  // what is not aligned first
};

// Which baselines: "512" or any number of components, "latent" (as many as each run of the data has), "best" (of 8, 16, 32, ...
// the number with which a classifier trained on the training samples knows most cohorts of the validation samples).
// ErrorCode::usage for anything else.
struct PcaBaselines {
  std::vector<int64_t> components;
  bool latent = false, best = false;
};
PcaBaselines parse_pca_baselines(const std::string& text);

// The runs' embeddings, grouped by their data; each half of a co-embedding is a model of its data. An RNA run and an ATAC run of
// equally many latents are a pair, too, and where there are baselines the two matrices' canonical correlation analysis. `files` are matched to runs by their
// features; where there are none, a run's data is the file it was trained on, beside the run's folder or here. Names of models and data are made unique.
// ErrorCode::input naming the run where no file fits or the file holds counts.
Judged load_judged(Context& context, const std::vector<std::string>& runs, const std::vector<std::string>& files, const DatasetOptions& options,
                   const PcaBaselines& baselines, uint64_t seed);

}  // namespace panvae::tools
