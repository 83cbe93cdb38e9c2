// A matrix whose samples are read when they are asked for, in any order: evaluations that look at one cohort of a large
// file, or at a range of its features at a time, never hold the whole.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "data/dataset.h"
#include "data/read.h"

namespace panvae::data {

class SampleSource {
 public:
  // As read_dataset(path, options): the same formats, tables, selections and refusals. Dense and CSR matrices of an h5ad
  // stay on disk, and their values are checked as they are read; everything else (text, 10x, CSC, and whatever
  // Missing::mean has to fill) is read whole.
  SampleSource(const std::string& path, const ReadOptions& options);
  explicit SampleSource(Dataset<double> data);  // in memory, checked already
  ~SampleSource();
  SampleSource(SampleSource&&) noexcept;
  SampleSource(const SampleSource&) = delete;
  SampleSource& operator=(const SampleSource&) = delete;

  const Table& obs() const;  // the selected samples
  const Table& var() const;
  const Frozen& frozen() const;
  const std::string& kind() const;  // as the file says it: "" where it does not
  const std::string& path() const;
  bool in_memory() const;
  int64_t samples() const { return obs().rows(); }
  int64_t features() const { return var().rows(); }

  // use(i, values) for each i: the values [features] of sample rows[i]. Called from one thread, on disk in the order of the file, in
  // memory in that of `rows`; `values` lives until use returns.
  template <class F>
  void for_samples(std::span<const int64_t> rows, F&& use) const {
    read(rows, &call<F>, &use);
  }
  // The samples in the order of `rows`: [rows, features].
  RowMatrix<double> samples_of(std::span<const int64_t> rows) const;
  // Whether the samples are on disk in numbers that float holds. Then `out` [rows, features] takes those of `rows` without a
  // conversion; what is refused is the same.
  bool holds_floats() const;
  void floats_of(std::span<const int64_t> rows, float* out) const;

 private:
  using Use = void (*)(void*, int64_t, const double*);
  template <class F>
  static void call(void* use, int64_t i, const double* values) {
    (*static_cast<std::remove_reference_t<F>*>(use))(i, values);
  }
  void read(std::span<const int64_t> rows, Use use, void* context) const;

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace panvae::data
