// panvae evaluate expression: which features a reconstruction gets wrong.
#include <optional>

#include "base/file.h"
#include "data/matrix_path.h"
#include "data/write.h"
#include "eval/expression.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/judging_options.h"
#include "tools/table_name.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  JudgingOptions judging;
  std::string observed, reconstructed, test = "paired", baseline, counts, table;
  eval::ExpressionOptions expression;
};

// Tables and conditions are those of the observed samples: they choose what is evaluated. The other files are matched by
// name, and may hold more.
data::SampleSource matched_by_name(const std::string& path, const data::ReadOptions& observed) {
  data::ReadOptions read;
  if (data::parse_matrix_path(path).format == data::MatrixPath::Format::text) read.rows = observed.rows;
  read.missing = observed.missing;
  read.make_unique = observed.make_unique;
  return data::SampleSource(path, read);
}

void run(Options& o, const Session& session) {
  session.begin();
  o.judging.give(o.expression);
  o.expression.test = eval::parse_expression_test(o.test);
  o.expression.baseline = eval::parse_baseline(o.baseline);
  o.expression.seed = session.globals.seed;
  if (!o.counts.empty() && o.expression.baseline == eval::Baseline::none)
    fail_usage("counts are for a baseline", "--counts", "add --baseline thin or --baseline techrep");
  if (!o.table.empty()) check_table_output(o.table, "--table");
  const data::ReadOptions read = o.dataset.read();
  const data::SampleSource observed(o.observed, read), reconstructed = matched_by_name(o.reconstructed, read);
  std::optional<data::SampleSource> counts;
  if (!o.counts.empty()) o.expression.counts = &counts.emplace(matched_by_name(o.counts, read));
  const eval::ExpressionResult result = eval::evaluate_expression(observed, reconstructed, o.expression);
  if (!o.table.empty()) data::write_table(o.table, eval::de_table(result));
  emit_judgement(session, result, o.table.empty() ? "" : "\nwritten: " + o.table + "\n");
}

}  // namespace

void add_evaluate_expression(CLI::App& evaluate, Session& session) {
  CLI::App* cmd =
      add_command(evaluate, "expression",
                  "Which genes or peaks a reconstruction gets wrong: differential expression (of peaks: accessibility) against what was observed, beside "
                  "Spearman, R2 and what predicting the cohort mean gives",
                  "panvae simulate -o sim --donors 200 --genes 500 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && panvae train "
                  "rna -o sim/run sim/rna_pp.h5ad --set train.max_epochs=20 && panvae reconstruct -o sim/reconstructed.h5ad sim/run sim/rna_pp.h5ad && "
                  "panvae evaluate expression sim/rna_pp.h5ad sim/reconstructed.h5ad --baseline thin --counts sim/rna.h5ad --table sim/de.tsv");
  auto o = std::make_shared<Options>();
  cmd->add_option("OBSERVED", o->observed, "Observed values in log2 units, samples in rows: the preprocessed matrix")->required();
  cmd->add_option("RECONSTRUCTED", o->reconstructed, "The same samples and features, reconstructed; matched by name")->required();
  cmd->add_option("--cohort", o->expression.cohort, "Only samples of this cohort (default: all together)")->type_name("COHORT");
  o->judging.declare_on(*cmd);
  cmd->add_option(
         "--test", o->test,
         "paired: moderated t on each sample's difference; limma: moderated t of two groups; limma-trend: its variances with a trend in the mean; welch")
      ->check(CLI::IsMember({"paired", "limma", "limma-trend", "welch"}))
      ->capture_default_str();
  cmd->add_option("--lfc", o->expression.lfc, "Least absolute log2 fold change of a differential feature (DE gene, DA peak)")->capture_default_str();
  cmd->add_option("--fdr", o->expression.fdr, "False discovery rate of differential features (Benjamini and Hochberg)")->capture_default_str();
  cmd->add_option(
         "--baseline", o->baseline,
         "Differential features between two measurements of the same samples: techrep (replicates of a donor) or thin (raw counts dealt into two halves)")
      ->check(CLI::IsMember({"techrep", "thin"}));
  cmd->add_option("--counts", o->counts, "Raw counts for the baseline, normalised by the preprocessing stored in OBSERVED")->type_name("RAW");
  session.writes(cmd->add_option("--table", o->table, "Write the test of every feature: feature, log2fc, t, p, fdr, mean_observed, mean_reconstructed"))
      ->type_name("TABLE");
  o->dataset.declare(*cmd);
  session.common(*cmd, Session::seed);
  cmd->callback([o, &session] { run(*o, session); });
}

}  // namespace panvae::tools
