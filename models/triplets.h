// Which samples the contrastive loss compares (SPEC L6): anchors, positives of the same cohort and another donor, negatives
// of another cohort.
#pragma once
#include <cstdint>
#include <vector>

#include "base/philox.h"

namespace panvae {

struct Triplets {
  std::vector<int64_t> anchors, positives, negatives;  // rows
};

class TripletSampler {
 public:
  // `rows` are the samples of one modality to draw from; cohort and donor are numbers of all rows of its source. A sample
  // without a cohort (-1) is in no triplet; one without a donor (-1) is a donor of its own.
  TripletSampler(const std::vector<int64_t>& rows, const std::vector<int64_t>& cohort, const std::vector<int64_t>& donor);

  // Samples that can be anchors: their cohort has another donor, and there is another cohort.
  int64_t anchors() const { return anchors_; }
  // One triplet for each of these rows that can be an anchor. The positive is drawn uniformly from the other donors' samples
  // of the cohort; the negative's cohort uniformly from the others, then a sample of it.
  Triplets draw(const std::vector<int64_t>& rows, PhiloxSequence& draw) const;

 private:
  struct Place {
    int64_t cohort = -1;         // into cohorts_; -1: none
    int64_t begin = 0, end = 0;  // the donor's samples within the cohort
  };
  bool can_anchor(const Place& p) const;

  std::vector<std::vector<int64_t>> cohorts_;  // rows, those of a donor beside one another
  std::vector<Place> places_;                  // of all rows of the source
  int64_t anchors_ = 0;
};

}  // namespace panvae
