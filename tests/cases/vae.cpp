#include "engine/ops/vae.h"

#include <numbers>

#include "engine/ops/arithmetic.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

constexpr PhiloxKey kKey{99, 3, 4};

// kKey; in the odd variants its step stands in memory of the device.
template <class T>
PhiloxKey key_of(Run<T>& r) {
  if (r.variant % 2 == 0) return kKey;
  const auto step = r.template in<double>(1, [](PhiloxSequence&, int64_t) { return static_cast<double>(kKey.step); });
  return {kKey.seed, kKey.op, kKey.step + 1, step};
}

template <class T>
double noise(int64_t i) {
  const Philox4 words = philox4x32_10(static_cast<uint32_t>(i / 4), 0, kKey.op, kKey.step, kKey.seed);
  auto unit = [&](int64_t j) -> T {
    const uint32_t w = words.v[j];
    return sizeof(T) == 4 ? static_cast<T>((static_cast<double>(w >> 8) + 0.5) / 16777216.0) : static_cast<T>((static_cast<double>(w) + 0.5) / 4294967296.0);
  };
  const int64_t pair = i % 4 / 2 * 2;
  const double radius = std::sqrt(-2 * std::log(static_cast<double>(unit(pair)))), angle = 2 * std::numbers::pi * static_cast<double>(unit(pair + 1));
  return radius * (i % 2 ? std::sin(angle) : std::cos(angle));
}
// Size of the noise's error: its radius times the angle.
template <class T>
double noise_size(int64_t i) {
  const double even = noise<T>(i / 2 * 2), odd = noise<T>(i / 2 * 2 + 1);
  return 6.3 * std::hypot(even, odd) + 1;
}

double clamped(double l) {
  return l < -15 ? -15 : l > 15 ? 15 : l;
}

void common(OpCase& c) {
  c.sizes = {{0}, {1}, {3}, {5}, {31}, {1025}, {5001}};
  c.variants = 2;
  c.dims = {"N"};
  c.bench = {{256 * 512}};
  c.flops = [](const Sizes& s) { return 40 * static_cast<double>(s[0]); };
  c.bytes = [](const Sizes& s, double item) { return 3 * static_cast<double>(s[0]) * item; };
  c.op_sizes = small_op_sizes();
  // A tenth of the log-variances lies beyond the clamp, none near its edge.
  c.op_inputs = [](const Sizes& s) {
    return std::vector<OpInput>{{{s[0]}},
                                {{s[0]}, [](PhiloxSequence& d, int64_t i) { return i % 10 == 9 ? (i % 20 == 9 ? 15.5 : -15.5) : -2 + 4 * d.uniform(); }}};
  };
  // f64 noise has more bits than f32 noise: another number by up to 2^-24 of an angle.
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::reparameterize(x[0], x[1], kKey); };
}

const Case reparameterize("reparameterize", [](OpCase& c) {
  common(c);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto mu = r.in(s[0], uniform(-2, 2)), logvar = r.in(s[0], uniform(-18, 18)), z = r.out(s[0]);
    const PhiloxKey key = key_of(r);
    r.call([=](Stream& stream) { k::reparameterize<T>(stream, mu, logvar, z, s[0], key); });
    r.expect(
        z, 12, [&](int64_t i) { return mu[i] + std::exp(clamped(logvar[i]) / 2) * noise<T>(i); },
        [&](int64_t i) { return std::abs(mu[i]) + std::exp(clamped(logvar[i]) / 2) * noise_size<T>(i); });
  });
});

const Case reparameterize_grad("reparameterize_grad", [](OpCase& c) {
  common(c);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto logvar = r.in(s[0], uniform(-18, 18)), grad_z = r.in(s[0]), grad_logvar = r.out(s[0]);
    const PhiloxKey key = key_of(r);
    r.call([=](Stream& stream) { k::reparameterize_grad<T>(stream, logvar, grad_z, grad_logvar, s[0], key); });
    auto outside = [&](int64_t i) { return logvar[i] < -15 || logvar[i] > 15; };
    r.expect(
        grad_logvar, 12, [&](int64_t i) { return outside(i) ? 0.0 : grad_z[i] * noise<T>(i) * std::exp(logvar[i] / 2) / 2; },
        [&](int64_t i) { return outside(i) ? 0.0 : grad_z[i] * noise_size<T>(i) * std::exp(logvar[i] / 2) / 2; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::mul(ops::reparameterize(x[0], x[1], kKey), x[0]); };
});

// sizes: B, G, Z
const Case huber_kl("huber_kl", [](OpCase& c) {
  c.dims = {"B", "G", "Z"};
  c.bench = {{256, 19421, 512}, {256, 5000, 512}, {1024, 19421, 512}};
  c.sizes = {{1, 1, 1}, {1, 0, 3}, {3, 5, 0}, {3, 7, 2}, {17, 33, 5}, {5, 4097, 3}, {33, 260, 130}};
  c.card_sizes = {{128, 19421, 64}};  // more blocks than a card has at once
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t B = s[0], G = s[1], Z = s[2];
    const double delta = T(0.75), weight = T(0.3), batch = static_cast<double>(B);
    const auto pred = r.in(B * G, uniform(-2, 2)), target = r.in(B * G, uniform(-2, 2)), mu = r.in(B * Z, uniform(-2, 2)),
               logvar = r.in(B * Z, uniform(-18, 8));
    const auto loss = r.out(3);
    const auto grad_pred = r.variant == 0 ? r.out(B * G) : r.over(pred);
    const auto grad_mu = r.out(B * Z), grad_logvar = r.out(B * Z);
    r.call([=](Stream& stream) { k::huber_kl<T>(stream, pred, target, mu, logvar, B, G, Z, T(delta), T(weight), loss, grad_pred, grad_mu, grad_logvar); });

    long double huber = 0, kl = 0, kl_size = 0;  // wider than what is judged
    for (int64_t i = 0; i < B * G; ++i) {
      const double d = std::abs(pred[i] - target[i]);
      huber += d <= delta ? 0.5 * d * d : delta * (d - 0.5 * delta);
    }
    for (int64_t i = 0; i < B * Z; ++i) {
      const double l = clamped(logvar[i]), v = std::exp(l);
      kl += -0.5 * (1 + l - mu[i] * mu[i] - v);
      kl_size += 1 + std::abs(l) + mu[i] * mu[i] + v;
    }
    huber /= batch, kl /= batch, kl_size /= batch;
    const long double value[] = {huber + weight * kl, huber, kl}, size[] = {2 * huber + weight * kl_size, 2 * huber, kl_size};
    r.expect(
        loss, 16, [&](int64_t i) { return static_cast<double>(value[i]); }, [&](int64_t i) { return static_cast<double>(size[i]); });
    r.expect(grad_pred, 4, [&](int64_t i) { return std::max(-delta, std::min(delta, pred[i] - target[i])) / batch; });
    r.expect(grad_mu, 4, [&](int64_t i) { return weight * mu[i] / batch; });
    auto outside = [&](int64_t i) { return logvar[i] < -15 || logvar[i] > 15; };
    r.expect(
        grad_logvar, 6, [&](int64_t i) { return outside(i) ? 0.0 : weight * (std::exp(logvar[i]) - 1) / (2 * batch); },
        [&](int64_t i) { return outside(i) ? 0.0 : weight * (std::exp(logvar[i]) + 1) / (2 * batch); });
  });
  c.flops = [](const Sizes& s) { return 8 * static_cast<double>(s[0] * s[1]) + 20 * static_cast<double>(s[0] * s[2]); };
  c.bytes = [](const Sizes& s, double item) { return item * (3 * static_cast<double>(s[0] * s[1]) + 4 * static_cast<double>(s[0] * s[2])); };
  // Differences of pred and target are within 0.4 or beyond 1.1: no kink at delta = 0.75 nearby.
  c.op_sizes = {{1, 1, 1}, {3, 7, 2}};
  c.op_inputs = [](const Sizes& s) {
    auto apart = [](PhiloxSequence& d, int64_t i) { return (i % 3 ? 0.0 : (i % 2 ? 1.5 : -1.5)) + 0.2 * (2 * d.uniform() - 1); };
    return std::vector<OpInput>{{{s[0], s[1]}, apart},
                                {{s[0], s[1]}, uniform(-0.2, 0.2), false},
                                {{s[0], s[2]}},
                                {{s[0], s[2]}, [](PhiloxSequence& d, int64_t i) { return i == 2 ? -16.0 : 2 * d.uniform() - 1; }}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::huber_kl(x[0], x[1], x[2], x[3], 0.75, 0.3).loss; };
});

}  // namespace
}  // namespace panvae::cases
