// Joining, cutting, turning and taking rows: values by hand, gradients of tensors that are used more than once, errors.
#include "engine/ops/layout.h"

#include <cmath>

#include "helpers.h"

namespace panvae::test {
namespace {

TEST(layout, concat_and_slice_along_each_dimension) {
  for (Device device : host_devices()) {
    Context c(device);
    const Tensor a = tensor(c, {2, 1, 2}, {1, 2, 3, 4}), b = tensor(c, {2, 2, 2}, {5, 6, 7, 8, 9, 10, 11, 12}), d = tensor(c, {2, 0, 2}, {});
    const Tensor y = ops::concat({a, b, d, a}, 1);
    EXPECT_EQ(y.shape(), (Shape{2, 4, 2}));
    EXPECT_EQ(y.host<float>(), (std::vector<float>{1, 2, 5, 6, 7, 8, 1, 2, 3, 4, 9, 10, 11, 12, 3, 4}));
    EXPECT_EQ(ops::slice(y, 1, 1, 3).host<float>(), b.host<float>());
    EXPECT_EQ(ops::slice(y, -2, 3, 4).host<float>(), a.host<float>());
    EXPECT_EQ(ops::slice(y, 2, 1, 2).host<float>(), (std::vector<float>{2, 6, 8, 2, 4, 10, 12, 4}));
    EXPECT_EQ(ops::slice(y, 0, 1, 2).host<float>(), (std::vector<float>{3, 4, 9, 10, 11, 12, 3, 4}));
    EXPECT_EQ(ops::slice(y, 0, 1, 1).shape(), (Shape{0, 4, 2}));
    EXPECT_EQ(ops::concat({a, a}, -1).host<float>(), (std::vector<float>{1, 2, 1, 2, 3, 4, 3, 4}));
    EXPECT_EQ(ops::concat({a, a}, 0).host<float>(), (std::vector<float>{1, 2, 3, 4, 1, 2, 3, 4}));
    EXPECT_EQ(ops::concat({a}, 0).host<float>(), a.host<float>());
  }
}

TEST(layout, a_tensor_cut_into_parts_collects_their_gradients) {
  for (Device device : host_devices()) {
    Context c(device);
    Tensor x = parameter(c, {2, 3}, ramp(6), "x");
    Tape tape(c);
    const Tensor left = ops::slice(x, 1, 0, 2), right = ops::slice(x, 1, 1, 3);  // the middle column is in both
    tape.backward(ops::add(ops::sum(left), ops::scale(ops::sum(right), 10)));
    EXPECT_EQ(x.gradient().host<float>(), (std::vector<float>{1, 11, 10, 1, 11, 10}));
  }
}

TEST(layout, transpose_turns_matrices_and_batches) {
  for (Device device : host_devices()) {
    Context c(device);
    EXPECT_EQ(ops::transpose(tensor(c, {2, 3}, {1, 2, 3, 4, 5, 6})).host<float>(), (std::vector<float>{1, 4, 2, 5, 3, 6}));
    const Tensor y = ops::transpose(tensor(c, {2, 1, 3}, {1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(y.shape(), (Shape{2, 3, 1}));
    EXPECT_EQ(y.host<float>(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
    Tensor x = parameter(c, {2, 3}, ramp(6), "x");
    Tape tape(c);
    const Tensor weights = tensor(c, {3, 2}, {1, 2, 3, 4, 5, 6});
    tape.backward(ops::add(ops::sum(ops::mul(ops::transpose(x), weights)), ops::sum(x)));
    EXPECT_EQ(x.gradient().host<float>(), (std::vector<float>{2, 4, 6, 3, 5, 7}));
  }
}

TEST(layout, rows_taken_twice_are_added_in_the_gradient_and_rows_outside_are_nan) {
  for (Device device : host_devices()) {
    Context c(device);
    Tensor x = parameter(c, {3, 2}, {1, 2, 3, 4, 5, 6}, "x");
    const Tensor rows = Tensor::from(c, {4}, std::vector<int64_t>{2, 0, 2, 7});
    Tape tape(c);
    const Tensor y = ops::gather_rows(x, rows);
    const std::vector<float> taken = y.host<float>();
    EXPECT_EQ(std::vector<float>(taken.begin(), taken.begin() + 6), (std::vector<float>{5, 6, 1, 2, 5, 6}));
    EXPECT_TRUE(std::isnan(taken[6]) && std::isnan(taken[7]));
    tape.backward(ops::sum(ops::mul(y, tensor(c, {4, 2}, {1, 2, 3, 4, 5, 6, 7, 8}))));
    EXPECT_EQ(x.gradient().host<float>(), (std::vector<float>{3, 4, 0, 0, 6, 8}));
  }
}

TEST(layout, rows_that_a_sum_leaves_out_have_no_gradient) {
  for (Device device : host_devices()) {
    Context c(device);
    Tensor x = parameter(c, {4, 1}, {1, 2, 4, 8}, "x");
    Tape tape(c);
    const Tensor y = ops::scatter_add_rows(x, Tensor::from(c, {4}, std::vector<int64_t>{2, 0, 2, 7}), 3);
    EXPECT_EQ(y.host<float>(), (std::vector<float>{2, 0, 5}));
    tape.backward(ops::sum(ops::mul(y, tensor(c, {3, 1}, {1, 2, 3}))));
    EXPECT_EQ(x.gradient().host<float>(), (std::vector<float>{3, 1, 3, 0}));
  }
}

// A million entries for three rows: sums of many stretches, each of which a running sum in f32 would round a thousandfold.
TEST(layout, sums_of_many_rows_are_accurate) {
  Context c;
  const int64_t n = 1000000;
  std::vector<int64_t> rows(static_cast<size_t>(n));
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i % 3);
  const std::vector<float> y =
      ops::scatter_add_rows(Tensor::from(c, {n, 1}, std::vector<float>(rows.size(), 0.1f)), Tensor::from(c, {n}, rows), 3).host<float>();
  for (int64_t r = 0; r < 3; ++r) EXPECT_FLOAT_EQ(y[static_cast<size_t>(r)], static_cast<float>(0.1f * static_cast<double>((n + 2 - r) / 3)));
}

TEST(layout, what_does_not_fit_is_named) {
  Context c, other;
  const Tensor x = tensor(c, {2, 3}, ramp(6)), y = tensor(c, {2, 4}, ramp(8)), rows = Tensor::from(c, {2}, std::vector<int64_t>{0, 1});
  EXPECT_CONTAINS(error_of([&] { ops::concat({}, 0); }).message(), "of no tensors");
  EXPECT_CONTAINS(error_of([&] { ops::concat({x, y}, 0); }).message(), "[2, 3] and [2, 4] differ not only in dimension 0");
  EXPECT_CONTAINS(error_of([&] { ops::concat({x, x.view({6})}, 1); }).message(), "[6]");
  EXPECT_CONTAINS(error_of([&] { ops::concat({x, Tensor::zeros(c, {2, 3}, DType::f64)}, 1); }).message(), "two types");
  EXPECT_CONTAINS(error_of([&] { ops::concat({x, tensor(other, {2, 3}, ramp(6))}, 1); }).message(), "contexts");
  EXPECT_CONTAINS(error_of([&] { ops::concat({x, x}, 2); }).message(), "no dimension 2 in [2, 3]");
  EXPECT_CONTAINS(error_of([&] { ops::slice(x, -3, 0, 1); }).message(), "no dimension -3 in [2, 3]");
  EXPECT_CONTAINS(error_of([&] { ops::slice(x, 1, 1, 4); }).message(), "[1, 4) of dimension 1 of [2, 3]");
  EXPECT_CONTAINS(error_of([&] { ops::slice(x, 1, 2, 1); }).message(), "[2, 1)");
  EXPECT_CONTAINS(error_of([&] { ops::transpose(x.view({6})); }).message(), "x[6]");
  EXPECT_CONTAINS(error_of([&] { ops::gather_rows(x.view({6}), rows); }).message(), "gather_rows: x[6] by rows[2] I64");
  EXPECT_CONTAINS(error_of([&] { ops::gather_rows(x, x.view({6})); }).message(), "F32");
  EXPECT_CONTAINS(error_of([&] { ops::scatter_add_rows(y, Tensor::from(c, {3}, std::vector<int64_t>{0, 1, 1}), 5); }).message(), "x[2, 4] by rows[3]");
  EXPECT_CONTAINS(error_of([&] { ops::scatter_add_rows(y, rows, -1); }).message(), "-1 rows");
}

}  // namespace
}  // namespace panvae::test
