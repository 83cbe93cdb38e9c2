// panvae train atac: the block VAE, then the hierarchical VAE on its block means, in one folder RUN.
//
// RUN/blocks.safetensors holds the first stage once it is trained; it is there only if the second stage may use it, whatever that
// one's settings are. checkpoint.safetensors is that of the stage at work. So --resume finds out by itself where to go on.
#include <unistd.h>

#include <optional>

#include "base/file.h"
#include "base/log.h"
#include "base/read_json.h"
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

// What a block VAE must have in common with a run that uses it, however it was trained.
std::string network_of(const TrainingRun& t) {
  const AtacConfig& c = t.config.atac;
  return fmt::format("{} - {} - {}, scale {}, data {}", *c.block_size, fmt::join(*c.block_widths, " - "), *c.block_latent, t.config.scale, t.data_name());
}

struct Blocks {
  std::string fingerprint;
  Json result;  // of the answer
};

void write_blocks(const TrainingRun& t, const AtacNetworks& model, const Blocks& blocks) {
  TensorWriter w;
  w.add(model.block_state, "block.");
  w.file.metadata("kind", "panvae atac block vae");
  w.file.metadata("network", network_of(t));
  w.file.metadata("fingerprint", blocks.fingerprint);
  w.file.metadata("result", blocks.result.dump());
  w.file.write(t.path(kBlocks));
}

// The first stage from its file into the model; nothing if there is none, or one of another network or of other data.
std::optional<Blocks> read_blocks(const TrainingRun& t, AtacNetworks& model) {
  if (!exists(t.path(kBlocks))) return {};
  const SafetensorsReader file(t.path(kBlocks));
  auto text = [&](const char* key) {
    const auto it = file.metadata().find(key);
    return it == file.metadata().end() ? std::string() : it->second;
  };
  Blocks blocks{text("fingerprint"), parse_json(text("result"))};
  if (text("network") != network_of(t) || !blocks.result.is_object()) return {};
  read_state(file, model.block_state, "block.");
  return blocks;
}

Blocks train_blocks(TrainingRun& t, BlockSource& source) {
  AtacNetworks& model = t.model<AtacNetworks>();
  BlockTask task(model.blocks, source, model.schedule, t.train_rows(), t.validation_rows());
  log::info("block VAE: {} pairs of a sample and a block in an epoch", task.train_items(1));
  VaeTrainer trainer(t.context(), task, model.block_state, t.config.block_loss(), t.config.block_train());
  Blocks blocks{t.fingerprint(of_first_stage(t.config), "block"), {}};
  blocks.result = t.result_json(t.train_stage(trainer, blocks.fingerprint, "block"), model.block_state.parameter_count());
  blocks.result["blocks_per_second"] = blocks.result["samples_per_second"];
  blocks.result.erase("samples_per_second");
  write_blocks(t, model, blocks);
  return blocks;
}

TrainResult train_whole(TrainingRun& t, BlockSource& source, const std::string& blocks) {
  AtacNetworks& model = t.model<AtacNetworks>();
  const std::vector<float> means = block_means(t.context(), model.blocks, source, model.schedule);
  MatrixSource rows(t.context(), means.data(), source.samples(), model.whole.features());
  std::unique_ptr<TrainingTask> task;
  if (t.config.atac.loss == "peaks")
    task = std::make_unique<PeakTask>(model.whole, model.blocks, rows, source, model.schedule, t.train_rows(), t.validation_rows());
  else task = std::make_unique<RowTask>(model.whole, rows, t.train_rows(), t.validation_rows());
  VaeTrainer trainer(t.context(), *task, model.whole_state, t.config.loss, t.config.train);
  return t.train_stage(trainer, t.fingerprint(t.config, "hierarchical on " + blocks), "hierarchical", "block");
}

void answer_blocks(const Options& o, const Blocks& blocks, const Session& session) {
  Json json = blocks.result;
  json["stage"] = "block";
  json["run"] = o.run;
  TextTable table({"trained", "block VAE"});
  table.row({"epochs", fmt::format("{} (best {}; {})", json["epochs"].dump(), json["best_epoch"].dump(), json["stopped_because"].get<std::string>())});
  table.row({"validation loss", json["validation_loss"].dump()});
  table.row({"time", human_seconds(json["seconds"].get<double>())});
  session.emit(fmt::format("{}\nwritten: {}/{}\nnext: panvae train atac --stage hierarchical -o {} {}\n", table.str(), o.run, kBlocks, o.run, o.in), json);
}

void train(Options& o, const Session& session) {
  session.begin();
  const bool only_whole = o.stage == "hierarchical";
  if (only_whole && !exists(o.run + "/" + kBlocks))
    fail_input("the folder holds no block VAE", quoted(o.run, 400), "train it first: --stage block, or both stages at once with --stage all");
  if (only_whole && !o.resume) o.base_config = o.run + "/config.toml";
  TrainingRun t(o, "atac", session);
  if (t.config.is_dense()) {
    if (o.stage != "all") fail_usage("a dense network has no stages", "--stage " + o.stage, "leave it out, or set model.network=hierarchical");
    return t.train_dense();
  }
  AtacNetworks& model = t.model<AtacNetworks>();
  log::info("sizes: preset {} ({} peaks); blocks of {} that move by {}, {} of them in the tiling", t.config.atac.preset, t.data().features(),
            model.schedule.size(), *t.config.atac.block_slide, model.schedule.tiles());
  const std::unique_ptr<BlockSource> source = block_source(t.context(), t.data().x.data(), t.data().samples(), t.data().features());

  std::optional<Blocks> blocks;
  if (only_whole || o.resume) blocks = read_blocks(t, model);
  if ((only_whole || o.resume) && !blocks && exists(t.path(kBlocks)))  // a wrong matrix, perhaps: nobody trains these away by mistake
    fail_input("the block VAE was trained with another configuration or on other data", quoted(t.path(kBlocks), 400),
               "give the matrix, the seed and the sizes of blocks that it was trained with, or train both stages anew");
  t.begin();
  if (blocks) {
    log::info("the block VAE is trained already");
  } else {
    ::unlink(t.path(kBlocks).c_str());
    blocks = train_blocks(t, *source);
  }
  // The first stage's last checkpoint is of no use to the second.
  if (t.checkpoint_is(blocks->fingerprint)) ::unlink(t.path("checkpoint.safetensors").c_str());
  if (o.stage == "block") return answer_blocks(o, *blocks, session);
  model.block_state.release_gradients();
  const TrainResult r = train_whole(t, *source, blocks->fingerprint);
  t.finish(r, {{"seconds", r.seconds + blocks->result["seconds"].get<double>()},
               {"stages", {{"block", blocks->result}, {"hierarchical", t.result_json(r, model.whole_state.parameter_count())}}}});
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
