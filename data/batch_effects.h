// Removal of batch and covariate effects by a linear model that keeps the effects of a preserved design (Ritchie et al.,
// limma, NAR 2015, removeBatchEffect; formulas in docs/preprocessing.md). Fitted once, applied to samples never seen.
#pragma once
#include <Eigen/Core>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace panvae::data {

enum class UnknownBatch { error, zero };

class BatchEffects {
 public:
  // A batch factor or a covariate. A factor of L levels takes L - 1 columns, coded 1 for its level, -1 for the last.
  struct Term {
    std::string name;
    bool numeric = false;
    double mean = 0;                  // numeric: subtracted; also stands for missing values
    std::vector<std::string> levels;  // factor: sorted; missing_level where training samples lacked it
    int64_t columns() const { return numeric ? 1 : static_cast<int64_t>(levels.size()) - 1; }
  };
  static constexpr const char* missing_level = "(missing)";

  // Terms from the training rows of obs. A column without variation there is left out with a note in the log.
  // ErrorCode::input for a column that does not exist.
  BatchEffects(const Table& obs, const std::vector<int64_t>& rows, const std::vector<std::string>& batch_keys, const std::vector<std::string>& covariate_keys);
  BatchEffects() = default;
  static BatchEffects from(const Json& settings, const NamedArray& coefficients);
  Json settings() const;

  bool empty() const { return terms_.empty(); }
  int64_t columns() const;
  const std::vector<Term>& terms() const { return terms_; }
  const std::vector<std::string>& aliased() const { return aliased_; }     // columns dropped, as "batch=b2" or "age"
  const RowMatrix<double>& coefficients() const { return coefficients_; }  // [columns, features], 0 where aliased

  // Least squares of x [samples, features] on the preserved columns of obs and ours, training rows only. Columns that
  // depend on those before them (tolerance 1e-7 of their norm) are dropped: the preserved design wins. NaN in x counts
  // as the feature's mean.
  template <class Matrix>
  void fit(const Matrix& x, const Table& obs, const std::vector<int64_t>& rows, const std::vector<std::string>& preserve);

  // [samples, columns]. Counts missing values in `missing`. ErrorCode::input for a level that training never saw,
  // unless UnknownBatch::zero (the sample then keeps the mean over levels), and for an absent column likewise.
  Eigen::MatrixXd encode(const Table& obs, UnknownBatch unknown, int64_t& missing) const;
  // values [features] of one sample -= its row of encode() times the coefficients.
  void subtract(const Eigen::MatrixXd& encoded, int64_t sample, double* values) const;

 private:
  std::vector<Term> terms_;
  std::vector<std::string> aliased_;
  RowMatrix<double> coefficients_;
};

// Columns of obs whose name says batch (dataset, plate, centre, platform, ...) and that vary: for a note in the log.
std::vector<std::string> columns_like_batches(const Table& obs);

}  // namespace panvae::data
