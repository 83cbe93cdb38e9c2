// Folds of a cross-validation: whole donors, classes spread evenly.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/table.h"

namespace panvae::eval {

// Fold 0 to n_folds-1 of each sample; samples of one group (donor) always share a fold. As scikit-learn's
// StratifiedGroupKFold: groups go one by one to the fold that leaves the classes most evenly spread,
//   argmin over folds of mean over classes of sd over folds of (samples of the class in the fold / samples of the class),
// ties to the fold with fewest samples, then to the first; the most imbalanced groups first (largest sd over classes of
// the group's counts). Unlike there, groups of equal imbalance come in the order of a hash of (seed, group name), so the
// answer depends on names and seed, not on the order of the samples, and adding a sample moves few others.
// O(groups * folds * classes).
//
//   group [n]  name of each sample's group
//   label [n]  class code, 0 to classes-1
// ErrorCode::input where there are fewer groups than folds.
std::vector<int32_t> stratified_group_folds(const std::vector<std::string>& group, std::span<const int32_t> label, int32_t classes, int n_folds, uint64_t seed);

// Folds that a column of obs gives to these rows: whole numbers from 0, or the sides of a split: fold 0 is its hold-out, fold 1
// everything else. ErrorCode::input, naming the sample: a fold that is missing or none of these.
std::vector<int32_t> folds_of_column(const data::Table& obs, const std::string& key, const std::vector<int64_t>& rows);

}  // namespace panvae::eval
