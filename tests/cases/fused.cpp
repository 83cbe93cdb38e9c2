// Ops that do the work of several: against the formulas of what they equal, and one after the other for the bench.
#include "engine/ops/fused.h"

#include "base/threads.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

constexpr double kSlope = 0.125;

// a [rows, K] by b [columns, K], transposed, and the size of the terms.
struct Product {
  std::vector<double> sum, size;  // [rows, columns]
};
Product product(const std::vector<double>& a, const std::vector<double>& b, int64_t rows, int64_t columns, int64_t K) {
  Product p{std::vector<double>(static_cast<size_t>(rows * columns)), std::vector<double>(static_cast<size_t>(rows * columns))};
  parallel_chunks(rows, 1, [&](int64_t row, int64_t) {
    for (int64_t column = 0; column < columns; ++column) {
      const double *x = a.data() + row * K, *y = b.data() + column * K;
      double sum = 0, size = 0;
#pragma omp simd reduction(+ : sum, size)
      for (int64_t k = 0; k < K; ++k) sum += x[k] * y[k], size += std::abs(x[k] * y[k]);
      const size_t at = static_cast<size_t>(row * columns + column);
      p.sum[at] = sum, p.size[at] = size;
    }
  });
  return p;
}
double product_units(int64_t K) {
  return 8 + 4 * std::sqrt(static_cast<double>(K));
}

Tensor constant(Context& context, int64_t n, DType dtype, double value) {
  Tensor t = Tensor::empty(context, {n}, dtype);
  dispatch(dtype, "fill", [&]<class T>(T) { k::fill<T>(context.stream(), t.data<T>(), n, static_cast<T>(value)); });
  return t;
}

// sizes: M, N, K, activation. Variants: 0 all; 1 no bias and no affine map; 2 a bias of 1000, far from the deviations.
template <class T>
void normed(Run<T>& r, const Sizes& s, bool fused) {
  const int64_t M = s[0], N = s[1], K = s[2];
  const auto activation = static_cast<Activation>(s[3]);
  const T eps = T(1e-5), momentum = T(0.1);
  const bool plain = r.variant == 1;
  const auto x = r.in(M * K), w = r.in(N * K), bias = r.in(N, r.variant == 2 ? uniform(999, 1001) : uniform(-1, 1));
  const auto weight = r.in(N, uniform(0.5, 2)), shift = r.in(N);
  const auto running_mean = r.inout(N), running_var = r.inout(N, uniform(0.5, 1.5));
  const auto h = r.out(M * N), y = r.out(M * N), statistics = r.out(3 * N);
  Epilogue<T> e;
  e.bias = plain ? nullptr : bias.data;
  e.activation = activation;
  e.slope = T(kSlope);
  const T *of_weight = plain ? nullptr : weight.data, *of_shift = plain ? nullptr : shift.data;
  if (fused) {
    r.call([=](Stream& stream) {
      k::linear_batchnorm<T>(stream, x, w, e, of_weight, of_shift, M, N, K, eps, momentum, running_mean, running_var, h, y, statistics);
    });
  } else {
    r.call([=](Stream& stream) {
      k::matmul<T>(stream, x, false, w, true, h, M, N, K, e);
      k::batchnorm_train<T>(stream, h, of_weight, of_shift, M, N, 1, eps, momentum, running_mean, running_var, y, statistics);
    });
  }

  const Product p = product(x.values(), w.values(), M, N, K);
  auto value = [&](int64_t i) {
    const double v = p.sum[static_cast<size_t>(i)] + (plain ? 0 : bias[i % N]);
    return v < 0 ? v * (activation == Activation::relu ? 0 : activation == Activation::leaky_relu ? kSlope : 1) : v;
  };
  auto size = [&](int64_t i) { return p.size[static_cast<size_t>(i)] + (plain ? 0 : std::abs(bias[i % N])); };
  struct Column {
    double mean = 0, variance = 0, size = 0;
  };
  std::vector<Column> columns(static_cast<size_t>(N));
  for (int64_t c = 0; c < N; ++c) {
    Column& q = columns[static_cast<size_t>(c)];
    for (int64_t i = c; i < M * N; i += N) q.mean += value(i) / static_cast<double>(M), q.size = std::max(q.size, size(i));
    for (int64_t i = c; i < M * N; i += N) q.variance += (value(i) - q.mean) * (value(i) - q.mean) / static_cast<double>(M);
  }
  auto at = [&](int64_t i) { return columns[static_cast<size_t>(i % N)]; };
  auto inverse = [&](const Column& q) { return 1 / std::sqrt(q.variance + eps); };
  // How many deviations the terms of a product are large: so much more of their rounding is in a normalised number.
  auto strain = [&](const Column& q) { return 1 + q.size * inverse(q); };
  const double units = product_units(K), part = momentum;
  r.expect(h, units, value, size);
  r.expect(
      y, units, [&](int64_t i) { return (value(i) - at(i).mean) * inverse(at(i)) * (plain ? 1 : weight[i % N]) + (plain ? 0 : shift[i % N]); },
      [&](int64_t i) {
        const double normal = std::abs(value(i) - at(i).mean) * inverse(at(i));
        return (normal + 1) * strain(at(i)) * (plain ? 1 : weight[i % N]) + (plain ? 0 : std::abs(shift[i % N]));
      });
  r.expect(
      statistics, units,
      [&](int64_t i) { return i < N       ? at(i).mean
                              : i < 2 * N ? at(i).mean - static_cast<double>(static_cast<T>(at(i).mean))
                                          : inverse(at(i)); },
      [&](int64_t i) { return i < 2 * N ? at(i).size : inverse(at(i)) * strain(at(i)); });
  r.expect(
      running_mean, units, [&](int64_t i) { return (1 - part) * running_mean[i] + part * at(i).mean; },
      [&](int64_t i) { return std::abs(running_mean[i]) + at(i).size; });
  const double count = static_cast<double>(M), unbiased = count / (count - 1);
  r.expect(
      running_var, units, [&](int64_t i) { return (1 - part) * running_var[i] + part * at(i).variance * unbiased; },
      [&](int64_t i) { return running_var[i] + at(i).variance + std::sqrt(at(i).variance) * at(i).size + roundoff<T>() * units * at(i).size * at(i).size; });
}

const Case linear_batchnorm("linear_batchnorm", [](OpCase& c) {
  constexpr int64_t none = 0, relu = 1, leaky = 2;
  c.sizes = {{2, 1, 1, none},     {3, 5, 4, leaky}, {17, 33, 65, relu}, {33, 300, 7, leaky}, {129, 130, 67, leaky}, {5, 7, 2100, none},
             {300, 3, 40, leaky}, {2, 0, 3, none},  {4, 5, 0, relu},    {64, 64, 16, none},  {600, 20, 9, leaky},   {70, 513, 12, relu}};
  c.simt_sizes = {{2, 1, 1, none},    {3, 5, 4, leaky},     {17, 33, 65, relu}, {129, 130, 67, leaky},
                  {5, 7, 2100, none}, {70, 3, 1100, leaky}, {2, 0, 3, none},    {4, 5, 0, relu}};
  c.variants = 3;
  c.body([](auto& r, const Sizes& s) { normed(r, s, true); });
  c.unfused([](auto& r, const Sizes& s) { normed(r, s, false); });
  c.dims = {"M", "N", "K"};
  c.label = [](const Sizes& s) {
    const char* kinds[] = {"bias", "bias_relu", "bias_leaky"};
    return fmt::format("M{}xN{}xK{}/{}", s[0], s[1], s[2], kinds[s[3]]);
  };
  // The block VAE of ATAC.
  for (int64_t B : {64, 256})
    for (const auto& [in, out] : {std::pair<int64_t, int64_t>{5000, 2048}, {2048, 1024}, {1024, 512}, {512, 1024}, {1024, 2048}})
      c.bench.push_back({B, out, in, leaky});
  auto operands = [](const Sizes& s) { return static_cast<double>(s[0] * s[2] + s[1] * s[2]); };
  auto outputs = [](const Sizes& s) { return static_cast<double>(s[0] * s[1]); };
  c.flops = [=](const Sizes& s) { return outputs(s) * (2 * static_cast<double>(s[2]) + 11); };
  c.bytes = [=](const Sizes& s, double item) { return item * (operands(s) + 2 * outputs(s)); };
  c.unfused_bytes = [=](const Sizes& s, double item) { return item * (operands(s) + 3 * outputs(s)); };
  // Rows of one sign and then the other keep away from kinks, and give the bias a gradient, which without an activation is 0.
  c.op_sizes = {{3, 2, 2, relu}, {5, 4, 3, relu}, {5, 4, 3, leaky}, {70, 6, 3, leaky}};
  c.op_inputs = [](const Sizes& s) {
    const int64_t K = s[2];
    auto rows = [K](PhiloxSequence& d, int64_t i) { return (i / K % 2 ? -1 : 1) * (0.5 + 0.5 * d.uniform()); };
    return std::vector<OpInput>{{{s[0], s[2]}, rows}, {{s[1], s[2]}, uniform(0.5, 1)}, {{s[1]}, uniform(-0.1, 0.1)}, {{s[1]}, uniform(0.5, 1.5)}, {{s[1]}}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    Context& context = x[0].context();
    return ops::linear_batch_norm(x[0], x[1], x[2], static_cast<Activation>(s[3]), 0.2, x[3], x[4], constant(context, s[1], x[0].dtype(), 0.25),
                                  constant(context, s[1], x[0].dtype(), 0.5), 0.1, 1e-2);
  };
  c.grad_tolerance = 1e-4;
});

// sizes: B, G, H, Z, rows of a sample. Variants: 0 all; 1 no bias; 2 no gradient of the product.
template <class T>
void compared(Run<T>& r, const Sizes& s, bool fused) {
  const int64_t B = s[0], G = s[1], H = s[2], Z = s[3], R = B * s[4];
  const double delta = T(0.75), kl_weight = T(0.3), batch = static_cast<double>(B);
  const bool with_bias = r.variant != 1, gradient = r.variant != 2;
  const auto h = r.in(R * H), w = r.in(G * H), bias = r.in(G), target = r.in(R * G, uniform(-2, 2)), mu = r.in(B * Z, uniform(-2, 2)),
             logvar = r.in(B * Z, uniform(-18, 8));
  const auto pred = r.out(fused ? 0 : R * G);
  const auto loss = r.out(3), grad_pred = r.out(gradient ? R * G : 0), grad_bias = r.out(gradient ? G : 0), grad_mu = r.out(B * Z), grad_logvar = r.out(B * Z);
  const T* of_bias = with_bias ? bias.data : nullptr;
  if (fused) {
    T *of_pred = gradient ? grad_pred.data : nullptr, *to_bias = gradient ? grad_bias.data : nullptr;
    r.call([=](Stream& stream) {
      k::linear_huber_kl<T>(stream, h, w, of_bias, target, mu, logvar, B, R, G, H, Z, T(delta), T(kl_weight), loss, of_pred, to_bias, grad_mu, grad_logvar);
    });
  } else {
    Epilogue<T> e;
    e.bias = of_bias;
    r.call([=](Stream& stream) {
      k::matmul<T>(stream, h, false, w, true, pred, R, G, H, e);
      k::huber_kl<T>(stream, pred, target, mu, logvar, B, R / B * G, Z, T(delta), T(kl_weight), loss, grad_pred, grad_mu, grad_logvar);
      k::sum_columns<T>(stream, grad_pred.data, grad_bias.data, R, G, false);
    });
  }

  const Product p = product(h.values(), w.values(), R, G, H);
  const double units = product_units(H);
  auto residual = [&](int64_t i) { return p.sum[static_cast<size_t>(i)] + (with_bias ? bias[i % G] : 0) - target[i]; };
  auto size = [&](int64_t i) { return p.size[static_cast<size_t>(i)] + (with_bias ? std::abs(bias[i % G]) : 0) + std::abs(target[i]); };
  r.expect(
      pred, units, [&](int64_t i) { return residual(i) + target[i]; }, size);
  double huber = 0, huber_size = 0, kl = 0, kl_size = 0;
  std::vector<double> column(static_cast<size_t>(G)), column_size(static_cast<size_t>(G));
  for (int64_t i = 0; i < R * G; ++i) {
    const double d = std::abs(residual(i)), slope = std::min(delta, d);
    huber += d <= delta ? 0.5 * d * d : delta * (d - 0.5 * delta);
    huber_size += slope * size(i) + slope * d;
    column[static_cast<size_t>(i % G)] += std::max(-delta, std::min(delta, residual(i))) / batch;
    column_size[static_cast<size_t>(i % G)] += size(i) / batch;
  }
  for (int64_t i = 0; i < B * Z; ++i) {
    const double l = std::max(-15.0, std::min(15.0, logvar[i])), v = std::exp(l);
    kl += -0.5 * (1 + l - mu[i] * mu[i] - v);
    kl_size += 1 + std::abs(l) + mu[i] * mu[i] + v;
  }
  huber /= batch, huber_size /= batch, kl /= batch, kl_size /= batch;
  const double value[] = {huber + kl_weight * kl, huber, kl}, sizes[] = {huber_size + kl_weight * kl_size, huber_size, kl_size};
  r.expect(
      loss, 2 * units, [&](int64_t i) { return value[i]; }, [&](int64_t i) { return sizes[i]; });
  r.expect(
      grad_pred, units, [&](int64_t i) { return std::max(-delta, std::min(delta, residual(i))) / batch; }, [&](int64_t i) { return size(i) / batch; });
  r.expect(
      grad_bias, units, [&](int64_t i) { return column[static_cast<size_t>(i)]; }, [&](int64_t i) { return column_size[static_cast<size_t>(i)]; });
  r.expect(grad_mu, 4, [&](int64_t i) { return kl_weight * mu[i] / batch; });
  auto outside = [&](int64_t i) { return logvar[i] < -15 || logvar[i] > 15; };
  r.expect(
      grad_logvar, 6, [&](int64_t i) { return outside(i) ? 0.0 : kl_weight * (std::exp(logvar[i]) - 1) / (2 * batch); },
      [&](int64_t i) { return outside(i) ? 0.0 : kl_weight * (std::exp(logvar[i]) + 1) / (2 * batch); });
}

const Case linear_huber_kl("linear_huber_kl", [](OpCase& c) {
  c.sizes = {{1, 1, 1, 1, 1},   {1, 0, 4, 3, 1},      {3, 5, 0, 2, 1},    {3, 7, 5, 0, 1},   {17, 33, 65, 5, 1},
             {3, 300, 9, 4, 5}, {129, 130, 67, 3, 1}, {5, 7, 2100, 3, 1}, {300, 3, 8, 2, 1}, {2, 70, 30, 3, 150}};
  c.simt_sizes = {{1, 1, 1, 1, 1},   {1, 0, 4, 3, 1},      {3, 5, 0, 2, 1},    {3, 7, 5, 0, 1},    {17, 33, 65, 5, 1},
                  {3, 130, 9, 4, 5}, {129, 130, 67, 3, 1}, {5, 7, 2100, 3, 1}, {35, 3, 1100, 2, 2}};
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
  c.simt_sizes.push_back({1, 17000, 1, 1, 1});  // tiles large enough for several cells of sums: only many are so large
#endif
  c.variants = 3;
  c.body([](auto& r, const Sizes& s) { compared(r, s, true); });
  c.unfused([](auto& r, const Sizes& s) { compared(r, s, false); });
  c.dims = {"B", "G", "H", "Z"};
  // The decoder's end in the RNA VAE and in the block VAE of ATAC.
  c.bench = {{256, 19421, 1024, 512, 1}, {64, 5000, 2048, 512, 1}, {256, 5000, 2048, 512, 1}};
  auto features = [](const Sizes& s) { return static_cast<double>(s[0] * s[4] * s[1]); };
  auto latents = [](const Sizes& s) { return static_cast<double>(s[0] * s[3]); };
  auto operands = [](const Sizes& s) { return static_cast<double>(s[0] * s[4] * s[2] + s[1] * s[2]); };
  c.flops = [=](const Sizes& s) { return features(s) * (2 * static_cast<double>(s[2]) + 9) + 20 * latents(s); };
  c.bytes = [=](const Sizes& s, double item) { return item * (operands(s) + 2 * features(s) + 4 * latents(s)); };
  // A product, a loss and the gradient's sums over the rows.
  c.unfused_bytes = [=](const Sizes& s, double item) { return item * (operands(s) + 5 * features(s) + 4 * latents(s)); };
  // Differences of product and target are below 0.7 or above 0.8: no kink at delta = 0.75.
  c.op_sizes = {{1, 1, 1, 1, 1}, {3, 7, 4, 2, 1}, {2, 5, 3, 2, 3}};
  c.op_inputs = [](const Sizes& s) {
    const int64_t R = s[0] * s[4];
    auto apart = [](PhiloxSequence& d, int64_t i) { return (i % 3 ? 0.0 : (i % 2 ? 2.0 : -2.0)) + 0.2 * (2 * d.uniform() - 1); };
    return std::vector<OpInput>{{{R, s[2]}, uniform(-0.3, 0.3)},
                                {{s[1], s[2]}, uniform(-0.3, 0.3)},
                                {{s[1]}, uniform(-0.1, 0.1)},
                                {{R, s[1]}, apart, false},
                                {{s[0], s[3]}},
                                {{s[0], s[3]}, [](PhiloxSequence& d, int64_t i) { return i == 2 ? -16.0 : 2 * d.uniform() - 1; }}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::linear_huber_kl(x[0], x[1], x[2], x[3], x[4], x[5], 0.75, 0.3).loss; };
});

}  // namespace
}  // namespace panvae::cases
