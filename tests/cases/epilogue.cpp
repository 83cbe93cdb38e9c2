// The end of a product or a convolution as a kernel of its own.
#include "engine/ops/arithmetic.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

constexpr double kSlope = 0.125;

// Variants: bias alone, bias and ReLU, bias and leaky ReLU, leaky ReLU alone. Sizes: A, C, L.
const Case bias_activation("bias_activation", [](OpCase& c) {
  c.sizes = {{0, 3, 2}, {2, 0, 3}, {3, 2, 0}, {1, 1, 1}, {3, 5, 1}, {7, 257, 1}, {129, 130, 1}, {2, 3, 5}, {3, 7, 31}, {1, 1, 300}, {5, 2, 517}};
  c.dims = {"A", "C", "L"};
  c.bench = {{256, 1024, 1}, {256, 19421, 1}, {64, 512, 113}};
  c.variants = 4;
  c.long_indices = true;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t A = s[0], C = s[1], L = s[2];
    const auto y = r.inout(A * C * L, specials());
    const auto bias = r.in(C);
    const int kind = r.variant;
    const Activation activation = kind == 0 ? Activation::none : kind == 1 ? Activation::relu : Activation::leaky_relu;
    const T* vector = kind == 3 ? nullptr : bias.data;
    r.call([=](Stream& stream) { k::bias_activation<T>(stream, y, A, C, L, vector, activation, T(kSlope)); });
    const double below = kind == 0 ? 1 : kind == 1 ? 0 : kSlope;
    auto sum = [&](int64_t i) { return y[i] + (vector ? bias[i / L % C] : 0); };
    r.expect(
        y, 2.01, [&](int64_t i) { return sum(i) < 0 ? below == 0 ? 0.0 : below * sum(i) : sum(i); }, sum);
  });
  c.flops = [](const Sizes& s) { return 2.0 * static_cast<double>(s[0] * s[1] * s[2]); };
  c.bytes = [](const Sizes& s, double item) { return item * static_cast<double>(2 * s[0] * s[1] * s[2] + s[1]); };
  c.op_sizes = {{1, 1, 1}, {3, 5, 2}};
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0], s[1], s[2]}}, {{s[0], s[1], s[2]}, uniform(-1, 1), false}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    return times_constant(x[0], [&](Tensor& y) {
      dispatch(y.dtype(), "bias_activation", [&]<class T>(T) {
        k::copy<T>(y.context().stream(), x[1].data<T>(), y.data<T>(), y.count());
        k::bias_activation<T>(y.context().stream(), y.data<T>(), s[0], s[1], s[2], nullptr, Activation::leaky_relu, T(kSlope));
      });
    });
  };
});

}  // namespace
}  // namespace panvae::cases
