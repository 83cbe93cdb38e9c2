// What a result may be fooled by, found in the samples: one place for all evaluations. Each function returns the text of
// a warning, "" where there is nothing to say; add_warning appends it where there is.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

void add_warning(std::vector<std::string>& warnings, std::string text);

// Fewer samples than dimensions where something is fitted: `who` and `what` make the sentence: "a fold trains on",
// "accuracy".
std::string warn_few_samples(int64_t samples, int64_t dimensions, const std::string& who, const std::string& what);

// Donors with samples in more than one fold.
//   donor [n], fold [n]
std::string warn_shared_donors(std::span<const std::string> donor, std::span<const int32_t> fold);

// Donors whom no permutation moves (permute_donors), since no other donor has as many samples, with more than 5 % of the samples.
//   donor [n]
std::string warn_unpermuted(std::span<const std::string> donor);

// Cohorts confounded with datasets. Cohorts and datasets are linked where a sample has both; if they fall into several
// unlinked parts, no difference between cohorts of two parts can be told from a difference between their datasets.
//   rows  samples looked at; label [rows] the cohort of each
// "" too where the table has no column dataset or only one dataset occurs.
std::string warn_aliased(const data::Table& obs, std::span<const int64_t> rows, std::span<const std::string> label);

// At least 95 % of the samples are in the dataset where most of their cohort is, and there are several datasets and cohorts:
// comparisons between cohorts are then mostly comparisons between datasets. "" too where a column is absent.
std::string warn_nearly_aliased(const data::Table& obs, std::span<const int64_t> rows);

}  // namespace panvae::eval
