#include "eval/cca.h"

#include <Eigen/Eigenvalues>
#include <Eigen/SVD>
#include <cmath>
#include <limits>
#include <numeric>

#include "eval/pairs.h"
#include "tests/eval/helpers.h"  // first: it silences a false warning of GCC in Eigen

namespace panvae::eval {
namespace {

using test::gaussian;
using Matrix = data::RowMatrix<double>;

Matrix matrix(int64_t columns, const std::vector<double>& values) {
  return Eigen::Map<const Matrix>(values.data(), static_cast<int64_t>(values.size()) / columns, columns);
}

double largest(const Eigen::MatrixXd& m) {
  return m.size() ? m.cwiseAbs().maxCoeff() : 0;
}

Eigen::MatrixXd centred(const Matrix& x) {
  return x.rowwise() - x.colwise().mean();
}

const std::vector<double> kX = {0.6,  1.2, -0.4, -0.6, -0.6, 1.5,  0.9, 2.5,  -1.4, 0.8, 1.8, -1.2, 2.8, -1.9, -0.3, 0.6, 2.5,  -0.5,
                                -1.4, 0.3, 2.6,  -0.5, 2.1,  -1.5, 3.4, -1.5, -2.7, 1.9, -3,  -2.6, 1.9, 1.7,  -0.5, 1.3, -0.8, -0.4};
const std::vector<double> kY = {0.9, -7.1, -2.3, 8.8, 0.2, -5.6, 0, 26, 1.6, -4.4, 1.1, 5.2, 0.7, -3.1, -0.8, 15.2, 1.3, 0.8, 2.5, -10.7, 0.4, 6.7, 1.4, -7.3};

// R 4.2.2: c <- cancor(x, y); c$cor, c$xcoef * sqrt(11), c$ycoef * sqrt(11), c$xcenter. R leaves signs open.
TEST(Cca, AgreesWithCancor) {
  const CcaModel m = fit_cca(matrix(3, kX), matrix(2, kY), 20, 0);
  ASSERT_EQ(m.count(), 2);
  EXPECT_NEAR(m.singular[0], 0.634407014807023, 1e-13);
  EXPECT_NEAR(m.singular[1], 0.459769928444713, 1e-13);
  const double x[3][2] = {{0.509636759696485, 0.0839282267545046}, {-0.146691125097012, 0.4595885798074892}, {-0.125321420570911, -0.4010801816604384}};
  const double y[2][2] = {{0.872482768147067, 0.527394974189225}, {0.013868462258165, 0.116471922664646}};
  for (int k = 0; k < 2; ++k) {
    for (int i = 0; i < 3; ++i) EXPECT_NEAR(m.x(i, k), x[i][k], 1e-13) << i << " " << k;
    for (int i = 0; i < 2; ++i) EXPECT_NEAR(m.y(i, k), y[i][k], 1e-13) << i << " " << k;
  }
  EXPECT_NEAR(m.mean_x[2], -0.616666666666667, 1e-14);
}

struct Shape {
  int64_t n, p, q;
  double shrinkage;
};
class CcaShapes : public testing::TestWithParam<Shape> {};
INSTANTIATE_TEST_SUITE_P(Shapes, CcaShapes,
                         testing::Values(Shape{40, 5, 7, 0}, Shape{40, 5, 7, 0.3}, Shape{31, 1, 1, 0}, Shape{31, 1, 4, 0.5}, Shape{12, 30, 20, 0.2},
                                         Shape{3, 9, 2, 0.7}, Shape{200, 17, 33, 0.01}, Shape{20, 6, 40, 1}));

// The definition, through the generalised eigenvalue problem that Eigen solves: C_xy y = r C_xx(a) x, C_yx x = r C_yy(a) y.
TEST_P(CcaShapes, AgreesWithTheGeneralisedEigenvalueProblem) {
  const auto [n, p, q, a] = GetParam();
  const Matrix z = gaussian(n, 2, 70);
  Matrix x = gaussian(n, p, 71) + z * gaussian(2, p, 72), y = gaussian(n, q, 73) + z * gaussian(2, q, 74);
  x.rowwise() += 3 * gaussian(1, p, 75).row(0);
  const CcaModel m = fit_cca(x, y, 1000, a);
  ASSERT_EQ(m.count(), std::min({p, q, n - 1}));
  const Eigen::MatrixXd cx = centred(x), cy = centred(y);
  const double n1 = static_cast<double>(n - 1);
  const auto shrunk = [&, a = a](const Eigen::MatrixXd& c) -> Eigen::MatrixXd {
    const Eigen::MatrixXd v = c.transpose() * c / n1;
    return (1 - a) * v + a * v.trace() / static_cast<double>(v.rows()) * Eigen::MatrixXd::Identity(v.rows(), v.rows());
  };
  const Eigen::MatrixXd vx = shrunk(cx), vy = shrunk(cy), cross = cx.transpose() * cy / n1;
  Eigen::MatrixXd left = Eigen::MatrixXd::Zero(p + q, p + q), right = left;
  left.topRightCorner(p, q) = cross, left.bottomLeftCorner(q, p) = cross.transpose();
  right.topLeftCorner(p, p) = vx, right.bottomRightCorner(q, q) = vy;
  const Eigen::GeneralizedSelfAdjointEigenSolver<Eigen::MatrixXd> solver(left, right);
  const Eigen::VectorXd expected = solver.eigenvalues().reverse();
  for (int64_t k = 0; k < m.count(); ++k) EXPECT_NEAR(m.singular[k], expected[k], 1e-10) << k;
  const Eigen::MatrixXd one = Eigen::MatrixXd::Identity(m.count(), m.count());
  EXPECT_LT(largest(m.x.transpose() * vx * m.x - one), 1e-9);
  EXPECT_LT(largest(m.y.transpose() * vy * m.y - one), 1e-9);
  EXPECT_LT(largest(m.x.transpose() * cross * m.y - Eigen::MatrixXd(m.singular.asDiagonal())), 1e-9);
  for (int64_t k = 0; k < m.count(); ++k) EXPECT_EQ(m.x.col(k).maxCoeff(), m.x.col(k).cwiseAbs().maxCoeff());

  // Fewer dimensions are the first of these.
  const CcaModel one_only = fit_cca(x, y, 1, a);
  ASSERT_EQ(one_only.count(), 1);
  EXPECT_EQ(one_only.singular[0], m.singular[0]);
  EXPECT_LT(largest(one_only.x - m.x.leftCols(1)), 1e-12);
}

// With all of it shrunk, the weights are those of the singular value decomposition of the cross-covariance; with little, the
// classical ones.
TEST(Cca, LimitsOfShrinkage) {
  const Matrix z = gaussian(60, 2, 80);
  const Matrix x = gaussian(60, 4, 81) + z * gaussian(2, 4, 82), y = gaussian(60, 5, 83) + z * gaussian(2, 5, 84);
  const Eigen::MatrixXd cx = centred(x), cy = centred(y), cross = cx.transpose() * cy;
  const Eigen::JacobiSVD<Eigen::MatrixXd> svd(cross, Eigen::ComputeThinU | Eigen::ComputeThinV);
  const CcaModel all = fit_cca(x, y, 4, 1), none = fit_cca(x, y, 4, 0), little = fit_cca(x, y, 4, 1e-9);
  const double mx = cx.squaredNorm() / 59 / 4, my = cy.squaredNorm() / 59 / 5;
  for (int64_t k = 0; k < 4; ++k) {
    EXPECT_NEAR(all.singular[k], svd.singularValues()[k] / 59 / std::sqrt(mx * my), 1e-12);
    EXPECT_NEAR(std::abs(all.x.col(k).normalized().dot(svd.matrixU().col(k))), 1, 1e-10);
    EXPECT_NEAR(std::abs(all.y.col(k).normalized().dot(svd.matrixV().col(k))), 1, 1e-10);
    EXPECT_NEAR(little.singular[k], none.singular[k], 1e-7);
  }
  EXPECT_LT(largest(little.x - none.x), 1e-6);
  EXPECT_GT(largest(all.x - none.x), 0.01);
}

// Scales of features and of the whole do not matter to the classical analysis; a column that is constant or repeated counts for
// nothing.
TEST(Cca, ClassicalAnalysisKnowsNoUnits) {
  const Matrix x = gaussian(50, 4, 90), y = gaussian(50, 3, 91) + x.leftCols(3);
  const CcaModel m = fit_cca(x, y, 3, 0);
  Matrix scaled = x, wider(50, 6);
  scaled.col(1) *= 1e5, scaled.col(2) *= -1e-4;
  wider << x, Matrix::Constant(50, 1, 123456.789), x.col(0) + x.col(1);
  for (const Matrix* other : {&scaled, &wider}) {
    const CcaModel o = fit_cca(*other, y, 3, 0);
    ASSERT_EQ(o.count(), 3);
    for (int64_t k = 0; k < 3; ++k) {
      EXPECT_NEAR(o.singular[k], m.singular[k], 1e-9);
      const Eigen::VectorXd a = centred(x) * m.x.col(k), b = centred(*other) * o.x.col(k);
      EXPECT_NEAR(std::abs(a.dot(b)) / a.norm() / b.norm(), 1, 1e-9);
    }
  }
}

TEST(Cca, IdenticalModalitiesCorrelatePerfectly) {
  const Matrix x = gaussian(30, 4, 95);
  const CcaModel m = fit_cca(x, x * gaussian(4, 4, 96), 9, 0);
  for (int64_t k = 0; k < 4; ++k) EXPECT_NEAR(m.singular[k], 1, 1e-12);
}

TEST(Cca, RefusesWhatItCannotFit) {
  const Matrix x = gaussian(10, 4, 1), y = gaussian(10, 6, 2);
  EXPECT_ERROR(ErrorCode::input, "10 training pairs are too few for 4 + 6 dimensions: 1 correlations are then 1", fit_cca(x, y, 3, 0));
  EXPECT_EQ(fit_cca(x, y, 3, 0.1).count(), 3);
  const CcaModel edge = fit_cca(x, y.leftCols(5), 3, 0);
  EXPECT_LT(edge.singular[0], 1 - 1e-6);
  EXPECT_ERROR(ErrorCode::input, "2 training pairs", fit_cca(x.topRows(2), y.topRows(2), 3, 0.5));
  EXPECT_ERROR(ErrorCode::input, "all 10 pairs have the same ATAC values", fit_cca(x, Matrix::Constant(10, 2, 0.1), 3, 0.5));
  EXPECT_ERROR(ErrorCode::usage, "shrinkage", fit_cca(x, y, 3, -0.1));
  EXPECT_ERROR(ErrorCode::usage, "shrinkage", fit_cca(x, y, 3, 1.5));
  EXPECT_ERROR(ErrorCode::usage, "shrinkage", fit_cca(x, y, 3, std::nan("")));
  EXPECT_ERROR(ErrorCode::usage, "0 components", fit_cca(x, y, 0, 0.5));
  Matrix bad = x;
  bad(3, 1) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_ERROR(ErrorCode::input, "RNA of some pair is not finite", fit_cca(bad, y, 3, 0.5));
}

// A study of two modalities that share `factors`: 200 donors, RNA of all, ATAC of the first 150; the first 100 train, 25 validate,
// the rest is held out.
struct Study {
  data::Dataset<double> rna, atac;
};
Study study(int64_t factors = 4, double noise = 0.5) {
  const Matrix z = gaussian(200, factors, 40);
  Study s{test::dataset(z * gaussian(factors, 40, 41) + noise * gaussian(200, 40, 42)),
          test::dataset(z.topRows(150) * gaussian(factors, 60, 43) + noise * gaussian(150, 60, 44))};
  for (data::Dataset<double>* d : {&s.rna, &s.atac}) {
    std::vector<std::string> donor, split;
    for (int64_t i = 0; i < d->samples(); ++i) {
      donor.push_back(fmt::format("D{}", i));
      split.push_back(i < 100 ? "train" : i < 125 ? "validation" : "holdout");
      d->obs.keys[static_cast<size_t>(i)] = fmt::format("{}{}", d == &s.rna ? "R" : "A", i);
    }
    test::set_factor(d->obs, "donor", donor);
    test::set_factor(d->obs, "split", split);
    d->path = d == &s.rna ? "rna.h5ad" : "atac.h5ad";
  }
  return s;
}

data::Dataset<double> embedding(const data::Dataset<double>& in, const CcaSide& side) {
  data::Dataset<double> out = test::dataset(side.scores);
  out.obs = in.obs;
  return out;
}

TEST(CcaStudy, FindsPlantedFactors) {
  const Study s = study();
  CcaOptions o;
  o.pca = 10;
  const CcaResult r = embed_by_cca(s.rna, s.atac, o);
  EXPECT_EQ(r.pairs, 100);
  EXPECT_EQ(r.donors, 100);
  EXPECT_EQ(r.validation_pairs, 25);
  EXPECT_EQ(r.rna.training_samples, 100);
  EXPECT_EQ(r.rna.dimensions, 10);
  EXPECT_GT(r.rna.explained, 0.8);
  EXPECT_TRUE(r.split_known);
  ASSERT_EQ(r.singular.size(), 10);
  for (int64_t k = 0; k < 4; ++k) EXPECT_GT(r.validation_correlations[k], 0.9) << k;
  for (int64_t k = 4; k < 10; ++k) EXPECT_LT(std::abs(r.validation_correlations[k]), 0.6) << k;
  EXPECT_GT(r.correlations[3], 0.95);
  // Donors that nobody saw are found again.
  const PairsResult pairs = evaluate_pairs(embedding(s.rna, r.rna), embedding(s.atac, r.atac));
  EXPECT_EQ(pairs.n_pairs, 25);
  EXPECT_LT(pairs.foscttm, 0.01);

  // The power scales dimensions and nothing else.
  o.power = 0;
  const CcaResult variates = embed_by_cca(s.rna, s.atac, o);
  for (int64_t k = 0; k < 10; ++k)
    EXPECT_LT(largest(variates.atac.scores.col(k) * r.singular[k] - r.atac.scores.col(k)), 1e-9 * largest(variates.atac.scores.col(k)));
  // Without a PCA the features themselves, more of them than pairs.
  o.pca = 0;
  const CcaResult features = embed_by_cca(s.rna, s.atac, o);
  EXPECT_EQ(features.atac.dimensions, 60);
  EXPECT_EQ(features.atac.explained, 1);
  EXPECT_GT(features.validation_correlations[3], 0.8);
  // Training samples, each of one pair, have scores around 0.
  for (const CcaResult* of : {&r, &features})
    for (const CcaSide* side : {&of->rna, &of->atac}) EXPECT_LT(largest(side->scores.topRows(100).colwise().mean()), 1e-10 * largest(side->scores));
}

// What is held out, or validates, in either table changes nothing, and a pair of the table neither.
TEST(CcaStudy, HeldOutSamplesAreNotSeen) {
  const Study s = study();
  CcaOptions o;
  o.pca = 8;
  const CcaResult r = embed_by_cca(s.rna, s.atac, o);
  Study other = s;
  other.rna.x.bottomRows(100) *= -7, other.atac.x.bottomRows(50).array() += 100;
  const CcaResult same = embed_by_cca(other.rna, other.atac, o);
  EXPECT_EQ(largest(same.rna.scores.topRows(100) - r.rna.scores.topRows(100)), 0);
  EXPECT_EQ(largest(same.atac.scores.topRows(100) - r.atac.scores.topRows(100)), 0);
  EXPECT_EQ((same.singular - r.singular).norm(), 0);

  // A split in one table alone says the same of both.
  Study one = s;
  one.atac.obs.columns.erase(std::find_if(one.atac.obs.columns.begin(), one.atac.obs.columns.end(), [](const data::Column& c) { return c.name == "split"; }));
  const CcaResult from_rna = embed_by_cca(one.rna, one.atac, o);
  EXPECT_EQ(largest(from_rna.atac.scores - r.atac.scores), 0);

  std::vector<data::SamplePair> pairs;
  for (int i = 0; i < 150; ++i) pairs.push_back({fmt::format("A{}", i), fmt::format("R{}", i), 1, ""});
  o.pairs = &pairs;
  EXPECT_EQ(largest(embed_by_cca(s.rna, s.atac, o).rna.scores - r.rna.scores), 0);
  // Pairs of other tiers count where they are asked for, pairs of another split never.
  pairs.push_back({"A1", "R2", 3, "train"});
  pairs.push_back({"A3", "R4", 1, "validation"});
  pairs.push_back({"A3", "R5", 1, "holdout"});
  // Nor those of samples on two sides, whatever the table says.
  pairs.push_back({"A140", "R7", 1, ""}), pairs.push_back({"A7", "R190", 1, "train"});
  EXPECT_EQ(embed_by_cca(s.rna, s.atac, o).pairs, 100);
  o.max_tier = 3;
  EXPECT_EQ(embed_by_cca(s.rna, s.atac, o).pairs, 101);
}

TEST(CcaStudy, OrderAndThreadsDoNotMatter) {
  const Study s = study();
  CcaOptions o;
  o.pca = 8;
  test::Threads one(1);
  const CcaResult r = embed_by_cca(s.rna, s.atac, o);
  Study turned = s;
  std::vector<int64_t> order(150);
  for (int64_t i = 0; i < 150; ++i) order[static_cast<size_t>(i)] = (i * 37 + 11) % 150;
  for (size_t i = 0; i < order.size(); ++i) turned.atac.x.row(static_cast<int64_t>(i)) = s.atac.x.row(order[i]);
  turned.atac.obs = s.atac.obs.select(order);
  set_threads(3);
  const CcaResult t = embed_by_cca(turned.rna, turned.atac, o);
  EXPECT_EQ((t.singular - r.singular).norm(), 0);
  EXPECT_EQ(largest(t.rna.scores - r.rna.scores), 0);
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(largest(t.atac.scores.row(static_cast<int64_t>(i)) - r.atac.scores.row(order[i])), 0);
}

// Correlations by their definition, of the pairs they are said to be of; replicates of a donor make as many pairs; the share of the
// variance that the components hold.
TEST(CcaStudy, NumbersOfTheResultByHand) {
  Study s = study();
  // Donor 0 has a second RNA sample instead of donor 160's, donor 110 of the validation one instead of 161's.
  auto donor = s.rna.obs.at("donor");
  std::vector<std::string> names, split;
  for (int64_t i = 0; i < 200; ++i) {
    names.push_back(i == 160 ? "D0" : i == 161 ? "D110" : donor.text(i));
    split.push_back(i == 160 ? "train" : i == 161 ? "validation" : s.rna.obs.at("split").text(i));
  }
  test::set_factor(s.rna.obs, "donor", names), test::set_factor(s.rna.obs, "split", split);
  CcaOptions o;
  o.pca = 6;
  const CcaResult r = embed_by_cca(s.rna, s.atac, o);
  EXPECT_EQ(r.pairs, 101);
  EXPECT_EQ(r.donors, 100);
  EXPECT_EQ(r.validation_pairs, 26);
  const auto pearson = [&](int64_t k, int64_t from, int64_t to, int64_t extra, int64_t of) {
    std::vector<std::pair<double, double>> v{{r.rna.scores(extra, k), r.atac.scores(of, k)}};
    for (int64_t i = from; i < to; ++i) v.emplace_back(r.rna.scores(i, k), r.atac.scores(i, k));
    double x = 0, y = 0, xx = 0, yy = 0, xy = 0;
    for (const auto& [a, b] : v) x += a / static_cast<double>(v.size()), y += b / static_cast<double>(v.size());
    for (const auto& [a, b] : v) xx += (a - x) * (a - x), yy += (b - y) * (b - y), xy += (a - x) * (b - y);
    return xy / std::sqrt(xx * yy);
  };
  for (int64_t k = 0; k < 6; ++k) {
    EXPECT_NEAR(r.correlations[k], pearson(k, 0, 100, 160, 0), 1e-10) << k;
    EXPECT_NEAR(r.validation_correlations[k], pearson(k, 100, 125, 161, 110), 1e-10) << k;
  }
  Matrix training(101, 40);
  training << s.rna.x.topRows(100), s.rna.x.row(160);
  const Eigen::VectorXd squares = Eigen::JacobiSVD<Eigen::MatrixXd>(centred(training)).singularValues().cwiseAbs2();
  EXPECT_NEAR(r.rna.explained, squares.head(6).sum() / squares.sum(), 1e-12);

  // Of two validation pairs nothing is said, of three something is; tiers up to the one asked for count.
  std::vector<data::SamplePair> pairs;
  for (int i = 1; i < 102; ++i) pairs.push_back({fmt::format("A{}", i), fmt::format("R{}", i), 1, ""});
  pairs.push_back({"A1", "R2", 2, ""}), pairs.push_back({"A1", "R3", 3, ""});
  o.pairs = &pairs;
  for (o.max_tier = 1; o.max_tier <= 3; ++o.max_tier) {
    const CcaResult few = embed_by_cca(s.rna, s.atac, o);
    EXPECT_EQ(few.pairs, 98 + o.max_tier);
    EXPECT_EQ(few.validation_pairs, 2);
    EXPECT_TRUE(std::isnan(few.validation_correlations[0]));
  }
  pairs.push_back({"A102", "R102", 1, ""});
  o.max_tier = 1;
  EXPECT_TRUE(std::isfinite(embed_by_cca(s.rna, s.atac, o).validation_correlations[0]));
}

// Of both tables, so that the pairs come in another order.
TEST(CcaStudy, OrderOfBothTablesDoesNotMatter) {
  const Study s = study();
  CcaOptions o;
  o.pca = 8;
  const CcaResult r = embed_by_cca(s.rna, s.atac, o);
  Study turned = s;
  for (auto [to, from] : {std::pair{&turned.rna, &s.rna}, std::pair{&turned.atac, &s.atac}}) {
    std::vector<int64_t> order;
    for (int64_t i = from->samples(); i-- > 0;) order.push_back(i);
    to->x = from->x.colwise().reverse().eval();
    to->obs = from->obs.select(order);
  }
  const CcaResult t = embed_by_cca(turned.rna, turned.atac, o);
  EXPECT_EQ((t.singular - r.singular).norm(), 0);
  EXPECT_EQ(largest(t.rna.scores.colwise().reverse() - r.rna.scores), 0);
}

TEST(CcaStudy, Refuses) {
  Study s = study();
  CcaOptions o;
  o.shrinkage = 0;
  EXPECT_ERROR(ErrorCode::input, "100 training pairs are too few for 40 + 60 dimensions", (o.pca = 0, embed_by_cca(s.rna, s.atac, o)));
  o = {};
  const auto refused = [&](const char* part, auto&& change) {
    CcaOptions bad;
    change(bad);
    EXPECT_ERROR(ErrorCode::usage, part, embed_by_cca(s.rna, s.atac, bad));
  };
  refused("principal components", [](CcaOptions& c) { c.pca = -1; });
  refused("power", [](CcaOptions& c) { c.power = -1; });
  refused("power", [](CcaOptions& c) { c.power = std::numeric_limits<double>::infinity(); });
  refused("to a power of 1e+300 does not fit float32", [](CcaOptions& c) { c.shrinkage = 1, c.power = 1e300; });
  refused("tier 0", [](CcaOptions& c) { c.max_tier = 0; });
  refused("tier 7", [](CcaOptions& c) { c.max_tier = 7; });
  const std::vector<data::SamplePair> strangers = {{"X", "Y", 1, ""}, {"A1", "R2", 4, ""}};
  o.pairs = &strangers;
  EXPECT_ERROR(ErrorCode::input, "1 are of higher tiers than 1, 1 name samples that are not there", embed_by_cca(s.rna, s.atac, o));
  o.pairs = nullptr;
  Study nobody = s;
  std::vector<std::string> donor;
  for (int i = 0; i < 150; ++i) donor.push_back(fmt::format("E{}", i));
  test::set_factor(nobody.atac.obs, "donor", donor);
  EXPECT_ERROR(ErrorCode::input, "no pair to train on", embed_by_cca(nobody.rna, nobody.atac, o));
  s.rna.x(199, 7) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_ERROR(ErrorCode::input, "R199", embed_by_cca(s.rna, s.atac, o));
}

}  // namespace
}  // namespace panvae::eval
