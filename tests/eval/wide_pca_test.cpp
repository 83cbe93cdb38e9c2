// Components in strips of features against components of the matrix as a whole.
#include "eval/wide_pca.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include "base/interrupt.h"
#include "eval/lapack.h"
#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using test::all_rows;
using test::gaussian;
using Matrix = data::RowMatrix<double>;

PcaOptions with(int64_t k) {
  PcaOptions o;
  o.components = k;
  o.method = PcaOptions::Method::exact;
  return o;
}

// Signal of falling size over noise, with means that are far from zero.
Matrix signal(int64_t n, int64_t p, double noise, uint32_t op) {
  Matrix a = gaussian(n, 5, op), b = gaussian(5, p, op + 1);
  for (int64_t r = 0; r < 5; ++r) b.row(r) *= 4.0 / (1.0 + static_cast<double>(r));
  Matrix x = a * b + noise * gaussian(n, p, op + 2);
  x.rowwise() += 5 * gaussian(1, p, op + 3).row(0);
  return x;
}

template <class M>
Matrix components_of(const WidePca& pca, const M& x) {
  Matrix v(pca.model.count(), x.cols());
  int64_t next = 0;
  for_components(pca, x, [&](int64_t first, const Matrix& part) {
    EXPECT_EQ(first, next);
    v.middleCols(first, part.cols()) = part;
    next = first + part.cols();
  });
  EXPECT_EQ(next, x.cols());
  return v;
}

double largest(const Eigen::MatrixXd& m) {
  return m.size() == 0 ? 0 : m.cwiseAbs().maxCoeff();
}

std::vector<int64_t> every_other(int64_t n) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n; i += 2) rows.push_back(i);
  return rows;
}

// One strip, strips that end in the middle of one, and one strip to the feature.
class WidePcaShapes : public testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(Features, WidePcaShapes, testing::Values(31, 200, 4096, 4097, 9000));

TEST_P(WidePcaShapes, AgreesWithTheWholeMatrix) {
  const int64_t n = 60, p = GetParam();
  const Matrix x = signal(n, p, 0.3, 20);
  const std::vector<int64_t> rows = every_other(n);
  for (const int64_t k : {1, 7, 512}) {
    const PcaModel whole = fit_pca(x, rows, with(k));
    const WidePca wide = fit_wide_pca(x, rows, with(k));
    ASSERT_EQ(wide.model.count(), whole.count());
    EXPECT_EQ(wide.model.method, "strips");
    EXPECT_EQ(wide.model.fitted_on, 30);
    EXPECT_EQ(wide.model.components.size(), 0);
    EXPECT_LT(largest(wide.model.mean - whole.mean), 1e-14);
    EXPECT_NEAR(wide.model.total_variance / whole.total_variance, 1, 1e-13);
    EXPECT_LT(largest((wide.model.singular.cwiseQuotient(whole.singular)).array() - 1), 1e-11);
    const Matrix v = components_of(wide, x);
    EXPECT_LT(largest(v - whole.components), 1e-9);
    EXPECT_LT(largest(v * v.transpose() - Eigen::MatrixXd::Identity(v.rows(), v.rows())), 1e-11);
    // Of fitted samples and of the others.
    ASSERT_EQ(wide.scores.rows(), n);
    const Matrix expected = transform(whole, x);
    EXPECT_LT(largest(wide.scores - expected), 1e-9 * largest(expected));
  }
}

// Samples that were not fitted are projected 1024 at a time.
TEST(WidePca, MoreOtherSamplesThanABlock) {
  const Matrix x = signal(2100, 30, 0.3, 50);
  const std::vector<int64_t> rows = all_rows(20);
  const Matrix expected = transform(fit_pca(x, rows, with(4)), x);
  EXPECT_LT(largest(fit_wide_pca(x, rows, with(4)).scores - expected), 1e-9 * largest(expected));
}

TEST(WidePca, SameBitsOnDiskInFloatAndInDouble) {
  const data::RowMatrix<float> f = signal(40, 5000, 0.4, 60).cast<float>();
  const Matrix d = f.cast<double>();
  data::LargeMatrix<float> disk(40, 5000, std::filesystem::temp_directory_path().string());
  std::copy(f.data(), f.data() + f.size(), disk.data());
  const std::vector<int64_t> rows = every_other(40);
  const WidePca a = fit_wide_pca(f, rows, with(10)), b = fit_wide_pca(d, rows, with(10)), c = fit_wide_pca(disk, rows, with(10));
  EXPECT_EQ(a.scores, b.scores);
  EXPECT_EQ(a.scores, c.scores);
  EXPECT_EQ(a.weights, c.weights);
  EXPECT_EQ(components_of(a, f), components_of(c, disk));
  EXPECT_EQ(inverse_transform(a, f, a.scores), inverse_transform(c, disk, c.scores));
  EXPECT_EQ(fit_wide_pca(f, rows, with(10)).scores, a.scores);  // and again
}

TEST(WidePca, ReconstructsAsTheWholeMatrix) {
  const Matrix x = signal(30, 4500, 0.3, 70);
  const PcaModel whole = fit_pca(x, every_other(30), with(6));
  const WidePca wide = fit_wide_pca(x, every_other(30), with(6));
  const data::RowMatrix<float> a = inverse_transform<float>(whole, transform(whole, x)), b = inverse_transform(wide, x, wide.scores);
  EXPECT_LT(largest((a - b).cast<double>()), 1e-5);
  // All components of a matrix give it back.
  const WidePca all = fit_wide_pca(x, all_rows(30), with(512));
  EXPECT_EQ(all.model.count(), 29);
  EXPECT_LT(largest(inverse_transform(all, x, all.scores).cast<double>() - x), 1e-4);
  EXPECT_ERROR(ErrorCode::usage, "3 scores for 29 components", inverse_transform(all, x, Matrix::Zero(2, 3)));
}

TEST(WidePca, LargestLoadingIsPositive) {
  const Matrix x = signal(50, 6000, 0.3, 80);
  const Matrix v = components_of(fit_wide_pca(x, all_rows(50), with(20)), x);
  for (int64_t i = 0; i < v.rows(); ++i) EXPECT_EQ(v.row(i).maxCoeff(), v.row(i).cwiseAbs().maxCoeff()) << i;
}

// Where values span many orders of magnitude: those that the Gram matrix holds are right to ten digits, the others are not made up.
TEST(WidePca, SteepSpectra) {
  const int64_t n = 40, p = 300;
  ColMatrix u = gaussian(n, 20, 30), v = gaussian(p, 20, 31);
  u.rowwise() -= u.colwise().mean();
  lapack::qr(u);
  lapack::qr(v);
  Eigen::VectorXd s(20);
  for (int i = 0; i < 20; ++i) s[i] = 1000 * std::pow(0.35, i);
  const Matrix x = u * s.asDiagonal() * v.transpose();
  const WidePca pca = fit_wide_pca(x, all_rows(n), with(20));
  ASSERT_EQ(pca.model.count(), 9);  // 0.35^8 = 2.3e-4, 0.35^9 = 7.9e-5
  EXPECT_LT(largest(pca.model.singular.cwiseQuotient(s.head(9)).array() - 1), 1e-10);
  const Matrix c = components_of(pca, x);
  EXPECT_LT(largest(c * c.transpose() - Eigen::MatrixXd::Identity(9, 9)), 1e-10);
  for (int i = 0; i < 9; ++i) EXPECT_NEAR(std::abs(c.row(i).dot(v.col(i))), 1, 1e-9) << i;
}

TEST(WidePca, SamplesThatAreCopiesAddNoComponent) {
  Matrix x = signal(20, 100, 0.3, 90);
  for (int64_t i = 10; i < 20; ++i) x.row(i) = x.row(i - 10);
  const WidePca pca = fit_wide_pca(x, all_rows(20), with(512));
  EXPECT_EQ(pca.model.count(), 9);
  for (int64_t i = 0; i < 10; ++i) EXPECT_LT(largest(pca.scores.row(i) - pca.scores.row(i + 10)), 1e-9);
}

// As Pca.LargeConstantsAddNothing.
TEST(WidePca, LargeConstantsAddNothing) {
  const Matrix alone = 1e-3 * gaussian(20, 40, 91);
  Matrix x(20, 48);
  x.leftCols(40) = alone;
  for (int64_t j = 40; j < 48; ++j) x.col(j).setConstant(1e12 / static_cast<double>(2 * j + 3));
  const WidePca pca = fit_wide_pca(x, all_rows(20), with(5)), expected = fit_wide_pca(alone, all_rows(20), with(5));
  EXPECT_LT(largest(pca.model.singular - expected.model.singular), 1e-12);
  EXPECT_EQ(pca.model.mean.tail(8), x.row(0).tail(8).transpose());
}

TEST(WidePca, Threads) {
  const Matrix x = signal(80, 5000, 0.3, 95);
  const test::Threads one(1);
  const WidePca a = fit_wide_pca(x, all_rows(80), with(5)), again = fit_wide_pca(x, all_rows(80), with(5));
  EXPECT_EQ(a.scores, again.scores);
  set_threads(2);
  EXPECT_LT(largest(a.scores - fit_wide_pca(x, all_rows(80), with(5)).scores), 1e-9);
}

TEST(WidePca, RefusesWhatCannotBeFitted) {
  Matrix x = gaussian(10, 5000, 130);
  EXPECT_ERROR(ErrorCode::input, "at least two samples", fit_wide_pca(x, {3}, with(2)));
  EXPECT_ERROR(ErrorCode::usage, "0 components", fit_wide_pca(x, all_rows(10), with(0)));
  EXPECT_ERROR(ErrorCode::usage, "10 samples of 6 features", fit_wide_pca(Matrix(gaussian(10, 6, 1)), all_rows(10), with(2)));
  EXPECT_ERROR(ErrorCode::input, "no feature varies", fit_wide_pca(Matrix(Matrix::Constant(10, 60, 0.1)), all_rows(10), with(2)));
  for (const int64_t row : {-1, 10}) EXPECT_ERROR(ErrorCode::usage, fmt::format("pca: row {} of 10", row), fit_wide_pca(x, {0, row, 3}, with(2)));
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e160}) {
    x(7, 4200) = bad;
    for (const std::vector<int64_t>& rows : {all_rows(10), std::vector<int64_t>{1, 4, 7, 9}})
      EXPECT_ERROR(ErrorCode::input, "sample 8, feature 4201", fit_wide_pca(x, rows, with(2)));
  }
  set_interrupted(true);
  const Error e = test::error_of([&] { fit_wide_pca(x, {0, 1, 2}, with(2)); });
  set_interrupted(false);
  EXPECT_EQ(e.code(), ErrorCode::interrupted);
}

TEST(WidePca, IsForLargeMatricesOfManyFeatures) {
  EXPECT_TRUE(is_wide(800, 562709));
  EXPECT_FALSE(is_wide(800, 20000));
  EXPECT_FALSE(is_wide(562709, 800));
  EXPECT_FALSE(is_wide(0, 562709));
  EXPECT_FALSE(is_wide(1, int64_t{1} << 40));
  // Eight times as many features as samples, and more than 2^26 doubles.
  EXPECT_TRUE(is_wide(4096, 32768));
  EXPECT_FALSE(is_wide(4096, 32767));
  EXPECT_TRUE(is_wide(1024, 65537));
  EXPECT_FALSE(is_wide(1024, 65536));
}

}  // namespace
}  // namespace panvae::eval
