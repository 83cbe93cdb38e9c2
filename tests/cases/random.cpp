// Random numbers against the definition: word i % 4 of Philox group i / 4, mapped in f64.
#include <numbers>

#include "engine/ops/activation.h"
#include "engine/ops/arithmetic.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

constexpr PhiloxKey kKey{0x123456789ABCDEFull, 5, 17};

// kKey; in the odd variants its step stands in memory of the device.
template <class T>
PhiloxKey key_of(Run<T>& r) {
  if (r.variant % 2 == 0) return kKey;
  const auto step = r.template in<double>(1, [](PhiloxSequence&, int64_t) { return static_cast<double>(kKey.step); });
  return {kKey.seed, kKey.op, kKey.step + 1, step};
}

// The uniform number in (0, 1) that belongs to element i: 24 bits for f32, 32 for f64.
template <class T>
double unit(int64_t i) {
  const uint32_t word = philox4x32_10(static_cast<uint32_t>(i / 4), 0, kKey.op, kKey.step, kKey.seed).v[i % 4];
  return sizeof(T) == 4 ? (static_cast<double>(word >> 8) + 0.5) / 16777216.0 : (static_cast<double>(word) + 0.5) / 4294967296.0;
}
template <class T>
double normal(int64_t i) {
  const int64_t pair = i / 2 * 2;
  const double u = static_cast<T>(unit<T>(pair)), v = static_cast<T>(unit<T>(pair + 1)), radius = std::sqrt(-2 * std::log(u));
  return radius * (i % 2 ? std::sin(2 * std::numbers::pi * v) : std::cos(2 * std::numbers::pi * v));
}

void common(OpCase& c, double operations) {
  c.sizes = {{0}, {1}, {3}, {4}, {31}, {1025}, {16385}, {40001}};
  c.variants = 2;
  c.dims = {"N"};
  c.bench = {{256 * 512}, {41369565}};
  c.flops = [=](const Sizes& s) { return operations * static_cast<double>(s[0]); };
  c.bytes = [](const Sizes& s, double item) { return static_cast<double>(s[0]) * item; };
  c.op_sizes = small_op_sizes();
  c.op_inputs = [](const Sizes& s) { return one_input(s); };
}

// The noise is drawn anew at every call, so grad also checks that it is a function of its key alone.
const Case random_uniform("random_uniform", [](OpCase& c) {
  common(c, 2);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto y = r.out(s[0]);
    const PhiloxKey key = key_of(r);
    r.call([=](Stream& stream) { k::random_uniform<T>(stream, y, s[0], T(-2), T(3), key); });
    r.expect(
        y, 4, [](int64_t i) { return -2 + 5 * unit<T>(i); }, [](int64_t) { return 5.0; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return times_constant(x[0], [](Tensor& y) {
      dispatch(y.dtype(), "random", [&]<class T>(T) { k::random_uniform<T>(y.context().stream(), y.data<T>(), y.count(), T(1), T(2), kKey); });
    });
  };
  c.grad_tolerance = 1e-5;
});

const Case random_normal("random_normal", [](OpCase& c) {
  common(c, 30);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto y = r.out(s[0]);
    const PhiloxKey key = key_of(r);
    r.call([=](Stream& stream) { k::random_normal<T>(stream, y, s[0], T(0.5), T(2), key); });
    // The angle is rounded before its cosine is taken: an error of a few units of 2 pi, times radius and deviation.
    r.expect(
        y, 8, [](int64_t i) { return 0.5 + 2 * normal<T>(i); }, [](int64_t i) { return 0.5 + 2 * std::sqrt(-2 * std::log(unit<T>(i / 2 * 2))) * 6.3; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    // In f32 whatever the type of x: f64 noise is drawn from more bits and is another number.
    Tensor noise = Tensor::empty(x[0].context(), x[0].shape(), DType::f32);
    k::random_normal<float>(x[0].context().stream(), noise.data<float>(), noise.count(), 0, 1, kKey);
    return times_constant(x[0], [&](Tensor& y) {
      dispatch(y.dtype(), "random", [&]<class T>(T) { k::cast_from_f32<T>(y.context().stream(), noise.data<float>(), y.data<T>(), y.count()); });
    });
  };
});

// Kept where the word of the element is not below rate 2^32; the same elements in f32 and f64, forward and backward.
const Case dropout("dropout", [](OpCase& c) {
  common(c, 26);
  c.bytes = [](const Sizes& s, double item) { return 2 * static_cast<double>(s[0]) * item; };
  c.bench = {{256 * 1024}, {41369565}};
  c.variants = 4;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const double rates[] = {0.3, 0.0, 0.9, 0.5}, rate = rates[r.variant];
    const auto x = r.in(s[0], r.variant == 3 ? specials() : uniform(-2, 2));
    const auto y = r.variant == 0 ? r.out(s[0]) : r.over(x);
    const PhiloxKey key = key_of(r);
    r.call([=](Stream& stream) { k::dropout<T>(stream, x, y, s[0], rate, key); });
    r.expect(y, 2, [&](int64_t i) {
      const double word = philox4x32_10(static_cast<uint32_t>(i / 4), 0, kKey.op, kKey.step, kKey.seed).v[i % 4];
      return word / 4294967296.0 < rate ? x[i] * 0 : x[i] / (1 - rate);
    });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::dropout(ops::dropout(x[0], 0.3, kKey), 0.5, PhiloxKey{1, 2, 3}); };
});

}  // namespace
}  // namespace panvae::cases
