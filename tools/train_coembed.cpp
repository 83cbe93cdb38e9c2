// panvae train coembed: two trained runs, one of RNA and one of ATAC, go on together until a donor's samples of both lie at one place.
#include <cmath>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "base/read_json.h"
#include "models/coembed_trainer.h"
#include "tools/coembed_data.h"
#include "tools/commands.h"
#include "tools/device_options.h"
#include "tools/modality_options.h"
#include "tools/training_folder.h"
#include "tools/version.h"

namespace panvae::tools {

namespace {

struct Options : FolderOptions {
  ModalityOptions input;
  std::string mode, rna_run, atac_run, rna, atac, pairs;
};

void set_mode(RunConfig& config, const Options& o) {
  std::string& mode = config.coembed.mode;
  if (o.resume && !o.mode.empty() && o.mode != mode) fail_usage("the run is " + mode, "--mode " + o.mode, "--resume goes on with it: leave --mode out");
  if (!o.mode.empty()) mode = o.mode;
  if (mode.empty()) fail_usage("--mode is required", {}, "say --mode adversarial or --mode contrastive");
}

// What both runs must have in common, and the names that the configuration has for them.
void check_runs(RunConfig& config, const CoembedHalf& rna, const CoembedHalf& atac) {
  const int64_t of_rna = rna.run.model->latent(), of_atac = atac.run.model->latent();
  const bool dense = atac.run.config.is_dense();
  if (of_rna != of_atac)
    fail_input(fmt::format("the RNA run has {} latents and the ATAC run {}", of_rna, of_atac), quoted(atac.folder, 400),
               fmt::format("one space needs one size: train either again, with --set model.latent={} for RNA or --set {}={} for ATAC", of_atac,
                           dense ? "model.latent" : "hierarchical.latent", of_rna));
  std::string& wanted = config.coembed.atac_model;
  const std::string is = dense ? "dense" : "hierarchical";
  if (wanted != "auto" && wanted != is)
    fail_usage(fmt::format("the ATAC run is {}", is), "coembed.atac_model=" + wanted, fmt::format("train it with --set model.network={}", wanted));
  wanted = is;
}

void check_contrast(const RunConfig& config, const CoembedHalf& rna, const CoembedHalf& atac) {
  if (config.coembed.mode != "contrastive" || config.coembed.contrastive == 0) return;
  int64_t anchors = 0;
  for (const CoembedHalf* half : {&rna, &atac}) anchors += TripletSampler(half->train, half->cohort_numbers(), half->donor_numbers()).anchors();
  if (anchors == 0)
    fail_input("nothing to contrast: no cohort of training samples has two donors beside another cohort", quoted(rna.file, 400),
               "give samples of several cohorts (--cohort-key names the column), or take --mode adversarial");
}

ReconstructionOptions reconstruction(const Run& run) {
  // Co-embedding reconstructs block means, so a run that learned from peaks has the KL weight of one that did not.
  RunConfig c = run.config;
  if (!c.is_dense() && c.atac.loss == "peaks") {
    c.atac.loss = "block_means";
    c.kl_weight.reset();
    c.resolve(static_cast<int64_t>(run.features.size()));
  }
  return {c.loss.huber_delta, c.loss.kl_weight};
}

CoembedSamples samples_of(const CoembedHalf& half, BatchSource& source) {
  return {source, half.train, half.validation, half.cohort_numbers(), half.donor_numbers()};
}

Json number(double v) {
  return std::isfinite(v) ? Json(v) : Json(nullptr);
}

struct Trained {
  TrainResult result;
  CoembedEpoch before, after;  // validation samples, of the warm start and of the best weights
  double holdout_accuracy = CoembedTerms::none;
};

// Trains the halves' networks together; their own states have the weights afterwards.
Trained train_together(Context& context, const TrainingFolder& folder, CoembedHalf& rna, CoembedHalf& atac, const CoembedPairs& pairs, uint64_t seed) {
  const Vae &rna_vae = rna.run.model->latent_vae(), &atac_vae = atac.run.model->latent_vae();
  MatrixSource rna_rows(context, rna.inputs.data(), rna.obs.rows(), rna_vae.features(), rna_vae.width());
  MatrixSource atac_rows(context, atac.inputs.data(), atac.obs.rows(), atac_vae.features(), atac_vae.width());
  CoEmbedding model(rna.run.model->latent_vae(), atac.run.model->latent_vae());
  ModuleState state(context, model, seed);
  warm_start(state, Modality::rna, rna.run.model->latent_state());
  warm_start(state, Modality::atac, atac.run.model->latent_state());
  CoembedLossOptions loss = folder.config.coembed_loss();
  loss.rna = reconstruction(rna.run);
  loss.atac = reconstruction(atac.run);
  CoembedTrainer trainer(context, model, state, {samples_of(rna, rna_rows), samples_of(atac, atac_rows), pairs.train, pairs.validation}, loss,
                         folder.config.coembed_train());
  log::info("{} co-embedding: {} parameters; {} RNA and {} ATAC samples train, {} and {} validate; {} pairs train, {} validate", folder.config.coembed.mode,
            state.parameter_count(), rna.train.size(), atac.train.size(), rna.validation.size(), atac.validation.size(), pairs.train.size(),
            pairs.validation.size());
  Trained t;
  t.before = trainer.evaluate();
  if (std::isfinite(t.before.foscttm)) log::info("before training: FOSCTTM of the validation pairs {:.3f}", t.before.foscttm);
  folder.begin();
  const uint64_t pair_hash = stable_hash(reinterpret_cast<const char*>(pairs.train.data()), pairs.train.size() * sizeof(MatchedPair),
                                         stable_hash(reinterpret_cast<const char*>(pairs.validation.data()), pairs.validation.size() * sizeof(MatchedPair)));
  t.result =
      folder.train_stage(trainer, fmt::format("{}seed {} {} {} pairs {:016x}", folder.config.toml(), seed, rna.fingerprint(), atac.fingerprint(), pair_hash));
  t.after = trainer.evaluate();
  t.holdout_accuracy = trainer.discriminator_accuracy(rna.holdout, atac.holdout);
  take_out(state, Modality::rna, rna.run.model->latent_state());
  take_out(state, Modality::atac, atac.run.model->latent_state());
  return t;
}

std::string model_card(const Json& json, const TrainingFolder& folder, const CoembedHalf& rna, const CoembedHalf& atac) {
  const CoembedConfig& c = folder.config.coembed;
  std::string s = fmt::format("# Model card\n\nA co-embedding of RNA expression and chromatin accessibility, trained by panvae {}.\n\n", version_short());
  s += "| | |\n|---|---|\n";
  auto row = [&](const char* k, const std::string& v) { s += fmt::format("| {} | {} |\n", k, v); };
  for (const CoembedHalf* half : {&rna, &atac})
    row(half == &rna ? "RNA" : "ATAC", fmt::format("{}, from {} ({} training, {} validation samples; {} features)", half->run.model->network(),
                                                   member<std::string>(half->run.provenance, "warm_start").value_or(""), half->train.size(),
                                                   half->validation.size(), half->run.features.size()));
  row("mode", c.mode);
  row("weights", c.mode == "adversarial" ? fmt::format("adversarial {}, cycle {}, pair {}", c.adversarial, c.cycle, c.pair)
                                         : fmt::format("contrastive {} (margin {}), cycle {}, pair {}", c.contrastive, c.margin, c.cycle, c.pair));
  row("matched pairs", fmt::format("{} training, {} validation", json["pairs"]["train"].dump(), json["pairs"]["validation"].dump()));
  row("best epoch", fmt::format("{} of {} ({})", json["best_epoch"].dump(), json["epochs"].dump(), json["stopped_because"].get<std::string>()));
  row("FOSCTTM of validation pairs", fmt::format("{} (before: {})", json["foscttm"].dump(), json["foscttm_before"].dump()));
  return s +
         "\n## What it is for\n\nEmbedding samples of either modality in one space (`panvae embed --modality rna|atac`), and imputing one from the "
         "other (`panvae reconstruct --to rna|atac`). New samples go through the preprocessing frozen in `model.safetensors`.\n\n"
         "## What it is not for\n\nSamples of cohorts or assays it was not trained on. Imputed values are the model's guess: judge them with `panvae "
         "reconstruct --against`. It is no diagnostic device.\n";
}

// The last part of a path.
std::string name_of(const std::string& path) {
  const std::filesystem::path p(path);
  return (p.has_filename() ? p : p.parent_path()).filename().string();
}

Json provenance_of(const TrainingFolder& folder, const Trained& t, const CoembedPairs& pairs) {
  return {{"panvae", version_short()},         {"mode", folder.config.coembed.mode}, {"seed", folder.config.train.seed},           {"epochs", t.result.epochs},
          {"best_epoch", t.result.best_epoch}, {"train_pairs", pairs.train.size()},  {"validation_pairs", pairs.validation.size()}};
}

Json provenance_of(const CoembedHalf& half) {
  return {{"input", name_of(half.file)},
          {"warm_start", name_of(half.folder)},
          {"train_samples", half.train.size()},
          {"validation_samples", half.validation.size()},
          {"cohorts", member<std::string>(half.run.provenance, "cohorts").value_or("not given")}};
}

// Who may not be held out where this co-embedding serves: seen by it or by the runs it began with.
std::set<std::string> donors_seen(const CoembedHalf& rna, const CoembedHalf& atac) {
  std::set<std::string> seen;
  for (const CoembedHalf* half : {&rna, &atac}) {
    for (const Json& donor : half->run.provenance["donors_seen"]) seen.insert(donor.get<std::string>());
    for (const std::vector<int64_t>* side : {&half->train, &half->validation})
      for (int64_t r : *side) seen.insert(half->donors[static_cast<size_t>(r)]);
  }
  return seen;
}

// The posteriors of the training samples have moved, and so have the axes.
void fit_axes_again(Context& context, CoembedHalf& half) {
  std::vector<float> training;
  const Vae& vae = half.run.model->latent_vae();
  const int64_t features = vae.features();
  for (int64_t r : half.train) training.insert(training.end(), half.inputs.begin() + r * features, half.inputs.begin() + (r + 1) * features);
  MatrixSource source(context, training.data(), static_cast<int64_t>(half.train.size()), features, vae.width());
  half.run.axes = fit_axes(context, *half.run.model, posteriors(context, half.run.model->latent_vae(), source, true));
}

void write(Context& context, const TrainingFolder& folder, CoembedHalf& rna, CoembedHalf& atac, const Trained& t, const CoembedPairs& pairs) {
  const Json both = provenance_of(folder, t, pairs);
  Json provenance = both;
  provenance["donors_seen"] = donors_seen(rna, atac);
  for (CoembedHalf* half : {&rna, &atac}) {
    fit_axes_again(context, *half);
    const Json own = provenance_of(*half);
    provenance[half->run.config.modality] = own;
    half->run.coembedded = true;
    half->run.provenance = both;
    half->run.provenance.update(own);
  }
  write_coembedding(folder.path("model.safetensors"), rna.run, atac.run, folder.config, provenance);
}

std::string table_of(const Trained& t, const TrainingFolder& folder, const Json& json) {
  const auto shown = [](double v) { return std::isfinite(v) ? fmt::format("{:.4f}", v) : std::string("-"); };
  TextTable table({"co-embedded, " + folder.config.coembed.mode, "before", "after"});
  const CoembedTerms &b = t.before.validation, &a = t.after.validation;
  table.row({"FOSCTTM of validation pairs (0 is best, 0.5 chance)", shown(t.before.foscttm), shown(t.after.foscttm)});
  table.row({"reconstruction of RNA, Huber a feature", shown(b.rna_huber), shown(a.rna_huber)});
  table.row({"reconstruction of ATAC, Huber a feature", shown(b.atac_huber), shown(a.atac_huber)});
  table.row({"cycle", shown(b.cycle), shown(a.cycle)});
  table.row({"distance of pairs", shown(b.pair), shown(a.pair)});
  if (folder.config.coembed.mode == "contrastive") table.row({"triplet loss", shown(b.triplet), shown(a.triplet)});
  else table.row({"discriminator right (0.5 is chance)", "-", shown(a.discriminator_accuracy)});
  table.row({"epochs", "", fmt::format("{} (best {}; {})", t.result.epochs, t.result.best_epoch, t.result.stopped_because)});
  table.row({"time", "", human_seconds(t.result.seconds)});
  table.row({"peak memory", "", human_bytes(json["peak_memory_bytes"].get<int64_t>())});
  return table.str();
}

void train(const Options& o, const Session& session) {
  session.begin();
  TrainingFolder folder(o, "coembed");
  set_mode(folder.config, o);
  folder.config.train.seed = session.globals.seed;
  const std::unique_ptr<Context> context = make_context(session.globals);
  CoembedHalf rna(*context, "rna", o.rna_run, o.rna, o.input.rna(), session.globals.seed);
  CoembedHalf atac(*context, "atac", o.atac_run, o.atac, o.input.atac(), session.globals.seed);
  check_runs(folder.config, rna, atac);
  one_split(rna, atac);
  check_contrast(folder.config, rna, atac);
  const CoembedPairs pairs = coembed_pairs(rna, atac, o.pairs);
  if (pairs.left_out > 0) log::info("{} pairs are left out: of samples that are held out, on different sides, or not here", pairs.left_out);
  if (pairs.train.empty() && folder.config.coembed.pair > 0)
    log::warning("no matched pair trains: nothing but loss.{} draws donors together", folder.config.coembed.mode);
  if (rna.validation.empty() || atac.validation.empty())
    log::warning("no validation samples of both modalities: no early stopping, all {} epochs are run", folder.config.train.max_epochs);
  else if (pairs.validation.empty()) log::warning("no matched pair validates: early stopping looks at the cycle in place of FOSCTTM");

  const Trained t = train_together(*context, folder, rna, atac, pairs, session.globals.seed);

  write(*context, folder, rna, atac, t, pairs);

  const bool validated = !rna.validation.empty() && !atac.validation.empty();
  Json json =
      TrainingFolder::result_json(t.result, rna.run.model->latent_state().parameter_count() + atac.run.model->latent_state().parameter_count(), validated);
  json["peak_memory_bytes"] = peak_memory_bytes(*context);
  json["device"] = to_string(context->device());
  json["mode"] = folder.config.coembed.mode;
  json["run"] = o.run;
  json["pairs"] = {{"train", pairs.train.size()}, {"validation", pairs.validation.size()}, {"left_out", pairs.left_out}};
  json["foscttm_before"] = number(t.before.foscttm);
  json["foscttm"] = number(t.after.foscttm);
  json["discriminator_accuracy"] = number(t.after.validation.discriminator_accuracy);
  json["holdout_discriminator_accuracy"] = number(t.holdout_accuracy);
  json["validation"] = t.after.json();
  json["validation_before"] = t.before.json();
  write_file(folder.path("training.json"), json.dump(2) + "\n");
  write_file(folder.path("MODEL_CARD.md"), model_card(json, folder, rna, atac));

  session.emit(fmt::format("{}\nwritten: {}/\n", table_of(t, folder, json), o.run), json);
}

}  // namespace

void add_train_coembed(CLI::App& train_app, Session& session) {
  CLI::App* cmd =
      add_command(train_app, "coembed", "Train an RNA run and an ATAC run on, together, so that both embed samples into one space",
                  "panvae simulate -o sim --donors 150 --genes 500 --peaks 4000 --cohorts 4 --atac-fraction 1 && panvae preprocess -o sim/r.h5ad sim/rna.h5ad "
                  "--modality rna && panvae preprocess -o sim/a.h5ad sim/atac.h5ad --modality atac && panvae train rna -o sim/rna_run sim/r.h5ad --set "
                  "model.latent=64 --set train.max_epochs=12 && panvae train atac -o sim/atac_run sim/a.h5ad --set hierarchical.latent=64 --set "
                  "train.max_epochs=6 && panvae train coembed -o sim/co --mode adversarial --rna sim/rna_run --atac sim/atac_run sim/r.h5ad sim/a.h5ad --set "
                  "train.max_epochs=30\n\n" +
                      config_help("coembed"));
  auto o = std::make_shared<Options>();
  cmd->add_option("RNA", o->rna, "Samples of RNA: the matrix of its run, or others of the same features")->required();
  cmd->add_option("ATAC", o->atac, "Samples of ATAC, likewise")->required();
  cmd->add_option("--mode", o->mode, "adversarial: a discriminator must not tell the modalities apart; contrastive: cohorts are drawn apart")
      ->check(CLI::IsMember({"adversarial", "contrastive"}));
  cmd->add_option("--rna", o->rna_run, "Run of 'panvae train rna' to begin with")->required()->type_name("RUN");
  cmd->add_option("--atac", o->atac_run, "Run of 'panvae train atac' to begin with; its latents are as many")->required()->type_name("RUN");
  cmd->add_option("--pairs", o->pairs, "Table of matched samples, as 'panvae match' writes it (default: all samples of equal donors)")->type_name("TABLE");
  o->FolderOptions::declare(*cmd, session);
  o->input.declare(*cmd);
  session.common(*cmd, Session::seed | Session::device | Session::precision);
  cmd->callback([o, &session] { train(*o, session); });
}

}  // namespace panvae::tools
