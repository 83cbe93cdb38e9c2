// Matching ATAC samples to RNA samples of the same donor, or of donors as alike as clinical columns can tell (SPEC X1, X2).
//
// Tiers of an ATAC sample, the first that has an RNA sample:
//   1  same donor; of several the primary tumour (column sample_type), then the one with most counts, then by name
//   2  same cohort, sex and ethnicity, ages at most `age_window` years apart
//   3  same cohort and sex, ages within the window
//   4  same cohort, ages within the window
//   5  same cohort
// Each gets one RNA sample. Within a tier no RNA sample is given twice as long as that is possible, and the sum of age
// differences is then as small as it can be (data/assignment.h); where more ATAC samples than RNA samples meet, those left
// over take the nearest age again. Tier 1 gives all replicates of a donor the same RNA sample.
//
// Texts are compared without regard to case. An unknown sex or ethnicity equals nothing. An unknown age becomes the median of
// its cohort, of donors that are not held out (of all of these, where the cohort has no age), and is flagged. A column that one of
// the two tables lacks is no criterion: the tiers do without it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/pairs.h"
#include "data/table.h"

namespace panvae::data {

// The cells of a column as they are compared, without regard to case: empty where nothing stands, or where there is no such column.
std::vector<std::string> folded_cells(const Table& table, const char* column);

enum class Side : int8_t { train = 0, validation = 1, holdout = 2 };
const char* side_name(Side side);

// A donor that is held out in either table is held out in both, and one that validates in either does not train. Without a
// column split, a table says nothing about its donors; donors of whom nothing is said train.
struct Sides {
  std::vector<Side> rna, atac;  // of each sample
  bool known = false;           // some table has a split
};
Sides sides_of(const Table& rna, const Table& atac);

struct MatchedPair {
  int64_t atac = 0, rna = 0;  // rows of the tables
  Tier tier = same_donor;
  Side side = Side::train;
  double age_distance = 0;  // years, NaN where an age is unknown even after filling
  bool age_filled = false;  // one of the two ages is a median
  int64_t candidates = 0;   // RNA samples that the tier offers this ATAC sample
  double correlation = 0;   // in gene space, NaN where there is none
};

struct TierOptions {
  double age_window = 5;  // years
  uint64_t seed = 0;      // decides between RNA samples that are equally good, by a hash of their names
};

struct TierReport {
  bool uses_age = false, uses_sex = false, uses_ethnicity = false;
  int64_t filled_ages_rna = 0, filled_ages_atac = 0;  // samples
  int64_t reused = 0;                                 // pairs beyond tier 1 whose RNA sample another pair of the tier has, too
  std::vector<int64_t> unmatched;                     // rows of ATAC, training and validation, whose cohort has no RNA of their side
  std::vector<std::string> cohorts_without_rna;       // theirs, sorted
  int64_t holdout_without_rna = 0;                    // held-out ATAC samples whose donor has no RNA: no pair
};

// Pairs in the order of the ATAC table. Training samples meet training samples, validating ones validating ones, and held-out
// ones their own donor or nobody. rna_depth: counts of each RNA sample, empty where unknown. Depends on the names of the
// samples, not on their order. ErrorCode::input: a table without the column cohort, an age that is no number, an age window
// below 0 (usage).
std::vector<MatchedPair> match_tiers(const Table& rna, const Table& atac, const Sides& sides, const std::vector<double>& rna_depth, const TierOptions& options,
                                     TierReport& report);

// What a tier asks for beside the cohort: "donor", "cohort+sex+age", ..., "correlated".
std::string tier_words(int tier, const TierReport& report);

// The table that is written: see docs/matching.md.
Table pair_table(const std::vector<MatchedPair>& pairs, const Table& rna, const Table& atac, const TierReport& report);

}  // namespace panvae::data
