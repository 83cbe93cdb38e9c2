#include "eval/cca.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/threads.h"
#include "data/matching.h"
#include "data/read.h"
#include "eval/extreme.h"
#include "eval/lapack.h"
#include "eval/selection.h"

namespace panvae::eval {

namespace {

using Matrix = data::RowMatrix<double>;
using Pair = std::pair<int64_t, int64_t>;  // rows of RNA and ATAC

// X = U S V^T and what shrinkage makes of it: C(a)^-1/2 is V diag(1 / sqrt(shrunk)) V^T on the space of the pairs.
struct Whitened {
  Eigen::VectorXd mean;    // [p]
  lapack::Svd svd;         // u [n, r], s [r], v [p, r], r the rank
  Eigen::VectorXd shrunk;  // [r], variances along v
  // U diag(.): the whitened pairs over sqrt(n - 1). [n, r]
  ColMatrix pairs() const {
    const double n1 = static_cast<double>(svd.u.rows() - 1);
    return svd.u * (svd.s.array() / (n1 * shrunk.array()).sqrt()).matrix().asDiagonal();
  }
  ColMatrix weights(const ColMatrix& turned) const { return svd.v * shrunk.cwiseSqrt().cwiseInverse().asDiagonal() * turned; }
};

Whitened whiten(const Matrix& x, double shrinkage, const char* modality) {
  Whitened w;
  const int64_t n = x.rows(), p = x.cols();
  if (!x.allFinite()) fail_input(fmt::format("the {} of some pair is not finite", modality), "canonical correlation analysis", "remove such values");
  w.mean = x.colwise().mean();
  ColMatrix centred = x.rowwise() - w.mean.transpose();
  w.svd = lapack::svd(centred);
  const Eigen::VectorXd& s = w.svd.s;
  // Means are exact to rounding only: what is left of a constant column is no variation.
  const double least = std::max(s[0], x.cwiseAbs().maxCoeff()) * static_cast<double>(std::max(n, p)) * std::numeric_limits<double>::epsilon();
  const auto rank = std::count_if(s.begin(), s.end(), [&](double v) { return v > least; });
  if (rank == 0)
    fail_input(fmt::format("all {} pairs have the same {} values", n, modality), "canonical correlation analysis", "pairs of different samples are needed");
  w.svd.u = w.svd.u.leftCols(rank).eval(), w.svd.v = w.svd.v.leftCols(rank).eval(), w.svd.s = s.head(rank).eval();
  const Eigen::VectorXd variance = w.svd.s.array().square() / static_cast<double>(n - 1);
  w.shrunk = ((1 - shrinkage) * variance.array() + shrinkage * variance.sum() / static_cast<double>(p)).matrix();
  return w;
}

}  // namespace

CcaModel fit_cca(const Matrix& x, const Matrix& y, int64_t components, double shrinkage) {
  PV_CHECK(x.rows() == y.rows() && x.cols() > 0 && y.cols() > 0, "fit_cca: x[{}, {}] and y[{}, {}]", x.rows(), x.cols(), y.rows(), y.cols());
  if (!(shrinkage >= 0 && shrinkage <= 1)) fail_usage(fmt::format("a shrinkage of {}", shrinkage), "--shrinkage", "give a share from 0 to 1");
  if (components < 1) fail_usage(fmt::format("{} components", components), "--components", "at least 1 is needed");
  const int64_t n = x.rows(), p = x.cols(), q = y.cols();
  if (n < 3) fail_input(fmt::format("{} training pairs", n), "canonical correlation analysis", "at least 3 are needed, and many more to learn something");
  if (shrinkage == 0 && p + q > n - 1)
    fail_input(fmt::format("{} training pairs are too few for {} + {} dimensions: {} correlations are then 1, whatever the data", n, p, q,
                           std::min({p + q - n + 1, p, q, n - 1})),
               "canonical correlation analysis", "give fewer dimensions (--pca) or some --shrinkage");
  const OneThread one;  // BLAS and LAPACK split their sums by the number of threads, which the digits must not show
  const Whitened a = whiten(x, shrinkage, "RNA"), b = whiten(y, shrinkage, "ATAC");
  ColMatrix cross = a.pairs().transpose() * b.pairs();
  const lapack::Svd svd = lapack::svd(cross);
  const int64_t k = std::min<int64_t>(components, svd.s.size());
  CcaModel m;
  m.mean_x = a.mean, m.mean_y = b.mean;
  m.singular = svd.s.head(k);
  m.x = a.weights(svd.u.leftCols(k)), m.y = b.weights(svd.v.leftCols(k));
  for (int64_t i = 0; i < k; ++i)
    if (m.x(first_extreme(m.x.col(i)), i) < 0) m.x.col(i) *= -1, m.y.col(i) *= -1;
  return m;
}

namespace {

// Pairs of two training (validation) samples, by the names of the samples.
struct Pairs {
  std::vector<Pair> train, validation;
  int64_t left_out = 0, unknown = 0, other_tiers = 0;
};

Pairs pairs_of(const data::Table& rna, const data::Table& atac, const data::Sides& sides, const CcaOptions& options) {
  Pairs out;
  const auto add = [&](int64_t r, int64_t a, const std::string& split) {
    const auto is = [&](data::Side side) {
      return sides.rna[static_cast<size_t>(r)] == side && sides.atac[static_cast<size_t>(a)] == side && (split.empty() || split == data::side_name(side));
    };
    if (is(data::Side::train)) out.train.emplace_back(r, a);
    else if (is(data::Side::validation)) out.validation.emplace_back(r, a);
    else ++out.left_out;
  };
  if (options.pairs) {
    const auto rna_at = rna.row_of(), atac_at = atac.row_of();
    for (const data::SamplePair& p : *options.pairs) {
      const auto r = rna_at.find(p.rna), a = atac_at.find(p.atac);
      if (r == rna_at.end() || a == atac_at.end()) ++out.unknown;
      else if (p.tier > options.max_tier) ++out.other_tiers;
      else add(r->second, a->second, p.split);
    }
  } else {
    std::unordered_multimap<std::string, int64_t> rna_of;
    const std::vector<std::string> rna_donors = data::donors_of(rna), atac_donors = data::donors_of(atac);
    for (size_t r = 0; r < rna_donors.size(); ++r) rna_of.emplace(rna_donors[r], static_cast<int64_t>(r));
    for (size_t a = 0; a < atac_donors.size(); ++a)
      for (auto [it, end] = rna_of.equal_range(atac_donors[a]); it != end; ++it) add(it->second, static_cast<int64_t>(a), "");
  }
  for (std::vector<Pair>* pairs : {&out.train, &out.validation})
    std::sort(pairs->begin(), pairs->end(), [&](const Pair& l, const Pair& r) {
      const auto names = [&](const Pair& p) {
        return std::pair<const std::string&, const std::string&>(rna.keys[static_cast<size_t>(p.first)], atac.keys[static_cast<size_t>(p.second)]);
      };
      return names(l) < names(r);
    });
  return out;
}

Matrix taken(const Matrix& x, const std::vector<Pair>& pairs, bool first) {
  Matrix out(static_cast<int64_t>(pairs.size()), x.cols());
  for (size_t i = 0; i < pairs.size(); ++i) out.row(static_cast<int64_t>(i)) = x.row(first ? pairs[i].first : pairs[i].second);
  return out;
}

// Scores of all samples, one by one: products of whole matrices round by the place of a row.
Matrix scores(const Matrix& x, const Eigen::VectorXd& mean, const ColMatrix& weights) {
  Matrix out(x.rows(), weights.cols());
  Eigen::VectorXd row(x.cols());
  for (int64_t i = 0; i < x.rows(); ++i) {
    row = x.row(i).transpose() - mean;
    for (int64_t k = 0; k < weights.cols(); ++k) out(i, k) = row.dot(weights.col(k));
  }
  return out;
}

// What goes into the analysis: principal components of the training samples, or the features themselves.
Matrix inputs(const data::Dataset<double>& d, const std::vector<data::Side>& sides, const CcaOptions& options, CcaSide& side) {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < sides.size(); ++i)
    if (sides[i] == data::Side::train) rows.push_back(static_cast<int64_t>(i));
  sort_by_name(rows, d.obs);
  side.training_samples = static_cast<int64_t>(rows.size());
  std::vector<int64_t> all(static_cast<size_t>(d.samples()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  check_finite(d, all);
  side.dimensions = d.features();
  if (options.pca == 0) return d.x;
  PcaOptions pca;
  pca.components = options.pca;
  pca.seed = options.seed;
  const PcaModel model = fit_pca(d.x, rows, pca);
  side.dimensions = model.count();
  side.explained = model.explained_ratio().sum();
  return scores(d.x, model.mean, model.components.transpose());
}

Eigen::VectorXd pearson(const Matrix& rna, const Matrix& atac, const std::vector<Pair>& pairs) {
  Eigen::VectorXd out = Eigen::VectorXd::Constant(rna.cols(), std::numeric_limits<double>::quiet_NaN());
  if (pairs.size() < 3) return out;
  Matrix x = taken(rna, pairs, true), y = taken(atac, pairs, false);
  x.rowwise() -= x.colwise().mean().eval(), y.rowwise() -= y.colwise().mean().eval();
  for (int64_t k = 0; k < out.size(); ++k) {
    const double norm = x.col(k).norm() * y.col(k).norm();
    if (norm > 0) out[k] = std::clamp(x.col(k).dot(y.col(k)) / norm, -1.0, 1.0);
  }
  return out;
}

}  // namespace

CcaResult embed_by_cca(const data::Dataset<double>& rna, const data::Dataset<double>& atac, const CcaOptions& options) {
  if (options.pca < 0) fail_usage(fmt::format("{} principal components", options.pca), "--pca", "give 1 or more, or 0 for none");
  if (!(options.power >= 0 && std::isfinite(options.power))) fail_usage(fmt::format("a power of {}", options.power), "--power", "give 0 or more");
  if (options.max_tier < data::same_donor || options.max_tier > data::correlated)
    fail_usage(fmt::format("tier {}", options.max_tier), "--max-tier", "tiers are 1 (same donor) to 6 (correlated)");
  const OneThread one;
  const data::Sides sides = data::sides_of(rna.obs, atac.obs);
  const Pairs pairs = pairs_of(rna.obs, atac.obs, sides, options);
  CcaResult out;
  out.split_known = sides.known;
  out.pairs = static_cast<int64_t>(pairs.train.size()), out.validation_pairs = static_cast<int64_t>(pairs.validation.size());
  if (pairs.train.empty())
    fail_input(
        fmt::format("no pair to train on: {} validate, {} are held out or of donors on two sides{}", pairs.validation.size(), pairs.left_out,
                    options.pairs ? fmt::format(", {} are of higher tiers than {}, {} name samples that are not there", pairs.other_tiers, options.max_tier,
                                                pairs.unknown)
                                  : ""),
        fmt::format("{} and {}", quoted(rna.path, 400), quoted(atac.path, 400)),
        options.pairs ? "the table must name training samples of both files" : "both tables need the same names of donors (--donor-key), or give --pairs");
  const std::vector<std::string> donors = data::donors_of(atac.obs);
  std::set<std::string> distinct;
  for (const auto& [r, a] : pairs.train) distinct.insert(donors[static_cast<size_t>(a)]);
  out.donors = static_cast<int64_t>(distinct.size());

  const Matrix x = inputs(rna, sides.rna, options, out.rna), y = inputs(atac, sides.atac, options, out.atac);
  const CcaModel model = fit_cca(taken(x, pairs.train, true), taken(y, pairs.train, false), options.components, options.shrinkage);
  const Eigen::VectorXd by_agreement = model.singular.unaryExpr([&](double v) { return std::pow(v, options.power); });
  // Shrunk covariances leave singular values above 1.
  if (by_agreement.size() > 0 && !(by_agreement[0] <= std::numeric_limits<float>::max()))
    fail_usage(fmt::format("the singular value {:.4g} to a power of {} does not fit float32", model.singular[0], options.power), "--power",
               "give a smaller one; 1 is usual");
  out.singular = model.singular;
  out.rna.scores = scores(x, model.mean_x, model.x * by_agreement.asDiagonal());
  out.atac.scores = scores(y, model.mean_y, model.y * by_agreement.asDiagonal());
  out.correlations = pearson(out.rna.scores, out.atac.scores, pairs.train);
  out.validation_correlations = pearson(out.rna.scores, out.atac.scores, pairs.validation);
  return out;
}

}  // namespace panvae::eval
