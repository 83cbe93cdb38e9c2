// What the tests of the engine share.
#pragma once
#include <vector>

#include "engine/context.h"
#include "engine/ops/arithmetic.h"
#include "engine/tape.h"
#include "engine/tensor.h"
#include "tests/base/helpers.h"

namespace panvae::test {

inline Tensor tensor(Context& c, Shape shape, std::vector<float> values) {
  return Tensor::from(c, shape, values);
}
inline Tensor parameter(Context& c, Shape shape, std::vector<float> values, const char* name) {
  Tensor t = Tensor::from(c, shape, values);
  t.require_gradient(name);
  return t;
}

inline std::vector<float> ramp(size_t n, float scale = 1) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = scale * (static_cast<float>(i * 37 % 101) / 50 - 1);
  return v;
}

// All devices that any machine has; simt in one order after the other is the business of tests/cases.
inline std::vector<Device> host_devices() {
  return {{DeviceType::cpu, 0}, {DeviceType::simt, 0}};
}

}  // namespace panvae::test
