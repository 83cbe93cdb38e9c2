// Eigenvectors of the k largest eigenvalues of a symmetric matrix in two stages (Bischof, Lang and Sun, ACM TOMS 26 (2000)):
// a band matrix by block reflectors, products of matrices alone; a tridiagonal one by chasing bulges down the band, whose
// blocks stay in cache; its eigenvectors (dstemr); and both transformations backwards on the k vectors.
//
// LAPACK's dsyevr reduces in one stage: half of its 4/3 m^3 flops are products with vectors, which read the trailing matrix
// once per column. Beyond the caches that is the speed of memory; here it is that of the processor.
#pragma once
#include "eval/lapack.h"

namespace panvae::eval::lapack {

// As largest_eigenvectors. Backward stable: everything is an orthogonal transformation. `band` is at most m - 1; 0: what
// suits the size. All of a is used, so that beside it are only the band, 2 m band numbers, and the vectors. The same bits for
// the same number of threads.
EigenPairs two_stage_eigenvectors(ColMatrix& a, int64_t k, int64_t band = 0);

}  // namespace panvae::eval::lapack
