#include "eval/lapack.h"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/threads.h"
#include "eval/parallel_blas.h"
#include "eval/two_stage.h"

namespace panvae::eval::lapack {

namespace {

// Two stages are faster from some 250 on, below this by hundredths of a second.
constexpr int64_t kTwoStage = 640;

lapack_int as_int(int64_t n) {
  return static_cast<lapack_int>(n);
}

constexpr int64_t kPanel = 32;  // columns of a QR decomposition whose reflectors are applied as one block

// Those of columns [j, j + w) of a decomposition by dgeqrt, with their ones and zeros: [rows - j, w].
void reflectors_of(const ColMatrix& a, int64_t j, int64_t w, ColMatrix& v) {
  v = a.block(j, j, a.rows() - j, w);
  for (int64_t c = 0; c < w; ++c) {
    v.col(c).head(c).setZero();
    v(c, c) = 1;
  }
}

// c [rows of v, n] becomes (I - V T V^T) c, or with T^T; t [w, w] upper in columns of kPanel.
void reflect(const ColMatrix& v, const double* t, bool transpose, double* c, int64_t ldc, int64_t n) {
  const int64_t m = v.rows(), w = v.cols();
  ColMatrix work(w, n);
  in_ranges(n, 2 * m * w, [&](int64_t first, int64_t count) {
    const int columns = as_int(count), width = as_int(w), rows = as_int(m);
    double *to = c + first * ldc, *part = work.data() + first * w;
    cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, width, columns, rows, 1, v.data(), rows, to, as_int(ldc), 0, part, width);
    cblas_dtrmm(CblasColMajor, CblasLeft, CblasUpper, transpose ? CblasTrans : CblasNoTrans, CblasNonUnit, width, columns, 1, t, as_int(kPanel), part, width);
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, rows, columns, width, -1, v.data(), rows, part, width, 1, to, as_int(ldc));
  });
}

}  // namespace

void check(int info, const char* routine) {
  if (info == 0) return;
  if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
    fail_machine("out of memory in LAPACK", routine, "use fewer features (preprocess --var-filter) or a machine with more memory");
  throw Error(ErrorCode::internal, fmt::format("LAPACK's {} failed with info {}", routine, info), {}, "are the values finite and of reasonable size?");
}

ColMatrix qr(ColMatrix& a) {
  PV_CHECK(a.rows() >= a.cols(), "qr: [{}, {}] is wider than tall", a.rows(), a.cols());
  throw_if_interrupted();
  const int64_t m = a.rows(), n = a.cols();
  ColMatrix t = ColMatrix::Zero(kPanel, n), v;
  for (int64_t j = 0; j < n; j += kPanel) {
    const int64_t w = std::min(kPanel, n - j), right = j + w;
    {
      const OneThread one;
      check(LAPACKE_dgeqrt(LAPACK_COL_MAJOR, as_int(m - j), as_int(w), as_int(w), &a(j, j), as_int(m), &t(0, j), as_int(kPanel)), "dgeqrt");
    }
    reflectors_of(a, j, w, v);
    reflect(v, &t(0, j), true, a.data() + right * m + j, m, n - right);
  }
  ColMatrix r = a.topRows(n).triangularView<Eigen::Upper>();
  // Q from its last columns to the first: those of a panel are the reflectors before it applied to the panel's own.
  for (int64_t j = (n - 1) / kPanel * kPanel; j >= 0; j -= kPanel) {
    throw_if_interrupted();
    const int64_t w = std::min(kPanel, n - j);
    reflectors_of(a, j, w, v);
    a.middleCols(j, w).setZero();
    for (int64_t i = 0; i < w; ++i) a(j + i, j + i) = 1;
    reflect(v, &t(0, j), false, a.data() + j * m + j, m, n - j);
  }
  return r;
}

Svd svd(ColMatrix& a) {
  throw_if_interrupted();
  const lapack_int m = as_int(a.rows()), n = as_int(a.cols()), r = std::min(m, n);
  Svd out{ColMatrix(m, r), Eigen::VectorXd(r), {}};
  ColMatrix vt(r, n);
  const OneThread one;
  check(LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', m, n, a.data(), m, out.s.data(), out.u.data(), m, vt.data(), r), "dgesdd");
  out.v = vt.transpose();
  return out;
}

EigenPairs largest_eigenvectors(ColMatrix& a, int64_t k) {
  PV_CHECK(a.rows() == a.cols() && k >= 1 && k <= a.rows(), "largest_eigenvectors: {} of [{}, {}]", k, a.rows(), a.cols());
  throw_if_interrupted();
  if (a.rows() >= kTwoStage) return two_stage_eigenvectors(a, k);
  const lapack_int m = as_int(a.rows());
  Eigen::VectorXd values(m);  // dsyevr may use all of it
  ColMatrix vectors(m, k);
  std::vector<lapack_int> support(static_cast<size_t>(2 * k));
  lapack_int found = 0;
  const OneThread one;
  check(
      LAPACKE_dsyevr(LAPACK_COL_MAJOR, 'V', 'I', 'L', m, a.data(), m, 0, 0, as_int(m - k + 1), m, 0, &found, values.data(), vectors.data(), m, support.data()),
      "dsyevr");
  PV_ASSERT(found == k);
  return {values.head(k).reverse(), vectors.rowwise().reverse()};
}

EigenPairs tridiagonal_eigenvectors(const Eigen::VectorXd& diagonal, const Eigen::VectorXd& below, int64_t k) {
  const int64_t m = diagonal.size();
  PV_CHECK(m >= 1 && below.size() == m - 1 && k >= 1 && k <= m, "tridiagonal_eigenvectors: {} of {}", k, m);
  throw_if_interrupted();
  Eigen::VectorXd d = diagonal, e = Eigen::VectorXd::Zero(m), values(m);  // destroyed; e has a place more
  e.head(m - 1) = below;
  ColMatrix vectors(m, k);
  std::vector<lapack_int> support(static_cast<size_t>(2 * k));
  lapack_int found = 0;
  lapack_logical relative = 0;
  const OneThread one;
  const lapack_int info = LAPACKE_dstemr(LAPACK_COL_MAJOR, 'V', 'I', as_int(m), d.data(), e.data(), 0, 0, as_int(m - k + 1), as_int(m), &found, values.data(),
                                         vectors.data(), as_int(m), as_int(k), support.data(), &relative);
  if (info < 0) check(info, "dstemr");
  if (info > 0 || found != k) return tridiagonal_by_bisection(diagonal, below, k);
  return {values.head(k).reverse(), vectors.rowwise().reverse()};
}

EigenPairs tridiagonal_by_bisection(const Eigen::VectorXd& diagonal, const Eigen::VectorXd& below, int64_t k) {
  const int64_t m = diagonal.size();
  PV_CHECK(m >= 1 && below.size() == m - 1 && k >= 1 && k <= m, "tridiagonal_by_bisection: {} of {}", k, m);
  Eigen::VectorXd values(m);
  ColMatrix vectors(m, k);
  std::vector<lapack_int> block(static_cast<size_t>(m)), split(block), failed(static_cast<size_t>(k));
  lapack_int found = 0, blocks = 0;
  const OneThread one;
  // In the order of blocks, as dstein wants them, and exact to the last place.
  check(LAPACKE_dstebz('I', 'B', as_int(m), 0, 0, as_int(m - k + 1), as_int(m), 2 * LAPACKE_dlamch('S'), diagonal.data(), below.data(), &found, &blocks,
                       values.data(), block.data(), split.data()),
        "dstebz");
  PV_ASSERT(found == k);
  check(LAPACKE_dstein(LAPACK_COL_MAJOR, as_int(m), diagonal.data(), below.data(), found, values.data(), block.data(), split.data(), vectors.data(), as_int(m),
                       failed.data()),
        "dstein");
  std::vector<int64_t> order(static_cast<size_t>(k));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return values[i] > values[j]; });
  EigenPairs out{Eigen::VectorXd(k), ColMatrix(m, k)};
  for (int64_t i = 0; i < k; ++i) {
    out.values[i] = values[order[static_cast<size_t>(i)]];
    out.vectors.col(i) = vectors.col(order[static_cast<size_t>(i)]);
  }
  return out;
}

}  // namespace panvae::eval::lapack
