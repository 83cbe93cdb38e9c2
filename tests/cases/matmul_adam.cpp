// Weight gradient and Adam in one kernel. It has no gradient: in grad and graph it makes the constant factor of a product.
#include "adam_formulas.h"
#include "engine/ops/arithmetic.h"

namespace panvae::cases {
namespace {

// One step of the optimizer by kernels, over p [M, N] that is 1 before, with gradient op(a) op(b).
void step(Tensor& p, const Tensor& a, const Tensor& b, const Sizes& s) {
  Context& context = p.context();
  Tensor slots = Tensor::from(context, {adam_slots}, slots_of({}, 1)), m = Tensor::zeros(context, p.shape(), p.dtype()),
         v = Tensor::zeros(context, p.shape(), p.dtype());
  dispatch(p.dtype(), "matmul_adam", [&]<class T>(T) {
    k::fill<T>(context.stream(), p.data<T>(), p.count(), T(1));
    k::matmul_adam<T>(context.stream(), a.data<T>(), s[3] & 1, b.data<T>(), s[3] & 2, p.data<T>(), m.data<T>(), v.data<T>(), s[0], s[1], s[2],
                      slots.data<double>(), AdamOptions{});
  });
}

// sizes: M, N, K, transposes (1: a, 2: b). Variants: Adam, AdamW, Adam with L2, a step that is skipped.
void common(OpCase& c, MathMode mode) {
  c.kernel = "matmul_adam";
  c.math = mode;
  c.variants = 4;
  c.dims = {"M", "N", "K"};
  c.label = [](const Sizes& s) { return fmt::format("M{}xN{}xK{}/{}{}", s[0], s[1], s[2], s[3] & 1 ? 't' : 'n', s[3] & 2 ? 't' : 'n'); };
  c.flops = [](const Sizes& s) { return static_cast<double>(s[0] * s[1]) * (2 * static_cast<double>(s[2]) + 16); };
  c.bytes = [](const Sizes& s, double item) { return item * static_cast<double>(s[0] * s[2] + s[2] * s[1] + 6 * s[0] * s[1]); };
  c.op_sizes = {{1, 1, 1, 0}, {3, 5, 4, 1}, {3, 5, 4, 2}};
  c.op_inputs = [](const Sizes& s) {
    const bool ta = s[3] & 1, tb = s[3] & 2;
    const Fill away = uniform(0.5, 1);  // Adam's first step goes by the sign of the gradient
    return std::vector<OpInput>{
        {{s[0], s[1]}}, {ta ? Shape{s[2], s[0]} : Shape{s[0], s[2]}, away, false}, {tb ? Shape{s[1], s[2]} : Shape{s[2], s[1]}, away, false}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) { return times_constant(x[0], [&](Tensor& p) { step(p, x[1], x[2], s); }); };
}

const Case matmul_adam("matmul_adam", [](OpCase& c) {
  common(c, MathMode::ieee);
  for (int64_t t = 0; t < 4; ++t) {
    c.sizes.push_back({1, 1, 1, t});
    c.sizes.push_back({17, 33, 65, t});
  }
  for (const Sizes& s : {Sizes{0, 5, 3, 0}, Sizes{5, 0, 3, 1}, Sizes{3, 5, 0, 1}, Sizes{129, 130, 67, 1}, Sizes{64, 128, 16, 1}, Sizes{1, 300, 40, 2},
                         Sizes{300, 1, 40, 1}, Sizes{5, 7, 2100, 1}})  // ranges of k
    c.sizes.push_back(s);
  c.simt_sizes = c.sizes;
  c.sizes.push_back({300, 1100, 5, 1});                                  // many rows and columns of tiles
  for (int64_t t = 0; t < 4; ++t) c.sizes.push_back({31, 700, 300, t});  // panels of columns, of more than one block each
  c.sizes.push_back({70, 2003, 3, 3});
  c.body([](auto& r, const Sizes& s) { matmul_adam_call(r, s, MathMode::ieee, true); });
  c.unfused([](auto& r, const Sizes& s) { matmul_adam_call(r, s, MathMode::ieee, false); });
  c.unfused_bytes = [](const Sizes& s, double item) { return item * static_cast<double>(s[0] * s[2] + s[2] * s[1] + 9 * s[0] * s[1]); };
  // The RNA VAE of the paper at its batch and at a small one, and the block VAE of ATAC.
  for (int64_t B : {32, 256})
    for (const Sizes& s : {Sizes{1024, 19421, B, 1}, Sizes{19421, 1024, B, 1}}) c.bench.push_back(s);
  for (int64_t B : {64, 256})
    for (const Sizes& s : {Sizes{2048, 5000, B, 1}, Sizes{1024, 2048, B, 1}, Sizes{512, 1024, B, 1}, Sizes{5000, 2048, B, 1}}) c.bench.push_back(s);
});

void math_mode(OpCase& c, MathMode mode) {
  common(c, mode);
  c.cpu_rounds_otherwise = true;
  c.sizes = {{1, 1, 1, 0}, {17, 33, 65, 1}, {17, 33, 65, 2}, {129, 130, 67, 1}, {5, 7, 1100, 3}, {3, 5, 0, 1}};
  // By warpgroups, wide and tall: less than a tile; several strips and ranges, with edges; all chunks of k that fit, and one too many; several
  // tiles of each block.
  for (const Sizes& s : {Sizes{4, 8, 1, 1}, Sizes{132, 260, 70, 1}, Sizes{260, 132, 70, 1}, Sizes{64, 132, 256, 1}, Sizes{132, 64, 256, 1},
                         Sizes{12, 20, 257, 1}, Sizes{4, 8704, 70, 1}, Sizes{8704, 4, 40, 1}})
    c.sizes.push_back(s);
  if (mode == MathMode::bf16)
    for (const Sizes& s : {Sizes{68, 72, 512, 1}, Sizes{12, 20, 513, 1}}) c.sizes.push_back(s);
  c.f32 = [=](Run<float>& r, const Sizes& s) { matmul_adam_call(r, s, mode, true); };
  // Rows of whole quads, as padded weights have.
  for (const Sizes& s : {Sizes{1024, 19424, 256, 1}, Sizes{19424, 1024, 256, 1}, Sizes{2048, 5000, 256, 1}, Sizes{5000, 2048, 64, 1}}) c.bench.push_back(s);
}
const Case matmul_adam_tf32("matmul_adam_tf32", [](OpCase& c) { math_mode(c, MathMode::tf32); });
const Case matmul_adam_bf16("matmul_adam_bf16", [](OpCase& c) { math_mode(c, MathMode::bf16); });

// Variants as above.
const Case adam_summing("adam_summing", [](OpCase& c) {
  c.sizes = {{0}, {1}, {3}, {31}, {1029}, {4096}, {16385}, {40001}};
  c.simt_sizes = {{0}, {1}, {3}, {31}, {1029}, {4096}, {4101}};
  c.dims = {"N"};
  c.bench = {{1024 * 19424}};  // the weight of the RNA VAE's first layer
  c.variants = 4;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const AdamOptions o = options_of(r.variant);
    const double scale = r.variant == 3 ? 0 : T(0.5);
    const auto p = r.inout(s[0]), grad = r.in(s[0]), m = r.inout(s[0]), v = r.inout(s[0], uniform(0, 1));
    const auto slots = r.template in<double>(adam_slots, list(slots_of(o, scale)));
    const auto squares = r.template out<double>(adam_stretches(s[0]));
    r.call([=](Stream& stream) { k::adam_summing<T>(stream, p, grad, m, v, s[0], slots, o, squares); });
    expect_step(r, o, scale, p, grad, m, v);
    if (scale == 0) return r.exactly(squares, [](int64_t) { return 0.0; });
    r.expect(squares, 512, [&](int64_t stretch) {
      double sum = 0;
      for (int64_t i = stretch * kAdamStretch; i < std::min(s[0], (stretch + 1) * kAdamStretch); ++i) sum += grad[i] * grad[i];
      return sum;
    });
  });
  c.flops = [](const Sizes& s) { return 16 * static_cast<double>(s[0]); };
  c.bytes = [](const Sizes& s, double item) { return 7 * static_cast<double>(s[0]) * item + 8 * static_cast<double>(adam_stretches(s[0])); };
  c.op_sizes = small_op_sizes();
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0]}}, {{s[0]}, uniform(0.5, 1), false}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return times_constant(x[0], [&](Tensor& p) {
      Context& context = p.context();
      const Tensor slots = Tensor::from(context, {adam_slots}, slots_of({}, 1));
      Tensor m = Tensor::zeros(context, p.shape(), p.dtype()), v = Tensor::zeros(context, p.shape(), p.dtype()),
             squares = Tensor::empty(context, {adam_stretches(p.count())}, DType::f64);
      dispatch(p.dtype(), "adam", [&]<class T>(T) {
        k::fill<T>(context.stream(), p.data<T>(), p.count(), T(1));
        k::adam_summing<T>(context.stream(), p.data<T>(), x[1].data<T>(), m.data<T>(), v.data<T>(), p.count(), slots.data<double>(), AdamOptions{},
                           squares.data<double>());
      });
    });
  };
});

// sizes: count, whether the step is skipped
const Case adam_join_norm("adam_join_norm", [](OpCase& c) {
  c.dims = {"count"};
  c.bench = {{9712, 0}};
  c.sizes = {{0, 0}, {1, 0}, {33, 0}, {1025, 0}, {5000, 0}, {7, 1}};
  c.f64 = [](Run<double>& r, const Sizes& s) {
    std::vector<double> before = slots_of({}, s[1] == 1 ? 0 : 0.5);
    before[adam_norm] = 0.75;
    const auto squares = r.in(s[0], uniform(0, 4));
    const auto slots = r.inout(adam_slots, list(before));
    r.call([=](Stream& stream) { k::adam_join_norm<double>(stream, squares, s[0], slots); });
    double sum = before[adam_norm] * before[adam_norm];
    for (int64_t i = 0; i < s[0]; ++i) sum += s[1] == 1 ? 0 : squares[i];
    r.expect(slots, 4 + std::sqrt(static_cast<double>(s[0])), [&](int64_t i) { return i == adam_norm ? std::sqrt(sum) : before[static_cast<size_t>(i)]; });
  };
  c.flops = [](const Sizes& s) { return static_cast<double>(s[0]); };
  c.bytes = [](const Sizes& s, double) { return 8 * static_cast<double>(s[0]); };
  c.op_sizes = small_op_sizes();
  c.op_inputs = [](const Sizes& s) { return one_input(s); };
  // x times a norm that is 5.
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return times_constant(x[0], [&](Tensor& y) {
      Context& context = y.context();
      std::vector<double> before = slots_of({}, 1);
      before[adam_norm] = 3;
      Tensor slots = Tensor::from(context, {adam_slots}, before);
      const Tensor squares = Tensor::from(context, {2}, std::vector<double>{7, 9});
      k::adam_join_norm<double>(context.stream(), squares.data<double>(), 2, slots.data<double>());
      dispatch(y.dtype(), "adam_join_norm", [&]<class T>(T) {
        const Tensor norm = slots.part(adam_norm, {1});
        Tensor five = Tensor::empty(context, {1}, y.dtype());
        if constexpr (std::is_same_v<T, double>) five = norm;
        else k::cast_to_f32<double>(context.stream(), norm.data<double>(), five.data<float>(), 1);
        k::spread<T>(context.stream(), five.data<T>(), y.data<T>(), y.count(), T(1));
      });
    });
  };
});

// sizes: gradients, products, what is wrong with the last factor (0: nothing, 1: its product's bound, 2: NaN, 3: infinite)
const Case adam_gate("adam_gate", [](OpCase& c) {
  c.dims = {"parts", "products"};
  c.bench = {{6, 5, 0}};
  for (int64_t parts : {0, 1, 7})
    for (int64_t products : {0, 1, 2, 31})
      for (int64_t wrong = 0; wrong < (products > 0 ? 4 : 1); ++wrong) c.sizes.push_back({parts, products, wrong});
  c.f64 = [](Run<double>& r, const Sizes& s) {
    const int64_t parts = s[0], products = s[1], wrong = s[2];
    constexpr double inf = std::numeric_limits<double>::infinity(), largest = 1e30;
    const auto squares = r.in(parts, uniform(0, 4));
    const auto factors = r.in(2 * products, [=](PhiloxSequence& draw, int64_t i) {
      if (i == 0) return 1e52;  // large alone, and its product with a number below 2 is not
      if (i + 1 < 2 * products) return 2 * draw.uniform();
      return wrong == 1 ? 1e70 : wrong == 2 ? std::nan("") : wrong == 3 ? inf : 1e-8;
    });
    const auto sum = r.out(1);
    r.call([=](Stream& stream) { k::adam_gate<double>(stream, squares, parts, factors, products, largest, sum); });
    r.expect(sum, 4 + static_cast<double>(parts), [&](int64_t) {
      if (wrong > 0) return wrong == 2 ? std::nan("") : inf;
      double total = 0;
      for (int64_t i = 0; i < parts; ++i) total += squares[i];
      return total;
    });
  };
  c.flops = [](const Sizes& s) { return static_cast<double>(s[0] + 2 * s[1]); };
  c.bytes = [](const Sizes& s, double) { return 8.0 * static_cast<double>(s[0] + 2 * s[1]); };
  c.op_sizes = small_op_sizes();
  c.op_inputs = [](const Sizes& s) { return one_input(s); };
  // x times a sum that is 3.
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return times_constant(x[0], [&](Tensor& y) {
      Context& context = y.context();
      const Tensor parts = Tensor::from(context, {2}, std::vector<double>{1, 2}), factors = Tensor::from(context, {2}, std::vector<double>{1, 4});
      Tensor sum = Tensor::empty(context, {1}, DType::f64);
      k::adam_gate<double>(context.stream(), parts.data<double>(), 2, factors.data<double>(), 1, 3.0, sum.data<double>());
      dispatch(y.dtype(), "adam_gate", [&]<class T>(T) {
        Tensor three = Tensor::empty(context, {1}, y.dtype());
        if constexpr (std::is_same_v<T, double>) three = sum;
        else k::cast_to_f32<double>(context.stream(), sum.data<double>(), three.data<float>(), 1);
        k::spread<T>(context.stream(), three.data<T>(), y.data<T>(), y.count(), T(1));
      });
    });
  };
});

}  // namespace
}  // namespace panvae::cases
