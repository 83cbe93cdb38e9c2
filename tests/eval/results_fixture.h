// Results as `evaluate all` would write them, invented: cohorts that an embedding separates more or less well, outcomes that
// follow a hidden risk, reconstructions that come near. No number of it means anything.
#pragma once
#include <string>

#include "eval/results.h"

namespace panvae::eval::test {

struct FakeStudy {
  int64_t samples = 300, features = 400;
  int cohorts = 5;  // at most 33 have names of their own, those of TCGA
  bool tables = true, controls = true, atac = false;
  bool both = false;  // co-embeddings judged by pairs, beside what is not aligned; with atac
};

Results fake_results(const FakeStudy& study = {});

}  // namespace panvae::eval::test
