// panvae demo: the whole way on simulated or real counts, each step a command that could be typed.
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/file.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "tools/commands.h"
#include "tools/program.h"

namespace panvae::tools {

namespace {

struct Options {
  std::string out = "panvae_demo", data;
  bool quick = false;
};

constexpr const char* kCounts = "rna_counts_15cohorts.tsv.gz";
constexpr const char* kObs = "rna_counts_15cohorts_obs.tsv";

class Demo {
 public:
  Demo(std::string folder, const Globals& globals) : folder_(std::move(folder)), globals_(globals) {}

  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  // Runs one command, shows it, and returns its JSON result with the seconds it took under "wall_seconds".
  Json run(std::vector<std::string> arguments, bool seeded, bool on_device) {
    throw_if_interrupted();
    std::string shown = "panvae";
    for (const std::string& a : arguments) shown += " " + a;
    log::info("\n$ {}", shown);
    commands_ += shown + "\n";
    const std::string json = path("step.json");
    if (seeded) arguments.insert(arguments.end(), {"--seed", std::to_string(globals_.seed)});
    if (on_device) arguments.insert(arguments.end(), {"--device", globals_.device});
    arguments.insert(arguments.end(), {"--threads", std::to_string(globals_.threads), "--json", json});
    const auto start = std::chrono::steady_clock::now();
    if (run_program(arguments, false) != 0) throw Error(ErrorCode::internal, "internal error: the demo called a command wrongly", shown);
    Json result = Json::parse(read_file(json));
    result["wall_seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::remove(json.c_str());
    return result;
  }
  const std::string& commands() const { return commands_; }

 private:
  std::string folder_, commands_;
  Globals globals_;
};

void demo(const std::shared_ptr<Options>& o, const Session& session) {
  session.begin();
  if (::mkdir(o->out.c_str(), 0777) != 0 && errno != EEXIST)
    fail_machine(fmt::format("cannot make the folder: {}", std::strerror(errno)), quoted(o->out, 400), "check the path and its permissions");
  Demo d(o->out, session.globals);
  const std::string counts = d.path("rna.h5ad"), processed = d.path("rna_preprocessed.h5ad"), run = d.path("rna_run"), pca = d.path("pca.h5ad"),
                    vae = d.path("vae.h5ad"), units = d.path("vae_units.h5ad"), reconstructed = d.path("vae_reconstructed.h5ad");
  std::vector<std::string> preprocess = {"preprocess", "-o", processed, counts, "--modality", "rna"};
  if (o->data.empty()) {
    std::vector<std::string> simulate = {"simulate", "-o", o->out};
    if (o->quick) simulate.insert(simulate.end(), {"--donors", "300", "--genes", "1500"});
    d.run(simulate, true, false);
    preprocess.insert(preprocess.end(), {"--batch-key", "batch"});
  } else {
    d.run({"convert", "-o", counts, o->data + "/" + kCounts, "--rows", "features", "--obs", o->data + "/" + kObs}, false, false);
    preprocess.insert(preprocess.end(), {"--where", "sample_type=tumor"});
  }
  const Json prepared = d.run(preprocess, true, false);
  const Json pca_fit = d.run({"pca", "-o", pca, processed, "--components", "512"}, true, false);
  std::vector<std::string> train = {"train", "rna", "-o", run, processed, "--overwrite"};
  if (o->quick) train.insert(train.end(), {"--set", "model.hidden=512", "--set", "model.latent=128"});
  const Json trained = d.run(train, true, true);
  d.run({"embed", "-o", vae, run, processed}, false, true);
  d.run({"embed", "-o", units, run, processed, "--axes", "latent"}, false, true);
  const Json rebuilt = d.run({"reconstruct", "-o", reconstructed, run, processed}, false, true);
  const Json pca_cohort = d.run({"evaluate", "cohort", pca}, true, false), vae_cohort = d.run({"evaluate", "cohort", vae}, true, false),
             units_cohort = d.run({"evaluate", "cohort", units}, true, false);

  auto accuracy = [](const Json& j) { return fmt::format("{:.3f} +- {:.3f}", j["accuracy_mean"].get<double>(), j["accuracy_se"].get<double>()); };
  auto seconds = [](const Json& j) { return fmt::format("{:.1f}", j["wall_seconds"].get<double>()); };
  TextTable t({"model", "hold-out cohort accuracy", "macro F1", "validation loss", "Spearman", "seconds"});
  auto f1 = [](const Json& j) { return fmt::format("{:.3f}", j["macro_f1_mean"].get<double>()); };
  t.row({"PCA, " + pca_fit["components"].dump() + " components", accuracy(pca_cohort), f1(pca_cohort), "", "", seconds(pca_fit)});
  t.row({"RNA VAE", accuracy(vae_cohort), f1(vae_cohort), fmt::format("{:.2f}", trained["validation_loss"].get<double>()),
         fmt::format("{:.3f}", rebuilt["spearman_per_sample_mean"].get<double>()), seconds(trained)});
  t.row({"RNA VAE, latent units", accuracy(units_cohort), f1(units_cohort), "", "", ""});
  const Json json = {{"preprocess", prepared},
                     {"pca", pca_fit},
                     {"train", trained},
                     {"reconstruct", rebuilt},
                     {"cohort", {{"pca", pca_cohort}, {"vae", vae_cohort}, {"vae_latent_units", units_cohort}}},
                     {"folder", o->out}};
  const std::string table =
      fmt::format("{}\n{} samples, {} features, {} cohorts; accuracy on the {} held-out samples (5 folds, mean +- standard error; guessing scores {:.3f})\n",
                  t.str(), prepared["samples"].dump(), prepared["features"].dump(),
                  vae_cohort["classes"].is_array() ? std::to_string(vae_cohort["classes"].size()) : vae_cohort["classes"].dump(), vae_cohort["n"].dump(),
                  vae_cohort["majority_share"].get<double>());
  write_file(d.path("results.json"), json.dump(2) + "\n");
  write_file(d.path("results.txt"), table);
  write_file(d.path("commands.sh"), "#!/bin/sh\nset -e\n" + d.commands());
  session.emit(table + "\nresults: " + o->out + "/\n", json);
}

}  // namespace

void add_demo(CLI::App& root, Session& session) {
  CLI::App* cmd = add_command(root, "demo", "The whole way: counts, preprocessing, PCA, RNA VAE, embedding, cohort accuracy", "panvae demo --quick");
  auto o = std::make_shared<Options>();
  cmd->add_option("-o,--output", o->out, "Folder of the results")->capture_default_str()->type_name("DIR");
  cmd->add_option("--data", o->data, fmt::format("Folder with real counts, {} and {} (default: simulated)", kCounts, kObs))->type_name("DIR");
  cmd->add_flag("--quick", o->quick, "A smaller simulation and model");
  session.common(*cmd, Session::seed | Session::device);
  cmd->callback([o, &session] { demo(o, session); });
}

}  // namespace panvae::tools
