// evaluate pairs: do the two modalities of a donor land at one place of a common space? Judged on pairs of an ATAC and an RNA
// sample that belong together, by Euclidean distances.
//
// Notation: a query x of one modality, its candidates C the paired samples of the other, its partners P of them (one, or
// several where a donor has replicates), m = |C \ P|.
//   FOSCTTM   fraction of samples closer than the true match (Liu et al., WABI 2019; Singh et al., ACM BCB 2020):
//               f(x) = mean over p in P of (#{c in C \ P: d(x, c) < d(x, p)} + #{c: d(x, c) = d(x, p)} / 2) / m
//             averaged over the queries of a modality, then over both directions. 0 is best, 1/2 chance. With one partner each,
//             m = n - 1.
//   within cohort: the same with C only of the query's cohort, so that knowing the cohort helps nothing; 1/2 is chance again
//   recall at k: share of queries with a partner among their k nearest candidates, mean of both directions
//   mixing entropy (after Haghverdi et al., Nat. Biotechnol. 36 (2018)): of the k nearest neighbours of each sample among all
//             paired samples of both modalities, itself left out, the share p of RNA, each modality weighted by the inverse of
//             its number: -(p log2 p + (1 - p) log2 (1 - p)), mean over samples. 0: modalities lie apart; by chance near 1
//   transfer  accuracy of a classifier by k nearest neighbours that knows the cohorts of one modality and names those of the
//             other (label transfer accuracy, Cao et al., Bioinformatics 36 (2020)), on all evaluated samples, paired or not
// Equal distances never decide by the order of samples. Where the k-th neighbour ties with others, each of them counts by the
// same fraction, so that the sum is k; a query whose partner ties with others counts by its chance to be among the k in random
// order; cohorts with equally many votes share one. So an embedding that is the same for all samples is at chance in all scores.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/dataset.h"
#include "data/pairs.h"
#include "eval/controls.h"
#include "eval/selection.h"

namespace panvae::eval {

struct PairsOptions {
  const std::vector<data::SamplePair>* pairs = nullptr;  // tier 1 of them is used; null: all ATAC and RNA samples of equal donors
  On on = On::automatic;
  const data::Table* cohort_map = nullptr;                  // see cohort_names()
  int64_t mixing_neighbours = 15, transfer_neighbours = 5;  // k, at most as many as there are
  int permutations = 200;                                   // of the partners, for the chance level of FOSCTTM; 0: none
  Control control = Control::none;                          // permuted: ATAC embeddings are permuted among donors first
  uint64_t seed = 0;                                        // of permutations
};

inline constexpr int64_t kRecallAt[] = {1, 5, 10};

// What one modality's samples find in the other.
struct PairsDirection {
  int64_t queries = 0;
  double foscttm = 0;
  double within_cohort = 0;  // NaN where no query has a candidate of its cohort beside its partners, or cohorts are unknown
  int64_t within_cohort_queries = 0;
  double recall[3] = {}, chance_recall[3] = {};  // at kRecallAt
};

struct PairsResult {
  PairsDirection rna, atac;                         // queries of RNA (search ATAC), and of ATAC
  double foscttm = 0, foscttm_within_cohort = 0;    // means of both directions
  double chance_foscttm = 0, chance_sd = 0, z = 0;  // over permutations of the partners; NaN without
  double recall[3] = {}, chance_recall[3] = {};
  double mixing_entropy = 0, chance_mixing_entropy = 0;                // chance: neighbours drawn at random
  double transfer_rna_to_atac = 0, transfer_atac_to_rna = 0;           // NaN where cohorts are unknown
  double majority_atac = 0, majority_rna = 0;                          // share of the largest cohort: what a blind transfer reaches
  int64_t mixing_k = 0, transfer_k_rna = 0, transfer_k_atac = 0;       // as used: neighbours among RNA, among ATAC
  int64_t n_pairs = 0, donors = 0, rna_samples = 0, atac_samples = 0;  // paired
  int64_t rna_evaluated = 0, atac_evaluated = 0, dimensions = 0;
  int permutations = 0;
  std::string on;
  Control control = Control::none;
  std::vector<std::string> warnings;
  double seconds = 0;
};

// Uses the columns donor, cohort and split where present. Depends neither on the order of samples nor on the number of threads.
// ErrorCode::input: embeddings of different dimensions or not finite, fewer than two pairs, pairs of a single donor, a table of
// pairs that names no sample of the embeddings. ErrorCode::usage: a k below 1.
PairsResult evaluate_pairs(const data::Dataset<double>& rna, const data::Dataset<double>& atac, const PairsOptions& options = {});

// The keys of CLI.md and more; text for the terminal.
Json to_json(const PairsResult& result);
std::string to_text(const PairsResult& result);

}  // namespace panvae::eval
