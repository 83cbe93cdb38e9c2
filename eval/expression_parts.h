// Between the files of evaluate expression.
#pragma once
#include "eval/expression.h"

namespace panvae::eval {

// Means and variances of two groups of the same samples, and of their differences.
struct PairMoments {
  explicit PairMoments(int64_t features = 0) : a(features), b(features), difference(features) {}
  Moments a, b, difference;
  void add(const data::RowMatrix<double>& first, const data::RowMatrix<double>& second);  // [samples, features] each
};
DifferenceTest run_test(ExpressionTest test, const PairMoments& moments);

// Samples of `source` named as the rows of `obs`: ErrorCode::input naming the first that is not there. `file`: whose
// sample is looked for, `role`: what the source is to the user.
std::vector<int64_t> rows_by_name(const data::SampleSource& source, const data::Table& obs, const std::vector<int64_t>& rows, const std::string& role);

// As many samples as fit 256 MiB, between 1 and 64: what is read at a time.
int64_t samples_at_once(int64_t features);

// The baseline's count over `rows` of observed, into result.baseline_*.
void run_baseline(const data::SampleSource& observed, const std::vector<int64_t>& rows, const ExpressionOptions& options, ExpressionResult& result);

}  // namespace panvae::eval
