#include "eval/distributions.h"

#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace panvae::eval {

namespace {

constexpr double kSeriesFrom = 16;  // the asymptotic series below are right to the last digits from here

// Gamma(a + 1/2) / Gamma(a): the series in 1/a from a >= 32, reached by Gamma(x + 1) = x Gamma(x).
double gamma_ratio_half(double a) {
  double factor = 1;
  for (; a < 32; a += 1) factor *= a / (a + 0.5);
  const double r = 1 / a;
  const double series =
      1 + r * (-1.0 / 8 + r * (1.0 / 128 + r * (5.0 / 1024 + r * (-21.0 / 32768 + r * (-399.0 / 262144 + r * (869.0 / 4194304 + r * (39325.0 / 33554432)))))));
  return factor * std::sqrt(a) * series;
}

// 1 / B(a, 1/2)
double inverse_beta_half(double a) {
  return gamma_ratio_half(a) / std::sqrt(M_PI);
}

constexpr int kTerms = 9;

// The even coefficients of (sinh(h) / h)^(-1/2) with h = s/2, as a series in s^2. From f = g^(-1/2) follows
// g f' = -1/2 g' f, which gives the coefficients one by one.
constexpr std::array<double, kTerms> sinh_series() {
  std::array<double, kTerms> g{}, f{};
  double factorial = 1;  // (2n + 1)! 4^n
  for (int n = 0; n < kTerms; ++n) {
    if (n > 0) factorial *= 4.0 * (2 * n) * (2 * n + 1);
    g[static_cast<size_t>(n)] = 1 / factorial;
  }
  f[0] = 1;
  for (int n = 1; n < kTerms; ++n) {
    double sum = 0;
    for (int k = 1; k <= n; ++k) sum += (-0.5 * k - (n - k)) * g[static_cast<size_t>(k)] * f[static_cast<size_t>(n - k)];
    f[static_cast<size_t>(n)] = sum / n;
  }
  return f;
}

double tail_by_series(double a, double s) {
  constexpr std::array<double, kTerms> c = sinh_series();
  const double t = a - 0.25, u = t * s;
  // gamma = Gamma(k, u) / T^k and power = u^k e^-u / T^k for k = 1/2, 3/2, ...; Gamma(k + 1, u) = k Gamma(k, u) + u^k e^-u.
  double gamma = std::sqrt(M_PI / t) * std::erfc(std::sqrt(u)), power = std::sqrt(s) * std::exp(-u), sum = gamma, k = 0.5;
  for (int n = 1; n < kTerms; ++n) {
    for (int step = 0; step < 2; ++step) {
      gamma = (k * gamma + power) / t;
      power *= s;
      k += 1;
    }
    const double term = c[static_cast<size_t>(n)] * gamma;
    sum += term;
    if (std::abs(term) <= 1e-17 * sum) break;
  }
  return inverse_beta_half(a) * sum;
}

// The continued fraction of I_x(a, b) a B(a, b) / (x^a (1 - x)^b), which converges fast for x < (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double tiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  if (std::abs(d) < tiny) d = tiny;
  d = 1 / d;
  double value = d;
  for (int m = 1; m < 10'000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double change = 1;
    for (const double term : {even, odd}) {
      d = 1 + term * d;
      if (std::abs(d) < tiny) d = tiny;
      c = 1 + term / c;
      if (std::abs(c) < tiny) c = tiny;
      d = 1 / d;
      change = c * d;
      value *= change;
    }
    if (std::abs(change - 1) < 1e-16) break;
  }
  return value;
}

}  // namespace

double digamma(double x) {
  PV_CHECK(x > 0, "digamma: {} is not positive", x);
  double shift = 0;
  for (; x < kSeriesFrom; x += 1) shift -= 1 / x;
  const double r = 1 / (x * x);
  const double series = r * (1.0 / 12 - r * (1.0 / 120 - r * (1.0 / 252 - r * (1.0 / 240 - r * (1.0 / 132 - r * (691.0 / 32760 - r / 12))))));
  return shift + (std::log(x) - 0.5 / x - series);
}

double trigamma(double x) {
  PV_CHECK(x > 0, "trigamma: {} is not positive", x);
  double shift = 0;
  for (; x < kSeriesFrom; x += 1) shift += 1 / (x * x);
  const double r = 1 / (x * x);
  const double series = r * (1.0 / 6 - r * (1.0 / 30 - r * (1.0 / 42 - r * (1.0 / 30 - r * (5.0 / 66 - r * (691.0 / 2730 - r * 7 / 6))))));
  return shift + (1 + (0.5 / x + series)) / x;
}

double tetragamma(double x) {
  PV_CHECK(x > 0, "tetragamma: {} is not positive", x);
  double shift = 0;
  for (; x < kSeriesFrom; x += 1) shift -= 2 / (x * x * x);
  const double r = 1 / (x * x);
  const double series = r * (0.5 - r * (1.0 / 6 - r * (1.0 / 6 - r * (3.0 / 10 - r * (5.0 / 6 - r * (691.0 / 210 - r * 35 / 2))))));
  return shift - r * (1 + (1 / x + series));
}

double trigamma_inverse(double y) {
  PV_CHECK(y > 0 && std::isfinite(y), "trigamma_inverse: {} is not positive and finite", y);
  // Where trigamma is 1/x and 1/x^2 to the last digit.
  if (y < 1e-16) return 1 / y;
  if (y > 1e16) return 1 / std::sqrt(y);
  double x = 0.5 + 1 / y;
  for (int round = 0; round < 100; ++round) {
    const double value = trigamma(x), step = value * (1 - value / y) / tetragamma(x);
    x += step;
    if (std::abs(step) <= 1e-15 * x) break;
  }
  return x;
}

double normal_two_sided(double z) {
  return std::erfc(std::abs(z) * M_SQRT1_2);
}

double student_t_two_sided(double t, double df) {
  PV_CHECK(!(df <= 0) && !std::isnan(df), "student_t_two_sided: {} degrees of freedom", df);
  if (std::isnan(t)) return t;
  t = std::abs(t);
  if (std::isinf(t)) return 0;
  if (t == 0) return 1;
  if (std::isinf(df)) return normal_two_sided(t);
  const double a = 0.5 * df;
  // s = log(1 + t^2 / df); for large t in logarithms, as t^2 may overflow.
  const double ratio = t / std::sqrt(df), s = ratio > 1e8 ? 2 * std::log(t) - std::log(df) : std::log1p(ratio * ratio);
  if (df > 200 && s < 0.5) return tail_by_series(a, s);
  const double x = 1 / (1 + ratio * ratio), y = ratio > 1e8 ? 1 : ratio * ratio / (1 + ratio * ratio);  // y = 1 - x
  const double front = std::exp(-a * s) * std::sqrt(y) * inverse_beta_half(a);
  if (x < (a + 1) / (a + 2.5)) return front * beta_fraction(a, 0.5, x) / a;
  return 1 - front * beta_fraction(0.5, a, y) / 0.5;
}

double chi_squared_upper(double x, double df) {
  PV_CHECK(df > 0, "chi_squared_upper: {} degrees of freedom", df);
  if (std::isnan(x)) return x;
  if (!(x > 0)) return 1;
  if (std::isinf(x)) return 0;
  const double a = df / 2, u = x / 2;
  const double density = std::exp(a * std::log(u) - u - std::lgamma(a));  // u^a e^-u / Gamma(a)
  if (u < a + 1) {
    double term = 1 / a, sum = term;
    for (double k = a + 1; term > sum * 1e-17; k += 1) sum += term *= u / k;
    return 1 - density * sum;
  }
  constexpr double tiny = 1e-300;
  double b = u + 1 - a, c = 1 / tiny, d = 1 / b, fraction = d;
  for (int k = 1; k < 100'000; ++k) {
    const double n = -k * (k - a);
    b += 2;
    d = n * d + b, d = 1 / (std::abs(d) < tiny ? tiny : d);
    c = b + n / c, c = std::abs(c) < tiny ? tiny : c;
    fraction *= d * c;
    if (std::abs(d * c - 1) < 1e-16) break;
  }
  return density * fraction;
}

double kolmogorov_upper(double t) {
  if (std::isnan(t)) return t;
  if (!(t > 0)) return 1;
  double sum = 0;
  if (t < 1) {
    for (int k = 1; k <= 9; k += 2) sum += std::exp(-k * k * M_PI * M_PI / (8 * t * t));
    return 1 - std::sqrt(2 * M_PI) / t * sum;
  }
  for (int k = 1; k <= 8; ++k) sum += (k % 2 ? 2 : -2) * std::exp(-2.0 * k * k * t * t);
  return sum;
}

}  // namespace panvae::eval
