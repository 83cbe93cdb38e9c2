// The few LAPACK routines of the PCA, on column-major matrices, with errors as exceptions. Their products run on threads() threads
// (eval/parallel_blas.h), what else LAPACK does on one.
#pragma once
#include "eval/centred_matrix.h"

namespace panvae::eval::lapack {

// A = Q R, Householder (dgeqrt, panels of columns). a [m, n], m >= n, becomes Q [m, n] with orthonormal columns, whatever A's rank;
// returns R [n, n], upper.
ColMatrix qr(ColMatrix& a);

// A = U S V^T (dgesdd, thin). a [m, n] is destroyed; u [m, r], s [r] descending, v [n, r], r = min(m, n).
struct Svd {
  ColMatrix u;
  Eigen::VectorXd s;
  ColMatrix v;
};
Svd svd(ColMatrix& a);

// Eigenvectors of the k largest eigenvalues of a symmetric matrix, largest first. a [m, m] holds the lower triangle and is
// destroyed. dsyevr, or from m = 640 on two_stage_eigenvectors (eval/two_stage.h).
struct EigenPairs {
  Eigen::VectorXd values;  // [k]
  ColMatrix vectors;       // [m, k]
};
EigenPairs largest_eigenvectors(ColMatrix& a, int64_t k);

// The same of a tridiagonal matrix: diagonal [m], below [m - 1]. By relatively robust representations (dstemr); where these
// fail, which LAPACK does not exclude, by bisection and inverse iteration (dstebz, dstein), which is slower.
EigenPairs tridiagonal_eigenvectors(const Eigen::VectorXd& diagonal, const Eigen::VectorXd& below, int64_t k);
EigenPairs tridiagonal_by_bisection(const Eigen::VectorXd& diagonal, const Eigen::VectorXd& below, int64_t k);

// Throws where a routine says that it failed.
void check(int info, const char* routine);

}  // namespace panvae::eval::lapack
