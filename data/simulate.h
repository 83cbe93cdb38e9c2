// A simulated study with everything planted known: donors of several cohorts and subtypes with clinical outcomes, and
// the RNA-seq counts of their samples. For tests, demonstrations, and for judging whether a model finds what is there.
//
// The model, per donor i of cohort c and subtype s (K programs, latent z in R^K):
//   z_i = cohort_mean_c + subtype_shift_s + N(0, 1), cohorts of one organ lie near each other
//   activity a_ik = tanh(z_ik / 1.5) for even k (saturating), softplus(z_ik) for odd k, and K / 4 interactions
//     tanh(z_i,2m * z_i,2m+1 / 2): the expression manifold is curved, so that linear projections need more dimensions
//   log mean of gene g in sample j of donor i:
//     base_g + sum_k W_gk a_ik + age_g age_i + sex_g sex_i + donor noise_ig + batch effect_g,b(j) + replicate noise_gj
//   count ~ negative binomial(library_j * softmax-free share, dispersion_g)
//   hazard_i(t): Weibull, log hazard = cohort_c + sum over three programs of beta_k a_ik + age + sex
// Every coefficient is in truth.json, every latent in latents.tsv.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"

namespace panvae::data {

struct SimulateOptions {
  int64_t donors = 600, genes = 4000, cohorts = 12, subtypes = 3, programs = 24, batches = 6;
  int64_t replicates = 2;            // samples of a replicated donor
  double replicated_fraction = 0.1;  // share of the donors that have them
  double cohort_effect = 1.0;        // scale of cohort means; 0: cohorts are alike
  double batch_effect = 1.0;         // scale of batch and dataset effects
  double library_size = 0;           // mean counts of a sample; 0: 1,000 per gene
  double event_rate = 0.4;           // share of donors whose death is seen
  double holdout = 0.2, validation = 0.1;
  uint64_t seed = 0;
};

// Donors and what was drawn for them; both modalities of a study start from it.
struct SimulatedDonors {
  Table obs;                    // key donor: cohort, subtype, age, sex, ethnicity, os_time, os_event, split
  RowMatrix<double> latent;     // z [donors, programs]
  RowMatrix<double> activity;   // [donors, programs + programs / 4]
  std::vector<double> risk;     // true log hazard [donors]
  std::vector<int32_t> cohort;  // [donors]
  Json truth;                   // cohorts, survival
};

struct SimulatedStudy {
  SimulatedDonors donors;
  Dataset<float> rna;                                                       // raw counts; obs per sample, var with symbol, chrom, start, end, strand
  Table genes;                                                              // key symbol: chrom, tss, strand, start, end
  std::vector<std::pair<std::string, std::vector<std::string>>> gene_sets;  // planted programs, then decoys
  Json truth;
};

SimulatedDonors simulate_donors(const SimulateOptions& options);
SimulatedStudy simulate_study(const SimulateOptions& options);  // ErrorCode::usage for impossible options

// DIR/rna.h5ad, genes.tsv, sets.gmt, latents.tsv, truth.json; makes DIR where it does not exist.
void write_study(const std::string& folder, const SimulatedStudy& study);

// Harrell's C of a risk score on times and events (pairs of all donors, or within strata only): the oracle numbers of
// truth.json. NaN without a usable pair.
double concordance(const std::vector<double>& risk, const std::vector<double>& time, const std::vector<double>& event,
                   const std::vector<int32_t>& stratum = {});

}  // namespace panvae::data
