// Rows of a parameter with padding (Features), and the part of them that is used: `count` rows of `columns` numbers, `stride` apart. Of
// other shapes, which are never padded, one row.
#pragma once
#include <algorithm>
#include <vector>

#include "engine/tensor.h"

namespace panvae {

struct PaddedRows {
  PaddedRows(const Shape& shape, const Shape& used)
      : count(used.rank() == 2 ? used[0] : 1), columns(used.rank() == 2 ? used[1] : used.count()), stride(shape.rank() == 2 ? shape[1] : shape.count()) {}
  bool dense() const { return count == 1 || columns == stride; }  // the used part lies in one piece
  // Between the padded rows and the used part alone, on the host; padding is left as it is.
  template <class T>
  void take(const T* padded, T* used) const {
    for (int64_t r = 0; r < count; ++r) std::copy_n(padded + r * stride, columns, used + r * columns);
  }
  template <class T>
  void put(const T* used, T* padded) const {
    for (int64_t r = 0; r < count; ++r) std::copy_n(used + r * columns, columns, padded + r * stride);
  }
  int64_t count, columns, stride;
};

// The used part of a tensor, as numbers on the host: the same for any padding.
template <class T>
std::vector<T> used_values(const Tensor& t, const Shape& used) {
  std::vector<T> values = t.host<T>();
  if (t.shape() == used) return values;
  std::vector<T> out(static_cast<size_t>(used.count()));
  PaddedRows(t.shape(), used).take(values.data(), out.data());
  return out;
}
// And back, with zeros for padding.
template <class T>
void set_used_values(Tensor& t, const Shape& used, const T* values) {
  if (t.shape() == used) return t.upload(values, t.count());
  std::vector<T> padded(static_cast<size_t>(t.count()));
  PaddedRows(t.shape(), used).put(values, padded.data());
  t.upload(padded.data(), t.count());
}

}  // namespace panvae
