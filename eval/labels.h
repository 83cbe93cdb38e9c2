// Cohort labels of samples, and the tables that merge cohorts (--cohort-map).
#pragma once
#include <string>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

// The default map (--cohort-map default): the 33 TCGA codes to 21 metacohorts by organ or tissue of origin, from
// eval/cohort_map.tsv, which is part of the program. The paper speaks of 21 metacohorts without saying which: the choice
// is ours (docs/evaluation.md).
const std::string& default_cohort_map_text();
data::Table default_cohort_map();
// What --cohort-map names: the word `default`, or a table whose key is the cohort and whose first column its merged name.
data::Table read_cohort_map(const std::string& name);

// The merged name of each row's cohort, "" where missing; cohorts that the map does not name keep theirs. `map` may be
// null. ErrorCode::input: no cohort column, a map that names no cohort of the samples.
std::vector<std::string> cohort_names(const data::Table& obs, const data::Table* map);

}  // namespace panvae::eval
