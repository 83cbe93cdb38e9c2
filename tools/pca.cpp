// panvae pca: principal components, the baseline of every embedding.
#include "eval/pca.h"

#include <chrono>
#include <numeric>

#include "base/log.h"
#include "base/memory.h"
#include "data/matrix_path.h"
#include "data/read.h"
#include "data/write.h"
#include "eval/wide_pca.h"
#include "tools/at_least.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/memory_option.h"

namespace panvae::tools {

namespace {

struct Options {
  DatasetOptions dataset;
  MemoryOption memory;
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
  json["peak_memory_bytes"] = peak_resident_bytes();
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
  facts.row({"memory at its peak", human_bytes(json["peak_memory_bytes"].get<int64_t>())});
  TextTable table({"component", "variance", "share %", "together %"});
  const Eigen::VectorXd ratio = m.explained_ratio(), variance = m.explained_variance();
  double together = 0;
  for (int64_t i = 0; i < std::min(kShown, m.count()); ++i) {
    together += ratio[i];
    table.row({fmt::format("PC{}", i + 1), fmt::format("{:.4g}", variance[i]), fmt::format("{:.2f}", 100 * ratio[i]), fmt::format("{:.2f}", 100 * together)});
  }
  return facts.str() + "\n" + table.str();
}

// Fitted on `rows`, whole or in strips, and applied to every sample.
template <class Matrix>
eval::WidePca fitted(const Matrix& x, const std::vector<int64_t>& rows, const Options& o, const eval::PcaOptions& pca) {
  const bool strips = o.method == "strips" || (o.method == "auto" && eval::is_wide(x.rows(), x.cols()));
  if (strips) {
    if (static_cast<int64_t>(rows.size()) > x.cols())
      fail_usage(fmt::format("strips are for fewer training samples than features, here are {} and {}", rows.size(), x.cols()), "--method", "say auto");
    return eval::fit_wide_pca(x, rows, pca);
  }
  eval::WidePca out;
  const auto whole = [&](const auto& matrix) {
    auto [model, scores] = eval::fit_transform_pca(matrix, rows, pca);
    out.model = std::move(model);
    out.scores = std::move(scores);
  };
  if constexpr (std::is_same_v<Matrix, data::LargeMatrix<float>>) {
    log::warning("only a matrix with many more features than samples is fitted in strips: this one is held in memory all the same");
    data::RowMatrix<float> copy(x.rows(), x.cols());
    for (int64_t r = 0; r < x.rows(); ++r) copy.row(r) = x.row(r);
    x.release(0, x.rows());
    whole(copy);
  } else {
    whole(x);
  }
  return out;
}

template <class T, class Matrix>
void run_on(data::Dataset<T, Matrix> in, const Options& o, const Session& session) {
  log::info("{}: {} samples x {} features", o.in, in.samples(), in.features());
  if (in.kind == "counts") log::warning("the matrix holds counts: components of raw counts follow library sizes; 'panvae preprocess' first");
  std::vector<int64_t> rows;
  if (o.fit_on == "train") {
    rows = data::training_rows(in.obs);
    if (!in.obs.find("split")) log::info("no column split: fitted on all samples");
  } else {
    rows = data::all_rows(in.samples());
  }
  eval::PcaOptions options;
  options.components = o.components;
  options.seed = session.globals.seed;
  if (o.method == "exact") options.method = eval::PcaOptions::Method::exact;
  if (o.method == "randomised") options.method = eval::PcaOptions::Method::randomised;
  const auto start = std::chrono::steady_clock::now();
  const eval::WidePca pca = fitted(in.x, rows, o, options);
  const eval::PcaModel& model = pca.model;
  const data::RowMatrix<double>& scores = pca.scores;
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
  // Components that were never held are made once more, a strip at a time.
  data::LargeArray components{"pca_components", model.count(), in.features(), [&](const auto& add) { eval::for_components(pca, in.x, add); }};
  data::write_dataset(o.out, out, data::Storage::same, o.store_components && model.components.size() == 0 ? &components : nullptr);
  const Json json = result_json(model, o, out.samples(), seconds);
  session.emit(result_text(model, json) + "\nwritten: " + o.out + "\n", json);
}

void run(const Options& o, const Session& session) {
  const data::ReadOptions read = o.dataset.read();
  // h5ad holds float32 as a rule, and may be large; text is read to its last digit.
  const bool h5ad = data::parse_matrix_path(o.in).format == data::MatrixPath::Format::h5ad, fills = read.missing == data::Missing::mean;
  const double allowed = o.memory.allowed(), copies = h5ad ? 1.1 : 2.2, needed = copies * data::matrix_bytes(o.in, allowed / copies) + (128 << 20);
  if (needed > allowed && (fills || !h5ad))
    log::warning("{}: {} needed in memory, {} allowed: it is held there all the same, {}", o.in, human_bytes(static_cast<int64_t>(needed)),
                 human_bytes(static_cast<int64_t>(allowed)),
                 fills ? "to fill what is missing ('panvae preprocess' fills it on disk)" : "as text is ('panvae convert' makes an .h5ad of it)");
  if (!h5ad) return run_on(data::read_dataset<double>(o.in, read), o, session);
  if (needed <= allowed || fills) return run_on(data::read_dataset<float>(o.in, read), o, session);
  run_on(data::read_large_dataset(o.in, read, temporary_folder(o.in, o.out, needed, allowed)), o, session);
}

}  // namespace

void add_pca(CLI::App& root, Session& session) {
  CLI::App* cmd = add_command(
      root, "pca", "Principal components of a preprocessed matrix, fitted on the training samples and applied to all: the baseline of every embedding",
      "panvae simulate -o sim --donors 200 --genes 500 && panvae preprocess -o sim/rna_pp.h5ad sim/rna.h5ad --modality rna && panvae pca -o sim/pca.h5ad "
      "sim/rna_pp.h5ad");
  auto o = std::make_shared<Options>();
  cmd->add_option("IN", o->in, "Matrix, samples in rows: preprocessed logs")->required();
  session.writes(cmd->add_option("-o,--output", o->out, "Embedding to write: scores, float32 (.h5ad, .tsv, .csv; .gz)"))->required()->type_name("OUT");
  cmd->add_option("--components", o->components, "At most so many components; no more than training samples less one")
      ->capture_default_str()
      ->check(at_least(1));
  cmd->add_option("--fit-on", o->fit_on, "Samples that means and components come from: those with split = train (all, without such a column), or all")
      ->check(CLI::IsMember({"train", "all"}))
      ->capture_default_str();
  cmd->add_option("--method", o->method,
                  "exact; strips: exact to 9 digits, for many more features than samples, in strips of features with little memory; randomised; auto: strips "
                  "where the matrix is large and has 8 times as many features as samples, else exact while its smaller side is at most 8192")
      ->check(CLI::IsMember({"auto", "exact", "strips", "randomised"}))
      ->capture_default_str();
  cmd->add_flag("--store-components", o->store_components, "Keep means and components in uns/panvae of an .h5ad, for reconstruction and for new samples");
  o->memory.declare(*cmd);
  o->dataset.declare(*cmd);
  session.common(*cmd, Session::seed | Session::blas);
  cmd->callback([o, &session] {
    session.begin();
    data::check_output(o->out);
    if (o->store_components && !o->out.ends_with(".h5ad")) fail_usage("text cannot hold the components", "--store-components", "write the embedding as .h5ad");
    run(*o, session);
  });
}

}  // namespace panvae::tools
