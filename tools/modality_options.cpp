#include "tools/modality_options.h"

namespace panvae::tools {

namespace {

data::ReadOptions with(data::ReadOptions read, const std::string& obs, const std::vector<std::string>& where) {
  if (!obs.empty()) read.obs_table = obs;
  read.where.insert(read.where.end(), where.begin(), where.end());
  return read;
}

}  // namespace

void ModalityOptions::declare(CLI::App& command) {
  shared.declare(command);
  for (const auto& [name, modality, obs, where] : {std::tuple{"rna", "RNA", &rna_obs, &rna_where}, std::tuple{"atac", "ATAC", &atac_obs, &atac_where}}) {
    command.add_option(fmt::format("--{}-obs", name), *obs, fmt::format("Table of the {} samples, in place of --obs", modality))
        ->type_name("TABLE")
        ->group("Input");
    command.add_option(fmt::format("--{}-where", name), *where, fmt::format("As --where, for {} alone; repeatable", modality))
        ->type_name("COLUMN=VALUE[,VALUE...]")
        ->allow_extra_args(false)
        ->group("Input");
  }
}

data::ReadOptions ModalityOptions::rna() const {
  return with(shared.read(), rna_obs, rna_where);
}

data::ReadOptions ModalityOptions::atac() const {
  return with(shared.read(), atac_obs, atac_where);
}

}  // namespace panvae::tools
