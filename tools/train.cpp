// panvae train rna: a preprocessed matrix to a trained variational autoencoder in the folder RUN.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "data/split.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/device_options.h"
#include "tools/run_folder.h"
#include "tools/version.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  std::string in, run, config;
  std::vector<std::string> set;
  bool resume = false, overwrite = false;
};

void make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST)
    fail_machine(fmt::format("cannot make the folder: {}", std::strerror(errno)), quoted(path, 400), "check the path and its permissions");
}

// A name for the data a checkpoint belongs to: every value, feature and sample counts.
std::string data_fingerprint(const data::Dataset<float>& d) {
  uint64_t h = stable_hash(reinterpret_cast<const char*>(d.x.data()), static_cast<uint64_t>(d.x.size()) * sizeof(float));
  for (const auto* names : {&d.obs.keys, &d.var.keys})
    for (const std::string& n : *names) h = stable_hash(n.data(), n.size(), h);
  return fmt::format("{:016x}", h);
}

RunConfig configure(const Options& o) {
  RunConfig config;
  if (o.resume) {
    if (!o.config.empty() || !o.set.empty())
      fail_usage("--resume goes on with the configuration of the run", "--config, --set", "leave them out, or start a new run");
    if (!exists(o.run + "/config.toml")) fail_input("nothing to resume", quoted(o.run, 400), "start it without --resume");
    config.read_toml(o.run + "/config.toml");
    return config;
  }
  if (!o.config.empty()) config.read_toml(o.config);
  for (const std::string& s : o.set) config.set(s);
  return config;
}

// metrics.jsonl up to this epoch: a run that was killed may have written lines that its last checkpoint does not know.
std::string metrics_until(const std::string& path, int64_t epoch) {
  if (!exists(path)) return "";
  const std::string all = read_file(path);
  std::string kept;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = all.find('\n', begin);
    if (end == std::string::npos) break;  // an unfinished line
    const std::string line = all.substr(begin, end - begin);
    const Json j = Json::parse(line, nullptr, false);
    if (!j.is_object() || j.value("epoch", int64_t{0}) > epoch) break;
    kept += line + "\n";
    begin = end + 1;
  }
  return kept;
}

std::string model_card(const Run& run, const TrainResult& r, const Json& json) {
  std::string s = "# Model card\n\nA variational autoencoder of RNA expression, trained by panvae " + run.provenance.value("panvae", "") + ".\n\n";
  s += "| | |\n|---|---|\n";
  auto row = [&](const char* k, const std::string& v) { s += fmt::format("| {} | {} |\n", k, v); };
  row("input", fmt::format("{} ({} training, {} validation samples; {} features)", run.provenance.value("input", ""), run.provenance.value("train_samples", 0),
                           run.provenance.value("validation_samples", 0), run.features.size()));
  row("cohorts", run.provenance.value("cohorts", "not given"));
  row("network", fmt::format("{} - {} - {} - {} - {}, {}", run.features.size(), run.config.hidden, run.config.latent, run.config.hidden, run.features.size(),
                             run.config.activation));
  row("parameters", json["parameters"].dump());
  row("loss", fmt::format("Huber (delta {}) + {} x KL", run.config.loss.huber_delta, run.config.loss.kl_weight));
  row("best epoch", fmt::format("{} of {} ({})", r.best_epoch, r.epochs, r.stopped_because));
  row("validation loss", json["validation_loss"].dump());
  row("embedding axes", fmt::format("{} of {} carry more than noise, {} turned by varimax", run.axes.kept, run.config.latent, run.axes.leading));
  s += "\n## What it is for\n\nEmbedding samples of the same kind of assay and tissue as the training samples, and reconstructing their expression. "
       "New samples go through the preprocessing frozen in `model.safetensors`: `panvae embed -o OUT RUN SAMPLES`.\n\n"
       "## What it is not for\n\nCohorts it was not trained on are embedded all the same, and wrongly. It is no diagnostic device.\n";
  return s;
}

void train(const std::shared_ptr<Options>& o, const Session& session) {
  session.begin();
  RunConfig config = configure(*o);
  if (!o->resume && !o->overwrite && (exists(o->run + "/model.safetensors") || exists(o->run + "/checkpoint.safetensors")))
    fail_usage("the folder holds a run already", quoted(o->run, 400), "continue it with --resume, replace it with --overwrite, or name another folder");
  const data::ReadOptions read = o->dataset.read();
  data::Dataset<float> data = data::read_dataset<float>(o->in, read);
  if (data.kind == "counts")
    fail_input("raw counts cannot be trained on", quoted(o->in, 400), "preprocess them first: panvae preprocess --modality rna -o OUT " + o->in);
  if (data.frozen.empty()) log::warning("{} carries no preprocessing: 'embed' will take only samples that were prepared the same way", quoted(o->in, 200));
  if (!data.obs.find("split")) {
    data::SplitOptions split;
    split.holdout = 0;
    split.seed = session.globals.seed;
    data::assign_split(data.obs, split);
    log::info("no split column: a tenth of the donors validates, nothing is held out");
  }
  const std::vector<int64_t> train_rows = data::rows_of_split(data.obs, "train"), validation_rows = data::rows_of_split(data.obs, "validation");
  if (train_rows.size() < 2)
    fail_input(fmt::format("{} training samples", train_rows.size()), quoted(o->in, 400), "at least two samples must have split = train");
  if (validation_rows.empty()) log::warning("no validation samples: no early stopping, all {} epochs are run", config.train.max_epochs);

  config.resolve(data.features());
  config.train.seed = session.globals.seed;
  std::unique_ptr<Context> context = make_context(session.globals);

  Run run;
  run.config = config;
  run.preprocess = data.frozen;
  run.features = data.var.keys;
  run.scale = FeatureScale::fit(data.x, train_rows, config.scale);
  run.scale.apply(data.x);
  run.model = std::make_unique<RnaVae>(shape_of(config, data.features()));
  run.state = std::make_unique<ModuleState>(*context, *run.model, session.globals.seed);
  MatrixSource source(*context, data.x.data(), data.samples(), data.features());
  log::info("RNA VAE {} - {} - {}, {} parameters; {} training and {} validation samples", data.features(), config.hidden, config.latent,
            run.state->parameter_count(), train_rows.size(), validation_rows.size());

  VaeTrainer trainer(*context, *run.model, *run.state, source, train_rows, validation_rows, config.loss, config.train);
  make_folder(o->run);
  const std::string metrics_path = o->run + "/metrics.jsonl";
  trainer.checkpoint_path = o->run + "/checkpoint.safetensors";
  trainer.fingerprint =
      fmt::format("{}seed {} data {} split {}/{}", config.toml(), session.globals.seed, data_fingerprint(data), train_rows.size(), validation_rows.size());
  std::string metrics;
  if (o->resume) {
    if (exists(trainer.checkpoint_path)) {
      const int64_t done = trainer.resume();
      metrics = metrics_until(metrics_path, done);
      log::info("resumed after {} epochs", done);
    } else {
      log::info("the run was ended before its first checkpoint: it starts anew");
    }
  }
  write_file(o->run + "/config.toml", config.toml());
  write_file(metrics_path, metrics);
  const bool bar = ::isatty(STDERR_FILENO) != 0;
  trainer.on_epoch = [&](const EpochMetrics& m) {
    std::FILE* f = std::fopen(metrics_path.c_str(), "ab");
    const std::string line = m.json().dump() + "\n";
    const bool ok = f && std::fwrite(line.data(), 1, line.size(), f) == line.size();
    if ((f && std::fclose(f) != 0) || !ok)
      fail_machine(fmt::format("cannot write: {}", std::strerror(errno)), quoted(metrics_path, 400), "free some space on the disk, then --resume");
    const std::string text = fmt::format("epoch {:3d}  train {:9.2f} (huber {:.2f}, kl {:.2f})  validation {:9.2f}  active {}{}", m.epoch, m.train_loss,
                                         m.train_huber, m.train_kl, m.validation_loss, m.active_units, m.best ? "  best" : "");
    bar ? log::debug("{}", text) : log::info("{}", text);
  };
  const TrainResult r = trainer.run();
  run.axes = fit_axes(*context, *run.model, data.x, train_rows);

  Json cohorts = Json::object();
  if (const data::Column* c = data.obs.find("cohort"))
    for (int64_t row : train_rows) cohorts[c->missing(row) ? "(missing)" : c->text(row)] = 1;
  std::string names;
  for (const auto& [name, one] : cohorts.items()) names += (names.empty() ? "" : ", ") + name;
  const size_t slash = o->in.rfind('/');
  run.provenance = {{"panvae", version_short()},
                    {"input", slash == std::string::npos ? o->in : o->in.substr(slash + 1)},
                    {"data", data_fingerprint(data)},
                    {"train_samples", train_rows.size()},
                    {"validation_samples", validation_rows.size()},
                    {"cohorts", names.empty() ? "not given" : names},
                    {"seed", session.globals.seed},
                    {"epochs", r.epochs},
                    {"best_epoch", r.best_epoch}};
  Json donors = Json::array();  // who must not be held out where this run serves as a warm start
  for (const std::vector<int64_t>* side : {&train_rows, &validation_rows}) {
    const std::vector<std::string> all = data::donors_of(data.obs);
    for (int64_t row : *side) donors.push_back(all[static_cast<size_t>(row)]);
  }
  run.provenance["donors_seen"] = donors;
  write_model(o->run + "/model.safetensors", run);

  const bool on_cpu = context->device().type != DeviceType::cuda;
  Json json = {{"epochs", r.epochs},
               {"best_epoch", r.best_epoch},
               {"stopped_because", r.stopped_because},
               {"train_loss", r.train_loss},
               {"validation_loss", validation_rows.empty() ? Json(nullptr) : Json(r.validation_loss)},
               {"samples_per_second", r.samples_per_second},
               {"seconds", r.seconds},
               {"peak_memory_bytes", on_cpu ? peak_resident_bytes() : context->memory().peak_bytes()},
               {"parameters", run.state->parameter_count()},
               {"device", to_string(context->device())},
               {"steps", r.steps},
               {"skipped_steps", r.skipped_steps},
               {"informative_axes", run.axes.kept},
               {"run", o->run}};
  write_file(o->run + "/training.json", json.dump(2) + "\n");
  write_file(o->run + "/MODEL_CARD.md", model_card(run, r, json));
  TextTable t({"trained", ""});
  t.row({"epochs", fmt::format("{} (best {}; {})", r.epochs, r.best_epoch, r.stopped_because)});
  t.row({"training loss", fmt::format("{:.2f}", r.train_loss)});
  t.row({"validation loss", validation_rows.empty() ? "none" : fmt::format("{:.2f}", r.validation_loss)});
  t.row({"time", fmt::format("{} ({:.0f} samples/s)", human_seconds(r.seconds), r.samples_per_second)});
  t.row({"peak memory", human_bytes(json["peak_memory_bytes"].get<int64_t>())});
  t.row({"parameters", std::to_string(run.state->parameter_count())});
  t.row({"informative axes", fmt::format("{} of {}", run.axes.kept, config.latent)});
  session.emit(t.str() + "\nwritten: " + o->run + "/\n", json);
}

}  // namespace

void add_train(CLI::App& root, Session& session) {
  CLI::App* train_app = root.add_subcommand("train", "Train a model");
  train_app->require_subcommand(1);
  CLI::App* cmd = add_command(*train_app, "rna", "Train the variational autoencoder of RNA expression on a preprocessed matrix",
                              "panvae simulate -o sim --donors 120 --genes 500 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && "
                              "panvae train rna -o sim/run sim/rna_pp.h5ad --set train.max_epochs=12\n\n" +
                                  config_help());
  auto o = std::make_shared<Options>();
  cmd->add_option("IN", o->in, "Matrix that 'panvae preprocess' wrote")->required();
  cmd->add_option("-o,--output", o->run, "Folder of the run")->required()->type_name("RUN");
  cmd->add_option("--config", o->config, "TOML file with configuration keys")->type_name("FILE");
  cmd->add_option("--set", o->set, "A configuration key, over --config (repeatable)")->type_name("KEY=VALUE")->allow_extra_args(false);
  cmd->add_flag("--resume", o->resume, "Continue the run in the folder from its checkpoint");
  cmd->add_flag("--overwrite", o->overwrite, "Replace a run in the folder");
  o->dataset.declare(*cmd);
  session.common(*cmd, Session::seed | Session::device | Session::precision);
  cmd->callback([o, &session] { train(o, session); });
}

}  // namespace panvae::tools
