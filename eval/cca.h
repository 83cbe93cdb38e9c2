// Canonical correlation analysis: the classical way into a space that two modalities share, and the baseline of co-embedding.
//
// Notation: n pairs, X [n, p] and Y [n, q] centred, C the covariances of pairs (with n - 1).
//   shrunk       C(a) = (1 - a) C + a m I, m = tr(C) / p the mean variance: 0 is the classical analysis, 1 is partial least
//                squares (the singular value decomposition of the cross-covariance), Vinod's ridge lies between (J. Econometrics
//                4 (1976)), in the unit of Ledoit and Wolf (J. Multivar. Anal. 88 (2004))
//   weights      C_xx(a)^-1/2 C_xy C_yy(a)^-1/2 = P R Q^T, W_x = C_xx(a)^-1/2 P, W_y = C_yy(a)^-1/2 Q, so that
//                W_x^T C_xx(a) W_x = I and W_x^T C_xy W_y = R. R's cancor() has the same, times 1 / sqrt(n - 1), for a = 0
//   embedding    (x - mean) W_x R^power, and likewise of y. Power 0 gives the canonical variates, all of one variance, 1/2 the posterior
//                means of the shared factor of probabilistic CCA (Bach and Jordan, 2005), 1 what a variate predicts of its partner:
//                a dimension counts as far as the modalities agree in it
// Computed through the thin singular value decompositions of X and Y, never through a covariance: more features than pairs are
// possible and cost what the decomposition of X costs. Directions in which X does not vary (s <= s_1 max(n, p) eps) are left out.
// The sign of a dimension is fixed so that its RNA weight of largest absolute value is positive (the first of equals).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/pairs.h"
#include "eval/pca.h"

namespace panvae::eval {

struct CcaModel {
  Eigen::VectorXd mean_x, mean_y;  // [p], [q], of the pairs
  Eigen::MatrixXd x, y;            // [p, k], [q, k]: W_x, W_y
  Eigen::VectorXd singular;        // [k], descending: R, the canonical correlations where nothing is shrunk
  int64_t count() const { return singular.size(); }
};

// Row i of x and of y are a pair. At most `components` dimensions, no more than the smaller rank.
// ErrorCode::input: fewer than three pairs, a matrix in which nothing varies, values that are not finite, and without shrinkage
// p + q > n - 1 (p + q - n + 1 correlations are then 1, whatever the data). ErrorCode::usage: a shrinkage outside [0, 1].
CcaModel fit_cca(const data::RowMatrix<double>& x, const data::RowMatrix<double>& y, int64_t components, double shrinkage);

struct CcaOptions {
  const std::vector<data::SamplePair>* pairs = nullptr;  // null: all RNA and ATAC samples of equal donors
  int max_tier = data::same_donor;                       // pairs up to this tier count, all alike
  int64_t components = 20;
  int64_t pca = 50;  // at most so many principal components of each modality, of its training samples, go in; 0: the features
  double shrinkage = 0.1;
  double power = 1;
  uint64_t seed = 0;  // of a randomised PCA
};

struct CcaSide {
  data::RowMatrix<double> scores;  // [samples, k], all samples in the order of the data
  int64_t training_samples = 0;    // the PCA was fitted on
  int64_t dimensions = 0;          // that went into the analysis
  double explained = 1;            // their share of the variance of the training samples
};

struct CcaResult {
  CcaSide rna, atac;
  Eigen::VectorXd singular;                               // [k]
  Eigen::VectorXd correlations, validation_correlations;  // [k], Pearson, of training and validation pairs; NaN of fewer than 3 pairs
  int64_t pairs = 0, donors = 0, validation_pairs = 0;
  bool split_known = false;
};

// Fitted on training pairs alone: a donor held out (or validating) in either table is so in both (data::sides_of), and a pair whose
// table gives it another split than train is not trained on. All samples are embedded. Neither the order of samples nor the number of threads
// changes the result. ErrorCode::input also where no training pair is left, naming why.
CcaResult embed_by_cca(const data::Dataset<double>& rna, const data::Dataset<double>& atac, const CcaOptions& options = {});

}  // namespace panvae::eval
