// What the RNA VAE needs, against PyTorch.
#include "engine/layers.h"
#include "engine/ops/activation.h"
#include "engine/ops/arithmetic.h"
#include "engine/ops/linear.h"
#include "engine/ops/vae.h"
#include "engine/optimizer.h"
#include "torch_reference.h"

namespace panvae::test {
namespace {

TEST(torch, linear) {
  const int n = cases_of("linear", "x");
  EXPECT_EQ(n, 4);
  for (const Where& w : everywhere())
    for (int i = 0; i < n; ++i) {
      const std::string k = "linear." + std::to_string(i) + ".";
      Context c(w.device);
      Tensor x = load(c, k + "x", w.dtype), weight = load(c, k + "weight", w.dtype), bias = load(c, k + "bias", w.dtype);
      x.require_gradient("x"), weight.require_gradient("weight"), bias.require_gradient("bias");
      Tape tape(c);
      const Tensor y = ops::linear(x, weight, bias);
      tape.backward(objective(c, y, k + "gy", w.dtype));
      expect_reference(y, k + "y", w);
      expect_reference(x.gradient(), k + "gx", w);
      expect_reference(weight.gradient(), k + "gweight", w);
      expect_reference(bias.gradient(), k + "gbias", w);
    }
}

TEST(torch, leaky_relu) {
  const int n = cases_of("leaky_relu", "x");
  EXPECT_EQ(n, 2);
  for (const Where& w : everywhere())
    for (int i = 0; i < n; ++i) {
      const std::string k = "leaky_relu." + std::to_string(i) + ".";
      Context c(w.device);
      Tensor x = load(c, k + "x", w.dtype);
      x.require_gradient("x");
      Tape tape(c);
      const Tensor y = ops::leaky_relu(x, options("leaky_relu." + std::to_string(i))["negative_slope"]);
      tape.backward(objective(c, y, k + "gy", w.dtype));
      expect_reference(y, k + "y", w);
      expect_reference(x.gradient(), k + "gx", w);
    }
}

TEST(torch, huber_kl) {
  const int n = cases_of("huber_kl", "mu");
  EXPECT_EQ(n, 3);
  for (const Where& w : everywhere())
    for (int i = 0; i < n; ++i) {
      const std::string name = "huber_kl." + std::to_string(i), k = name + ".";
      Context c(w.device);
      Tensor pred = load(c, k + "reconstruction", w.dtype), target = load(c, k + "target", w.dtype), mu = load(c, k + "mu", w.dtype),
             logvar = load(c, k + "logvar", w.dtype);
      pred.require_gradient("pred"), mu.require_gradient("mu"), logvar.require_gradient("logvar");
      Tape tape(c);
      const ops::VaeLoss loss = ops::huber_kl(pred, target, mu, logvar, options(name)["delta"], options(name)["kl_weight"]);
      tape.backward(loss.loss);
      const std::vector<double> parts = doubles(loss.parts);
      expect_values({parts[0]}, values(k + "loss"), w, k + "loss");
      expect_values({parts[1]}, values(k + "huber"), w, k + "huber");
      expect_values({parts[2]}, values(k + "kl"), w, k + "kl");
      expect_reference(pred.gradient(), k + "greconstruction", w);
      expect_reference(mu.gradient(), k + "gmu", w);
      expect_reference(logvar.gradient(), k + "glogvar", w);
    }
}

// Parameters of a size of their own, to be given values and gradients.
class Holder : public Module {
 public:
  Holder(std::initializer_list<Shape> shapes) : tensors(shapes.size()) {
    size_t i = 0;
    for (const Shape& s : shapes) declare_parameter(fmt::format("p{}", i), tensors[i], s, Init::constant(0)), ++i;
  }
  Tensor forward(const Tensor& x) override { return x; }
  // Each tensor gets `gradients[i]` through the tape, as the derivative of sum(p * g).
  void backward(Context& c, const std::vector<Tensor>& gradients) {
    Tape tape(c);
    Tensor loss;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const Tensor one = ops::sum(ops::mul(tensors[i], gradients[i]));
      loss = loss.defined() ? ops::add(loss, one) : one;
    }
    tape.backward(loss);
  }
  std::vector<Tensor> tensors;
};

TEST(torch, adam_and_adamw) {
  for (const Where& w : everywhere())
    for (int i = 0; i < 2; ++i) {
      const std::string name = "adam." + std::to_string(i), k = name + ".";
      const Json o = options(name);
      AdamOptions a;
      a.decoupled = o["kind"] == "AdamW";
      a.weight_decay = o.value("weight_decay", 0.0);
      a.eps = o.value("eps", 1e-8);
      if (o.contains("betas")) a.beta1 = o["betas"][0], a.beta2 = o["betas"][1];
      EXPECT_EQ(a.decoupled, i == 1);
      Context c(w.device);
      Holder holder{Shape{57}};
      ModuleState state(c, holder, 0, w.dtype);
      Adam adam(state, a);
      adam.learning_rate = o["lr"];
      holder.tensors[0].assign(load(c, k + "p0", w.dtype));
      for (int step = 0; step < o["steps"].get<int>(); ++step) {
        adam.zero_grad();
        holder.backward(c, {load(c, k + "g" + std::to_string(step), w.dtype)});
        adam.step();
        expect_reference(holder.tensors[0], k + "p" + std::to_string(step + 1), w);
      }
      EXPECT_EQ(adam.steps(), 5);
      EXPECT_EQ(adam.skipped(), 0);
    }
}

TEST(torch, clip_grad_norm) {
  for (const Where& w : everywhere())
    for (int i = 0; i < 2; ++i) {
      const std::string name = "clip_grad_norm." + std::to_string(i), k = name + ".";
      Context c(w.device);
      Holder holder{Shape{5, 7}, Shape{11}};
      ModuleState state(c, holder, 0, w.dtype);
      state.require_gradients();
      holder.backward(c, {load(c, k + "g0", w.dtype), load(c, k + "g1", w.dtype)});
      const double norm = clip_grad_norm(state, options(name)["max_norm"]);
      expect_values({norm}, values(k + "norm"), w, k + "norm");
      expect_reference(holder.tensors[0].gradient(), k + "g0_clipped", w);
      expect_reference(holder.tensors[1].gradient(), k + "g1_clipped", w);
    }
}

// Clipping within the optimizer is the same as clipping before it.
TEST(adam, clips_as_clip_grad_norm_does) {
  for (Device device : host_devices()) {
    std::vector<double> after[2];
    for (int within : {0, 1}) {
      Context c(device);
      Holder holder{Shape{5, 7}, Shape{11}};
      ModuleState state(c, holder, 0, DType::f64);
      Adam adam(state);
      if (within) adam.max_norm = 0.5;
      adam.zero_grad();
      holder.backward(c, {load(c, "clip_grad_norm.0.g0", DType::f64), load(c, "clip_grad_norm.0.g1", DType::f64)});
      if (!within) clip_grad_norm(state, 0.5);
      adam.step();
      after[within] = state.flat_parameters().host<double>();
      if (within) {
        EXPECT_NEAR(adam.gradient_norm(), values("clip_grad_norm.0.norm")[0], 1e-10);
      }
    }
    for (size_t i = 0; i < after[0].size(); ++i) EXPECT_NEAR(after[0][i], after[1][i], 1e-12);
  }
}

TEST(adam, skips_and_counts_a_step_whose_gradient_is_not_finite) {
  for (Device device : host_devices())
    for (float bad : {INFINITY, -INFINITY, NAN}) {
      Context c(device);
      Holder holder{Shape{4}};
      ModuleState state(c, holder, 0);
      Adam adam(state);
      adam.zero_grad();
      holder.backward(c, {tensor(c, {4}, {1, 1, 1, 1})});
      adam.step();
      const auto p = state.flat_parameters().host<float>(), m = adam.first_moment().host<float>(), v = adam.second_moment().host<float>();
      adam.zero_grad();
      holder.backward(c, {tensor(c, {4}, {1, bad, 1, 1})});
      adam.step();
      EXPECT_EQ(state.flat_parameters().host<float>(), p);
      EXPECT_EQ(adam.first_moment().host<float>(), m);
      EXPECT_EQ(adam.second_moment().host<float>(), v);
      EXPECT_EQ(adam.steps(), 1);
      EXPECT_EQ(adam.skipped(), 1);
      EXPECT_FALSE(std::isfinite(adam.gradient_norm()));
      adam.zero_grad();
      holder.backward(c, {tensor(c, {4}, {1, 1, 1, 1})});
      adam.step();
      EXPECT_EQ(adam.steps(), 2);
      EXPECT_NE(state.flat_parameters().host<float>(), p) << "training goes on";
    }
}

TEST(adam, an_unused_parameter_does_not_see_the_gradient_of_an_earlier_step) {
  Context c;
  Holder holder{Shape{2}, Shape{2}};
  ModuleState state(c, holder, 0);
  Adam adam(state, {.beta1 = 0, .beta2 = 0});
  adam.zero_grad();
  holder.backward(c, {tensor(c, {2}, {1, 1}), tensor(c, {2}, {1, 1})});
  adam.step();
  const auto before = holder.tensors[1].host<float>();
  adam.zero_grad();
  Tape tape(c);
  tape.backward(ops::sum(holder.tensors[0]));
  adam.step();
  EXPECT_EQ(holder.tensors[1].host<float>(), before);
}

TEST(adam, a_step_counts_as_a_write_in_place) {
  Context c;
  Holder holder{Shape{2}};
  ModuleState state(c, holder, 0);
  Adam adam(state);
  Tape tape(c);
  const Tensor loss = ops::sum(ops::mul(holder.tensors[0], holder.tensors[0]));
  adam.step();
  EXPECT_CONTAINS(error_of([&] { tape.backward(loss); }).message(), "changed in place");
}

TEST(adam, refuses_senseless_options) {
  Context c;
  Holder holder{Shape{2}};
  ModuleState state(c, holder, 0);
  error_of([&] { Adam(state, {.beta1 = 1}); });
  error_of([&] { Adam(state, {.beta2 = -0.1}); });
  error_of([&] { Adam(state, {.eps = 0}); });
  error_of([&] { Adam(state, {.weight_decay = -1}); });
  error_of([&] { clip_grad_norm(state, 0); });
}

TEST(schedule, constant) {
  const Schedule s{.base = 0.3};
  EXPECT_EQ(s.at(0), 0.3);
  EXPECT_EQ(s.at(1000000), 0.3);
}

TEST(schedule, warmup_rises_in_a_line_and_stays) {
  const Schedule s{.kind = Schedule::Kind::warmup, .base = 1, .warmup_steps = 4};
  for (int i = 0; i < 4; ++i) EXPECT_DOUBLE_EQ(s.at(i), (i + 1) / 4.0);
  EXPECT_EQ(s.at(4), 1);
  EXPECT_EQ(s.at(999), 1);
}

TEST(schedule, cosine_falls_from_base_to_floor) {
  const Schedule s{.kind = Schedule::Kind::cosine, .base = 1, .warmup_steps = 2, .total_steps = 12, .floor = 0.1};
  EXPECT_DOUBLE_EQ(s.at(0), 0.5);
  EXPECT_DOUBLE_EQ(s.at(2), 1);
  EXPECT_DOUBLE_EQ(s.at(7), 0.55);
  EXPECT_DOUBLE_EQ(s.at(12), 0.1);
  EXPECT_DOUBLE_EQ(s.at(500), 0.1);
  for (int i = 2; i < 12; ++i) EXPECT_GT(s.at(i), s.at(i + 1));
}

}  // namespace
}  // namespace panvae::test
