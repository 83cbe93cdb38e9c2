// panvae info: the build and the devices of this machine; or what a file or a run holds.
#include <sys/stat.h>

#include "base/blas.h"
#include "base/memory.h"
#include "base/threads.h"
#include "data/describe.h"
#include "engine/context.h"
#include "kernels/device.h"
#include "tools/commands.h"
#include "tools/dataset_options.h"
#include "tools/run_folder.h"
#include "tools/version.h"

namespace panvae::tools {

namespace {

void info(const Session& session) {
  session.begin();
  const Backend& cuda = cuda_backend();
  Json json = {{"version", version_short()}, {"cuda_toolkit", cuda_toolkit_version()},      {"blas", blas_description()},
               {"threads", threads()},       {"available_memory_bytes", available_bytes()}, {"devices", Json::array()}};
  TextTable t({"panvae", version_short()});
  t.row({"CUDA", cuda_toolkit_version().empty() ? "not compiled in" : "toolkit " + cuda_toolkit_version()});
  t.row({"BLAS", blas_description()});
  t.row({"cpu", fmt::format("{} thread{}, {} of memory available", threads(), threads() == 1 ? "" : "s", human_bytes(available_bytes()))});
  json["devices"].push_back({{"name", "cpu"}, {"threads", threads()}});
  for (int i = 0; i < cuda.device_count(); ++i) {
    const DeviceProperties p = cuda.properties(i);
    t.row({fmt::format("cuda:{}", i),
           fmt::format("{}, {}, compute capability {}.{}", p.name, human_bytes(p.memory_bytes), p.compute_capability / 10, p.compute_capability % 10)});
    json["devices"].push_back(
        {{"name", fmt::format("cuda:{}", i)}, {"model", p.name}, {"memory_bytes", p.memory_bytes}, {"compute_capability", p.compute_capability}});
  }
  if (cuda.device_count() == 0) t.row({"cuda", "no device: " + cuda.why_unusable()});
  session.emit(t.str(), json);
}

Json describe(const Run& run, TextTable& t) {
  Json json = {{"kind", "run"},
               {"model", run.model->kind()},
               {"modality", run.config.modality},
               {"network", run.model->network()},
               {"features", run.features.size()},
               {"latent", run.model->latent()},
               {"parameters", run.model->parameter_count()},
               {"informative_axes", run.axes.informative},
               {"preprocessing", run.preprocess.empty() ? Json(nullptr) : Json(run.preprocess.settings)},
               {"provenance", run.provenance}};
  if (run.config.is_dense()) {
    json["hidden"] = run.config.dense.hidden;
    json["activation"] = run.config.dense.activation;
  }
  json["provenance"].erase("donors_seen");
  t.row({"model", run.model->kind()});
  t.row({"network", run.model->network()});
  t.row({"parameters", std::to_string(run.model->parameter_count())});
  t.row({"informative axes", fmt::format("{} of {}", run.axes.informative, run.model->latent())});
  t.row({"new samples", run.preprocess.empty() ? "preprocessed as the training matrix was" : "raw counts or logs go through the frozen preprocessing"});
  for (const auto& [key, value] : json["provenance"].items()) t.row({key, value.is_string() ? value.get<std::string>() : value.dump()});
  return json;
}

void info_of_run(const std::string& folder, const Session& session) {
  session.begin();
  Context context;
  if (!is_coembedding(folder)) {
    TextTable t({"run", folder});
    const Json json = describe(load_run(context, folder), t);
    return session.emit(t.str(), json);
  }
  Json json = {{"kind", "run"}, {"model", "coembedding"}};
  std::string text;
  for (const std::string modality : {"rna", "atac"}) {
    TextTable t({"co-embedding, " + std::string(modality == "rna" ? "RNA" : "ATAC"), folder});
    json[modality] = describe(load_run(context, folder, modality), t);
    text += (text.empty() ? "" : "\n") + t.str();
  }
  session.emit(text, json);
}

void info_of_file(const std::string& path, data::Rows rows, const Session& session) {
  session.begin();
  const data::FileSummary summary = data::describe_file(path, rows);
  session.emit(data::to_text(summary), data::to_json(summary));
}

}  // namespace

void add_info(CLI::App& root, Session& session) {
  CLI::App* cmd = add_command(root, "info", "The build and the devices; or what a file holds", "panvae info");
  auto file = std::make_shared<std::string>();
  cmd->add_option("FILE", *file, "A matrix, or the folder of a run");
  auto rows = std::make_shared<RowsOption>();
  rows->declare(*cmd);
  session.common(*cmd);
  cmd->callback([file, rows, &session] {
    struct stat st {};
    if (file->empty()) info(session);
    else if (::stat((*file + "/model.safetensors").c_str(), &st) == 0) info_of_run(*file, session);
    else info_of_file(*file, rows->value(), session);
  });
}

}  // namespace panvae::tools
