// Which samples an evaluation uses.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

// --on: the samples held out from training, or all. `automatic` is holdout where the obs has a hold-out, else all.
enum class On { automatic, holdout, all };
On parse_on(const std::string& text);  // "", "auto", "holdout", "all"; ErrorCode::usage otherwise

struct Selection {
  std::vector<int64_t> rows;  // ascending
  bool holdout = false;
  std::string name() const { return holdout ? "holdout" : "all"; }
};
// ErrorCode::input where a hold-out is asked for and there is none.
Selection select_evaluated(const data::Table& obs, On on);

// The same rows ordered by sample name: evaluations run in this order, so that no result depends on how a file is sorted.
void sort_by_name(std::vector<int64_t>& rows, const data::Table& obs);

// Refuses NaN and infinite values of these rows: ErrorCode::input naming sample and feature.
void check_finite(const data::Dataset<double>& data, const std::vector<int64_t>& rows);

}  // namespace panvae::eval
