// Principal components: the baseline every embedding is compared with (SPEC D11).
//
// The matrix is centred by the means of the samples it is fitted on and not scaled. With Xc [n, p] the centred training
// matrix and its singular value decomposition Xc = U S V^T, the components are the first k columns of V, scores are
// (x - mean) V, and component i explains the share s_i^2 / |Xc|_F^2 of the variance. The sign of a component is fixed so
// that its loading of largest absolute value is positive (the first of those that are equal but for rounding).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace panvae::eval {

struct PcaModel {
  Eigen::VectorXd mean;                // [p]
  data::RowMatrix<double> components;  // [k, p], orthonormal rows; none where they are not wanted (eval/wide_pca.h)
  Eigen::VectorXd singular;            // [k], descending, of Xc
  double total_variance = 0;           // |Xc|_F^2 / (n - 1)
  int64_t fitted_on = 0;               // n, samples
  std::string method;                  // "exact", "randomised" or "strips"

  int64_t count() const { return singular.size(); }
  // [k]: s_i^2 / (n - 1), and its share of the total variance.
  Eigen::VectorXd explained_variance() const;
  Eigen::VectorXd explained_ratio() const;
};

struct PcaOptions {
  // At most so many; min(components, n - 1, p) are computed, and fewer where the matrix has lower rank.
  int64_t components = 512;
  // exact:      agrees with a full SVD to 1e-6 relative and better. The smaller Gram matrix, min(n, p) squared, is
  //             eigen-decomposed, only the wanted vectors (LAPACK dsyevr, from 640 on eval/two_stage.h); then the matrix
  //             itself, projected on these vectors, is decomposed by QR and SVD (Rayleigh-Ritz), so that singular values
  //             are not limited by the squaring of the Gram matrix and components are orthonormal to rounding. Where the
  //             smallest wanted singular value is below 1e-4 of the largest, the eigenvectors would be too coarse: QR and
  //             SVD (dgesdd) of the whole matrix instead. O(n p m + m^3), m = min(n, p). Not by a Krylov method: the last
  //             of many components lie in noise, a spectrum without gaps, and its basis would have to be half of m wide
  //             (docs/evaluation.md).
  // randomised: Halko, Martinsson, Tropp, SIAM Review 53 (2011), algorithms 4.4 and 5.1: a Gaussian sketch of
  //             k + oversample columns, power iterations re-orthonormalised by QR each half step. O(n p (k + oversample)).
  // automatic:  exact while min(n, p) <= 8192 or the sketch would be more than half of min(n, p), else randomised.
  enum class Method { automatic, exact, randomised } method = Method::automatic;
  int64_t oversample = 20;
  int power_iterations = 4;
  uint64_t seed = 0;  // of the sketch
};

// Fits on these rows of x [samples, p] (all distinct). T is float or double; everything is computed in doubles, in blocks
// of the matrix, which is never copied whole except where `exact` says so.
// ErrorCode::input: fewer than two rows, a value that is not finite, nothing that varies.
template <class T>
PcaModel fit_pca(const data::RowMatrix<T>& x, const std::vector<int64_t>& rows, const PcaOptions& options = {});
extern template PcaModel fit_pca(const data::RowMatrix<float>&, const std::vector<int64_t>&, const PcaOptions&);
extern template PcaModel fit_pca(const data::RowMatrix<double>&, const std::vector<int64_t>&, const PcaOptions&);

// fit_pca, and transform of every row of x. Where the method is exact the scores of the fitted rows come with the
// decomposition, as U S: equal to transform's but for rounding, without another pass over these rows.
struct FittedPca {
  PcaModel model;
  data::RowMatrix<double> scores;  // [samples, k]
};
template <class T>
FittedPca fit_transform_pca(const data::RowMatrix<T>& x, const std::vector<int64_t>& rows, const PcaOptions& options = {});
extern template FittedPca fit_transform_pca(const data::RowMatrix<float>&, const std::vector<int64_t>&, const PcaOptions&);
extern template FittedPca fit_transform_pca(const data::RowMatrix<double>&, const std::vector<int64_t>&, const PcaOptions&);

// Scores of every row: [n, p] -> [n, k]. A row's scores do not depend on the other rows beyond rounding.
template <class T>
data::RowMatrix<double> transform(const PcaModel& model, const data::RowMatrix<T>& x);
extern template data::RowMatrix<double> transform(const PcaModel&, const data::RowMatrix<float>&);
extern template data::RowMatrix<double> transform(const PcaModel&, const data::RowMatrix<double>&);

// The reconstruction, mean + scores V^T: [n, k] -> [n, p]. T is the type of the result.
template <class T>
data::RowMatrix<T> inverse_transform(const PcaModel& model, const data::RowMatrix<double>& scores);
extern template data::RowMatrix<float> inverse_transform(const PcaModel&, const data::RowMatrix<double>&);
extern template data::RowMatrix<double> inverse_transform(const PcaModel&, const data::RowMatrix<double>&);

// What every fit refuses: before it begins, and a matrix in which nothing varies. |Xc|_F^2 is `squared_norm`.
void check_pca(int64_t samples, int64_t features, const PcaOptions& options);
void check_varies(const PcaModel& model, double squared_norm);

// The model as arrays that travel in uns/panvae: settings.pca, arrays pca_mean, pca_components (where there are any),
// pca_singular, and the feature names. thaw_pca is ErrorCode::input where they are absent or of the wrong shape.
data::Frozen freeze(const PcaModel& model, const std::vector<std::string>& features);
PcaModel thaw_pca(const data::Frozen& frozen);

}  // namespace panvae::eval
