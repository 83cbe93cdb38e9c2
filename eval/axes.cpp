#include "eval/axes.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/threads.h"
#include "eval/extreme.h"
#include "eval/lapack.h"

namespace panvae::eval {

data::RowMatrix<double> varimax(const data::RowMatrix<double>& scores) {
  const int64_t k = scores.cols();
  data::RowMatrix<double> rotation = data::RowMatrix<double>::Identity(k, k);
  if (k < 2) return rotation;
  const OneThread one;  // BLAS and LAPACK split their sums by the number of threads, which the axes must not show
  for (int round = 0; round < 200; ++round) {
    const data::RowMatrix<double> turned = scores * rotation;
    const data::RowMatrix<double> squares = turned.array().square().matrix();
    const data::RowMatrix<double> gradient_side = (turned.array() * (squares.rowwise() - squares.colwise().mean()).array()).matrix();
    ColMatrix gradient = scores.transpose() * gradient_side;
    const lapack::Svd polar = lapack::svd(gradient);
    const data::RowMatrix<double> next = polar.u * polar.v.transpose();
    const double moved = (next - rotation).cwiseAbs().maxCoeff();
    rotation = next;
    if (moved < 1e-10) break;
  }
  return rotation;
}

LatentAxes fit_latent_axes(const data::RowMatrix<double>& mu, const Eigen::VectorXd& posterior_variance, const data::RowMatrix<double>& metric,
                           double leading_share) {
  const int64_t n = mu.rows(), z = mu.cols();
  if (n < 2) fail_input(fmt::format("axes of {} samples", n), "", "at least two samples are needed");
  if (!mu.allFinite() || !metric.allFinite()) fail_input("the latent space holds a NaN or an infinity", "", "train the model again");
  LatentAxes axes;
  axes.center = mu.colwise().mean().transpose();

  const OneThread one;
  ColMatrix g = metric;
  const lapack::EigenPairs of_metric = lapack::largest_eigenvectors(g, z);
  const Eigen::VectorXd roots = of_metric.values.cwiseMax(0).cwiseSqrt();
  const ColMatrix half = of_metric.vectors * roots.asDiagonal() * of_metric.vectors.transpose();  // G^(1/2)

  const ColMatrix decoded = (mu.rowwise() - axes.center.transpose()) * half;  // [n, Z]
  ColMatrix covariance = decoded.transpose() * decoded / static_cast<double>(n);
  const lapack::EigenPairs principal = lapack::largest_eigenvectors(covariance, z);
  ColMatrix map = half * principal.vectors;  // [Z, Z]

  // Axes come in order of variance; noise begins at the first that the posterior spreads more than the samples.
  const double total = principal.values.cwiseMax(0).sum();
  const Eigen::VectorXd noise = map.array().square().matrix().transpose() * posterior_variance;
  while (axes.informative < z && principal.values[axes.informative] > noise[axes.informative]) ++axes.informative;
  axes.kept = std::max<int64_t>(axes.informative, 1);
  while (axes.leading < axes.kept && principal.values[axes.leading] >= leading_share * total) ++axes.leading;
  map.rightCols(z - axes.kept).setZero();

  // The sign of an axis is arbitrary: the largest score of the training samples is made positive.
  ColMatrix scores = (mu.rowwise() - axes.center.transpose()) * map.leftCols(axes.kept);
  if (axes.leading >= 2) {
    const data::RowMatrix<double> rotation = varimax(scores.leftCols(axes.leading));
    map.leftCols(axes.leading) = (map.leftCols(axes.leading) * rotation).eval();
    scores.leftCols(axes.leading) = (scores.leftCols(axes.leading) * rotation).eval();
    // After the turn the order of variance is found again.
    std::vector<int64_t> order(static_cast<size_t>(axes.leading));
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores.col(a).squaredNorm() > scores.col(b).squaredNorm(); });
    const ColMatrix map_before = map, scores_before = scores;
    for (int64_t i = 0; i < axes.leading; ++i) {
      map.col(i) = map_before.col(order[static_cast<size_t>(i)]);
      scores.col(i) = scores_before.col(order[static_cast<size_t>(i)]);
    }
  }
  for (int64_t k = 0; k < axes.kept; ++k)
    if (scores(first_extreme(scores.col(k)), k) < 0) map.col(k) *= -1;
  axes.map = map;
  return axes;
}

}  // namespace panvae::eval
