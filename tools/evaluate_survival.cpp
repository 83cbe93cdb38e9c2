// panvae evaluate survival: how well the order of deaths is told from an embedding and clinical covariates.
#include "base/log.h"
#include "eval/survival.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/judging_options.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  JudgingOptions judging;
  std::string in, top_k = "auto", tau = "auto", censoring = "train", g = "left", risk;
  eval::SurvivalOptions survival;
  const CLI::Option* fold_key = nullptr;
};

void run(Options& o, const Session& session) {
  session.begin();
  o.judging.give(o.survival);
  o.survival.top_k = eval::parse_top_k(o.top_k);
  o.survival.tau = eval::parse_tau(o.tau);
  o.survival.censoring_from_test = o.censoring == "test";
  o.survival.g_right = o.g == "right";
  // Reading copies the named column to `fold`; without the option folds are drawn, whatever columns there are.
  if (o.fold_key->count() > 0) o.survival.fold_key = "fold";
  o.survival.seed = session.globals.seed;
  const data::Dataset<double> embedding = data::read_dataset<double>(o.in, o.dataset.read());
  const eval::SurvivalResult result = eval::evaluate_survival(embedding, o.survival);
  if (result.dropped > 0) log::info("{} samples without a usable time and event are left out", result.dropped);
  for (size_t c = 0; c < result.covariate_missing.size(); ++c)
    if (result.covariate_missing[c] > 0) log::info("{} samples have no {}", result.covariate_missing[c], quoted(o.survival.covariates[c]));
  if (!o.risk.empty()) data::write_table(o.risk, eval::risk_table(result, embedding.obs));
  emit_judgement(session, result);
}

}  // namespace

void add_evaluate_survival(CLI::App& evaluate, Session& session) {
  CLI::App* cmd =
      add_command(evaluate, "survival",
                  "How well the order of deaths is told from an embedding: Cox regression on its top components and on covariates, C of patients left out",
                  "panvae simulate -o sim --donors 400 --genes 500 --cohorts 4 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && "
                  "panvae pca -o sim/pca.h5ad sim/rna_pp.h5ad --components 50 && panvae evaluate survival sim/pca.h5ad --on all --top-k 10 --covariate age "
                  "--covariate sex");
  auto o = std::make_shared<Options>();
  eval::SurvivalOptions& s = o->survival;
  cmd->add_option("EMB", o->in, "Embedding, samples in rows, with columns os_time and os_event (or --obs)")->required();
  cmd->add_option(
         "--top-k", o->top_k,
         "Principal components in the model: a number, 0 for covariates only, or auto (5, 10, 20, 50 or 100 by cross-validation of the training folds)")
      ->type_name("K|auto")
      ->capture_default_str();
  cmd->add_option("--covariate", s.covariates, "Column of the sample table in the model, a number or a factor; repeatable")
      ->type_name("COLUMN")
      ->allow_extra_args(false);
  cmd->add_option("--ridge", s.ridge, "Penalty theta / 2 b^2 on each standardised component; covariates are not penalised")->capture_default_str();
  cmd->add_option("--folds", s.folds, "Folds of the cross-validation; donors stay whole")->capture_default_str();
  cmd->add_option("--tau", o->tau, "Uno's C counts deaths before tau: days, none, or auto (90th percentile of the training event times)")
      ->type_name("DAYS|none|auto")
      ->capture_default_str();
  cmd->add_option("--uno-censoring", o->censoring, "Folds from which Uno's C takes the censoring distribution G")
      ->check(CLI::IsMember({"train", "test"}))
      ->capture_default_str();
  cmd->add_option("--g", o->g, "G just before a death (left) or at it (right, as scikit-survival)")
      ->check(CLI::IsMember({"left", "right"}))
      ->capture_default_str();
  cmd->add_flag("--tau-incl", s.tau_inclusive, "Deaths at tau count too, as in R");
  cmd->add_option("--stratify", s.stratify, "C compares only patients with the same value of this column (cohort, say)")->type_name("COLUMN");
  cmd->add_option("--cox-strata", s.cox_strata, "The Cox model has a baseline hazard for each value of this column")->type_name("COLUMN");
  o->judging.declare_control(*cmd, "outcomes change hands among donors, so that C should be 0.5");
  session.writes(cmd->add_option("--risk", o->risk, "Write each patient's outcome, out-of-fold risk, fold and risk group (thirds) to a table (TSV or CSV)"))
      ->type_name("FILE");
  o->judging.declare_on(*cmd);
  o->dataset.declare(*cmd);
  o->fold_key = cmd->get_option("--fold-key")->description("Column with the folds to use (0, 1, ...) instead of drawing them")->default_str("");
  session.common(*cmd, Session::seed | Session::blas);
  cmd->callback([o, &session] { run(*o, session); });
}

}  // namespace panvae::tools
