// The few LAPACK routines of the PCA, on column-major matrices, with errors as exceptions.
#pragma once
#include "eval/centred_matrix.h"

namespace panvae::eval::lapack {

// A = Q R, Householder (dgeqrf, dorgqr). a [m, n], m >= n, becomes Q [m, n] with orthonormal columns, whatever A's rank;
// returns R [n, n], upper.
ColMatrix qr(ColMatrix& a);

// A = U S V^T (dgesdd, thin). a [m, n] is destroyed; u [m, r], s [r] descending, v [n, r], r = min(m, n).
struct Svd {
  ColMatrix u;
  Eigen::VectorXd s;
  ColMatrix v;
};
Svd svd(ColMatrix& a);

// Eigenvectors of the k largest eigenvalues of a symmetric matrix, largest first (dsyevr). a [m, m] holds the lower
// triangle and is destroyed.
struct EigenPairs {
  Eigen::VectorXd values;  // [k]
  ColMatrix vectors;       // [m, k]
};
EigenPairs largest_eigenvectors(ColMatrix& a, int64_t k);

}  // namespace panvae::eval::lapack
