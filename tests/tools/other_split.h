// The matrix of a run with another split of its samples: as many on each side, so that only their names tell.
#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "data/read.h"
#include "data/write.h"

namespace panvae::test {

inline void write_with_two_sides_exchanged(const std::string& from, const std::string& to) {
  data::Dataset<float> d = data::read_dataset<float>(from);
  std::vector<std::string> split;
  for (int64_t r = 0; r < d.samples(); ++r) split.push_back(d.obs.at("split").text(r));
  std::iter_swap(std::find(split.begin(), split.end(), "train"), std::find(split.begin(), split.end(), "validation"));
  d.obs.set(data::factor_from_text("split", split));
  data::write_dataset(to, d);
}

}  // namespace panvae::test
