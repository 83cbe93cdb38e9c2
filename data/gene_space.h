// ATAC and RNA samples in one space, that of genes (SPEC X3): the gene activity of ATAC beside the expression of RNA.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/gene_activity.h"
#include "data/sample_source.h"

namespace panvae::data {

// Non-negative whole numbers: as the file says, or, where it says nothing, as its first samples show.
bool holds_counts(const SampleSource& source);
// Sum of all values of each sample. ErrorCode::input for a sample without counts, or with a negative one.
std::vector<double> library_sizes(const SampleSource& counts);

struct GeneSpaceOptions {
  int64_t genes = 2000;    // those of largest variance in RNA
  double prior_count = 2;  // of log2 counts per million
};

// A row per sample. Its product with a row of the other matrix is Pearson's correlation over the genes.
struct GeneSpace {
  RowMatrix<double> rna, atac;  // [samples, genes], each row with mean 0 and length 1 (all 0 where a sample is the same in all genes)
  std::vector<std::string> genes;
  int64_t shared = 0;  // genes that both have and that vary in both; `genes` are the first of them by variance
};

// 1. RNA: log2 counts per million (data/log_cpm.h), or the values as they are where the matrix holds no counts.
// 2. ATAC: gene activity (data/gene_activity.h) of counts per million, log2(1 + activity); of the values as they are where the
//    matrix holds no counts.
// 3. Genes in both, by the symbol column of RNA's features, their names, these before a '|' (TP53|7157) or before the version of
//    an Ensembl name; the table's second name counts too. Of them the options.genes with the largest variance over the training
//    samples of RNA.
// 4. Each gene less its mean, divided by its standard deviation over the training samples, in each modality for itself.
// One sample of either matrix is in memory at a time, and two passes are made over RNA. rna_library: library_sizes() of
// RNA, empty where it holds no counts.
// ErrorCode::input: fewer than two training samples of either, no gene in common, fewer than two that vary.
GeneSpace gene_space(const SampleSource& rna, std::span<const int64_t> rna_training, const std::vector<double>& rna_library, const SampleSource& atac,
                     std::span<const int64_t> atac_training, const Genes& genes, const GeneActivity& activity, const GeneSpaceOptions& options = {});

// For each ATAC sample (row of space.atac) the `count` RNA samples with the highest correlation, highest first, among
// rna_rows where allowed(atac, rna). Between equal correlations the name decides. One matrix product, in blocks of ATAC samples
// that keep memory small, and with digits that do not depend on the number of threads.
struct Correlated {
  int64_t rna = 0;
  double correlation = 0;
};
std::vector<std::vector<Correlated>> most_correlated(const GeneSpace& space, std::span<const int64_t> atac_rows, std::span<const int64_t> rna_rows,
                                                     const std::vector<std::string>& rna_names, int64_t count,
                                                     const std::function<bool(int64_t, int64_t)>& allowed);

}  // namespace panvae::data
