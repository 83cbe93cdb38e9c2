// evaluate cohort: can the cohort (tumour type) of a patient be read from the embedding?
// XGBoost in a cross-validation whose folds keep donors whole, as in the paper's benchmark: 100 rounds, depth 6.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/dataset.h"
#include "eval/classifier.h"
#include "eval/controls.h"
#include "eval/selection.h"

namespace panvae::eval {

struct CohortOptions {
  int folds = 5;                            // of stratified_group_folds; cohorts with fewer donors than folds are dropped
  std::string fold_key;                     // a column of obs with the folds to use instead: 0, 1, 2, ...
  On on = On::automatic;                    // which samples
  const data::Table* cohort_map = nullptr;  // see cohort_names()
  Control control = Control::none;          // permuted: labels are permuted among donors (permute_donors) after the folds are dealt
  uint64_t seed = 0;                        // of the folds and of the permutation
  TreeOptions trees;                        // trees.threads is set by classify_side_by_side
};

struct CohortFold {
  int32_t fold = 0;                                          // its number: the value of fold_key, or 0 to folds-1
  int64_t train = 0, test = 0;                               // samples
  double accuracy = 0, balanced_accuracy = 0, macro_f1 = 0;  // of the test samples, in [0, 1]
};

struct DroppedCohort {
  std::string name;
  int64_t samples = 0, donors = 0;
};

struct CohortResult {
  std::vector<CohortFold> folds;
  Spread accuracy, balanced_accuracy, macro_f1;  // over the folds
  std::vector<std::string> classes;              // cohorts evaluated, sorted: their order is the classes' codes
  Confusion confusion;                           // [true, predicted], all folds together: each sample is tested once
  std::vector<DroppedCohort> dropped;            // too few donors, sorted
  int64_t n = 0, donors = 0, dimensions = 0;     // samples and donors evaluated, columns of the embedding
  int64_t unlabelled = 0;                        // samples left out because their cohort is missing
  double majority_share = 0;                     // share of the largest cohort: what always guessing it scores
  std::string on;                                // "holdout" or "all"
  Control control = Control::none;
  std::vector<std::string> warnings;
  double seconds = 0;  // that it took; of several jobs together, the share of its folds in the time of all
  // The samples of `confusion`, ordered by name: row of the dataset, class, predicted class, fold.
  std::vector<int64_t> row;
  std::vector<int32_t> label, predicted, fold;
};

// Uses the columns cohort, and donor, split, dataset where present (ReadOptions::keys gives them other names). The result does not
// depend on the order of the samples, nor on the number of threads below twice the number of folds: each fold is then trained by one.
// ErrorCode::input: no cohort column, fewer than two cohorts left, values that are not finite, a fold column with
// missing or broken values or fewer than two folds. ErrorCode::machine: no XGBoost.
CohortResult evaluate_cohort(const data::Dataset<double>& embedding, const CohortOptions& options = {});

// Several at once, their folds side by side: five folds leave most of many cores idle, those of all embeddings do not.
// The results are those of each alone, in the order of the jobs. (Of one alone a fold has more than one thread where there are twice
// as many threads as folds, and XGBoost's sums then round otherwise.)
struct CohortJob {
  const data::Dataset<double>* embedding;
  CohortOptions options;
};
std::vector<CohortResult> evaluate_cohorts(std::span<const CohortJob> jobs);

// The keys of CLI.md and more; text for the terminal.
Json to_json(const CohortResult& result);
std::string to_text(const CohortResult& result);

}  // namespace panvae::eval
