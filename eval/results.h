// The results folder: what `panvae evaluate all -o results/` writes and `panvae report` reads. docs/report.md describes the
// files. Scores are kept as the JSON their evaluators give (to_json of eval/cohort.h and its neighbours), so that a new key of
// an evaluator needs no change here; only what a reader must know to put them side by side is typed.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/table.h"

namespace panvae::eval {

inline constexpr int kResultsVersion = 1;

// A matrix that models were made from or judged on.
struct ResultsData {
  std::string id;                                  // [A-Za-z0-9_-]+, unique
  std::string label;                               // for people, the file's name for instance
  std::string modality;                            // "rna", "atac"
  int64_t samples = 0, features = 0, holdout = 0;  // holdout: samples of the hold-out, 0 where there is none
  std::vector<std::string> cohorts;
};

// An embedding that is judged, or what stands in for one (kind "clinical": age, sex, cohort).
struct ResultsModel {
  std::string id;        // [A-Za-z0-9_-]+, unique; names its tables
  std::string label;     // "RNA VAE, 512", unique
  std::string kind;      // "pca" (a baseline, shown in grey), "vae", "linear_vae", "coembedding", "separate" (of two modalities, not
                         // aligned), "cca", "clinical", ...
  std::string modality;  // "rna", "atac"; "both" for what is judged by pairs
  std::string data;      // id of ResultsData, empty if none
  std::string run;       // the run's folder as given, empty if none
  std::string device;
  std::optional<int64_t> dimensions, parameters, epochs, best_epoch, peak_memory_bytes;  // unset: unknown or without meaning
  std::optional<double> seconds;                                                         // of training
  std::optional<uint64_t> seed;
  std::vector<double> explained;  // share of the variance along pc1 and pc2 of its points or plane table, empty if unknown
  Json network;                   // an object: what it is built of, for the picture (docs/report.md); null if unknown
};

// One evaluation of a model: a bar of a figure, a row of a table.
struct ResultsScore {
  std::string model;           // id of ResultsModel
  std::string setting;         // survival: "clinical", "embedding", "embedding+clinical"; alignment: "top 100" where the embedding
                               // is cut to so many components, empty where all models are cut to equally many; empty elsewhere
  bool within_cohort = false;  // survival: pairs are compared within a cohort only
  std::string control;         // empty for the score itself; "permuted labels", "cohort mean", ... for what it should beat
  Json values;                 // an object: the evaluator's keys; those typed here count where it has them too
};

// A table of many rows beside results.json: KIND/MODEL[.SETTING].tsv, first column the key.
//   curves    epoch; train_loss, validation_loss (NA without validation samples), more
//   points    sample; cohort, pc1, pc2 (the first two principal components of the embedding), donor and split where known
//   plane     sample; modality, pc1, pc2 (the first two principal components of both modalities' embeddings together); cohort, donor and
//             split where known
//   risk      sample; os_time (days), os_event, risk (from the fold that did not train on the sample), fold, group (by risk: low,
//             medium, high), cohort where known. SETTING as in ResultsScore, "+within" after it where within_cohort
//   de        feature; log2fc, t, p, fdr, mean_observed, mean_reconstructed, symbol where known
//   spearman  sample or feature, whichever SETTING says; spearman (observed against reconstructed)
struct ResultsTable {
  std::string kind, model, setting;
  data::Table table;  // at least one row
  std::string file() const;
};

struct Results {
  Json program = Json::object();     // version, git, cuda, blas: strings
  std::vector<std::string> command;  // as it was called
  uint64_t seed = 0;
  int folds = 5;
  std::optional<double> seconds;
  std::optional<int64_t> peak_memory_bytes;
  std::vector<ResultsData> data;
  std::vector<ResultsModel> models;  // in the order in which they are shown
  std::vector<ResultsScore> cohort, alignment, survival, expression;
  std::vector<ResultsScore> pairs;  // of both modalities of a model in one space (eval/pairs.h)
  std::vector<ResultsTable> tables;
  std::vector<std::string> warnings;

  const ResultsModel* find_model(std::string_view id) const;
  const ResultsData* find_data(std::string_view id) const;
  const ResultsTable* find_table(std::string_view kind, std::string_view model, std::string_view setting = {}) const;
};

// Writes the folder whole or not at all: beside its place, then renamed. An older results folder (or an empty one) is replaced,
// anything else that stands there is refused. ErrorCode::usage: ids that are not unique or name nothing, tables without their
// columns. ErrorCode::machine: the disk.
void write_results(const std::string& folder, const Results& results);

// ErrorCode::input naming file and key: no such folder, broken JSON, a key missing or of the wrong type, another version, ids
// that name nothing, a table without its columns. Lists may be missing or empty: then there are no such results.
Results read_results(const std::string& folder);

}  // namespace panvae::eval
