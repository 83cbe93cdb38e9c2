// Rows of a parameter with padding (Features), and the part of them that is used: `count` rows of `columns` numbers, `stride` apart. Of
// other shapes, which are never padded, one row.
#pragma once
#include <algorithm>

#include "engine/shape.h"

namespace panvae {

struct PaddedRows {
  PaddedRows(const Shape& shape, const Shape& used)
      : count(used.rank() == 2 ? used[0] : 1), columns(used.rank() == 2 ? used[1] : used.count()), stride(shape.rank() == 2 ? shape[1] : shape.count()) {}
  bool dense() const { return count == 1 || columns == stride; }  // the used part lies in one piece
  // Between the padded rows and the used part alone, on the host; padding is left as it is.
  void take(const float* padded, float* used) const {
    for (int64_t r = 0; r < count; ++r) std::copy_n(padded + r * stride, columns, used + r * columns);
  }
  void put(const float* used, float* padded) const {
    for (int64_t r = 0; r < count; ++r) std::copy_n(used + r * columns, columns, padded + r * stride);
  }
  int64_t count, columns, stride;
};

}  // namespace panvae
