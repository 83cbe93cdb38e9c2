// panvae pca: principal components, the baseline of every embedding.
#include "eval/pca.h"

#include <chrono>
#include <numeric>

#include "base/log.h"
#include "data/write.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  std::string in, out, fit_on = "train", method = "auto";
  int64_t components = 512;
  bool store_components = false;
};

constexpr int64_t kShown = 10;

Json result_json(const eval::PcaModel& m, const Options& o, int64_t samples, double seconds) {
  const Eigen::VectorXd ratio = m.explained_ratio(), variance = m.explained_variance();
  const int64_t shown = std::min(kShown, m.count());
  Json json;
  json["n"] = samples;
  json["samples"] = samples;
  json["features"] = m.mean.size();
  json["components"] = m.count();
  json["fit_on"] = o.fit_on;
  json["fitted_samples"] = m.fitted_on;
  json["method"] = m.method;
  json["total_variance"] = m.total_variance;
  json["explained_variance_ratio_total"] = std::accumulate(ratio.begin(), ratio.end(), 0.0);
  json["explained_variance_ratio"] = std::vector<double>(ratio.begin(), ratio.begin() + shown);
  json["explained_variance"] = std::vector<double>(variance.begin(), variance.begin() + shown);
  json["seconds"] = seconds;
  json["output"] = o.out;
  return json;
}

std::string result_text(const eval::PcaModel& m, const Json& json) {
  TextTable facts({"principal components", ""});
  facts.row({"samples", json["samples"].dump()});
  facts.row({"fitted on", fmt::format("{} ({})", m.fitted_on, json["fit_on"].get<std::string>())});
  facts.row({"features", json["features"].dump()});
  facts.row({"components", json["components"].dump()});
  facts.row({"variance explained", fmt::format("{:.2f} %", 100 * json["explained_variance_ratio_total"].get<double>())});
  facts.row({"method", m.method});
  facts.row({"time", human_seconds(json["seconds"].get<double>())});
  TextTable table({"component", "variance", "share %", "together %"});
  const Eigen::VectorXd ratio = m.explained_ratio(), variance = m.explained_variance();
  double together = 0;
  for (int64_t i = 0; i < std::min(kShown, m.count()); ++i) {
    together += ratio[i];
    table.row({fmt::format("PC{}", i + 1), fmt::format("{:.4g}", variance[i]), fmt::format("{:.2f}", 100 * ratio[i]), fmt::format("{:.2f}", 100 * together)});
  }
  return facts.str() + "\n" + table.str();
}

template <class T>
void run_as(const Options& o, const Session& session) {
  data::Dataset<T> in = data::read_dataset<T>(o.in, o.dataset.read());
  log::info("{}: {} samples x {} features", o.in, in.samples(), in.features());
  if (in.kind == "counts") log::warning("the matrix holds counts: components of raw counts follow library sizes; 'panvae preprocess' first");
  std::vector<int64_t> rows;
  if (o.fit_on == "train") {
    rows = data::training_rows(in.obs);
    if (!in.obs.find("split")) log::info("no column split: fitted on all samples");
  } else {
    rows.resize(static_cast<size_t>(in.samples()));
    std::iota(rows.begin(), rows.end(), int64_t{0});
  }
  eval::PcaOptions pca;
  pca.components = o.components;
  pca.seed = session.globals.seed;
  if (o.method == "exact") pca.method = eval::PcaOptions::Method::exact;
  if (o.method == "randomised") pca.method = eval::PcaOptions::Method::randomised;
  const auto start = std::chrono::steady_clock::now();
  const eval::PcaModel model = eval::fit_pca(in.x, rows, pca);
  const data::RowMatrix<double> scores = eval::transform(model, in.x);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (model.count() < o.components)
    log::info("{} components, not {}: {} training samples and {} features have no more", model.count(), o.components, rows.size(), in.features());

  data::Dataset<float> out;
  out.x = scores.cast<float>();
  out.obs = std::move(in.obs);
  out.kind = "embedding";
  for (int64_t i = 0; i < model.count(); ++i) out.var.keys.push_back(fmt::format("PC{}", i + 1));
  const Eigen::VectorXd variance = model.explained_variance(), ratio = model.explained_ratio();
  for (const auto& [name, values] : {std::pair{"explained_variance", &variance}, std::pair{"explained_variance_ratio", &ratio}}) {
    data::Column c;
    c.name = name;
    c.numeric = true;
    c.number.assign(values->begin(), values->end());
    out.var.set(std::move(c));
  }
  data::Frozen frozen = eval::freeze(model, in.var.keys);
  out.frozen.settings = std::move(frozen.settings);
  out.frozen.settings["kind"] = "embedding";
  out.frozen.settings["pca"]["fit_on"] = o.fit_on;
  if (o.store_components) {
    out.frozen.arrays = std::move(frozen.arrays);
    out.frozen.features = std::move(frozen.features);
  }
  data::write_dataset(o.out, out);
  const Json json = result_json(model, o, out.samples(), seconds);
  session.emit(result_text(model, json) + "\nwritten: " + o.out + "\n", json);
}

}  // namespace

void add_pca(CLI::App& root, Session& session) {
  CLI::App* cmd = add_command(
      root, "pca", "Principal components of a preprocessed matrix, fitted on the training samples and applied to all: the baseline of every embedding",
      "panvae simulate -o sim --donors 200 --genes 500 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && panvae pca -o sim/pca.h5ad "
      "sim/rna_pp.h5ad");
  auto o = std::make_shared<Options>();
  cmd->add_option("IN", o->in, "Matrix, samples in rows: preprocessed logs")->required();
  cmd->add_option("-o,--output", o->out, "Embedding to write: scores, float32 (.h5ad, .tsv, .csv; .gz)")->required()->type_name("OUT");
  cmd->add_option("--components", o->components, "At most so many components; no more than training samples less one")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  cmd->add_option("--fit-on", o->fit_on, "Samples that means and components come from: those with split = train (all, without such a column), or all")
      ->check(CLI::IsMember({"train", "all"}))
      ->capture_default_str();
  cmd->add_option("--method", o->method, "exact, randomised, or auto: exact while the smaller side of the matrix is at most 8192")
      ->check(CLI::IsMember({"auto", "exact", "randomised"}))
      ->capture_default_str();
  cmd->add_flag("--store-components", o->store_components, "Keep means and components in uns/panvae of an .h5ad, for reconstruction and for new samples");
  o->dataset.declare(*cmd);
  session.common(*cmd, Session::seed);
  cmd->callback([o, &session] {
    session.begin();
    data::check_writable_name(o->out);
    if (o->store_components && !o->out.ends_with(".h5ad")) fail_usage("text cannot hold the components", "--store-components", "write the embedding as .h5ad");
    // h5ad holds float32 as a rule, and may be large; text is read to its last digit.
    if (o->in.find(".h5ad") != std::string::npos) run_as<float>(*o, session);
    else run_as<double>(*o, session);
  });
}

}  // namespace panvae::tools
