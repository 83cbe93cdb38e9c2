// panvae train atac: the block VAE, then the hierarchical VAE on its block means, in one folder RUN.
//
// RUN/blocks.safetensors holds the first stage once it is trained; checkpoint.safetensors is that of the stage at work. Both know
// by a fingerprint what they were made from, so --resume finds out by itself where to go on.
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "models/atac_tasks.h"
#include "tools/commands.h"
#include "tools/training.h"

namespace panvae::tools {

namespace {

constexpr const char* kBlocks = "blocks.safetensors";

struct Options : TrainingOptions {
  std::string stage = "all";
};

// The configuration without what the first stage does not depend on.
RunConfig of_first_stage(const RunConfig& config) {
  RunConfig c = config;
  c.atac.preset = "auto";
  c.atac.channels = c.atac.latent = std::nullopt;
  c.atac.widths = std::nullopt;
  c.atac.loss = "block_means";
  c.kl_weight = std::nullopt;
  c.train.batch_size = 1;
  return c;
}

struct FirstStage {
  TrainResult result;
  Json json;  // of the answer
};

void write_blocks(const std::string& path, const AtacNetworks& model, const std::string& fingerprint, const Json& result) {
  TensorWriter w;
  w.add(model.block_state, "block.");
  w.file.metadata("kind", "panvae atac block vae");
  w.file.metadata("fingerprint", fingerprint);
  w.file.metadata("result", result.dump());
  w.file.write(path);
}

// The first stage from its file, if there is one that was made from the same: then its result, else null.
Json read_blocks(const std::string& path, AtacNetworks& model, const std::string& fingerprint) {
  if (!exists(path)) return nullptr;
  const SafetensorsReader file(path);
  const auto written = file.metadata().find("fingerprint"), result = file.metadata().find("result");
  if (written == file.metadata().end() || result == file.metadata().end() || written->second != fingerprint) return nullptr;
  read_state(file, model.block_state, "block.");
  return Json::parse(result->second);
}

Json train_blocks(TrainingRun& t, BlockSource& source, const std::string& fingerprint) {
  AtacNetworks& model = t.model<AtacNetworks>();
  BlockTask task(model.blocks, source, model.schedule, t.train_rows(), t.validation_rows());
  log::info("block VAE: {} pairs of a sample and a block in an epoch", task.train_items(1));
  VaeTrainer trainer(t.context(), task, model.block_state, t.config().block_loss(), t.config().block_train());
  const TrainResult r = t.train_stage(trainer, fingerprint, "block");
  Json json = t.result_json(r, model.block_state.parameter_count());
  json["blocks_per_second"] = json["samples_per_second"];
  json.erase("samples_per_second");
  write_blocks(t.path(kBlocks), model, fingerprint, json);
  return json;
}

TrainResult train_whole(TrainingRun& t, BlockSource& source, const std::string& fingerprint) {
  AtacNetworks& model = t.model<AtacNetworks>();
  const std::vector<float> means = block_means(t.context(), model.blocks, source, model.schedule);
  MatrixSource rows(t.context(), means.data(), source.samples(), model.whole.features());
  std::unique_ptr<TrainingTask> task;
  if (t.config().atac.loss == "peaks")
    task = std::make_unique<PeakTask>(model.whole, model.blocks, rows, source, model.schedule, t.train_rows(), t.validation_rows());
  else task = std::make_unique<RowTask>(model.whole, rows, t.train_rows(), t.validation_rows());
  VaeTrainer trainer(t.context(), *task, model.whole_state, t.config().loss, t.config().train);
  return t.train_stage(trainer, fingerprint, "hierarchical", "block");
}

void train(Options& o, const Session& session) {
  session.begin();
  const bool only_whole = o.stage == "hierarchical";
  const std::string blocks_path = o.run + "/" + kBlocks;
  if (only_whole) {
    if (!exists(blocks_path))
      fail_input("the folder holds no block VAE", quoted(o.run, 400), "train it first: --stage block, or both stages at once with --stage all");
    o.base_config = o.resume ? "" : o.run + "/config.toml";
  }
  TrainingRun t(o, "atac", session);
  AtacNetworks& model = t.model<AtacNetworks>();
  log::info("sizes: preset {} ({} peaks); blocks of {} that move by {}, {} of them in the tiling", t.config().atac.preset, t.data().features(),
            model.schedule.size(), *t.config().atac.block_slide, model.schedule.tiles());
  const std::unique_ptr<BlockSource> source = block_source(t.context(), t.data().x.data(), t.data().samples(), t.data().features());
  const std::string first = t.fingerprint(of_first_stage(t.config()), "block"), second = t.fingerprint(t.config(), "hierarchical");

  Json blocks;
  if (only_whole || o.resume) blocks = read_blocks(blocks_path, model, first);
  if (only_whole && blocks.is_null())
    fail_input("the block VAE was trained with another configuration or on other data", quoted(blocks_path, 400),
               "give the matrix, the seed and the keys of 'block' that it was trained with, or train both stages anew");
  // The first stage's last checkpoint is of no use to the second.
  const bool stale = !blocks.is_null() && t.checkpoint_is(first);
  t.begin();
  if (blocks.is_null()) {
    ::unlink(blocks_path.c_str());
    blocks = train_blocks(t, *source, first);
    ::unlink(t.path("checkpoint.safetensors").c_str());
  } else {
    log::info("the block VAE is trained already");
    if (stale) ::unlink(t.path("checkpoint.safetensors").c_str());
  }
  if (o.stage == "block") {
    Json json = blocks;
    json["stage"] = "block";
    json["run"] = o.run;
    TextTable table({"trained", "block VAE"});
    table.row({"epochs", fmt::format("{} (best {}; {})", blocks["epochs"].dump(), blocks["best_epoch"].dump(), blocks["stopped_because"].get<std::string>())});
    table.row({"validation loss", blocks["validation_loss"].dump()});
    table.row({"time", human_seconds(blocks["seconds"].get<double>())});
    session.emit(table.str() + "\nwritten: " + blocks_path + "\nnext: panvae train atac --stage hierarchical -o " + o.run + " " + o.in + "\n", json);
    return;
  }
  model.block_state.release_gradients();
  const TrainResult r = train_whole(t, *source, second);
  Json of_whole = t.result_json(r, model.whole_state.parameter_count());
  t.finish(r, {{"seconds", r.seconds + blocks["seconds"].get<double>()}, {"stages", {{"block", blocks}, {"hierarchical", of_whole}}}});
}

}  // namespace

void add_train_atac(CLI::App& train_app, Session& session) {
  CLI::App* cmd = add_command(train_app, "atac", "Train the block VAE and the hierarchical VAE of chromatin accessibility on a preprocessed matrix",
                              "panvae simulate -o sim --donors 120 --genes 500 --peaks 5000 --atac-fraction 1 && panvae preprocess -o sim/atac_pp.h5ad "
                              "sim/atac.h5ad --modality atac && "
                              "panvae train atac -o sim/atac_run sim/atac_pp.h5ad --set train.max_epochs=6\n\n" +
                                  config_help("atac"));
  auto o = std::make_shared<Options>();
  declare_training(*cmd, *o, "atac", session);
  cmd->add_option("--stage", o->stage, "block: the first stage alone; hierarchical: the second, on the block VAE in the folder; all: both")
      ->check(CLI::IsMember({"block", "hierarchical", "all"}))
      ->capture_default_str();
  cmd->callback([o, &session] { train(*o, session); });
}

}  // namespace panvae::tools
