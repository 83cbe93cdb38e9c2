#include "tools/demo_study.h"

#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "data/read.h"

namespace panvae::tools {

namespace {

namespace fs = std::filesystem;

// {"--set", "a=1", "--set", "b=2"}
Arguments set(const Arguments& settings) {
  Arguments a;
  for (const std::string& s : settings) a.insert(a.end(), {"--set", s});
  return a;
}

Arguments joined(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Sizes and lengths of training. The quick ones are for minutes on two cores, the others for a quarter of an hour.
struct Sizes {
  const char* latent;
  Arguments simulate, rna, blocks, dense, coembed;
  const char* pca;
};

Sizes sizes(bool quick) {
  if (quick)
    return {.latent = "32",
            .simulate = {"--donors", "600", "--genes", "1000", "--peaks", "6000", "--cohorts", "6", "--atac-fraction", "0.8"},
            .rna = {"model.hidden=256", "train.learning_rate=0.001"},
            .blocks = {"block.size=500", "block.slide=250", "block.widths=128,64", "block.latent=16", "hierarchical.widths=128,64", "train.epoch_steps=20"},
            .dense = {"model.hidden=128", "train.patience=10"},
            .coembed = {"train.learning_rate=0.0005", "train.max_epochs=60"},
            .pca = "latent,best"};
  return {.latent = "64",
          .simulate = {"--donors", "600", "--genes", "3000", "--peaks", "20000", "--cohorts", "12", "--atac-fraction", "0.6"},
          .rna = {"model.hidden=512", "train.learning_rate=0.001"},
          .blocks = {},
          .dense = {"model.hidden=256", "train.patience=10"},
          .coembed = {"train.learning_rate=0.0005", "train.max_epochs=120"},
          .pca = "512,latent,best"};
}

Arguments train_rna(const Sizes& s) {
  return set(joined({std::string("model.latent=") + s.latent}, s.rna));
}
Arguments train_blocks(const Sizes& s) {
  return set(joined({std::string("hierarchical.latent=") + s.latent}, s.blocks));
}
Arguments train_dense(const Sizes& s) {
  return set(joined({"model.network=dense", std::string("model.latent=") + s.latent}, s.dense));
}

// Counts with a column batch are corrected for it.
Arguments batch_options(const std::string& path) {
  return data::read_obs(path).find("batch") ? Arguments{"--batch-key", "batch"} : Arguments{};
}

DemoStudy simulated(const std::string& out, const Sizes& s) {
  DemoStudy study;
  study.title = "a simulated study";
  study.folder = out;
  study.simulate = s.simulate;
  study.rna = {study.path("rna.h5ad"), {}, {"--batch-key", "batch"}, train_rna(s)};
  study.atac = {study.path("atac.h5ad"), {}, {"--batch-key", "batch"}, train_blocks(s)};
  study.genes = study.path("genes.tsv");
  return study;
}

// A folder of real matrices, of which any may be absent.
class RealData {
 public:
  RealData(const std::string& folder, const std::string& out, const Sizes& sizes) : folder_(folder), out_(out), sizes_(sizes) {
    while (folder_.size() > 1 && folder_.back() == '/') folder_.pop_back();
    std::error_code error;
    if (!fs::is_directory(folder_, error)) fail_input("there is no such folder", quoted(folder, 400), "name the folder of the matrices with --data");
  }

  std::vector<DemoStudy> studies() const {
    std::vector<DemoStudy> all;
    if (const auto s = own()) all.push_back(*s);
    if (const auto s = counts()) all.push_back(*s);
    if (const auto s = log_and_scores()) all.push_back(*s);
    if (all.empty()) fail_input("nothing that the demo knows is in the folder", quoted(folder_, 400), demo_data_help());
    return all;
  }

 private:
  // Raw counts under the names that 'panvae simulate' gives them.
  std::optional<DemoStudy> own() const {
    const bool rna = exists(in("rna.h5ad")), atac = exists(in("atac.h5ad")), genes = exists(in("genes.tsv"));
    if (!rna && !atac) return {};
    DemoStudy study = named("study", "counts of " + folder_);
    if (rna) study.rna = {in("rna.h5ad"), {}, batch_options(in("rna.h5ad")), train_rna(sizes_)};
    else absent("rna.h5ad", "ATAC alone");
    if (atac) study.atac = {in("atac.h5ad"), {}, batch_options(in("atac.h5ad")), train_blocks(sizes_)};
    else absent("atac.h5ad", "RNA alone");
    if (genes) study.genes = in("genes.tsv");
    else if (rna && atac) absent("genes.tsv", "samples are matched by donors and clinical tiers, not by gene activity");
    return study;
  }

  std::optional<DemoStudy> counts() const {
    const std::string name = "rna_counts_15cohorts";
    if (!table(name)) return {};
    DemoStudy study = named(name, "RNA counts of 15 tumour types");
    study.rna = converted(study, name, {"--rows", "features"}, {}, train_rna(sizes_));
    // Normal tissue beside a tumour is no tumour of its type.
    if (data::read_obs(in(name + "_obs.tsv")).find("sample_type")) study.rna->convert.insert(study.rna->convert.end(), {"--where", "sample_type=tumor"});
    return study;
  }

  std::optional<DemoStudy> log_and_scores() const {
    const std::string rna = "rna_log2_15cohorts", atac = "atac_pca200_23cohorts";
    const bool with_rna = table(rna), with_atac = table(atac);
    if (!with_rna && !with_atac) return {};
    DemoStudy study = named(rna, "log2 RNA of 15 tumour types");
    if (with_rna) study.rna = converted(study, rna, {"--rows", "features"}, {"--input", "log"}, train_rna(sizes_));
    else absent(rna + ".tsv.gz", "ATAC alone");
    // Components come by falling variance, and as z-scores the last ones, noise, would weigh as much as the first: a quarter is kept.
    if (with_atac) study.atac = converted(study, atac, {}, {"--input", "log", "--no-quantile", "--var-filter", "quantile:0.75"}, train_dense(sizes_));
    else absent(atac + ".tsv.gz", "RNA alone");
    study.title = !with_atac ? study.title : !with_rna ? "principal components of ATAC" : study.title + " and principal components of ATAC";
    if (!with_rna) study.folder = out_ + "/" + atac;
    return study;
  }

  std::string in(const std::string& name) const { return folder_ + "/" + name; }

  // Whether NAME.tsv.gz is there; its samples must then be described.
  bool table(const std::string& name) const {
    if (!exists(in(name + ".tsv.gz"))) return false;
    if (!exists(in(name + "_obs.tsv")))
      fail_input(fmt::format("the matrix {}.tsv.gz has no table of samples beside it", name), quoted(in(name + "_obs.tsv"), 400),
                 "put it there: sample, donor, cohort and clinical columns");
    return true;
  }
  void absent(const std::string& name, const std::string& so) const { log::info("{} is not in {}: {}", name, quoted(folder_, 200), so); }

  DemoStudy named(const std::string& name, const std::string& title) const {
    DemoStudy study;
    study.title = title;
    study.folder = out_ + "/" + name;
    return study;
  }
  DemoModality converted(const DemoStudy& study, const std::string& name, const Arguments& how, const Arguments& preprocess, const Arguments& train) const {
    return {study.path(name + ".h5ad"), joined({in(name + ".tsv.gz"), "--obs", in(name + "_obs.tsv")}, how), preprocess, train};
  }

  std::string folder_, out_;
  Sizes sizes_;
};

}  // namespace

std::vector<DemoStudy> demo_studies(const std::string& out, const std::string& data, bool quick) {
  const Sizes s = sizes(quick);
  std::vector<DemoStudy> all = data.empty() ? std::vector<DemoStudy>{simulated(out, s)} : RealData(data, out, s).studies();
  for (DemoStudy& study : all) {
    study.train_coembed = set(s.coembed);
    study.pca = s.pca;
  }
  return all;
}

std::vector<DemoStep> demo_steps(const DemoStudy& s, const Arguments& settings) {
  std::vector<DemoStep> steps;
  const auto add = [&](const std::string& name, const Arguments& a, const Arguments& more = {}) { steps.push_back({name, joined(a, more), false}); };
  const auto at = [&](const std::string& name) { return s.path(name); };
  const Arguments of_all = set(settings);
  const bool both = s.rna && s.atac;

  if (!s.simulate.empty()) add("simulate", {"simulate", "-o", s.folder}, s.simulate);
  Arguments runs;
  const auto single = [&](const std::string& modality, const DemoModality& m, const Arguments& split) {
    const std::string prepared = at(modality + "_pp.h5ad"), run = at(modality + "_run");
    if (!m.convert.empty()) add("convert_" + modality, {"convert", "-o", m.raw}, m.convert);
    add("preprocess_" + modality, joined({"preprocess", "-o", prepared, m.raw, "--modality", modality}, m.preprocess), split);
    add("pca_" + modality, {"pca", "-o", at(modality + "_pca.h5ad"), prepared, "--components", "512"});
    add("train_" + modality, joined({"train", modality, "-o", run, prepared, "--overwrite"}, m.train), of_all);
    add("embed_" + modality, {"embed", "-o", at(modality + "_vae.h5ad"), run, prepared});
    runs.push_back(run);
  };
  if (s.rna) single("rna", *s.rna, {});
  // A donor that is held out in one modality is held out in both.
  if (s.atac) single("atac", *s.atac, both ? Arguments{"--split-from", at("rna_pp.h5ad")} : Arguments{});

  const std::string rna = at("rna_pp.h5ad"), atac = at("atac_pp.h5ad"), pairs = at("pairs.tsv");
  if (both) {
    add("match", {"match", "-o", pairs, "--rna", rna, "--atac", atac}, s.genes.empty() ? Arguments{} : Arguments{"--genes", s.genes});
    for (const DemoCoembedding& c : kDemoCoembeddings) {
      const std::string name = std::string("coembed_") + c.name, run = at(name);
      add("train_" + name,
          joined({"train", "coembed", "-o", run, "--mode", c.mode, "--rna", at("rna_run"), "--atac", at("atac_run"), "--pairs", pairs, rna, atac, "--overwrite",
                  "--set", std::string("loss.pair=") + c.pair},
                 s.train_coembed),
          of_all);
      for (const std::string modality : {"rna", "atac"})
        add(fmt::format("embed_{}_{}", name, modality),
            {"embed", "-o", at(fmt::format("{}_{}.h5ad", name, modality)), run, modality == "rna" ? rna : atac, "--modality", modality});
      add("impute_" + name, {"reconstruct", "-o", at(name + "_imputed_rna.h5ad"), run, atac, "--to", "rna", "--against", rna});
      // Samples of others need not have donors of both modalities among those held out.
      steps.back().optional = s.simulate.empty();
      runs.push_back(run);
    }
  }
  add("evaluate", joined(joined({"evaluate", "all"}, runs), {"-o", s.results(), "--pca", s.pca}));
  return steps;
}

std::string demo_data_help() {
  return "it takes rna.h5ad, atac.h5ad (raw counts, either or both) and genes.tsv; rna_counts_15cohorts.tsv.gz; rna_log2_15cohorts.tsv.gz and "
         "atac_pca200_23cohorts.tsv.gz, these with NAME_obs.tsv beside them";
}

}  // namespace panvae::tools
