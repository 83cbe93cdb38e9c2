// Shared by the halves of the simulator (internal to this room).
#pragma once
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/philox.h"
#include "data/simulate.h"

namespace panvae::data::simulated {

// Streams of random numbers beside those of the donors (below 32): one op per purpose, so that adding a draw to one changes
// no other.
enum Stream : uint32_t { genes = 32, weights, batches, sample_design, donor_noise, sample_counts, decoys };
enum AtacStream : uint32_t {
  peak_places = 64,
  peak_effects,
  domain_effects,
  peak_batches,
  atac_donors,
  atac_design,
  peak_donor_noise,
  domain_donor_noise,
  peak_sample_noise,
  peak_counts,
  peak_large_counts
};

constexpr double donor_noise_sd = 0.25, replicate_noise_sd = 0.05, batch_sd = 0.12, dataset_sd = 0.25;
constexpr int64_t datasets = 2;

// Chromosomes of GRCh38 and the bases of each that genes and peaks may take (of Y, its euchromatin).
struct Chromosome {
  const char* name;
  int64_t length;
};
constexpr std::array<Chromosome, 24> genome = {{{"chr1", 248956422},  {"chr2", 242193529},  {"chr3", 198295559},  {"chr4", 190214555},  {"chr5", 181538259},
                                                {"chr6", 170805979},  {"chr7", 159345973},  {"chr8", 145138636},  {"chr9", 138394717},  {"chr10", 133797422},
                                                {"chr11", 135086622}, {"chr12", 133275309}, {"chr13", 114364328}, {"chr14", 107043718}, {"chr15", 101991189},
                                                {"chr16", 90338345},  {"chr17", 83257441},  {"chr18", 80373285},  {"chr19", 58617616},  {"chr20", 64444167},
                                                {"chr21", 46709983},  {"chr22", 50818468},  {"chrX", 156040895},  {"chrY", 9000000}}};
constexpr int64_t autosomes_and_x = 23, chromosome_y = 23, telomere = 400'000;  // nothing lies within `telomere` of an end

// Chromosome and position of one of `chromosomes` chromosomes (from the first), uniform over their bases.
std::pair<int64_t, int64_t> place_uniformly(PhiloxSequence& random, int64_t chromosomes);

// A key in (0, 1) per donor, random within its cohort and even over it: the donors with the smallest keys are a sample that
// holds every cohort by its size. ATAC goes to the smallest keys, RNA to the largest.
std::vector<double> modality_keys(const SimulatedDonors& donors, uint64_t seed);
// The `count` donors with the smallest keys (largest: with the largest), ascending.
std::vector<int64_t> chosen_donors(const std::vector<double>& keys, int64_t count, bool largest);

// What the RNA half says about gene expression of donor i: log mean of each gene, less its base, batch and replicate noise
// (programs and the donor's own noise). weight: [genes, columns], activity: [columns] -> [genes]
Eigen::VectorXd gene_effects(const RowMatrix<double>& weight, const double* activity, uint64_t seed, int64_t donor);

}  // namespace panvae::data::simulated
