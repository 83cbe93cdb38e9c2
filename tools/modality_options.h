// Options of commands that read a matrix of RNA and one of ATAC: each may have a sample table and conditions of its own.
#pragma once
#include <string>
#include <vector>

#include "tools/dataset_options.h"

namespace panvae::tools {

struct ModalityOptions {
  DatasetOptions shared;
  std::string rna_obs, atac_obs;
  std::vector<std::string> rna_where, atac_where;

  // Declares what DatasetOptions does, and --rna-obs, --atac-obs, --rna-where and --atac-where.
  void declare(CLI::App& command);
  // The table of the modality in place of --obs, its conditions beside those of --where.
  data::ReadOptions rna() const;
  data::ReadOptions atac() const;
};

}  // namespace panvae::tools
