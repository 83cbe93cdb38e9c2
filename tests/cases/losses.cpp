// Losses of one number, with their gradients.
#include "engine/ops/losses.h"

#include <algorithm>

#include "engine/ops/arithmetic.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

double n_of(const Sizes& s) {
  return static_cast<double>(s[0]);
}

// What both means over elements share. 2048 elements are a stretch.
void mean_loss(OpCase& c, double flops) {
  c.dims = {"N"};
  c.sizes = {{0}, {1}, {3}, {31}, {257}, {2048}, {2049}, {40001}};  // the mean of nothing is NaN
  c.card_sizes = {{520001}, {2700001}};                             // the most blocks of short stretches; more blocks than a card has at once
  c.variants = 2;
  c.op_sizes = small_op_sizes();
  c.flops = [=](const Sizes& s) { return flops * n_of(s); };
  c.bytes = [](const Sizes& s, double item) { return 3 * n_of(s) * item; };
}

const Case mse("mse", [](OpCase& c) {
  mean_loss(c, 5);
  c.bench = {{256 * 512}, {256 * 19421}};
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t n = s[0];
    const auto x = r.in(n, uniform(-2, 2)), target = r.in(n, uniform(-2, 2));
    const auto loss = r.out(1), grad_x = r.variant == 0 ? r.out(n) : r.over(x);
    r.call([=](Stream& stream) { k::mse<T>(stream, x, target, n, loss, grad_x); });
    long double sum = 0;  // wider than what is judged
    for (int64_t i = 0; i < n; ++i) sum += static_cast<long double>(x[i] - target[i]) * (x[i] - target[i]);
    r.expect(loss, 24, [&](int64_t) { return static_cast<double>(sum / n); });
    r.expect(grad_x, 4, [&](int64_t i) { return 2 * (x[i] - target[i]) / static_cast<double>(n); });
  });
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0]}}, {{s[0]}}}; };
  // Both inputs learn; scaled afterwards, and of one tensor with itself it is 0.
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::add(ops::scale(ops::mse(x[0], x[1]), 3), ops::mse(x[1], x[1])); };
});

// Logits beyond the range of exp, both zeros, and ordinary ones.
Fill logits() {
  return [](PhiloxSequence& draw, int64_t i) {
    const double list[] = {0.0, -0.0, 90.0, -90.0, 103.5, -103.5, 1000.0, -1000.0, 1e-6, -1e-6, 17.0, -17.0};
    const double ordinary = 12 * draw.uniform() - 6;
    return i % 4 == 3 ? list[i / 4 % 12] : ordinary;
  };
}
// Hard labels and soft ones.
Fill labels() {
  return [](PhiloxSequence& draw, int64_t i) {
    const double soft = draw.uniform();
    return i % 3 == 0 ? soft : static_cast<double>(i % 2);
  };
}

const Case bce_with_logits("bce_with_logits", [](OpCase& c) {
  mean_loss(c, 40);
  c.bench = {{256}, {65536}};
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t n = s[0];
    // Variant 1, in place: logits at the ends, whose denormal numbers are slow.
    const auto x = r.in(n, r.variant == 0 ? uniform(-6, 6) : logits()), target = r.in(n, labels());
    const auto loss = r.out(1), grad_x = r.variant == 0 ? r.out(n) : r.over(x);
    r.call([=](Stream& stream) { k::bce_with_logits<T>(stream, x, target, n, loss, grad_x); });
    long double sum = 0, size = 0;
    for (int64_t i = 0; i < n; ++i) {
      // -t log p - (1 - t) log(1 - p), as cross-entropy is defined, by the logarithms of both probabilities
      const long double log_p = -std::log1p(std::exp(-static_cast<long double>(x[i]))), log_q = -std::log1p(std::exp(static_cast<long double>(x[i])));
      sum -= target[i] * log_p + (1 - target[i]) * log_q;
      size += std::abs(x[i]) + std::abs(x[i] * target[i]) + std::log1p(std::exp(-std::abs(x[i])));
    }
    r.expect(
        loss, 24, [&](int64_t) { return static_cast<double>(sum / n); }, [&](int64_t) { return static_cast<double>(size / n); });
    // p and t may cancel.
    auto p = [&](int64_t i) { return 1 / (1 + std::exp(-x[i])); };
    r.expect(
        grad_x, 8, [&](int64_t i) { return (p(i) - target[i]) / static_cast<double>(n); },
        [&](int64_t i) { return (p(i) + target[i]) / static_cast<double>(n); });
  });
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0]}, uniform(-4, 4)}, {{s[0]}, labels(), false}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::scale(ops::bce_with_logits(x[0], x[1]), 3); };
});

// ---- triplet
struct Rows {
  int64_t anchor, positive, negative;
};
struct Distances {
  double positive, negative, loss;  // loss before it is cut at 0
};
template <class X, class Y>
Distances distances(const X& x, const Y& y, Rows t, int64_t D, double margin) {
  auto distance = [&](int64_t row) {
    double s = 0;
    for (int64_t c = 0; c < D; ++c) s += (x[t.anchor * D + c] - y[row * D + c]) * (x[t.anchor * D + c] - y[row * D + c]);
    return std::sqrt(s + 1e-12);
  };
  const double p = distance(t.positive), n = distance(t.negative);
  return {p, n, p - n + margin};
}

// sizes: T, N, M, D, and the case: 0 usual; 1 y is x, with one gradient; 2 only x is wanted, 3 only y, 4 none; 5 all
// triplets name the same rows. Rows are drawn from the lower two thirds, so that some have no triplet.
const Case triplet("triplet", [](OpCase& c) {
  c.dims = {"T", "N", "M", "D"};
  c.bench = {{512, 512, 512, 512, 0}};
  c.simt_sizes = {{0, 3, 4, 5, 0},    {1, 1, 1, 1, 0},      {1, 2, 3, 5, 0},      {3, 4, 2, 0, 0},      {17, 9, 12, 33, 0}, {40, 300, 7, 257, 0},
                  {33, 20, 20, 9, 1}, {33, 20, 10, 300, 2}, {33, 20, 10, 33, 3},  {5, 6, 7, 8, 4},      {70, 3, 4, 31, 5},  {100, 1, 1, 2, 5},
                  {11, 5, 5, 512, 0}, {64, 64, 64, 64, 0},  {200, 50, 20, 40, 5}, {700, 300, 300, 1, 1}};
  c.sizes = c.simt_sizes;
  c.sizes.insert(c.sizes.end(), {{1500, 2000, 70000, 3, 0}, {2000, 300, 300, 4, 1}, {700, 500, 20, 500, 5}});
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t count = s[0], N = s[1], M = s[2], D = s[3], kind = s[4];
    const double margin = T(0.3);
    const int64_t x_rows = kind == 5 ? 1 : N - N / 3, y_rows = kind == 5 ? 1 : M - M / 3;
    const auto x = r.in(N * D), y = kind == 1 ? x : r.in(M * D);
    const auto anchors = r.template in<int64_t>(count, indices(x_rows)), positives = r.template in<int64_t>(count, indices(y_rows)),
               negatives = r.template in<int64_t>(count, indices(y_rows));
    const auto loss = r.out(1);
    const bool for_x = kind != 3 && kind != 4, for_y = kind != 2 && kind != 4;
    const auto grad_x = r.out(for_x ? N * D : 0);
    const auto grad_y = kind == 1 ? grad_x : r.out(for_y ? M * D : 0);
    T *gx = for_x ? grad_x.data : nullptr, *gy = for_y ? grad_y.data : nullptr;
    r.call([=](Stream& stream) { k::triplet<T>(stream, x, y, anchors, positives, negatives, N, M, D, count, T(margin), loss, gx, gy); });

    double sum = 0, size = 0;
    std::vector<double> of_x(static_cast<size_t>(N * D)), of_y(static_cast<size_t>(M * D)), size_x(of_x.size()), size_y(of_y.size());
    for (int64_t t = 0; t < count; ++t) {
      const Rows rows{static_cast<int64_t>(anchors[t]), static_cast<int64_t>(positives[t]), static_cast<int64_t>(negatives[t])};
      const Distances d = distances(x, y, rows, D, margin);
      size += (d.positive + d.negative + margin) / static_cast<double>(count);
      if (d.loss < 0) continue;
      sum += d.loss / static_cast<double>(count);
      for (int64_t j = 0; j < D; ++j) {
        const double to_p = (x[rows.anchor * D + j] - y[rows.positive * D + j]) / (d.positive * static_cast<double>(count)),
                     to_n = (x[rows.anchor * D + j] - y[rows.negative * D + j]) / (d.negative * static_cast<double>(count));
        auto add = [j, D](std::vector<double>& g, std::vector<double>& magnitude, int64_t row, double value, double large) {
          g[static_cast<size_t>(row * D + j)] += value;
          magnitude[static_cast<size_t>(row * D + j)] += large;
        };
        add(of_x, size_x, rows.anchor, to_p - to_n, std::abs(to_p) + std::abs(to_n));
        std::vector<double>&of = kind == 1 ? of_x : of_y, &size_of = kind == 1 ? size_x : size_y;
        add(of, size_of, rows.positive, -to_p, std::abs(to_p));
        add(of, size_of, rows.negative, to_n, std::abs(to_n));
      }
    }
    r.expect(
        loss, 24, [&](int64_t) { return count == 0 ? std::nan("") : sum; }, [&](int64_t) { return size; });
    r.expect(
        grad_x, 48, [&](int64_t i) { return of_x[static_cast<size_t>(i)]; }, [&](int64_t i) { return size_x[static_cast<size_t>(i)]; });
    if (kind != 1)
      r.expect(
          grad_y, 48, [&](int64_t i) { return of_y[static_cast<size_t>(i)]; }, [&](int64_t i) { return size_y[static_cast<size_t>(i)]; });
  });
  c.flops = [](const Sizes& s) { return 20 * static_cast<double>(s[0] * s[3]); };
  c.bytes = [](const Sizes& s, double item) {
    const int64_t count = s[0], N = s[1], M = s[2], kind = s[4];
    const int64_t read = kind == 1 ? std::min(3 * count, N) : std::min(count, N) + std::min(2 * count, M);
    const int64_t written = (kind == 3 || kind == 4 ? 0 : N) + (kind == 0 || kind == 3 || kind == 5 ? M : 0);
    return item * static_cast<double>((read + written) * s[3]) + 24 * static_cast<double>(count);
  };
  // Rows far enough apart that no hinge or distance is near its kink.
  c.op_sizes = {{4, 3, 4, 2, 0}, {9, 4, 4, 7, 1}, {5, 3, 6, 3, 0}};
  c.op_inputs = [](const Sizes& s) {
    auto apart = [D = s[3]](PhiloxSequence& d, int64_t i) { return static_cast<double>(i / D * (i / D)) * (i % D == 0) + 0.1 * d.uniform(); };
    auto below = [](PhiloxSequence& d, int64_t i) { return -1.5 - static_cast<double>(i % 3) + 0.1 * d.uniform(); };
    return std::vector<OpInput>{{{s[1], s[3]}, apart},
                                {{s[2], s[3]}, below},
                                {{s[0]}, indices(s[1]), false, true},
                                {{s[0]}, indices(s[2]), false, true},
                                {{s[0]}, indices(s[2]), false, true}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    const Tensor apart = ops::triplet(x[0], x[1], x[2], x[3], x[4], 0.7);
    if (s[4] == 0) return ops::scale(apart, 2);
    return ops::add(apart, ops::triplet(x[0], x[0], x[2], x[3], x[4], 0.7));
  };
});

}  // namespace
}  // namespace panvae::cases
