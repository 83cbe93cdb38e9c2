#include "eval/wide_pca.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "base/blas.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/threads.h"
#include "eval/extreme.h"
#include "eval/lapack.h"
#include "eval/parallel_blas.h"

namespace panvae::eval {

namespace {

constexpr int64_t kStrip = 4096;      // features at a time
constexpr int64_t kRows = 1024;       // samples at a time that are projected
constexpr double kGramRange = 1e-4;   // least s_k / s_1 that the Gram matrix holds
constexpr int64_t kHeld = 256 << 20;  // bytes of a mapped matrix that stay in memory

// body(first, count) for each strip of features.
template <class Matrix, class F>
void over_strips(const Matrix& x, F&& body) {
  int64_t held = 0;
  for (int64_t first = 0; first < x.cols(); first += kStrip) {
    throw_if_interrupted();
    const int64_t count = std::min(kStrip, static_cast<int64_t>(x.cols()) - first);
    body(first, count);
    held += count * static_cast<int64_t>(x.rows() * sizeof(typename Matrix::Scalar));
    if (held < kHeld) continue;
    data::release_rows(x, 0, x.rows());
    held = 0;
  }
}

// Features [first, first + count) of these rows as doubles, less the means if there are any: [rows, count].
template <class Matrix>
void load(const Matrix& x, const int64_t* rows, int64_t n, int64_t first, int64_t count, const double* mean, data::RowMatrix<double>& to) {
  to.resize(n, count);
  parallel_chunks(n, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto* from = x.data() + rows[i] * x.cols() + first;
      double* row = to.data() + i * count;
      for (int64_t j = 0; j < count; ++j) row[j] = static_cast<double>(from[j]) - (mean ? mean[first + j] : 0);
    }
  });
}

// A strip of the training rows minus its means, which are stored, and the sum of its squares.
template <class Matrix>
double centre(const Matrix& x, const std::vector<int64_t>& rows, int64_t first, int64_t count, Eigen::VectorXd& mean, data::RowMatrix<double>& b) {
  const auto n = static_cast<int64_t>(rows.size());
  load(x, rows.data(), n, first, count, nullptr, b);
  Eigen::VectorXd squares(count);
  parallel_chunks(count, 256, [&](int64_t begin, int64_t end) {
    const int64_t w = end - begin;
    Eigen::VectorXd sum = Eigen::VectorXd::Zero(w);
    for (int64_t i = 0; i < n; ++i) sum += b.row(i).segment(begin, w).transpose();
    Eigen::VectorXd m = sum / static_cast<double>(n);
    // A second pass takes the rounding error of the first out of the means, so that constant features centre to zero.
    sum.setZero();
    for (int64_t i = 0; i < n; ++i) sum += b.row(i).segment(begin, w).transpose() - m;
    m += sum / static_cast<double>(n);
    mean.segment(first + begin, w) = m;
    sum.setZero();
    for (int64_t i = 0; i < n; ++i) {
      b.row(i).segment(begin, w) -= m.transpose();
      sum += b.row(i).segment(begin, w).cwiseAbs2().transpose();
    }
    squares.segment(begin, w) = sum;
  });
  return squares.sum();
}

// b^T m for a strip b [n, w]: [n, k] -> [w, k].
void transposed_times(const data::RowMatrix<double>& b, const ColMatrix& m, ColMatrix& out) {
  out.resize(b.cols(), m.cols());
  if (out.size() == 0) return;
  // A row-major strip is its transpose in column-major.
  gemm(false, false, b.cols(), m.cols(), b.rows(), 1, b.data(), b.cols(), m.data(), m.rows(), 0, out.data(), b.cols());
}

}  // namespace

bool is_wide(int64_t samples, int64_t features) {
  return features / 8 >= samples && samples >= 2 && features > (int64_t{1} << 26) / samples;
}

template <class Matrix>
WidePca fit_wide_pca(const Matrix& x, const std::vector<int64_t>& rows, const PcaOptions& o) {
  const int64_t n = static_cast<int64_t>(rows.size()), p = x.cols();
  check_pca(n, p, o);
  PV_CHECK(n <= p, "wide pca: {} samples of {} features", n, p);
  for (int64_t row : rows) PV_CHECK(row >= 0 && row < x.rows(), "pca: row {} of {}", row, x.rows());
  WidePca out;
  out.rows = rows;
  PcaModel& m = out.model;
  m.method = "strips";
  m.fitted_on = n;
  m.mean.resize(p);
  data::RowMatrix<double> b;

  ColMatrix gram = ColMatrix::Zero(n, n);
  double squared_norm = 0;
  over_strips(x, [&](int64_t first, int64_t count) {
    squared_norm += centre(x, rows, first, count, m.mean, b);
    if (!std::isfinite(squared_norm)) refuse_value(x, rows, first, count);
    add_square(true, n, count, b.data(), count, gram.data(), n);
  });
  m.total_variance = squared_norm / static_cast<double>(n - 1);
  check_varies(m, squared_norm);

  lapack::EigenPairs e = lapack::largest_eigenvectors(gram, std::min({o.components, n - 1, p}));
  gram.resize(0, 0);
  int64_t k = 0;
  while (k < e.values.size() && e.values[k] >= kGramRange * kGramRange * e.values[0]) ++k;
  const Eigen::VectorXd d = e.values.head(k).cwiseSqrt();
  const ColMatrix scaled = e.vectors.leftCols(k) * d.cwiseInverse().asDiagonal();
  ColMatrix w, gram_w = ColMatrix::Zero(k, k);
  over_strips(x, [&](int64_t first, int64_t count) {
    load(x, rows.data(), n, first, count, m.mean.data(), b);
    transposed_times(b, scaled, w);
    add_square(true, k, count, w.data(), count, gram_w.data(), k);
  });
  const Eigen::LLT<ColMatrix, Eigen::Lower> cholesky(gram_w);
  PV_CHECK(cholesky.info() == Eigen::Success, "wide pca: the projected directions are dependent");
  ColMatrix r = ColMatrix(cholesky.matrixL()).transpose() * d.asDiagonal();
  const lapack::Svd ritz = lapack::svd(r);
  m.singular = ritz.s;
  out.weights = product(e.vectors.leftCols(k), ritz.v) * ritz.s.cwiseInverse().asDiagonal();

  // The signs need the components, and so do the samples that were not fitted.
  std::vector<bool> fitted(static_cast<size_t>(x.rows()), false);
  for (int64_t row : rows) fitted[static_cast<size_t>(row)] = true;
  std::vector<int64_t> others;
  for (int64_t row = 0; row < x.rows(); ++row)
    if (!fitted[static_cast<size_t>(row)]) others.push_back(row);
  const auto n_others = static_cast<int64_t>(others.size());
  ColMatrix projected = ColMatrix::Zero(n_others, k);
  Eigen::VectorXd extreme = Eigen::VectorXd::Zero(k);  // the loading of largest absolute value so far
  over_strips(x, [&](int64_t first, int64_t count) {
    load(x, rows.data(), n, first, count, m.mean.data(), b);
    transposed_times(b, out.weights, w);
    parallel_chunks(k, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const double largest = w(first_extreme(w.col(i)), i);
        if (beyond(largest, extreme[i])) extreme[i] = largest;
      }
    });
    for (int64_t at = 0; at < n_others; at += kRows) {
      const int64_t some = std::min(kRows, n_others - at);
      load(x, others.data() + at, some, first, count, m.mean.data(), b);
      gemm(true, false, some, k, count, 1, b.data(), count, w.data(), count, 1, projected.data() + at, n_others);
    }
  });
  const Eigen::VectorXd sign = extreme.unaryExpr([](double v) { return v < 0 ? -1.0 : 1.0; });
  out.weights *= sign.asDiagonal();
  const ColMatrix own = out.weights * m.singular.cwiseAbs2().asDiagonal();
  out.scores.resize(x.rows(), k);
  for (int64_t i = 0; i < n; ++i) out.scores.row(rows[static_cast<size_t>(i)]) = own.row(i);
  for (int64_t i = 0; i < n_others; ++i) out.scores.row(others[static_cast<size_t>(i)]) = projected.row(i).cwiseProduct(sign.transpose());
  return out;
}

template <class Matrix>
void for_components(const WidePca& pca, const Matrix& x, const UseComponents& use) {
  PV_CHECK(x.cols() == pca.model.mean.size(), "wide pca: a matrix of {} features for components of {}", x.cols(), pca.model.mean.size());
  data::RowMatrix<double> b;
  ColMatrix w;
  over_strips(x, [&](int64_t first, int64_t count) {
    load(x, pca.rows.data(), static_cast<int64_t>(pca.rows.size()), first, count, pca.model.mean.data(), b);
    transposed_times(b, pca.weights, w);
    use(first, w.transpose());
  });
}

template <class Matrix>
data::RowMatrix<float> inverse_transform(const WidePca& pca, const Matrix& x, const data::RowMatrix<double>& scores) {
  PV_CHECK(scores.cols() == pca.model.count(), "wide pca inverse_transform: {} scores for {} components", scores.cols(), pca.model.count());
  data::RowMatrix<float> out(scores.rows(), x.cols());
  for_components(pca, x, [&](int64_t first, const data::RowMatrix<double>& part) {
    data::RowMatrix<double> b(scores.rows(), part.cols());
    gemm_in_parts<double>(false, false, b.rows(), b.cols(), scores.cols(), scores.data(), scores.cols(), part.data(), part.cols(), 0, b.data(), b.cols());
    b.rowwise() += pca.model.mean.segment(first, part.cols()).transpose();
    out.middleCols(first, part.cols()) = b.cast<float>();
  });
  return out;
}

#define PV_WIDE_PCA(Matrix)                                                                     \
  template WidePca fit_wide_pca(const Matrix&, const std::vector<int64_t>&, const PcaOptions&); \
  template void for_components(const WidePca&, const Matrix&, const UseComponents&);            \
  template data::RowMatrix<float> inverse_transform(const WidePca&, const Matrix&, const data::RowMatrix<double>&);
PV_WIDE_PCA(data::RowMatrix<float>)
PV_WIDE_PCA(data::RowMatrix<double>)
PV_WIDE_PCA(data::LargeMatrix<float>)
#undef PV_WIDE_PCA

}  // namespace panvae::eval
