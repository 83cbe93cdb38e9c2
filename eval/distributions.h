// The functions of mathematical statistics that the tests of eval need, in doubles, accurate in the far tails: a p-value
// of 1e-200 has twelve right digits, as the ranking of features by it needs.
#pragma once

namespace panvae::eval {

// Derivatives of log gamma, x > 0: recurrence up to x >= 16, then the asymptotic series (Abramowitz and Stegun 6.3.18,
// 6.4.12, 6.4.13). Relative error below 1e-14 (digamma: near its zero at 1.46 absolute).
double digamma(double x);
double trigamma(double x);
double tetragamma(double x);
// The x with trigamma(x) = y, y > 0, by Newton's method on 1 / trigamma, which is nearly linear, from 1/2 + 1/y.
double trigamma_inverse(double y);

// P[|Z| >= |z|] of a standard normal.
double normal_two_sided(double z);

// P[|T| >= |t|] of Student's t with df > 0 degrees of freedom, which need not be whole and may be infinite (a normal).
// It is I_x(a, 1/2), x = df / (df + t^2), a = df / 2, the regularised incomplete beta function, computed as
//   df > 200 and s = -log x < 1/2: with T = a - 1/4,
//     I = 1/B(a, 1/2) * sum_n c_n Gamma(2n + 1/2, T s) / T^(2n + 1/2), c_n the series of (2 sinh(s/2))^(-1/2) s^(1/2)
//     (DiDonato and Morris, ACM TOMS 18 (1992), section 9), all terms through erfc by recurrence;
//   else the continued fraction of Abramowitz and Stegun 26.5.8 (modified Lentz), or one minus it on the other side.
// Relative error below 1e-12 down to 1e-300, below which it may be 0. t = NaN gives NaN; infinite t gives 0.
double student_t_two_sided(double t, double df);

// P[X >= x] of a chi-squared variable with df > 0 degrees of freedom: Q(df / 2, x / 2), the regularised upper incomplete gamma
// function, by its series below df / 2 + 1 and by its continued fraction (modified Lentz) above (Abramowitz and Stegun 6.5.29,
// 6.5.31). Relative error below 1e-11 up to df = 1e4. 1 for x <= 0, NaN for NaN.
double chi_squared_upper(double x, double df);

// Q(t) = 2 sum_{k >= 1} (-1)^(k-1) exp(-2 k^2 t^2), the limiting law of Kolmogorov's statistic; below t = 1 by its theta
// transform, 1 - sqrt(2 pi) / t sum_{k >= 1} exp(-(2k - 1)^2 pi^2 / (8 t^2)). 1 for t <= 0, NaN for NaN.
double kolmogorov_upper(double t);

}  // namespace panvae::eval
