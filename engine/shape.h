// Sizes of tensors, and what a rule says about an op before anything is allocated.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "base/error.h"

namespace panvae {

// Up to four dimensions, row-major. Sizes may be 0; together they are at most 2^59 elements, whose bytes fit 64 bits in every type.
class Shape {
 public:
  static constexpr int max_rank = 4;
  static constexpr int64_t max_count = int64_t{1} << 59;
  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) {
    PV_CHECK(sizes.size() <= max_rank, "shape: {} dimensions are more than {}", sizes.size(), max_rank);
    for (int64_t s : sizes) append(s);
  }
  void append(int64_t size) {
    PV_CHECK(size >= 0 && rank_ < max_rank, "shape: a size of {} at dimension {}", size, rank_);
    sizes_[static_cast<size_t>(rank_++)] = size;
    int64_t left = max_count;
    for (int i = 0; i < rank_; ++i) left /= std::max<int64_t>(1, sizes_[static_cast<size_t>(i)]);
    PV_CHECK(left > 0, "shape: {} has more than 2^59 elements", str());
  }
  int rank() const { return rank_; }
  // Negative: from the end.
  int64_t operator[](int i) const {
    PV_CHECK(i >= -rank_ && i < rank_, "shape: no dimension {} in {}", i, str());
    return sizes_[static_cast<size_t>(i < 0 ? i + rank_ : i)];
  }
  int64_t count() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= sizes_[static_cast<size_t>(i)];
    return n;
  }
  bool operator==(const Shape& o) const {
    if (rank_ != o.rank_) return false;
    for (int i = 0; i < rank_; ++i)
      if ((*this)[i] != o[i]) return false;
    return true;
  }
  std::string str() const {
    std::string s = "[";
    for (int i = 0; i < rank_; ++i) s += (i ? ", " : "") + std::to_string((*this)[i]);
    return s + "]";
  }

 private:
  std::array<int64_t, max_rank> sizes_{};
  int rank_ = 0;
};

// What the shape rule of an op returns: the shape of its output, and its work, as bench counts it (floating-point
// operations, and the fewest bytes that must move: every input read once, every output written once).
struct OpRule {
  Shape out;
  double flops = 0, bytes = 0;
};

}  // namespace panvae
