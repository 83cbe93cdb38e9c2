// panvae cca: canonical correlation analysis of paired samples, the baseline of co-embedding.
#include "eval/cca.h"

#include <chrono>
#include <cmath>

#include "base/log.h"
#include "data/write.h"
#include "tools/at_least.h"
#include "tools/commands.h"
#include "tools/modality_options.h"

namespace panvae::tools {

namespace {

struct Options {
  ModalityOptions input;
  std::string rna, atac, pairs, rna_out, atac_out;
  eval::CcaOptions analysis;
};

constexpr int64_t kShown = 10;

Json numbers(const Eigen::VectorXd& v) {
  Json list = Json::array();
  for (double x : v) list.push_back(std::isfinite(x) ? Json(x) : Json(nullptr));
  return list;
}

Json result_json(const eval::CcaResult& r, const Options& o) {
  Json json;
  json["pairs"] = r.pairs;
  json["donors"] = r.donors;
  json["validation_pairs"] = r.validation_pairs;
  json["components"] = r.singular.size();
  json["correlations"] = numbers(r.correlations);
  json["validation_correlations"] = r.validation_pairs > 0 ? numbers(r.validation_correlations) : Json(nullptr);
  json["singular_values"] = numbers(r.singular);
  for (const auto& [name, side, file] : {std::tuple{"rna", &r.rna, &o.rna_out}, std::tuple{"atac", &r.atac, &o.atac_out}})
    json[name] = {{"samples", side->scores.rows()},
                  {"training_samples", side->training_samples},
                  {"dimensions", side->dimensions},
                  {"explained_variance_ratio", side->explained},
                  {"output", *file}};
  json["pca"] = o.analysis.pca;
  json["shrinkage"] = o.analysis.shrinkage;
  json["power"] = o.analysis.power;
  return json;
}

std::string result_text(const eval::CcaResult& r, const Options& o) {
  TextTable facts({"canonical correlations", "RNA", "ATAC"});
  const auto both = [&](const char* name, auto&& of) { facts.row({name, of(r.rna), of(r.atac)}); };
  both("samples", [](const eval::CcaSide& s) { return fmt::format("{}", s.scores.rows()); });
  both("training samples", [](const eval::CcaSide& s) { return fmt::format("{}", s.training_samples); });
  both(o.analysis.pca > 0 ? "principal components" : "features", [](const eval::CcaSide& s) { return fmt::format("{}", s.dimensions); });
  both("their share of the variance", [](const eval::CcaSide& s) { return fmt::format("{:.1f} %", 100 * s.explained); });
  TextTable table({"dimension", "correlation", "of validation pairs"});
  for (int64_t i = 0; i < std::min(kShown, r.singular.size()); ++i)
    table.row({fmt::format("CC{}", i + 1), fmt::format("{:.4f}", r.correlations[i]),
               std::isfinite(r.validation_correlations[i]) ? fmt::format("{:.4f}", r.validation_correlations[i]) : "-"});
  return fmt::format("{}\n{} training pairs of {} donors, {} validation pairs; {} dimensions\n\n{}\nwritten: {} and {}\n", facts.str(), r.pairs, r.donors,
                     r.validation_pairs, r.singular.size(), table.str(), o.rna_out, o.atac_out);
}

void write(const std::string& path, data::Dataset<double>& in, const eval::CcaSide& side, const eval::CcaResult& r, const Options& o) {
  data::Dataset<float> out;
  out.x = side.scores.cast<float>();
  out.obs = std::move(in.obs);
  out.kind = "embedding";
  for (int64_t i = 0; i < r.singular.size(); ++i) out.var.keys.push_back(fmt::format("CC{}", i + 1));
  data::Column c;
  c.name = "correlation";
  c.numeric = true;
  c.number.assign(r.correlations.begin(), r.correlations.end());
  out.var.set(std::move(c));
  out.frozen.settings["kind"] = "embedding";
  out.frozen.settings["cca"] = {
      {"pairs", r.pairs}, {"pca", o.analysis.pca}, {"shrinkage", o.analysis.shrinkage}, {"power", o.analysis.power}, {"singular_values", numbers(r.singular)}};
  data::write_dataset(path, out);
}

void run(Options& o, const Session& session) {
  session.begin();
  for (const std::string* file : {&o.rna_out, &o.atac_out}) data::check_output(*file);
  o.analysis.seed = session.globals.seed;
  const auto start = std::chrono::steady_clock::now();
  std::vector<data::SamplePair> pairs;
  if (!o.pairs.empty()) {
    pairs = data::read_pairs(o.pairs);
    o.analysis.pairs = &pairs;
  }
  data::Dataset<double> rna = data::read_dataset<double>(o.rna, o.input.rna()), atac = data::read_dataset<double>(o.atac, o.input.atac());
  for (const data::Dataset<double>* d : {&rna, &atac}) {
    log::info("{}: {} samples x {} features", d->path, d->samples(), d->features());
    if (d->kind == "counts") log::warning("{} holds counts: correlations of raw counts follow library sizes; 'panvae preprocess' first", d->path);
  }
  const eval::CcaResult result = eval::embed_by_cca(rna, atac, o.analysis);
  if (!result.split_known) log::info("no column split in either table: fitted on all pairs");
  if (const int64_t k = result.singular.size(); k < o.analysis.components)
    log::info("{} dimensions, not {}: the inputs have {} and {}, of {} pairs", k, o.analysis.components, result.rna.dimensions, result.atac.dimensions,
              result.pairs);
  write(o.rna_out, rna, result.rna, result, o);
  write(o.atac_out, atac, result.atac, result, o);
  Json json = result_json(result, o);
  json["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  session.emit(result_text(result, o), json);
}

}  // namespace

void add_cca(CLI::App& root, Session& session) {
  CLI::App* cmd = add_command(
      root, "cca", "Canonical correlation analysis of the training pairs of RNA and ATAC, applied to all samples: the baseline of co-embedding",
      "panvae simulate -o sim --donors 150 --genes 500 --peaks 4000 --cohorts 4 && panvae preprocess -o sim/r.h5ad sim/rna.h5ad --modality rna && "
      "panvae preprocess -o sim/a.h5ad sim/atac.h5ad --modality atac && panvae cca --rna-output sim/r_cca.h5ad --atac-output sim/a_cca.h5ad sim/r.h5ad "
      "sim/a.h5ad && panvae evaluate pairs sim/r_cca.h5ad sim/a_cca.h5ad");
  auto o = std::make_shared<Options>();
  cmd->add_option("RNA", o->rna, "Matrix of RNA, samples in rows: preprocessed logs, or scores")->required();
  cmd->add_option("ATAC", o->atac, "Matrix of ATAC, likewise")->required();
  session.writes(cmd->add_option("--rna-output", o->rna_out, "Embedding of RNA to write, float32 (.h5ad, .tsv, .csv; .gz)"))->required()->type_name("OUT");
  session.writes(cmd->add_option("--atac-output", o->atac_out, "Embedding of ATAC to write, in the same space"))->required()->type_name("OUT");
  cmd->add_option("--pairs", o->pairs, "Table with the columns atac and rna, as 'panvae match' writes it (default: equal donors)")->type_name("TABLE");
  cmd->add_option("--max-tier", o->analysis.max_tier, "Pairs of the table up to this tier count, all alike: 1 are those of one donor")
      ->capture_default_str()
      ->check(CLI::Range(1, 6));
  cmd->add_option("--components", o->analysis.components, "At most so many dimensions of the common space")->capture_default_str()->check(at_least(1));
  cmd->add_option("--pca", o->analysis.pca, "At most so many principal components of each modality, fitted on its training samples, go in; 0: all features")
      ->capture_default_str()
      ->check(at_least(0));
  cmd->add_option("--shrinkage", o->analysis.shrinkage,
                  "Ridge, as a share: covariances become (1 - a) C + a times their mean variance on the diagonal. 0: classical, 1: partial least squares")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  cmd->add_option("--power", o->analysis.power,
                  "Dimensions are scaled by their singular value to this power: 0 canonical variates, 0.5 posterior means of probabilistic CCA, 1 predictions")
      ->capture_default_str()
      ->check(at_least(0));
  o->input.declare(*cmd);
  session.common(*cmd, Session::seed | Session::blas);
  cmd->callback([o, &session] { run(*o, session); });
}

}  // namespace panvae::tools
