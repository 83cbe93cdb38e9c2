// Principal components where features are many more than samples (ATAC: 800 samples x 562,709 peaks), as eval/pca.h defines
// them, in strips of features: the matrix is never copied and the components [k, p] are never held, so it costs little memory
// beside a matrix that may lie on disk (data/large_dataset.h).
//
// With Xc [n, p] the centred training matrix: the eigenvectors Q [n, k] of the Gram matrix Xc Xc^T give W = Xc^T Q D^-1, D the
// roots of its eigenvalues, whose columns are orthonormal but for the rounding of the Gram matrix. The Cholesky factor of
// W^T W = L L^T then corrects them (Rayleigh-Ritz): with L^T D = A S B^T the singular values of Xc are S, and its components
// the rows of (Xc^T weights)^T, weights = Q B S^-1 [n, k]. Scores of training samples are weights S^2; others are projected
// strip by strip. Agrees with fit_pca's exact method to about 1e-11 of the first singular value.
#pragma once
#include <functional>

#include "data/large_dataset.h"
#include "eval/centred_matrix.h"
#include "eval/pca.h"

namespace panvae::eval {

struct WidePca {
  PcaModel model;                  // method "strips"; without components
  data::RowMatrix<double> scores;  // [samples, k], of every row of the matrix
  ColMatrix weights;               // [n, k]
  std::vector<int64_t> rows;       // [n], those it was fitted on
};

// Where the automatic choice of a command should be this: 8 times as many features as samples, and more than 512 MiB of doubles.
bool is_wide(int64_t samples, int64_t features);

// Matrix: RowMatrix<float>, RowMatrix<double> or LargeMatrix<float>; the same bits for the same values. Components with a
// singular value below 1e-4 of the largest are left out: the Gram matrix does not hold them, and each of them explains less
// than 1e-8 of what the first does. Errors as fit_pca. O(p n (n + k)), memory for n x n and a strip of 4096 features.
template <class Matrix>
WidePca fit_wide_pca(const Matrix& x, const std::vector<int64_t>& rows, const PcaOptions& options = {});

// The components, a strip at a time in the order of the features: use(first, part), part [k, count]. `x` as it was fitted.
using UseComponents = std::function<void(int64_t first, const data::RowMatrix<double>& part)>;
template <class Matrix>
void for_components(const WidePca& pca, const Matrix& x, const UseComponents& use);

// The reconstruction, mean + scores V^T: [m, k] -> [m, p].
template <class Matrix>
data::RowMatrix<float> inverse_transform(const WidePca& pca, const Matrix& x, const data::RowMatrix<double>& scores);

#define PV_WIDE_PCA(Matrix)                                                                            \
  extern template WidePca fit_wide_pca(const Matrix&, const std::vector<int64_t>&, const PcaOptions&); \
  extern template void for_components(const WidePca&, const Matrix&, const UseComponents&);            \
  extern template data::RowMatrix<float> inverse_transform(const WidePca&, const Matrix&, const data::RowMatrix<double>&);
PV_WIDE_PCA(data::RowMatrix<float>)
PV_WIDE_PCA(data::RowMatrix<double>)
PV_WIDE_PCA(data::LargeMatrix<float>)
#undef PV_WIDE_PCA

}  // namespace panvae::eval
