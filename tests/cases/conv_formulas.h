// Elements of a convolution and its gradients by the formula of Conv1dShape, summed in f64 term by term; `magnitude`: the
// sum of the terms' magnitudes, which bounds what rounding can do.
#pragma once
#include "op_case.h"

namespace panvae::cases {

// sizes: B, C_in, L_in, C_out, K, stride, padding, dilation, and what a case has beside
inline Conv1dShape shape_of(const Sizes& s) {
  Conv1dShape c{s[0], s[1], s[2], s[3], 0, s[4], s[5], s[6], s[7]};
  c.L_out = (c.L_in + 2 * c.padding - c.dilation * (c.K - 1) - 1) / c.stride + 1;
  return c;
}

// Rounding errors of a running sum grow as the root of the number of terms if they are random; four times that is allowed.
inline double conv_units(int64_t terms) {
  return 4 + 4 * std::sqrt(static_cast<double>(terms));
}

// One output y[b, o, t] of the convolution, or the sum of its terms' magnitudes.
template <class X, class W>
double forward_at(const Conv1dShape& c, const X& x, const W& w, int64_t i, bool magnitude) {
  const int64_t b = i / (c.C_out * c.L_out), o = i / c.L_out % c.C_out, t = i % c.L_out;
  double sum = 0;
  for (int64_t in = 0; in < c.C_in; ++in)
    for (int64_t k = 0; k < c.K; ++k) {
      const int64_t u = t * c.stride - c.padding + k * c.dilation;
      if (u < 0 || u >= c.L_in) continue;
      const double term = w[(o * c.C_in + in) * c.K + k] * x[(b * c.C_in + in) * c.L_in + u];
      sum += magnitude ? std::abs(term) : term;
    }
  return sum;
}
// gx[b, in, u]: every output that read position u.
template <class Y, class W>
double grad_input_at(const Conv1dShape& c, const Y& gy, const W& w, int64_t i, bool magnitude) {
  const int64_t b = i / (c.C_in * c.L_in), in = i / c.L_in % c.C_in, u = i % c.L_in;
  double sum = 0;
  for (int64_t o = 0; o < c.C_out; ++o)
    for (int64_t t = 0; t < c.L_out; ++t)
      for (int64_t k = 0; k < c.K; ++k) {
        if (t * c.stride - c.padding + k * c.dilation != u) continue;
        const double term = w[(o * c.C_in + in) * c.K + k] * gy[(b * c.C_out + o) * c.L_out + t];
        sum += magnitude ? std::abs(term) : term;
      }
  return sum;
}
// gw[o, in, k]: every position that this weight met.
template <class X, class Y>
double grad_weight_at(const Conv1dShape& c, const X& x, const Y& gy, int64_t i, bool magnitude) {
  const int64_t o = i / (c.C_in * c.K), in = i / c.K % c.C_in, k = i % c.K;
  double sum = 0;
  for (int64_t b = 0; b < c.B; ++b)
    for (int64_t t = 0; t < c.L_out; ++t) {
      const int64_t u = t * c.stride - c.padding + k * c.dilation;
      if (u < 0 || u >= c.L_in) continue;
      const double term = gy[(b * c.C_out + o) * c.L_out + t] * x[(b * c.C_in + in) * c.L_in + u];
      sum += magnitude ? std::abs(term) : term;
    }
  return sum;
}

}  // namespace panvae::cases
