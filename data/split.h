// Which samples train, validate and are held out.
#pragma once
#include <cstdint>
#include <string>

#include "data/dataset.h"

namespace panvae::data {

struct SplitOptions {
  double holdout = 0.2;     // share of the donors of each cohort
  double validation = 0.1;  // share of the rest
  bool by_sample = false;   // --split sample: samples instead of donors are drawn (leaks donors that have several)
  std::string from;         // --split-from: a file whose split is taken over, donor by donor
  uint64_t seed = 0;
};

struct SplitCounts {
  int64_t train = 0, validation = 0, holdout = 0;
};

// Writes obs.split (train, validation or holdout for every sample).
// 1. A column `split` that exists is kept (checked; a donor on two sides is a warning).
// 2. Else `from` gives each donor its side; donors it does not know are drawn as in 3.
// 3. Else donors are ranked within each cohort by stable_hash(donor, seed): the first round(holdout * n) are held out,
//    the next round(validation * rest) validate. At least one donor of a cohort trains, so a cohort of one trains; where
//    rounding leaves no validation donor at all, one is taken from the largest cohort. The rank of a donor changes
//    little from file to file, so the same donor tends to the same side in every modality. A donor of several cohorts
//    counts in the first of them by name. So the split does not depend on the order of the samples.
// ErrorCode::usage for shares outside [0, 1); ErrorCode::input for a split file that knows none of the donors.
SplitCounts assign_split(Table& obs, const SplitOptions& options);
SplitCounts count_split(const Table& obs);

}  // namespace panvae::data
