#include "models/triplets.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"

namespace panvae {

TripletSampler::TripletSampler(const std::vector<int64_t>& rows, const std::vector<int64_t>& cohort, const std::vector<int64_t>& donor)
    : places_(cohort.size()) {
  PV_CHECK(donor.size() == cohort.size(), "triplets: {} cohorts, {} donors", cohort.size(), donor.size());
  std::map<int64_t, std::vector<std::pair<int64_t, int64_t>>> members;  // cohort to (donor, row)
  for (int64_t r : rows) {
    PV_CHECK(r >= 0 && r < static_cast<int64_t>(cohort.size()), "triplets: row {} of {} samples", r, cohort.size());
    const int64_t c = cohort[static_cast<size_t>(r)], d = donor[static_cast<size_t>(r)];
    if (c >= 0) members[c].emplace_back(d >= 0 ? d : -1 - r, r);
  }
  for (auto& [name, list] : members) {
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    std::vector<int64_t>& mine = cohorts_.emplace_back();
    for (size_t i = 0; i < list.size();) {
      size_t end = i;
      while (end < list.size() && list[end].first == list[i].first) ++end;
      for (size_t k = i; k < end; ++k) {
        mine.push_back(list[k].second);
        places_[static_cast<size_t>(list[k].second)] = {static_cast<int64_t>(cohorts_.size()) - 1, static_cast<int64_t>(i), static_cast<int64_t>(end)};
      }
      i = end;
    }
  }
  for (const auto& mine : cohorts_)
    for (int64_t r : mine) anchors_ += can_anchor(places_[static_cast<size_t>(r)]);
}

bool TripletSampler::can_anchor(const Place& p) const {
  if (p.cohort < 0 || cohorts_.size() < 2) return false;
  return p.end - p.begin < static_cast<int64_t>(cohorts_[static_cast<size_t>(p.cohort)].size());
}

Triplets TripletSampler::draw(const std::vector<int64_t>& rows, PhiloxSequence& draw) const {
  Triplets t;
  auto below = [&](size_t n) { return static_cast<size_t>(draw.below(n)); };
  for (int64_t r : rows) {
    const Place& p = places_[static_cast<size_t>(r)];
    if (!can_anchor(p)) continue;
    const std::vector<int64_t>& mine = cohorts_[static_cast<size_t>(p.cohort)];
    size_t positive = below(mine.size() - static_cast<size_t>(p.end - p.begin));
    if (positive >= static_cast<size_t>(p.begin)) positive += static_cast<size_t>(p.end - p.begin);
    size_t other = below(cohorts_.size() - 1);
    if (other >= static_cast<size_t>(p.cohort)) ++other;
    t.anchors.push_back(r);
    t.positives.push_back(mine[positive]);
    t.negatives.push_back(cohorts_[other][below(cohorts_[other].size())]);
  }
  return t;
}

}  // namespace panvae
