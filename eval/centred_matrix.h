// Some rows of a matrix minus their column means, as an operator: products in blocks, never a centred copy.
#pragma once
#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

using ColMatrix = Eigen::MatrixXd;  // column-major, as LAPACK takes it

template <class T>
class CentredMatrix {
 public:
  // Computes means and the squared Frobenius norm. ErrorCode::input for values that are not finite.
  CentredMatrix(const data::RowMatrix<T>& x, const std::vector<int64_t>& rows);

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }  // n
  int64_t cols() const { return x_.cols(); }                           // p
  const Eigen::VectorXd& mean() const { return mean_; }                // [p]
  double squared_norm() const { return squared_norm_; }

  ColMatrix times(const ColMatrix& m) const;             // [p, l] -> [n, l]
  ColMatrix transposed_times(const ColMatrix& m) const;  // [n, l] -> [p, l]
  ColMatrix gram() const;                                // [n, n] if n <= p, else [p, p]; the lower triangle
  ColMatrix tall() const;                                // the matrix itself: [p, n] if n <= p, else [n, p]

 private:
  // Rows first to first+count as doubles, centred. [count, p]
  void block(int64_t first, int64_t count, data::RowMatrix<double>& to) const;

  const data::RowMatrix<T>& x_;
  std::vector<int64_t> rows_;
  Eigen::VectorXd mean_;
  double squared_norm_ = 0;
};

extern template class CentredMatrix<float>;
extern template class CentredMatrix<double>;

}  // namespace panvae::eval
