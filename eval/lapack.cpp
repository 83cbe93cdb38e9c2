#include "eval/lapack.h"

#include <lapacke.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/interrupt.h"

namespace panvae::eval::lapack {

namespace {

void check(lapack_int info, const char* routine) {
  if (info == 0) return;
  if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
    fail_machine("out of memory in LAPACK", routine, "use fewer features (preprocess --var-filter) or a machine with more memory");
  throw Error(ErrorCode::internal, fmt::format("LAPACK's {} failed with info {}", routine, info), {}, "are the values finite and of reasonable size?");
}

lapack_int as_int(int64_t n) {
  return static_cast<lapack_int>(n);
}

}  // namespace

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

}  // namespace panvae::eval::lapack
