// The products of PCA and of the decomposition of symmetric matrices, on threads() threads: parts of the result side by side, each by BLAS
// on one thread (base/blas.h says why). All matrices are column-major, as LAPACK takes them, with the given distances between columns.
#pragma once
#include <cstdint>
#include <functional>

#include "eval/centred_matrix.h"

namespace panvae::eval {

// c [m, n] = alpha op(a) op(b) + beta c
void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double alpha, const double* a, int64_t lda, const double* b, int64_t ldb,
          double beta, double* c, int64_t ldc);
ColMatrix product(const ColMatrix& a, const ColMatrix& b);

// The lower triangle of c [n, n] += a a^T, a [n, k]; or += a^T a, a [k, n].
void add_square(bool transpose, int64_t n, int64_t k, const double* a, int64_t lda, double* c, int64_t ldc);

// c [m, n] = a b, a [m, m] symmetric, of which the lower triangle is read.
void multiply_symmetric(int64_t m, int64_t n, const double* a, int64_t lda, const double* b, int64_t ldb, double* c, int64_t ldc);

// The lower triangle of c [n, n] -= a b^T + b a^T, a and b [n, k].
void subtract_both(int64_t n, int64_t k, const double* a, int64_t lda, const double* b, int64_t ldb, double* c, int64_t ldc);

// body(first, count) for ranges of n rows or columns, of a work that multiplies and adds `each` numbers for one of them; the ranges run side
// by side where that pays, and BLAS within them on one thread. Exceptions must not leave body.
void in_ranges(int64_t n, int64_t each, const std::function<void(int64_t first, int64_t count)>& body);

}  // namespace panvae::eval
