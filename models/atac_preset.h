// Sizes of the two ATAC networks by the number of peaks.
#pragma once
#include <string>

#include "models/atac_block_vae.h"
#include "models/atac_hierarchical_vae.h"

namespace panvae {

struct AtacPreset {
  std::string name;  // paper, medium or small
  AtacBlockVaeShape block;
  int64_t slide = 1000;
  int64_t channels = 64;                    // of the hierarchical VAE
  std::vector<int64_t> widths{2048, 1024};  // likewise
  int64_t latent = 512;                     // likewise: the embedding
};

// paper (SPEC M2 to M4) from 100,000 peaks on, medium from 20,000, small below. Blocks are never longer than the peaks.
AtacPreset atac_preset(int64_t peaks);
AtacPreset atac_preset(const std::string& name);  // an Error for another name

}  // namespace panvae
