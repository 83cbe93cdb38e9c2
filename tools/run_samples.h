// The samples of a file as a run's network takes them, a few at a time.
#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/preprocess.h"
#include "data/sample_source.h"
#include "tools/run_folder.h"

namespace panvae::tools {

class RunSamples {
 public:
  // The file is read with `options`. Samples go through the run's frozen preprocessing unless `input` says that they are
  // processed ("" decides by the file: what preprocess wrote is processed), features are matched by name and scaled. Counts
  // go through in doubles; samples without counts in the run's features are left out, which is said. ErrorCode::input where the file
  // does not fit the run; the rest when samples are read.
  // Of batches that training never saw as `unknown_batch` says, by default as the fit does.
  RunSamples(const Run& run, const std::string& path, const data::ReadOptions& options, const std::string& input,
             std::optional<data::UnknownBatch> unknown_batch = {});

  const data::Table& obs() const { return obs_; }
  const data::Table& features() const { return features_; }
  int64_t samples() const { return obs_.rows(); }
  const std::string& path() const { return path_; }

  // use(first, x): x [n, features] are the samples rows[first], rows[first + 1], ..., scaled.
  void for_chunks(std::span<const int64_t> rows, const std::function<void(int64_t first, const data::RowMatrix<float>& x)>& use) const;
  // The same before scaling, in the units of the preprocessed data; x may be written to.
  void for_preprocessed(std::span<const int64_t> rows, const std::function<void(int64_t first, data::RowMatrix<float>& x)>& use) const;
  // use(i, values): [features] of the sample rows[i], in the units of the preprocessed data.
  void for_values(std::span<const int64_t> rows, const std::function<void(int64_t i, std::span<const float> values)>& use) const;

 private:
  std::string found_out(const data::Dataset<double>& few) const;  // counts, log or processed
  void leave_out_empty();
  // Samples of the file, as it holds them and preprocessed, in the units of the preprocessed data.
  data::Dataset<double> read(std::span<const int64_t> rows) const;
  data::Dataset<double> prepared(std::span<const int64_t> rows) const;
  std::vector<int64_t> in_file(std::span<const int64_t> rows) const;

  const Run& run_;
  data::SampleSource source_;
  std::optional<data::Preprocessor> preprocessor_;
  data::UnknownBatch unknown_batch_ = data::UnknownBatch::error;
  std::vector<int64_t> row_of_;  // of source_, for each sample
  data::Table obs_, features_;
  std::string path_, how_;
  bool as_stored_ = false;  // what the file holds is what preprocessing would make of it, in floats
};

// Posterior means of all samples, [samples, latent]. Canonical axes are applied in doubles, row by row: a sample's vector does
// not depend on who else is in the file.
data::RowMatrix<float> embedding_of(Context& context, const Run& run, const RunSamples& samples, bool canonical);
// Samples through encoder and decoder. use(i, observed, decoded): of rows[i], [features] each, in the log2 units of the
// preprocessed data; observed as preprocessing leaves it, not clipped as the network sees it.
using ReconstructionUse = std::function<void(int64_t i, std::span<const float> observed, std::span<const float> decoded)>;
void for_reconstructions(Context& context, const Run& run, const RunSamples& samples, std::span<const int64_t> rows, const ReconstructionUse& use);

}  // namespace panvae::tools
