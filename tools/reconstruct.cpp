// panvae reconstruct: samples through encoder and decoder, back in the log2 units of the preprocessed data.
#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "data/write.h"
#include "eval/selection.h"
#include "eval/spearman.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/device_options.h"
#include "tools/run_samples.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  std::string run, in, out, input, to;
};

void reconstruct(const std::shared_ptr<Options>& o, const Session& session) {
  session.begin();
  data::check_writable_name(o->out);
  std::unique_ptr<Context> context = make_context(session.globals);
  const Run run = load_run(*context, o->run);
  check_modality(run, o->to, "--to");
  const RunSamples in(run, o->in, o->dataset.read(), o->input);
  data::Dataset<float> out;
  out.obs = in.obs();
  out.var = in.features();
  out.frozen = run.preprocess;
  out.kind = "log";
  out.x.resize(in.samples(), static_cast<int64_t>(run.features.size()));

  // How well: over the samples held out where there are any, since these were not trained on.
  const eval::Selection judged = eval::select_evaluated(out.obs, eval::On::automatic);
  const std::unordered_set<int64_t> judged_rows(judged.rows.begin(), judged.rows.end());
  double sum = 0;
  int64_t defined = 0;
  for_reconstructions(*context, run, in, in.all_rows(), [&](int64_t i, std::span<const float> observed, std::span<const float> decoded) {
    std::copy(decoded.begin(), decoded.end(), out.x.row(i).data());
    if (!judged_rows.count(i)) return;
    const double r = eval::spearman(std::vector<double>(observed.begin(), observed.end()), std::vector<double>(decoded.begin(), decoded.end()));
    if (std::isnan(r)) return;
    sum += r;
    ++defined;
  });
  const double by_sample = defined > 0 ? sum / static_cast<double>(defined) : std::nan("");
  data::write_dataset(o->out, out);
  auto number = [](double v) { return std::isfinite(v) ? Json(v) : Json(nullptr); };
  Json json = {{"samples", out.samples()},
               {"features", out.features()},
               {"judged_on", judged.name()},
               {"judged_samples", judged.rows.size()},
               {"spearman_per_sample_mean", number(by_sample)},
               {"output", o->out}};
  TextTable t({"reconstructed", ""});
  t.row({"samples", std::to_string(out.samples())});
  t.row({"features", std::to_string(out.features())});
  t.row({fmt::format("Spearman per sample, mean over {} ({})", judged.rows.size(), judged.name()),
         std::isfinite(by_sample) ? fmt::format("{:.4f}", by_sample) : "NA"});
  session.emit(t.str() + "\nwritten: " + o->out + "\n", json);
}

}  // namespace

void add_reconstruct(CLI::App& root, Session& session) {
  CLI::App* cmd = add_command(root, "reconstruct", "Samples through a trained model and back, in the log2 units of the preprocessed data",
                              "panvae reconstruct -o reconstructed.h5ad sim/run sim/rna_pp.h5ad");
  auto o = std::make_shared<Options>();
  cmd->add_option("RUN", o->run, "Folder of a trained model")->required();
  cmd->add_option("IN", o->in, "Samples: raw counts, logs or a preprocessed matrix")->required();
  cmd->add_option("-o,--output", o->out, "Matrix to write (.h5ad, .tsv, .csv; .gz)")->required()->type_name("OUT");
  cmd->add_option("--input", o->input, "What IN holds: counts, log or processed (default: found out)")->check(CLI::IsMember({"counts", "log", "processed"}));
  cmd->add_option("--to", o->to, "Modality to reconstruct: rna or atac (default: that of the run)")->check(CLI::IsMember({"rna", "atac"}));
  o->dataset.declare(*cmd);
  session.common(*cmd, Session::device | Session::precision);
  cmd->callback([o, &session] { reconstruct(o, session); });
}

}  // namespace panvae::tools
