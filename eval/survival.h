// evaluate survival: how well does an embedding tell who dies first, and does it tell more than age, sex and tumour type?
// Cox regression on the top principal components of the embedding and on clinical covariates, in a cross-validation whose
// folds keep donors whole; Uno's and Harrell's C of the patients left out, as in the paper's benchmark.
#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/dataset.h"
#include "eval/classifier.h"
#include "eval/controls.h"
#include "eval/kaplan_meier.h"
#include "eval/selection.h"

namespace panvae::eval {

// The time up to which deaths count in Uno's C. automatic: the 90th percentile of the training folds' event times.
struct Tau {
  enum class Kind { automatic, none, days } kind = Kind::automatic;
  double days = 0;
};
Tau parse_tau(const std::string& text);  // "auto", "none" or days > 0; ErrorCode::usage otherwise

inline constexpr int64_t kAutoTopK = -1;
int64_t parse_top_k(const std::string& text);  // "auto" or a whole number from 0; ErrorCode::usage otherwise

struct SurvivalOptions {
  int64_t top_k = kAutoTopK;            // principal components in the model; 0: covariates only; automatic: see below
  std::vector<std::string> covariates;  // columns of obs: numbers as they are, factors as dummies of all levels but the first
  double ridge = 1;                     // theta of the penalty theta / 2 b^2 on each standardised component
  int folds = 5;                        // drawn by donor, with the deaths spread evenly
  std::string fold_key;                 // a column of obs with the folds to use instead: 0, 1, 2, ...
  On on = On::automatic;                // which samples
  uint64_t seed = 0;                    // of the folds and of the control
  std::string stratify;                 // a column: C compares only patients of one level, none whose level is unknown
  std::string cox_strata;               // a column: the Cox model has a baseline hazard for each level
  Tau tau;
  bool censoring_from_test = false;  // Uno's G from the test fold in place of the training folds
  bool g_right = false;              // G(T) in place of G(T-)
  bool tau_inclusive = false;        // deaths at tau count too
  Control control = Control::none;   // permuted: outcomes change hands among donors, so that C must be about 1/2
};

struct SurvivalTerm {
  std::string name;           // "age", "sex:male", "PC1"
  double coefficient = 0;     // log hazard ratio per unit; of a component per standard deviation; 0 if left out
  double standard_error = 0;  // NaN if left out
  enum class Status { fitted, constant, aliased, diverging } status = Status::fitted;
};

struct SurvivalFold {
  int32_t fold = 0;  // its number: the value of fold_key, or 0 to folds-1
  int64_t train = 0, test = 0, train_events = 0, test_events = 0;
  int64_t top_k = 0;                      // components in the model
  double harrell = 0, uno = 0, tau = 0;   // of the test patients; NaN without a usable pair; tau infinite for none
  double within_cohort = 0;               // Harrell's C of pairs within a cohort; NaN without cohorts or pairs
  double brier = 0, brier_reference = 0;  // integrated, of the model and of one Kaplan-Meier curve for all; NaN if none
  double loglik = 0, loglik_null = 0;     // of the training folds, without the penalty
  int64_t pairs = 0;                      // usable ones of Harrell's C
  bool converged = true;
  std::vector<SurvivalTerm> terms;
};

struct SurvivalResult {
  std::vector<SurvivalFold> folds;
  Spread harrell, uno, within_cohort, brier, brier_reference;  // over the folds that have one
  int64_t top_k = 0;                                           // of the folds: the most frequent, the smallest of those
  bool auto_top_k = false;
  int64_t n = 0, events = 0, donors = 0, dimensions = 0;
  int64_t dropped = 0;  // samples left out: no time, no event, or a time below zero
  std::string on;       // "holdout" or "all"
  std::string setting;  // "clinical", "embedding", "embedding+clinical"
  SurvivalOptions options;
  std::vector<int64_t> covariate_missing;  // samples without a value, per covariate
  std::vector<std::string> warnings;
  double seconds = 0;
  // The patients, ordered by sample name: row of the dataset; outcome (the permuted one of the control); linear predictor of
  // the model that has not seen the patient, less its mean over the training patients; fold; third of the training patients'
  // predictors in which it falls: 0 low, 1 medium, 2 high.
  std::vector<int64_t> row;
  std::vector<double> time, risk;
  std::vector<uint8_t> event;
  std::vector<int32_t> fold, group;
  LogRank log_rank;            // of the three groups
  std::vector<double> median;  // days until half of the group has died, NaN where fewer do
};
inline constexpr const char* kRiskGroups[] = {"low", "medium", "high"};

// Uses the columns os_time and os_event (1 = died), and donor, cohort, split where present (ReadOptions::keys gives them
// other names).
//  1. Components: PCA fitted on the training folds, scores divided by their standard deviation there (n - 1).
//  2. Covariates: a missing number takes the mean of the training folds, a missing factor is a level of its own.
//  3. top_k automatic: of 5, 10, 20, 50, 100 (as many as there are) the one with the highest mean Harrell's C (within strata
//     if stratified) in a cross-validation of 5 folds within the training folds, the smallest of equals.
//  4. Cox regression (eval/cox.h) with the ridge on components only.
//  5. C-statistics of the test fold (eval/concordance.h), Brier score over 100 steps up to tau.
// The result does not depend on the order of the samples nor on the number of threads.
// ErrorCode::input: no or broken columns (naming the sample), fewer than two events, a training fold without one, values that
// are not finite. ErrorCode::usage: no covariates and top_k 0.
SurvivalResult evaluate_survival(const data::Dataset<double>& embedding, const SurvivalOptions& options = {});

// The keys of CLI.md and more; text for the terminal; the patients as a table: sample, os_time, os_event, risk, fold, group,
// and cohort where there is one.
Json to_json(const SurvivalResult& result);
std::string to_text(const SurvivalResult& result);
data::Table risk_table(const SurvivalResult& result, const data::Table& obs);

}  // namespace panvae::eval
