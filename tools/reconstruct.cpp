// panvae reconstruct: samples through an encoder and a decoder, of one modality or of two, in the log2 units of the preprocessed data.
#include <algorithm>
#include <cmath>
#include <optional>
#include <unordered_set>

#include "data/read.h"
#include "data/write.h"
#include "eval/selection.h"
#include "eval/spearman.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/device_options.h"
#include "tools/imputation.h"
#include "tools/run_samples.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  UnknownBatchOption unknown_batch;
  std::string run, in, out, input, modality, to, against;
};

data::Dataset<float> output_like(const RunSamples& in, const Run& target) {
  data::Dataset<float> out;
  out.obs = in.obs();
  out.frozen = target.preprocess;
  out.kind = "log";
  out.x.resize(in.samples(), static_cast<int64_t>(target.features.size()));
  return out;
}

Json number(double v) {
  return std::isfinite(v) ? Json(v) : Json(nullptr);
}
std::string shown(double v) {
  return std::isfinite(v) ? fmt::format("{:.4f}", v) : "NA";
}

// Within one modality.
void reconstruct(Context& context, const Options& o, const Session& session) {
  const Run run = load_run(context, o.run, o.to.empty() ? o.modality : o.to, o.to.empty() && !o.modality.empty() ? "--modality" : "--to");
  const RunSamples in(run, o.in, o.dataset.read(), o.input, o.unknown_batch.value());
  data::Dataset<float> out = output_like(in, run);
  out.var = in.features();

  // How well: over the samples held out where there are any, since these were not trained on.
  const eval::Selection judged = eval::select_evaluated(out.obs, eval::On::automatic);
  const std::unordered_set<int64_t> judged_rows(judged.rows.begin(), judged.rows.end());
  double sum = 0;
  int64_t defined = 0;
  for_reconstructions(context, run, in, data::all_rows(in.samples()), [&](int64_t i, std::span<const float> observed, std::span<const float> decoded) {
    std::copy(decoded.begin(), decoded.end(), out.x.row(i).data());
    if (!judged_rows.count(i)) return;
    const double r = eval::spearman(std::vector<double>(observed.begin(), observed.end()), std::vector<double>(decoded.begin(), decoded.end()));
    if (std::isnan(r)) return;
    sum += r;
    ++defined;
  });
  const double by_sample = defined > 0 ? sum / static_cast<double>(defined) : std::nan("");
  data::write_dataset(o.out, out);
  Json json = {{"samples", out.samples()},
               {"features", out.features()},
               {"judged_on", judged.name()},
               {"judged_samples", judged.rows.size()},
               {"spearman_per_sample_mean", number(by_sample)},
               {"output", o.out}};
  TextTable t({"reconstructed", ""});
  t.row({"samples", std::to_string(out.samples())});
  t.row({"features", std::to_string(out.features())});
  t.row({fmt::format("Spearman per sample, mean over {} ({})", judged.rows.size(), judged.name()), shown(by_sample)});
  session.emit(t.str() + "\nwritten: " + o.out + "\n", json);
}

// One modality from the other.
void impute(Context& context, const Options& o, const std::string& from, const Session& session) {
  const Run source = load_run(context, o.run, from), target = load_run(context, o.run, o.to);
  const RunSamples in(source, o.in, o.dataset.read(), o.input, o.unknown_batch.value());
  std::optional<RunSamples> against;
  if (!o.against.empty()) against.emplace(target, o.against, o.dataset.read(), "", o.unknown_batch.value());
  data::Dataset<float> out = output_like(in, target);
  out.var.keys = target.features;
  const data::RowMatrix<float> z = embedding_of(context, source, in, false);
  target.model->decode(context, z.data(), z.rows(), [&](int64_t i, const float* values) {
    for (int64_t c = 0; c < out.features(); ++c) out.x(i, c) = target.scale.inverse(values[c], static_cast<size_t>(c));
  });
  Json json = {{"samples", out.samples()}, {"features", out.features()}, {"from", from}, {"to", o.to}, {"output", o.out}};
  TextTable t({fmt::format("{} from {}", o.to == "rna" ? "RNA" : "ATAC", from == "rna" ? "RNA" : "ATAC"), "imputed", "mean of the cohort"});
  t.row({"samples", std::to_string(out.samples()), ""});
  t.row({"features", std::to_string(out.features()), ""});
  if (against) {
    const eval::ImputationResult r = judge_imputation(out.obs, out.x, *against, eval::On::automatic);
    const std::string on = eval::select_evaluated(out.obs, eval::On::automatic).name();
    json["judged_on"] = on;
    json.update(eval::to_json(r));
    t.row({fmt::format("Spearman per sample, mean of {} pairs ({})", r.pairs, on), shown(r.imputed.spearman_per_sample_mean),
           shown(r.cohort_mean.spearman_per_sample_mean)});
    t.row({"Spearman per feature, mean", shown(r.imputed.spearman_per_feature_mean), shown(r.cohort_mean.spearman_per_feature_mean)});
    t.row({"mean squared error", shown(r.imputed.mean_squared_error), shown(r.cohort_mean.mean_squared_error)});
    t.row({"Spearman per feature beyond the cohort's mean", shown(r.spearman_beyond_cohort_mean), ""});
  }
  data::write_dataset(o.out, out);
  session.emit(t.str() + "\nwritten: " + o.out + "\n", json);
}

void run(const Options& o, const Session& session) {
  session.begin();
  data::check_output(o.out);
  const std::unique_ptr<Context> context = make_context(session.globals);
  // Of a co-embedding, --to names what is wanted, and what is given is the other modality unless --modality says otherwise.
  const bool crosses = is_coembedding(o.run) && !o.to.empty() && o.modality != o.to;
  if (crosses) return impute(*context, o, o.to == "rna" ? "atac" : "rna", session);
  if (!o.against.empty()) fail_usage("nothing is imputed", "--against", "it is for one modality from the other: a co-embedding, with --to");
  if (!o.to.empty() && !o.modality.empty() && o.to != o.modality)
    fail_usage("a model of one modality cannot give another", "--to " + o.to, "co-embed both modalities: panvae train coembed");
  reconstruct(*context, o, session);
}

}  // namespace

void add_reconstruct(CLI::App& root, Session& session) {
  CLI::App* cmd =
      add_command(root, "reconstruct", "Samples through a trained model and back, in the log2 units of the preprocessed data",
                  "panvae simulate -o sim --donors 120 --genes 500 --peaks 0 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && "
                  "panvae train rna -o sim/run sim/rna_pp.h5ad --set train.max_epochs=12 && "
                  "panvae reconstruct -o reconstructed.h5ad sim/run sim/rna_pp.h5ad");
  auto o = std::make_shared<Options>();
  cmd->add_option("RUN", o->run, "Folder of a trained model")->required();
  cmd->add_option("IN", o->in, "Samples: raw counts, logs or a preprocessed matrix")->required();
  session.writes(cmd->add_option("-o,--output", o->out, "Matrix to write (.h5ad, .tsv, .csv; .gz)"))->required()->type_name("OUT");
  cmd->add_option("--input", o->input, "What IN holds: counts, log or processed (default: found out)")->check(CLI::IsMember({"counts", "log", "processed"}));
  cmd->add_option("--to", o->to, "Modality to reconstruct: rna or atac (default: that of the run); of a co-embedding it is imputed from the other")
      ->check(CLI::IsMember({"rna", "atac"}));
  cmd->add_option("--modality", o->modality, "Modality of IN: rna or atac (default: that of the run; of a co-embedding the one that --to does not name)")
      ->check(CLI::IsMember({"rna", "atac"}));
  cmd->add_option("--against", o->against, "Observed samples of the imputed modality: pairs of equal donors judge the imputation, beside the cohort's mean")
      ->type_name("FILE");
  o->unknown_batch.declare(*cmd, "as the preprocessing of the run says");
  o->dataset.declare(*cmd);
  session.common(*cmd, Session::device | Session::precision);
  cmd->callback([o, &session] { run(*o, session); });
}

}  // namespace panvae::tools
