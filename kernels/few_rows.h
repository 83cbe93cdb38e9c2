// Products on the cpu whose left operand has few rows, as a small batch has: x w^T of a linear layer, and its gradient g w.
#pragma once
#include <cstdint>

#include "base/blas.h"

namespace panvae::cpu {

// Whether few_rows_product is for c [M, N] = op(a) op(b): a [M, K] as it stands and of few rows, b large.
template <class T>
bool few_rows(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K);

// c [M, N] = a op(b), plus c where `accumulate`; row-major with the given distances between rows: a [M, K], b [K, N] or, transposed, [N, K].
// Any sizes above 0. The order of every sum depends on sizes alone: the same bits for any number of threads.
template <class T>
void few_rows_product(bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, bool accumulate, T* c, int64_t ldc);

// A product on the cpu: of few rows by the above, else by BLAS.
template <class T>
void product(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, bool accumulate, T* c,
             int64_t ldc) {
  if (few_rows<T>(transpose_a, transpose_b, M, N, K)) few_rows_product(transpose_b, M, N, K, a, lda, b, ldb, accumulate, c, ldc);
  else gemm_in_parts(transpose_a, transpose_b, M, N, K, a, lda, b, ldb, accumulate ? T(1) : T(0), c, ldc);
}

}  // namespace panvae::cpu
