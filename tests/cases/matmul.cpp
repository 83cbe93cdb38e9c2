#include <utility>

#include "engine/ops/linear.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

// sizes: M, N, K, transposes (1: a, 2: b), epilogue
enum Epilogues : int64_t { plain, bias, bias_relu, bias_leaky, relu, accumulate, accumulate_bias_leaky, epilogues };

constexpr double kSlope = 0.125;

template <class T>
void multiply(Run<T>& r, const Sizes& s, MathMode mode, double units, ProductFill fill = ProductFill::automatic) {
  const int64_t M = s[0], N = s[1], K = s[2];
  const bool ta = s[3] & 1, tb = s[3] & 2;
  const int64_t kind = s[4];
  const bool adds = kind == accumulate || kind == accumulate_bias_leaky;
  const bool with_bias = kind == bias || kind == bias_relu || kind == bias_leaky || kind == accumulate_bias_leaky;
  const auto a = r.in(M * K), b = r.in(K * N), vector = r.in(N);
  const auto c = adds ? r.inout(M * N) : r.out(M * N);
  Epilogue<T> e;
  e.accumulate = adds;
  e.bias = with_bias ? vector.data : nullptr;
  e.slope = T(kSlope);
  if (kind == relu || kind == bias_relu) e.activation = Activation::relu;
  if (kind == bias_leaky || kind == accumulate_bias_leaky) e.activation = Activation::leaky_relu;
  r.call([=](Stream& stream) {
    const MathMode math_before = std::exchange(stream.math, mode);
    const ProductFill fill_before = std::exchange(stream.fill, fill);
    k::matmul<T>(stream, a, ta, b, tb, c, M, N, K, e);
    stream.math = math_before;
    stream.fill = fill_before;
  });

  const OperandRounding rounding = operand_rounding(r.stream, mode);
  const std::vector<double> left = rounded(a.values(), rounding.mode), right = rounded(b.values(), rounding.mode);
  auto before_activation = [&](int64_t at, bool magnitude) {
    const int64_t i = at / N, j = at % N;
    double t = adds ? c[at] : 0;
    if (magnitude) t = std::abs(t);
    for (int64_t k = 0; k < K; ++k) {
      const double p = left[static_cast<size_t>(ta ? k * M + i : i * K + k)] * right[static_cast<size_t>(tb ? j * K + k : k * N + j)];
      t += magnitude ? std::abs(p) : p;
    }
    if (with_bias) t += magnitude ? std::abs(vector[j]) : vector[j];
    return t;
  };
  const double below = e.activation == Activation::relu ? 0 : e.activation == Activation::leaky_relu ? kSlope : 1;
  r.expect(
      c, units + rounding.units,
      [&](int64_t i) {
        const double t = before_activation(i, false);
        return t < 0 ? below * t : t;
      },
      [&](int64_t i) { return before_activation(i, true); });
}

// Rounding errors of a running sum grow as sqrt(K) if they are random; four times that is allowed.
double ieee_units(const Sizes& s) {
  return 4 + 4 * std::sqrt(static_cast<double>(s[2]));
}

// Products of one training step at B samples: each layer forward (with its epilogue), input gradient, weight gradient.
void add_layer(OpCase& c, int64_t B, int64_t in, int64_t out, int64_t epilogue) {
  c.bench.push_back({B, out, in, 2, epilogue});
  c.bench.push_back({B, in, out, 0, plain});
  c.bench.push_back({out, in, B, 1, plain});
}

// Rows that are whole groups of 16 bytes, with edges of every kind, and the larger two of the tiles (kernels/tile_plan.h).
std::vector<Sizes> wide_sizes() {
  return {{36, 72, 44, 0, bias_relu}, {68, 64, 100, 1, accumulate}, {64, 100, 36, 2, bias}, {3, 130, 10600, 2, bias_leaky}, {66, 65, 21201, 2, plain}};
}

void common(OpCase& c) {
  c.dims = {"M", "N", "K"};
  c.label = [](const Sizes& s) {
    const char* kinds[] = {"plain", "bias", "bias_relu", "bias_leaky", "relu", "accumulate", "accumulate_bias_leaky"};
    return fmt::format("M{}xN{}xK{}/{}{}/{}", s[0], s[1], s[2], s[3] & 1 ? 't' : 'n', s[3] & 2 ? 't' : 'n', kinds[s[4]]);
  };
  // The RNA VAE of the paper, and the block VAE of ATAC.
  add_layer(c, 256, 19421, 1024, bias_relu);
  add_layer(c, 256, 1024, 512, bias);
  add_layer(c, 256, 512, 1024, bias_relu);
  add_layer(c, 256, 1024, 19421, bias);
  for (int64_t B : {64, 256}) {
    add_layer(c, B, 5000, 2048, bias_leaky);
    add_layer(c, B, 2048, 1024, bias_leaky);
    add_layer(c, B, 1024, 512, bias_leaky);
    add_layer(c, B, 512, 512, bias);
  }
  // A small batch: the large layers forward, and the gradient that comes back through them.
  for (int64_t B : {8, 32}) {
    c.bench.push_back({B, 1024, 19421, 2, bias_relu});
    c.bench.push_back({B, 1024, 19421, 0, plain});
  }
  c.flops = [](const Sizes& s) { return 2.0 * static_cast<double>(s[0] * s[1]) * static_cast<double>(s[2]); };
  c.bytes = [](const Sizes& s, double item) { return item * static_cast<double>(s[0] * s[2] + s[2] * s[1] + s[0] * s[1]); };
  c.op_sizes = {{1, 1, 1, 0, 0}, {3, 5, 4, 0, 0}, {3, 5, 4, 1, 0}, {3, 5, 4, 2, 0}, {3, 5, 4, 3, 0}};
  c.op_inputs = [](const Sizes& s) {
    const bool ta = s[3] & 1, tb = s[3] & 2;
    return std::vector<OpInput>{{ta ? Shape{s[2], s[0]} : Shape{s[0], s[2]}}, {tb ? Shape{s[1], s[2]} : Shape{s[2], s[1]}}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) { return ops::matmul(x[0], x[1], s[3] & 1, s[3] & 2); };
}

const Case matmul("matmul", [](OpCase& c) {
  common(c);
  for (int64_t t = 0; t < 4; ++t) {
    c.sizes.push_back({1, 1, 1, t, plain});
    c.sizes.push_back({129, 130, 67, t, t == 0 ? plain : t == 1 ? bias_relu : t == 2 ? accumulate : accumulate_bias_leaky});
    c.sizes.push_back({5, 7, 2100, t, t == 0 ? accumulate_bias_leaky : plain});  // ranges of k
    for (int64_t e = 0; e < epilogues; ++e) c.sizes.push_back({17, 33, 65, t, e});
  }
  for (int64_t e = 0; e < epilogues; ++e) c.sizes.push_back({3, 5, 0, 0, e});
  for (const Sizes& s : {Sizes{0, 5, 3, 0, plain}, Sizes{5, 0, 3, 0, bias}, Sizes{300, 1, 40, 0, bias}, Sizes{1, 300, 40, 2, relu}, Sizes{70, 2, 1100, 1, bias},
                         Sizes{64, 64, 16, 0, plain}, Sizes{128, 128, 8, 3, plain}})
    c.sizes.push_back(s);
  for (const Sizes& s : wide_sizes()) c.sizes.push_back(s);
  c.simt_sizes = c.sizes;
  // Few rows, which the cpu multiplies without BLAS: along the rows of b, in panels, along its columns.
  for (const Sizes& s : {Sizes{7, 270, 260, 2, bias}, Sizes{15, 270, 260, 2, accumulate}, Sizes{15, 270, 260, 0, accumulate}}) c.sizes.push_back(s);
  c.body([](auto& r, const Sizes& s) { multiply(r, s, MathMode::ieee, ieee_units(s)); });
});

template <class T>
void multiply_rows(Run<T>& r, const Sizes& s, MathMode mode) {
  const int64_t M = s[0], N = s[1], K = s[2], first = s[4], rows = s[5];
  const bool ta = s[3] & 1, tb = s[3] & 2;
  const auto a = r.in(M * K), b = r.in(K * N);
  const auto out = r.out(rows * N);
  r.call([=](Stream& stream) {
    const MathMode before = std::exchange(stream.math, mode);
    k::matmul_rows<T>(stream, a, ta, b, tb, out, M, N, K, first, rows);
    stream.math = before;
  });
  const OperandRounding rounding = operand_rounding(r.stream, mode);
  const std::vector<double> left = rounded(a.values(), rounding.mode), right = rounded(b.values(), rounding.mode);
  auto sum = [&](int64_t at, bool magnitude) {
    const int64_t i = first + at / N, j = at % N;
    double t = 0;
    for (int64_t k = 0; k < K; ++k) {
      const double p = left[static_cast<size_t>(ta ? k * M + i : i * K + k)] * right[static_cast<size_t>(tb ? j * K + k : k * N + j)];
      t += magnitude ? std::abs(p) : p;
    }
    return t;
  };
  r.expect(
      out, ieee_units(s) + rounding.units, [&](int64_t i) { return sum(i, false); }, [&](int64_t i) { return sum(i, true); });
}

// sizes: M, N, K, transposes, first row, rows
void common_rows(OpCase& c) {
  c.kernel = "matmul_rows";
  c.dims = {"M", "N", "K"};
  c.label = [](const Sizes& s) { return fmt::format("M{}xN{}xK{}/{}{}/rows{}", s[0], s[1], s[2], s[3] & 1 ? 't' : 'n', s[3] & 2 ? 't' : 'n', s[5]); };
  c.misfit = [](const Sizes& s) { return s[5] <= s[0] - s[4] ? "" : fmt::format("rows {} to {} are asked for, there are {}", s[4], s[4] + s[5], s[0]); };
  // Panels of the weight gradients of the RNA VAE, and of the block VAE of ATAC.
  c.bench = {{1024, 19424, 256, 1, 128, 128}, {19424, 1024, 256, 1, 4096, 4096}, {2048, 5000, 256, 1, 768, 768}};
  for (int64_t t = 0; t < 4; ++t) {
    c.sizes.push_back({1, 1, 1, t, 0, 1});
    c.sizes.push_back({17, 33, 65, t, 4, 9});
    c.sizes.push_back({132, 68, 36, t, 64, 68});  // rows of whole groups of 16 bytes
  }
  c.flops = [](const Sizes& s) { return 2.0 * static_cast<double>(s[5] * s[1]) * static_cast<double>(s[2]); };
  c.bytes = [](const Sizes& s, double item) { return item * static_cast<double>(s[5] * s[2] + s[2] * s[1] + s[5] * s[1]); };
  c.op_sizes = {{3, 5, 4, 0, 1, 2}, {3, 5, 4, 1, 1, 2}};
  c.op_inputs = [](const Sizes& s) {
    const bool ta = s[3] & 1;
    return std::vector<OpInput>{{{s[5], s[1]}}, {ta ? Shape{s[2], s[0]} : Shape{s[0], s[2]}, uniform(0.5, 1), false}, {{s[2], s[1]}, uniform(0.5, 1), false}};
  };
  // It has no gradient: it makes the constant factor of a product.
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    return times_constant(x[0], [&](Tensor& y) {
      dispatch(y.dtype(), "matmul_rows", [&]<class T>(T) {
        k::matmul_rows<T>(y.context().stream(), x[1].data<T>(), s[3] & 1, x[2].data<T>(), false, y.data<T>(), s[0], s[1], s[2], s[4], s[5]);
      });
    });
  };
}
const Case matmul_rows("matmul_rows", [](OpCase& c) {
  common_rows(c);
  for (const Sizes& s : {Sizes{9, 5, 3, 1, 9, 0}, Sizes{9, 0, 3, 1, 2, 3}, Sizes{9, 5, 0, 1, 2, 3}, Sizes{300, 40, 7, 1, 1, 299}, Sizes{7, 5, 2100, 1, 3, 4}})
    c.sizes.push_back(s);
  c.body([](auto& r, const Sizes& s) { multiply_rows(r, s, MathMode::ieee); });
});
// As training on a GPU multiplies.
const Case matmul_rows_tf32("matmul_rows_tf32", [](OpCase& c) {
  common_rows(c);
  c.math = MathMode::tf32;
  c.cpu_rounds_otherwise = true;
  c.f32 = [](Run<float>& r, const Sizes& s) { multiply_rows(r, s, MathMode::tf32); };
});

// Layers as models use them: weights [out, in], bias and activation fused. Kinks are kept away from by a bias that is
// larger than any product.
const Case linear("linear", [](OpCase& c) {
  common(c);
  c.kernel = "matmul";
  c.bench.clear();  // matmul has them
  for (int64_t e : {bias, bias_relu, bias_leaky}) c.sizes.push_back({13, 21, 34, 2, e});
  c.body([](auto& r, const Sizes& s) { multiply(r, s, MathMode::ieee, ieee_units(s)); });
  c.op_sizes = {{1, 1, 1, 2, bias}, {4, 6, 3, 2, bias_relu}, {4, 6, 3, 2, bias_leaky}, {70, 6, 3, 2, bias}};
  c.op_inputs = [](const Sizes& s) {
    return std::vector<OpInput>{{{s[0], s[2]}, uniform(-0.5, 0.5)}, {{s[1], s[2]}, uniform(-0.5, 0.5)}, {{s[1]}, [](PhiloxSequence& d, int64_t i) {
                                                                                                           return (i % 2 ? -1 : 1) * (1 + d.uniform());
                                                                                                         }}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    const Activation a = s[4] == bias_relu ? Activation::relu : s[4] == bias_leaky ? Activation::leaky_relu : Activation::none;
    return ops::linear(x[0], x[1], x[2], a, 0.2);
  };
});

// Tensor-core modes, on the operands as they round them. Accumulation is f32, in an order that is the hardware's.
void math_mode(OpCase& c, MathMode mode) {
  common(c);
  c.kernel = "matmul";
  c.math = mode;
  c.cpu_rounds_otherwise = true;
  c.sizes = {{1, 1, 1, 0, plain},
             {17, 33, 65, 0, bias_leaky},
             {17, 33, 65, 1, accumulate},
             {17, 33, 65, 2, relu},
             {17, 33, 65, 3, bias},
             {129, 130, 67, 2, bias_relu},
             {5, 7, 1100, 0, accumulate_bias_leaky},
             {3, 5, 0, 0, bias}};
  for (const Sizes& s : wide_sizes()) c.sizes.push_back(s);
  c.f32 = [=](Run<float>& r, const Sizes& s) { multiply(r, s, mode, ieee_units(s)); };
}
// A main loop that does not run unless asked for (or, of those through registers, where both operands are transposed). Other devices have
// no such choice.
void by_fill(OpCase& c, MathMode mode, ProductFill fill) {
  common(c);
  c.kernel = "matmul";
  c.math = mode;
  c.cpu_rounds_otherwise = mode != MathMode::ieee;
  if (fill == ProductFill::staged) c.bench.clear();
  for (int64_t t = 0; t < 4; ++t) c.sizes.push_back({17, 33, 65, t, t == 0 ? plain : t == 1 ? bias_relu : t == 2 ? accumulate : accumulate_bias_leaky});
  for (const Sizes& s : {Sizes{1, 1, 1, 0, plain}, Sizes{129, 130, 67, 2, bias_relu}, Sizes{5, 7, 1100, 0, accumulate_bias_leaky}, Sizes{3, 5, 0, 0, bias}})
    c.sizes.push_back(s);
  if (fill == ProductFill::warpgroups)  // rows by the lane and by sixteen bytes, both tiles, with k whole and split
    for (const Sizes& s : {Sizes{36, 72, 44, 0, bias_relu}, {68, 64, 100, 1, accumulate}, {129, 20, 300, 2, bias}, {130, 130, 500, 2, bias_leaky}})
      c.sizes.push_back(s);
  c.f32 = [=](Run<float>& r, const Sizes& s) { multiply(r, s, mode, ieee_units(s), fill); };
}
const Case matmul_staged("matmul_staged", [](OpCase& c) { by_fill(c, MathMode::ieee, ProductFill::staged); });
const Case matmul_staged_tf32("matmul_staged_tf32", [](OpCase& c) { by_fill(c, MathMode::tf32, ProductFill::staged); });
const Case matmul_staged_bf16("matmul_staged_bf16", [](OpCase& c) { by_fill(c, MathMode::bf16, ProductFill::staged); });
const Case matmul_warpgroups_tf32("matmul_warpgroups_tf32", [](OpCase& c) { by_fill(c, MathMode::tf32, ProductFill::warpgroups); });
const Case matmul_warpgroups_bf16("matmul_warpgroups_bf16", [](OpCase& c) { by_fill(c, MathMode::bf16, ProductFill::warpgroups); });

const Case matmul_tf32("matmul_tf32", [](OpCase& c) { math_mode(c, MathMode::tf32); });
const Case matmul_bf16("matmul_bf16", [](OpCase& c) { math_mode(c, MathMode::bf16); });

}  // namespace
}  // namespace panvae::cases
