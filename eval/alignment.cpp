#include "eval/alignment.h"

#include <Eigen/SVD>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/threads.h"
#include "data/read.h"
#include "eval/labels.h"
#include "eval/lapack.h"
#include "eval/too_few.h"
#include "eval/warnings.h"

namespace panvae::eval {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Left singular vectors of x [N, K], those whose singular values are above rounding, at most `limit`.
ColMatrix orthonormal_basis(ColMatrix x, int64_t limit) {
  const int64_t rows = x.rows(), columns = x.cols();
  // Wide matrices are turned, so that LAPACK keeps min(N, K) vectors of either side and none is made in vain.
  const bool wide = columns > rows;
  if (wide) x = x.transpose().eval();
  const lapack::Svd s = lapack::svd(x);
  const double tolerance = s.s.size() ? s.s[0] * static_cast<double>(std::max(rows, columns)) * std::numeric_limits<double>::epsilon() : 0;
  int64_t rank = 0;
  while (rank < s.s.size() && s.s[rank] > tolerance) ++rank;
  return (wide ? s.v : s.u).leftCols(std::min(rank, limit));
}

// Rows of q in another order: row i is row from[i].
ColMatrix permuted_rows(const ColMatrix& q, const std::vector<int64_t>& from) {
  ColMatrix out(q.rows(), q.cols());
  for (size_t i = 0; i < from.size(); ++i) out.row(static_cast<int64_t>(i)) = q.row(from[i]);
  return out;
}

double length(const std::vector<double>& angles) {
  double sum = 0;
  for (double a : angles) sum += a * a;
  return std::sqrt(sum);
}

}  // namespace

std::vector<double> principal_angles(const ColMatrix& a, const ColMatrix& b) {
  PV_CHECK(a.rows() == b.rows(), "principal_angles: subspaces of {} and {} dimensions", a.rows(), b.rows());
  const ColMatrix &small = a.cols() <= b.cols() ? a : b, &big = a.cols() <= b.cols() ? b : a;
  const int64_t n = small.cols();
  if (n == 0) return {};
  const ColMatrix product = big.transpose() * small;  // [big, n]
  const Eigen::VectorXd cosine = Eigen::JacobiSVD<ColMatrix>(product).singularValues();
  std::vector<double> angle(static_cast<size_t>(n));
  Eigen::VectorXd sine;  // descending, so that the last belongs to the largest cosine
  if (cosine[0] * cosine[0] >= 0.5) {
    const ColMatrix rest = small - big * product;
    sine = Eigen::JacobiSVD<ColMatrix>(rest).singularValues();
  }
  for (int64_t i = 0; i < n; ++i) {
    const double c = std::min(cosine[i], 1.0);
    angle[static_cast<size_t>(i)] = c * c >= 0.5 ? std::asin(std::min(sine[n - 1 - i], 1.0)) : std::acos(c);
  }
  std::sort(angle.begin(), angle.end());
  return angle;
}

AlignmentResult evaluate_alignment(const data::Dataset<double>& e, const AlignmentOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.angles < 1) fail_usage(fmt::format("{} angles", options.angles), "--angles", "at least 1 is needed");
  if (options.permutations < 0) fail_usage(fmt::format("{} permutations", options.permutations), "--permutations", "0 or more are possible");
  AlignmentResult r;
  r.control = options.control;
  r.dimensions = e.features();
  const std::vector<std::string> names = cohort_names(e.obs, options.cohort_map), donors = data::donors_of(e.obs);
  const Selection selection = select_evaluated(e.obs, options.on);
  r.on = selection.name();
  std::vector<int64_t> rows;
  for (int64_t row : selection.rows) names[static_cast<size_t>(row)].empty() ? void(++r.unlabelled) : rows.push_back(row);
  sort_by_name(rows, e.obs);
  check_finite(e, rows);

  const auto n = static_cast<int64_t>(rows.size());
  r.n = n;
  std::vector<std::string> label, donor;
  for (int64_t row : rows) {
    label.push_back(names[static_cast<size_t>(row)]);
    donor.push_back(donors[static_cast<size_t>(row)]);
  }
  add_warning(r.warnings, warn_aliased(e.obs, rows, label));
  std::map<std::string, int64_t> size_of;
  for (const std::string& l : label) ++size_of[l];
  r.classes = static_cast<int64_t>(size_of.size());
  r.donors = static_cast<int64_t>(std::set<std::string>(donor.begin(), donor.end()).size());
  const std::string where = fmt::format("{} samples evaluated ({}), {} without a cohort", n, r.on, r.unlabelled);
  if (r.classes < 2) throw TooFew(fmt::format("{} cohorts, and two are needed", r.classes), where, "use --on all, or another --cohort-key");
  if (n < 3) throw TooFew("angles need at least three samples", where, "use --on all, or more samples");
  if (options.control == Control::permuted) {
    const std::vector<int64_t> from = permute_donors(donor, options.seed, std::numeric_limits<uint32_t>::max());
    std::vector<std::string> permuted;
    for (int64_t i : from) permuted.push_back(label[static_cast<size_t>(i)]);
    label = std::move(permuted);
  }

  if (options.permutations > 0 || options.control == Control::permuted) add_warning(r.warnings, warn_unpermuted(donor));

  ColMatrix indicator = ColMatrix::Zero(n, r.classes), x(n, e.features());
  for (int64_t i = 0; i < n; ++i) {
    indicator(i, std::distance(size_of.begin(), size_of.find(label[static_cast<size_t>(i)]))) = 1;
    x.row(i) = e.x.row(rows[static_cast<size_t>(i)]);
  }
  indicator.rowwise() -= indicator.colwise().mean().eval();
  // Scaled by its largest value, so that no square leaves the range of doubles; by its power of two, which rounds nothing: the
  // differences of an embedding far from 0 keep all their digits. A constant column leaves rounding behind where it is centred,
  // which is no direction.
  if (const double largest = x.cwiseAbs().maxCoeff(); largest > 0) {
    const int power = std::ilogb(largest);
    x = x.unaryExpr([power](double v) { return std::ldexp(v, -power); }).eval();
  }
  bool varies = false;
  for (int64_t j = 0; j < x.cols(); ++j) {
    const double largest = x.col(j).cwiseAbs().maxCoeff();
    // Twice: far from 0 the mean itself is rounded.
    for (int pass = 0; pass < 2; ++pass) x.col(j).array() -= x.col(j).mean();
    if (x.col(j).cwiseAbs().maxCoeff() <= 1e-14 * largest) x.col(j).setZero();
    else varies = true;
  }
  // BLAS and Eigen split their sums by the number of threads. What is printed must not depend on it, so the one large
  // decomposition runs on one thread; permutations, each a small one, run side by side.
  std::optional<OneThread> alone(std::in_place);
  const ColMatrix q_label = orthonormal_basis(std::move(indicator), n);
  const ColMatrix q_embedding = varies ? orthonormal_basis(std::move(x), std::min(options.angles, n - 2)) : ColMatrix(n, 0);
  r.label_rank = q_label.cols();
  r.embedding_rank = q_embedding.cols();
  if (r.embedding_rank == 0) fail_input("the embedding is the same for all samples", where, "is it the right matrix? Was the model trained to the end?");

  r.angles = principal_angles(q_label, q_embedding);
  r.distance = length(r.angles);
  constexpr double kRight = M_PI / 2;
  r.max_distance = std::sqrt(static_cast<double>(r.angles.size())) * kRight;
  r.completed_distance = std::sqrt(r.distance * r.distance + static_cast<double>(std::abs(r.label_rank - r.embedding_rank)) * kRight * kRight);
  r.mean_squared_cosine = (q_label.transpose() * q_embedding).squaredNorm() / static_cast<double>(r.label_rank);
  r.chance_squared_cosine = static_cast<double>(r.embedding_rank) / static_cast<double>(n - 1);

  alone.reset();

  // Permuting labels permutes the rows of Q_L.
  r.permutations = options.permutations;
  std::vector<double> by_chance(static_cast<size_t>(options.permutations));
  constexpr int64_t kSlice = 16;  // between slices Ctrl-C is heard
  for (int64_t first = 0; first < options.permutations; first += kSlice) {
    throw_if_interrupted();
    parallel_chunks(std::min<int64_t>(kSlice, options.permutations - first), 1, [&](int64_t begin, int64_t end) {
      for (int64_t k = first + begin; k < first + end; ++k)
        by_chance[static_cast<size_t>(k)] =
            length(principal_angles(permuted_rows(q_label, permute_donors(donor, options.seed, static_cast<uint32_t>(k))), q_embedding));
    });
  }
  r.chance_distance = r.chance_sd = r.z = kNaN;
  if (!by_chance.empty()) {
    double sum = 0, squares = 0;
    for (double d : by_chance) sum += d;
    r.chance_distance = sum / static_cast<double>(by_chance.size());
    for (double d : by_chance) squares += (d - r.chance_distance) * (d - r.chance_distance);
    if (by_chance.size() > 1) r.chance_sd = std::sqrt(squares / static_cast<double>(by_chance.size() - 1));
    // Less than rounding of the angles is no spread: an embedding that spans all samples has distance 0 for any labels.
    if (r.chance_sd > 1e-7) r.z = (r.distance - r.chance_distance) / r.chance_sd;
    else add_warning(r.warnings, "permuted labels all give the same distance: it says nothing about these labels");
  }
  if (2 * r.embedding_rank >= n - 1)
    add_warning(r.warnings,
                fmt::format("{} components of {} samples hold {:.0f} % of all directions, so any labels come near: use fewer --angles or more samples",
                            r.embedding_rank, n, 100 * r.chance_squared_cosine));
  r.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return r;
}

}  // namespace panvae::eval
