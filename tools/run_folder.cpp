#include "tools/run_folder.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "base/file.h"
#include "base/log.h"
#include "base/read_json.h"
#include "base/threads.h"
#include "engine/checkpoint.h"
#include "engine/tape.h"
#include "tools/version.h"

namespace panvae::tools {

namespace {
constexpr float kClip = 10;  // SPEC D6
}

FeatureScale FeatureScale::fit(const data::RowMatrix<float>& x, const std::vector<int64_t>& rows, const std::string& scale) {
  FeatureScale s;
  const size_t p = static_cast<size_t>(x.cols());
  s.mean.assign(p, 0.0f);
  s.sd.assign(p, 1.0f);
  s.clip = scale == "z";
  if (!s.clip) return s;
  const double n = static_cast<double>(rows.size());
  parallel_chunks(x.cols(), 256, [&](int64_t begin, int64_t end) {
    std::vector<double> sum(static_cast<size_t>(end - begin)), squares(sum.size());
    for (int64_t r : rows)
      for (int64_t c = begin; c < end; ++c) sum[static_cast<size_t>(c - begin)] += x(r, c);
    for (double& v : sum) v /= n;
    for (int64_t r : rows)
      for (int64_t c = begin; c < end; ++c) {
        const double d = x(r, c) - sum[static_cast<size_t>(c - begin)];
        squares[static_cast<size_t>(c - begin)] += d * d;
      }
    for (int64_t c = begin; c < end; ++c) {
      const double sd = std::sqrt(squares[static_cast<size_t>(c - begin)] / std::max(1.0, n - 1));
      s.mean[static_cast<size_t>(c)] = static_cast<float>(sum[static_cast<size_t>(c - begin)]);
      s.sd[static_cast<size_t>(c)] = sd > 1e-8 ? static_cast<float>(sd) : 1.0f;
    }
  });
  return s;
}

void FeatureScale::apply(data::RowMatrix<float>& x) const {
  parallel_chunks(x.rows(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < x.cols(); ++c) {
        const float z = (x(r, c) - mean[static_cast<size_t>(c)]) / sd[static_cast<size_t>(c)];
        x(r, c) = clip ? std::clamp(z, -kClip, kClip) : z;
      }
  });
}

std::unique_ptr<TrainedModel> make_model(Context& context, const RunConfig& config, int64_t features, uint64_t seed) {
  if (config.is_dense()) {
    const std::string kind = config.modality == "rna" ? "rna vae" : "atac dense vae";
    return std::make_unique<DenseModel>(context, config.dense_shape(features), seed, kind);
  }
  return std::make_unique<AtacNetworks>(context, config.atac_shape(features), seed);
}

namespace {

data::RowMatrix<double> as_matrix(const std::vector<float>& values, int64_t columns) {
  return Eigen::Map<const data::RowMatrix<float>>(values.data(), static_cast<int64_t>(values.size()) / columns, columns).cast<double>();
}

}  // namespace

eval::LatentAxes fit_axes(Context& context, TrainedModel& model, const data::RowMatrix<float>& scaled, const std::vector<int64_t>& rows) {
  constexpr int64_t kFloats = int64_t{1} << 26;  // of samples that are copied together
  const int64_t n = static_cast<int64_t>(rows.size());
  const int64_t at_once = std::max<int64_t>(1, kFloats / std::max<int64_t>(1, scaled.cols()));
  Posteriors q;
  for (int64_t first = 0; first < n; first += at_once) {
    data::RowMatrix<float> some(std::min(at_once, n - first), scaled.cols());
    for (int64_t i = 0; i < some.rows(); ++i) some.row(i) = scaled.row(rows[static_cast<size_t>(first + i)]);
    const Posteriors part = model.posteriors(context, some.data(), some.rows(), true);
    q.mean.insert(q.mean.end(), part.mean.begin(), part.mean.end());
    q.logvar.insert(q.logvar.end(), part.logvar.begin(), part.logvar.end());
  }
  return fit_axes(context, model, q);
}

eval::LatentAxes fit_axes(Context& context, TrainedModel& model, const Posteriors& q) {
  const int64_t latent = model.latent(), n = static_cast<int64_t>(q.mean.size()) / latent;
  Eigen::VectorXd variance = Eigen::VectorXd::Zero(latent);
  for (size_t i = 0; i < q.logvar.size(); ++i)
    variance[static_cast<int64_t>(i) % latent] += std::exp(std::clamp(static_cast<double>(q.logvar[i]), kLogvarMin, kLogvarMax)) / static_cast<double>(n);
  data::RowMatrix<double> g = as_matrix(model.decoder_metric(context, q.mean), latent);
  g = 0.5 * (g + g.transpose().eval());
  eval::LatentAxes axes = eval::fit_latent_axes(as_matrix(q.mean, latent), variance, g);
  if (axes.informative == 0)
    log::warning(
        "{}: no axis of its {} latents varies more over the training samples than the posterior of one sample does: train longer or at a higher "
        "train.learning_rate, or, where the KL divergence has pressed all latents flat (posterior collapse), lower loss.kl_weight",
        model.kind(), latent);
  return axes;
}

namespace {

constexpr const char* kCoembedding = "panvae coembedding";

std::string as_text(const Json& j) {
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Everything of a run; `prefix` stands before the names.
void add_run(TensorWriter& w, const Run& run, const std::string& prefix) {
  run.model->add_to(w, prefix);
  const int64_t p = static_cast<int64_t>(run.features.size()), z = run.model->latent();
  w.file.add(prefix + "scale.mean", "F32", {p}, run.scale.mean.data());
  w.file.add(prefix + "scale.sd", "F32", {p}, run.scale.sd.data());
  w.file.add(prefix + "axes.center", "F64", {z}, run.axes.center.data());
  w.file.add(prefix + "axes.map", "F64", {z, z}, run.axes.map.data());
  data::save_frozen(w.file, run.preprocess, prefix);
  w.file.metadata(prefix + "kind", "panvae " + run.model->kind());
  w.file.metadata(prefix + "config", run.config.toml());
  w.file.metadata(prefix + "features", as_text(run.features));
  w.file.metadata(prefix + "axes", Json{{"informative", run.axes.informative}, {"kept", run.axes.kept}, {"leading", run.axes.leading}}.dump());
  w.file.metadata(prefix + "scale", run.scale.clip ? "z" : "none");
  w.file.metadata(prefix + "provenance", as_text(run.provenance));
}

std::string modality_of(const std::string& kind) {
  return kind == "panvae rna vae" ? "rna" : kind == "panvae atac vae" || kind == "panvae atac dense vae" ? "atac" : "";
}

class ModelFile {
 public:
  explicit ModelFile(const std::string& folder) : path_(model_path(folder)), file_(path_) {
    if (kind() != kCoembedding && modality_of(kind()).empty()) fail_input("not a model of panvae: its kind is " + quoted(kind()), quoted(path_, 400));
  }
  std::string kind() const { return text("kind"); }
  bool is_coembedding() const { return kind() == kCoembedding; }
  Run run(Context& context, const std::string& prefix) const;
  RunConfig config() const {
    RunConfig c("coembed");
    read_config(c, "config");
    return c;
  }

 private:
  static std::string model_path(const std::string& folder) {
    const std::string path = folder + "/model.safetensors";
    if (!exists(path))
      fail_input("no trained model", quoted(folder, 400), "give the folder that 'panvae train' wrote; an interrupted run is finished with --resume");
    return path;
  }
  std::string text(const std::string& key) const {
    auto it = file_.metadata().find(key);
    if (it == file_.metadata().end())
      fail_input(fmt::format("metadata '{}' is missing", key), quoted(path_, 400), "the file was not written by 'panvae train'");
    return it->second;
  }
  [[noreturn]] void broken(const std::string& key, const std::string& what = {}) const {
    fail_input(fmt::format("metadata '{}' is broken{}", key, what.empty() ? "" : ": " + what), quoted(path_, 400), "train the model again");
  }
  // The JSON of this key, which `convert` makes something of; JSON of another kind is damage of the file.
  template <class F>
  auto json(const std::string& key, F&& convert) const {
    const Json j = parse_json(text(key));
    if (j.is_discarded()) broken(key);
    try {
      return convert(j);
    } catch (const Json::exception& e) {
      broken(key, quoted(e.what()));
    }
  }
  // Nobody wrote this configuration by hand: what is wrong with it is damage of the file, too.
  void read_config(RunConfig& config, const std::string& key) const {
    try {
      config.read_toml_text(text(key), path_);
    } catch (const Error& e) {
      broken(key, e.message());
    }
  }

  std::string path_;
  SafetensorsReader file_;
};

Run ModelFile::run(Context& context, const std::string& prefix) const {
  Run run;
  run.coembedded = !prefix.empty();
  const std::string of = modality_of(text(prefix + "kind"));
  if (of.empty()) broken(prefix + "kind");
  run.config = RunConfig(of);
  read_config(run.config, prefix + "config");
  run.preprocess = data::load_frozen(file_, prefix);
  run.features = json(prefix + "features", [](const Json& j) { return j.get<std::vector<std::string>>(); });
  run.provenance = json(prefix + "provenance", [](const Json& j) { return j; });
  if (!run.provenance.is_object()) broken(prefix + "provenance");
  const int64_t p = static_cast<int64_t>(run.features.size());
  run.config.resolve(p);
  run.model = make_model(context, run.config, p, 0);
  const int64_t z = run.model->latent();
  auto floats = [&](const char* name) {
    const std::vector<double> v = file_.doubles(prefix + name);
    return std::vector<float>(v.begin(), v.end());
  };
  run.scale.mean = floats("scale.mean");
  run.scale.sd = floats("scale.sd");
  run.scale.clip = text(prefix + "scale") == "z";
  if (!run.scale.clip && text(prefix + "scale") != "none") broken(prefix + "scale");
  const std::vector<double> center = file_.doubles(prefix + "axes.center"), map = file_.doubles(prefix + "axes.map");
  if (static_cast<int64_t>(run.scale.mean.size()) != p || static_cast<int64_t>(run.scale.sd.size()) != p || static_cast<int64_t>(center.size()) != z ||
      static_cast<int64_t>(map.size()) != z * z)
    fail_input("tensors of the wrong size", quoted(path_, 400), "the file is damaged: train the model again");
  run.axes.center = Eigen::Map<const Eigen::VectorXd>(center.data(), z);
  run.axes.map = Eigen::Map<const data::RowMatrix<double>>(map.data(), z, z);
  std::tie(run.axes.kept, run.axes.informative, run.axes.leading) = json(prefix + "axes", [](const Json& j) {
    const auto kept = j.value("kept", int64_t{0});
    return std::tuple(kept, j.value("informative", kept), j.value("leading", int64_t{0}));
  });
  for (const int64_t n : {run.axes.kept, run.axes.informative, run.axes.leading})
    if (n < 0 || n > z) broken(prefix + "axes", fmt::format("{} of {} dimensions", n, z));
  run.model->read_from(file_, prefix);
  return run;
}

}  // namespace

void write_model(const std::string& path, const Run& run) {
  TensorWriter w;
  add_run(w, run, "");
  w.file.write(path);
}

void write_coembedding(const std::string& path, const Run& rna, const Run& atac, const RunConfig& config, const Json& provenance) {
  TensorWriter w;
  add_run(w, rna, "rna.");
  add_run(w, atac, "atac.");
  w.file.metadata("kind", kCoembedding);
  w.file.metadata("config", config.toml());
  w.file.metadata("provenance", as_text(provenance));
  w.file.write(path);
}

bool is_coembedding(const std::string& folder) {
  return ModelFile(folder).is_coembedding();
}

RunConfig coembedding_config(const std::string& folder) {
  const ModelFile file(folder);
  if (!file.is_coembedding()) fail_input("not a co-embedding", quoted(folder, 400), "give the folder of 'panvae train coembed'");
  return file.config();
}

Run load_run(Context& context, const std::string& folder, const std::string& modality, const std::string& option) {
  const ModelFile file(folder);
  if (file.is_coembedding()) {
    if (modality.empty())
      fail_usage("the run is a co-embedding of RNA and ATAC", quoted(folder, 400), fmt::format("say which: {} rna or {} atac", option, option));
    return file.run(context, modality + ".");
  }
  const std::string of = modality_of(file.kind());
  if (!modality.empty() && modality != of) {
    const bool names_run = option == "--" + modality;
    fail_usage(fmt::format("the run is a model of {}, not of {}", of, modality), fmt::format("{} {}", option, names_run ? quoted(folder, 400) : modality),
               names_run ? fmt::format("name a run of 'panvae train {}'", modality) : "leave it out, or name another run");
  }
  return file.run(context, "");
}

}  // namespace panvae::tools
