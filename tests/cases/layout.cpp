// Kernels that move elements.
#include "engine/ops/layout.h"

#include <algorithm>

#include "engine/ops/arithmetic.h"
#include "op_case.h"

namespace panvae::cases {
namespace {

// sizes: rows, columns, distance of rows in x, in y (beyond columns), accumulate
const Case copy_strided("copy_strided", [](OpCase& c) {
  c.dims = {"R", "C"};
  c.label = [](const Sizes& s) { return fmt::format("R{}xC{}{}{}", s[0], s[1], s[2] > s[3] ? "_slice" : "_concat", s[4] ? "_add" : ""); };
  c.bench = {{256, 1024, 0, 1024, 0}, {256, 1024, 1024, 0, 0}, {256, 1024, 1024, 0, 1}};
  c.sizes = {{0, 5, 0, 0, 0},   {5, 0, 3, 4, 1},    {1, 1, 0, 0, 0},     {1, 4099, 7, 0, 1},    {7, 3, 2, 0, 0},     {33, 16, 8, 4, 0},
             {33, 16, 8, 4, 1}, {64, 33, 0, 31, 0}, {300, 257, 1, 0, 1}, {2, 20000, 100, 4, 0}, {20001, 1, 2, 1, 0}, {513, 8, 8, 16, 1}};
  c.long_indices = true;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t rows = s[0], columns = s[1], x_stride = columns + s[2], y_stride = columns + s[3];
    const bool add = s[4] != 0;
    // Up to the last element that is moved, and not to the end of its row
    auto extent = [=](int64_t stride) { return rows == 0 || columns == 0 ? int64_t{0} : (rows - 1) * stride + columns; };
    const auto x = r.in(extent(x_stride)), y = r.inout(extent(y_stride));
    r.call([=](Stream& stream) { k::copy_strided<T>(stream, x, x_stride, y, y_stride, rows, columns, add); });
    r.expect(y, add ? 1.01 : 0, [&](int64_t i) {
      const int64_t row = i / y_stride, column = i % y_stride;
      if (column >= columns) return y[i];
      return (add ? y[i] : 0) + x[row * x_stride + column];
    });
  });
  c.flops = [](const Sizes& s) { return s[4] ? static_cast<double>(s[0] * s[1]) : 0.0; };
  c.bytes = [](const Sizes& s, double item) { return (s[4] ? 3 : 2) * static_cast<double>(s[0] * s[1]) * item; };
  // Joined and cut along each dimension; x stands in twice, and a slice leaves gradients of 0.
  c.op_sizes = {{2, 3, 0, 0, 0}, {4, 5, 0, 0, 0}};
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0], s[1], 2}}, {{s[0], 1, 2}}, {{1, s[1], 2}}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    const Tensor columns = ops::concat({x[0], x[1], x[0]}, 1), rows = ops::concat({x[2], x[0]}, 0), inner = ops::concat({x[0], x[0], x[0]}, -1);
    const Tensor parts[] = {ops::slice(columns, 1, 1, s[1] + 2), ops::slice(rows, 0, 0, s[0]), ops::slice(inner, 2, 1, 3), ops::slice(rows, 0, 1, s[0] + 1)};
    Tensor all = ops::reshape(parts[0], {parts[0].count()});
    for (int i = 1; i < 4; ++i) all = ops::concat({all, ops::reshape(parts[i], {parts[i].count()})}, 0);
    return all;
  };
});

// sizes: B, R, C
const Case transpose("transpose", [](OpCase& c) {
  c.dims = {"B", "R", "C"};
  c.bench = {{1, 256, 2048}, {64, 512, 113}};
  c.sizes = {{1, 1, 1},  {0, 3, 3},   {2, 0, 5},   {3, 5, 0},    {1, 1, 5001}, {4, 33, 1}, {1, 16, 16},
             {3, 8, 24}, {2, 31, 33}, {5, 64, 64}, {1, 65, 129}, {2, 300, 7},  {1, 3, 700}};
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t B = s[0], R = s[1], C = s[2];
    const auto x = r.in(B * R * C, specials()), y = r.out(B * R * C);
    r.call([=](Stream& stream) { k::transpose<T>(stream, x, y, B, R, C); });
    r.exactly(y, [&](int64_t i) { return x[(i / (R * C) * R + i % R) * C + i / R % C]; });
  });
  c.flops = [](const Sizes&) { return 0.0; };
  c.bytes = [](const Sizes& s, double item) { return 2 * static_cast<double>(s[0] * s[1] * s[2]) * item; };
  c.op_sizes = {{1, 1, 1}, {2, 3, 5}};
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[0], s[1], s[2]}}, {{s[1], s[2]}}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    const Tensor batch = ops::transpose(x[0]), matrix = ops::transpose(ops::mul(x[1], x[1]));
    return ops::concat({ops::reshape(batch, {s[0] * s[2], s[1]}), matrix}, 0);
  };
});

// sizes: target rows, rows added, columns, accumulate, and where they go: 0 anywhere, 1 all to one row, 2 in order, the last
// of them outside
Fill targets(int64_t rows, int64_t kind) {
  if (kind == 0) return indices(rows);
  if (kind == 1) return [=](PhiloxSequence&, int64_t) { return static_cast<double>(rows / 2); };
  return [=](PhiloxSequence&, int64_t i) { return static_cast<double>(i % (rows + 2) == rows + 1 ? -1 : i % (rows + 2)); };
}
const Case scatter_add_rows("scatter_add_rows", [](OpCase& c) {
  c.dims = {"N", "B", "C"};
  c.bench = {{512, 512, 512, 1, 0}, {65536, 65536, 512, 0, 0}, {1000000, 1000000, 8, 0, 0}};
  // 2048 entries are sorted by one block, 16384 by one chunk on cpu; 256 and 65536 rows take another pass.
  c.sizes = {{1, 1, 1, 0, 0},        {5, 0, 7, 0, 0},      {5, 3, 0, 1, 0},      {7, 13, 31, 1, 0},      {9, 40, 1, 0, 1},
             {3, 200, 33, 1, 1},     {300, 257, 33, 0, 0}, {40, 90, 300, 1, 2},  {255, 2048, 1, 0, 0},   {256, 2049, 1, 1, 2},
             {65537, 9001, 2, 0, 0}, {2, 9000, 3, 0, 1},   {70000, 20, 5, 0, 0}, {20000, 40001, 1, 1, 0}};
  c.simt_sizes = {{1, 1, 1, 0, 0},      {5, 0, 7, 0, 0},     {5, 3, 0, 1, 0},      {7, 13, 31, 1, 0},    {9, 40, 1, 0, 1},       {3, 200, 33, 1, 1},
                  {300, 257, 33, 0, 0}, {40, 90, 300, 1, 2}, {255, 2048, 1, 0, 0}, {256, 2049, 1, 1, 2}, {65537, 9001, 2, 0, 0}, {2, 9000, 3, 0, 1}};
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t target_rows = s[0], count = s[1], columns = s[2];
    const bool accumulate = s[3] != 0;
    const auto x = r.in(count * columns);
    const auto rows = r.template in<int64_t>(count, targets(target_rows, s[4]));
    const auto y = accumulate ? r.inout(target_rows * columns) : r.out(target_rows * columns);
    r.call([=](Stream& stream) { k::scatter_add_rows<T>(stream, x, rows, y, target_rows, count, columns, accumulate); });
    std::vector<double> sum(static_cast<size_t>(target_rows * columns)), size(sum.size());
    if (accumulate) sum = y.values();
    for (size_t i = 0; i < sum.size(); ++i) size[i] = std::abs(sum[i]);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = static_cast<int64_t>(rows[i]);
      if (row < 0 || row >= target_rows) continue;
      for (int64_t j = 0; j < columns; ++j) {
        sum[static_cast<size_t>(row * columns + j)] += x[i * columns + j];
        size[static_cast<size_t>(row * columns + j)] += std::abs(x[i * columns + j]);
      }
    }
    r.expect(
        y, 32, [&](int64_t i) { return sum[static_cast<size_t>(i)]; }, [&](int64_t i) { return size[static_cast<size_t>(i)]; });
  });
  c.flops = [](const Sizes& s) { return static_cast<double>(s[1] * s[2]); };
  c.bytes = [](const Sizes& s, double item) {
    return static_cast<double>(s[1] * s[2] + (s[3] ? 2 * std::min(s[0], s[1]) : s[0]) * s[2]) * item + 8 * static_cast<double>(s[1]);
  };
  c.op_sizes = {{5, 4, 3, 0, 0}, {1, 2, 1, 0, 0}, {3, 50, 2, 0, 0}};
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[1], s[2]}}, {{s[0], s[2]}}, {{s[1]}, indices(s[0]), false, true}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) { return ops::mul(ops::scatter_add_rows(x[0], x[2], s[0]), x[1]); };
});

// sizes: source rows, rows taken, columns
const Case gather_rows("gather_rows", [](OpCase& c) {
  c.dims = {"rows", "B", "C"};
  c.bench = {{1024, 256, 19421}};
  c.sizes = {{1, 1, 1}, {5, 0, 7}, {5, 3, 0}, {7, 13, 31}, {9, 40, 1}, {2, 3, 5001}, {300, 257, 33}};
  c.variants = 3;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    const int64_t source = s[0], count = s[1], columns = s[2];
    const auto x = r.in(source * columns);
    // Variants 1 and 2: some rows lie outside, and become NaN or 0.
    const double outside = r.variant == 2 ? 0 : std::nan("");
    const auto rows = r.template in<int64_t>(count, r.variant == 0 ? indices(source) : targets(source, 2));
    const auto y = r.out(count * columns);
    r.call([=](Stream& stream) { k::gather_rows<T>(stream, x, rows, y, source, count, columns, static_cast<T>(outside)); });
    r.exactly(y, [&](int64_t i) {
      const int64_t row = static_cast<int64_t>(rows[i / columns]);
      return row < 0 || row >= source ? outside : x[row * columns + i % columns];
    });
  });
  c.flops = [](const Sizes&) { return 0.0; };
  c.bytes = [](const Sizes& s, double item) {
    return item * static_cast<double>((s[1] + std::min(s[1], s[0])) * s[2]) + 8 * static_cast<double>(s[1]);  // a row that is named twice is read once
  };
  c.op_sizes = {{5, 4, 3}, {1, 2, 1}, {4, 90, 3}};
  c.op_inputs = [](const Sizes& s) { return std::vector<OpInput>{{{s[1], s[2]}}, {{s[0], s[2]}}, {{s[1]}, indices(s[0]), false, true}}; };
  c.op = [](const std::vector<Tensor>& x, const Sizes&) { return ops::mul(x[0], ops::gather_rows(x[1], x[2])); };
});

// sizes: source rows, source columns, blocks taken, width; variant 1: some rows and some first columns lie outside
template <class Stored>
void gather_blocks_case(OpCase& c) {
  c.dims = {"rows", "P", "B", "W"};
  c.bench = {{256, 100000, 256, 5000}};
  c.sizes = {{1, 1, 1, 1}, {3, 7, 0, 5}, {3, 7, 4, 0}, {4, 50, 9, 50}, {5, 33, 40, 31}, {2, 5000, 3, 4097}, {7, 300, 257, 33}, {3, 4, 5, 6}};
  c.variants = 2;
  c.body([]<class T>(Run<T>& r, const Sizes& s) {
    using From = std::conditional_t<std::is_same_v<Stored, f16>, f16, T>;
    const int64_t source = s[0], columns = s[1], count = s[2], width = s[3], last = columns - width;
    const auto x = r.template in<From>(source * columns, specials());
    const auto rows = r.template in<int64_t>(count, r.variant == 0 ? indices(source) : targets(source, 2));
    const auto firsts = r.template in<int64_t>(count, r.variant == 0 ? indices(std::max<int64_t>(1, last + 1)) : targets(std::max<int64_t>(0, last + 1), 2));
    const auto y = r.out(count * width);
    r.call([=](Stream& stream) {
      if constexpr (std::is_same_v<From, T>) k::gather_blocks<T>(stream, x, rows, firsts, y, source, columns, count, width);
      else k::gather_blocks_f16<T>(stream, x, rows, firsts, y, source, columns, count, width);
    });
    r.exactly(y, [&](int64_t i) {
      const int64_t row = static_cast<int64_t>(rows[i / width]), first = static_cast<int64_t>(firsts[i / width]);
      return row < 0 || row >= source || first < 0 || first > last ? std::nan("") : x[row * columns + first + i % width];
    });
  });
  c.flops = [](const Sizes&) { return 0.0; };
  c.bytes = [](const Sizes& s, double item) {
    const double stored = std::is_same_v<Stored, f16> ? 2 : item;
    const int64_t named = s[2] * s[3];
    return static_cast<double>(named) * item + static_cast<double>(std::min(named, s[0] * s[1])) * stored + 16 * static_cast<double>(s[2]);
  };
  c.op_sizes = {{3, 9, 4, 5}, {1, 2, 1, 1}};
  c.op_inputs = [](const Sizes& s) {
    return std::vector<OpInput>{{{s[2], s[3]}}, {{s[2]}, indices(s[0]), false, true}, {{s[2]}, indices(s[1] - s[3] + 1), false, true}};
  };
  c.op = [](const std::vector<Tensor>& x, const Sizes& s) {
    return times_constant(x[0], [&](Tensor& y) {
      std::vector<float> values(static_cast<size_t>(s[0] * s[1]));
      for (size_t i = 0; i < values.size(); ++i) values[i] = 0.25f * static_cast<float>(i % 11) - 1;
      Context& context = y.context();
      dispatch(y.dtype(), "gather_blocks", [&]<class T>(T) {
        std::vector<std::conditional_t<std::is_same_v<Stored, f16>, f16, T>> stored;
        for (float v : values) {
          if constexpr (std::is_same_v<Stored, f16>) stored.push_back(to_f16(v));
          else stored.push_back(v);
        }
        const Tensor matrix = Tensor::from(context, {s[0], s[1]}, stored);
        const int64_t *rows = x[1].data<int64_t>(), *firsts = x[2].data<int64_t>();
        if constexpr (std::is_same_v<Stored, f16>)
          k::gather_blocks_f16<T>(context.stream(), matrix.data<f16>(), rows, firsts, y.data<T>(), s[0], s[1], s[2], s[3]);
        else k::gather_blocks<T>(context.stream(), matrix.data<T>(), rows, firsts, y.data<T>(), s[0], s[1], s[2], s[3]);
      });
    });
  };
}
const Case gather_blocks("gather_blocks", gather_blocks_case<float>);
const Case gather_blocks_f16("gather_blocks_f16", gather_blocks_case<f16>);

}  // namespace
}  // namespace panvae::cases
