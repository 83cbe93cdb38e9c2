// Canonical axes of a latent space: what they keep of it, and where they say that the rest is noise.
#include "eval/axes.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <limits>

#include "base/error.h"
#include "base/philox.h"
#include "tests/base/helpers.h"

namespace panvae::eval {
namespace {

using Matrix = data::RowMatrix<double>;

Matrix normals(int64_t rows, int64_t columns, uint32_t stream) {
  PhiloxSequence draw({5, stream, 0});
  Matrix x(rows, columns);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) x(i, j) = draw.normal() + 0.5;
  return x;
}

Matrix canonical(const LatentAxes& axes, const Matrix& mu) {
  return (mu.rowwise() - axes.center.transpose()) * axes.map;
}

Matrix covariance(const Matrix& x) {
  const Matrix centred = x.rowwise() - x.colwise().mean();
  return centred.transpose() * centred / static_cast<double>(x.rows());
}

// Three uncorrelated units with these variances, exactly.
Matrix uncorrelated(double a, double b, double c) {
  Matrix mu(8, 3);
  for (int i = 0; i < 8; ++i) mu.row(i) << (i & 1 ? 1 : -1) * std::sqrt(a), (i & 2 ? 1 : -1) * std::sqrt(b), (i & 4 ? 1 : -1) * std::sqrt(c);
  return mu;
}

// No further turn of the first two axes raises the sum of variances of squares, which is what varimax maximises.
void expect_no_turn_is_better(const Matrix& leading) {
  auto criterion = [](const Matrix& s) {
    const Matrix squares = s.array().square().matrix();
    return (squares.rowwise() - squares.colwise().mean()).squaredNorm();
  };
  for (double angle : {-0.5, -0.01, 0.01, 0.5}) {
    Matrix turned = leading;
    turned.col(0) = std::cos(angle) * leading.col(0) - std::sin(angle) * leading.col(1);
    turned.col(1) = std::sin(angle) * leading.col(0) + std::cos(angle) * leading.col(1);
    EXPECT_LT(criterion(turned), criterion(leading)) << angle;
  }
}

TEST(LatentAxes, DistancesAreThoseOfDecodedSamples) {
  const Matrix mu = normals(60, 6, 1), jacobian = normals(9, 6, 2), metric = jacobian.transpose() * jacobian;
  const LatentAxes axes = fit_latent_axes(mu, Eigen::VectorXd::Zero(6), metric);
  ASSERT_EQ(axes.informative, 6);
  ASSERT_EQ(axes.kept, 6);
  const Matrix z = canonical(axes, mu);
  for (int64_t i = 0; i < 60; i += 7)
    for (int64_t j = 0; j < i; j += 5) {
      const Eigen::VectorXd d = (mu.row(i) - mu.row(j)).transpose();
      EXPECT_NEAR((z.row(i) - z.row(j)).squaredNorm(), d.dot(metric * d), 1e-9 * d.dot(metric * d)) << i << " " << j;
    }
}

TEST(LatentAxes, ComeByVarianceAndTheLeadingOnesAreVarimaxOfPrincipalAxes) {
  const Matrix mu = normals(200, 5, 3), jacobian = normals(7, 5, 4), metric = jacobian.transpose() * jacobian;
  const LatentAxes axes = fit_latent_axes(mu, Eigen::VectorXd::Zero(5), metric, 0.1);
  ASSERT_GE(axes.leading, 2);
  ASSERT_LT(axes.leading, 5);
  const Matrix z = canonical(axes, mu), c = covariance(z);
  for (int64_t i = 1; i < axes.leading; ++i) EXPECT_GE(c(i - 1, i - 1), c(i, i)) << i;
  for (int64_t i = axes.leading; i < 5; ++i) {
    for (int64_t j = 0; j < i; ++j) EXPECT_NEAR(c(i, j), 0, 1e-9 * c.trace()) << i << " " << j;
    EXPECT_LT(c(i, i), 0.1 * c.trace()) << i;
  }
  expect_no_turn_is_better(z.leftCols(axes.leading));
  for (int64_t k = 0; k < 5; ++k) {  // the largest score is positive
    Eigen::Index at = 0;
    z.col(k).cwiseAbs().maxCoeff(&at);
    EXPECT_GT(z(at, k), 0) << k;
  }
}

// The smallest turn. Points on two oblique lines: principal axes lie between them, varimax moves them towards the lines.
TEST(LatentAxes, TwoLeadingAxesAreTurned) {
  Matrix mu(8, 3);
  for (int i = 0; i < 8; ++i) {
    const double along = i & 1 ? 1 : -1, short_unit = i & 2 ? 0.1 : -0.1;
    if (i & 4) mu.row(i) << 3 * along, 0, short_unit;
    else mu.row(i) << along, std::sqrt(3.0) * along, short_unit;
  }
  const LatentAxes axes = fit_latent_axes(mu, Eigen::VectorXd::Zero(3), Matrix::Identity(3, 3), 0.1);
  ASSERT_EQ(axes.leading, 2);
  expect_no_turn_is_better(canonical(axes, mu).leftCols(2));
}

// What rounding leaves of a metric of lower rank may be below 0.
TEST(LatentAxes, AMetricOfLowerRank) {
  const Matrix mu = uncorrelated(9, 4, 1);
  Matrix metric = Matrix::Identity(3, 3);
  metric(2, 2) = -1e-18;
  const LatentAxes axes = fit_latent_axes(mu, Eigen::Vector3d(0.5, 0.5, 2), metric);
  EXPECT_EQ(axes.informative, 2);
  const Matrix z = canonical(axes, mu);
  for (int64_t i = 1; i < 8; ++i) EXPECT_NEAR((z.row(i) - z.row(0)).squaredNorm(), (mu.row(i) - mu.row(0)).head(2).squaredNorm(), 1e-9) << i;
}

// Independent units of very unequal kurtosis: varimax finds them whatever their variances, and they are sorted afterwards.
TEST(LatentAxes, TurnedAxesComeByVarianceAgain) {
  for (uint32_t stream = 20; stream < 40; ++stream) {
    Matrix mu = normals(60, 6, stream).array().cube().matrix();
    const Matrix mix = normals(6, 6, stream + 100), metric = mix.transpose() * mix;
    const LatentAxes axes = fit_latent_axes(mu, Eigen::VectorXd::Zero(6), metric, 0);
    ASSERT_EQ(axes.leading, 6);
    const Matrix c = covariance(canonical(axes, mu));
    for (int64_t i = 1; i < 6; ++i) EXPECT_GE(c(i - 1, i - 1), c(i, i)) << stream << " " << i;
  }
}

TEST(LatentAxes, SharesAreOfTheWholeVariance) {
  const Matrix mu = uncorrelated(9, 4, 1), metric = Matrix::Identity(3, 3);
  const auto leading = [&](double share) { return fit_latent_axes(mu, Eigen::Vector3d::Zero(), metric, share).leading; };
  EXPECT_EQ(leading(0.28), 2);  // 4 of 14 are 0.286
  EXPECT_EQ(leading(0.30), 1);
  EXPECT_EQ(leading(0.65), 0);
}

// Decoded, the first unit is twice as long: four times the variance, of the samples and of the posterior.
TEST(LatentAxes, NoiseIsDecodedAsTheSamplesAre) {
  const Matrix mu = uncorrelated(9, 4, 1);
  Matrix metric = Matrix::Identity(3, 3);
  metric(0, 0) = 4;
  EXPECT_EQ(fit_latent_axes(mu, Eigen::Vector3d(8.9, 0, 0), metric).informative, 3);
  EXPECT_EQ(fit_latent_axes(mu, Eigen::Vector3d(9.1, 0, 0), metric).informative, 0);
}

TEST(LatentAxes, NoiseBeginsAtTheFirstAxisThatThePosteriorSpreadsMoreThanSamples) {
  const Matrix mu = uncorrelated(9, 4, 1), metric = Matrix::Identity(3, 3);
  auto axes_with = [&](double a, double b, double c) { return fit_latent_axes(mu, Eigen::Vector3d(a, b, c), metric); };
  EXPECT_EQ(axes_with(8.9, 3.9, 0.9).informative, 3);
  EXPECT_EQ(axes_with(8.9, 3.9, 1.1).informative, 2);
  const LatentAxes one = axes_with(0, 4.1, 0);
  EXPECT_EQ(one.informative, 1);
  EXPECT_EQ(one.kept, 1);
  EXPECT_EQ(one.map.rightCols(2).norm(), 0);
  EXPECT_NEAR(one.map.col(0).norm(), 1, 1e-12);
}

TEST(LatentAxes, ACollapsedSpaceHasNoInformativeAxisAndKeepsOne) {
  const Matrix mu = 1e-3 * uncorrelated(9, 4, 1), metric = Matrix::Identity(3, 3);
  const LatentAxes axes = fit_latent_axes(mu, Eigen::VectorXd::Ones(3), metric);
  EXPECT_EQ(axes.informative, 0);
  EXPECT_EQ(axes.kept, 1);
  EXPECT_EQ(axes.map.rightCols(2).norm(), 0);
  EXPECT_GT(canonical(axes, mu).col(0).norm(), 0);
}

TEST(LatentAxes, RefuseWhatHasNone) {
  const Matrix metric = Matrix::Identity(3, 3);
  EXPECT_THROW(fit_latent_axes(normals(1, 3, 6), Eigen::VectorXd::Ones(3), metric), Error);
  Matrix mu = normals(5, 3, 7);
  Matrix broken = metric;
  broken(1, 0) = std::numeric_limits<double>::infinity();
  EXPECT_EQ(panvae::test::error_of([&] { fit_latent_axes(mu, Eigen::VectorXd::Ones(3), broken); }).code(), ErrorCode::input);
  mu(2, 1) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(fit_latent_axes(mu, Eigen::VectorXd::Ones(3), metric), Error);
}

}  // namespace
}  // namespace panvae::eval
