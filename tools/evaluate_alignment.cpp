// panvae evaluate alignment: how near the subspace of the cohorts is to that of the embedding.
#include "base/log.h"
#include "eval/alignment.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/judging_options.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  JudgingOptions judging;
  std::string in;
  eval::AlignmentOptions alignment;
};

void run(Options& o, const Session& session) {
  session.begin();
  o.judging.give(o.alignment);
  o.alignment.seed = session.globals.seed;
  const data::Dataset<double> embedding = data::read_dataset<double>(o.in, o.dataset.read());
  const eval::AlignmentResult result = eval::evaluate_alignment(embedding, o.alignment);
  if (result.unlabelled > 0) log::info("{} samples without a cohort are left out", result.unlabelled);
  emit_judgement(session, result);
}

}  // namespace

void add_evaluate_alignment(CLI::App& evaluate, Session& session) {
  CLI::App* cmd =
      add_command(evaluate, "alignment", "How near the cohorts' subspace is to that of the embedding's top components: Grassmann distance, 0 is best",
                  "panvae simulate -o sim --donors 200 --genes 500 --cohorts 4 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && "
                  "panvae pca -o sim/pca.h5ad sim/rna_pp.h5ad && panvae evaluate alignment sim/pca.h5ad --on all");
  auto o = std::make_shared<Options>();
  cmd->add_option("EMB", o->in, "Embedding, samples in rows, with a column cohort (or --obs)")->required();
  cmd->add_option("--angles", o->alignment.angles, "The embedding is cut to its top principal components, so many; at most so many angles count")
      ->capture_default_str();
  o->judging.declare_on(*cmd);
  o->judging.declare_cohort_map(*cmd);
  cmd->add_option("--permutations", o->alignment.permutations, "Permutations of the cohorts among donors that give the distance by chance")
      ->capture_default_str();
  o->judging.declare_control(*cmd, "judge with cohorts permuted among donors, which should be at chance");
  o->dataset.declare(*cmd);
  session.common(*cmd, Session::seed | Session::blas);
  cmd->callback([o, &session] { run(*o, session); });
}

}  // namespace panvae::tools
