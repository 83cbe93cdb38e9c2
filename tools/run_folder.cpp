#include "tools/run_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>

#include "base/log.h"
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

void FeatureScale::invert(data::RowMatrix<float>& x) const {
  parallel_chunks(x.rows(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < x.cols(); ++c) x(r, c) = x(r, c) * sd[static_cast<size_t>(c)] + mean[static_cast<size_t>(c)];
  });
}

bool exists(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0;
}

RnaVaeShape shape_of(const RunConfig& config, int64_t features) {
  const Fusable activation = config.activation == "relu"         ? Fusable{Activation::relu, 0}
                             : config.activation == "leaky_relu" ? Fusable{Activation::leaky_relu, 0.01}
                                                                 : Fusable{};
  return {features, config.hidden, config.latent, activation};
}

data::Dataset<float> read_for_run(const Run& run, const std::string& path, const data::ReadOptions& options, const std::string& input) {
  data::ReadOptions reading = options;
  if (reading.missing == data::Missing::mean) reading.missing = data::Missing::keep;  // filled with the run's training means
  data::Dataset<double> in = data::read_dataset<double>(path, reading);
  const bool has_preprocessing = !run.preprocess.empty();
  std::string how = input;
  if (how.empty()) {
    // A file that preprocess wrote is recognised by its frozen steps; anything else by its numbers.
    if (!in.frozen.empty() && in.kind != "counts") how = "processed";
    else if (in.kind == "counts") how = "counts";
    else how = has_preprocessing && data::Preprocessor::from(run.preprocess).input_is_log() ? "log" : "processed";
    log::info("{} is taken as {} (--input says otherwise)", quoted(path, 200), how);
  }
  if (how != "processed") {
    if (!has_preprocessing)
      fail_input("the run holds no preprocessing, so it cannot take " + how, quoted(path, 400),
                 "preprocess the samples as the training matrix was, and say --input processed");
    const data::Preprocessor p = data::Preprocessor::from(run.preprocess);
    if ((how == "log") != p.input_is_log())
      fail_input(fmt::format("the run was preprocessed from {}, not from {}", p.input_is_log() ? "logs" : "counts", how), quoted(path, 400),
                 "give it the same kind of input");
    const data::PreprocessReport report = p.apply(in);
    if (report.coverage < 1)
      log::warning("{:.1f} % of the model's features are in {}; the others take their training mean", 100 * report.coverage, quoted(path, 200));
  } else if (has_preprocessing) {
    const data::PreprocessReport report = data::Preprocessor::from(run.preprocess).align(in);
    if (report.coverage < 1)
      log::warning("{:.1f} % of the model's features are in {}; the others take their training mean", 100 * report.coverage, quoted(path, 200));
  } else if (in.var.keys != run.features) {
    fail_input("its features are not those of the run, in the same order", quoted(path, 400), "give it the features the run was trained on");
  }
  data::Dataset<float> out;
  out.x = in.x.cast<float>();
  in.x.resize(0, 0);
  out.obs = std::move(in.obs);
  out.var = std::move(in.var);
  out.frozen = run.preprocess;
  out.kind = in.kind;
  out.path = path;
  run.scale.apply(out.x);
  return out;
}

namespace {

data::RowMatrix<double> as_matrix(const std::vector<float>& values, int64_t columns) {
  return Eigen::Map<const data::RowMatrix<float>>(values.data(), static_cast<int64_t>(values.size()) / columns, columns).cast<double>();
}

}  // namespace

data::RowMatrix<float> embedding_of(Context& context, const Run& run, const data::Dataset<float>& in, bool canonical) {
  MatrixSource source(context, in.x.data(), in.samples(), in.features());
  const Posteriors q = posteriors(context, *run.model, source);
  data::RowMatrix<float> z = Eigen::Map<const data::RowMatrix<float>>(q.mean.data(), in.samples(), run.config.latent);
  if (canonical)
    for (int64_t r = 0; r < z.rows(); ++r) z.row(r) = ((z.row(r).cast<double>() - run.axes.center.transpose()) * run.axes.map).cast<float>();
  return z;
}

data::RowMatrix<float> reconstruction_of(Context& context, const Run& run, const data::Dataset<float>& in) {
  MatrixSource source(context, in.x.data(), in.samples(), in.features());
  const std::vector<float> values = reconstructions(context, *run.model, source);
  data::RowMatrix<float> x = Eigen::Map<const data::RowMatrix<float>>(values.data(), in.samples(), in.features());
  run.scale.invert(x);
  return x;
}

eval::LatentAxes fit_axes(Context& context, RnaVae& model, const data::RowMatrix<float>& scaled, const std::vector<int64_t>& rows) {
  data::RowMatrix<float> training(static_cast<int64_t>(rows.size()), scaled.cols());
  for (size_t i = 0; i < rows.size(); ++i) training.row(static_cast<int64_t>(i)) = scaled.row(rows[i]);
  MatrixSource source(context, training.data(), training.rows(), training.cols());
  const int64_t latent = model.shape().latent;
  const Posteriors q = posteriors(context, model, source, true);
  Eigen::VectorXd variance = Eigen::VectorXd::Zero(latent);
  for (size_t i = 0; i < q.logvar.size(); ++i)
    variance[static_cast<int64_t>(i) % latent] +=
        std::exp(std::clamp(static_cast<double>(q.logvar[i]), kLogvarMin, kLogvarMax)) / static_cast<double>(rows.size());
  const Tensor means = Tensor::from(context, {static_cast<int64_t>(rows.size()), latent}, q.mean);
  const std::vector<float> metric = model.decoder_metric(means).host<float>();
  data::RowMatrix<double> g = as_matrix(metric, latent);
  g = 0.5 * (g + g.transpose().eval());
  return eval::fit_latent_axes(as_matrix(q.mean, latent), variance, g);
}

void write_model(const std::string& path, const Run& run) {
  TensorWriter w;
  w.add(*run.state, "model.");
  const int64_t p = static_cast<int64_t>(run.features.size()), z = run.config.latent;
  w.file.add("scale.mean", "F32", {p}, run.scale.mean.data());
  w.file.add("scale.sd", "F32", {p}, run.scale.sd.data());
  w.file.add("axes.center", "F64", {z}, run.axes.center.data());
  w.file.add("axes.map", "F64", {z, z}, run.axes.map.data());
  data::save_frozen(w.file, run.preprocess);
  w.file.metadata("kind", "panvae rna vae");
  w.file.metadata("config", run.config.toml());
  w.file.metadata("features", Json(run.features).dump(-1, ' ', false, Json::error_handler_t::replace));
  w.file.metadata("axes", Json{{"kept", run.axes.kept}, {"leading", run.axes.leading}}.dump());
  w.file.metadata("scale", run.scale.clip ? "z" : "none");
  w.file.metadata("provenance", run.provenance.dump(-1, ' ', false, Json::error_handler_t::replace));
  w.file.write(path);
}

Run load_run(Context& context, const std::string& folder) {
  const std::string path = folder + "/model.safetensors";
  if (!exists(path))
    fail_input("no trained model", quoted(folder, 400), "give the folder that 'panvae train' wrote; an interrupted run is finished with --resume");
  const SafetensorsReader file(path);
  auto text = [&](const char* key) {
    auto it = file.metadata().find(key);
    if (it == file.metadata().end()) fail_input(fmt::format("metadata '{}' is missing", key), quoted(path, 400), "the file was not written by 'panvae train'");
    return it->second;
  };
  auto json = [&](const char* key) {
    Json j = Json::parse(text(key), nullptr, false);
    if (j.is_discarded()) fail_input(fmt::format("metadata '{}' is broken", key), quoted(path, 400), "train the model again");
    return j;
  };
  if (text("kind") != "panvae rna vae") fail_input("not a model of panvae: its kind is " + quoted(text("kind")), quoted(path, 400));
  Run run;
  run.config.read_toml_text(text("config"), path);
  run.preprocess = data::load_frozen(file);
  run.features = json("features").get<std::vector<std::string>>();
  run.provenance = json("provenance");
  const int64_t p = static_cast<int64_t>(run.features.size()), z = run.config.latent;
  auto floats = [&](const char* name) {
    const std::vector<double> v = file.doubles(name);
    return std::vector<float>(v.begin(), v.end());
  };
  run.scale.mean = floats("scale.mean");
  run.scale.sd = floats("scale.sd");
  run.scale.clip = text("scale") == "z";
  const std::vector<double> center = file.doubles("axes.center"), map = file.doubles("axes.map");
  if (static_cast<int64_t>(run.scale.mean.size()) != p || static_cast<int64_t>(run.scale.sd.size()) != p || static_cast<int64_t>(center.size()) != z ||
      static_cast<int64_t>(map.size()) != z * z)
    fail_input("tensors of the wrong size", quoted(path, 400), "the file is damaged: train the model again");
  run.axes.center = Eigen::Map<const Eigen::VectorXd>(center.data(), z);
  run.axes.map = Eigen::Map<const data::RowMatrix<double>>(map.data(), z, z);
  const Json axes = json("axes");
  run.axes.kept = axes.value("kept", int64_t{0});
  run.axes.leading = axes.value("leading", int64_t{0});
  run.model = std::make_unique<RnaVae>(shape_of(run.config, p));
  run.state = std::make_unique<ModuleState>(context, *run.model, 0);
  read_state(file, *run.state, "model.");
  return run;
}

}  // namespace panvae::tools
