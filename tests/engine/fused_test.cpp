// Fused ops against the ops that they equal, and batch normalisation folded into the layers behind it. Against formulas:
// tests/cases/fused.cpp.
#include "engine/ops/fused.h"

#include <cmath>

#include "base/threads.h"
#include "engine/layers/fold.h"
#include "helpers.h"

namespace panvae::test {
namespace {

struct Setting {
  Device device;
  DType dtype;
  MathMode math;
};
std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (Device d : host_devices())
    for (DType t : {DType::f32, DType::f64}) all.push_back({d, t, MathMode::ieee});
  all.push_back({{DeviceType::simt, 0}, DType::f32, MathMode::tf32});
  all.push_back({{DeviceType::simt, 0}, DType::f32, MathMode::bf16});
  return all;
}

using Values = std::vector<double>;
Values doubles(const Tensor& t) {
  if (!t.defined()) return {};
  if (t.dtype() == DType::f64) return t.host<double>();
  const std::vector<float> v = t.host<float>();
  return {v.begin(), v.end()};
}
Tensor drawn(Context& c, Shape shape, DType dtype, uint32_t stream, double low = -1, double high = 1) {
  PhiloxSequence sequence({7, stream, 0});
  Values v(static_cast<size_t>(shape.count()));
  for (double& x : v) x = low + (high - low) * sequence.uniform();
  if (dtype == DType::f64) return Tensor::from(c, shape, v);
  return Tensor::from(c, shape, std::vector<float>(v.begin(), v.end()));
}
// The largest difference, of the largest value of b or 0.01: a gradient may be 0.
double worst(const Values& a, const Values& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, largest = 0.01;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    if (!(d <= difference)) difference = d;
    largest = std::max(largest, std::abs(b[i]));
  }
  return difference / largest;
}
// docs/kernels.md states these. The products of a backward pass in tf32 or bf16 round operands that differ in their last digit, and one
// that lies between two numbers may go either way: a step of the mode for an element of an operand, less for a sum.
double tolerance(DType t, MathMode math = MathMode::ieee) {
  return t == DType::f64 ? 1e-12 : math == MathMode::tf32 ? 0x1p-15 : math == MathMode::bf16 ? 0x1p-12 : 5e-6;
}
void expect_equal(const std::vector<Values>& fused, const std::vector<Values>& unfused, DType dtype, MathMode math = MathMode::ieee) {
  ASSERT_EQ(fused.size(), unfused.size());
  for (size_t i = 0; i < fused.size(); ++i) EXPECT_LE(worst(fused[i], unfused[i]), tolerance(dtype, math)) << "result " << i;
}

// Results, running statistics and all gradients of a layer with its normalisation.
std::vector<Values> normed(const Setting& s, int64_t M, int64_t N, int64_t K, Activation activation, bool fused, bool parameters = true) {
  Context c(s.device);
  c.stream().math = s.math;
  Tensor x = drawn(c, {M, K}, s.dtype, 1), w = drawn(c, {N, K}, s.dtype, 2), b, weight, bias, mean = drawn(c, {N}, s.dtype, 6),
         var = drawn(c, {N}, s.dtype, 7, 0.5, 1);
  std::vector<Tensor> leaves{x, w};
  if (parameters) {
    b = drawn(c, {N}, s.dtype, 3), weight = drawn(c, {N}, s.dtype, 4, 0.5, 2), bias = drawn(c, {N}, s.dtype, 5);
    b.require_gradient("b"), weight.require_gradient("weight"), bias.require_gradient("bias");
    leaves.insert(leaves.end(), {b, weight, bias});
  }
  x.require_gradient("x"), w.require_gradient("w");
  Tape tape(c);
  const Tensor y = fused ? ops::linear_batch_norm(x, w, b, activation, 0.01, weight, bias, mean, var, 0.2, 1e-3)
                         : ops::batch_norm(ops::linear(x, w, b, activation, 0.01), weight, bias, mean, var, true, 0.2, 1e-3);
  tape.backward(ops::sum(ops::mul(y, drawn(c, {M, N}, s.dtype, 8))));
  std::vector<Values> out{doubles(y), doubles(mean), doubles(var)};
  for (const Tensor* t : {&x, &w, &b, &weight, &bias})
    if (t->defined()) out.push_back(doubles(t->gradient()));
  return out;
}

TEST(fused, linear_batch_norm_is_both_ops_one_after_the_other) {
  for (const Setting& s : settings())
    for (const auto& [M, N, K] : {std::array<int64_t, 3>{2, 1, 1}, {7, 5, 3}, {33, 70, 20}, {5, 3, 700}}) {
      SCOPED_TRACE(fmt::format("{} {} math {} of {} x {} x {}", to_string(s.device), dtype_name(s.dtype), static_cast<int>(s.math), M, N, K));
      for (Activation a : {Activation::relu, Activation::leaky_relu}) expect_equal(normed(s, M, N, K, a, true), normed(s, M, N, K, a, false), s.dtype, s.math);
      // Without an activation the gradient of a bias before a normalisation is nothing but rounding.
      expect_equal(normed(s, M, N, K, Activation::none, true, false), normed(s, M, N, K, Activation::none, false, false), s.dtype, s.math);
    }
}

// What a call gives with one thread and with three, without the gradients: those are products by BLAS, which adds in another
// order with other threads. So does the product of the forward pass: call it with K = 1, where there is nothing to add.
template <class F>
void expect_same_bits_with_any_number_of_threads(size_t results, F&& call) {
  const int before = threads();
  set_threads(1);
  std::vector<Values> one = call();
  set_threads(3);
  std::vector<Values> three = call();
  set_threads(before);
  one.resize(results), three.resize(results);
  EXPECT_EQ(three, one);
}

TEST(fused, linear_batch_norm_has_the_same_bits_with_any_number_of_threads) {
  expect_same_bits_with_any_number_of_threads(3, [] {
    return normed({{DeviceType::cpu, 0}, DType::f32, MathMode::ieee}, 40, 900, 1, Activation::leaky_relu, true);
  });
}

TEST(fused, linear_batch_norm_refuses_what_the_two_ops_refuse) {
  Context c;
  const DType t = DType::f32;
  const Tensor w = drawn(c, {4, 3}, t, 1), of4 = drawn(c, {4}, t, 2, 0.5, 1), of3 = drawn(c, {3}, t, 3), none;
  auto message = [&](const Tensor& x, const Tensor& weight, const Tensor& running) {
    return error_of([&] { ops::linear_batch_norm(x, w, none, Activation::none, 0, weight, none, running, of4); }).message();
  };
  EXPECT_CONTAINS(message(drawn(c, {1, 3}, t, 4), none, of4), "batch_norm: training needs more than one value a channel, x[1, 4] has 1");
  EXPECT_CONTAINS(message(drawn(c, {0, 3}, t, 4), none, of4), "training needs more than one value a channel");
  EXPECT_CONTAINS(message(drawn(c, {5, 2}, t, 4), none, of4), "linear: x[5, 2] against W[4, 3]");
  EXPECT_CONTAINS(message(drawn(c, {5, 3}, t, 4), of3, of4), "linear_batch_norm: weight[3]");
  EXPECT_CONTAINS(message(drawn(c, {5, 3}, t, 4), none, of3), "linear_batch_norm: running_mean[3]");
  EXPECT_CONTAINS(message(drawn(c, {5, 3}, t, 4), none, none), "running_mean or running_var is not there");
}

// Loss, its parts and all gradients of a last layer with its loss.
std::vector<Values> compared(const Setting& s, int64_t B, int64_t R, int64_t G, int64_t H, bool fused, double factor, bool with_bias = true, bool tape = true) {
  Context c(s.device);
  c.stream().math = s.math;
  Tensor h = drawn(c, {R, H}, s.dtype, 1), w = drawn(c, {G, H}, s.dtype, 2), b, mu = drawn(c, {B, 3}, s.dtype, 4), logvar = drawn(c, {B, 3}, s.dtype, 5);
  const Tensor target = drawn(c, {R, G}, s.dtype, 6, -2, 2);
  if (with_bias) b = drawn(c, {G}, s.dtype, 3);
  for (Tensor* t : {&h, &w, &b, &mu, &logvar})
    if (t->defined()) t->require_gradient("leaf");
  auto loss_of = [&] {
    if (fused) return ops::linear_huber_kl(h, w, b, target, mu, logvar, 0.7, 0.3);
    const Tensor pred = ops::linear(h, w, b);
    return ops::huber_kl(ops::reshape(pred, {B, R / B * G}), target.view({B, R / B * G}), mu, logvar, 0.7, 0.3);
  };
  if (!tape) return {doubles(loss_of().parts)};
  Tape recording(c);
  const ops::VaeLoss loss = loss_of();
  recording.backward(factor == 1 ? loss.loss : ops::scale(loss.loss, factor));
  std::vector<Values> out{doubles(loss.loss), doubles(loss.parts)};
  for (const Tensor* t : {&h, &w, &b, &mu, &logvar})
    if (t->defined()) out.push_back(doubles(t->gradient()));
  return out;
}

TEST(fused, linear_huber_kl_is_both_ops_one_after_the_other) {
  for (const Setting& s : settings())
    for (const auto& [B, R, G, H] : {std::array<int64_t, 4>{1, 1, 1, 1}, {7, 7, 5, 3}, {3, 12, 70, 20}, {33, 66, 70, 9}, {5, 5, 3, 700}}) {
      SCOPED_TRACE(fmt::format("{} {} math {} of {}, {} x {} x {}", to_string(s.device), dtype_name(s.dtype), static_cast<int>(s.math), B, R, G, H));
      expect_equal(compared(s, B, R, G, H, true, 1), compared(s, B, R, G, H, false, 1), s.dtype);
      expect_equal(compared(s, B, R, G, H, true, -0.5), compared(s, B, R, G, H, false, -0.5), s.dtype);
      expect_equal(compared(s, B, R, G, H, true, 1, false), compared(s, B, R, G, H, false, 1, false), s.dtype);
      expect_equal(compared(s, B, R, G, H, true, 1, true, false), compared(s, B, R, G, H, false, 1, true, false), s.dtype);
    }
}

TEST(fused, linear_huber_kl_has_the_same_bits_with_any_number_of_threads) {
  expect_same_bits_with_any_number_of_threads(2, [] { return compared({{DeviceType::cpu, 0}, DType::f32, MathMode::ieee}, 300, 300, 1100, 1, true, 1); });
}

// 256 x 17001 f32 are stored past the caches; rows that begin anywhere in a line.
TEST(fused, linear_huber_kl_of_a_large_target_is_the_same) {
  const Setting cpu{{DeviceType::cpu, 0}, DType::f32, MathMode::ieee};
  expect_equal(compared(cpu, 256, 256, 17001, 3, true, 1), compared(cpu, 256, 256, 17001, 3, false, 1), DType::f32);
}

TEST(fused, linear_huber_kl_refuses_what_does_not_fit) {
  Context c;
  const DType t = DType::f32;
  const Tensor h = drawn(c, {6, 3}, t, 1), w = drawn(c, {4, 3}, t, 2), b = drawn(c, {4}, t, 3), target = drawn(c, {6, 4}, t, 4), mu = drawn(c, {3, 2}, t, 5);
  auto message = [&](const Tensor& hidden, const Tensor& wanted, const Tensor& mean, const Tensor& logvar, double delta = 1) {
    return error_of([&] { ops::linear_huber_kl(hidden, w, b, wanted, mean, logvar, delta, 1); }).message();
  };
  EXPECT_CONTAINS(message(drawn(c, {6, 2}, t, 1), target, mu, mu), "linear: x[6, 2] against W[4, 3]");
  EXPECT_CONTAINS(message(h, drawn(c, {6, 5}, t, 4), mu, mu), "linear_huber_kl: a product[6, 4] against target[6, 5]");
  EXPECT_CONTAINS(message(h, target, mu, drawn(c, {3, 1}, t, 5)), "mu[3, 2] with logvar[3, 1]");
  EXPECT_CONTAINS(message(h, target, drawn(c, {4, 2}, t, 5), drawn(c, {4, 2}, t, 5)), "6 rows for a batch of 4");
  EXPECT_CONTAINS(message(h, target, drawn(c, {0, 2}, t, 5), drawn(c, {0, 2}, t, 5)), "an empty batch");
  EXPECT_CONTAINS(message(drawn(c, {0, 3}, t, 1), drawn(c, {0, 4}, t, 4), mu, mu), "0 rows for a batch of 3");
  EXPECT_CONTAINS(message(h, target, mu, mu, 0), "delta 0 is not positive");
  EXPECT_CONTAINS(message(h, drawn(c, {6, 4}, DType::f64, 4), mu, mu), "different types");
  Tensor asking = drawn(c, {6, 4}, t, 4);
  asking.require_gradient("target");
  EXPECT_CONTAINS(message(h, asking, mu, mu), "target needs a gradient");
}

TEST(fused, nan_in_a_weight_reaches_the_loss) {
  for (Device device : host_devices()) {
    Context c(device);
    const Tensor h = drawn(c, {3, 2}, DType::f32, 1), target = drawn(c, {3, 2}, DType::f32, 2), mu = drawn(c, {3, 1}, DType::f32, 3);
    const Tensor w = Tensor::from(c, {2, 2}, std::vector<float>{1, 2, NAN, 1});
    const std::vector<float> parts = ops::linear_huber_kl(h, w, Tensor(), target, mu, mu, 1, 1).parts.host<float>();
    EXPECT_TRUE(std::isnan(parts[0]) && std::isnan(parts[1]));
    EXPECT_TRUE(std::isfinite(parts[2]));
  }
}

// A normalisation of `channels` before two layers, one of them without bias, which read `length` positions of each channel.
class Before : public Module {
 public:
  Before(int64_t channels, int64_t length) : norm(channels), a(channels * length, 6), b(channels * length, 4, false) {
    declare_module("norm", norm);
    declare_module("a", a);
    declare_module("b", b);
  }
  Tensor forward(const Tensor& x) override { return a(ops::reshape(norm(x), {x.size(0), a.weight.size(1)})); }
  std::vector<NormBeforeLinear> places() { return {{&norm, {&a, &b}}}; }
  BatchNorm1d norm;
  Linear a, b;
};

TEST(folded, layers_give_what_they_give_behind_the_normalisation) {
  for (const Setting& s : settings())
    for (int64_t length : {1, 5}) {
      SCOPED_TRACE(fmt::format("{} {} math {}, length {}", to_string(s.device), dtype_name(s.dtype), static_cast<int>(s.math), length));
      Context c(s.device);
      Before net(3, length);
      ModuleState state(c, net, 1, s.dtype);
      for (const auto& [t, stream] : {std::pair{&net.norm.weight, 1u}, {&net.norm.bias, 2u}, {&net.norm.running_mean, 3u}})
        t->assign(drawn(c, {3}, s.dtype, stream));
      net.norm.running_var.assign(drawn(c, {3}, s.dtype, 4, 0.5, 2));
      net.set_training(false);
      const Tensor x = length == 1 ? drawn(c, {7, 3}, s.dtype, 5) : drawn(c, {7, 3, length}, s.dtype, 5);
      const Values before = doubles(state.flat_parameters()), a = doubles(net(x)), b = doubles(net.b(net.norm(x).view({7, 3 * length})));
      {
        const Folded folded(net.places());
        EXPECT_TRUE(net.norm.folded);
        EXPECT_EQ(doubles(net.norm(x)), doubles(x));
        EXPECT_LE(worst(doubles(net(x)), a), tolerance(s.dtype));
        EXPECT_LE(worst(doubles(net.b(x.view({7, 3 * length}))), b), tolerance(s.dtype));
        {
          const Folded again(net.places());
          EXPECT_LE(worst(doubles(net(x)), a), tolerance(s.dtype)) << "what is folded is not folded twice";
        }
        EXPECT_TRUE(net.norm.folded) << "the outer one ends it";
        EXPECT_EQ(doubles(state.flat_parameters()), before);
      }
      EXPECT_FALSE(net.norm.folded || net.b.bias.defined());
      EXPECT_TRUE(net.a.weight.same_memory(state.flat_parameters()));
      EXPECT_EQ(doubles(net(x)), a) << "the same bits as before";
      EXPECT_EQ(doubles(state.flat_parameters()), before);
    }
}

TEST(folded, an_error_leaves_all_as_it_was) {
  Context c;
  Sequential net(std::make_unique<BatchNorm1d>(3), std::make_unique<Linear>(3, 2), std::make_unique<BatchNorm1d>(2), std::make_unique<Linear>(2, 2));
  const ModuleState state(c, net, 1);
  net.set_training(false);
  net[2].set_training(true);
  auto &first = dynamic_cast<BatchNorm1d&>(net[0]), &second = dynamic_cast<BatchNorm1d&>(net[2]);
  auto &a = dynamic_cast<Linear&>(net[1]), &b = dynamic_cast<Linear&>(net[3]);
  EXPECT_CONTAINS(error_of([&] { const Folded folded({{&first, {&a}}, {&second, {&b}}}); }).message(), "fold: a batch normalisation in training mode");
  EXPECT_FALSE(first.folded || second.folded);
  EXPECT_TRUE(a.weight.same_memory(state.flat_parameters()) && a.bias.same_memory(state.flat_parameters()));
}

TEST(folded, not_in_training_nor_where_the_context_says_no) {
  Context c;
  Before net(3, 1);
  const ModuleState state(c, net, 1);
  EXPECT_CONTAINS(error_of([&] { const Folded folded(net.places()); }).message(), "fold: a batch normalisation in training mode");
  EXPECT_FALSE(net.norm.folded);
  net.set_training(false);
  c.fused = false;
  const Folded folded(net.places());
  EXPECT_FALSE(net.norm.folded);
}

}  // namespace
}  // namespace panvae::test
