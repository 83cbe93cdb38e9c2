#include "models/blocks.h"

#include <algorithm>

#include "base/error.h"

namespace panvae {

BlockSchedule::BlockSchedule(int64_t peaks, int64_t size, int64_t slide) : peaks_(peaks), size_(std::min(size, peaks)), slide_(slide) {
  PV_CHECK(peaks > 0, "blocks: of {} peaks", peaks);
  PV_CHECK(size > 0 && slide > 0 && slide <= size, "blocks: a slide of {} with blocks of {}", slide, size);
  phases_ = peaks <= size ? 1 : (size + slide - 1) / slide;
  tiling_ = starts(0);
}

std::vector<int64_t> BlockSchedule::starts(int64_t pass) const {
  PV_CHECK(pass >= 0, "blocks: pass {}", pass);
  const int64_t offset = slide_ * (pass % phases_);
  std::vector<int64_t> s;
  if (offset > 0) s.push_back(0);
  for (int64_t first = offset; first + size_ <= peaks_; first += size_) s.push_back(first);
  if (s.back() + size_ < peaks_) s.push_back(peaks_ - size_);
  return s;
}

int64_t BlockSchedule::blocks_of(int64_t pass) const {
  return static_cast<int64_t>(starts(pass).size());
}

void stitch(const BlockSchedule& schedule, const float* blocks, float* peaks) {
  int64_t covered = 0;  // peaks before this one have a value
  for (size_t t = 0; t < schedule.tiling().size(); ++t) {
    const int64_t first = schedule.tiling()[t], last = first + schedule.size();
    const float* values = blocks + static_cast<int64_t>(t) * schedule.size();
    for (int64_t p = first; p < covered; ++p) peaks[p] = 0.5f * (peaks[p] + values[p - first]);  // no more than two blocks meet
    std::copy(values + (covered - first), values + schedule.size(), peaks + covered);
    covered = last;
  }
}

}  // namespace panvae
