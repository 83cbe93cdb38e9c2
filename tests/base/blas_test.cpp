// Products in parts: each element of c is computed once, from what stands in a and b and from nothing beside it.
#include "base/blas.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/philox.h"
#include "base/threads.h"

namespace panvae::test {
namespace {

template <class T>
class gemm_in_parts_of : public testing::Test {
 protected:
  void TearDown() override { set_threads(before_); }

  // A matrix whose rows lie apart, with NaN between and behind them.
  static std::vector<T> apart(int64_t rows, int64_t columns, int64_t stride, uint32_t op) {
    std::vector<T> all(static_cast<size_t>((rows + 1) * stride), std::numeric_limits<T>::quiet_NaN());
    PhiloxSequence sequence({9, op, 0});
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c) all[static_cast<size_t>(r * stride + c)] = static_cast<T>(2 * sequence.uniform() - 1);
    return all;
  }

  static void expect_plain_sums(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, bool accumulate) {
    const int64_t lda = (transpose_a ? M : K) + 3, ldb = (transpose_b ? K : N) + 5, ldc = N + 1;
    const std::vector<T> a = apart(transpose_a ? K : M, transpose_a ? M : K, lda, 1), b = apart(transpose_b ? N : K, transpose_b ? K : N, ldb, 2);
    const std::vector<T> before = apart(M, N, ldc, 3);
    std::vector<T> c = before;
    gemm_in_parts<T>(transpose_a, transpose_b, M, N, K, a.data(), lda, b.data(), ldb, accumulate ? T(1) : T(0), c.data(), ldc);
    double worst = 0;
    int64_t finite = 0;
    for (const T x : c) finite += std::isfinite(x);
    for (int64_t m = 0; m < M; ++m)
      for (int64_t n = 0; n < N; ++n) {
        double sum = accumulate ? static_cast<double>(before[static_cast<size_t>(m * ldc + n)]) : 0;
        for (int64_t k = 0; k < K; ++k)
          sum += static_cast<double>(a[static_cast<size_t>(transpose_a ? k * lda + m : m * lda + k)]) *
                 static_cast<double>(b[static_cast<size_t>(transpose_b ? n * ldb + k : k * ldb + n)]);
        const double error = std::abs(static_cast<double>(c[static_cast<size_t>(m * ldc + n)]) - sum);
        if (!(error <= worst)) worst = error;
      }
    EXPECT_LE(worst, static_cast<double>(std::numeric_limits<T>::epsilon()) * (32 + 0.5 * static_cast<double>(K)))
        << M << " x " << N << " x " << K << (transpose_a ? " a turned" : "") << (transpose_b ? " b turned" : "") << (accumulate ? " added" : "") << ", "
        << threads() << " threads";
    EXPECT_EQ(finite, M * N);
  }

 private:
  const int before_ = threads();
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(gemm_in_parts_of, Types);

TYPED_TEST(gemm_in_parts_of, each_element_once) {
  for (const int n : {1, 2, 3, 7, 16}) {
    set_threads(n);
    for (const bool accumulate : {false, true})
      for (const int turned : {0, 1, 2, 3}) {
        const auto expect = [&](int64_t M, int64_t N, int64_t K) { this->expect_plain_sums((turned & 1) != 0, (turned & 2) != 0, M, N, K, accumulate); };
        expect(1, 1, 1);
        expect(3, 5, 7);
        expect(70, 700, 33);   // parts of columns, the last one narrow
        expect(650, 130, 20);  // of rows
        expect(257, 263, 64);  // of both, where there are many threads
        expect(64, 64, 300);   // one part: nothing to cut
        expect(2, 9000, 40);
        expect(300, 300, 0);
      }
  }
}

TEST(blas, a_product_leaves_the_number_of_threads_as_it_was) {
  const int before = threads();
  std::vector<double> a(300 * 300, 1.0), c(300 * 300);
  gemm_in_parts<double>(false, false, 300, 300, 300, a.data(), 300, a.data(), 300, 0.0, c.data(), 300);
  EXPECT_EQ(threads(), before);
  for (const double x : c) ASSERT_EQ(x, 300);
}

}  // namespace
}  // namespace panvae::test
