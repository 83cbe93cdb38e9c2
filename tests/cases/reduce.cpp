#include "engine/ops/arithmetic.h"
#include "engine/ops/linear.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

double product(const Sizes& s) {
  double n = 1;
  for (size_t i = 0; i < 2 && i < s.size(); ++i) n *= static_cast<double>(s[i]);
  return n;
}

// Sums of n terms of any order differ by at most n roundings of the sum of magnitudes; pairwise ones by far less.
constexpr double kSumUnits = 24;

const Case sum_rows("sum_rows", [](OpCase& c) {
  c.reads_only = true;
  c.dims = {"R", "C"};
  c.bench = {{256, 2048}, {256, 19421}};
  c.sizes = {{1, 1}, {0, 5}, {5, 0}, {31, 17}, {1, 40001}, {2000, 1}, {300, 257}, {3, 16385}};
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t rows = s[0], columns = s[1];
    const auto x = r.in(rows * columns), y = r.out(rows);
    r.call([=](Stream& stream) { k::sum_rows<T>(stream, x, y, rows, columns); });
    auto over = [&, columns](bool magnitude) {
      return [&, columns, magnitude](int64_t row) {
        long double t = 0;  // wider than what is judged
        for (int64_t j = 0; j < columns; ++j) t += magnitude ? std::abs(x[row * columns + j]) : x[row * columns + j];
        return static_cast<double>(t);
      };
    };
    r.expect(y, kSumUnits, over(false), over(true));
  });
  c.flops = product;
  c.bytes = [](const Sizes& s, double item) { return (product(s) + static_cast<double>(s[0])) * item; };
  c.op_sizes = {{1, 1}, {4, 7}};
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0]}}, {{s[0], s[1]}, uniform(-1, 1), false}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    return times_constant(x[0], [&](Tensor& y) {
      dispatch(y.dtype(), "sum_rows", [&]<class T>(T) { k::sum_rows<T>(y.context().stream(), x[1].data<T>(), y.data<T>(), s[0], s[1]); });
    });
  };
});

// sizes: rows, columns, accumulate. The gradient of a bias.
const Case sum_columns("sum_columns", [](OpCase& c) {
  c.reads_only = true;
  c.dims = {"R", "C"};
  c.bench = {{256, 2048, 0}, {256, 19421, 0}};
  c.sizes = {{1, 1, 0}, {0, 5, 0}, {0, 5, 1}, {5, 0, 0}, {17, 31, 1}, {64, 256, 0}, {65, 257, 1}, {1, 5001, 0}, {2001, 3, 1}, {300, 600, 0}};
  c.variants = 1;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t rows = s[0], columns = s[1];
    const bool accumulate = s[2] != 0;
    const auto x = r.in(rows * columns);
    const auto y = accumulate ? r.inout(columns) : r.out(columns);
    r.call([=](Stream& stream) { k::sum_columns<T>(stream, x, y, rows, columns, accumulate); });
    auto over = [&, rows, columns, accumulate](bool magnitude) {
      return [&, rows, columns, accumulate, magnitude](int64_t column) {
        long double t = 0;  // wider than what is judged
        for (int64_t i = 0; i < rows; ++i) t += magnitude ? std::abs(x[i * columns + column]) : x[i * columns + column];
        return static_cast<double>(accumulate ? t + (magnitude ? std::abs(y[column]) : y[column]) : t);
      };
    };
    r.expect(y, kSumUnits, over(false), over(true));
  });
  c.flops = product;
  c.bytes = [](const Sizes& s, double item) { return (product(s) + static_cast<double>(s[1])) * item; };
  c.op_sizes = {{1, 1, 0}, {5, 3, 0}};
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0], 2}}, {{s[1], 2}}, {{s[1]}}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::linear(x[0], x[1], x[2]); };
});

const Case sum("sum", [](OpCase& c) {
  c.reads_only = true;
  c.sizes = {{0}, {1}, {31}, {257}, {16384}, {16385}, {50001}};
  c.card_sizes = {{2900001}, {4300001}};  // more blocks than a card has at once; of more than one piece each
  c.dims = {"N"};
  c.bench = elementwise_bench();
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const auto x = r.in(s[0]), y = r.out(1);
    const double factor = T(0.25);
    r.call([=](Stream& stream) { k::sum<T>(stream, x, y, s[0], T(0.25)); });
    auto over = [&](bool magnitude) {
      return [&, magnitude](int64_t) {
        long double t = 0;  // wider than what is judged
        for (double v : x.values()) t += magnitude ? std::abs(v) : v;
        return factor * static_cast<double>(t);
      };
    };
    r.expect(y, kSumUnits, over(false), over(true));
  });
  c.flops = [](const Sizes& s) { return static_cast<double>(s[0]); };
  c.bytes = [](const Sizes& s, double item) { return static_cast<double>(s[0]) * item; };
  c.op_sizes = {{1}, {37}};
  c.op_inputs = [](const Sizes& s) { return one_input(s); };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::add(ops::sum(x[0]), ops::mean(x[0])); };
});

// As a constant in a graph: x scaled by the square of another tensor's norm.
const Case sum_squares("sum_squares", [](OpCase& c) {
  c.reads_only = true;
  c.sizes = {{0}, {1}, {31}, {257}, {16384}, {16385}, {50001}};
  c.card_sizes = {{2900001}, {4300001}};  // more blocks than a card has at once; of more than one piece each
  c.dims = {"N"};
  c.bench = elementwise_bench();
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    // Variant 1: squares beyond the range of f32 must not overflow.
    const auto x = r.in(s[0], r.variant == 0 ? uniform(-1, 1) : uniform(-3e30, 3e30));
    const auto y = r.template out<double>(1);
    r.call([=](Stream& stream) { k::sum_squares<T>(stream, x, y, s[0]); });
    // All terms are positive, so roundings of the running sum (of 16384 elements in vector lanes) do not cancel.
    r.expect(y, 256, [&](int64_t) {
      long double t = 0;  // wider than what is judged
      for (double v : x.values()) t += static_cast<long double>(v) * v;
      return static_cast<double>(t);
    });
  });
  c.flops = [](const Sizes& s) { return 2 * static_cast<double>(s[0]); };
  c.bytes = [](const Sizes& s, double item) { return static_cast<double>(s[0]) * item; };
  c.op_sizes = {{1}, {37}};
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0]}}, {{s[0]}, uniform(-1, 1), false}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) {
    return times_constant(x[0], [&](Tensor& y) {
      Tensor square = Tensor::empty(y.context(), {1}, DType::f64), in_type = Tensor::empty(y.context(), {1}, y.dtype());
      Stream& stream = y.context().stream();
      dispatch(y.dtype(), "sum_squares", [&]<class T>(T) {
        k::sum_squares<T>(stream, x[1].data<T>(), square.data<double>(), x[1].count());
        if constexpr (sizeof(T) == 8) k::copy<double>(stream, square.data<double>(), in_type.data<double>(), 1);
        else k::cast_to_f32<double>(stream, square.data<double>(), in_type.data<float>(), 1);
        k::spread<T>(stream, in_type.data<T>(), y.data<T>(), y.count(), T(1));
      });
    });
  };
});

}  // namespace
}  // namespace panvae::cases
