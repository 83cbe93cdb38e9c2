#include "eval/two_stage.h"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/threads.h"
#include "eval/parallel_blas.h"

namespace panvae::eval::lapack {

namespace {

constexpr int64_t kWave = 16;     // columns whose bulges are chased behind one another
constexpr int64_t kUnit = 16384;  // band^2 times the steps that one thread takes at a time: about 100 us
constexpr int64_t kGather = 32;   // reflectors of the second stage that are applied as one block

using Vector = Eigen::Map<Eigen::VectorXd>;
using Block = Eigen::Map<ColMatrix, 0, Eigen::OuterStride<>>;

int as_int(int64_t n) {
  return static_cast<int>(n);
}

// Wide bands make the first stage faster, narrow ones the second.
int64_t default_band(int64_t n) {
  return std::min<int64_t>(n - 1, n < 4096 ? 64 : 128);
}

// The lower part of a band matrix, with room for the bulges: column j holds rows j to j + 2 band - 1.
class Band {
 public:
  Band(int64_t n, int64_t band) : n_(n), band_(band), values_(static_cast<size_t>(2 * band * n)) {}
  int64_t size() const { return n_; }
  int64_t width() const { return band_; }
  double* at(int64_t i, int64_t j) { return values_.data() + j * 2 * band_ + (i - j); }
  // Rows of one column lie together, and so do blocks: the next column begins one place earlier.
  Block block(int64_t i, int64_t j, int64_t rows, int64_t cols) { return {at(i, j), rows, cols, Eigen::OuterStride<>(2 * band_ - 1)}; }

 private:
  int64_t n_, band_;
  std::vector<double> values_;
};

// The first stage, a = Q B Q^T. Columns of `a` below the band become the vectors V of Q's block reflectors I - V T V^T, with
// their zeros and ones; t [band, m] receives each T.
Band to_band(ColMatrix& a, int64_t band, ColMatrix& t) {
  const int64_t n = a.rows();
  Band b(n, band);
  t.setZero(band, n);
  ColMatrix y, s;
  for (int64_t j = 0; j < n; j += band) {
    throw_if_interrupted();
    const int64_t m = n - j - band, w = std::min(band, m), cols = std::min(band, n - j);
    double* v = a.data() + j * n + j + band;
    double* tj = t.data() + j * band;
    if (m > 0) {
      const OneThread one;
      check(LAPACKE_dgeqrt(LAPACK_COL_MAJOR, as_int(m), as_int(band), as_int(w), v, as_int(n), tj, as_int(band)), "dgeqrt");
    }
    for (int64_t c = j; c < j + cols; ++c) std::copy_n(&a(c, c), std::min(band + 1, n - c), b.at(c, c));
    if (m <= 0) break;
    for (int64_t c = 0; c < w; ++c) {
      std::fill_n(v + c * n, c, 0.0);
      v[c * n + c] = 1;
    }
    // The trailing matrix is C - V Y^T - Y V^T with X = C V T and Y = X - V (T^T V^T X) / 2.
    double* trailing = a.data() + (j + band) * n + j + band;
    y.resize(m, w);
    s.resize(w, w);
    multiply_symmetric(m, w, trailing, n, v, n, y.data(), m);
    in_ranges(m, w * w / 2, [&](int64_t first, int64_t count) {
      cblas_dtrmm(CblasColMajor, CblasRight, CblasUpper, CblasNoTrans, CblasNonUnit, as_int(count), as_int(w), 1, tj, as_int(band), y.data() + first,
                  as_int(m));
    });
    gemm(true, false, w, w, m, 1, v, n, y.data(), m, 0, s.data(), w);
    {
      const OneThread one;
      cblas_dtrmm(CblasColMajor, CblasLeft, CblasUpper, CblasTrans, CblasNonUnit, as_int(w), as_int(w), 1, tj, as_int(band), s.data(), as_int(w));
    }
    gemm(false, false, m, w, w, -0.5, v, n, s.data(), w, 1, y.data(), m);
    subtract_both(m, w, v, n, y.data(), m, trailing, n);
  }
  return b;
}

// The reflectors I - tau v v^T of the second stage: that of column s and step j acts on rows s + 1 + j band and on, at most
// `band` of them. In the place of v's first element, which is 1, lies tau. Those of column s are n - 1 - s numbers, as many as
// there are above the diagonal in column n - 1 - s of the matrix, which nobody reads: there they lie.
class Reflectors {
 public:
  Reflectors(ColMatrix& a, int64_t band) : a_(a), band_(band) {}
  int64_t first(int64_t s, int64_t j) const { return s + 1 + j * band_; }
  int64_t length(int64_t s, int64_t j) const { return std::min(band_, a_.rows() - first(s, j)); }  // 0 or less: there is none
  int64_t steps(int64_t s) const { return (a_.rows() - 1 - s + band_ - 1) / band_; }
  double* at(int64_t s, int64_t j) { return &a_(j * band_, a_.rows() - 1 - s); }

 private:
  ColMatrix& a_;
  int64_t band_;
};

// x becomes (beta, 0, ...), and v with tau in its first place the reflector that does it.
void annihilate(Vector x, double* v) {
  std::copy_n(x.data(), x.size(), v);
  lapack_int n = static_cast<lapack_int>(x.size()), one = 1;
  double tau = 0;
  LAPACK_dlarfg(&n, v, v + 1, &one, &tau);
  x.setZero();
  x[0] = v[0];
  v[0] = tau;
}

// A step of a bulge: the reflector from both sides on its diagonal block, from the right on the block below, whose first
// column the next reflector empties again, applied at once from the left.
void chase(Band& b, Reflectors& r, int64_t s, int64_t j) {
  const int64_t first = r.first(s, j), rows = r.length(s, j), next = first + rows, below = r.length(s, j + 1);
  if (j == 0) annihilate({b.at(first, s), rows}, r.at(s, 0));
  Eigen::VectorXd v = Vector(r.at(s, j), rows);
  const double tau = v[0];
  v[0] = 1;
  Block d = b.block(first, first, rows, rows);
  Eigen::VectorXd w = tau * (d.selfadjointView<Eigen::Lower>() * v);
  w -= (0.5 * tau * w.dot(v)) * v;
  d.selfadjointView<Eigen::Lower>().rankUpdate(v, w, -1);
  if (below <= 0) return;
  Block o = b.block(next, first, below, rows);
  const Eigen::VectorXd y = tau * (o * v);
  Eigen::VectorXd u = o.col(0) - y;
  double* stored = r.at(s, j + 1);
  annihilate({u.data(), below}, stored);
  const double beta = u[0];
  u = Vector(stored, below);
  const double tau_u = u[0];
  u[0] = 1;
  const Eigen::VectorXd z = tau_u * (o.transpose() * u - y.dot(u) * v);
  for (int64_t c = 0; c < rows; ++c) o.col(c) -= v[c] * y + z[c] * u;
  o.col(0).setZero();
  o(0, 0) = beta;
}

// The second stage, B = Q T Q^T. Column s + 1 may take step j once column s has taken step j + 1, so columns follow each other,
// `unit` steps at a time and one more apart, in parallel: what they change at one time are different columns of the band.
void to_tridiagonal(Band& b, Reflectors& r) {
  const int64_t n = b.size(), columns = n - 2, unit = std::max<int64_t>(1, kUnit / (b.width() * b.width())), apart = unit + 1;
  for (int64_t s = 0; s < columns; s += kWave) {
    throw_if_interrupted();
    const int64_t count = std::min(kWave, columns - s), steps = r.steps(s), last = (steps + apart * (count - 1) + unit - 1) / unit;
    for (int64_t at = 0; at < last; ++at) {
      const int64_t from = unit * at < steps ? 0 : (unit * at - steps) / apart + 1, to = std::min(count, (unit * (at + 1) - 1) / apart + 1);
      parallel_chunks(to - from, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = from + begin; i < from + end; ++i) {
          const int64_t first = unit * at - apart * i, end_step = std::min(first + unit, r.steps(s + i));
          for (int64_t j = std::max<int64_t>(0, first); j < end_step; ++j) chase(b, r, s + i, j);
        }
      });
    }
  }
}

// z^T becomes z^T (I - V T V^T)^T, V [m, w].
void apply(double* z, int64_t k, const double* v, int64_t ldv, const double* t, int64_t ldt, int64_t m, int64_t w, ColMatrix& work) {
  work.resize(k, w);
  in_ranges(k, 2 * m * w, [&](int64_t first, int64_t count) {
    const int rows = as_int(count), stride = as_int(k);
    double *from = z + first, *part = work.data() + first;
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, rows, as_int(w), as_int(m), 1, from, stride, v, as_int(ldv), 0, part, stride);
    cblas_dtrmm(CblasColMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, rows, as_int(w), 1, t, as_int(ldt), part, stride);
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasTrans, rows, as_int(m), as_int(w), -1, part, stride, v, as_int(ldv), 1, from, stride);
  });
}

// Q z for the second stage, on z^T [k, m]. Reflectors of the same step of neighbouring columns overlap in all but a row
// each, so they go as one block; within a group of columns a step is done before the next one below it.
void undo_tridiagonal(Reflectors& r, ColMatrix& z) {
  const int64_t n = z.cols(), columns = n - 2;
  ColMatrix v, t(kGather, kGather), work;
  Eigen::VectorXd tau(kGather);
  for (int64_t s = columns > 0 ? (columns - 1) / kGather * kGather : -1; s >= 0; s -= kGather) {
    throw_if_interrupted();
    const int64_t count = std::min(kGather, columns - s);
    for (int64_t j = 0; j < r.steps(s); ++j) {
      int64_t w = 0;
      while (w < count && r.length(s + w, j) > 0) ++w;
      const int64_t m = w - 1 + r.length(s + w - 1, j);
      v.setZero(m, w);
      for (int64_t i = 0; i < w; ++i) {
        v.col(i).segment(i, r.length(s + i, j)) = Vector(r.at(s + i, j), r.length(s + i, j));
        tau[i] = v(i, i);
        v(i, i) = 1;
      }
      {
        const OneThread one;
        check(LAPACKE_dlarft_work(LAPACK_COL_MAJOR, 'F', 'C', as_int(m), as_int(w), v.data(), as_int(m), tau.data(), t.data(), as_int(kGather)), "dlarft");
      }
      apply(z.data() + r.first(s, j) * z.rows(), z.rows(), v.data(), m, t.data(), kGather, m, w, work);
    }
  }
}

}  // namespace

EigenPairs two_stage_eigenvectors(ColMatrix& a, int64_t k, int64_t width) {
  const int64_t n = a.rows();
  PV_CHECK(a.cols() == n && k >= 1 && k <= n && width >= 0 && width < n && n >= 2, "two_stage_eigenvectors: {} of [{}, {}], band {}", k, n, a.cols(), width);
  const int64_t band = width > 0 ? width : default_band(n);
  ColMatrix t1;
  Band b = to_band(a, band, t1);
  Reflectors reflectors(a, band);
  to_tridiagonal(b, reflectors);
  Eigen::VectorXd diagonal(n), below(n - 1);
  for (int64_t i = 0; i < n; ++i) diagonal[i] = *b.at(i, i);
  for (int64_t i = 0; i + 1 < n; ++i) below[i] = *b.at(i + 1, i);
  EigenPairs out = tridiagonal_eigenvectors(diagonal, below, k);
  ColMatrix z = out.vectors.transpose();
  undo_tridiagonal(reflectors, z);
  ColMatrix work;
  for (int64_t j = (n - band - 1) / band * band; j >= 0; j -= band) {
    throw_if_interrupted();
    const int64_t m = n - j - band;
    apply(z.data() + (j + band) * k, k, a.data() + j * n + j + band, n, t1.data() + j * band, band, m, std::min(band, m), work);
  }
  out.vectors = z.transpose();
  return out;
}

}  // namespace panvae::eval::lapack
