#include "eval/pca.h"

#include <Eigen/SVD>
#include <cmath>
#include <limits>

#include "base/interrupt.h"
#include "eval/centred_matrix.h"
#include "eval/lapack.h"
#include "eval/wide_pca.h"
#include "tests/eval/helpers.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {
namespace {

using test::all_rows;
using test::gaussian;
using Matrix = data::RowMatrix<double>;

PcaOptions with(int64_t k, PcaOptions::Method method = PcaOptions::Method::automatic) {
  PcaOptions o;
  o.components = k;
  o.method = method;
  return o;
}

// Signal in `rank` directions of falling size over noise, and means that are not zero.
Matrix signal(int64_t n, int64_t p, int64_t rank, double noise, uint32_t op) {
  Matrix a = gaussian(n, rank, op), b = gaussian(rank, p, op + 1), e = gaussian(n, p, op + 2);
  for (int64_t r = 0; r < rank; ++r) b.row(r) *= 10.0 / (1.0 + static_cast<double>(r));
  Matrix x = a * b + noise * e;
  x.rowwise() += 5 * gaussian(1, p, op + 3).row(0);
  return x;
}

// Eigen's Jacobi SVD of the centred matrix: accurate, slow, and none of our code.
struct Reference {
  Eigen::VectorXd s;
  Eigen::MatrixXd v;
};
Reference reference(const Matrix& x) {
  const Eigen::MatrixXd c = x.rowwise() - x.colwise().mean();
  const Eigen::JacobiSVD<Eigen::MatrixXd> svd(c, Eigen::ComputeThinU | Eigen::ComputeThinV);
  return {svd.singularValues(), svd.matrixV()};
}

double largest(const Eigen::MatrixXd& m) {
  double v = 0;
  for (Eigen::Index i = 0; i < m.size(); ++i) v = std::max(v, std::abs(m.data()[i]));
  return v;
}

void expect_agrees(const PcaModel& m, const Reference& r, double tolerance, double vector_tolerance) {
  for (int64_t i = 0; i < m.count(); ++i) {
    EXPECT_NEAR(m.singular[i] / r.s[i], 1, tolerance) << "component " << i;
    EXPECT_NEAR(std::abs(m.components.row(i).dot(r.v.col(i))), 1, vector_tolerance) << "component " << i;
  }
}

double orthonormality_error(const PcaModel& m) {
  const Eigen::MatrixXd g = m.components * m.components.transpose();
  return largest(g - Eigen::MatrixXd::Identity(g.rows(), g.cols()));
}

struct Shape {
  int64_t n, p;
};
class PcaExact : public testing::TestWithParam<Shape> {};
INSTANTIATE_TEST_SUITE_P(Shapes, PcaExact,
                         testing::Values(Shape{40, 90}, Shape{90, 40}, Shape{50, 50}, Shape{450, 7}, Shape{7, 1100}, Shape{2, 30}, Shape{30, 1}));

TEST_P(PcaExact, AgreesWithAFullSvd) {
  const auto [n, p] = GetParam();
  const Matrix x = signal(n, p, std::min<int64_t>(3, std::min(n, p)), 0.3, 20);
  const PcaModel m = fit_pca(x, all_rows(n), with(512, PcaOptions::Method::exact));
  ASSERT_EQ(m.count(), std::min({int64_t{512}, n - 1, p}));
  expect_agrees(m, reference(x), 1e-9, 1e-9);
  EXPECT_LT(orthonormality_error(m), 1e-12);
  EXPECT_NEAR(m.explained_ratio().sum(), 1, 1e-12);
  EXPECT_EQ(m.method, "exact");
}

// Gram matrices of this size are decomposed in two stages: known singular values over noise without gaps, from both sides,
// and both types of values.
TEST(Pca, ExactOnLargeGramMatrices) {
  const int64_t n = 2060, p = 2300, signals = 6, k = 40;
  const Matrix noise = gaussian(n, p, 160);
  ColMatrix left = gaussian(n, signals, 161), right = gaussian(p, signals, 162);
  Matrix x = noise;
  for (int64_t i = 0; i < signals; ++i) x += (30.0 / static_cast<double>(i + 1)) * left.col(i) * right.col(i).transpose();
  for (const bool transposed : {false, true}) {
    const Matrix m = transposed ? Matrix(x.transpose()) : x;
    const data::RowMatrix<float> single = m.cast<float>();
    const Matrix widened = single.cast<double>();
    const PcaModel a = fit_pca(widened, all_rows(m.rows()), with(k)), b = fit_pca(single, all_rows(m.rows()), with(k));
    EXPECT_EQ(a.method, "exact");
    EXPECT_EQ(a.components, b.components);
    EXPECT_LT(orthonormality_error(a), 1e-12);
    // Residuals of both sides bound the error of each value and, over the gap, of each vector: Xc^T Xc v = s^2 v.
    const Eigen::MatrixXd c = widened.rowwise() - widened.colwise().mean();
    const Eigen::MatrixXd v = a.components.transpose();
    const Eigen::MatrixXd residual = c.transpose() * (c * v) - v * a.singular.cwiseAbs2().asDiagonal();
    EXPECT_LT(largest(residual), 1e-11 * a.singular[0] * a.singular[0]);
    // That they are the largest: the matrix without them has a smaller norm than the last of them, but for a gap of noise.
    Eigen::VectorXd w = gaussian(c.cols(), 1, 163);
    for (int i = 0; i < 200; ++i) {
      w -= v * (v.transpose() * w);
      w = (c.transpose() * (c * w)).normalized();
    }
    w -= v * (v.transpose() * w);
    const double next = (c * w).norm() / w.norm();
    EXPECT_LT(next, a.singular[k - 1] * (1 + 1e-9));
    EXPECT_GT(next, a.singular[k - 1] * 0.98);
  }
}

// Every feature has its opposite, so that loadings are equal but for their signs: the first is the positive one, also where
// rounding makes another a little larger.
TEST(Pca, OfEqualLoadingsTheFirstIsPositive) {
  for (const int64_t pairs : {1, 3, 40, 3000}) {
    const int64_t n = 8;
    const Matrix half = gaussian(n, pairs, 180);
    Matrix x(n, 2 * pairs);
    for (int64_t j = 0; j < pairs; ++j) x.col(j) = half.col(j), x.col(2 * pairs - 1 - j) = -half.col(j);
    const auto expect_signs = [&](const Matrix& components, const char* method) {
      for (int64_t i = 0; i < components.rows(); ++i) {
        Eigen::Index at = 0;
        components.row(i).head(pairs).cwiseAbs().maxCoeff(&at);
        EXPECT_GT(components(i, at), 0) << method << ", " << pairs << " pairs, component " << i;
      }
    };
    const int64_t k = std::min<int64_t>(4, pairs);
    expect_signs(fit_pca(x, all_rows(n), with(k, PcaOptions::Method::exact)).components, "exact");
    expect_signs(fit_pca(x, all_rows(n), with(k, PcaOptions::Method::randomised)).components, "randomised");
    if (2 * pairs < n) continue;
    const WidePca wide = fit_wide_pca(x, all_rows(n), with(k));
    Matrix components(k, x.cols());
    for_components(wide, x, [&](int64_t first, const Matrix& part) { components.middleCols(first, part.cols()) = part; });
    expect_signs(components, "strips");
  }
}

// Four directions of equal variance and two of less: which vectors stand for the four is open, but not their space, their
// lengths, their signs, and that scores are those of the components.
TEST(Pca, EqualVariancesGiveTheirSpace) {
  const int64_t p = 40;
  ColMatrix frame = gaussian(p, 6, 190);
  lapack::qr(frame);
  Matrix x(12, p);
  for (int64_t i = 0; i < 12; ++i) x.row(i) = (i % 2 ? -1 : 1) * (i < 8 ? 3.0 : i < 10 ? 2.0 : 1.0) * frame.col(i / 2).transpose();
  const std::vector<double> singular = {18, 18, 18, 18, 8, 2};  // squares
  const Eigen::MatrixXd space = frame.leftCols(4) * frame.leftCols(4).transpose();
  const auto check = [&](const PcaModel& m, const Matrix& components, const Matrix& scores) {
    ASSERT_EQ(m.count(), 6) << m.method;
    for (int64_t i = 0; i < 6; ++i) {
      EXPECT_NEAR(m.singular[i] * m.singular[i], singular[static_cast<size_t>(i)], 1e-11) << m.method;
      EXPECT_EQ(components.row(i).maxCoeff(), components.row(i).cwiseAbs().maxCoeff()) << m.method;
    }
    EXPECT_LT(largest(components.topRows(4).transpose() * components.topRows(4) - space), 1e-11) << m.method;
    EXPECT_LT(largest(components * components.transpose() - Eigen::MatrixXd::Identity(6, 6)), 1e-12) << m.method;
    EXPECT_NEAR(std::abs(components.row(4).dot(frame.col(4))), 1, 1e-12) << m.method;
    EXPECT_LT(largest(x * components.transpose() - scores), 1e-11) << m.method;
  };
  for (const auto method : {PcaOptions::Method::exact, PcaOptions::Method::randomised}) {
    const FittedPca f = fit_transform_pca(x, all_rows(12), with(9, method));
    check(f.model, f.model.components, f.scores);
  }
  const WidePca wide = fit_wide_pca(x, all_rows(12), with(9));
  Matrix components(wide.model.count(), p);
  for_components(wide, x, [&](int64_t first, const Matrix& part) { components.middleCols(first, part.cols()) = part; });
  check(wide.model, components, wide.scores);
}

// The scores that come with a fit are those of the matrix times the components, for fitted samples and for others.
TEST(Pca, ScoresOfTheFitAreThoseOfTheTransformation) {
  for (const auto& [n, p] : {Shape{60, 90}, Shape{90, 40}}) {
    for (const double noise : {0.3, 0.0})
      for (const auto method : {PcaOptions::Method::exact, PcaOptions::Method::randomised}) {
        const Matrix x = signal(n, p, 4, noise, 170);
        std::vector<int64_t> rows;
        for (int64_t i = n - 1; i > 10; --i) rows.push_back(i);  // not in the order of the matrix
        const FittedPca f = fit_transform_pca(x, rows, with(10, method));
        const PcaModel m = fit_pca(x, rows, with(10, method));
        EXPECT_EQ(f.model.components, m.components);
        EXPECT_EQ(f.model.singular, m.singular);
        const Matrix expected = (x.rowwise() - m.mean.transpose()) * m.components.transpose();
        ASSERT_EQ(f.scores.rows(), n);
        EXPECT_LT(largest(f.scores - expected), 1e-10 * m.singular[0]);
        EXPECT_LT(largest(transform(m, x) - expected), 1e-12 * m.singular[0]);
      }
  }
}

// A few components of many: the Gram matrix's way. And values that span ten orders of magnitude: the full decomposition.
TEST(Pca, ExactOnSteepSpectra) {
  for (const double ratio : {0.8, 0.3, 0.1}) {
    const int64_t n = 60, p = 80;
    Matrix x = gaussian(n, p, 30);
    Eigen::MatrixXd c = x.rowwise() - x.colwise().mean();
    const Eigen::JacobiSVD<Eigen::MatrixXd> svd(c, Eigen::ComputeThinU | Eigen::ComputeThinV);
    Eigen::VectorXd s(60);
    for (int i = 0; i < 60; ++i) s[i] = 100 * std::pow(ratio, i);
    const Matrix steep = svd.matrixU() * s.asDiagonal() * svd.matrixV().transpose();
    const PcaModel m = fit_pca(steep, all_rows(n), with(10, PcaOptions::Method::exact));
    ASSERT_EQ(m.count(), 10);
    expect_agrees(m, reference(steep), 1e-6, 1e-9);
    EXPECT_LT(orthonormality_error(m), 1e-12);
  }
}

TEST(Pca, RandomisedFindsTheSignal) {
  for (const auto& [n, p] : {Shape{200, 700}, Shape{700, 200}}) {
    const Matrix x = signal(n, p, 8, 0.2, 40);
    const PcaModel m = fit_pca(x, all_rows(n), with(12, PcaOptions::Method::randomised));
    EXPECT_EQ(m.method, "randomised");
    const Reference r = reference(x);
    for (int i = 0; i < 8; ++i) {
      EXPECT_NEAR(m.singular[i] / r.s[i], 1, 1e-10);
      EXPECT_NEAR(std::abs(m.components.row(i).dot(r.v.col(i))), 1, 1e-10);
    }
    // In the flat part of the spectrum values are low by some per cent, never high.
    for (int i = 8; i < 12; ++i) {
      EXPECT_LE(m.singular[i], r.s[i] * (1 + 1e-12));
      EXPECT_GT(m.singular[i], r.s[i] * 0.97);
    }
    EXPECT_LT(orthonormality_error(m), 1e-12);
  }
}

TEST(Pca, RandomisedSketchOfEverythingIsExact) {
  const Matrix x = signal(30, 50, 4, 0.5, 45);
  expect_agrees(fit_pca(x, all_rows(30), with(20, PcaOptions::Method::randomised)), reference(x), 1e-9, 1e-9);
}

TEST(Pca, LargestLoadingIsPositive) {
  for (const auto method : {PcaOptions::Method::exact, PcaOptions::Method::randomised}) {
    const PcaModel m = fit_pca(signal(60, 100, 5, 0.3, 50), all_rows(60), with(12, method));
    for (int64_t i = 0; i < m.count(); ++i) {
      double at = 0;
      for (int64_t j = 0; j < 100; ++j)
        if (std::abs(m.components(i, j)) > std::abs(at)) at = m.components(i, j);
      EXPECT_GT(at, 0);
    }
  }
}

TEST(Pca, SameForFloatAndDouble) {
  const data::RowMatrix<float> f = signal(50, 80, 4, 0.4, 60).cast<float>();
  const Matrix d = f.cast<double>();
  const PcaModel a = fit_pca(f, all_rows(50), with(10)), b = fit_pca(d, all_rows(50), with(10));
  EXPECT_EQ(a.components, b.components);
  EXPECT_EQ(transform(a, f), transform(b, d));
}

TEST(Pca, SampleOrderDoesNotMatter) {
  const int64_t n = 300;
  const Matrix x = signal(n, 90, 6, 0.3, 70);
  Matrix reversed = x.colwise().reverse();
  for (const auto method : {PcaOptions::Method::exact, PcaOptions::Method::randomised}) {
    const PcaModel a = fit_pca(x, all_rows(n), with(6, method)), b = fit_pca(reversed, all_rows(n), with(6, method));
    EXPECT_LT(largest(a.components - b.components), 1e-9);
  }
}

TEST(Pca, FittedOnTheRowsAskedFor) {
  const Matrix x = signal(80, 60, 4, 0.3, 80);
  std::vector<int64_t> even;
  Matrix train(40, 60);
  for (int64_t i = 0; i < 40; ++i) even.push_back(2 * i), train.row(i) = x.row(2 * i);
  const PcaModel a = fit_pca(x, even, with(9)), b = fit_pca(train, all_rows(40), with(9));
  EXPECT_EQ(a.components, b.components);
  EXPECT_EQ(a.mean, b.mean);
  EXPECT_EQ(a.fitted_on, 40);
  // Centred on the training samples, whose scores have the variances the model states and no correlation.
  const Matrix scores = transform(a, x);
  Matrix s(40, 9);
  for (int64_t i = 0; i < 40; ++i) s.row(i) = scores.row(2 * i);
  const Eigen::MatrixXd covariance = s.transpose() * s / 39.0;
  const Eigen::MatrixXd expected = a.explained_variance().asDiagonal();
  EXPECT_LT(largest(covariance - expected), 1e-9 * a.explained_variance()[0]);
  EXPECT_LT(largest(s.colwise().sum()), 1e-9);
  // Shares are of all variance, that of directions which were not asked for too.
  const double total = (train.rowwise() - train.colwise().mean()).squaredNorm();
  for (int64_t i = 0; i < 9; ++i) EXPECT_NEAR(a.explained_ratio()[i], a.singular[i] * a.singular[i] / total, 1e-12) << i;
}

// Rows are projected and rebuilt 256 at a time.
TEST(Pca, MoreRowsThanABlock) {
  const Matrix x = signal(600, 8, 3, 0.3, 85);
  const PcaModel m = fit_pca(x, all_rows(40), with(5));
  const Matrix scores = transform(m, x), expected = (x.rowwise() - m.mean.transpose()) * m.components.transpose();
  EXPECT_LT(largest(scores - expected), 1e-11);
  const Matrix rebuilt = (expected * m.components).rowwise() + m.mean.transpose();
  EXPECT_LT(largest(inverse_transform<double>(m, scores) - rebuilt), 1e-11);
}

TEST(Pca, ThreadsAndRepetition) {
  const Matrix x = signal(300, 400, 5, 0.3, 90);
  for (const auto method : {PcaOptions::Method::exact, PcaOptions::Method::randomised}) {
    const test::Threads one(1);
    const PcaModel a = fit_pca(x, all_rows(300), with(5, method)), again = fit_pca(x, all_rows(300), with(5, method));
    EXPECT_EQ(a.components, again.components);  // the same bits
    set_threads(2);
    const PcaModel b = fit_pca(x, all_rows(300), with(5, method));
    EXPECT_LT(largest(a.components - b.components), 1e-11);
  }
}

TEST(Pca, SeedMattersOnlyInTheNoise) {
  const Matrix x = signal(200, 300, 5, 0.2, 95);
  PcaOptions o = with(5, PcaOptions::Method::randomised), other = o;
  other.seed = 1;
  const PcaModel a = fit_pca(x, all_rows(200), o), b = fit_pca(x, all_rows(200), other);
  EXPECT_NE(a.components, b.components);
  EXPECT_LT(largest(a.components - b.components), 1e-6);
}

TEST(Pca, ReconstructionOfALowRankMatrix) {
  const Matrix x = signal(40, 70, 3, 0, 100);
  const PcaModel m = fit_pca(x, all_rows(40), with(512));
  EXPECT_EQ(m.count(), 3);  // components beyond the rank are not made up
  EXPECT_LT(largest(inverse_transform<double>(m, transform(m, x)) - x), 1e-10);
  const PcaModel r = fit_pca(x, all_rows(40), with(30, PcaOptions::Method::randomised));
  EXPECT_EQ(r.count(), 3);
  EXPECT_LT(largest(inverse_transform<double>(r, transform(r, x)) - x), 1e-10);
}

TEST(Pca, ConstantFeaturesHaveNoLoading) {
  Matrix x = signal(30, 20, 3, 0.3, 110);
  x.col(4).setConstant(1.1);
  x.col(11).setConstant(-1e6 / 3);
  const PcaModel m = fit_pca(x, all_rows(30), with(8));
  EXPECT_LT(largest(m.components.col(4)), 1e-9);
  EXPECT_LT(largest(m.components.col(11)), 1e-9);
  EXPECT_NEAR(m.mean[4], 1.1, 1e-15);
}

// The mean of equal values is not always their value: what rounding leaves of constants this large would be a component.
TEST(Pca, LargeConstantsAddNothing) {
  const Matrix alone = 1e-3 * gaussian(30, 12, 111);
  Matrix x(30, 20);
  x.leftCols(12) = alone;
  for (int64_t j = 12; j < 20; ++j) x.col(j).setConstant(1e12 / static_cast<double>(2 * j + 3));
  const PcaModel m = fit_pca(x, all_rows(30), with(5)), expected = fit_pca(alone, all_rows(30), with(5));
  EXPECT_LT(largest(m.singular - expected.singular), 1e-12);
  EXPECT_NEAR(m.total_variance / expected.total_variance, 1, 1e-12);
  EXPECT_EQ(m.mean.tail(8), x.row(0).tail(8).transpose());
}

TEST(Pca, LargeOffsetsCancel) {
  Matrix x = signal(60, 40, 4, 0.3, 115);
  const PcaModel near = fit_pca(x, all_rows(60), with(4));
  x.array() += 1e6;
  const PcaModel far = fit_pca(x, all_rows(60), with(4));
  EXPECT_LT(largest(near.components - far.components), 1e-7);
}

TEST(Pca, TwoSamplesGiveOneComponent) {
  const Matrix x = gaussian(2, 30, 120);
  const PcaModel m = fit_pca(x, all_rows(2), with(512));
  ASSERT_EQ(m.count(), 1);
  EXPECT_NEAR(m.explained_ratio()[0], 1, 1e-12);
}

TEST(Pca, RefusesWhatCannotBeFitted) {
  Matrix x = gaussian(10, 6, 130);
  EXPECT_ERROR(ErrorCode::input, "at least two samples", fit_pca(x, {3}, with(2)));
  EXPECT_ERROR(ErrorCode::input, "at least two samples", fit_pca(x, {}, with(2)));
  EXPECT_ERROR(ErrorCode::usage, "0 components", fit_pca(x, all_rows(10), with(0)));
  EXPECT_ERROR(ErrorCode::input, "no feature varies", fit_pca(Matrix(Matrix::Constant(10, 6, 0.1)), all_rows(10), with(2)));
  EXPECT_ERROR(ErrorCode::input, "no feature varies", fit_pca(Matrix(Matrix::Zero(10, 6)), all_rows(10), with(2)));
  Matrix rounded = Matrix::Constant(10, 6, 0.1);
  rounded(3, 2) = std::nextafter(0.1, 1.0);
  EXPECT_ERROR(ErrorCode::input, "no feature varies", fit_pca(rounded, all_rows(10), with(2)));
  for (const int64_t row : {-1, 10}) EXPECT_ERROR(ErrorCode::usage, fmt::format("pca: row {} of 10", row), fit_pca(x, {0, row, 3}, with(2)));
  x(7, 2) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_ERROR(ErrorCode::input, "sample 8, feature 3", fit_pca(x, all_rows(10), with(2)));
  x(7, 2) = -std::numeric_limits<double>::infinity();
  for (const std::vector<int64_t>& rows : {all_rows(10), std::vector<int64_t>{1, 4, 7, 9}})
    EXPECT_ERROR(ErrorCode::input, "sample 8, feature 3", fit_pca(x, rows, with(2)));
  for (const double large : {1e160, -1.7e308}) {  // whose squares, and even whose sum, no double holds
    x(5, 1) = large / 1.5, x(7, 2) = large;
    const Error e = test::error_of([&] { fit_pca(x, all_rows(10), with(2)); });
    EXPECT_EQ(e.code(), ErrorCode::input);
    EXPECT_CONTAINS(e.what(), "sample 8, feature 3");
    EXPECT_CONTAINS(e.what(), "more than a double holds");
  }
  const PcaModel m = fit_pca(gaussian(10, 6, 131), all_rows(10), with(2));
  EXPECT_ERROR(ErrorCode::usage, "5 features for components of 6", transform(m, gaussian(10, 5, 1)));
  EXPECT_ERROR(ErrorCode::usage, "3 scores for 2 components", inverse_transform<double>(m, gaussian(10, 3, 1)));
}

TEST(Pca, FrozenAndBack) {
  const Matrix x = signal(20, 9, 3, 0.3, 140);
  const PcaModel m = fit_pca(x, all_rows(20), with(4, PcaOptions::Method::randomised));
  const std::vector<std::string> names{"a", "b", "c", "d", "e", "f", "g", "h", "i"};
  data::Frozen f = freeze(m, names);
  const PcaModel back = thaw_pca(f);
  EXPECT_EQ(back.components, m.components);
  EXPECT_EQ(back.mean, m.mean);
  EXPECT_EQ(back.explained_ratio(), m.explained_ratio());
  EXPECT_EQ(f.features, names);
  EXPECT_EQ(f.settings["pca"], (Json{{"components", 4}, {"fitted_on", 20}, {"method", "randomised"}, {"total_variance", m.total_variance}}));
  EXPECT_EQ(back.method, "randomised");
  EXPECT_EQ(back.fitted_on, 20);
  EXPECT_EQ(back.total_variance, m.total_variance);
  data::Frozen fewer = f;
  fewer.arrays["pca_singular"] = {{3}, {3, 2, 1}};
  EXPECT_ERROR(ErrorCode::input, "do not fit together", thaw_pca(fewer));
  data::Frozen wider = f;
  wider.arrays["pca_components"] = {{4, 10}, std::vector<double>(40, 0.5)};
  EXPECT_ERROR(ErrorCode::input, "do not fit together", thaw_pca(wider));
  f.arrays["pca_mean"].shape = {10};
  EXPECT_ERROR(ErrorCode::input, "pca_mean", thaw_pca(f));
  f.arrays.erase("pca_mean");
  EXPECT_ERROR(ErrorCode::input, "--store-components", thaw_pca(f));
}

TEST(Pca, CtrlCStops) {
  const Matrix x = gaussian(10, 6, 150);
  set_interrupted(true);
  const Error e = test::error_of([&] { fit_pca(x, all_rows(10), with(2)); });
  set_interrupted(false);
  EXPECT_EQ(e.code(), ErrorCode::interrupted);
}

}  // namespace
}  // namespace panvae::eval
