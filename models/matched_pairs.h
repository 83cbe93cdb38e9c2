// RNA and ATAC samples that belong together, and how far apart embeddings put them.
#pragma once
#include <cstdint>
#include <vector>

namespace panvae {

struct MatchedPair {
  int64_t rna = 0, atac = 0;  // rows
  double weight = 1;          // relative to the others
};

// What a match of this tier is worth: 1 / tier^2, so 1 for one donor (tier 1) and 1/25 for one cohort (tier 5).
double pair_weight(int64_t tier);

// The fraction of samples closer than the true match (FOSCTTM; Liu, Huang, Singh, Vert and Noble 2019): for each pair and both
// directions, the share of the other modality's samples that lie closer to a sample than its partner does, by Euclidean distance;
// 0 is perfect, 0.5 chance. Candidates are the distinct samples of the pairs; a sample's other partners are none. Ties count
// half, pairs by their weight. NaN where nothing can be compared. Embeddings are rows of [n, latent]; pairs name rows.
double foscttm(const std::vector<float>& rna, const std::vector<float>& atac, int64_t latent, const std::vector<MatchedPair>& pairs);

}  // namespace panvae
