#include "eval/parallel_blas.h"

#include <algorithm>
#include <utility>

#include "base/blas.h"
#include "base/error.h"
#include "base/threads.h"

namespace panvae::eval {

namespace {

constexpr int64_t kStep = 16;  // of rows and columns: whole tiles of BLAS

int as_int(int64_t n) {
  return static_cast<int>(n);
}

// Whether a work of so many multiply-adds is cut.
bool pays(int64_t work) {
  return blas_keeps_to_one_thread() && work > kUncutWork;
}

// body(first, count) for n rows or columns in parts of `size`.
template <class F>
void in_parts(int64_t n, int64_t size, F&& body) {
  if (size < n) return parallel_chunks(n, size, [&](int64_t begin, int64_t end) { body(begin, end - begin); });
  const OneThread one;
  body(int64_t{0}, n);
}

// Parts of a triangle's columns, or of a symmetric matrix's rows, are not alike, so each thread has several. Narrow ones make BLAS rearrange their
// other side once more for each.
template <class F>
void in_uneven_parts(int64_t n, int64_t work, F&& body) {
  constexpr int64_t kFewest = 16, kOfThread = 4, kLeast = 256;
  const int64_t parts = std::max(kFewest, kOfThread * threads());
  in_parts(n, pays(work) ? std::max(kLeast, (n + parts * kStep - 1) / (parts * kStep) * kStep) : n, body);
}

}  // namespace

void in_ranges(int64_t n, int64_t each, const std::function<void(int64_t, int64_t)>& body) {
  if (n == 0) return;
  in_parts(n, pays(n * each) ? std::max(kStep, (n + threads() * kStep - 1) / (threads() * kStep) * kStep) : n, body);
}

void gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, double alpha, const double* a, int64_t lda, const double* b, int64_t ldb,
          double beta, double* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  // A column-major matrix is its transpose in row-major.
  gemm_in_parts<double>(transpose_b, transpose_a, n, m, k, b, ldb, a, lda, beta, c, ldc, alpha);
}

ColMatrix product(const ColMatrix& a, const ColMatrix& b) {
  PV_CHECK(a.cols() == b.rows(), "product: [{}, {}] by [{}, {}]", a.rows(), a.cols(), b.rows(), b.cols());
  ColMatrix c(a.rows(), b.cols());
  gemm(false, false, a.rows(), b.cols(), a.cols(), 1, a.data(), a.rows(), b.data(), b.rows(), 0, c.data(), c.rows());
  return c;
}

void add_square(bool transpose, int64_t n, int64_t k, const double* a, int64_t lda, double* c, int64_t ldc) {
  const auto at = [=](int64_t i) { return a + (transpose ? i * lda : i); };
  in_uneven_parts(n, n * n * k / 2, [&](int64_t first, int64_t count) {
    const int64_t below = first + count;
    cblas_dsyrk(CblasColMajor, CblasLower, transpose ? CblasTrans : CblasNoTrans, as_int(count), as_int(k), 1, at(first), as_int(lda), 1,
                c + first * ldc + first, as_int(ldc));
    if (below < n)
      cblas_dgemm(CblasColMajor, transpose ? CblasTrans : CblasNoTrans, transpose ? CblasNoTrans : CblasTrans, as_int(n - below), as_int(count), as_int(k), 1,
                  at(below), as_int(lda), at(first), as_int(lda), 1, c + first * ldc + below, as_int(ldc));
  });
}

void multiply_symmetric(int64_t m, int64_t n, const double* a, int64_t lda, const double* b, int64_t ldb, double* c, int64_t ldc) {
  in_uneven_parts(m, m * m * n, [&](int64_t first, int64_t count) {
    const int64_t below = first + count;
    double* to = c + first;
    cblas_dsymm(CblasColMajor, CblasLeft, CblasLower, as_int(count), as_int(n), 1, a + first * lda + first, as_int(lda), b + first, as_int(ldb), 0, to,
                as_int(ldc));
    if (first > 0)
      cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, as_int(count), as_int(n), as_int(first), 1, a + first, as_int(lda), b, as_int(ldb), 1, to,
                  as_int(ldc));
    if (below < m)
      cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, as_int(count), as_int(n), as_int(m - below), 1, a + first * lda + below, as_int(lda), b + below,
                  as_int(ldb), 1, to, as_int(ldc));
  });
}

void subtract_both(int64_t n, int64_t k, const double* a, int64_t lda, const double* b, int64_t ldb, double* c, int64_t ldc) {
  in_uneven_parts(n, n * n * k, [&](int64_t first, int64_t count) {
    const int64_t below = first + count;
    cblas_dsyr2k(CblasColMajor, CblasLower, CblasNoTrans, as_int(count), as_int(k), -1, a + first, as_int(lda), b + first, as_int(ldb), 1,
                 c + first * ldc + first, as_int(ldc));
    if (below == n) return;
    double* to = c + first * ldc + below;
    for (const auto& [left, right] : {std::pair(a, b), {b, a}})
      cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, as_int(n - below), as_int(count), as_int(k), -1, left + below, as_int(left == a ? lda : ldb),
                  right + first, as_int(left == a ? ldb : lda), 1, to, as_int(ldc));
  });
}

}  // namespace panvae::eval
