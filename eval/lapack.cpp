#include "eval/lapack.h"

#include <lapacke.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/interrupt.h"
#include "eval/two_stage.h"

namespace panvae::eval::lapack {

namespace {

constexpr int64_t kTwoStage = 2048;  // from here on two stages are faster: the matrix is larger than caches

lapack_int as_int(int64_t n) {
  return static_cast<lapack_int>(n);
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
  const lapack_int m = as_int(a.rows()), n = as_int(a.cols());
  std::vector<double> tau(static_cast<size_t>(n));
  check(LAPACKE_dgeqrf(LAPACK_COL_MAJOR, m, n, a.data(), m, tau.data()), "dgeqrf");
  ColMatrix r = a.topRows(n).triangularView<Eigen::Upper>();
  check(LAPACKE_dorgqr(LAPACK_COL_MAJOR, m, n, n, a.data(), m, tau.data()), "dorgqr");
  return r;
}

Svd svd(ColMatrix& a) {
  throw_if_interrupted();
  const lapack_int m = as_int(a.rows()), n = as_int(a.cols()), r = std::min(m, n);
  Svd out{ColMatrix(m, r), Eigen::VectorXd(r), {}};
  ColMatrix vt(r, n);
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
