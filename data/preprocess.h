// Raw counts (or logs) to the matrix models learn from: filters, log2 counts per million, quantile normalisation,
// removal of batch effects. Fitted on training samples, frozen, and applied to samples never seen.
// The steps, formulas and their sources: docs/preprocessing.md.
#pragma once
#include <string>
#include <vector>

#include "base/safetensors.h"
#include "data/batch_effects.h"
#include "data/dataset.h"
#include "data/log_cpm.h"
#include "data/quantile.h"

namespace panvae::data {

// nzv:X drops features that differ from their most frequent value in less than a share X of the training samples;
// cv2:X those with variance / mean^2 below X; quantile:X the share X with the lowest variance of log-CPM.
struct VarianceFilter {
  enum class Kind { none, nzv, cv2, quantile } kind = Kind::nzv;
  double value = 0.01;
  static VarianceFilter parse(const std::string& text);  // ErrorCode::usage
  std::string text() const;
};

struct PreprocessOptions {
  std::string modality = "rna";  // "atac": features are peaks, sorted along the genome
  bool input_is_log = false;     // steps 1 to 3 are left out
  double prior_count = 2;
  bool tmm = false;
  VarianceFilter variance;
  bool quantile = true, batch = true;
  std::vector<std::string> batch_keys, covariates;  // columns of obs
  std::vector<std::string> preserve;                // columns of obs whose effects stay
  UnknownBatch unknown_batch = UnknownBatch::error;
  bool fit_on_all = false;  // else on the samples whose split is `train` (all where obs has no split)
};

struct PreprocessReport {
  int64_t dropped_samples = 0, dropped_features_zero = 0, dropped_features_variance = 0;
  std::vector<std::string> aliased;
  int64_t training_samples = 0;
  double coverage = 1;              // apply: share of the model's features that the data has
  std::vector<double> tmm_factors;  // fit with TMM: one per sample that is left
};

// errors: the rest was said before, of samples that are applied in parts for instance.
enum class Say { all, errors };

class Preprocessor {
 public:
  Preprocessor() = default;
  static Preprocessor from(Frozen frozen);  // ErrorCode::input if `frozen` is not a whole preprocessing
  const Frozen& frozen() const { return frozen_; }
  const std::vector<std::string>& features() const { return frozen_.features; }
  // Mean of each feature over the training samples, after all steps [features].
  const std::vector<double>& feature_mean() const { return frozen_.arrays.at("feature_mean").values; }

  // Step 1, on its own because a split should be drawn among the samples that stay: drops features that are zero
  // everywhere and samples without counts. ErrorCode::input for negative counts or data that are no counts.
  template <class T, class Matrix>
  static void drop_empty(Dataset<T, Matrix>& data, PreprocessReport& report);

  // Fits on the training rows and transforms `data` in place (NaN in logs: filled at the end with feature means, see
  // Missing::keep). Sets data.kind and data.frozen. Needs memory for about twice the matrix, with LargeDataset for a few
  // samples and a strip of features; the result is the same to the bit.
  template <class T, class Matrix>
  PreprocessReport fit(Dataset<T, Matrix>& data, const PreprocessOptions& options);

  // Transforms samples never seen by the frozen steps; the result has exactly features(), in that order. Features are
  // matched by name; missing ones take their training mean. ErrorCode::input below half of them.
  template <class T, class Matrix>
  PreprocessReport apply(Dataset<T, Matrix>& data) const {
    return apply(data, unknown_batch());
  }
  template <class T, class Matrix>
  PreprocessReport apply(Dataset<T, Matrix>& data, UnknownBatch unknown, Say say = Say::all) const;

  // For data that is preprocessed already ("processed"): features matched by name, missing ones filled with means.
  template <class T>
  PreprocessReport align(Dataset<T>& data, Say say = Say::all) const;

  // What apply() and align() refuse and say of some samples, which stay as they are.
  void check(const Dataset<double>& data, bool processed) const;
  // ErrorCode::input where a sample cannot have come out of the quantile step, by mean or spread of its values: logs of another pipeline.
  void refuse_other_scales(const Dataset<double>& data) const;
  // Where the features that library sizes are of stand among those of `var`, those that are not there left out: apply() drops samples
  // without a count in them.
  std::vector<int64_t> counted_features(const Table& var) const;

  bool input_is_log() const;
  UnknownBatch unknown_batch() const;

 private:
  template <class T, class Matrix>
  void fit_steps(Dataset<T, Matrix>& data, const std::vector<int64_t>& rows, const PreprocessOptions& options, PreprocessReport& report);
  // Where each feature of `names` stands among the data's columns, -1 where it does not.
  static std::vector<int64_t> match(const Table& var, const std::vector<std::string>& names);
  Table feature_table(const std::string& key_name) const;  // the features, with their positions where they are peaks
  double checked_coverage(const std::vector<int64_t>& columns, const Table& var, const std::string& path, Say say) const;
  std::vector<int64_t> measured(const Table& var) const;  // by match(): the features, then the others of library sizes
  void unpack();                                          // members below from frozen_

  Frozen frozen_;
  LogCpm log_cpm_;
  bool tmm_on_ = false;
  Tmm tmm_;
  QuantileReference reference_;  // empty: no quantile normalisation
  BatchEffects effects_;         // empty: nothing removed
};

// Whether it is a fit of preprocessing: embeddings carry other things in uns/panvae (their axes, components of a PCA).
bool holds_preprocessing(const Frozen& frozen);
// Whether two fits make the same values of a sample.
bool same_fit(const Frozen& a, const Frozen& b);

// A Frozen within a safetensors file: tensors "preprocess.ARRAY" (F64) and metadata keys "preprocess.settings" (JSON)
// and "preprocess.features" (JSON list). The writer keeps pointers: `frozen` must live until write().
void save_frozen(SafetensorsWriter& writer, const Frozen& frozen, const std::string& before = "");  // before the names
// Empty if the file has none.
Frozen load_frozen(const SafetensorsReader& reader, const std::string& before = "");
// From an .h5ad (uns/panvae) or a RUN folder (RUN/model.safetensors); of a co-embedding that of the modality. ErrorCode::input if
// there is none.
Frozen read_frozen(const std::string& run_or_h5ad, const std::string& modality = "");

}  // namespace panvae::data
