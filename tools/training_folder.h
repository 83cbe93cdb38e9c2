// The folder RUN while a 'panvae train' command is at work in it: configuration, checkpoint, metrics, results.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "models/coembed_trainer.h"
#include "models/trainer.h"
#include "tools/cli.h"
#include "tools/config.h"

namespace panvae::tools {

struct FolderOptions {
  std::string run, config;
  std::vector<std::string> set;
  bool resume = false, overwrite = false;
  bool no_graph = false;    // declared by the commands whose steps run as graphs
  std::string base_config;  // a file whose keys stand before --config and --set; empty for none

  void declare(CLI::App& command, Session& session);
};

class TrainingFolder {
 public:
  // Reads the configuration: that of the run with --resume, else defaults, files and --set. ErrorCode::usage where these differ from what
  // is resumed, and where the folder holds a run that is neither resumed nor overwritten. Nothing is written yet.
  TrainingFolder(const FolderOptions& options, const std::string& modality);

  RunConfig config;
  std::string path(const std::string& name) const { return options_.run + "/" + name; }
  bool resumes() const { return options_.resume; }

  // Makes the folder, locks it and writes config.toml; checkpoints of an earlier run that is not resumed are removed.
  void begin() const;
  // Trains a stage, or what is left of it. Epochs go to metrics.jsonl, behind those of `earlier` stages that stand there; each
  // line names the stage unless it is "".
  template <class Trainer>
  TrainResult train_stage(Trainer& trainer, const std::string& fingerprint, const std::string& stage = "", const std::string& earlier = "") const {
    start(trainer, fingerprint, stage, earlier);
    trainer.on_epoch = [this, stage](const auto& m) { note_epoch(m.json(), describe(m), stage, m.seconds, m.loading_seconds); };
    return finish(trainer, stage);
  }
  // Whether the checkpoint in the folder is of this fingerprint.
  bool checkpoint_is(const std::string& fingerprint) const;
  // What trained, measured: training.json and the answer of the command begin with it.
  static Json result_json(const TrainResult& result, int64_t parameters, bool validated);

 private:
  static std::string describe(const EpochMetrics& m);
  static std::string describe(const CoembedEpoch& m);
  void start(TrainingLoop& loop, const std::string& fingerprint, const std::string& stage, const std::string& earlier) const;
  void note_epoch(Json line, const std::string& text, const std::string& stage, double seconds, double loading_seconds) const;
  static TrainResult finish(TrainingLoop& loop, const std::string& stage);

  const FolderOptions& options_;
  mutable std::unique_ptr<FolderLock> lock_;  // since begin()
};

// Bytes at the peak so far, of the host on cpu and of the device on cuda.
int64_t peak_memory_bytes(Context& context);

}  // namespace panvae::tools
