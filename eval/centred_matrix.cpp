#include "eval/centred_matrix.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/threads.h"
#include "eval/parallel_blas.h"

namespace panvae::eval {

namespace {

// About 32 MiB of doubles at 20,000 features: large enough for BLAS, small beside the matrix.
constexpr int64_t kBlockRows = 200;
constexpr int64_t kBlockColumns = 512;

}  // namespace

template <class T>
CentredMatrix<T>::CentredMatrix(const data::RowMatrix<T>& x, const std::vector<int64_t>& rows) : x_(x), rows_(rows), mean_(Eigen::VectorXd::Zero(x.cols())) {
  const int64_t p = x.cols(), n = static_cast<int64_t>(rows.size());
  PV_CHECK(p < INT32_MAX && n < INT32_MAX, "pca: a matrix of [{}, {}] is too large for LAPACK", n, p);
  for (int64_t row : rows) PV_CHECK(row >= 0 && row < x.rows(), "pca: row {} of {}", row, x.rows());
  Eigen::VectorXd squares(p);
  parallel_chunks(p, kBlockColumns, [&](int64_t begin, int64_t end) {
    const int64_t w = end - begin;
    const auto values = [&](int64_t row) { return x.row(row).segment(begin, w).transpose().template cast<double>(); };
    Eigen::VectorXd sum = Eigen::VectorXd::Zero(w);
    for (int64_t row : rows) sum += values(row);
    Eigen::VectorXd mean = sum / static_cast<double>(n);
    // A second pass takes the rounding error of the first out of the means, so that constant features centre to zero.
    sum.setZero();
    for (int64_t row : rows) sum += values(row) - mean;
    mean += sum / static_cast<double>(n);
    sum.setZero();
    for (int64_t row : rows) sum += (values(row) - mean).cwiseAbs2();
    mean_.segment(begin, w) = mean;
    squares.segment(begin, w) = sum;
  });
  squared_norm_ = squares.sum();
  if (!std::isfinite(squared_norm_)) refuse_value(x, rows, 0, p);  // nor is it where a value is not
}

template <class T>
void CentredMatrix<T>::block(int64_t first, int64_t count, data::RowMatrix<double>& to) const {
  throw_if_interrupted();
  to.resize(count, cols());
  parallel_chunks(count, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* from = x_.data() + rows_[static_cast<size_t>(first + i)] * cols();
      double* row = to.data() + i * cols();
      for (int64_t j = 0; j < cols(); ++j) row[j] = static_cast<double>(from[j]) - mean_[j];
    }
  });
}

template <class T>
ColMatrix CentredMatrix<T>::times(const ColMatrix& m) const {
  PV_CHECK(m.rows() == cols(), "centred times: [{}, {}] by [{}, {}]", rows(), cols(), m.rows(), m.cols());
  ColMatrix out(rows(), m.cols());
  data::RowMatrix<double> b;
  for (int64_t first = 0; first < rows(); first += kBlockRows) {
    const int64_t count = std::min(kBlockRows, rows() - first);
    block(first, count, b);
    // A row-major block is its transpose in column-major: out[first.., :] = b^T(stored) m.
    gemm(true, false, count, m.cols(), cols(), 1, b.data(), cols(), m.data(), m.rows(), 0, out.data() + first, rows());
  }
  return out;
}

template <class T>
ColMatrix CentredMatrix<T>::transposed_times(const ColMatrix& m) const {
  PV_CHECK(m.rows() == rows(), "centred transposed_times: [{}, {}]^T by [{}, {}]", rows(), cols(), m.rows(), m.cols());
  ColMatrix out = ColMatrix::Zero(cols(), m.cols());
  data::RowMatrix<double> b;
  for (int64_t first = 0; first < rows(); first += kBlockRows) {
    const int64_t count = std::min(kBlockRows, rows() - first);
    block(first, count, b);
    gemm(false, false, cols(), m.cols(), count, 1, b.data(), cols(), m.data() + first, m.rows(), 1, out.data(), cols());
  }
  return out;
}

template <class T>
ColMatrix CentredMatrix<T>::gram() const {
  const int64_t m = std::min(rows(), cols());
  ColMatrix g = ColMatrix::Zero(m, m);
  data::RowMatrix<double> b;
  if (rows() <= cols()) {
    // Sums over blocks of columns: every block holds all rows of some features.
    for (int64_t first = 0; first < cols(); first += kBlockColumns) {
      throw_if_interrupted();
      const int64_t count = std::min(kBlockColumns, cols() - first);
      b.resize(rows(), count);
      parallel_chunks(rows(), 64, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const T* from = x_.data() + rows_[static_cast<size_t>(i)] * cols() + first;
          for (int64_t j = 0; j < count; ++j) b(i, j) = static_cast<double>(from[j]) - mean_[first + j];
        }
      });
      add_square(true, m, count, b.data(), count, g.data(), m);
    }
  } else {
    for (int64_t first = 0; first < rows(); first += kBlockRows) {
      const int64_t count = std::min(kBlockRows, rows() - first);
      block(first, count, b);
      add_square(false, m, count, b.data(), m, g.data(), m);
    }
  }
  return g;
}

template <class T>
ColMatrix CentredMatrix<T>::tall() const {
  const bool wide = rows() <= cols();
  ColMatrix out(wide ? cols() : rows(), wide ? rows() : cols());
  data::RowMatrix<double> b;
  for (int64_t first = 0; first < rows(); first += kBlockRows) {
    const int64_t count = std::min(kBlockRows, rows() - first);
    block(first, count, b);
    if (wide) out.middleCols(first, count) = b.transpose();
    else out.middleRows(first, count) = b;
  }
  return out;
}

template class CentredMatrix<float>;
template class CentredMatrix<double>;

}  // namespace panvae::eval
