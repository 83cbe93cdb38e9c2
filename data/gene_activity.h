// Gene activity: what ATAC says about each gene, as one sparse product of peaks with weights that fall with distance. Sums over
// all peaks whose distance d to the gene is at most 100 kb
//   activity_g = sum_p (exp(-d_pg / 5000) + exp(-1)) accessibility_p
// d is the distance of the peak's midpoint to the body of the gene, extended by 5 kb upstream, and 0 inside of it; the body is
// the TSS alone where no more is known. These are the weights of ArchR's default model (Granja et al., Nat. Genet. 53 (2021)),
// without its cut at neighbouring genes and without its factor by gene length, which a z-score of each gene takes out anyway.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/peaks.h"

namespace panvae::data {

struct Genes {
  std::vector<std::string> symbol, id;   // id: other names ("ENSG...,ENSG..."), empty where the table has none
  std::vector<std::string> chromosomes;  // as the table writes them
  std::vector<int32_t> chromosome;       // of each gene, into `chromosomes`
  std::vector<int64_t> start, end;       // of the body, start <= end; both the TSS where the body is not known
  std::vector<bool> forward;             // strand +
  int64_t size() const { return static_cast<int64_t>(symbol.size()); }
};

// A TSV or CSV (.gz too): `symbol chrom tss strand [start end]`, or GREAT's `Gene_IDs CHROM POS STRAND Symbol`; columns in any
// order, names in any case. A symbol that stands again later (GREAT has a few) is left out and counted in the log; ids may be missing
// (GREAT has 307) or several with commas between them.
// ErrorCode::input naming file and gene: a column that is missing, a position that is none, a strand that is neither + nor -,
// a body that ends before it starts.
Genes read_genes(const std::string& path);
Genes genes_of(const Table& table, const std::string& path);  // the same from a table that is read already

struct GeneActivityOptions {
  int64_t window = 100'000, upstream = 5'000;  // bases
  double decay = 5'000;                        // bases
};

// The weights, peaks x genes, stored gene by gene. Only genes with a peak in their window are there.
struct GeneActivity {
  int64_t peaks = 0;
  std::vector<int64_t> gene;   // of Genes, ascending [genes]
  std::vector<int64_t> first;  // where the gene's entries begin [genes + 1]
  std::vector<int32_t> peak;   // ascending within a gene [entries]
  std::vector<double> weight;  // [entries]
  int64_t genes() const { return static_cast<int64_t>(gene.size()); }
  int64_t entries() const { return static_cast<int64_t>(peak.size()); }

  // accessibility [peaks] of one sample -> activity [genes]. The sum of a gene runs over its peaks in their order.
  void product(const double* accessibility, double* activity) const;
};

// Chromosomes are compared without "chr" and MT is M, so tables of either style meet (said in the log where they differ).
// ErrorCode::input naming both files: no chromosome in common, or no gene with a peak.
GeneActivity gene_activity(const Peaks& peaks, const Genes& genes, const std::string& peaks_path, const std::string& genes_path,
                           const GeneActivityOptions& options = {});

}  // namespace panvae::data
