// Both modalities as a co-embedding takes them: samples through the runs it begins with, one split for both, matched pairs.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "models/matched_pairs.h"
#include "tools/run_samples.h"

namespace panvae::tools {

// One modality: a run of it, and the samples that train.
class CoembedHalf {
 public:
  // ErrorCode::usage where the run is no single model of the modality ("rna", "atac"); ErrorCode::input where it or the file is at fault.
  CoembedHalf(Context& context, const std::string& modality, const std::string& folder, const std::string& file, const data::ReadOptions& options,
              uint64_t seed);
  CoembedHalf(const CoembedHalf&) = delete;
  CoembedHalf& operator=(const CoembedHalf&) = delete;

  Run run;
  std::string folder, file;
  data::Table obs;  // with a split
  std::vector<std::string> donors;
  std::vector<float> inputs;  // [samples, run.model->latent_vae().features()]

  // Rows by side, once one_split() was called.
  std::vector<int64_t> train, validation, holdout;
  // Numbers of all rows: equal where equal; a cohort that is missing is -1.
  std::vector<int64_t> cohort_numbers() const, donor_numbers() const;
  // Samples, sides, cohorts and weights, as a name.
  std::string fingerprint() const;
};

// A donor has one side in both modalities: held out if it is in either, else validation if it is in either. ErrorCode::input where a
// run has seen a donor that is held out, where it does not say whom it has seen, and where too few samples are left to train on.
void one_split(CoembedHalf& rna, CoembedHalf& atac);

struct CoembedPairs {
  std::vector<MatchedPair> train, validation;
  int64_t left_out = 0;  // of samples that are held out, on different sides, or in neither matrix
};
// Of a table that 'panvae match' wrote, weighted by tier; or, where the path is empty, all samples of equal donors. ErrorCode::input where
// a table names no pair of these samples.
CoembedPairs coembed_pairs(const CoembedHalf& rna, const CoembedHalf& atac, const std::string& path);

}  // namespace panvae::tools
