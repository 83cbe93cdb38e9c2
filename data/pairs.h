// Which ATAC sample goes with which RNA sample: the table that `panvae match` writes, and that co-embedding and its evaluation
// read. docs/matching.md describes its columns.
#pragma once
#include <string>
#include <vector>

namespace panvae::data {

// From the safest to the weakest; the numbers stand in the table. 2 to 5 are SPEC X2: all need the same cohort.
enum Tier : int {
  same_donor = 1,
  same_ethnicity = 2,  // and sex, and age within the window
  same_sex = 3,        // and age within the window
  near_age = 4,
  same_cohort = 5,
  correlated = 6  // near in gene space, whatever the cohort
};

struct SamplePair {
  std::string atac, rna;  // names of samples
  int tier = same_donor;
  std::string split;  // train, validation, holdout; empty where the table does not say
};

// A TSV or CSV (.gz too) with the columns atac and rna, and tier and split where known (without tier: pairs of one donor).
// ErrorCode::input naming file and line: no such columns, an empty cell, a tier or split that is none, a pair that stands
// twice, a table without rows.
std::vector<SamplePair> read_pairs(const std::string& path);

}  // namespace panvae::data
