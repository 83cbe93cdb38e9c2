#include "tools/training.h"

#include <set>

#include "base/file.h"
#include "base/log.h"
#include "base/read_json.h"
#include "data/peaks.h"
#include "data/split.h"
#include "tools/device_options.h"
#include "tools/version.h"

namespace panvae::tools {

namespace {

// A name for the data a checkpoint belongs to: every value, feature and sample counts.
std::string data_fingerprint(const data::Dataset<float>& d) {
  uint64_t h = stable_hash(reinterpret_cast<const char*>(d.x.data()), static_cast<uint64_t>(d.x.size()) * sizeof(float));
  for (const auto* names : {&d.obs.keys, &d.var.keys})
    for (const std::string& n : *names) h = stable_hash(n.data(), n.size(), h);
  return fmt::format("{:016x}", h);
}

// Blocks are of neighbours on the genome, so peaks must come in its order.
void check_peaks(const data::Dataset<float>& d) {
  if (member<std::string>(d.frozen.settings, "modality").value_or("") == "atac" && data::has_positions(d.var)) return;  // sorted by preprocess
  data::Peaks peaks;
  try {
    peaks = data::peaks_of(d.var, d.path);
  } catch (const Error&) {
    log::warning("{} does not say where its features lie: blocks are of features that stand beside each other in the file", quoted(d.path, 200));
    return;
  }
  const std::vector<int64_t> order = data::bed_order(peaks);
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] != static_cast<int64_t>(i))
      fail_input(fmt::format("peak {} is out of genome order", quoted(d.var.keys[i])), quoted(d.path, 400),
                 "'panvae preprocess --modality atac' sorts peaks (--input log for logs)");
}

std::string measured(const std::string& modality) {
  return modality == "atac" ? "chromatin accessibility" : "RNA expression";
}

}  // namespace

void split_where_missing(data::Table& obs, uint64_t seed) {
  if (obs.find("split")) return;
  data::SplitOptions split;
  split.holdout = 0;
  split.seed = seed;
  data::assign_split(obs, split);
  log::info("no split column: a tenth of the donors validates, nothing is held out");
}

void declare_training(CLI::App& cmd, TrainingOptions& o, const std::string& modality, Session& session) {
  cmd.add_option("IN", o.in, fmt::format("Matrix that 'panvae preprocess --modality {}' wrote", modality))->required();
  o.FolderOptions::declare(cmd, session);
  cmd.add_flag("--no-graph", o.no_graph,
               "On a GPU, start each kernel of a step by itself, not a recorded step as one CUDA graph; the results are the same bits");
  o.dataset.declare(cmd);
  session.common(cmd, Session::seed | Session::device | Session::precision);
}

TrainingRun::TrainingRun(const TrainingOptions& o, const std::string& modality, const Session& session)
    : TrainingFolder(o, modality), options_(o), session_(session) {
  data_ = data::read_dataset<float>(o.in, o.dataset.read());
  if (data_.kind == "counts")
    fail_input("raw counts cannot be trained on", quoted(o.in, 400),
               fmt::format("preprocess them first: panvae preprocess --modality {} -o OUT {}", modality, o.in));
  const bool has_preprocessing = data::holds_preprocessing(data_.frozen);
  if (!has_preprocessing) log::warning("{} carries no preprocessing: 'embed' will take only samples that were prepared the same way", quoted(o.in, 200));
  const std::string prepared = member<std::string>(data_.frozen.settings, "modality").value_or(modality);
  if (prepared != modality)
    fail_input(fmt::format("it was preprocessed as {}", prepared), quoted(o.in, 400), fmt::format("train it with 'panvae train {}'", prepared));
  if (modality == "atac" && !config.is_dense()) check_peaks(data_);
  split_where_missing(data_.obs, session.globals.seed);
  train_rows_ = data::rows_of_split(data_.obs, "train");
  validation_rows_ = data::rows_of_split(data_.obs, "validation");
  if (train_rows_.size() < 2)
    fail_input(fmt::format("{} training samples", train_rows_.size()), quoted(o.in, 400), "at least two samples must have split = train");
  if (validation_rows_.empty()) log::warning("no validation samples: no early stopping, all {} epochs are run", config.train.max_epochs);

  config.resolve(data_.features());
  config.train.seed = session.globals.seed;
  context_ = make_context(session.globals);
  data_hash_ = data_fingerprint(data_);
  run_.config = config;
  if (has_preprocessing) run_.preprocess = data_.frozen;
  run_.features = data_.var.keys;
  run_.scale = FeatureScale::fit(data_.x, train_rows_, config.scale);
  run_.scale.apply(data_.x);
  run_.model = make_model(*context_, config, data_.features(), session.globals.seed);
  log::info("{}: {}, {} parameters; {} training and {} validation samples", run_.model->kind(), run_.model->network(), run_.model->parameter_count(),
            train_rows_.size(), validation_rows_.size());
}

std::string TrainingRun::data_name() const {
  uint64_t split = 0;  // which samples, not how many alone: a run that goes on must not validate on what it has trained on
  for (const std::vector<int64_t>* rows : {&train_rows_, &validation_rows_})
    split = stable_hash(reinterpret_cast<const char*>(rows->data()), rows->size() * sizeof(int64_t), split);
  return fmt::format("{} split {}/{} {:016x}", data_hash_, train_rows_.size(), validation_rows_.size(), split);
}

std::string TrainingRun::fingerprint(const RunConfig& of, const std::string& stage) const {
  return fmt::format("{}{}seed {} data {}", of.toml(), stage.empty() ? "" : "stage " + stage + " ", session_.globals.seed, data_name());
}

Json TrainingRun::result_json(const TrainResult& r, int64_t parameters) const {
  return TrainingFolder::result_json(r, parameters, !validation_rows_.empty());
}

std::string TrainingRun::model_card(const TrainResult& r, const Json& json) const {
  const Run& run = run_;
  std::string s = fmt::format("# Model card\n\nA variational autoencoder of {}, trained by panvae {}.\n\n", measured(run.config.modality),
                              member<std::string>(run.provenance, "panvae").value_or(""));
  s += "| | |\n|---|---|\n";
  auto row = [&](const char* k, const std::string& v) { s += fmt::format("| {} | {} |\n", k, v); };
  row("input", fmt::format("{} ({} training, {} validation samples; {} features)", member<std::string>(run.provenance, "input").value_or(""),
                           member<int64_t>(run.provenance, "train_samples").value_or(0), member<int64_t>(run.provenance, "validation_samples").value_or(0),
                           run.features.size()));
  row("cohorts", member<std::string>(run.provenance, "cohorts").value_or("not given"));
  row("network", run.model->network() + (run.config.is_dense() ? ", " + run.config.dense.activation : ""));
  row("parameters", json["parameters"].dump());
  row("loss", fmt::format("Huber (delta {}) + {} x KL", run.config.loss.huber_delta, run.config.loss.kl_weight));
  row("best epoch", fmt::format("{} of {} ({})", r.best_epoch, r.epochs, r.stopped_because));
  row("validation loss", json["validation_loss"].dump());
  row("embedding axes", fmt::format("{} of {} carry more than noise, {} turned by varimax", run.axes.informative, run.model->latent(), run.axes.leading));
  s += fmt::format(
      "\n## What it is for\n\nEmbedding samples of the same kind of assay and tissue as the training samples, and reconstructing their {}. "
      "New samples go through the preprocessing frozen in `model.safetensors`: `panvae embed -o OUT RUN SAMPLES`.\n\n"
      "## What it is not for\n\nCohorts it was not trained on are embedded all the same, and wrongly. It is no diagnostic device.\n",
      measured(run.config.modality));
  return s;
}

void TrainingRun::train_dense() {
  DenseModel& network = model<DenseModel>();
  MatrixSource source(*context_, data_.x.data(), data_.samples(), data_.features(), network.vae.width());
  VaeTrainer trainer(*context_, network.vae, network.state, source, train_rows_, validation_rows_, config.loss, config.train);
  begin();
  finish(train_stage(trainer, fingerprint(config, "")));
}

void TrainingRun::finish(const TrainResult& r, const Json& more) {
  run_.axes = fit_axes(*context_, *run_.model, data_.x, train_rows_);

  std::set<std::string> cohorts;
  if (const data::Column* c = data_.obs.find("cohort"))
    for (int64_t row : train_rows_) cohorts.insert(c->missing(row) ? "(missing)" : c->text(row));
  const size_t slash = options_.in.rfind('/');
  run_.provenance = {{"panvae", version_short()},
                     {"input", slash == std::string::npos ? options_.in : options_.in.substr(slash + 1)},
                     {"data", data_hash_},
                     {"train_samples", train_rows_.size()},
                     {"validation_samples", validation_rows_.size()},
                     {"cohorts", cohorts.empty() ? "not given" : fmt::format("{}", fmt::join(cohorts, ", "))},
                     {"seed", session_.globals.seed},
                     {"epochs", r.epochs},
                     {"best_epoch", r.best_epoch}};
  Json donors = Json::array();  // who must not be held out where this run serves as a warm start
  const std::vector<std::string> all = data::donors_of(data_.obs);
  for (const std::vector<int64_t>* side : {&train_rows_, &validation_rows_})
    for (int64_t row : *side) donors.push_back(all[static_cast<size_t>(row)]);
  run_.provenance["donors_seen"] = donors;
  write_model(path("model.safetensors"), run_);

  Json json = result_json(r, run_.model->parameter_count());
  json["peak_memory_bytes"] = peak_memory_bytes(*context_);
  json["device"] = to_string(context_->device());
  json["modality"] = run_.config.modality;
  json["informative_axes"] = run_.axes.informative;
  json["run"] = options_.run;
  json.update(more);
  write_file(path("training.json"), json.dump(2) + "\n");
  write_file(path("MODEL_CARD.md"), model_card(r, json));
  TextTable t({"trained", run_.model->kind()});
  t.row({"epochs", fmt::format("{} (best {}; {})", r.epochs, r.best_epoch, r.stopped_because)});
  t.row({"training loss", fmt::format("{:.2f}", r.train_loss)});
  t.row({"validation loss", validation_rows_.empty() ? "none" : fmt::format("{:.2f}", r.validation_loss)});
  t.row({"time", fmt::format("{} ({:.0f} samples/s)", human_seconds(r.seconds), r.samples_per_second)});
  if (more.contains("stages")) {
    const Json& block = more["stages"]["block"];
    t.row({"block VAE",
           fmt::format("{} epochs (best {}), {}", block["epochs"].dump(), block["best_epoch"].dump(), human_seconds(block["seconds"].get<double>()))});
  }
  t.row({"peak memory", human_bytes(json["peak_memory_bytes"].get<int64_t>())});
  t.row({"parameters", std::to_string(run_.model->parameter_count())});
  t.row({"informative axes", fmt::format("{} of {}", run_.axes.informative, run_.model->latent())});
  session_.emit(t.str() + "\nwritten: " + options_.run + "/\n", json);
}

}  // namespace panvae::tools
