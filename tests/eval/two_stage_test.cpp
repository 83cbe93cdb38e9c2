#include "eval/two_stage.h"

#include <Eigen/Eigenvalues>
#include <cmath>
#include <numbers>

#include "base/interrupt.h"
#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using lapack::EigenPairs;
using test::gaussian;

ColMatrix orthogonal(int64_t n, uint32_t op) {
  ColMatrix q = gaussian(n, n, op);
  lapack::qr(q);
  return q;
}

// A symmetric matrix of these eigenvalues.
ColMatrix with_values(const Eigen::VectorXd& values, uint32_t op) {
  const ColMatrix q = orthogonal(values.size(), op);
  ColMatrix a = q * values.asDiagonal() * q.transpose();
  return 0.5 * (a + ColMatrix(a.transpose()));
}

// Eigenpairs of a: orthonormal, with small residuals, and the values that are expected (largest first).
void expect_pairs(const ColMatrix& a, const EigenPairs& e, const Eigen::VectorXd& expected, double tolerance) {
  const int64_t k = e.values.size();
  ASSERT_EQ(e.vectors.rows(), a.rows());
  ASSERT_EQ(e.vectors.cols(), k);
  const double norm = std::max(expected.cwiseAbs().maxCoeff(), 1e-300);
  EXPECT_LT((e.values - expected.head(k)).cwiseAbs().maxCoeff() / norm, tolerance);
  EXPECT_LT((a * e.vectors - e.vectors * e.values.asDiagonal()).cwiseAbs().maxCoeff() / norm, tolerance);
  EXPECT_LT((e.vectors.transpose() * e.vectors - ColMatrix::Identity(k, k)).cwiseAbs().maxCoeff(), 1e-11);
}

// Only the lower triangle may be read.
EigenPairs solve(ColMatrix a, int64_t k, int64_t band) {
  a.triangularView<Eigen::StrictlyUpper>().setConstant(std::numeric_limits<double>::quiet_NaN());
  return lapack::two_stage_eigenvectors(a, k, band);
}

TEST(TwoStage, AgreesWithEigenAtAnySizeAndBand) {
  for (const int64_t n : {2, 3, 5, 33, 64, 65, 130, 301})
    for (const int64_t band : {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{7}, int64_t{64}, n / 2, n - 1}) {
      if (band >= n) continue;
      SCOPED_TRACE(fmt::format("{} with band {}", n, band));
      ColMatrix a = gaussian(n, n, static_cast<uint32_t>(n));
      a = ColMatrix(a + ColMatrix(a.transpose()));
      const Eigen::SelfAdjointEigenSolver<ColMatrix> reference(a);
      for (const int64_t k : {int64_t{1}, (n + 2) / 3, n}) expect_pairs(a, solve(a, k, band), reference.eigenvalues().reverse(), 1e-12);
    }
}

TEST(TwoStage, SpectraThatDecayAreFlatClusteredOrEnd) {
  const int64_t n = 150;
  Eigen::VectorXd decaying(n), clustered(n), ending = Eigen::VectorXd::Zero(n);
  for (int64_t i = 0; i < n; ++i) {
    decaying[i] = std::pow(0.8, static_cast<double>(i));
    clustered[i] = static_cast<double>(5 - i / 30) + 1e-10 * static_cast<double>(i % 30);
    if (i < 4) ending[i] = static_cast<double>(10 - i);
  }
  std::sort(clustered.begin(), clustered.end(), std::greater<>());
  const Eigen::VectorXd flat = Eigen::VectorXd::Ones(n), zero = Eigen::VectorXd::Zero(n);
  for (const Eigen::VectorXd& values : {decaying, clustered, ending, flat, zero})
    for (const int64_t k : {1, 40, 150}) {
      const ColMatrix a = with_values(values, 7);
      expect_pairs(a, solve(a, k, 16), values, 1e-12);
    }
}

// The size from which largest_eigenvectors takes this way, as the Gram matrix of few directions over noise, and of low rank.
TEST(TwoStage, LargeMatrices) {
  const int64_t n = 2100;
  Eigen::VectorXd values(n);
  for (const int64_t rank : {n, int64_t{5}}) {
    for (int64_t i = 0; i < n; ++i)
      values[i] = i >= rank ? 0 : i < 10 ? 1000.0 / static_cast<double>(i + 1) : 2 - static_cast<double>(i) / static_cast<double>(n);
    const ColMatrix a = with_values(values, 9);
    ColMatrix copy = a;
    expect_pairs(a, lapack::largest_eigenvectors(copy, 70), values, 1e-12);
  }
}

TEST(TwoStage, SameBitsAgainAndCloseForOtherThreads) {
  const ColMatrix g = gaussian(200, 300, 5);
  const ColMatrix a = g * g.transpose();
  const test::Threads two(2);
  const EigenPairs first = solve(a, 20, 16), again = solve(a, 20, 16);
  EXPECT_EQ(first.vectors, again.vectors);
  EXPECT_EQ(first.values, again.values);
  set_threads(1);
  EXPECT_LT((solve(a, 20, 16).vectors.cwiseAbs() - first.vectors.cwiseAbs()).cwiseAbs().maxCoeff(), 1e-11);
}

// A band matrix passes the first stage as it is; several threads chase its bulges behind one another. Nothing that they do
// may depend on who comes first: the same bits for any number of threads.
TEST(TwoStage, BulgesOfManyThreads) {
  const int64_t n = 1200, band = 32;
  ColMatrix a = ColMatrix::Zero(n, n);
  const ColMatrix g = gaussian(n, band + 1, 6);
  for (int64_t j = 0; j < n; ++j)
    for (int64_t i = j; i < std::min(n, j + band + 1); ++i) a(i, j) = a(j, i) = g(j, i - j);
  const test::Threads one(1);
  const EigenPairs alone = solve(a, 10, band);
  expect_pairs(a, alone, alone.values, 1e-12);
  for (const int threads : {2, 3, 7}) {
    set_threads(threads);
    EXPECT_EQ(solve(a, 10, band).values, alone.values);
  }
}

// Second differences: 2 - 2 cos(pi i / (n + 1)). And two such blocks, so that every value occurs twice.
TEST(TwoStage, TridiagonalByBothWays) {
  const int64_t n = 60;
  for (const int64_t blocks : {1, 2}) {
    Eigen::VectorXd diagonal = Eigen::VectorXd::Constant(blocks * n, 2), below = Eigen::VectorXd::Constant(blocks * n - 1, -1), expected(blocks * n);
    if (blocks == 2) below[n - 1] = 0;
    for (int64_t i = 0; i < blocks * n; ++i)
      expected[i] = 2 + 2 * std::cos(std::numbers::pi * static_cast<double>(i / blocks + 1) / static_cast<double>(n + 1));
    ColMatrix a = diagonal.asDiagonal();
    a.diagonal(1) = below;
    a.diagonal(-1) = below;
    for (const int64_t k : {int64_t{1}, int64_t{17}, blocks * n}) {
      expect_pairs(a, lapack::tridiagonal_eigenvectors(diagonal, below, k), expected, 1e-13);
      expect_pairs(a, lapack::tridiagonal_by_bisection(diagonal, below, k), expected, 1e-13);
    }
  }
}

TEST(TwoStage, OneByOne) {
  const EigenPairs e = lapack::tridiagonal_eigenvectors(Eigen::VectorXd::Constant(1, 3), Eigen::VectorXd(0), 1);
  EXPECT_EQ(e.values[0], 3);
  EXPECT_EQ(std::abs(e.vectors(0, 0)), 1);
}

TEST(TwoStage, WantOfMemoryIsTheMachinesFaultAndTheRestIsOurs) {
  lapack::check(0, "dsyevr");
  for (const int info : {-1010, -1011})  // LAPACKE's, for its workspace and for a transposed copy
    EXPECT_ERROR(ErrorCode::machine, "out of memory in LAPACK (dsyevr)", lapack::check(info, "dsyevr"));
  EXPECT_ERROR(ErrorCode::internal, "LAPACK's dsyevr failed with info 3", lapack::check(3, "dsyevr"));
}

TEST(TwoStage, RefusesWhatIsNoBand) {
  for (const int64_t band : {-1, 20})
    EXPECT_ERROR(ErrorCode::usage, fmt::format("two_stage_eigenvectors: 2 of [20, 20], band {}", band), solve(ColMatrix::Identity(20, 20), 2, band));
}

TEST(TwoStage, CtrlCStops) {
  set_interrupted(true);
  const Error e = test::error_of([&] { solve(ColMatrix::Identity(20, 20), 2, 4); });
  set_interrupted(false);
  EXPECT_EQ(e.code(), ErrorCode::interrupted);
}

}  // namespace
}  // namespace panvae::eval
