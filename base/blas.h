#pragma once
#include <cblas.h>

#include <cstdint>
#include <string>

namespace panvae {

// The BLAS that products on cpu go to, as it names itself: "OpenBLAS 0.3.21 ... SkylakeX", or "BLAS" where it does not say.
std::string blas_description();

// OpenBLAS maps a buffer for each thread at its first product and, where the system refuses one, asks again for ever. So where the
// address space is limited (base/memory.h) this maps those of threads() threads now, and throws Error (machine) if they do not fit;
// elsewhere it does nothing. To be called before memory is filled with data; the program does, and each Context on cpu.
void prepare_blas();

// Whether BLAS and LAPACK work on the calling thread alone within a parallel loop and under OneThread (base/threads.h): OpenBLAS with the
// threads of OpenMP, or without any.
bool blas_keeps_to_one_thread();

// Multiply-adds up to which work of BLAS is not cut for threads: one is through with them before the others come.
inline constexpr int64_t kUncutWork = int64_t{1} << 18;

// c [M, N] = alpha op(a) op(b) + beta c, row-major with the given distances between rows; one name for both types.
inline void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const float* a, int64_t lda, const float* b, int64_t ldb, float beta,
                 float* c, int64_t ldc, float alpha = 1) {
  cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, static_cast<int>(M), static_cast<int>(N),
              static_cast<int>(K), alpha, a, static_cast<int>(lda), b, static_cast<int>(ldb), beta, c, static_cast<int>(ldc));
}
inline void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const double* a, int64_t lda, const double* b, int64_t ldb, double beta,
                 double* c, int64_t ldc, double alpha = 1) {
  cblas_dgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, static_cast<int>(M), static_cast<int>(N),
              static_cast<int>(K), alpha, a, static_cast<int>(lda), b, static_cast<int>(ldb), beta, c, static_cast<int>(ldc));
}

// The same on threads() threads: parts of c side by side, each by BLAS on one thread, as the threads of OpenBLAS wait for each other within
// a product, which takes many times as long where the system does not let all of them run. A BLAS that cannot be kept to one thread
// computes the whole.
template <class T>
void gemm_in_parts(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, const T* a, int64_t lda, const T* b, int64_t ldb, T beta, T* c,
                   int64_t ldc, T alpha = 1);

}  // namespace panvae
