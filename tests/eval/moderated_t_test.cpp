#include "eval/moderated_t.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/read.h"
#include "eval/distributions.h"
#include "tests/eval/helpers.h"

namespace panvae::eval {
namespace {

using test::gaussian;
using Matrix = data::RowMatrix<double>;

const std::string kReference = std::string(PANVAE_SOURCE_DIR) + "/tests/reference/stats/";

Moments moments(const Matrix& x) {
  Moments m(x.cols());
  m.add(x);
  return m;
}

void expect_close(double value, double expected, double tolerance, const std::string& what) {
  EXPECT_LE(std::abs(value - expected), tolerance * std::abs(expected)) << what << ": " << value << " instead of " << expected;
}

// Every number of limma 3.54 and t.test, features in its order.
void expect_reference(const DifferenceTest& r, const std::string& file) {
  const data::Table expected = data::read_table(kReference + file);
  ASSERT_EQ(r.p.size(), expected.keys.size());
  for (size_t i = 0; i < r.p.size(); ++i) {
    const std::string what = file + " " + expected.keys[i];
    expect_close(r.effect[i], expected.at("log2fc").number[i], 1e-6, what + " log2fc");
    expect_close(r.t[i], expected.at("t").number[i], 1e-6, what + " t");
    expect_close(r.p[i], expected.at("p").number[i], 1e-6, what + " p");
    expect_close(r.fdr[i], expected.at("fdr").number[i], 1e-6, what + " fdr");
  }
}

struct Reference : ::testing::Test {
  Matrix observed = data::read_dataset<double>(kReference + "observed.tsv").x, reconstructed = data::read_dataset<double>(kReference + "reconstructed.tsv").x;
};
using ModeratedTReference = Reference;

TEST_F(ModeratedTReference, PairedIsLimmas) {
  expect_reference(moderated_one_sample(moments(reconstructed - observed)), "expected_de_paired.tsv");
}
TEST_F(ModeratedTReference, TwoSampleIsLimmas) {
  expect_reference(moderated_two_sample(moments(observed), moments(reconstructed), false), "expected_de_limma.tsv");
}
TEST_F(ModeratedTReference, TrendIsLimmas) {
  expect_reference(moderated_two_sample(moments(observed), moments(reconstructed), true), "expected_de_limma_trend.tsv");
}
TEST_F(ModeratedTReference, WelchIsRs) {
  expect_reference(welch(moments(observed), moments(reconstructed)), "expected_de_welch.tsv");
}

TEST(ModeratedT, MomentsAreTwoPassSums) {
  const Matrix x = (gaussian(37, 2500, 1).array() * 3 + 1e6).matrix();
  const Moments m = moments(x);
  EXPECT_EQ(m.n, 37);
  for (int64_t j = 0; j < x.cols(); ++j) {
    const double mean = x.col(j).mean(), m2 = (x.col(j).array() - mean).square().sum();
    EXPECT_NEAR(m.mean[static_cast<size_t>(j)], mean, 1e-9);
    EXPECT_NEAR(m.m2[static_cast<size_t>(j)], m2, 1e-8 * m2);
  }
}

TEST(ModeratedT, BlocksAndThreadsDoNotMatter) {
  const Matrix x = gaussian(50, 3001, 2);
  const test::Threads one(1);
  const Moments whole = moments(x);
  set_threads(3);
  Moments parts(x.cols());
  for (int64_t first = 0; first < 50; first += 7) parts.add(x.middleRows(first, std::min<int64_t>(7, 50 - first)));
  EXPECT_EQ(parts.mean, whole.mean);
  EXPECT_EQ(parts.m2, whole.m2);
  const DifferenceTest b = moderated_one_sample(parts);
  set_threads(1);
  const DifferenceTest a = moderated_one_sample(whole);
  EXPECT_EQ(a.p, b.p);
  EXPECT_EQ(a.fdr, b.fdr);
}

TEST(ModeratedT, MomentsOfNothing) {
  Moments m(3);
  m.add(Matrix(0, 3));
  EXPECT_EQ(m.n, 0);
  EXPECT_TRUE(std::isnan(m.variance(0)));
  Moments none(0);
  none.add(Matrix(4, 0));
  EXPECT_TRUE(moderated_one_sample(none).p.empty());
  EXPECT_TRUE(welch(none, none).p.empty());
  EXPECT_TRUE(moderated_two_sample(none, none, true).p.empty());
  EXPECT_ERROR(ErrorCode::usage, "2500 features, 3 before", m.add(Matrix(1, 2500)));
}

// Variances drawn from the model itself: s2 ~ s0^2 F(d, d0). The fit finds d0 and s0 again.
TEST(ModeratedT, PriorIsFoundAgain) {
  const int64_t g = 40000, d = 6, d0 = 10;
  PhiloxSequence random(PhiloxKey{3, 1, 0});
  std::vector<double> s2;
  const auto chi2 = [&](int64_t df) {
    double sum = 0;
    for (int64_t k = 0; k < df; ++k) {
      const double z = random.normal();
      sum += z * z;
    }
    return sum;
  };
  for (int64_t i = 0; i < g; ++i) s2.push_back(0.7 * (chi2(d) / d) / (chi2(d0) / d0));
  const VariancePrior prior = fit_variance_prior(s2, d, nullptr);
  EXPECT_NEAR(prior.df, d0, 0.5);
  EXPECT_NEAR(prior.variance.at(0), 0.7, 0.02);
}

TEST(ModeratedT, EqualVariancesGiveAnInfinitePrior) {
  const std::vector<double> s2(100, 0.25);
  const VariancePrior prior = fit_variance_prior(s2, 4, nullptr);
  EXPECT_TRUE(std::isinf(prior.df));
  EXPECT_DOUBLE_EQ(prior.variance.at(0), 0.25);
  std::vector<double> mean;
  for (int i = 0; i < 100; ++i) mean.push_back(i);
  const VariancePrior trend = fit_variance_prior(s2, 4, &mean);
  EXPECT_TRUE(std::isinf(trend.df));
  ASSERT_EQ(trend.variance.size(), 100u);
  for (double v : trend.variance) EXPECT_NEAR(v, 0.25 * std::exp(std::log(2.0) - digamma(2)), 1e-12);
}

// limma 3.54: eBayes(lmFit(t(rbind(a, b)), cbind(1, c(0, 0, 0, 1, 1, 1, 1))), trend =) with few features, where the spline has
// fewer degrees of freedom, and features without variance.
Matrix waves(int64_t n, int64_t g, double a) {
  Matrix x(n, g);
  for (int64_t i = 1; i <= n; ++i)
    for (int64_t j = 1; j <= g; ++j) {
      const auto u = static_cast<double>(i), v = static_cast<double>(j);
      x(i - 1, j - 1) = std::sin(a * u * u + 1.7 * v * v + u * v) * (1 + static_cast<double>(j % 4)) + 0.1 * v;
    }
  return x;
}

TEST(ModeratedT, FewFeaturesAreLimmas) {
  const struct {
    int64_t features;
    bool trend;
    double prior, first_t, last_p;
  } cases[] = {{2, true, INFINITY, -1.8309325524015916, 0.20163689541575905},
               {2, false, INFINITY, -1.8309325524015916, 0.20163689541575905},
               {3, true, INFINITY, -1.7632493039060253, 0.36264005865560145},
               {3, false, 6.3297375589120941, -1.6467605474601219, 0.21729973277803957},
               {5, true, 4.2219782955432059, -2.2681370547978386, 0.56165364131034301},
               {5, false, 4.4394471988584172, -2.0744689745503586, 0.6077944545150229},
               {6, true, 3.9568359912240583, -2.2141137166719211, 0.40816744305297625},
               {6, false, 5.5447218670543181, -1.9632430596997101, 0.40652534711484356},
               {12, true, 3.5466922098990854, -1.9788722189204955, 0.42884583436547352},
               {29, true, 4.1731127558910961, -1.9594193920889933, 0.55084939897550811},
               {30, true, 3.8742564506790189, -1.9939031651172365, 0.37426745894212043},
               {12, false, 3.6554884795440419, -2.1266484397626582, 0.56019917752585013}};
  for (const auto& c : cases) {
    const std::string what = fmt::format("{} features, trend {}", c.features, c.trend);
    const DifferenceTest r = moderated_two_sample(moments(waves(3, c.features, 1)), moments(waves(4, c.features, 2)), c.trend);
    if (std::isinf(c.prior)) {
      EXPECT_TRUE(std::isinf(r.prior_df)) << what;
    } else {
      expect_close(r.prior_df, c.prior, 1e-9, what);
    }
    expect_close(r.t.front(), c.first_t, 1e-9, what);
    expect_close(r.p.back(), c.last_p, 1e-9, what);
  }
  Matrix x = waves(5, 8, 1);
  x.col(0).setConstant(0.3);
  x.col(1).setConstant(-1);
  const DifferenceTest r = moderated_one_sample(moments(x));
  expect_close(r.prior_df, 0.34904101362759199, 1e-9, "constant features");
  expect_close(r.t[0], 62.795754236375686, 1e-9, "constant features");
  expect_close(r.p[1], 7.1254664858317956e-10, 1e-9, "constant features");
}

// R: t.test(c(2.5, 3.9, 1.8, 4.4, 2.2, 3.1, 5.0), c(1.2, 0.7, 2.9, 1.1)), groups of unequal sizes.
TEST(ModeratedT, WelchOfUnequalGroupsIsRs) {
  Matrix a(4, 1), b(7, 1);
  a << 1.2, 0.7, 2.9, 1.1;
  b << 2.5, 3.9, 1.8, 4.4, 2.2, 3.1, 5.0;
  const DifferenceTest r = welch(moments(a), moments(b));
  expect_close(r.t[0], 2.7023359905547757, 1e-12, "t");
  expect_close(r.p[0], 0.02832510711795733, 1e-11, "p");
}

// Where most variances are zero the floor is a share of the median of the others.
TEST(ModeratedT, ZerosTakeTheFloorOfThoseThatVary) {
  const VariancePrior zeros = fit_variance_prior({0, 0, 0, 0, 1, 2, 4}, 5, nullptr), floors = fit_variance_prior({2e-5, 2e-5, 2e-5, 2e-5, 1, 2, 4}, 5, nullptr);
  EXPECT_TRUE(std::isfinite(zeros.df));
  EXPECT_EQ(zeros.df, floors.df);
  EXPECT_EQ(zeros.variance, floors.variance);
}

TEST(ModeratedT, NoVarianceAtAll) {
  Matrix x = Matrix::Zero(4, 3);
  x.col(1).setConstant(2);
  x.col(2).setConstant(-1);
  const DifferenceTest r = moderated_one_sample(moments(x));
  EXPECT_TRUE(std::isnan(r.t[0]) && std::isnan(r.p[0]) && std::isnan(r.fdr[0]));
  EXPECT_EQ(r.t[1], std::numeric_limits<double>::infinity());
  EXPECT_EQ(r.t[2], -std::numeric_limits<double>::infinity());
  EXPECT_EQ(r.p[1], 0);
  EXPECT_EQ(r.fdr[2], 0);
  EXPECT_EQ(r.untestable, 1);
  EXPECT_EQ(r.without_variance, 3);
  const DifferenceTest w = welch(moments(Matrix::Zero(4, 3)), moments(x));
  EXPECT_EQ(w.untestable, 1);
  EXPECT_EQ(w.p[1], 0);
  EXPECT_EQ(w.without_variance, 3);
  EXPECT_EQ(welch(moments(gaussian(4, 3, 8)), moments(x)).without_variance, 0) << "one group's variance is enough";
}

// Most features without variance: those that have some define the prior, and the others take it.
TEST(ModeratedT, ConstantFeaturesBorrowTheirVariance) {
  Matrix x = gaussian(6, 50, 4);
  for (int64_t j = 0; j < 30; ++j) x.col(j).setConstant(j == 0 ? 0 : 1);
  const DifferenceTest r = moderated_one_sample(moments(x));
  EXPECT_EQ(r.without_variance, 30);
  EXPECT_EQ(r.untestable, 0);
  EXPECT_EQ(r.p[0], 1);
  EXPECT_TRUE(std::isfinite(r.t[1]) && r.t[1] > 0);
  for (double p : r.p) EXPECT_TRUE(p >= 0 && p <= 1);
}

TEST(ModeratedT, TooFewSamplesAreRefused) {
  const Moments one = moments(gaussian(1, 5, 6)), two = moments(gaussian(2, 5, 7));
  EXPECT_ERROR(ErrorCode::usage, "at least 2", moderated_one_sample(one));
  EXPECT_ERROR(ErrorCode::usage, "three in all", moderated_two_sample(one, one, false));
  EXPECT_ERROR(ErrorCode::usage, "at least 2", welch(one, two));
  EXPECT_EQ(moderated_two_sample(one, two, false).residual_df, 1);
}

// Under the null p is uniform.
TEST(ModeratedT, NoDifferenceGivesUniformP) {
  const int64_t g = 20000;
  const Moments a = moments(gaussian(5, g, 8)), b = moments(gaussian(5, g, 9));
  for (const DifferenceTest& r : {moderated_two_sample(a, b, false), moderated_two_sample(a, b, true), moderated_one_sample(a)}) {
    for (double level : {0.01, 0.05, 0.5}) {
      const auto below = std::count_if(r.p.begin(), r.p.end(), [&](double p) { return p < level; });
      EXPECT_NEAR(static_cast<double>(below) / g, level, 5 * std::sqrt(level * (1 - level) / g));
    }
    EXPECT_LT(std::count_if(r.fdr.begin(), r.fdr.end(), [](double q) { return q < 0.05; }), 5);
  }
}

// R: p.adjust(c(0.01, 0.04, 0.03, NA, 0.5, 0.04, 1), "BH")
TEST(BenjaminiHochberg, IsRs) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> q = benjamini_hochberg({0.01, 0.04, 0.03, nan, 0.5, 0.04, 1});
  const std::vector<double> expected = {0.06, 0.06, 0.06, nan, 0.6, 0.06, 1};
  for (size_t i = 0; i < q.size(); ++i) EXPECT_TRUE(i == 3 ? std::isnan(q[i]) : std::abs(q[i] - expected[i]) < 1e-15) << i;
  EXPECT_TRUE(benjamini_hochberg({}).empty());
}

TEST(BenjaminiHochberg, IsItsFormula) {
  PhiloxSequence random(PhiloxKey{7, 2, 0});
  std::vector<double> p;
  for (int i = 0; i < 200; ++i) p.push_back(std::floor(std::pow(random.uniform(), 3) * 50) / 50);  // with ties
  const std::vector<double> q = benjamini_hochberg(p);
  for (size_t i = 0; i < p.size(); ++i) {
    double least = 1;
    for (double cut : p)
      if (cut >= p[i]) least = std::min(least, cut * 200 / static_cast<double>(std::count_if(p.begin(), p.end(), [&](double v) { return v <= cut; })));
    EXPECT_NEAR(q[i], least, 1e-15);
  }
}

}  // namespace
}  // namespace panvae::eval
