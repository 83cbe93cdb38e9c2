// Convolutions against the formula of Conv1dShape, summed in f64 term by term.
#include "engine/ops/conv.h"

#include <utility>

#include "conv_formulas.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

// sizes: B, C_in, L_in, C_out, K, stride, padding, dilation, epilogue
enum Epilogues : int64_t { plain, bias, bias_relu, bias_leaky, accumulate, accumulate_bias };
constexpr double kSlope = 0.125;

bool adds(const Sizes& s) {
  return s[8] == accumulate || s[8] == accumulate_bias;
}
bool has_bias(const Sizes& s) {
  return s[8] != plain && s[8] != accumulate;
}
template <class T>
Epilogue<T> epilogue_of(const Sizes& s, const T* vector) {
  Epilogue<T> e;
  e.bias = has_bias(s) ? vector : nullptr;
  e.accumulate = adds(s);
  e.slope = T(kSlope);
  if (s[8] == bias_relu) e.activation = Activation::relu;
  if (s[8] == bias_leaky) e.activation = Activation::leaky_relu;
  return e;
}
double activated(double t, const Sizes& s) {
  return t >= 0 ? t : s[8] == bias_relu ? 0 : s[8] == bias_leaky ? kSlope * t : t;
}
void common(OpCase& c) {
  c.dims = {"B", "Cin", "Lin", "Cout", "K"};
  c.label = [](const Sizes& s) {
    const char* kinds[] = {"plain", "bias", "bias_relu", "bias_leaky", "accumulate", "accumulate_bias"};
    return fmt::format("B{}xCin{}xLin{}xCout{}xK{}/stride{}_pad{}_dilation{}/{}", s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], kinds[s[8]]);
  };
  c.misfit = [](const Sizes& s) {
    const int64_t padded = s[2] + 2 * s[6], window = s[7] * (s[4] - 1) + 1;
    return window <= padded ? "" : fmt::format("the window covers {} elements, the padded input has {}", window, padded);
  };
  c.sizes = {
      {1, 1, 5, 1, 3, 1, 0, 1, plain},       {0, 3, 7, 2, 3, 1, 1, 1, bias},    {2, 0, 7, 3, 3, 1, 1, 1, bias},   {3, 4, 9, 6, 3, 1, 1, 1, bias_leaky},
      {2, 3, 12, 4, 5, 3, 2, 1, bias_relu},  {3, 5, 17, 2, 1, 1, 0, 1, bias},   {2, 3, 20, 5, 3, 2, 1, 1, bias},  {2, 4, 19, 3, 4, 2, 3, 2, accumulate_bias},
      {1, 2, 31, 3, 3, 1, 8, 5, accumulate}, {2, 2, 6, 2, 3, 4, 1, 1, plain},   {2, 17, 70, 9, 3, 1, 1, 1, bias}, {1, 3, 4, 2, 4, 1, 0, 1, bias},
      {70, 2, 5, 3, 3, 1, 1, 1, accumulate}, {2, 130, 9, 67, 3, 1, 1, 1, plain}};
  // The first layer of the hierarchical VAE, and its mirror image in the decoder.
  c.bench = {{64, 512, 113, 64, 3, 1, 1, 1, bias_leaky}, {256, 512, 113, 64, 3, 1, 1, 1, bias_leaky}, {64, 64, 113, 512, 3, 1, 1, 1, bias}};
  c.flops = [](const Sizes& s) {
    const Conv1dShape k = shape_of(s);
    return 2 * static_cast<double>(k.B * k.L_out * k.C_out) * static_cast<double>(k.C_in * k.K);
  };
  c.bytes = [](const Sizes& s, double item) {
    const Conv1dShape k = shape_of(s);
    return item * static_cast<double>(k.B * (k.C_in * k.L_in + k.C_out * k.L_out) + k.C_out * k.C_in * k.K);
  };
  c.op_sizes = {{2, 3, 7, 2, 3, 1, 1, 1, plain}, {1, 1, 5, 1, 3, 1, 0, 1, bias}, {2, 2, 9, 3, 3, 2, 1, 2, bias_leaky}, {3, 2, 6, 4, 2, 1, 0, 1, bias_relu}};
  // Kinks are kept away from by a bias that is larger than any sum.
  c.op_inputs = [](const Sizes& s) {
    return std::vector<OpInput>{{{s[0], s[1], s[2]}, uniform(-0.5, 0.5)},
                                {{s[3], s[1], s[4]}, uniform(-0.5, 0.5)},
                                {{s[3]}, [](PhiloxSequence& d, int64_t i) { return (i % 2 ? -1 : 1) * (3 + d.uniform()); }}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    const Activation a = s[8] == bias_relu ? Activation::relu : s[8] == bias_leaky ? Activation::leaky_relu : Activation::none;
    return ops::conv1d(x[0], x[1], x[2], {s[5], s[6], s[7]}, a, 0.2);
  };
}

template <class T>
void forward(Run<T>& r, const Sizes& s, MathMode mode) {
  const Conv1dShape c = shape_of(s);
  const auto x = r.in(c.B * c.C_in * c.L_in), w = r.in(c.C_out * c.C_in * c.K), vector = r.in(c.C_out);
  const int64_t n = c.B * c.C_out * c.L_out;
  const auto y = adds(s) ? r.inout(n) : r.out(n);
  const Epilogue<T> e = epilogue_of<T>(s, vector.data);
  r.call([=](Stream& stream) {
    const MathMode before = std::exchange(stream.math, mode);
    k::conv1d<T>(stream, x, w, y, c, e);
    stream.math = before;
  });
  const OperandRounding rounding = operand_rounding(r.stream, mode);
  const std::vector<double> xs = rounded(x.values(), rounding.mode), ws = rounded(w.values(), rounding.mode);
  auto at = [&](int64_t i, bool magnitude) {
    const double rest = (adds(s) ? y[i] : 0) + (has_bias(s) ? vector[i / c.L_out % c.C_out] : 0);
    return forward_at(c, xs.data(), ws.data(), i, magnitude) + (magnitude ? 2 : rest);
  };
  r.expect(
      y, conv_units(c.C_in * c.K) + rounding.units, [&](int64_t i) { return activated(at(i, false), s); }, [&](int64_t i) { return at(i, true); });
}

const Case conv1d("conv1d", [](OpCase& c) {
  common(c);
  c.body([](auto& r, const Sizes& s) { forward(r, s, MathMode::ieee); });
});

// Tensor cores.
std::vector<Sizes> mode_sizes() {
  return {{1, 1, 5, 1, 3, 1, 0, 1, plain},
          {3, 4, 9, 6, 3, 1, 1, 1, bias_leaky},
          {2, 17, 70, 9, 3, 2, 1, 1, accumulate_bias},
          {2, 4, 19, 3, 4, 2, 3, 2, accumulate_bias},
          {2, 8, 16, 12, 4, 1, 2, 1, bias_relu}};
}
void math_mode(OpCase& c, const char* kernel, MathMode mode) {
  common(c);
  c.kernel = kernel;
  c.math = mode;
  c.cpu_rounds_otherwise = true;
  c.sizes = mode_sizes();
}
const Case conv1d_tf32("conv1d_tf32", [](OpCase& c) {
  math_mode(c, "conv1d", MathMode::tf32);
  c.f32 = [](Run<float>& r, const Sizes& s) { forward(r, s, MathMode::tf32); };
});
const Case conv1d_bf16("conv1d_bf16", [](OpCase& c) {
  math_mode(c, "conv1d", MathMode::bf16);
  c.f32 = [](Run<float>& r, const Sizes& s) { forward(r, s, MathMode::bf16); };
});

template <class T>
void grad_input(Run<T>& r, const Sizes& s, MathMode mode) {
  const Conv1dShape q = shape_of(s);
  const auto gy = r.in(q.B * q.C_out * q.L_out), w = r.in(q.C_out * q.C_in * q.K), vector = r.in(q.C_in);
  const int64_t n = q.B * q.C_in * q.L_in;
  const auto gx = adds(s) ? r.inout(n) : r.out(n);
  const Epilogue<T> e = epilogue_of<T>(s, vector.data);
  r.call([=](Stream& stream) {
    const MathMode before = std::exchange(stream.math, mode);
    k::conv1d_grad_input<T>(stream, gy, w, gx, q, e);
    stream.math = before;
  });
  const OperandRounding rounding = operand_rounding(r.stream, mode);
  const std::vector<double> gys = rounded(gy.values(), rounding.mode), ws = rounded(w.values(), rounding.mode);
  auto at = [&](int64_t i, bool magnitude) {
    const double rest = (adds(s) ? gx[i] : 0) + (has_bias(s) ? vector[i / q.L_in % q.C_in] : 0);
    return grad_input_at(q, gys.data(), ws.data(), i, magnitude) + (magnitude ? 2 : rest);
  };
  r.expect(
      gx, conv_units(q.C_out * q.K) + rounding.units, [&](int64_t i) { return activated(at(i, false), s); }, [&](int64_t i) { return at(i, true); });
}

template <class T>
void grad_weight(Run<T>& r, const Sizes& s, MathMode mode) {
  const Conv1dShape q = shape_of(s);
  const auto x = r.in(q.B * q.C_in * q.L_in), gy = r.in(q.B * q.C_out * q.L_out);
  const int64_t n = q.C_out * q.C_in * q.K;
  const bool add = adds(s);
  const auto gw = add ? r.inout(n) : r.out(n);
  r.call([=](Stream& stream) {
    const MathMode before = std::exchange(stream.math, mode);
    k::conv1d_grad_weight<T>(stream, x, gy, gw, q, add);
    stream.math = before;
  });
  const OperandRounding rounding = operand_rounding(r.stream, mode);
  const std::vector<double> xs = rounded(x.values(), rounding.mode), gys = rounded(gy.values(), rounding.mode);
  auto at = [&](int64_t i, bool magnitude) {
    return grad_weight_at(q, xs.data(), gys.data(), i, magnitude) + (!add ? 0 : magnitude ? std::abs(gw[i]) : gw[i]);
  };
  r.expect(
      gw, conv_units(q.B * q.L_out) + rounding.units, [&](int64_t i) { return at(i, false); }, [&](int64_t i) { return at(i, true); });
}

const Case conv1d_grad_input("conv1d_grad_input", [](OpCase& c) {
  common(c);
  c.bench = {{64, 512, 113, 64, 3, 1, 1, 1, plain}, {256, 512, 113, 64, 3, 1, 1, 1, plain}, {64, 64, 113, 512, 3, 1, 1, 1, plain}};
  c.body([](auto& r, const Sizes& s) { grad_input(r, s, MathMode::ieee); });
  // Its own op: the transposed convolution of x [B, C_out, L_out].
  c.op_sizes = {{2, 3, 7, 2, 3, 1, 1, 1, plain}, {1, 1, 5, 1, 3, 1, 0, 1, bias}, {2, 2, 9, 3, 3, 2, 1, 2, bias_leaky}, {2, 2, 10, 3, 3, 2, 1, 1, bias_relu}};
  c.op_inputs = [](const Sizes& s) {
    const Conv1dShape q = shape_of(s);
    return std::vector<OpInput>{{{q.B, q.C_out, q.L_out}, uniform(-0.5, 0.5)},
                                {{q.C_out, q.C_in, q.K}, uniform(-0.5, 0.5)},
                                {{q.C_in}, [](PhiloxSequence& d, int64_t i) { return (i % 2 ? -1 : 1) * (3 + d.uniform()); }}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    const Conv1dShape q = shape_of(s);
    const int64_t rest = q.L_in - ((q.L_out - 1) * q.stride - 2 * q.padding + q.dilation * (q.K - 1) + 1);
    const Activation a = s[8] == bias_relu ? Activation::relu : s[8] == bias_leaky ? Activation::leaky_relu : Activation::none;
    return ops::conv_transpose1d(x[0], x[1], x[2], {q.stride, q.padding, q.dilation, rest}, a, 0.2);
  };
});

const Case conv1d_grad_weight("conv1d_grad_weight", [](OpCase& c) {
  common(c);
  c.bench = {{64, 512, 113, 64, 3, 1, 1, 1, plain}, {256, 512, 113, 64, 3, 1, 1, 1, plain}, {64, 64, 113, 512, 3, 1, 1, 1, plain}};
  c.body([](auto& r, const Sizes& s) { grad_weight(r, s, MathMode::ieee); });
});

// The gradients on tensor cores.
const Case conv1d_grad_input_tf32("conv1d_grad_input_tf32", [](OpCase& c) {
  math_mode(c, "conv1d_grad_input", MathMode::tf32);
  c.f32 = [](Run<float>& r, const Sizes& s) { grad_input(r, s, MathMode::tf32); };
});
const Case conv1d_grad_input_bf16("conv1d_grad_input_bf16", [](OpCase& c) {
  math_mode(c, "conv1d_grad_input", MathMode::bf16);
  c.f32 = [](Run<float>& r, const Sizes& s) { grad_input(r, s, MathMode::bf16); };
});
const Case conv1d_grad_weight_tf32("conv1d_grad_weight_tf32", [](OpCase& c) {
  math_mode(c, "conv1d_grad_weight", MathMode::tf32);
  c.f32 = [](Run<float>& r, const Sizes& s) { grad_weight(r, s, MathMode::tf32); };
});
const Case conv1d_grad_weight_bf16("conv1d_grad_weight_bf16", [](OpCase& c) {
  math_mode(c, "conv1d_grad_weight", MathMode::bf16);
  c.f32 = [](Run<float>& r, const Sizes& s) { grad_weight(r, s, MathMode::bf16); };
});

// sizes: B, C, L, accumulate. The gradient of a convolution's bias.
const Case sum_channels("sum_channels", [](OpCase& c) {
  c.reads_only = true;
  c.dims = {"B", "C", "L"};
  c.bench = {{64, 64, 113, 0}, {64, 512, 113, 0}};
  c.sizes = {{1, 1, 1, 0}, {0, 5, 3, 0}, {0, 5, 3, 1}, {5, 0, 2, 0}, {5, 3, 0, 1}, {3, 7, 11, 1}, {130, 3, 257, 0}, {2, 300, 5, 0}, {3000, 2, 7, 1}};
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t B = s[0], C = s[1], L = s[2];
    const bool add = s[3] != 0;
    const auto x = r.in(B * C * L);
    const auto y = add ? r.inout(C) : r.out(C);
    r.call([=](Stream& stream) { k::sum_channels<T>(stream, x, y, B, C, L, add); });
    auto at = [&](int64_t channel, bool magnitude) {
      double t = add ? (magnitude ? std::abs(y[channel]) : y[channel]) : 0;
      for (int64_t b = 0; b < B; ++b)
        for (int64_t l = 0; l < L; ++l) t += magnitude ? std::abs(x[(b * C + channel) * L + l]) : x[(b * C + channel) * L + l];
      return t;
    };
    r.expect(
        y, 24, [&](int64_t i) { return at(i, false); }, [&](int64_t i) { return at(i, true); });
  });
  c.flops = [](const Sizes& s) { return static_cast<double>(s[0] * s[1] * s[2]); };
  c.bytes = [](const Sizes& s, double item) { return item * static_cast<double>(s[0] * s[1] * s[2] + s[1]); };
  c.op_sizes = {{2, 3, 4, 0}, {1, 1, 1, 0}};
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0], 2, s[2]}}, {{s[1], 2, 1}}, {{s[1]}}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::conv1d(x[0], x[1], x[2]); };
});

}  // namespace
}  // namespace panvae::cases
