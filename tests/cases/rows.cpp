// Layer normalisation and softmax against sums in long double, row by row.
#include "engine/ops/arithmetic.h"
#include "engine/ops/normalization.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

using Wide = long double;  // wider than what is judged

// sizes: R, C
void common(OpCase& c, double tensors, double operations) {
  c.dims = {"R", "C"};
  c.bench = {{512, 1024}, {256, 19421}};
  c.flops = [=](const Sizes& s) { return operations * static_cast<double>(s[0] * s[1]); };
  c.bytes = [=](const Sizes& s, double item) { return tensors * static_cast<double>(s[0] * s[1]) * item; };
  c.sizes = {{0, 3}, {1, 1}, {2, 3}, {5, 31}, {3, 129}, {70, 40}, {2, 2500}, {300, 17}};
  c.simt_sizes = {{0, 3}, {1, 1}, {2, 3}, {5, 31}, {3, 129}, {70, 40}, {2, 2500}};
  c.op_sizes = {{3, 4}, {2, 37}};
}

template <class X>
Wide row_sum(int64_t C, int64_t r, const X& term) {
  Wide s = 0;
  for (int64_t i = r * C; i < (r + 1) * C; ++i) s += term(i);
  return s;
}

struct Moments {
  Wide mean;
  double variance;
};

// Variants: 0 affine; 1 without weight and bias; 2 a mean of 10^4 at a deviation near 1; 3 weight alone; 4 bias alone.
const Case layernorm("layernorm", [](OpCase& c) {
  common(c, 2, 9);
  c.variants = 5;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t R = s[0], C = s[1];
    const T eps = T(1e-5);
    const int v = r.variant;
    const auto x = r.in(R * C, v == 2 ? uniform(10000 - 1.7, 10000 + 1.7) : uniform(-2, 3)), weight = r.in(C, uniform(0.5, 2)), bias = r.in(C);
    const auto y = r.out(R * C), statistics = r.out(3 * R);
    const T *w = v == 1 || v == 4 ? nullptr : weight.data, *b = v == 1 || v == 3 ? nullptr : bias.data;
    r.call([=](Stream& stream) { k::layernorm<T>(stream, x, w, b, R, C, eps, y, statistics); });

    std::vector<Moments> moments;
    for (int64_t row = 0; row < R; ++row) {
      const Wide origin = x[row * C];  // a sum of large numbers would cost even Wide the digits that are judged
      const Wide mean = origin + row_sum(C, row, [&](int64_t i) { return x[i] - origin; }) / static_cast<Wide>(C);
      const Wide square = row_sum(C, row, [&](int64_t i) { return (x[i] - mean) * (x[i] - mean); });
      moments.push_back({mean, static_cast<double>(square / static_cast<Wide>(C))});
    }
    auto at = [&](int64_t row) { return moments[static_cast<size_t>(row)]; };
    auto inverse = [&](int64_t row) { return 1 / std::sqrt(at(row).variance + eps); };
    auto h = [&](int64_t i) { return static_cast<double>(x[i] - at(i / C).mean) * inverse(i / C); };
    auto scale = [&](int64_t i) { return w ? weight[i % C] : 1.0; };
    auto shift = [&](int64_t i) { return b ? bias[i % C] : 0.0; };
    r.expect(
        y, 16, [&](int64_t i) { return h(i) * scale(i) + shift(i); }, [&](int64_t i) { return (std::abs(h(i)) + 1) * scale(i) + std::abs(shift(i)); });
    r.expect(
        statistics, 16,
        [&](int64_t i) {
          const Wide mean = at(i % R).mean;
          return static_cast<double>(i < R ? mean : i < 2 * R ? mean - static_cast<T>(mean) : inverse(i - 2 * R));
        },
        [&](int64_t i) { return i < 2 * R ? std::abs(static_cast<double>(at(i % R).mean)) / 8 + std::sqrt(at(i % R).variance) : inverse(i - 2 * R); });
  });
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0], s[1]}}, {{s[1]}, uniform(0.5, 1.5)}, {{s[1]}}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::layer_norm(x[0], x[1], x[2], 1e-3); };
  c.grad_tolerance = 3e-5;
});

// Variants: 0 all gradients; 1 over grad_y, added to what the parameters' gradients hold, no weight; 2 that of x alone; 3 none of x.
const Case layernorm_grad("layernorm_grad", [](OpCase& c) {
  common(c, 3, 14);
  c.variants = 4;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t R = s[0], C = s[1], n = R * C;
    const int v = r.variant;
    const bool add = v == 1, of_x = v != 3, of_parameters = v != 2;
    const auto x = r.in(n, uniform(-2, 3)), grad_y = r.in(n), weight = r.in(C, uniform(0.5, 2));
    const auto statistics = r.in(3 * R, [R](PhiloxSequence& d, int64_t i) {
      const double u = d.uniform();
      return i < R ? u - 0.5 : i < 2 * R ? 1e-9 * u : 0.5 + u;
    });
    const auto grad_x = add ? r.over(grad_y) : r.out(of_x ? n : 0);
    const auto grad_weight = add ? r.inout(C) : r.out(of_parameters ? C : 0), grad_bias = add ? r.inout(C) : r.out(of_parameters ? C : 0);
    const T* w = add ? nullptr : weight.data;
    T *gx = of_x ? grad_x.data : nullptr, *gw = of_parameters ? grad_weight.data : nullptr, *gb = of_parameters ? grad_bias.data : nullptr;
    r.call([=](Stream& stream) { k::layernorm_grad<T>(stream, x, grad_y, w, statistics, R, C, gx, gw, gb, add, add); });

    auto inverse = [&](int64_t i) { return statistics[2 * R + i / C]; };
    auto h = [&](int64_t i) { return (x[i] - statistics[i / C] - statistics[R + i / C]) * inverse(i); };
    auto h_size = [&](int64_t i) { return (std::abs(x[i]) + std::abs(statistics[i / C])) * inverse(i); };
    auto g = [&](int64_t i) { return grad_y[i] * (w ? weight[i % C] : 1); };
    struct Means {
      double g, gh, g_size, gh_size;
    };
    std::vector<Means> rows;
    const double count = static_cast<double>(C);
    for (int64_t row = 0; row < R; ++row)
      rows.push_back({static_cast<double>(row_sum(C, row, g)) / count, static_cast<double>(row_sum(C, row, [&](int64_t i) { return g(i) * h(i); })) / count,
                      static_cast<double>(row_sum(C, row, [&](int64_t i) { return std::abs(g(i)); })) / count,
                      static_cast<double>(row_sum(C, row, [&](int64_t i) { return std::abs(g(i)) * h_size(i); })) / count});
    auto at = [&](int64_t i) { return rows[static_cast<size_t>(i / C)]; };
    r.expect(
        grad_x, 16, [&](int64_t i) { return inverse(i) * (g(i) - at(i).g - h(i) * at(i).gh); },
        [&](int64_t i) { return inverse(i) * (std::abs(g(i)) + at(i).g_size + h_size(i) * at(i).gh_size); });
    auto over_rows = [&](int64_t column, auto term) {
      Wide t = 0;
      for (int64_t i = column; i < n; i += C) t += term(i);
      return static_cast<double>(t);
    };
    r.expect(
        grad_weight, 16, [&](int64_t j) { return over_rows(j, [&](int64_t i) { return grad_y[i] * h(i); }) + (add ? grad_weight[j] : 0); },
        [&](int64_t j) { return over_rows(j, [&](int64_t i) { return std::abs(grad_y[i]) * h_size(i); }) + (add ? std::abs(grad_weight[j]) : 0); });
    r.expect(
        grad_bias, 16, [&](int64_t j) { return over_rows(j, [&](int64_t i) { return grad_y[i]; }) + (add ? grad_bias[j] : 0); },
        [&](int64_t j) { return over_rows(j, [&](int64_t i) { return std::abs(grad_y[i]); }) + (add ? std::abs(grad_bias[j]) : 0); });
  });
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0], s[1]}}, {{s[1]}, uniform(0.5, 1.5)}, {{s[1]}}}; };
  // Twice with the same parameters, so that their gradients are added; then without.
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return ops::layer_norm(ops::layer_norm(ops::layer_norm(x[0], x[1], x[2], 1e-3), x[1], x[2], 0.1), {}, {}, 0.2);
  };
  c.grad_tolerance = 3e-5;
});

// Rows of variant 2 hold what has no softmax, or an element that outweighs all others.
Fill hard_rows(int64_t C) {
  return [C](PhiloxSequence& d, int64_t i) {
    constexpr double inf = std::numeric_limits<double>::infinity();
    const int64_t row = i / C, column = i % C;
    const double ordinary = 4 * d.uniform() - 2;
    switch (row % 6) {
      case 0:
        return -inf;
      case 1:
        return column == C / 2 ? std::nan("") : ordinary;
      case 2:
        return column == C - 1 ? inf : ordinary;
      case 3:
        return column % 2 ? -inf : ordinary;
      case 4:
        return column == 0 ? 3e38 : ordinary;
      default:
        return ordinary + 5000;
    }
  };
}

const Case softmax("softmax", [](OpCase& c) {
  common(c, 2, 5);
  c.sizes.insert(c.sizes.end(), {{3, 0}, {6, 9}});
  c.simt_sizes.insert(c.simt_sizes.end(), {{3, 0}, {6, 9}});
  c.variants = 3;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t R = s[0], C = s[1];
    const auto x = r.in(R * C, r.variant == 2 ? hard_rows(C) : uniform(-8, 8));
    const auto y = r.variant == 1 ? r.over(x) : r.out(R * C);
    r.call([=](Stream& stream) { k::softmax<T>(stream, x, y, R, C); });
    std::vector<double> largest(static_cast<size_t>(R), -std::numeric_limits<double>::infinity());
    std::vector<Wide> sum(largest.size());
    for (int64_t i = 0; i < R * C; ++i) largest[static_cast<size_t>(i / C)] = std::max(largest[static_cast<size_t>(i / C)], x[i]);
    for (int64_t i = 0; i < R * C; ++i) sum[static_cast<size_t>(i / C)] += std::exp(static_cast<Wide>(x[i]) - largest[static_cast<size_t>(i / C)]);
    // The difference from the largest is rounded before exp is taken of it.
    auto difference = [&](int64_t i) { return x[i] - largest[static_cast<size_t>(i / C)]; };
    r.expect(
        y, 12, [&](int64_t i) { return static_cast<double>(std::exp(static_cast<Wide>(difference(i))) / sum[static_cast<size_t>(i / C)]); },
        [&](int64_t i) {
          const double e = std::exp(difference(i));
          return e == 0 ? 0 : e / static_cast<double>(sum[static_cast<size_t>(i / C)]) * (1 + std::abs(difference(i)));
        });
  });
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0], s[1]}}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::softmax(x[0]); };
});

const Case softmax_grad("softmax_grad", [](OpCase& c) {
  common(c, 3, 4);
  c.sizes.push_back({3, 0});
  c.simt_sizes.push_back({3, 0});
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t R = s[0], C = s[1];
    const auto y = r.in(R * C, uniform(0, 1)), grad_y = r.in(R * C);
    const auto grad_x = r.variant == 1 ? r.over(grad_y) : r.out(R * C);
    r.call([=](Stream& stream) { k::softmax_grad<T>(stream, y, grad_y, grad_x, R, C); });
    std::vector<double> sum, size;
    for (int64_t row = 0; row < R; ++row) {
      sum.push_back(static_cast<double>(row_sum(C, row, [&](int64_t i) { return static_cast<Wide>(y[i]) * grad_y[i]; })));
      size.push_back(static_cast<double>(row_sum(C, row, [&](int64_t i) { return std::abs(y[i] * grad_y[i]); })));
    }
    r.expect(
        grad_x, 16, [&](int64_t i) { return y[i] * (grad_y[i] - sum[static_cast<size_t>(i / C)]); },
        [&](int64_t i) { return y[i] * (std::abs(grad_y[i]) + size[static_cast<size_t>(i / C)]); });
  });
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0], s[1]}}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::softmax(ops::scale(ops::softmax(x[0]), 3.0)); };
});

}  // namespace
}  // namespace panvae::cases
