// panvae simulate: a study with everything planted known.
#include "data/simulate.h"

#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "tools/commands.h"

namespace panvae::tools {

namespace {

// A folder that cannot be made or written is known before a study is drawn: by the folder that it stands in.
void check_place(const std::string& out) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path at = fs::absolute(out) / "rna.h5ad";
  while (at.has_relative_path() && !fs::exists(at.parent_path(), error)) at = at.parent_path();
  AtomicFile probe(at.string());
}

void run(const std::string& out, data::SimulateOptions options, const Session& session) {
  session.begin();
  check_place(out);
  options.seed = session.globals.seed;
  const data::SimulatedStudy study = data::simulate_study(options);
  data::write_study(out, study);
  Json json;
  json["samples"] = study.rna.samples();
  json["genes"] = study.rna.features();
  json["atac_samples"] = study.atac ? study.atac->samples() : 0;
  json["peaks"] = study.atac ? study.atac->features() : 0;
  json["donors_with_both"] = study.truth["donors_with_both"];
  json["donors"] = options.donors;
  json["cohorts"] = options.cohorts;
  json["events"] = study.truth["survival"]["events"];
  json["oracle_harrell"] = study.truth["survival"].value("oracle_harrell", Json());
  TextTable table({"simulated", ""});
  for (const auto& [key, value] : json.items()) table.row({key, value.is_number_float() ? fmt::format("{:.4g}", value.get<double>()) : value.dump()});
  session.emit(table.str() + fmt::format("\nwritten: {}/rna.h5ad, {}genes.tsv, sets.gmt, latents.tsv, donors.tsv, truth.json\n", out,
                                         study.atac ? "atac.h5ad, peaks.tsv, " : ""),
               json);
}

}  // namespace

void add_simulate(CLI::App& root, Session& session) {
  CLI::App* cmd =
      add_command(root, "simulate", "Simulate a study: raw RNA-seq and ATAC-seq counts of donors with cohorts, batches and survival, and the truth behind them",
                  "panvae simulate -o sim --donors 120 --genes 500 --cohorts 6 --seed 1");
  auto out = std::make_shared<std::string>();
  auto o = std::make_shared<data::SimulateOptions>();
  session.writes(cmd->add_option("-o,--output", *out, "Folder for rna.h5ad, atac.h5ad, genes.tsv, peaks.tsv, sets.gmt, latents.tsv, donors.tsv, truth.json"))
      ->required()
      ->type_name("DIR");
  cmd->add_option("--donors", o->donors, "Donors")->capture_default_str();
  cmd->add_option("--genes", o->genes, "Genes")->capture_default_str();
  cmd->add_option("--peaks", o->peaks, "ATAC peaks (0: no ATAC)")->capture_default_str();
  cmd->add_option("--atac-fraction", o->atac_fraction, "Share of the donors of each cohort that have ATAC")->capture_default_str();
  cmd->add_option("--rna-fraction", o->rna_fraction, "Share of the donors that have RNA (those without have ATAC)")->capture_default_str();
  cmd->add_option("--cohorts", o->cohorts, "Cohorts (tumour types), in organs of three that resemble each other")->capture_default_str();
  cmd->add_option("--subtypes", o->subtypes, "Subtypes of each cohort")->capture_default_str();
  cmd->add_option("--programs", o->programs, "Latent programs that drive expression")->capture_default_str();
  cmd->add_option("--replicates", o->replicates, "Technical replicates: ATAC samples of each donor, RNA samples of a replicated one")->capture_default_str();
  cmd->add_option("--replicated-fraction", o->replicated_fraction, "Share of the donors with RNA replicates")->capture_default_str();
  cmd->add_option("--batches", o->batches, "Batches, nested in two datasets")->capture_default_str();
  cmd->add_option("--batch-effect", o->batch_effect, "Scale of batch effects (0: none)")->capture_default_str();
  cmd->add_option("--cohort-effect", o->cohort_effect, "Scale of the differences between cohorts (0: none)")->capture_default_str();
  cmd->add_option("--library-size", o->library_size, "Mean counts of an RNA sample (0: 1,000 per gene)")->capture_default_str();
  cmd->add_option("--atac-library-size", o->atac_library_size, "Mean counts of an ATAC sample (0: 5 per peak)")->capture_default_str();
  cmd->add_option("--event-rate", o->event_rate, "Share of the donors whose death is seen")->capture_default_str();
  cmd->add_option("--holdout", o->holdout, "Share of the donors of each cohort that is held out")->capture_default_str();
  cmd->add_option("--validation", o->validation, "Share of the other donors that validates")->capture_default_str();
  session.common(*cmd, Session::seed);
  cmd->callback([out, o, &session] { run(*out, *o, session); });
}

}  // namespace panvae::tools
