// What looks over the engine's shoulder: gradcheck, the NaN guard. And what feeds it: batches and noise.
#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/batch_source.h"
#include "engine/gradcheck.h"
#include "engine/ops/activation.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/conv.h"
#include "engine/ops/linear.h"
#include "engine/ops/vae.h"
#include "helpers.h"

namespace panvae::test {
namespace {

Tensor wide(Context& c, Shape shape, std::vector<double> values) {
  return Tensor::from(c, shape, values);
}

// y = x^2 with a backward that is `factor` x.
Tensor square(const Tensor& x, double factor) {
  Tensor y = ops::mul(x.detach(), x.detach());
  return record("square", {x}, y, {x}, [x, factor](Grads& g) {
    g.write(0, [&](Tensor& gx) {
      k::mul<double>(gx.context().stream(), g.out().data<double>(), x.data<double>(), gx.data<double>(), gx.count());
      k::scale<double>(gx.context().stream(), gx.data<double>(), gx.data<double>(), gx.count(), factor);
    });
  });
}

TEST(gradcheck, passes_a_right_backward) {
  Context c;
  const GradcheckResult r = gradcheck(c, [](const auto& x) { return square(x[0], 2); }, {wide(c, {3}, {1, -2, 0.5})});
  EXPECT_TRUE(r.ok) << r.message;
  EXPECT_LT(r.worst, 1e-7);
}

TEST(gradcheck, refuses_what_it_cannot_check) {
  Context c;
  const auto f = [](const auto& x) { return square(x[0], 2); };
  EXPECT_CONTAINS(error_of([&] { gradcheck(c, f, {wide(c, {3}, {1, -2, 0.5})}, {true, false}); }).message(), "1 inputs, and 2 of `differentiable`");
  EXPECT_CONTAINS(error_of([&] { gradcheck(c, f, {wide(c, {3}, {1, -2, 0.5})}, {}, {.most_per_input = 0}); }).message(), "at most 0 elements");
}

TEST(gradcheck, catches_a_wrong_backward_and_says_where) {
  Context c;
  const GradcheckResult r = gradcheck(c, [](const auto& x) { return square(x[0], 2.001); }, {wide(c, {3}, {1, -2, 0.5})});
  EXPECT_FALSE(r.ok);
  EXPECT_GT(r.worst, 1e-4);
  EXPECT_CONTAINS(r.message, "input 0, element 0");
}

TEST(gradcheck, catches_one_wrong_element_among_many) {
  Context c;
  auto f = [](const std::vector<Tensor>& x) {
    return record("one wrong", {x[0]}, ops::scale(x[0].detach(), 3), {}, [](Grads& g) {
      g.write(0, [&](Tensor& gx) {
        std::vector<double> v(static_cast<size_t>(gx.count())), out = g.out().template host<double>();
        for (size_t i = 0; i < v.size(); ++i) v[i] = out[i] * (i == 17 ? 2 : 3);
        gx.upload(v.data(), gx.count());
      });
    });
  };
  const GradcheckResult r = gradcheck(c, f, {Tensor::zeros(c, {40}, DType::f64)});
  EXPECT_FALSE(r.ok);
  EXPECT_CONTAINS(r.message, "element 17");
}

TEST(gradcheck, catches_a_missing_gradient_and_a_nan) {
  Context c;
  EXPECT_FALSE(gradcheck(c, [](const auto& x) { return ops::add(x[0], ops::scale(x[1].detach(), 2)); }, {wide(c, {1}, {1}), wide(c, {1}, {1})}).ok);
  EXPECT_FALSE(gradcheck(c, [](const auto& x) { return square(x[0], NAN); }, {wide(c, {1}, {1})}).ok);
}

TEST(gradcheck, leaves_inputs_as_they_were_and_skips_the_others) {
  Context c;
  Tensor x = wide(c, {2}, {1, 2}), data = wide(c, {2}, {3, 4});
  const GradcheckResult r = gradcheck(c, [](const auto& in) { return ops::mul(in[0], in[1]); }, {x, data}, {true, false});
  EXPECT_TRUE(r.ok) << r.message;
  EXPECT_EQ(x.host<double>(), (std::vector<double>{1, 2}));
  EXPECT_CONTAINS(error_of([&] { gradcheck(c, [](const auto& in) { return in[0]; }, {tensor(c, {1}, {1})}); }).message(), "use F64");
}

TEST(nan_guard, names_op_and_tensor_in_forward) {
  for (Device device : host_devices()) {
    Context c(device);
    c.nan_guard = true;
    const Tensor x = tensor(c, {3}, {1, 3e38f, 2});
    EXPECT_NO_THROW(ops::scale(x, 0.5));
    const Error e = error_of([&] { ops::relu(ops::scale(x, 2)); });
    EXPECT_EQ(e.op(), "scale");
    EXPECT_EQ(e.code(), ErrorCode::input);
    EXPECT_CONTAINS(e.message(), "scale: its output of shape [3] holds a NaN or an infinity");
    EXPECT_FALSE(e.hint().empty());
    c.nan_guard = false;
    EXPECT_NO_THROW(ops::scale(x, 2));
  }
}

TEST(nan_guard, names_op_and_tensor_in_backward) {
  Context c;
  c.nan_guard = true;
  const Tensor w = parameter(c, {2}, {1, 1}, "encoder.weight"), big = tensor(c, {2}, {3e38f, 1}), tiny = tensor(c, {2}, {1e-30f, 1});
  Tape tape(c);
  // Forward stays finite; backward multiplies 3e38 by 10.
  const Tensor loss = ops::scale(ops::sum(ops::mul(ops::mul(w, tiny), big)), 1e-3);
  Tensor scaled = record("amplify", {loss}, ops::scale(loss.detach(), 1), {}, [](Grads& g) {
    g.write(0, [&](Tensor& gx) { k::scale<float>(gx.context().stream(), g.out().data<float>(), gx.data<float>(), 1, 3e38f); });
  });
  const Error e = error_of([&] { tape.backward(scaled); });
  EXPECT_EQ(e.op(), "mul");
  EXPECT_CONTAINS(e.message(), "the gradient of input 0 (mul)");
}

TEST(nan_guard, is_not_deceived_by_large_finite_numbers) {
  Context c;
  c.nan_guard = true;
  EXPECT_NO_THROW(ops::scale(tensor(c, {1000}, std::vector<float>(1000, 3e38f)), 1)) << "the sum of squares is beyond f32";
}

TEST(batch_source, gathers_rows_on_every_device) {
  std::vector<float> matrix(12);
  for (size_t i = 0; i < 12; ++i) matrix[i] = static_cast<float>(i);
  for (Device device : host_devices()) {
    Context c(device);
    MatrixSource source(c, matrix.data(), 4, 3);
    EXPECT_EQ(source.samples(), 4);
    EXPECT_EQ(source.features(), 3);
    Tensor x = Tensor::empty(c, {3, 3});
    source.fill({3, 0, 3}, x);
    EXPECT_EQ(x.host<float>(), (std::vector<float>{9, 10, 11, 0, 1, 2, 9, 10, 11}));
    EXPECT_CONTAINS(error_of([&] { source.fill({0, 4, 1}, x); }).message(), "row 4 of 4");
    error_of([&] { source.fill({0, -1, 1}, x); });
    error_of([&] { source.fill({0}, x); });
  }
}

TEST(batch_source, filling_counts_as_a_write_in_place) {
  const std::vector<float> matrix = {1, 2, 3, 4};
  for (Device device : host_devices()) {
    Context c(device), other(device);
    MatrixSource rows(c, matrix.data(), 2, 2);
    MatrixBlockSource blocks(c, matrix.data(), 2, 2);
    Tensor x = Tensor::zeros(c, {1, 2}), elsewhere = Tensor::zeros(other, {1, 2});
    const Tensor w = parameter(c, {1, 2}, {1, 1}, "w");
    for (const std::function<void(Tensor&)>& fill :
         {std::function<void(Tensor&)>([&](Tensor& t) { rows.fill({1}, t); }), std::function<void(Tensor&)>([&](Tensor& t) {
            blocks.fill({{1, 0}}, t);
          })}) {
      Tape tape(c);
      const Tensor loss = ops::sum(ops::linear(x, w, {}));
      fill(x);
      EXPECT_CONTAINS(error_of([&] { tape.backward(loss); }).message(), "changed in place");
      EXPECT_CONTAINS(error_of([&] { fill(elsewhere); }).message(), "another context");
    }
  }
}

TEST(ops, tensors_of_two_contexts_are_an_error) {
  Context c, other;
  const Tensor a = Tensor::zeros(c, {1, 1}), b = Tensor::zeros(other, {1, 1}), a3 = Tensor::zeros(c, {1, 1, 1}), bias = Tensor::zeros(other, {1});
  for (const std::function<void()>& op : std::vector<std::function<void()>>{
           [&] { Tensor(a).assign(b); },
           [&] { ops::reparameterize(a, b, {}); },
           [&] { ops::huber_kl(a, b, a, a, 1, 1); },
           [&] { ops::huber_kl(a, a, b, b, 1, 1); },
           [&] { ops::linear(a, a, bias); },
           [&] { ops::conv1d(a3, a3, bias); },
           [&] { ops::conv_transpose1d(a3, a3, bias); },
       })
    EXPECT_CONTAINS(error_of(op).message(), "context");
  EXPECT_CONTAINS(error_of([&] { ops::conv1d(a3, a3, {}, {.padding = int64_t{1} << 62}); }).message(), "padding 4611686018427387904");
}

TEST(philox, gives_the_known_answers) {
  // Random123's kat_vectors for philox4x32, 10 rounds.
  struct Vector {
    uint32_t counter[4];
    uint64_t key;
    uint32_t answer[4];
  };
  const Vector vectors[] = {
      {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, ~uint64_t{0}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822ull, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const Vector& v : vectors) {
    const Philox4 r = philox4x32_10(v.counter[0], v.counter[1], v.counter[2], v.counter[3], v.key);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(r.v[i], v.answer[i]);
  }
}

TEST(philox, keys_count_up_with_ops_and_steps) {
  Generator g{5, 7, 0};
  const PhiloxKey a = g.next(), b = g.next();
  g.next_step();
  const PhiloxKey later = g.next();
  EXPECT_EQ(a.op, 0u);
  EXPECT_EQ(b.op, 1u);
  EXPECT_EQ(b.step, 7u);
  EXPECT_EQ(later.op, 0u);
  EXPECT_EQ(later.step, 8u);
  EXPECT_NE(a.bits(0), b.bits(0));
  EXPECT_NE(a.bits(0), later.bits(0));
}

// Shares of the standard normal distribution below some numbers, whatever came before, each within four standard errors.
TEST(philox, normal_numbers_are_normal) {
  constexpr int n = 40000;
  PhiloxSequence draw({17, 2, 0});
  const auto cdf = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  const auto near = [](int count, double share, int of) { return std::abs(count - share * of) < 4 * std::sqrt(share * (1 - share) * of); };
  std::vector<double> v(n);
  for (double& x : v) x = draw.normal();
  for (double at : {-2.5, -1.5, -0.7, 0.0, 0.4, 1.0, 1.96, 3.0}) {
    EXPECT_TRUE(near(static_cast<int>(std::count_if(v.begin(), v.end(), [=](double x) { return x < at; })), cdf(at), n)) << at;
    int both = 0;
    for (size_t i = 0; i + 1 < v.size(); i += 2) both += v[i] < at && v[i + 1] < at;
    EXPECT_TRUE(near(both, cdf(at) * cdf(at), n / 2)) << at << ", pairs";
  }
}

TEST(philox, below_is_in_range_and_reaches_all) {
  PhiloxSequence draw({1, 2, 3});
  std::vector<int> seen(7);
  for (int i = 0; i < 7000; ++i) ++seen.at(draw.below(7));
  for (int n : seen) EXPECT_NEAR(n, 1000, 150);
}

// Uniform numbers are bits scaled by exact arithmetic: equal to the last bit. Normals go through logarithm and cosine, the
// same function of the same machine on both devices.
TEST(noise, is_the_same_on_cpu_and_simt) {
  for (int64_t n : {1, 5, 1000, 20001}) {
    std::vector<float> uniform[2], normal[2];
    for (int i : {0, 1}) {
      Context c(host_devices()[static_cast<size_t>(i)]);
      c.stream().simt.order = simt::Order::reverse;
      Tensor u = Tensor::empty(c, {n}), z = Tensor::empty(c, {n});
      k::random_uniform<float>(c.stream(), u.data<float>(), n, 0, 1, PhiloxKey{3, 1, 4});
      k::random_normal<float>(c.stream(), z.data<float>(), n, 0, 1, PhiloxKey{3, 1, 4});
      uniform[i] = u.host<float>(), normal[i] = z.host<float>();
    }
    EXPECT_EQ(uniform[0], uniform[1]);
    ASSERT_EQ(normal[0].size(), normal[1].size());
    for (size_t i = 0; i < normal[0].size(); ++i) ASSERT_NEAR(normal[0][i], normal[1][i], 2e-6) << i;
  }
}

TEST(noise, has_the_moments_of_its_distribution) {
  Context c;
  constexpr int64_t n = 200000;
  Tensor z = Tensor::empty(c, {n});
  k::random_normal<float>(c.stream(), z.data<float>(), n, 0, 1, PhiloxKey{11, 0, 0});
  double m[5] = {};
  const std::vector<float> v = z.host<float>();
  for (float x : v)
    for (int p = 1; p <= 4; ++p) m[p] += std::pow(static_cast<double>(x), p) / n;
  EXPECT_NEAR(m[1], 0, 0.01);
  EXPECT_NEAR(m[2], 1, 0.015);
  EXPECT_NEAR(m[3], 0, 0.03);
  EXPECT_NEAR(m[4], 3, 0.1);
  double neighbours = 0;
  for (size_t i = 1; i < v.size(); ++i) neighbours += static_cast<double>(v[i]) * v[i - 1] / n;
  EXPECT_NEAR(neighbours, 0, 0.01);
}

TEST(noise, does_not_depend_on_the_number_of_elements) {
  Context c;
  const PhiloxKey key{1, 2, 3};
  Tensor few = Tensor::empty(c, {10}), many = Tensor::empty(c, {10000});
  k::random_normal<float>(c.stream(), few.data<float>(), 10, 0, 1, key);
  k::random_normal<float>(c.stream(), many.data<float>(), 10000, 0, 1, key);
  EXPECT_EQ(few.host<float>(), many.part(0, {10}).host<float>());
}

TEST(device, names_are_read_and_wrong_ones_explained) {
  EXPECT_EQ(parse_device("cpu"), (Device{DeviceType::cpu, 0}));
  EXPECT_EQ(parse_device("simt"), (Device{DeviceType::simt, 0}));
  for (const char* wrong : {"gpu", "cuda:x", "cuda:", "cuda:-1", "", "CPU"})
    EXPECT_EQ(error_of([&] { parse_device(wrong); }).code(), ErrorCode::usage) << wrong;
  EXPECT_EQ(error_of([] { parse_device("cuda:99"); }).code(), ErrorCode::machine);
}

}  // namespace
}  // namespace panvae::test
