// Gene tables in both forms, and the weights of peaks by their formula.
#include "data/gene_activity.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/philox.h"
#include "support.h"

namespace panvae::data::test {
namespace {

class GeneTables : public Files {};

Peaks peaks_at(const std::vector<std::pair<std::string, int64_t>>& middles) {
  Table var;
  for (const auto& [chromosome, middle] : middles) var.keys.push_back(chromosome + ":" + std::to_string(middle - 250) + "-" + std::to_string(middle + 250));
  return peaks_of(var, "peaks.h5ad");
}

// The weight of a peak for a gene, 0 where it has none.
double weight_of(const GeneActivity& a, int64_t gene, int32_t peak) {
  for (size_t g = 0; g < a.gene.size(); ++g)
    if (a.gene[g] == gene)
      for (auto e = static_cast<size_t>(a.first[g]); e < static_cast<size_t>(a.first[g + 1]); ++e)
        if (a.peak[e] == peak) return a.weight[e];
  return 0;
}

TEST_F(GeneTables, BothForms) {
  const Genes ours =
      read_genes(put("genes.tsv", "symbol\tchrom\ttss\tstrand\tstart\tend\nA\tchr1\t1000\t+\t1000\t5000\nB\t2\t900\t-\tNA\t\nC\tchr1\t7\t1\t7\t7\n"));
  EXPECT_EQ(ours.symbol, (std::vector<std::string>{"A", "B", "C"}));
  EXPECT_EQ(ours.start, (std::vector<int64_t>{1000, 900, 7}));
  EXPECT_EQ(ours.end, (std::vector<int64_t>{5000, 900, 7}));
  EXPECT_EQ(ours.forward, (std::vector<bool>{true, false, true}));
  EXPECT_EQ(ours.chromosomes, (std::vector<std::string>{"chr1", "2"}));
  const Genes great =
      read_genes(put("great.tsv", "#Gene_IDs\tCHROM\tPOS\tSTRAND\tSymbol\nENSG1\tchr1\t10\t+\tA\nENSG2\tchrX\t20\t-\tB\nENSG3\tchr2\t30\t-\tA\n"));
  EXPECT_EQ(great.symbol, (std::vector<std::string>{"A", "B"}));  // the second A is left out
  EXPECT_EQ(great.id, (std::vector<std::string>{"ENSG1", "ENSG2"}));
  EXPECT_EQ(great.start, (std::vector<int64_t>{10, 20}));
  EXPECT_EQ(great.end, great.start);
}

// As GREAT's table of hg38 is: hundreds of genes have no id, a few share one, some have two.
TEST_F(GeneTables, IdsMayRepeatAndBeMissing) {
  const Genes genes = read_genes(put("great.tsv",
                                     "#Gene_IDs\tCHROM\tPOS\tSTRAND\tSymbol\nNA\tchr1\t10\t+\tENSG1\nNA\tchr1\t20\t-\tENSG2\n"
                                     "ENSG3,ENSG4\tchr1\t30\t-\tA\nENSG3,ENSG4\tchr1\t40\t-\tB\n\tchr1\t50\t+\tC\n"));
  EXPECT_EQ(genes.symbol, (std::vector<std::string>{"ENSG1", "ENSG2", "A", "B", "C"}));
  EXPECT_EQ(genes.id, (std::vector<std::string>{"", "", "ENSG3,ENSG4", "ENSG3,ENSG4", ""}));
  // Symbols that repeat are left out, whichever column they stand in.
  const Genes ours = read_genes(put("genes.tsv", "symbol\tchrom\ttss\tstrand\nA\tchr1\t1\t+\nA\tchr1\t2\t+\nB\tchr1\t3\t+\n"));
  EXPECT_EQ(ours.symbol, (std::vector<std::string>{"A", "B"}));
  EXPECT_EQ(ours.start, (std::vector<int64_t>{1, 3}));
}

TEST_F(GeneTables, Refused) {
  const auto refused = [&](const std::string& content, const std::vector<std::string>& words) {
    expect_names(error_of([&] { read_genes(put("bad.tsv", content)); }), words);
  };
  refused("symbol\tchrom\ttss\nA\tchr1\t1\n", {"bad.tsv", "strand"});
  refused("symbol\ttss\tstrand\nA\t1\t+\n", {"chrom"});
  refused("symbol\tchrom\tstrand\nA\tchr1\t+\n", {"tss"});
  refused("symbol\tchrom\ttss\tstrand\nA\tchr1\t1\t+\nB\tchr1\t2\t?\n", {"'B'", "strand", "'?'"});
  refused("symbol\tchrom\ttss\tstrand\nA\tchr1\t1\t+\nB\tchr1\t2\t\n", {"'B'", "missing"});
  refused("symbol\tchrom\ttss\tstrand\nA\tchr1\t1.5\t+\n", {"'A'", "1.5"});
  refused("symbol\tchrom\ttss\tstrand\nA\tchr1\tfar\t+\n", {"'A'", "far"});
  refused("symbol\tchrom\ttss\tstrand\nA\t\t1\t+\n", {"'A'", "chromosome"});
  refused("symbol\tchrom\ttss\tstrand\tstart\nA\tchr1\t1\t+\t1\n", {"start", "end"});
  refused("symbol\tchrom\ttss\tstrand\tstart\tend\nA\tchr1\t1\t+\t9\t5\n", {"'A'", "9", "5"});
  refused("symbol\tchrom\ttss\tstrand\nA\tchr1\t1\t+\nNA\tchr1\t2\t+\n", {"a gene without a name", "row 2"});
}

TEST(GeneActivity, WeightsByHand) {
  // A gene on either strand with its body at 100,000 to 120,000; upstream is left of + and right of -.
  Genes genes;
  genes.symbol = {"plus", "minus"}, genes.id = {"", ""}, genes.chromosomes = {"chr1"}, genes.chromosome = {0, 0};
  genes.start = {100'000, 100'000}, genes.end = {120'000, 120'000}, genes.forward = {true, false};
  const Peaks peaks = peaks_at({{"chr1", 110'000},    // within the body
                                {"chr1", 96'000},     // within 5 kb upstream of +, 4 kb from -
                                {"chr1", 90'000},     // 5 kb from + extended, 10 kb from -
                                {"chr1", 124'000},    // 4 kb from +, within - extended
                                {"chr1", 225'000},    // 105 kb from +, exactly 100 kb from - extended
                                {"chr1", 225'001},    // a base further
                                {"chr2", 110'000}});  // elsewhere
  const GeneActivity a = gene_activity(peaks, genes, "peaks", "genes");
  const double floor = std::exp(-1.0);
  EXPECT_DOUBLE_EQ(weight_of(a, 0, 0), 1 + floor);
  EXPECT_DOUBLE_EQ(weight_of(a, 1, 0), 1 + floor);
  EXPECT_DOUBLE_EQ(weight_of(a, 0, 1), 1 + floor);
  EXPECT_DOUBLE_EQ(weight_of(a, 1, 1), std::exp(-0.8) + floor);
  EXPECT_DOUBLE_EQ(weight_of(a, 0, 2), std::exp(-1.0) + floor);
  EXPECT_DOUBLE_EQ(weight_of(a, 1, 2), std::exp(-2.0) + floor);
  EXPECT_DOUBLE_EQ(weight_of(a, 0, 3), std::exp(-0.8) + floor);
  EXPECT_DOUBLE_EQ(weight_of(a, 1, 3), 1 + floor);
  EXPECT_EQ(weight_of(a, 0, 4), 0);
  EXPECT_DOUBLE_EQ(weight_of(a, 1, 4), std::exp(-20.0) + floor);
  EXPECT_EQ(weight_of(a, 1, 5), 0);
  EXPECT_EQ(weight_of(a, 0, 6) + weight_of(a, 1, 6), 0);
}

// A peak as far as the window reaches is within it on either side of the gene, one a base further is not.
TEST(GeneActivity, TheWindowIncludesBothEdges) {
  Genes genes;
  genes.symbol = {"plus"}, genes.id = {""}, genes.chromosomes = {"chr1"}, genes.chromosome = {0};
  genes.start = {100'000}, genes.end = {120'000}, genes.forward = {true};
  GeneActivityOptions options;
  options.window = 10'000;
  const Peaks peaks = peaks_at({{"chr1", 84'999}, {"chr1", 85'000}, {"chr1", 130'000}, {"chr1", 130'001}});
  EXPECT_EQ(gene_activity(peaks, genes, "peaks", "genes", options).peak, (std::vector<int32_t>{1, 2}));
}

TEST(GeneActivity, AgreesWithTheFormulaOnEveryPair) {
  PhiloxSequence random({5, 0, 0});
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random.below(static_cast<uint64_t>(n))); };
  Table var;
  for (int i = 0; i < 400; ++i) {
    const int64_t start = below(2'000'000);
    var.keys.push_back("chr" + std::to_string(1 + below(2)) + ":" + std::to_string(start) + "-" + std::to_string(start + 1 + below(900)));
  }
  std::sort(var.keys.begin(), var.keys.end());
  var.keys.erase(std::unique(var.keys.begin(), var.keys.end()), var.keys.end());
  const Peaks peaks = peaks_of(var, "peaks");
  Genes genes;
  genes.chromosomes = {"2", "1"};  // without chr, in another order
  for (int i = 0; i < 60; ++i) {
    const int64_t start = below(2'000'000);
    genes.symbol.push_back("G" + std::to_string(i)), genes.id.emplace_back(), genes.chromosome.push_back(static_cast<int32_t>(below(2)));
    genes.start.push_back(start), genes.end.push_back(start + below(60'000)), genes.forward.push_back(below(2) == 0);
  }
  const GeneActivity a = gene_activity(peaks, genes, "peaks", "genes");
  std::vector<double> accessibility(static_cast<size_t>(peaks.size())), activity(static_cast<size_t>(a.genes()));
  for (double& v : accessibility) v = random.normal();
  a.product(accessibility.data(), activity.data());
  int64_t with_peaks = 0;
  for (int64_t g = 0; g < genes.size(); ++g) {
    const auto i = static_cast<size_t>(g);
    double sum = 0;
    int64_t entries = 0;
    for (int64_t p = 0; p < peaks.size(); ++p) {
      const auto k = static_cast<size_t>(p);
      if (peaks.chromosomes[static_cast<size_t>(peaks.chromosome[k])] != "chr" + genes.chromosomes[static_cast<size_t>(genes.chromosome[i])]) continue;
      const double middle = static_cast<double>(peaks.start[k] + peaks.end[k]) / 2;
      const double low = static_cast<double>(genes.start[i]) - (genes.forward[i] ? 5000 : 0),
                   high = static_cast<double>(genes.end[i]) + (genes.forward[i] ? 0 : 5000);
      const double d = std::max({0.0, low - middle, middle - high});
      if (d > 100'000) continue;
      sum += (std::exp(-d / 5000) + std::exp(-1.0)) * accessibility[k];
      ++entries;
    }
    if (entries == 0) continue;
    ASSERT_LT(with_peaks, a.genes());
    EXPECT_EQ(a.gene[static_cast<size_t>(with_peaks)], g);
    EXPECT_EQ(a.first[static_cast<size_t>(with_peaks) + 1] - a.first[static_cast<size_t>(with_peaks)], entries);
    EXPECT_NEAR(activity[static_cast<size_t>(with_peaks)], sum, 1e-10);
    ++with_peaks;
  }
  EXPECT_EQ(with_peaks, a.genes());
}

TEST(GeneActivity, OtherGenomesAreRefused) {
  Genes genes;
  genes.symbol = {"A"}, genes.id = {""}, genes.chromosomes = {"NC_000001.11"}, genes.chromosome = {0}, genes.start = {5}, genes.end = {5},
  genes.forward = {true};
  const Peaks peaks = peaks_at({{"chr1", 1000}});
  expect_names(error_of([&] { gene_activity(peaks, genes, "a.h5ad", "g.tsv"); }), {"a.h5ad", "g.tsv", "chr1", "NC_000001.11"});
  genes.chromosomes = {"CHR1"};
  EXPECT_EQ(gene_activity(peaks, genes, "a.h5ad", "g.tsv").entries(), 1);
  genes.chromosomes = {"1"}, genes.start = genes.end = {5'000'000};
  expect_names(error_of([&] { gene_activity(peaks, genes, "a.h5ad", "g.tsv"); }), {"a.h5ad", "100000"});
  const Peaks mitochondrial = peaks_at({{"chrM", 1000}});
  genes.chromosomes = {"MT"}, genes.start = genes.end = {1000};
  EXPECT_EQ(gene_activity(mitochondrial, genes, "a.h5ad", "g.tsv").entries(), 1);
}

}  // namespace
}  // namespace panvae::data::test
