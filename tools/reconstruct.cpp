// panvae reconstruct: samples through encoder and decoder, back in the log2 units of the preprocessed data.
#include <cmath>

#include "data/write.h"
#include "eval/selection.h"
#include "eval/spearman.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/device_options.h"
#include "tools/run_folder.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  std::string run, in, out, input, to = "rna";
};

void reconstruct(const std::shared_ptr<Options>& o, const Session& session) {
  session.begin();
  data::check_writable_name(o->out);
  std::unique_ptr<Context> context = make_context(session.globals);
  const Run run = load_run(*context, o->run);
  data::Dataset<float> in = read_for_run(run, o->in, o->dataset.read(), o->input);
  data::Dataset<float> out;
  out.x = reconstruction_of(*context, run, in);
  run.scale.invert(in.x);
  out.obs = std::move(in.obs);
  out.var = std::move(in.var);
  out.frozen = run.preprocess;
  out.kind = "log";

  // How well: over the samples held out where there are any, since these were not trained on.
  const eval::Selection judged = eval::select_evaluated(out.obs, eval::On::automatic);
  data::RowMatrix<double> observed(static_cast<int64_t>(judged.rows.size()), out.features()), decoded(observed.rows(), observed.cols());
  for (size_t i = 0; i < judged.rows.size(); ++i) {
    observed.row(static_cast<int64_t>(i)) = in.x.row(judged.rows[i]).cast<double>();
    decoded.row(static_cast<int64_t>(i)) = out.x.row(judged.rows[i]).cast<double>();
  }
  in.x.resize(0, 0);
  const eval::Correlations by_sample = eval::spearman_rows(observed, decoded);
  data::write_dataset(o->out, out);
  auto number = [](double v) { return std::isfinite(v) ? Json(v) : Json(nullptr); };
  Json json = {{"samples", out.samples()},
               {"features", out.features()},
               {"judged_on", judged.name()},
               {"judged_samples", judged.rows.size()},
               {"spearman_per_sample_mean", number(by_sample.mean)},
               {"output", o->out}};
  TextTable t({"reconstructed", ""});
  t.row({"samples", std::to_string(out.samples())});
  t.row({"features", std::to_string(out.features())});
  t.row({fmt::format("Spearman per sample, mean over {} ({})", judged.rows.size(), judged.name()),
         std::isfinite(by_sample.mean) ? fmt::format("{:.4f}", by_sample.mean) : "NA"});
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
  cmd->add_option("--to", o->to, "Modality to reconstruct")->check(CLI::IsMember({"rna"}))->capture_default_str();
  o->dataset.declare(*cmd);
  session.common(*cmd, Session::device | Session::precision);
  cmd->callback([o, &session] { reconstruct(o, session); });
}

}  // namespace panvae::tools
