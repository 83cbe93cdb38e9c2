// Products in parts against those of Eigen: each element once, nothing beside it, whatever the number of threads. And what stands on them.
#include "eval/parallel_blas.h"

#include <limits>

#include "eval/lapack.h"
#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using test::gaussian;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A matrix whose columns lie apart, with NaN between them.
struct Apart {
  ColMatrix all;
  int64_t rows;

  Apart(const ColMatrix& m, int64_t apart) : all(ColMatrix::Constant(m.rows() + apart, m.cols(), kNaN)), rows(m.rows()) { all.topRows(rows) = m; }
  int64_t stride() const { return all.rows(); }
  double* data() { return all.data(); }
  ColMatrix inner() const { return all.topRows(rows); }
  bool beside_is_untouched() const { return all.bottomRows(all.rows() - rows).array().isNaN().all(); }
};

ColMatrix lower(const ColMatrix& m) {
  return m.triangularView<Eigen::Lower>();
}
ColMatrix with_nan_above(ColMatrix m) {
  m.triangularView<Eigen::StrictlyUpper>().setConstant(kNaN);
  return m;
}

class parallel_blas : public testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_threads(GetParam()); }
  void TearDown() override { set_threads(before_); }

  static void expect_near(const ColMatrix& a, const ColMatrix& b) { EXPECT_LT((a - b).cwiseAbs().maxCoeff(), 1e-10); }

 private:
  const int before_ = threads();
};

TEST_P(parallel_blas, gemm) {
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {3, 700, 200}, {513, 130, 77}, {64, 64, 300}, {5, 4, 0}})
    for (const bool ta : {false, true})
      for (const bool tb : {false, true}) {
        const ColMatrix a = gaussian(ta ? k : m, ta ? m : k, 1), b = gaussian(tb ? n : k, tb ? k : n, 2), c = gaussian(m, n, 3);
        Apart x(a, 3), y(b, 1), z(c, 2);
        gemm(ta, tb, m, n, k, -0.5, x.data(), x.stride(), y.data(), y.stride(), 1, z.data(), z.stride());
        const ColMatrix left = ta ? ColMatrix(a.transpose()) : a, right = tb ? ColMatrix(b.transpose()) : b;
        expect_near(z.inner(), c - 0.5 * (left * right));
        EXPECT_TRUE(z.beside_is_untouched());
        if (!ta && !tb) expect_near(product(a, b), a * b);
      }
  gemm(false, false, 0, 5, 4, 1, nullptr, 1, nullptr, 4, 0, nullptr, 1);
  EXPECT_THROW(product(gaussian(2, 3, 1), gaussian(2, 3, 1)), Error);
}

TEST_P(parallel_blas, squares) {
  for (const auto& [n, k] : {std::array<int64_t, 2>{1, 1}, {130, 3000}, {700, 33}, {1100, 5}})
    for (const bool transpose : {false, true}) {
      const ColMatrix a = transpose ? gaussian(k, n, 1) : gaussian(n, k, 1), c = gaussian(n, n, 2);
      Apart x(a, 1), y(with_nan_above(c), 3);
      add_square(transpose, n, k, x.data(), x.stride(), y.data(), y.stride());
      expect_near(lower(y.inner()), lower(c + (transpose ? ColMatrix(a.transpose() * a) : ColMatrix(a * a.transpose()))));
      EXPECT_TRUE(y.beside_is_untouched());
    }
}

TEST_P(parallel_blas, symmetric_matrices) {
  for (const auto& [m, n] : {std::array<int64_t, 2>{1, 1}, {37, 5}, {600, 64}, {1001, 33}}) {
    const ColMatrix half = gaussian(m, m, 1), a = half + ColMatrix(half.transpose()), b = gaussian(m, n, 2);
    Apart x(with_nan_above(a), 2), y(b, 1), z(ColMatrix::Constant(m, n, kNaN), 3);
    multiply_symmetric(m, n, x.data(), x.stride(), y.data(), y.stride(), z.data(), z.stride());
    expect_near(z.inner(), a * b);
    EXPECT_TRUE(z.beside_is_untouched());

    const ColMatrix p = gaussian(m, n, 3);
    Apart left(p, 1), right(b, 4), c(with_nan_above(a), 2);
    subtract_both(m, n, left.data(), left.stride(), right.data(), right.stride(), c.data(), c.stride());
    expect_near(lower(c.inner()), lower(a - p * b.transpose() - b * p.transpose()));
    EXPECT_TRUE(c.beside_is_untouched());
  }
}

TEST_P(parallel_blas, ranges_cover_once) {
  for (const int64_t n : {0, 1, 15, 16, 17, 1000})
    for (const int64_t each : {1, 100000}) {
      std::vector<int> times(static_cast<size_t>(n));
      in_ranges(n, each, [&](int64_t first, int64_t count) {
        EXPECT_EQ(threads(), 1) << "BLAS has the calling thread alone";
        for (int64_t i = first; i < first + count; ++i) ++times[static_cast<size_t>(i)];
      });
      EXPECT_EQ(times, std::vector<int>(times.size(), 1));
    }
  EXPECT_EQ(threads(), GetParam());
}

// Panels of columns that come out even and not; dependent columns, columns of zeros.
TEST_P(parallel_blas, qr) {
  for (const auto& [m, n] : {std::array<int64_t, 2>{1, 1}, {40, 31}, {500, 64}, {700, 129}, {33, 33}})
    for (const bool dependent : {false, true}) {
      ColMatrix a = gaussian(m, n, 1);
      if (dependent) {
        a.col(n - 1) = a.col(0);
        if (n > 2) a.col(n / 2).setZero();
      }
      ColMatrix q = a;
      const ColMatrix r = lapack::qr(q);
      expect_near(q * r, a);
      expect_near(q.transpose() * q, ColMatrix::Identity(n, n));
      EXPECT_EQ(lower(r).triangularView<Eigen::StrictlyLower>().toDenseMatrix().cwiseAbs().maxCoeff(), 0);
    }
}

INSTANTIATE_TEST_SUITE_P(threads, parallel_blas, testing::Values(1, 2, 3, 8));

}  // namespace
}  // namespace panvae::eval
