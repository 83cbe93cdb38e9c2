// A simulated study with everything planted known: donors of several cohorts and subtypes with clinical outcomes, the
// RNA-seq counts of their samples, and the ATAC-seq counts of some of them. For tests, demonstrations, and for judging whether
// a model finds what is there.
//
// The model, per donor i of cohort c and subtype s (K programs, latent z in R^K):
//   z_i = cohort_mean_c + subtype_shift_s + N(0, 1), cohorts of one organ lie near each other
//   activity a_ik = tanh(z_ik / 1.5) for even k (saturating), softplus(z_ik) for odd k, and K / 4 interactions
//     tanh(z_i,2m * z_i,2m+1 / 2): the expression manifold is curved, so that linear projections need more dimensions
//   log mean of gene g in sample j of donor i:
//     base_g + sum_k W_gk a_ik + age_g age_i + sex_g sex_i + donor noise_ig + batch effect_g,b(j) + replicate noise_gj
//   count ~ negative binomial(library_j * softmax-free share, dispersion_g)
//   log mean of peak p in ATAC replicate j of donor i:
//     base_p + loading_p domain_i,d(p) + V_p a_i,k(p) + link_p (W_g a_i + donor noise_ig, g = the gene that p is linked to)
//     + donor noise_ip + batch effect_p,b(i) + replicate noise_pj; on chrY less 3 in women
//     where domain_i,d = two programs of a_i + N(0, 0.3) for domain d, a run of 10 to 40 neighbours on the genome
//   hazard_i(t): Weibull, log hazard = cohort_c + sum over three programs of beta_k a_ik + age + sex
// Every coefficient is in truth.json, every latent in latents.tsv, every domain and link in peaks.tsv.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"

namespace panvae::data {

struct SimulateOptions {
  int64_t donors = 600, genes = 4000, cohorts = 12, subtypes = 3, programs = 24, batches = 6;
  int64_t peaks = 20000;             // 0: no ATAC
  double rna_fraction = 1;           // share of the donors with RNA; those without have ATAC
  double atac_fraction = 0.4;        // share of the donors of each cohort with ATAC
  int64_t replicates = 2;            // technical replicates: ATAC samples of a donor, RNA samples of a replicated donor
  double replicated_fraction = 0.1;  // share of the donors that have RNA replicates
  double cohort_effect = 1.0;        // scale of cohort means; 0: cohorts are alike
  double batch_effect = 1.0;         // scale of batch and dataset effects
  double library_size = 0;           // mean counts of an RNA sample; 0: 1,000 per gene
  double atac_library_size = 0;      // mean counts of an ATAC sample; 0: 5 per peak
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

struct SimulatedStudy;

// The ATAC half: everything but the counts, which are drawn when they are asked for, since at full width they are many.
class SimulatedAtac {
 public:
  // From donors, genes and weights of a study (copied).
  SimulatedAtac(const SimulateOptions& options, const SimulatedStudy& study);
  ~SimulatedAtac();
  const Table& obs() const;   // per sample, replicates of a donor next to each other
  const Table& var() const;   // per peak in BED order: chrom, start, end
  Table peaks() const;        // var with what is planted: domain, loading, gene and link, program and weight
  const Json& truth() const;  // for truth.json
  int64_t samples() const { return obs().rows(); }
  int64_t features() const { return var().rows(); }
  int64_t donors() const;

  // The replicates of the donor-th of donors() into `counts` [replicates, peaks]. Any thread, any order.
  void draw(int64_t donor, float* counts) const;
  Dataset<float> dataset() const;             // all of it in memory
  void write(const std::string& path) const;  // an h5ad with X as CSR, a few samples in memory at a time

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct SimulatedStudy {
  SimulatedDonors donors;
  RowMatrix<double> weight;                                                 // W of genes [genes, columns of activity]
  Dataset<float> rna;                                                       // raw counts; obs per sample, var with symbol, chrom, start, end, strand
  Table genes;                                                              // key symbol: chrom, tss, strand, start, end
  std::vector<std::pair<std::string, std::vector<std::string>>> gene_sets;  // planted programs, then decoys
  std::shared_ptr<const SimulatedAtac> atac;                                // null without peaks, or without a donor that has ATAC
  Json truth;
};

SimulatedDonors simulate_donors(const SimulateOptions& options);
SimulatedStudy simulate_study(const SimulateOptions& options);  // ErrorCode::usage for impossible options

// DIR/rna.h5ad, atac.h5ad, peaks.tsv (both where there is ATAC), genes.tsv, sets.gmt, latents.tsv, donors.tsv, truth.json;
// makes DIR where it does not exist.
void write_study(const std::string& folder, const SimulatedStudy& study);

// Harrell's C of a risk score on times and events (pairs of all donors, or within strata only): the oracle numbers of
// truth.json. NaN without a usable pair.
double concordance(const std::vector<double>& risk, const std::vector<double>& time, const std::vector<double>& event,
                   const std::vector<int32_t>& stratum = {});

}  // namespace panvae::data
