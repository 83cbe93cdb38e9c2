// Some rows of a matrix minus their column means, as an operator: products in blocks, never a centred copy.
#pragma once
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/dataset.h"

namespace panvae::eval {

using ColMatrix = Eigen::MatrixXd;  // column-major, as LAPACK takes it

// Says which value of these rows, in features [first, first + count), stands in the way of principal components: one that is not finite, or
// the largest, whose square a double does not hold.
template <class Matrix>
[[noreturn]] void refuse_value(const Matrix& x, const std::vector<int64_t>& rows, int64_t first, int64_t count) {
  const auto [row, column] = [&] {
    std::pair at{rows.front(), first};
    double largest = 0;
    for (const int64_t r : rows)
      for (int64_t j = first; j < first + count; ++j) {
        const double size = std::abs(static_cast<double>(x(r, j)));
        if (size <= largest) continue;
        at = {r, j}, largest = size;
        if (!std::isfinite(size)) return at;
      }
    return at;
  }();
  fail_input(fmt::format("the value is {}", x(row, column)), fmt::format("sample {}, feature {} (from 1)", row + 1, column + 1),
             std::isfinite(x(row, column)) ? "the squares of the values add up to more than a double holds: is it a mistake?"
                                           : "principal components need finite values");
}

template <class T>
class CentredMatrix {
 public:
  // Computes means and the squared Frobenius norm. ErrorCode::input for values that are not finite, or too large for the norm.
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
