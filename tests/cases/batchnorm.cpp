// Batch normalisation against sums in long double, channel by channel.
#include "engine/ops/arithmetic.h"
#include "engine/ops/normalization.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

using Wide = long double;  // wider than what is judged

double elements(const Sizes& s) {
  return static_cast<double>(s[0]) * static_cast<double>(s[1]) * static_cast<double>(s[2]);
}

// f(index) for each element of channel c of [B, C, L].
template <class F>
void over_channel(const Sizes& s, int64_t c, F f) {
  for (int64_t b = 0; b < s[0]; ++b)
    for (int64_t l = 0; l < s[2]; ++l) f((b * s[1] + c) * s[2] + l);
}
int64_t channel_at(const Sizes& s, int64_t i) {
  return i / s[2] % s[1];
}

struct Moments {
  Wide mean;
  double variance;  // over N
};
template <class X>
std::vector<Moments> moments_of(const Sizes& s, const X& x) {
  std::vector<Moments> out;
  const Wide n = static_cast<Wide>(s[0] * s[2]);
  for (int64_t c = 0; c < s[1]; ++c) {
    Wide mean = 0, square = 0;
    const Wide origin = x[c * s[2]];  // a sum of large numbers would cost even Wide the digits that are judged
    over_channel(s, c, [&](int64_t i) { mean += x[i] - origin; });
    mean = origin + mean / n;
    over_channel(s, c, [&](int64_t i) { square += (x[i] - mean) * (x[i] - mean); });
    out.push_back({mean, static_cast<double>(square / n)});
  }
  return out;
}

// sizes: B, C, L
void common(OpCase& c, double tensors, double operations) {
  c.dims = {"B", "C", "L"};
  c.bench = {{256, 2048, 1}, {256, 1024, 1}, {256, 512, 1}, {64, 2048, 1}, {256, 64, 113}};
  c.flops = [=](const Sizes& s) { return operations * elements(s); };
  c.bytes = [=](const Sizes& s, double item) { return tensors * elements(s) * item; };
  c.sizes = {{2, 1, 1},   {3, 5, 1},  {1, 3, 2},   {4, 0, 3},    {8, 8, 1},    {4, 1, 33},   {2, 9, 31},   {33, 40, 1},
             {3, 600, 1}, {9, 7, 13}, {6, 5, 113}, {1501, 3, 1}, {5, 23, 400}, {257, 70, 1}, {2, 2, 5000}, {9, 4100, 1}};
  c.simt_sizes = {{2, 1, 1}, {3, 5, 1}, {1, 3, 2}, {4, 0, 3}, {8, 8, 1}, {4, 1, 33}, {2, 9, 31}, {33, 40, 1}, {9, 7, 13}, {6, 2, 113}, {900, 3, 1}};
  // What the kernels keep in registers ends at these sizes; of the last two a block has more than one group.
  c.card_sizes = {{64, 9, 1},   {65, 9, 1},  {256, 7, 1},  {257, 3, 1},  {1024, 2, 1},  {1025, 2, 1},
                  {2, 2, 1024}, {3, 2, 683}, {2, 1, 4096}, {2, 2, 4097}, {16400, 3, 1}, {2, 1, 65600}};
  c.simt_sizes.insert(c.simt_sizes.end(), c.card_sizes.begin(), c.card_sizes.end());
  c.long_indices = true;
  c.op_sizes = {{5, 3, 1}, {3, 2, 4}};
}

Shape shape_of(const Sizes& s) {
  return s[2] == 1 ? Shape{s[0], s[1]} : Shape{s[0], s[1], s[2]};
}
Tensor constant(Context& context, int64_t n, DType dtype, double value) {
  Tensor t = Tensor::empty(context, {n}, dtype);
  dispatch(dtype, "fill", [&]<class T>(T) { k::fill<T>(context.stream(), t.data<T>(), n, static_cast<T>(value)); });
  return t;
}
// The op in training, or in evaluation with running statistics beside those of the batch.
Tensor run(const std::vector<Tensor>& x, const Sizes& s, bool training, bool affine = true) {
  Context& context = x[0].context();
  return ops::batch_norm(x[0], affine ? x[1] : Tensor(), affine ? x[2] : Tensor(), constant(context, s[1], x[0].dtype(), 0.25),
                         constant(context, s[1], x[0].dtype(), 0.5), training, 0.1, 1e-3);
}
std::vector<OpInput> op_inputs(const Sizes& s) {
  return {{shape_of(s)}, {{s[1]}, uniform(0.5, 1.5)}, {{s[1]}}};
}

// Variants: 0 affine; 1 without weight and bias; 2 a mean of 10^4 at a deviation near 1, which must cost no digits.
const Case batchnorm_train("batchnorm_train", [](OpCase& c) {
  common(c, 2, 9);
  c.variants = 3;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t B = s[0], C = s[1], L = s[2], n = B * C * L;
    const T eps = T(1e-5), momentum = T(0.1);
    const bool affine = r.variant != 1;
    const auto x = r.in(n, r.variant == 2 ? uniform(10000 - 1.7, 10000 + 1.7) : uniform(-2, 3));
    const auto weight = r.in(C, uniform(0.5, 2)), bias = r.in(C);
    const auto running_mean = r.inout(C), running_var = r.inout(C, uniform(0.5, 1.5));
    const auto y = r.out(n), statistics = r.out(3 * C);
    const T *w = affine ? weight.data : nullptr, *b = affine ? bias.data : nullptr;
    r.call([=](Stream& stream) { k::batchnorm_train<T>(stream, x, w, b, B, C, L, eps, momentum, running_mean, running_var, y, statistics); });

    const std::vector<Moments> m = moments_of(s, x);
    const double count = static_cast<double>(B * L), part = momentum;
    auto at = [&](int64_t i) { return m[static_cast<size_t>(i % C)]; };
    auto inverse = [&](const Moments& q) { return 1 / std::sqrt(q.variance + eps); };
    auto h = [&](int64_t i) {
      const Moments q = m[static_cast<size_t>(channel_at(s, i))];
      return static_cast<double>(x[i] - q.mean) * inverse(q);
    };
    auto scale = [&](int64_t i) { return affine ? weight[channel_at(s, i)] : 1.0; };
    auto shift = [&](int64_t i) { return affine ? bias[channel_at(s, i)] : 0.0; };
    r.expect(
        y, 24, [&](int64_t i) { return h(i) * scale(i) + shift(i); }, [&](int64_t i) { return (std::abs(h(i)) + 1) * scale(i) + std::abs(shift(i)); });
    auto mean = [&](int64_t i) { return static_cast<double>(at(i).mean); };
    r.expect(
        statistics, 16, [&](int64_t i) { return i < C       ? mean(i)
                                                : i < 2 * C ? static_cast<double>(at(i).mean - static_cast<T>(at(i).mean))
                                                            : inverse(at(i)); },
        [&](int64_t i) { return i < 2 * C ? std::abs(mean(i)) / 8 + std::sqrt(at(i).variance) : inverse(at(i)); });
    r.expect(
        running_mean, 8, [&](int64_t i) { return (1 - part) * running_mean[i] + part * mean(i); },
        [&](int64_t i) { return std::abs(running_mean[i]) + std::abs(mean(i)) / 2 + std::sqrt(at(i).variance); });
    r.expect(running_var, 16, [&](int64_t i) { return (1 - part) * running_var[i] + part * at(i).variance * count / (count - 1); });
  });
  c.op_inputs = op_inputs;
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) { return run(x, s, true); };
  c.grad_tolerance = 3e-5;
});

const Case batchnorm_eval("batchnorm_eval", [](OpCase& c) {
  common(c, 2, 4);
  c.sizes.insert(c.sizes.end(), {{0, 3, 1}, {3, 4, 0}, {1, 1, 1}, {1, 2, 1}});
  c.simt_sizes.insert(c.simt_sizes.end(), {{0, 3, 1}, {3, 4, 0}, {1, 1, 1}, {3, 2, 3000}, {131100, 1, 1}});
  c.card_sizes.insert(c.card_sizes.end(), {{3, 2, 3000}, {131100, 1, 1}});
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t B = s[0], C = s[1], L = s[2], n = B * C * L;
    const T eps = T(1e-5);
    const bool affine = r.variant == 0;
    const auto x = r.in(n, uniform(-2, 3)), weight = r.in(C, uniform(0.5, 2)), bias = r.in(C), mean = r.in(C), var = r.in(C, uniform(0.5, 1.5));
    const auto y = r.out(n), statistics = r.out(3 * C);
    const T *w = affine ? weight.data : nullptr, *b = affine ? bias.data : nullptr;
    r.call([=](Stream& stream) { k::batchnorm_eval<T>(stream, x, w, b, mean, var, B, C, L, eps, y, statistics); });

    auto inverse = [&](int64_t j) { return 1 / std::sqrt(var[j] + eps); };
    auto value = [&](int64_t i, bool magnitude) {
      const int64_t j = channel_at(s, i);
      const double scale = (affine ? weight[j] : 1) * inverse(j), shift = affine ? bias[j] : 0;
      return magnitude ? (std::abs(x[i]) + std::abs(mean[j])) * scale + std::abs(shift) : (x[i] - mean[j]) * scale + shift;
    };
    r.expect(
        y, 6, [&](int64_t i) { return value(i, false); }, [&](int64_t i) { return value(i, true); });
    r.expect(statistics, 4, [&](int64_t i) { return i < C ? mean[i] : i < 2 * C ? 0.0 : inverse(i - 2 * C); });
  });
  c.op_inputs = op_inputs;
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) { return run(x, s, false); };
});

// Variants: 0 all gradients; 1 over grad_y, added to what the parameters' gradients hold, no weight; 2 constant statistics;
// 3 constant statistics, and no gradients but that of x; 4 none of x.
const Case batchnorm_grad("batchnorm_grad", [](OpCase& c) {
  common(c, 3, 11);
  c.sizes.insert(c.sizes.end(), {{0, 3, 1}, {3, 4, 0}, {1, 2, 1}});
  c.simt_sizes.insert(c.simt_sizes.end(), {{0, 3, 1}, {3, 4, 0}, {1, 2, 1}});
  c.variants = 5;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t B = s[0], C = s[1], L = s[2], n = B * C * L;
    const int v = r.variant;
    const bool constant_statistics = v == 2 || v == 3, add = v == 1;
    const auto x = r.in(n, uniform(-2, 3)), grad_y = r.in(n), weight = r.in(C, uniform(0.5, 2));
    const auto statistics = r.in(3 * C, [C](PhiloxSequence& d, int64_t i) {
      const double u = d.uniform();
      return i < C ? u - 0.5 : i < 2 * C ? 1e-9 * u : 0.5 + u;
    });
    const bool of_x = v != 4, of_parameters = v != 3;
    const auto grad_x = add ? r.over(grad_y) : r.out(of_x ? n : 0);
    const auto grad_weight = add ? r.inout(C) : r.out(of_parameters ? C : 0), grad_bias = add ? r.inout(C) : r.out(of_parameters ? C : 0);
    const T* w = v == 1 ? nullptr : weight.data;
    T *gx = of_x ? grad_x.data : nullptr, *gw = of_parameters ? grad_weight.data : nullptr, *gb = of_parameters ? grad_bias.data : nullptr;
    r.call([=](Stream& stream) { k::batchnorm_grad<T>(stream, x, grad_y, w, statistics, B, C, L, constant_statistics, gx, gw, gb, add, add); });

    struct Totals {
      double bias, weight, bias_size, weight_size;
    };
    auto h = [&](int64_t i, int64_t j) { return (x[i] - statistics[j] - statistics[C + j]) * statistics[2 * C + j]; };
    auto h_size = [&](int64_t i, int64_t j) { return (std::abs(x[i]) + std::abs(statistics[j])) * statistics[2 * C + j]; };
    std::vector<Totals> totals;
    for (int64_t j = 0; j < C; ++j) {
      Wide b = 0, a = 0;
      Totals t{};
      over_channel(s, j, [&](int64_t i) {
        b += grad_y[i], a += static_cast<Wide>(grad_y[i]) * h(i, j);
        t.bias_size += std::abs(grad_y[i]), t.weight_size += std::abs(grad_y[i]) * h_size(i, j);
      });
      t.bias = static_cast<double>(b), t.weight = static_cast<double>(a);
      totals.push_back(t);
    }
    const double count = static_cast<double>(B * L);
    auto of = [&](int64_t j) { return totals[static_cast<size_t>(j)]; };
    auto scale = [&](int64_t j) { return (w ? weight[j] : 1) * statistics[2 * C + j]; };
    r.expect(
        grad_x, 16,
        [&](int64_t i) {
          const int64_t j = channel_at(s, i);
          return scale(j) * (constant_statistics ? grad_y[i] : grad_y[i] - of(j).bias / count - h(i, j) * of(j).weight / count);
        },
        [&](int64_t i) {
          const int64_t j = channel_at(s, i);
          return scale(j) * (std::abs(grad_y[i]) + of(j).bias_size / count + h_size(i, j) * of(j).weight_size / count);
        });
    r.expect(
        grad_weight, 16, [&](int64_t j) { return of(j).weight + (add ? grad_weight[j] : 0); },
        [&](int64_t j) { return of(j).weight_size + (add ? std::abs(grad_weight[j]) : 0); });
    r.expect(
        grad_bias, 16, [&](int64_t j) { return of(j).bias + (add ? grad_bias[j] : 0); },
        [&](int64_t j) { return of(j).bias_size + (add ? std::abs(grad_bias[j]) : 0); });
  });
  c.op_inputs = op_inputs;
  // Twice with the same parameters, so that their gradients are added; then without parameters, by constant statistics.
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) { return run({run({run(x, s, true), x[1], x[2]}, s, false)}, s, false, false); };
  c.grad_tolerance = 3e-5;
});

}  // namespace
}  // namespace panvae::cases
