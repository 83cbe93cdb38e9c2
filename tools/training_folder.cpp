#include "tools/training_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/read_json.h"
#include "base/safetensors.h"
#include "engine/context.h"
#include "tools/run_folder.h"
#include "tools/terminal.h"

namespace panvae::tools {

namespace {

void make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST)
    fail_machine(fmt::format("cannot make the folder: {}", std::strerror(errno)), quoted(path, 400), "check the path and its permissions");
}

// A folder that cannot be written is known before the samples are read.
void check_place(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  AtomicFile probe(std::filesystem::is_directory(path) ? path + "/config.toml" : exists(path) ? path + "/" : path);
}

void read_settings(RunConfig& config, const FolderOptions& o) {
  if (!o.config.empty()) config.read_toml(o.config);
  for (const std::string& s : o.set) config.set(s);
}

// That of the run. Its settings may be said again, so that the command which began it goes on with --resume behind it.
RunConfig configuration_to_resume(const FolderOptions& o, const std::string& modality) {
  if (!exists(o.run + "/config.toml")) fail_input("nothing to resume", quoted(o.run, 400), "start it without --resume");
  RunConfig config(modality);
  config.read_toml(o.run + "/config.toml");
  RunConfig asked = config;
  read_settings(asked, o);
  const std::vector<RunConfig::Key> here = config.keys(), there = asked.keys();
  for (size_t i = 0; i < here.size(); ++i)
    if (const std::string value = here[i].get(), other = there[i].get(); value != other)
      fail_usage(fmt::format("--resume goes on with the configuration of the run, where {} is {} and not {}", here[i].name, value, other), "--config, --set",
                 "leave it out, or start a new run");
  return config;
}

RunConfig configure(const FolderOptions& o, const std::string& modality) {
  if (o.resume) return configuration_to_resume(o, modality);
  RunConfig config(modality);
  if (!o.base_config.empty()) config.begin_with(o.base_config);
  const RunConfig begun = config;
  read_settings(config, o);
  if (!o.base_config.empty()) config.choose_anew(begun);
  config.check();
  return config;
}

// Lines of metrics.jsonl: those of `earlier`, and of `stage` up to this epoch. A run that was killed may have written lines that
// its last checkpoint does not know.
std::string metrics_until(const std::string& path, const std::string& stage, const std::string& earlier, int64_t epoch) {
  if (!exists(path)) return "";
  const std::string all = read_file(path);
  std::string kept;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = all.find('\n', begin);
    if (end == std::string::npos) break;  // an unfinished line
    const std::string line = all.substr(begin, end - begin);
    const Json j = parse_json(line);
    if (!j.is_object()) break;
    const std::string of = member<std::string>(j, "stage").value_or("");
    if (of == stage ? member<int64_t>(j, "epoch").value_or(0) > epoch : of != earlier) break;
    kept += line + "\n";
    begin = end + 1;
  }
  return kept;
}

}  // namespace

void FolderOptions::declare(CLI::App& cmd, Session& session) {
  session.writes(cmd.add_option("-o,--output", run, "Folder of the run"))->required()->type_name("RUN");
  cmd.add_option("--config", config, "TOML file with configuration keys")->type_name("FILE");
  cmd.add_option("--set", set, "A configuration key, over --config (repeatable)")->type_name("KEY=VALUE")->allow_extra_args(false);
  cmd.add_flag("--resume", resume, "Continue the run in the folder from its checkpoint");
  cmd.add_flag("--overwrite", overwrite, "Replace a run in the folder");
}

TrainingFolder::TrainingFolder(const FolderOptions& o, const std::string& modality) : config(configure(o, modality)), options_(o) {
  if (!o.resume && !o.overwrite && (exists(path("model.safetensors")) || exists(path("checkpoint.safetensors"))))
    fail_usage("the folder holds a run already", quoted(o.run, 400), "continue it with --resume, replace it with --overwrite, or name another folder");
  check_place(o.run);
  config.train.graph = !o.no_graph;
}

void TrainingFolder::begin() const {
  make_folder(options_.run);
  lock_ = std::make_unique<FolderLock>(options_.run);
  // A model beside the configuration of the run that replaces it would be taken for that run's, should this one be stopped.
  if (!options_.resume)
    for (const char* name : {"checkpoint.safetensors", "model.safetensors", "training.json", "MODEL_CARD.md"}) ::unlink(path(name).c_str());
  write_file(path("config.toml"), config.toml());
}

bool TrainingFolder::checkpoint_is(const std::string& fingerprint) const {
  if (!exists(path("checkpoint.safetensors"))) return false;
  const SafetensorsReader file(path("checkpoint.safetensors"));
  const auto written = file.metadata().find("fingerprint");
  return written != file.metadata().end() && written->second == fingerprint;
}

void TrainingFolder::start(TrainingLoop& loop, const std::string& fingerprint, const std::string& stage, const std::string& earlier) const {
  loop.checkpoint_path = path("checkpoint.safetensors");
  loop.fingerprint = fingerprint;
  const std::string metrics_path = path("metrics.jsonl");
  int64_t done = 0;
  if (options_.resume && exists(loop.checkpoint_path)) {
    done = loop.resume();
    log::info("resumed after {} epochs", done);
  } else if (options_.resume) {
    log::info("the {} was ended before its first checkpoint: it starts anew", stage.empty() ? "run" : stage + " stage");
  }
  write_file(metrics_path, options_.resume || !earlier.empty() ? metrics_until(metrics_path, stage, earlier, done) : "");
}

void TrainingFolder::note_epoch(Json line, const std::string& epoch, const std::string& stage, double seconds, double loading_seconds) const {
  if (!stage.empty()) line["stage"] = stage;
  const std::string text = line.dump() + "\n", metrics_path = path("metrics.jsonl");
  std::FILE* f = std::fopen(metrics_path.c_str(), "ab");
  const bool ok = f && std::fwrite(text.data(), 1, text.size(), f) == text.size();
  if ((f && std::fclose(f) != 0) || !ok)
    fail_machine(fmt::format("cannot write: {}", std::strerror(errno)), quoted(metrics_path, 400), "free some space on the disk, then --resume");
  const std::string shown = stage.empty() ? epoch : stage + " " + epoch;
  shows_bars() ? log::debug("{}", shown) : log::info("{}", shown);
  log::debug("{}, {:.2f} % of it waiting for data", human_seconds(seconds), 100 * loading_seconds / std::max(1e-9, seconds));
}

std::string TrainingFolder::describe(const EpochMetrics& m) {
  return fmt::format("epoch {:3d}  train {:9.2f} (huber {:.2f}, kl {:.2f})  validation {:9.2f}  active {}{}", m.epoch, m.train_loss, m.train_huber, m.train_kl,
                     m.validation_loss, m.active_units, m.best ? "  best" : "");
}

std::string TrainingFolder::describe(const CoembedEpoch& m) {
  std::string s = fmt::format("epoch {:3d}  train {:8.4f}", m.epoch, m.train_loss);
  auto add = [&](const char* name, double value) {
    if (std::isfinite(value)) s += fmt::format("  {} {:.4f}", name, value);
  };
  add("validation", m.validation_loss);
  add("foscttm", m.foscttm);
  add("pair", m.train.pair);
  add("cycle", m.train.cycle);
  add("triplet", m.train.triplet);
  add("discriminator right", m.validation.discriminator_accuracy);
  return s + (m.best ? "  best" : "");
}

TrainResult TrainingFolder::finish(TrainingLoop& loop, const std::string& stage) {
  const TrainResult r = loop.run();
  if (r.seconds > 0)
    log::debug("{}trained for {}, {:.2f} % of it waiting for data", stage.empty() ? "" : stage + ": ", human_seconds(r.seconds),
               100 * r.loading_seconds / r.seconds);
  if (r.replayed_steps > 0) log::debug("{} of the steps ran as a graph", r.replayed_steps);
  return r;
}

Json TrainingFolder::result_json(const TrainResult& r, int64_t parameters, bool validated) {
  return {{"epochs", r.epochs},
          {"best_epoch", r.best_epoch},
          {"stopped_because", r.stopped_because},
          {"train_loss", r.train_loss},
          {"validation_loss", validated ? Json(r.validation_loss) : Json(nullptr)},
          {"samples_per_second", r.samples_per_second},
          {"seconds", r.seconds},
          {"loading_seconds", r.loading_seconds},
          {"parameters", parameters},
          {"steps", r.steps},
          {"skipped_steps", r.skipped_steps},
          {"replayed_steps", r.replayed_steps}};
}

int64_t peak_memory_bytes(Context& context) {
  return context.device().type != DeviceType::cuda ? peak_resident_bytes() : context.memory().peak_bytes();
}

}  // namespace panvae::tools
