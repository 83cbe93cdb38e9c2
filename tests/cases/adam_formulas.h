// What Adam must do to an element, in f64: for its own case, for the kernel that makes the gradient too, and for the bench, which
// compares that one with the kernels it stands for.
#pragma once
#include <optional>
#include <unordered_map>
#include <utility>

#include "op_case.h"

namespace panvae::cases {

inline AdamOptions options_of(int variant) {
  if (variant == 1) return {.beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.05, .decoupled = true};
  if (variant == 2) return {.weight_decay = 0.1};
  return {};
}

inline constexpr double kRate = 3e-3;
// 1 - beta^6: what is missing of the moments after 6 steps.
inline double bias_after_6(double beta) {
  const double cube = beta * beta * beta;
  return 1 - cube * cube;
}

// Slots after 6 steps, as adam_prepare leaves them.
inline std::vector<double> slots_of(const AdamOptions& o, double scale) {
  std::vector<double> slots(adam_slots, 0.0);
  slots[adam_learning_rate] = kRate;
  slots[adam_step] = 6;
  slots[adam_gradient_scale] = scale;
  slots[adam_step_size] = kRate / bias_after_6(o.beta1);
  slots[adam_sqrt_bias2] = std::sqrt(bias_after_6(o.beta2));
  return slots;
}
inline Fill list(std::vector<double> values) {
  return [values = std::move(values)](PhiloxSequence&, int64_t i) { return values[static_cast<size_t>(i)]; };
}

// The seventh step for one element: new values, and how far rounding may move them, in units of roundoff, where the gradient
// may be off by `grad_units`.
struct AdamElement {
  double p, m, v, p_units, m_units, v_units;

  AdamElement(const AdamOptions& o, double scale, double p0, double grad, double m0, double v0, double grad_units = 0) {
    const double decay = o.decoupled ? 0 : o.weight_decay * p0, g = scale * grad + decay;
    const double bias1 = bias_after_6(o.beta1), bias2 = bias_after_6(o.beta2);
    m = o.beta1 * m0 + (1 - o.beta1) * g;
    v = o.beta2 * v0 + (1 - o.beta2) * g * g;
    const double below = std::sqrt(v / bias2) + o.eps;
    p = (o.decoupled ? 1 - kRate * o.weight_decay : 1.0) * p0 - kRate * (m / bias1) / below;
    const double m_size = o.beta1 * std::abs(m0) + (1 - o.beta1) * (std::abs(scale * grad) + std::abs(decay));
    m_units = 6 * m_size + (1 - o.beta1) * scale * grad_units;
    v_units = 10 * v + (1 - o.beta2) * (2 * std::abs(g) * scale * grad_units + scale * scale * grad_units * grad_units * roundoff<float>());
    // What the rounding of m and v costs, seen through the division.
    p_units = 6 * std::abs(p0) + kRate / bias1 / below * (24 * m_size + m_units + std::abs(m) * (v > 0 ? v_units / v : 0));
  }
};

// of(i): an AdamElement. Of each element the value is asked for, and then how far it may be off.
template <class T, class Buffer, class F>
void expect_elements(Run<T>& r, const Buffer& p, const Buffer& m, const Buffer& v, F of) {
  std::optional<AdamElement> last;
  int64_t of_last = -1;
  auto element = [&](int64_t i) -> const AdamElement& {
    if (i != of_last) last.emplace(of(i)), of_last = i;
    return *last;
  };
  r.expect(
      m, 1, [&](int64_t i) { return element(i).m; }, [&](int64_t i) { return element(i).m_units; });
  r.expect(
      v, 1, [&](int64_t i) { return element(i).v; }, [&](int64_t i) { return element(i).v_units; });
  r.expect(
      p, 1, [&](int64_t i) { return element(i).p; }, [&](int64_t i) { return element(i).p_units; });
}

// That p, m and v are those after the step with these gradients, or, where it is skipped (scale 0), those before.
template <class T, class Buffer, class Gradients>
void expect_step(Run<T>& r, const AdamOptions& o, double scale, const Buffer& p, const Gradients& grad, const Buffer& m, const Buffer& v) {
  if (scale == 0) {
    for (const auto& same : {p, m, v}) r.exactly(same, [&](int64_t i) { return same[i]; });
    return;
  }
  expect_elements(r, p, m, v, [&](int64_t i) { return AdamElement(o, scale, p[i], grad[i], m[i], v[i]); });
}

// A call of matmul_adam, sizes M, N, K, transposes (1: a, 2: b); variants are those of options_of, and a step that is skipped.
// Not `fused`: the product, the sum of its squares and adam, one after the other.
template <class T>
void matmul_adam_call(Run<T>& r, const Sizes& s, MathMode mode, bool fused) {
  const int64_t M = s[0], N = s[1], K = s[2];
  const bool ta = s[3] & 1, tb = s[3] & 2;
  const AdamOptions o = options_of(r.variant);
  const double scale = r.variant == 3 ? 0 : r.variant == 1 ? T(0.5) : 1, norm_before = 0.75;
  const auto a = r.in(M * K), b = r.in(K * N), p = r.inout(M * N), m = r.inout(M * N), v = r.inout(M * N, uniform(0.5, 1));
  std::vector<double> before = slots_of(o, scale);
  before[adam_norm] = norm_before;
  const auto slots = fused ? r.template inout<double>(adam_slots, list(before)) : r.template in<double>(adam_slots, list(before));
  const auto grad = r.out(fused ? 0 : M * N);
  const auto sum = r.template out<double>(fused ? 0 : 1);
  r.call([=](Stream& stream) {
    const MathMode outside = std::exchange(stream.math, mode);
    if (fused) {
      k::matmul_adam<T>(stream, a, ta, b, tb, p, m, v, M, N, K, slots, o);
    } else {
      k::matmul<T>(stream, a, ta, b, tb, grad, M, N, K, Epilogue<T>{});
      k::sum_squares<T>(stream, grad, sum, M * N);
      k::adam<T>(stream, p, grad, m, v, M * N, slots, o);
    }
    stream.math = outside;
  });
  if (fused && (scale == 0 || M * N == 0)) {
    for (const auto& same : {p, m, v, grad}) r.exactly(same, [&](int64_t i) { return same[i]; });
    for (const auto& same : {slots, sum}) r.exactly(same, [&](int64_t i) { return before[static_cast<size_t>(i)]; });
    return;
  }
  const OperandRounding rounding = operand_rounding(r.stream, mode);
  const std::vector<double> left = rounded(a.values(), rounding.mode), right = rounded(b.values(), rounding.mode);
  const double units = 4 + 4 * std::sqrt(static_cast<double>(K)) + rounding.units;
  auto factor_a = [&](int64_t i, int64_t k) { return left[static_cast<size_t>(ta ? k * M + i : i * K + k)]; };
  auto factor_b = [&](int64_t k, int64_t j) { return right[static_cast<size_t>(tb ? j * K + k : k * N + j)]; };
  struct Gradient {
    double value, size;  // and the sum of its terms' magnitudes
  };
  std::unordered_map<int64_t, Gradient> known_gradients;
  auto gradient = [&](int64_t at) {
    const auto [known, is_new] = known_gradients.try_emplace(at);
    if (!is_new) return known->second;
    // Pointers and sums of its own: under the thread sanitizer every other variable counts as memory that is read.
    const int64_t i = at / N, j = at % N, next_a = ta ? M : 1, next_b = tb ? 1 : N;
    const double *x = left.data() + (ta ? i : i * K), *y = right.data() + (tb ? j * K : j);
    Gradient g{0, 0};
    for (int64_t k = 0, terms = K; k < terms; ++k) {
      const double term = x[k * next_a] * y[k * next_b];
      g.value += term;
      g.size += std::abs(term);
    }
    return known->second = g;
  };
  expect_elements(r, p, m, v, [&](int64_t i) {
    const Gradient g = gradient(i);
    return AdamElement(o, scale, p[i], g.value, m[i], v[i], units * g.size);
  });
  r.expect(
      grad, units, [&](int64_t i) { return gradient(i).value; }, [&](int64_t i) { return gradient(i).size; });
  // |op(a) op(b)|^2, and the norm of what each element's terms add up to without their signs or no less than that. Where the product is
  // much work, from the inner products of the factors' rows: |op(a)| |op(b)| is the bound then.
  std::optional<Gradient> known_squares;
  auto squares = [&] {
    if (known_squares) return *known_squares;
    double total = 0, size_a = 0, size_b = 0;
    if (2 * M * N < (K + 1) * (M + N)) {
      double size = 0;
      for (int64_t i = 0; i < M * N; ++i) {
        const Gradient g = gradient(i);
        total += g.value * g.value;
        size += g.size * g.size;
      }
      return *(known_squares = Gradient{total, std::sqrt(size)});
    }
    for (int64_t k = 0; k < K; ++k)
      for (int64_t l = 0; l <= k; ++l) {
        double of_a = 0, of_b = 0;
        for (int64_t i = 0; i < M; ++i) of_a += factor_a(i, k) * factor_a(i, l);
        for (int64_t j = 0; j < N; ++j) of_b += factor_b(k, j) * factor_b(l, j);
        total += (k == l ? 1 : 2) * of_a * of_b;
        if (k == l) size_a += of_a, size_b += of_b;
      }
    return *(known_squares = Gradient{total, std::sqrt(size_a * size_b)});
  };
  double norm_units = 0;
  auto joined = [&](double norm) {
    const Gradient g = squares();
    const double after = std::sqrt(norm * norm + g.value);
    norm_units = 1e4 * after + units * g.size * roundoff<T>() / roundoff<double>();
    return after;
  };
  r.expect(
      slots, 1, [&](int64_t i) { return i == adam_norm ? joined(norm_before) : before[static_cast<size_t>(i)]; },
      [&](int64_t i) { return i == adam_norm ? norm_units : 0.0; });
  r.expect(
      sum, 1, [&](int64_t) { return std::pow(joined(0), 2); }, [&](int64_t) { return 2 * norm_units * joined(0); });
}

}  // namespace panvae::cases
