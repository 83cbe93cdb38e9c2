// Imputed profiles beside those that were observed in the same donors.
#pragma once
#include "eval/imputation.h"
#include "eval/selection.h"
#include "tools/run_samples.h"

namespace panvae::tools {

// `imputed` [samples, features of `observed`], in the units of the preprocessed data, of the samples `obs`. Judged are the samples
// that `on` selects, each with every observed sample of its donor. The cohort's mean is that of the observed training samples;
// where there are none of it, that of all of them. ErrorCode::input where fewer than two pairs are found.
eval::ImputationResult judge_imputation(const data::Table& obs, const data::RowMatrix<float>& imputed, const RunSamples& observed, eval::On on);

}  // namespace panvae::tools
