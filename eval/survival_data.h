// What evaluate_survival reads from the table of samples: outcomes, covariates, and what looks wrong with them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

// Who is evaluated: samples with a time >= 0 and an event. Ordered as `rows` were.
struct Outcomes {
  std::vector<int64_t> row;
  std::vector<double> time;
  std::vector<uint8_t> event;
  int64_t unknown = 0;   // no time or no event
  int64_t negative = 0;  // a time below zero
  int64_t zero = 0;      // a time of zero: kept
};
// ErrorCode::input, naming column and sample: times that are no numbers or infinite, events that are neither 0 nor 1 (nor true
// nor false).
Outcomes read_outcomes(const data::Table& obs, const std::vector<int64_t>& rows);

// Texts of warnings: events that look like their opposite, and times that do not look like days.
//   More than nine of ten patients died, or those who died were followed longer than those who did not (the rank sum of their
//   times is three standard errors above its mean): deaths end the follow-up of some, the end of the study that of all others,
//   so in cohorts the censored are followed longer. On 4 of 4 TCGA sets z was -3 to -11, and 3 to 11 with the flag flipped.
std::vector<std::string> warn_outcomes(const Outcomes& o);

// Columns of obs as columns of a model. numeric: as it is, `missing` (1 where there is no value) to be filled by the training
// mean. factor: one dummy per level but the first in alphabetical order; a missing value is the level "missing". The column
// "cohort" is a factor though its names be numbers.
struct Covariate {
  std::string column;
  std::vector<std::string> names;  // of the model's columns: "age"; "sex:male", "sex:missing"
  data::RowMatrix<double> x;       // [n, names]
  std::vector<uint8_t> missing;    // [n], numeric columns only, else empty
  int64_t count_missing = 0;
};
// ErrorCode::input: no such column, an outcome as covariate, no value at all, infinite values (naming the sample), a factor
// of more than 20 levels that has more than half as many as there are samples.
Covariate read_covariate(const data::Table& obs, const std::string& column, const std::vector<int64_t>& rows);

// Codes from 0 of the levels of a column, in alphabetical order. Samples without a value: together, as one level before the others,
// or each apart, since no two of them are known to be of one level.
enum class Unknown { together, apart };
std::vector<int32_t> codes_of(const data::Table& obs, const std::string& column, const std::vector<int64_t>& rows, Unknown unknown);

}  // namespace panvae::eval
