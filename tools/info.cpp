// panvae info: the build and the devices of this machine.
#include "base/memory.h"
#include "base/threads.h"
#include "kernels/blas.h"
#include "kernels/device.h"
#include "tools/commands.h"
#include "tools/version.h"

namespace panvae::tools {

namespace {

void info(const Session& session) {
  session.begin();
  const Backend& cuda = cuda_backend();
  Json json = {{"version", version_short()}, {"cuda_toolkit", cuda_toolkit_version()}, {"blas", blas_description()}, {"threads", threads()},
               {"available_memory_bytes", available_bytes()}, {"devices", Json::array()}};
  TextTable t({"panvae", version_short()});
  t.row({"CUDA", cuda_toolkit_version().empty() ? "not compiled in" : "toolkit " + cuda_toolkit_version()});
  t.row({"BLAS", blas_description()});
  t.row({"cpu", fmt::format("{} threads, {} of memory available", threads(), human_bytes(available_bytes()))});
  json["devices"].push_back({{"name", "cpu"}, {"threads", threads()}});
  for (int i = 0; i < cuda.device_count(); ++i) {
    const DeviceProperties p = cuda.properties(i);
    t.row({fmt::format("cuda:{}", i), fmt::format("{}, {}, compute capability {}.{}", p.name, human_bytes(p.memory_bytes), p.compute_capability / 10, p.compute_capability % 10)});
    json["devices"].push_back({{"name", fmt::format("cuda:{}", i)}, {"model", p.name}, {"memory_bytes", p.memory_bytes}, {"compute_capability", p.compute_capability}});
  }
  if (cuda.device_count() == 0) t.row({"cuda", "no device: " + cuda.why_unusable()});
  session.emit(t.str(), json);
}

}  // namespace

void add_info(CLI::App& root, Session& session) {
  CLI::App* cmd = add_command(root, "info", "The build and the devices; or what a file holds", "panvae info");
  auto file = std::make_shared<std::string>();
  cmd->add_option("FILE", *file, "A matrix, or the folder of a run");
  session.common(*cmd);
  cmd->callback([file, &session] { info(session); });
}

}  // namespace panvae::tools
