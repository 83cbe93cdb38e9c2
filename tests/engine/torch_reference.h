// Reading tests/reference/torch_*.safetensors (PyTorch in float64), and comparing with it: 1e-10 in f64, 1e-5 in f32,
// of the largest magnitude in each tensor, on cpu and, through the CUDA sources, on simt.
#pragma once
#include <cmath>

#include "base/json.h"
#include "base/safetensors.h"
#include "engine/ops/arithmetic.h"
#include "helpers.h"

namespace panvae::test {

// The file that has the tensors and options of "op.case".
inline const SafetensorsReader& reference(const std::string& name) {
  static const SafetensorsReader layers(PANVAE_SOURCE_DIR "/tests/reference/torch_layers.safetensors"),
      rows(PANVAE_SOURCE_DIR "/tests/reference/torch_rows.safetensors");
  return name.starts_with("layer_norm.") || name.starts_with("softmax.") || name.starts_with("gelu.") ? rows : layers;
}
inline std::vector<double> values(const std::string& name) {
  return reference(name).doubles(name);
}
inline Json options(const std::string& name) {
  return Json::parse(reference(name).metadata().at(name));
}
inline int cases_of(const std::string& op, const std::string& tensor) {
  int n = 0;
  while (reference(op + ".").contains(op + "." + std::to_string(n) + "." + tensor)) ++n;
  return n;
}

struct Where {
  Device device;
  DType dtype;
  double tolerance() const { return dtype == DType::f64 ? 1e-10 : 1e-5; }
};
inline std::vector<Where> everywhere() {
  std::vector<Where> out;
  for (Device d : host_devices())
    for (DType t : {DType::f64, DType::f32}) out.push_back({d, t});
  return out;
}
inline std::string str(const Where& w) {
  return to_string(w.device) + " " + dtype_name(w.dtype);
}

inline Tensor load(Context& c, const std::string& name, DType dtype) {
  Shape shape;
  for (int64_t s : reference(name).at(name).shape) shape.append(s);
  const std::vector<double> v = values(name);
  return dtype == DType::f64 ? Tensor::from(c, shape, v) : Tensor::from(c, shape, std::vector<float>(v.begin(), v.end()));
}
inline std::vector<double> doubles(const Tensor& t) {
  if (t.dtype() == DType::f64) return t.host<double>();
  const std::vector<float> v = t.host<float>();
  return {v.begin(), v.end()};
}

inline void expect_values(const std::vector<double>& got, const std::vector<double>& expected, const Where& w, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  double largest = 0, worst = 0;
  for (double v : expected) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < got.size(); ++i)
    if (const double d = std::abs(got[i] - expected[i]); !(d <= worst)) worst = d;
  EXPECT_LE(worst, w.tolerance() * largest) << what << " on " << str(w);
}
inline void expect_reference(const Tensor& got, const std::string& name, const Where& w) {
  expect_values(doubles(got), values(name), w, name);
}

// sum(y * gy): its gradient is what PyTorch was given.
inline Tensor objective(Context& c, const Tensor& y, const std::string& gy, DType dtype) {
  return ops::sum(ops::mul(y, load(c, gy, dtype)));
}

}  // namespace panvae::test
