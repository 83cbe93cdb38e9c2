// Casts: data that enters a graph as constants.
#include "engine/ops/arithmetic.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

// To the nearest number of 8 significant bits, ties to even, as arithmetic says it; not by the bits of a float.
double nearest_bf16(double x) {
  x = static_cast<float>(x);
  if (!std::isfinite(x) || x == 0) return x;
  int exponent;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent - 8, -133));
  const double rounded = std::nearbyint(x / unit) * unit;
  return std::abs(rounded) >= 0x1p128 ? std::copysign(std::numeric_limits<double>::infinity(), x) : rounded;
}
// Halfway between two bf16 numbers, and others.
Fill bf16_ties() {
  return [](PhiloxSequence& draw, int64_t i) {
    const double whole = std::ldexp(128.0 + static_cast<double>(draw.below(128)), static_cast<int>(draw.below(40)) - 20);
    const double part[] = {0.5, 0.0, 0.49, 0.51};
    return (i % 3 ? whole : -whole) * (1 + part[i % 4] / 128);
  };
}

void cast_case(OpCase& c, double from, double to) {  // bytes of an element; 0: the computing type
  c.sizes = elementwise_sizes();
  c.op_sizes = small_op_sizes();
  c.dims = {"N"};
  c.bench = elementwise_bench();
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0]}}, {{s[0]}, uniform(-1, 1), false}}; };
  c.flops = [](const Sizes&) { return 0.0; };
  c.bytes = [=](const Sizes& s, double item) { return static_cast<double>(s[0]) * ((from > 0 ? from : item) + (to > 0 ? to : item)); };
}

const Case cast_to_f32("cast_to_f32", [](OpCase& c) {
  cast_case(c, 0, 4);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0], specials());
    const auto y = r.template out<float>(s[0]);
    r.call([=](Stream& stream) { k::cast_to_f32<T>(stream, x, y, s[0]); });
    r.exactly(y, [&](int64_t i) { return x[i]; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return times_constant(x[0], [&](Tensor& y) {
      Tensor narrow = Tensor::empty(y.context(), y.shape(), DType::f32);
      dispatch(y.dtype(), "cast", [&]<class T>(T) {
        k::cast_to_f32<T>(y.context().stream(), x[1].data<T>(), narrow.data<float>(), y.count());
        k::cast_from_f32<T>(y.context().stream(), narrow.data<float>(), y.data<T>(), y.count());
      });
    });
  };
});

const Case cast_from_f32("cast_from_f32", [](OpCase& c) {
  cast_case(c, 4, 0);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.template in<float>(s[0], specials());
    const auto y = r.out(s[0]);
    r.call([=](Stream& stream) { k::cast_from_f32<T>(stream, x, y, s[0]); });
    r.exactly(y, [&](int64_t i) { return x[i]; });
  });
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return times_constant(x[0], [&](Tensor& y) {
      const Tensor narrow = Tensor::from(y.context(), y.shape(), std::vector<float>(static_cast<size_t>(y.count()), 1.25f));
      dispatch(y.dtype(), "cast", [&]<class T>(T) { k::cast_from_f32<T>(y.context().stream(), narrow.data<float>(), y.data<T>(), y.count()); });
    });
  };
});

// w to bf16 and back, then times x: a weight kept in half the memory.
Tensor through_bf16(const std::vector<Tensor>& x, const Sizes&) {
  return times_constant(x[0], [&](Tensor& y) {
    Tensor narrow = Tensor::empty(y.context(), y.shape(), DType::bf16);
    dispatch(y.dtype(), "cast", [&]<class T>(T) {
      k::cast_to_bf16<T>(y.context().stream(), x[1].data<T>(), narrow.data<bf16>(), y.count());
      k::cast_from_bf16<T>(y.context().stream(), narrow.data<bf16>(), y.data<T>(), y.count());
    });
  });
}

const Case cast_to_bf16("cast_to_bf16", [](OpCase& c) {
  cast_case(c, 0, 2);
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0], r.variant == 0 ? specials() : bf16_ties());
    const auto y = r.template out<bf16>(s[0]);
    r.call([=](Stream& stream) { k::cast_to_bf16<T>(stream, x, y, s[0]); });
    r.exactly(y, [&](int64_t i) { return nearest_bf16(x[i]); });
  });
  c.op = through_bf16;
});

const Case cast_from_bf16("cast_from_bf16", [](OpCase& c) {
  cast_case(c, 2, 0);
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.template in<bf16>(s[0], specials());
    const auto y = r.out(s[0]);
    r.call([=](Stream& stream) { k::cast_from_bf16<T>(stream, x, y, s[0]); });
    r.exactly(y, [&](int64_t i) { return x[i]; });
  });
  c.op = through_bf16;
});

}  // namespace
}  // namespace panvae::cases
