#include "eval/pca.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/blas.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/philox.h"
#include "base/threads.h"
#include "data/read.h"
#include "eval/centred_matrix.h"
#include "eval/extreme.h"
#include "eval/lapack.h"
#include "eval/parallel_blas.h"

namespace panvae::eval {

namespace {

constexpr int64_t kExactLimit = 8192;       // largest min(n, p) for which the automatic choice is exact
constexpr double kGramRange = 1e-4;         // least s_k / s_1 for which eigenvectors of the Gram matrix serve
constexpr uint32_t kSketchOp = 0x50434131;  // "PCA1": the Philox stream of the sketch

// The singular vectors u [n, r] and v [p, r] and values s [r] of the centred matrix, as far as a basis holds them.
struct Decomposition {
  Eigen::VectorXd s;
  ColMatrix u, v;
};

// Rayleigh-Ritz on an orthonormal basis of the row side, q [n, r]: Xc^T q = Q R, R = A S B^T, so v = Q A and u = q B.
template <class T>
Decomposition project_rows(const CentredMatrix<T>& x, const ColMatrix& q) {
  ColMatrix w = x.transposed_times(q);  // [p, r]
  ColMatrix r = lapack::qr(w);
  lapack::Svd d = lapack::svd(r);
  return {std::move(d.s), product(q, d.v), product(w, d.u)};
}

// The same on the column side, v [p, r]: Xc v = Q R, R = A S B^T, so the right vectors are v B and the left ones Q A.
template <class T>
Decomposition project_columns(const CentredMatrix<T>& x, const ColMatrix& v) {
  ColMatrix w = x.times(v);  // [n, r]
  ColMatrix r = lapack::qr(w);
  lapack::Svd d = lapack::svd(r);
  return {std::move(d.s), product(w, d.u), product(v, d.v)};
}

template <class T>
Decomposition full_svd(const CentredMatrix<T>& x) {
  ColMatrix a = x.tall();
  ColMatrix r = lapack::qr(a);
  lapack::Svd d = lapack::svd(r);
  // tall is Xc^T = Q R where n <= p: right vectors of Xc are left ones of it.
  if (x.rows() <= x.cols()) return {std::move(d.s), std::move(d.v), product(a, d.u)};
  return {std::move(d.s), product(a, d.u), std::move(d.v)};
}

template <class T>
Decomposition exact(const CentredMatrix<T>& x, int64_t k) {
  ColMatrix g = x.gram();
  const lapack::EigenPairs e = lapack::largest_eigenvectors(g, k);
  const double least = std::sqrt(std::max(0.0, e.values[k - 1]) / std::max(e.values[0], std::numeric_limits<double>::min()));
  g.resize(0, 0);
  if (!(least >= kGramRange)) return full_svd(x);
  return x.rows() <= x.cols() ? project_rows(x, e.vectors) : project_columns(x, e.vectors);
}

template <class T>
Decomposition randomised(const CentredMatrix<T>& x, int64_t k, const PcaOptions& o) {
  const int64_t l = std::min({k + o.oversample, x.rows(), x.cols()});
  // Standard normals by Box-Muller, indexed by element: the same sketch whatever the number of threads.
  ColMatrix sketch(x.cols(), l);
  const PhiloxKey key{o.seed, kSketchOp, 0};
  parallel_chunks(sketch.size(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      PhiloxSequence g(key, static_cast<uint64_t>(2 * i));
      sketch.data()[i] = g.normal();
    }
  });
  ColMatrix q = x.times(sketch);  // [n, l]
  lapack::qr(q);
  for (int i = 0; i < o.power_iterations; ++i) {
    ColMatrix z = x.transposed_times(q);
    lapack::qr(z);
    q = x.times(z);
    lapack::qr(q);
  }
  return project_rows(x, q);
}

}  // namespace

Eigen::VectorXd PcaModel::explained_variance() const {
  return singular.array().square() / static_cast<double>(std::max<int64_t>(1, fitted_on - 1));
}
Eigen::VectorXd PcaModel::explained_ratio() const {
  return explained_variance() / total_variance;
}

void check_pca(int64_t n, int64_t p, const PcaOptions& o) {
  if (o.components < 1) fail_usage(fmt::format("{} components", o.components), "--components", "at least 1 is needed");
  PV_CHECK(o.oversample >= 0 && o.power_iterations >= 0, "fit_pca: oversample {}, power iterations {}", o.oversample, o.power_iterations);
  if (n < 2)
    fail_input(fmt::format("principal components need at least two samples to be fitted, here are {}", n), "training samples",
               "use more samples, or --fit-on all");
  if (p < 1) fail_input("the matrix has no features");
}

// Variance at the level of rounding of the means is none.
void check_varies(const PcaModel& m, double squared_norm) {
  const double scale = std::max(m.mean.cwiseAbs().maxCoeff(), std::numeric_limits<double>::min());
  const double rounding = scale * std::numeric_limits<double>::epsilon();
  if (!(squared_norm > static_cast<double>(m.fitted_on) * static_cast<double>(m.mean.size()) * rounding * rounding))
    fail_input(fmt::format("no feature varies over the {} samples", m.fitted_on), "training samples", "are they copies of one sample?");
}

namespace {

// Rows per block of transform and inverse: bounds the doubles beside a large float matrix.
constexpr int64_t kRows = 256;

// The model, and in `left` [n, k] the left singular vectors of the rows it is fitted on where the method is exact.
template <class T>
PcaModel fit(const data::RowMatrix<T>& x, const std::vector<int64_t>& rows, const PcaOptions& o, ColMatrix& left) {
  const int64_t n = static_cast<int64_t>(rows.size()), p = x.cols();
  check_pca(n, p, o);
  const CentredMatrix<T> xc(x, rows);
  PcaModel m;
  m.mean = xc.mean();
  m.fitted_on = n;
  m.total_variance = xc.squared_norm() / static_cast<double>(n - 1);
  check_varies(m, xc.squared_norm());

  const int64_t smaller = std::min(n, p), k = std::min({o.components, n - 1, p});
  const bool small = smaller <= kExactLimit || 2 * (k + o.oversample) > smaller;
  const bool use_exact = o.method == PcaOptions::Method::exact || (o.method == PcaOptions::Method::automatic && small);
  m.method = use_exact ? "exact" : "randomised";
  Decomposition d = use_exact ? exact(xc, k) : randomised(xc, k, o);

  // Directions below the rounding of the decomposition are noise, not components (as the rank of numpy and MATLAB).
  const double floor = d.s[0] * std::numeric_limits<double>::epsilon() * static_cast<double>(std::max(n, p));
  int64_t rank = 0;
  while (rank < std::min<int64_t>(k, d.s.size()) && d.s[rank] > floor) ++rank;
  m.singular = d.s.head(rank);
  m.components = d.v.leftCols(rank).transpose();
  if (use_exact) left = d.u.leftCols(rank);
  for (int64_t i = 0; i < rank; ++i) {
    if (m.components(i, first_extreme(m.components.row(i))) >= 0) continue;
    m.components.row(i) = -m.components.row(i);
    if (use_exact) left.col(i) = -left.col(i);
  }
  return m;
}

// The scores of these rows, into theirs of `scores` [samples, k].
template <class T>
void project(const PcaModel& model, const data::RowMatrix<T>& x, const std::vector<int64_t>& rows, data::RowMatrix<double>& scores) {
  const auto n = static_cast<int64_t>(rows.size()), p = static_cast<int64_t>(x.cols()), k = model.count();
  PV_CHECK(p == model.mean.size() && p < INT32_MAX, "pca transform: a matrix of {} features for components of {}", p, model.mean.size());
  if (p == 0 || k == 0) return;
  data::RowMatrix<double> b(std::min(kRows, n), p), part(b.rows(), k);
  for (int64_t first = 0; first < n; first += kRows) {
    throw_if_interrupted();
    const int64_t count = std::min(kRows, n - first);
    parallel_chunks(count, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) b.row(i) = x.row(rows[static_cast<size_t>(first + i)]).template cast<double>() - model.mean.transpose();
    });
    gemm_in_parts<double>(false, true, count, k, p, b.data(), p, model.components.data(), p, 0, part.data(), k);
    for (int64_t i = 0; i < count; ++i) scores.row(rows[static_cast<size_t>(first + i)]) = part.row(i);
  }
}

}  // namespace

template <class T>
PcaModel fit_pca(const data::RowMatrix<T>& x, const std::vector<int64_t>& rows, const PcaOptions& o) {
  ColMatrix left;
  return fit(x, rows, o, left);
}

template <class T>
FittedPca fit_transform_pca(const data::RowMatrix<T>& x, const std::vector<int64_t>& rows, const PcaOptions& o) {
  ColMatrix left;
  FittedPca out{fit(x, rows, o, left), {}};
  out.scores.resize(x.rows(), out.model.count());
  std::vector<bool> known(static_cast<size_t>(x.rows()), false);
  for (int64_t i = 0; i < left.rows(); ++i) {
    const int64_t row = rows[static_cast<size_t>(i)];
    out.scores.row(row) = left.row(i).cwiseProduct(out.model.singular.transpose());
    known[static_cast<size_t>(row)] = true;
  }
  std::vector<int64_t> others;
  for (int64_t row = 0; row < x.rows(); ++row)
    if (!known[static_cast<size_t>(row)]) others.push_back(row);
  project(out.model, x, others, out.scores);
  return out;
}

template <class T>
data::RowMatrix<double> transform(const PcaModel& model, const data::RowMatrix<T>& x) {
  data::RowMatrix<double> out(x.rows(), model.count());
  project(model, x, data::all_rows(x.rows()), out);
  return out;
}

template <class T>
data::RowMatrix<T> inverse_transform(const PcaModel& model, const data::RowMatrix<double>& scores) {
  PV_CHECK(scores.cols() == model.count(), "pca inverse_transform: {} scores for {} components", scores.cols(), model.count());
  data::RowMatrix<T> out(scores.rows(), model.mean.size());
  for (int64_t first = 0; first < scores.rows(); first += kRows) {
    throw_if_interrupted();
    const int64_t count = std::min(kRows, scores.rows() - first);
    data::RowMatrix<double> b(count, out.cols());
    gemm_in_parts<double>(false, false, count, out.cols(), scores.cols(), scores.row(first).data(), scores.cols(), model.components.data(), out.cols(), 0,
                          b.data(), out.cols());
    b.rowwise() += model.mean.transpose();
    out.middleRows(first, count) = b.template cast<T>();
  }
  return out;
}

template PcaModel fit_pca(const data::RowMatrix<float>&, const std::vector<int64_t>&, const PcaOptions&);
template PcaModel fit_pca(const data::RowMatrix<double>&, const std::vector<int64_t>&, const PcaOptions&);
template FittedPca fit_transform_pca(const data::RowMatrix<float>&, const std::vector<int64_t>&, const PcaOptions&);
template FittedPca fit_transform_pca(const data::RowMatrix<double>&, const std::vector<int64_t>&, const PcaOptions&);
template data::RowMatrix<double> transform(const PcaModel&, const data::RowMatrix<float>&);
template data::RowMatrix<double> transform(const PcaModel&, const data::RowMatrix<double>&);
template data::RowMatrix<float> inverse_transform(const PcaModel&, const data::RowMatrix<double>&);
template data::RowMatrix<double> inverse_transform(const PcaModel&, const data::RowMatrix<double>&);

}  // namespace panvae::eval
