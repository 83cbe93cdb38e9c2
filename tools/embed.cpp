// panvae embed: posterior means of samples, seen in training or never.
#include "base/read_json.h"
#include "data/write.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/device_options.h"
#include "tools/run_samples.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  UnknownBatchOption unknown_batch;
  std::string run, in, out, input, modality, axes = "auto";
};

void embed(const std::shared_ptr<Options>& o, const Session& session) {
  session.begin();
  data::check_output(o->out);
  std::unique_ptr<Context> context = make_context(session.globals);
  // What preprocess wrote says of which modality it is.
  if (o->modality.empty() && is_coembedding(o->run))
    o->modality = member<std::string>(data::SampleSource(o->in, o->dataset.read()).frozen().settings, "modality").value_or("");
  const Run run = load_run(*context, o->run, o->modality);
  if (run.coembedded && o->axes == "canonical")
    fail_usage("a co-embedding has one space for both modalities, whose axes are the latent units", "--axes canonical", "leave it out");
  const RunSamples in(run, o->in, o->dataset.read(), o->input, o->unknown_batch.value());
  const int64_t latent = run.model->latent();
  data::Dataset<float> out;
  const bool canonical = o->axes == "auto" ? run.canonical_axes() : o->axes == "canonical";
  const std::string axes = canonical ? "canonical" : "latent";
  out.x = embedding_of(*context, run, in, canonical);
  out.obs = in.obs();
  out.kind = "embedding";
  for (int64_t z = 0; z < latent; ++z) out.var.keys.push_back(fmt::format("z{}", z + 1));
  out.frozen.settings = {{"kind", "embedding"}, {"axes", axes}, {"model", run.provenance}};
  out.frozen.settings["model"].erase("donors_seen");
  data::write_dataset(o->out, out);
  Json json = {{"samples", out.samples()}, {"modality", run.config.modality}, {"latent", latent}, {"axes", axes}, {"informative_axes", run.axes.informative},
               {"output", o->out}};
  TextTable t({"embedded", ""});
  t.row({"samples", std::to_string(out.samples())});
  t.row({"latent dimensions", std::to_string(latent)});
  t.row({"axes", canonical ? fmt::format("canonical, {} informative, {} 0", run.axes.informative, latent - run.axes.kept) : "latent units as trained"});
  session.emit(t.str() + "\nwritten: " + o->out + "\n", json);
}

}  // namespace

void add_embed(CLI::App& root, Session& session) {
  CLI::App* cmd =
      add_command(root, "embed", "Posterior means of samples under a trained model, for samples never seen too",
                  "panvae simulate -o sim --donors 120 --genes 500 --peaks 0 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && "
                  "panvae train rna -o sim/run sim/rna_pp.h5ad --set train.max_epochs=12 && "
                  "panvae embed -o embedding.h5ad sim/run sim/rna.h5ad");
  auto o = std::make_shared<Options>();
  cmd->add_option("RUN", o->run, "Folder of a trained model")->required();
  cmd->add_option("IN", o->in, "Samples: raw counts, logs or a preprocessed matrix")->required();
  session.writes(cmd->add_option("-o,--output", o->out, "Embedding to write (.h5ad, .tsv, .csv; .gz)"))->required()->type_name("OUT");
  cmd->add_option("--input", o->input, "What IN holds: counts, log or processed (default: found out)")->check(CLI::IsMember({"counts", "log", "processed"}));
  cmd->add_option("--modality", o->modality, "Modality of IN: rna or atac (default: that of the run; for a co-embedding as a preprocessed IN says)")
      ->check(CLI::IsMember({"rna", "atac"}));
  cmd->add_option("--axes", o->axes,
                  "canonical: axes in decoded units, by variance, noise axes 0; latent: the units as trained; auto: canonical for RNA, latent for ATAC and "
                  "co-embeddings")
      ->check(CLI::IsMember({"auto", "canonical", "latent"}))
      ->capture_default_str();
  o->unknown_batch.declare(*cmd, "as the preprocessing of the run says");
  o->dataset.declare(*cmd);
  session.common(*cmd, Session::device | Session::precision);
  cmd->callback([o, &session] { embed(o, session); });
}

}  // namespace panvae::tools
