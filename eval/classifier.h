// The classifier of the cohort benchmark (gradient-boosted trees of XGBoost) and the scores of its predictions.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

// The library's own defaults, written out so that a newer library means the same. `hist` is always named: the automatic
// choice of XGBoost 1.7 takes the exact method on small data.
struct TreeOptions {
  int rounds = 100;      // boosting rounds, each one tree per class
  int max_depth = 6;     // splits from root to leaf
  double eta = 0.3;      // learning rate
  double lambda = 1;     // L2 penalty on leaf weights
  double gamma = 0;      // least loss reduction of a split
  double min_child = 1;  // least sum of Hessians in a child
  int max_bin = 256;     // histogram bins per dimension
  int threads = 1;       // of XGBoost
  uint64_t seed = 0;     // nothing is drawn with these options; set all the same
};

// Fits multi:softprob trees on rows `train` of x [n, d] with class codes label[row] in [0, classes), and returns the most
// probable class (the first where equal) of each row of `test`, in their order. XGBoost computes on float32 values:
// x is rounded. An interrupt (base/interrupt.h) stops it between rounds.
std::vector<int32_t> train_and_predict(const data::RowMatrix<double>& x, std::span<const int64_t> train, std::span<const int32_t> label,
                                       std::span<const int64_t> test, int32_t classes, const TreeOptions& options);

// Trainings that do not need each other, as many at a time as there are threads (base/threads.h), each by one thread at a time
// unless there are twice as many threads as trainings. The last ones take turns, so that no thread is idle before the end. `name`
// is that of the progress line. Results in the order of the tasks; an error, or an interrupt, stops them all.
struct Classification {
  const data::RowMatrix<double>* x;  // [n, d]
  std::span<const int64_t> train;
  std::span<const int32_t> label;  // [n]
  std::span<const int64_t> test;
  int32_t classes;
  TreeOptions trees;  // but for their threads
};
struct Classified {
  std::vector<int32_t> predicted;  // of the rows of `test`
  double seconds = 0;              // of all its rounds
};
std::vector<Classified> classify_side_by_side(std::span<const Classification> tasks, const std::string& name);

// Counts [true class, predicted class].
using Confusion = Eigen::Matrix<int64_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
Confusion confusion(std::span<const int32_t> truth, std::span<const int32_t> predicted, int32_t classes);

// Scores of a confusion matrix, defined as in scikit-learn 1.x (accuracy_score, balanced_accuracy_score, f1_score with
// average="macro"), all in [0, 1]; NaN for an empty matrix:
//   accuracy           trace / n
//   balanced accuracy  mean over classes that occur in the truth of TP / (TP + FN)
//   macro-F1           mean over classes that occur in truth or prediction of 2 TP / (2 TP + FP + FN)
double accuracy(const Confusion& c);
double balanced_accuracy(const Confusion& c);
double macro_f1(const Confusion& c);

// Mean, standard deviation (n - 1) and standard error (sd / sqrt(n)) of fold values; NaN where undefined (n < 1, n < 2).
struct Spread {
  double mean = 0, sd = 0, se = 0;
};
Spread spread(std::span<const double> values);

}  // namespace panvae::eval
