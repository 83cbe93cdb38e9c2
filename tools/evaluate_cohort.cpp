// panvae evaluate cohort: how well the cohort of a sample is told from its embedding.
#include "base/log.h"
#include "eval/cohort.h"
#include "eval/labels.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/judging_options.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  JudgingOptions judging;
  std::string in;
  bool print_map = false;
  eval::CohortOptions cohort;
  const CLI::Option* fold_key = nullptr;
};

void run(Options& o, const Session& session) {
  session.begin();
  if (o.print_map) {
    Json json = Json::object();
    const data::Table map = eval::default_cohort_map();
    for (int64_t r = 0; r < map.rows(); ++r) json[map.keys[static_cast<size_t>(r)]] = map.columns.front().text(r);
    session.emit(eval::default_cohort_map_text(), json);
    return;
  }
  if (o.in.empty()) fail_usage("EMB is required", {}, "name the embedding to judge");
  o.judging.give(o.cohort);
  // Reading copies the named column to `fold`; without the option folds are drawn, whatever columns there are.
  if (o.fold_key->count() > 0) o.cohort.fold_key = "fold";
  o.cohort.seed = session.globals.seed;
  const data::Dataset<double> embedding = data::read_dataset<double>(o.in, o.dataset.read());
  const eval::CohortResult result = eval::evaluate_cohort(embedding, o.cohort);
  if (result.unlabelled > 0) log::info("{} samples without a cohort are left out", result.unlabelled);
  emit_judgement(session, result);
}

}  // namespace

void add_evaluate_cohort(CLI::App& evaluate, Session& session) {
  CLI::App* cmd =
      add_command(evaluate, "cohort", "How well the cohort (tumour type) is told from an embedding: XGBoost, folds that keep donors whole",
                  "panvae simulate -o sim --donors 200 --genes 500 --cohorts 4 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && "
                  "panvae pca -o sim/pca.h5ad sim/rna_pp.h5ad && panvae evaluate cohort sim/pca.h5ad");
  auto o = std::make_shared<Options>();
  cmd->add_option("EMB", o->in, "Embedding, samples in rows, with a column cohort (or --obs)");
  cmd->add_option("--folds", o->cohort.folds, "Folds of the cross-validation; cohorts with fewer donors are left out and listed")->capture_default_str();
  o->judging.declare_on(*cmd);
  o->judging.declare_cohort_map(*cmd);
  cmd->add_flag("--print-cohort-map", o->print_map, "Print the map that --cohort-map default means, and do nothing else");
  o->judging.declare_control(*cmd, "judge with cohorts permuted among donors, which should reach the largest cohort's share at most");
  o->dataset.declare(*cmd);
  o->fold_key = cmd->get_option("--fold-key")
                    ->description(
                        "Column with the folds to use (0, 1, ...) instead of drawing them; with --on all --fold-key split fold 0 is "
                        "the hold-out, judged by a classifier of all other samples, and fold 1 the reverse")
                    ->default_str("");
  session.common(*cmd, Session::seed);
  cmd->callback([o, &session] { run(*o, session); });
}

}  // namespace panvae::tools
