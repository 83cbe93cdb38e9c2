#include "models/atac_preset.h"

#include <algorithm>

namespace panvae {

AtacPreset atac_preset(const std::string& name) {
  if (name == "paper") return {name, {5000, {2048, 1024, 512}, 512}, 1000, 64, {2048, 1024}, 512};
  if (name == "medium") return {name, {2000, {1024, 512, 256}, 128}, 400, 32, {1024, 512}, 256};
  if (name == "small") return {name, {1000, {512, 256, 128}, 64}, 200, 16, {256, 128}, 64};
  fail_usage("no preset is called '" + name + "'", "", "take paper, medium or small");
}

AtacPreset atac_preset(int64_t peaks) {
  AtacPreset p = atac_preset(std::string(peaks >= 100000 ? "paper" : peaks >= 20000 ? "medium" : "small"));
  p.block.block = std::min(p.block.block, std::max<int64_t>(1, peaks));
  p.slide = std::min(p.slide, p.block.block);
  return p;
}

}  // namespace panvae
