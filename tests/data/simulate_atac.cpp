// The ATAC half of the simulator: what is planted can be measured.
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "data/peaks.h"
#include "data/simulate.h"
#include "support.h"

namespace panvae::data::test {
namespace {

SimulateOptions options() {
  SimulateOptions o;
  o.donors = 120;
  o.genes = 300;
  o.cohorts = 4;
  o.peaks = 2500;
  o.atac_fraction = 1;
  o.seed = 2;
  return o;
}

// log(1 + counts per million), each feature centred and scaled to unit length over the samples. [samples, features]
RowMatrix<double> scaled_logs(const Dataset<float>& d) {
  RowMatrix<double> x = d.x.cast<double>();
  for (int64_t r = 0; r < x.rows(); ++r) x.row(r) = (x.row(r) * (1e6 / x.row(r).sum())).array().log1p();
  x.rowwise() -= x.colwise().mean().eval();
  for (int64_t c = 0; c < x.cols(); ++c)
    if (const double norm = x.col(c).norm(); norm > 0) x.col(c) /= norm;
  return x;
}

TEST(SimulateAtac, SameSeedSameCountsWhateverElseIsThere) {
  SimulateOptions o = options();
  o.donors = 30;
  o.peaks = 400;
  const SimulatedStudy a = simulate_study(o), b = simulate_study(o);
  EXPECT_EQ(a.atac->dataset().x, b.atac->dataset().x);
  EXPECT_EQ(a.truth, b.truth);
  o.peaks = 0;
  const SimulatedStudy rna_alone = simulate_study(o);
  EXPECT_EQ(rna_alone.atac, nullptr);
  EXPECT_EQ(rna_alone.rna.x, a.rna.x);
  o.peaks = 400;
  o.seed = 3;
  EXPECT_NE(simulate_study(o).atac->dataset().x, a.atac->dataset().x);
  // Half of the donors: those there are keep their counts.
  o.seed = 2;
  o.atac_fraction = 0.5;
  const SimulatedStudy half = simulate_study(o);
  const Dataset<float> some = half.atac->dataset(), all = a.atac->dataset();
  const auto row_of = all.obs.row_of();
  EXPECT_EQ(some.samples(), 30);
  for (int64_t r = 0; r < some.samples(); ++r) EXPECT_EQ(some.x.row(r), all.x.row(row_of.at(some.obs.keys[static_cast<size_t>(r)])));
}

TEST(SimulateAtac, DonorsWithOneModalityOrBothAndOneSplit) {
  SimulateOptions o = options();
  o.peaks = 200;
  o.rna_fraction = 0.8;
  o.atac_fraction = 0.4;
  o.replicates = 3;
  const SimulatedStudy s = simulate_study(o);
  std::map<std::string, std::string> split;
  std::set<std::string> rna, atac, both;
  for (int64_t r = 0; r < s.rna.samples(); ++r) {
    rna.insert(s.rna.obs.at("donor").text(r));
    split[s.rna.obs.at("donor").text(r)] = s.rna.obs.at("split").text(r);
  }
  const Table& obs = s.atac->obs();
  std::map<std::string, int> samples;
  for (int64_t r = 0; r < obs.rows(); ++r) {
    const std::string donor = obs.at("donor").text(r);
    atac.insert(donor);
    ++samples[donor];
    if (!rna.count(donor)) continue;
    both.insert(donor);
    EXPECT_EQ(split.at(donor), obs.at("split").text(r));
  }
  EXPECT_EQ(rna.size(), 96u);
  EXPECT_EQ(atac.size(), 48u);
  EXPECT_EQ(both.size(), 24u);
  EXPECT_EQ(s.truth["donors_with_both"], 24);
  for (const auto& [donor, count] : samples) EXPECT_EQ(count, 3) << donor;
  for (const std::string& cohort : s.donors.obs.at("cohort").levels) {  // every cohort has its share
    int64_t of_cohort = 0, of_atac = 0;
    for (int64_t i = 0; i < s.donors.obs.rows(); ++i) {
      if (s.donors.obs.at("cohort").text(i) != cohort) continue;
      ++of_cohort;
      of_atac += static_cast<int64_t>(atac.count(s.donors.obs.keys[static_cast<size_t>(i)]));
    }
    EXPECT_NEAR(static_cast<double>(of_atac), 0.4 * static_cast<double>(of_cohort), 1.5) << cohort;
  }
}

TEST(SimulateAtac, PeaksInGenomeOrderThatDoNotOverlap) {
  const SimulatedStudy s = simulate_study(options());
  const Peaks peaks = peaks_of(s.atac->var(), "simulated");
  const std::vector<int64_t> order = bed_order(peaks);
  for (size_t p = 0; p < order.size(); ++p) ASSERT_EQ(order[p], static_cast<int64_t>(p));
  for (size_t p = 1; p < order.size(); ++p)
    if (peaks.chromosome[p] == peaks.chromosome[p - 1]) {
      ASSERT_LE(peaks.end[p - 1], peaks.start[p]);
    }
  EXPECT_GE(peaks.chromosomes.size(), 23u);
  EXPECT_EQ(peaks.chromosomes.front(), "chr1");
  std::string_view chromosome;
  int64_t start = 0, end = 0;
  ASSERT_TRUE(parse_peak_name(s.atac->var().keys[7], chromosome, start, end));
  EXPECT_EQ(start, peaks.start[7]);
  const Table planted = s.atac->peaks();
  EXPECT_EQ(planted.keys, s.atac->var().keys);
  // Linked peaks lie near their gene.
  const Column &gene = planted.at("gene"), &chrom = planted.at("chrom");
  const auto row_of = s.genes.row_of();
  int64_t linked = 0;
  for (int64_t p = 0; p < planted.rows(); ++p) {
    if (gene.missing(p)) continue;
    ++linked;
    const int64_t g = row_of.at(gene.text(p));
    EXPECT_EQ(chrom.text(p), s.genes.at("chrom").text(g));
    EXPECT_LT(std::abs(planted.at("start").number[static_cast<size_t>(p)] - s.genes.at("tss").number[static_cast<size_t>(g)]), 150'000);
  }
  EXPECT_EQ(s.truth["atac"]["linked_peaks"], linked);
  EXPECT_NEAR(static_cast<double>(linked) / 2500, 0.24, 0.05);
}

TEST(SimulateAtac, CountsAreSparseAndOverdispersed) {
  const SimulatedStudy s = simulate_study(options());
  const Dataset<float> d = s.atac->dataset();
  EXPECT_EQ(detect_kind(d.x), "counts");
  EXPECT_NEAR(d.x.cast<double>().mean(), 5, 0.4);
  const double zeros = static_cast<double>((d.x.array() == 0).count()) / static_cast<double>(d.x.size());
  EXPECT_GT(zeros, 0.15);
  EXPECT_LT(zeros, 0.7);
  // Against Poisson: replicates of a donor differ by more than the counts themselves explain.
  double difference = 0, sum = 0;
  for (int64_t r = 0; r + 1 < d.samples(); r += 2) {
    const Eigen::ArrayXd a = d.x.row(r).cast<double>().array().transpose(), b = d.x.row(r + 1).cast<double>().array().transpose();
    difference += (a * (b.sum() / a.sum()) - b).square().sum();
    sum += (a + b).sum();
  }
  EXPECT_GT(difference / sum, 1.5);
}

TEST(SimulateAtac, NeighboursInADomainGoTogether) {
  SimulateOptions o = options();
  o.atac_library_size = 100.0 * static_cast<double>(o.peaks);
  o.replicates = 1;
  const SimulatedStudy s = simulate_study(o);
  const RowMatrix<double> x = scaled_logs(s.atac->dataset());
  const Table planted = s.atac->peaks();
  const std::vector<double>& domain = planted.at("domain").number;
  double within = 0, across = 0;
  int64_t n_within = 0, n_across = 0;
  for (int64_t p = 0; p + 100 < x.cols(); ++p) {
    if (domain[static_cast<size_t>(p)] == domain[static_cast<size_t>(p) + 1]) within += x.col(p).dot(x.col(p + 1)), ++n_within;
    across += x.col(p).dot(x.col(p + 100)), ++n_across;
  }
  EXPECT_GT(within / static_cast<double>(n_within), 0.2);
  EXPECT_LT(std::abs(across / static_cast<double>(n_across)), 0.08);
}

TEST(SimulateAtac, LinkedPeaksFollowTheirGenes) {
  SimulateOptions o = options();
  o.atac_library_size = 100.0 * static_cast<double>(o.peaks);
  o.replicates = 1;
  o.replicated_fraction = 0;
  const SimulatedStudy s = simulate_study(o);
  const RowMatrix<double> peaks = scaled_logs(s.atac->dataset()), genes = scaled_logs(s.rna);
  ASSERT_EQ(peaks.rows(), genes.rows());
  for (int64_t r = 0; r < peaks.rows(); ++r) ASSERT_EQ(s.rna.obs.at("donor").text(r), s.atac->obs().at("donor").text(r));
  const Table planted = s.atac->peaks();
  const std::vector<double>& link = planted.at("link").number;
  double own = 0, other = 0;
  int64_t n = 0;
  for (int64_t p = 0; p < peaks.cols(); ++p) {
    if (!(link[static_cast<size_t>(p)] > 0)) continue;
    const int64_t g = planted.at("gene").code[static_cast<size_t>(p)];
    own += peaks.col(p).dot(genes.col(g));
    other += peaks.col(p).dot(genes.col((g + 150) % genes.cols()));
    ++n;
  }
  EXPECT_GT(own / static_cast<double>(n), 0.2);
  EXPECT_LT(std::abs(other / static_cast<double>(n)), 0.1);
}

// Share of the samples of odd donors that lie nearest to the mean of their own cohort over the even donors.
double nearest_centroid(const SimulatedStudy& s) {
  const RowMatrix<double> x = scaled_logs(s.atac->dataset());
  const Column& cohort = s.atac->obs().at("cohort");
  RowMatrix<double> mean = RowMatrix<double>::Zero(static_cast<int64_t>(cohort.levels.size()), x.cols());
  Eigen::VectorXd n = Eigen::VectorXd::Zero(mean.rows());
  for (int64_t r = 0; r < x.rows(); ++r)
    if (r / 2 % 2 == 0) mean.row(cohort.code[static_cast<size_t>(r)]) += x.row(r), n[cohort.code[static_cast<size_t>(r)]] += 1;
  mean.array().colwise() /= n.array();
  double right = 0, all = 0;
  for (int64_t r = 0; r < x.rows(); ++r) {
    if (r / 2 % 2 == 0) continue;
    Eigen::Index nearest = 0;
    (mean.rowwise() - x.row(r)).rowwise().squaredNorm().minCoeff(&nearest);
    right += nearest == cohort.code[static_cast<size_t>(r)];
    ++all;
  }
  return right / all;
}

TEST(SimulateAtac, CohortsSeparateAsMuchAsAsked) {
  SimulateOptions o = options();
  EXPECT_GT(nearest_centroid(simulate_study(o)), 0.75);
  o.cohort_effect = 0;
  o.subtypes = 20;  // many, so that their shifts average out within a cohort
  EXPECT_LT(nearest_centroid(simulate_study(o)), 0.6);
}

TEST(SimulateAtac, ReplicatesAreCloserThanDonors) {
  const SimulatedStudy s = simulate_study(options());
  const RowMatrix<double> x = scaled_logs(s.atac->dataset());
  const Column& cohort = s.atac->obs().at("cohort");
  double replicates = 0, strangers = 0;
  for (int64_t r = 0; r + 1 < x.rows(); r += 2) {
    int64_t other = (r + 2) % x.rows();
    while (cohort.code[static_cast<size_t>(other)] != cohort.code[static_cast<size_t>(r)]) other = (other + 2) % x.rows();
    replicates += (x.row(r) - x.row(r + 1)).norm();
    strangers += (x.row(r) - x.row(other)).norm();
  }
  EXPECT_LT(replicates, 0.97 * strangers);
  SimulateOptions deep = options();
  deep.atac_library_size = 100.0 * static_cast<double>(deep.peaks);
  const SimulatedStudy t = simulate_study(deep);
  const RowMatrix<double> y = scaled_logs(t.atac->dataset());
  replicates = strangers = 0;
  for (int64_t r = 0; r + 1 < y.rows(); r += 2) {
    int64_t other = (r + 2) % y.rows();
    while (cohort.code[static_cast<size_t>(other)] != cohort.code[static_cast<size_t>(r)]) other = (other + 2) % y.rows();
    replicates += (y.row(r) - y.row(r + 1)).norm();
    strangers += (y.row(r) - y.row(other)).norm();
  }
  EXPECT_LT(replicates, 0.85 * strangers);
}

TEST(SimulateAtac, ImpossibleOptions) {
  const std::vector<std::tuple<int64_t, double, double, double>> impossible = {{3, 1, 0.4, 0},    {-1, 1, 0.4, 0},   {100, 1.5, 0.4, 0},
                                                                               {100, 1, -0.1, 0}, {100, 1, 0.4, -1}, {6'000'000, 1, 0.4, 0}};
  for (const auto& [peaks, rna, atac, library] : impossible) {
    SimulateOptions o = options();
    o.peaks = peaks;
    o.rna_fraction = rna;
    o.atac_fraction = atac;
    o.atac_library_size = library;
    error_of([&] { simulate_study(o); }, ErrorCode::usage);
  }
}

class SimulateAtacFiles : public Files {};

TEST_F(SimulateAtacFiles, AreWhatIsInMemory) {
  SimulateOptions o = options();
  o.donors = 25;
  o.peaks = 600;
  o.cohorts = 3;
  const SimulatedStudy s = simulate_study(o);
  write_study(path("sim"), s);
  const Dataset<float> d = read_dataset<float>(path("sim/atac.h5ad")), expected = s.atac->dataset();
  EXPECT_EQ(d.x, expected.x);
  EXPECT_EQ(d.kind, "counts");
  EXPECT_EQ(d.obs.keys, expected.obs.keys);
  EXPECT_EQ(d.var.keys, expected.var.keys);
  EXPECT_EQ(d.obs.at("replicate").number[1], 2);
  const Table planted = read_table(path("sim/peaks.tsv"));
  EXPECT_EQ(planted.keys, expected.var.keys);
  for (const char* column : {"chrom", "start", "end", "base", "domain", "loading", "gene", "link", "program", "program_weight"})
    EXPECT_NE(planted.find(column), nullptr) << column;
  const Json truth = Json::parse(read_file(path("sim/truth.json")));
  EXPECT_EQ(truth["atac"]["samples"], 50);
  EXPECT_EQ(truth["atac"]["domain_programs"].size(), truth["atac"]["domains"].get<size_t>());
  write_study(path("again"), s);
  EXPECT_TRUE(read_file(path("sim/atac.h5ad")) == read_file(path("again/atac.h5ad")));
}

}  // namespace
}  // namespace panvae::data::test
