// An endless sequence of items below a size: one shuffled pass after the other. What stands at a place depends on the seed
// alone, so a trainer that resumes needs to know its step and nothing else.
#pragma once
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "base/philox.h"

namespace panvae {

class SampleStream {
 public:
  // `philox_step` tells streams of one seed apart (see kInitStep).
  SampleStream(int64_t size, uint64_t seed, uint32_t philox_step) : size_(size), seed_(seed), philox_step_(philox_step) {}
  int64_t size() const { return size_; }

  // The items at [first, first + count); none of an empty stream.
  std::vector<int64_t> items(int64_t first, int64_t count) {
    std::vector<int64_t> out;
    for (int64_t i = first; size_ > 0 && i < first + count; ++i) {
      shuffle(i / size_);
      out.push_back(order_[static_cast<size_t>(i % size_)]);
    }
    return out;
  }

 private:
  void shuffle(int64_t pass) {
    if (pass == pass_) return;
    order_.resize(static_cast<size_t>(size_));
    std::iota(order_.begin(), order_.end(), int64_t{0});
    PhiloxSequence draw({seed_, static_cast<uint32_t>(pass), philox_step_});
    for (size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[draw.below(i)]);
    pass_ = pass;
  }
  int64_t size_;
  uint64_t seed_;
  uint32_t philox_step_;
  int64_t pass_ = -1;
  std::vector<int64_t> order_;  // of that pass
};

}  // namespace panvae
