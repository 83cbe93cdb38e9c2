// panvae evaluate pairs: whether RNA and ATAC of a donor land at one place of a common space.
#include "eval/pairs.h"
#include "tools/commands.h"
#include "tools/judging_options.h"
#include "tools/modality_options.h"

namespace panvae::tools {

namespace {

struct Options {
  ModalityOptions input;
  JudgingOptions judging;
  std::string rna, atac, pairs;
  eval::PairsOptions evaluation;
};

void run(Options& o, const Session& session) {
  session.begin();
  o.judging.give(o.evaluation);
  o.evaluation.seed = session.globals.seed;
  std::vector<data::SamplePair> pairs;
  if (!o.pairs.empty()) {
    pairs = data::read_pairs(o.pairs);
    o.evaluation.pairs = &pairs;
  }
  const data::Dataset<double> rna = data::read_dataset<double>(o.rna, o.input.rna()), atac = data::read_dataset<double>(o.atac, o.input.atac());
  const eval::PairsResult result = eval::evaluate_pairs(rna, atac, o.evaluation);
  emit_judgement(session, result);
}

}  // namespace

void add_evaluate_pairs(CLI::App& evaluate, Session& session) {
  CLI::App* cmd = add_command(
      evaluate, "pairs", "Whether the two modalities of a donor land at one place: FOSCTTM, recall, mixing of modalities, transfer of cohorts between them",
      "panvae simulate -o sim --donors 150 --genes 500 --peaks 4000 --cohorts 4 && panvae preprocess -o sim/r.h5ad sim/rna.h5ad --modality rna && "
      "panvae preprocess -o sim/a.h5ad sim/atac.h5ad --modality atac && panvae pca -o sim/r_pca.h5ad sim/r.h5ad --components 20 && panvae pca -o "
      "sim/a_pca.h5ad sim/a.h5ad --components 20 && panvae evaluate pairs sim/r_pca.h5ad sim/a_pca.h5ad");
  auto o = std::make_shared<Options>();
  cmd->add_option("RNA_EMB", o->rna, "Embedding of RNA, samples in rows")->required();
  cmd->add_option("ATAC_EMB", o->atac, "Embedding of ATAC in the same space: equally many dimensions")->required();
  cmd->add_option("--pairs", o->pairs,
                  "Table with the columns atac and rna, as 'panvae match' writes it; its pairs of one donor (tier 1) count (default: equal donors)")
      ->type_name("TABLE");
  o->judging.declare_on(*cmd);
  o->judging.declare_cohort_map(*cmd);
  cmd->add_option("--mixing-neighbours", o->evaluation.mixing_neighbours, "Nearest neighbours that the mixing entropy looks at")->capture_default_str();
  cmd->add_option("--transfer-neighbours", o->evaluation.transfer_neighbours, "Nearest neighbours that vote on the cohort")->capture_default_str();
  cmd->add_option("--permutations", o->evaluation.permutations, "Permutations of the partners among donors that give FOSCTTM by chance")->capture_default_str();
  o->judging.declare_control(*cmd, "judge with the ATAC embeddings permuted among donors, which should be at chance");
  o->input.declare(*cmd);
  session.common(*cmd, Session::seed);
  cmd->callback([o, &session] { run(*o, session); });
}

}  // namespace panvae::tools
