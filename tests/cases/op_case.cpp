// The list of cases, and what several cases share.
#include "op_case.h"

#include "base/text.h"
#include "engine/ops/arithmetic.h"

namespace panvae::cases {

std::vector<OpCase>& all_cases() {
  static std::vector<OpCase> list;
  return list;
}

Case::Case(const char* name, const std::function<void(OpCase&)>& describe) {
  OpCase c;
  c.name = name;
  describe(c);
  all_cases().push_back(std::move(c));
}

uint64_t seed_of(const OpCase& c) {
  return stable_hash(c.name.data(), c.name.size());
}

std::string label_of(const OpCase& c, const Sizes& s) {
  if (c.label) return c.label(s);
  std::string text;
  for (size_t i = 0; i < c.dims.size() && i < s.size(); ++i) text += (i ? "x" : "") + c.dims[i] + std::to_string(s[i]);
  return text;
}

std::vector<Sizes> elementwise_sizes() {
  return {{0}, {1}, {3}, {31}, {257}, {1029}, {16385}, {40001}};
}
std::vector<Sizes> small_op_sizes() {
  return {{1}, {37}};
}
std::vector<Sizes> elementwise_bench() {
  return {{256 * 2048}, {256 * 19421}};
}
std::vector<OpInput> one_input(const Sizes& s, Fill fill) {
  return {{{s[0]}, std::move(fill)}};
}

std::vector<double> rounded(std::vector<double> values, MathMode mode) {
  if (mode == MathMode::ieee) return values;
  for (double& x : values) {
    if (x == 0) continue;
    int exponent;
    std::frexp(x, &exponent);
    const double unit = std::ldexp(1.0, exponent - (mode == MathMode::tf32 ? 11 : 8));
    x = (mode == MathMode::tf32 ? std::round(x / unit) : std::nearbyint(x / unit)) * unit;
  }
  return values;
}

OperandRounding operand_rounding(const Stream& stream, MathMode mode) {
  if (stream.type() == DeviceType::cpu) return {MathMode::ieee, 0};
  if (stream.type() == DeviceType::simt || stream.provider == Provider::ours || mode == MathMode::ieee) return {mode, 0};
  return {MathMode::ieee, 2 * (mode == MathMode::tf32 ? 0x1p-10 : 0x1p-7) / roundoff<float>()};
}

Tensor times_constant(const Tensor& x, const std::function<void(Tensor& y)>& make) {
  Tensor y = Tensor::empty(x.context(), x.shape(), x.dtype(), "constant");
  make(y);
  return ops::mul(x, y);
}

}  // namespace panvae::cases
