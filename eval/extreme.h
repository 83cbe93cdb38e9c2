// The value that decides a sign, where signs of a decomposition are open: of a component, of a dimension, of an axis.
#pragma once
#include <Eigen/Core>
#include <cmath>

namespace panvae::eval {

// Absolute values this close are equal but for rounding, which differs between processors.
inline constexpr double kEqualExtremes = 1e-9;

// Whether `value` is of a larger absolute value than `extreme`, by more than rounding.
inline bool beyond(double value, double extreme) {
  return std::abs(value) > std::abs(extreme) * (1 + kEqualExtremes);
}

// Index of the value of largest absolute value, the first of equals; v is not empty.
template <class Vector>
Eigen::Index first_extreme(const Eigen::DenseBase<Vector>& v) {
  const double largest = v.derived().cwiseAbs().maxCoeff();
  Eigen::Index at = 0;
  while (at + 1 < v.size() && beyond(largest, v.derived()[at])) ++at;
  return at;
}

}  // namespace panvae::eval
