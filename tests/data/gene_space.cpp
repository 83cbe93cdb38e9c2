// ATAC and RNA in gene space: by the formula, and on a study whose links between peaks and genes are planted.
#include "data/gene_space.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/philox.h"
#include "base/threads.h"
#include "data/simulate.h"
#include "data/write.h"
#include "support.h"

namespace panvae::data::test {
namespace {

Dataset<double> doubles(const Dataset<float>& d) {
  Dataset<double> out;
  out.x = d.x.cast<double>();
  out.obs = d.obs, out.var = d.var, out.kind = d.kind, out.path = d.path;
  return out;
}

double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  const double mx = std::accumulate(x.begin(), x.end(), 0.0) / n, my = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) xy += (x[i] - mx) * (y[i] - my), xx += (x[i] - mx) * (x[i] - mx), yy += (y[i] - my) * (y[i] - my);
  return xy / std::sqrt(xx * yy);
}

// Every gene has one peak in its middle, gene g on a chromosome of its own, so that activity is (1 + 1/e) accessibility.
struct Toy {
  Genes genes;
  Dataset<double> rna, atac;
  GeneActivity activity;
};
Toy toy(int64_t samples, int64_t genes, bool counts) {
  Toy t;
  PhiloxSequence random({12, 0, 0});
  RowMatrix<double> r(samples, genes), a(samples + 1, genes);
  for (int64_t i = 0; i < r.size(); ++i) r.data()[i] = counts ? static_cast<double>(random.below(50)) : random.normal();
  for (int64_t i = 0; i < a.size(); ++i) a.data()[i] = counts ? static_cast<double>(random.below(50)) : random.normal();
  t.rna = dataset(r), t.atac = dataset(a);
  for (int64_t g = 0; g < genes; ++g) {
    const auto i = static_cast<size_t>(g);
    t.atac.var.keys[i] = "chr" + std::to_string(g + 1) + ":100-200";
    t.genes.symbol.push_back("g" + std::to_string(g + 1)), t.genes.id.push_back("ENSG" + std::to_string(g + 1));
    t.genes.chromosomes.push_back("chr" + std::to_string(g + 1)), t.genes.chromosome.push_back(static_cast<int32_t>(g));
    t.genes.start.push_back(150), t.genes.end.push_back(150), t.genes.forward.push_back(true);
  }
  t.activity = gene_activity(peaks_of(t.atac.var, "atac"), t.genes, "atac", "genes");
  return t;
}

TEST(GeneSpace, IsTheCorrelationOfZScores) {
  for (const bool counts : {false, true}) {
    Toy t = toy(9, 40, counts);
    const SampleSource rna(t.rna), atac(t.atac);
    EXPECT_EQ(holds_counts(rna), counts);
    const std::vector<double> library = counts ? library_sizes(rna) : std::vector<double>();
    const std::vector<int64_t> training = {0, 1, 2, 3, 5, 6, 8};
    GeneSpaceOptions options;
    options.genes = 25;
    const GeneSpace space = gene_space(rna, training, library, atac, training, t.genes, t.activity, options);
    EXPECT_EQ(space.shared, 40);
    ASSERT_EQ(space.genes.size(), 25u);

    // The same by hand: logs, variances, z-scores, Pearson.
    RowMatrix<double> r = t.rna.x, a = t.atac.x;
    if (counts) {
      double mean_library = 0;
      for (int64_t s : training) mean_library += library[static_cast<size_t>(s)] / static_cast<double>(training.size());
      for (int64_t s = 0; s < r.rows(); ++s) {
        const double l = t.rna.x.row(s).sum(), prior = 2 * l / mean_library;
        for (int64_t g = 0; g < r.cols(); ++g) r(s, g) = std::log2((t.rna.x(s, g) + prior) / (l + 2 * prior) * 1e6);
      }
      for (int64_t s = 0; s < a.rows(); ++s) {
        const double l = t.atac.x.row(s).sum();
        for (int64_t g = 0; g < a.cols(); ++g) a(s, g) = std::log2(1 + (1 + std::exp(-1.0)) * t.atac.x(s, g) / l * 1e6);
      }
    }
    const auto moments = [&](const RowMatrix<double>& x, int64_t g) {
      double mean = 0, squares = 0;
      for (int64_t s : training) mean += x(s, g) / static_cast<double>(training.size());
      for (int64_t s : training) squares += (x(s, g) - mean) * (x(s, g) - mean);
      return std::pair(mean, squares / static_cast<double>(training.size() - 1));
    };
    std::vector<int64_t> order = range(40);
    std::sort(order.begin(), order.end(), [&](int64_t x, int64_t y) { return moments(r, x).second > moments(r, y).second; });
    order.resize(25);
    std::sort(order.begin(), order.end());
    for (size_t g = 0; g < order.size(); ++g) EXPECT_EQ(space.genes[g], "g" + std::to_string(order[g] + 1));
    for (int64_t i = 0; i < a.rows(); ++i)
      for (int64_t j = 0; j < r.rows(); ++j) {
        std::vector<double> x, y;
        for (int64_t g : order) {
          x.push_back((a(i, g) - moments(a, g).first) / std::sqrt(moments(a, g).second));
          y.push_back((r(j, g) - moments(r, g).first) / std::sqrt(moments(r, g).second));
        }
        EXPECT_NEAR(space.atac.row(i).dot(space.rna.row(j)), pearson(x, y), 1e-12);
      }
  }
}

TEST(GeneSpace, NamesOfGenesInSeveralForms) {
  Toy t = toy(6, 5, false);
  t.rna.var.keys = {"g1|7157", "ENSG2.14", "g3", "other", "g1"};  // the last names g1 again
  const SampleSource rna(t.rna), atac(t.atac);
  GeneSpace space = gene_space(rna, range(6), {}, atac, range(6), t.genes, t.activity);
  EXPECT_EQ(space.genes, (std::vector<std::string>{"g1", "g2", "g3"}));
  t.rna.var.set(factor_from_text("symbol", {"g5", "g4", "g3", "g2", "g1"}));
  const SampleSource named(t.rna);
  space = gene_space(named, range(6), {}, atac, range(6), t.genes, t.activity);
  EXPECT_EQ(space.genes, (std::vector<std::string>{"g5", "g4", "g3", "g2", "g1"}));
}

TEST(GeneSpace, AGeneMayHaveSeveralIds) {
  Toy t = toy(6, 5, false);
  t.genes.id = {"ENSG10,ENSG11", "ENSG20,ENSG21.3,ENSG22", "", "ENSG40", "ENSG50"};
  t.rna.var.keys = {"ENSG11", "ENSG21.7", "ENSG22", "ENSG30", "ENSG50"};  // the third names g2 again, the fourth nothing
  const SampleSource rna(t.rna), atac(t.atac);
  EXPECT_EQ(gene_space(rna, range(6), {}, atac, range(6), t.genes, t.activity).genes, (std::vector<std::string>{"g1", "g2", "g5"}));
}

TEST(GeneSpace, Refused) {
  Toy t = toy(6, 5, false);
  const SampleSource atac(t.atac);
  Toy other = toy(6, 5, false);
  other.rna.var.keys = {"a", "b", "c", "d", "e"};
  const SampleSource rna(t.rna), strange(other.rna);
  const auto space = [&](const SampleSource& r, const std::vector<int64_t>& training) { gene_space(r, training, {}, atac, training, t.genes, t.activity); };
  expect_names(error_of([&] { space(strange, range(6)); }), {"'a'", "'g1'", "--correlated 0"});
  expect_names(error_of([&] { space(rna, {0}); }), {"RNA", "two"});
  other.rna = t.rna;
  for (int64_t g = 1; g < 5; ++g) other.rna.x.col(g).setConstant(0.1);
  const SampleSource constant(other.rna);
  expect_names(error_of([&] { space(constant, range(6)); }), {"1 genes", "vary"});
  Toy counts = toy(4, 5, true);
  counts.rna.x.row(2).setZero();
  const SampleSource empty(counts.rna);
  expect_names(error_of([&] { library_sizes(empty); }), {"'s3'", "without counts"});
}

TEST(GeneSpace, MostCorrelatedAreThose) {
  PhiloxSequence random({13, 0, 0});
  GeneSpace space;
  space.genes.assign(17, "g");
  const auto fill = [&](RowMatrix<double>& x, int64_t n) {
    x.resize(n, 17);
    for (int64_t i = 0; i < x.size(); ++i) x.data()[i] = random.normal();
    for (int64_t i = 0; i < n; ++i) x.row(i).array() -= x.row(i).mean(), x.row(i) /= x.row(i).norm();
  };
  fill(space.rna, 50);
  fill(space.atac, 70);
  space.rna.row(7) = space.rna.row(9);  // equal correlations: the name decides
  std::vector<std::string> names;
  for (int64_t i = 0; i < 50; ++i) names.push_back("R" + std::to_string(99 - i));
  std::vector<int64_t> atac_rows = range(70), rna_rows = range(50);
  rna_rows.erase(rna_rows.begin() + 3);
  const auto allowed = [](int64_t a, int64_t r) { return (a + r) % 3 != 0; };
  const auto found = most_correlated(space, atac_rows, rna_rows, names, 4, allowed);
  for (int64_t a : atac_rows) {
    std::vector<int64_t> order;
    for (int64_t r : rna_rows)
      if (allowed(a, r)) order.push_back(r);
    const auto correlation = [&](int64_t r) { return space.atac.row(a).dot(space.rna.row(r)); };
    std::sort(order.begin(), order.end(), [&](int64_t x, int64_t y) {
      const double d = correlation(x) - correlation(y);
      return std::abs(d) > 1e-14 ? d > 0 : names[static_cast<size_t>(x)] < names[static_cast<size_t>(y)];
    });
    ASSERT_EQ(found[static_cast<size_t>(a)].size(), 4u);
    for (size_t k = 0; k < 4; ++k) {
      EXPECT_EQ(found[static_cast<size_t>(a)][k].rna, order[k]);
      EXPECT_NEAR(found[static_cast<size_t>(a)][k].correlation, correlation(order[k]), 1e-12);
    }
  }
  const int before = threads();
  set_threads(3);
  const auto again = most_correlated(space, atac_rows, rna_rows, names, 4, allowed);
  set_threads(before);
  for (size_t a = 0; a < found.size(); ++a)
    for (size_t k = 0; k < 4; ++k) EXPECT_EQ(found[a][k].correlation, again[a][k].correlation);
  EXPECT_TRUE(most_correlated(space, {}, rna_rows, names, 4, nullptr).empty());
  EXPECT_TRUE(most_correlated(space, atac_rows, {}, names, 4, nullptr)[0].empty());
  EXPECT_EQ(most_correlated(space, atac_rows, std::vector<int64_t>{1, 2}, names, 4, nullptr)[0].size(), 2u);
}

// Links between peaks and genes are planted, so the RNA of a donor is near its ATAC in gene space.
TEST(GeneSpace, FindsTheDonorInASimulatedStudy) {
  SimulateOptions o;
  o.donors = 160, o.genes = 600, o.peaks = 6000, o.cohorts = 6, o.atac_fraction = 0.4, o.replicates = 1, o.seed = 4;
  const SimulatedStudy study = simulate_study(o);
  const SampleSource rna(doubles(study.rna)), atac(doubles(study.atac->dataset()));
  const Genes genes = genes_of(study.genes, "genes.tsv");
  const GeneActivity activity = gene_activity(peaks_of(atac.var(), "atac"), genes, "atac", "genes");
  const auto atac_rows = range(atac.samples()), rna_rows = range(rna.samples());
  const GeneSpace space = gene_space(rna, rna_rows, library_sizes(rna), atac, atac_rows, genes, activity);
  EXPECT_GT(space.genes.size(), 300u);
  const auto found = most_correlated(space, atac_rows, rna_rows, rna.obs().keys, 4, nullptr);
  const auto rna_donor = donors_of(rna.obs()), atac_donor = donors_of(atac.obs());
  double own = 0, cohort = 0, all = 0;
  for (size_t a = 0; a < found.size(); ++a) {
    bool hit = false;
    for (const Correlated& c : found[a]) {
      hit |= rna_donor[static_cast<size_t>(c.rna)] == atac_donor[a];
      cohort += rna.obs().at("cohort").text(c.rna) == atac.obs().at("cohort").text(static_cast<int64_t>(a));
      ++all;
    }
    own += hit;
  }
  own /= static_cast<double>(found.size());
  cohort /= all;
  RecordProperty("own_donor", std::to_string(own));
  RecordProperty("same_cohort", std::to_string(cohort));
  EXPECT_GT(own, 0.9) << "by chance 4 of " << rna.samples();
  EXPECT_GT(cohort, 0.5) << "by chance about 1 in 6";
}

}  // namespace
}  // namespace panvae::data::test
