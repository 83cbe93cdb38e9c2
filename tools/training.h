// What 'panvae train rna' and 'panvae train atac' share: options, reading of the matrix, the folder of the run, its results.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "models/trainer.h"
#include "tools/dataset_options.h"
#include "tools/run_folder.h"
#include "tools/training_folder.h"

namespace panvae::tools {

struct TrainingOptions : FolderOptions {
  DatasetOptions dataset;
  std::string in;
};

void declare_training(CLI::App& command, TrainingOptions& options, const std::string& modality, Session& session);

// Where the samples have no split, a tenth of the donors validates and nothing is held out.
void split_where_missing(data::Table& obs, uint64_t seed);

class TrainingRun : public TrainingFolder {
 public:
  // Reads and checks everything, and draws the weights; nothing is written yet.
  TrainingRun(const TrainingOptions& options, const std::string& modality, const Session& session);

  Context& context() { return *context_; }
  const data::Dataset<float>& data() const { return data_; }  // scaled
  const std::vector<int64_t>& train_rows() const { return train_rows_; }
  const std::vector<int64_t>& validation_rows() const { return validation_rows_; }
  template <class Model>
  Model& model() {
    return static_cast<Model&>(*run_.model);
  }
  // The data and its split, as a name.
  std::string data_name() const;
  // A text that says what a stage depends on: this configuration, the seed, the data and the split.
  std::string fingerprint(const RunConfig& of, const std::string& stage) const;

  // From the drawn weights to the answer, for a model of one network.
  void train_dense();
  // Axes, provenance, model.safetensors, training.json, MODEL_CARD.md and the answer of the command. `result` is that of the
  // stage that made the embedding; `more` is added to the JSON.
  void finish(const TrainResult& result, const Json& more = Json::object());
  // The answer's numbers of one stage.
  Json result_json(const TrainResult& result, int64_t parameters) const;

 private:
  std::string model_card(const TrainResult& r, const Json& json) const;

  const TrainingOptions& options_;
  const Session& session_;
  data::Dataset<float> data_;
  std::vector<int64_t> train_rows_, validation_rows_;
  std::unique_ptr<Context> context_;
  std::string data_hash_;
  Run run_;
};

}  // namespace panvae::tools
