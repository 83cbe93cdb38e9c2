// Loss curves of the three math modes, from the same weights, samples and noise, through the CUDA kernels on simt, and on a GPU
// where there is one: they may lie apart only as far as their rounding explains.
//
// The bound. A mode rounds both operands of each product to nearest, by a unit roundoff u of 2^-11 (tf32) or 2^-8 (bf16), and
// adds in f32; so a product is off by at most 2 u of its terms, and a chain of n products by 2 n u. Gradients are off by as
// much relative to their size, and what a step gains is, to first order, off by that share of itself; all that is gained is
// less than the loss of the first step. Hence |L - L_ieee| <= 2 n u L_ieee(first step), at every step, n being the products
// from the input to the reconstruction. Errors of single elements are random and average out, which is why the curves keep
// well within; errors that all point one way, as those of a sum that is cut off, do not, and leave the bound.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "engine/optimizer.h"
#include "engine/tape.h"
#include "models/atac_block_vae.h"
#include "models/atac_hierarchical_vae.h"
#include "models/rna_vae.h"
#include "models/training_task.h"

namespace panvae::test {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kSteps = 2;  // a barrier takes milliseconds there
#else
constexpr int kSteps = 20;
#endif
constexpr int64_t kBatch = 16;

double roundoff(MathMode mode) {
  return mode == MathMode::tf32 ? 0x1p-11 : mode == MathMode::bf16 ? 0x1p-8 : 0x1p-24;
}
const char* name(MathMode mode) {
  return mode == MathMode::tf32 ? "tf32" : mode == MathMode::bf16 ? "bf16" : "ieee";
}

// Samples that a few hidden programs make, and some noise.
std::vector<float> samples_of(int64_t features) {
  PhiloxSequence draw({3, 0, 0});
  std::vector<double> programs(static_cast<size_t>(3 * features));
  for (double& v : programs) v = draw.normal();
  std::vector<float> x;
  for (int64_t i = 0; i < kBatch; ++i) {
    double activity[3];
    for (double& a : activity) a = draw.normal();
    for (int64_t f = 0; f < features; ++f) {
      double v = 0.1 * draw.normal();
      for (int64_t p = 0; p < 3; ++p) v += activity[p] * programs[static_cast<size_t>(p * features + f)];
      x.push_back(static_cast<float>(v));
    }
  }
  return x;
}

// The loss before each step.
std::vector<double> curve(Vae& model, MathMode mode, Device device = {DeviceType::simt, 0}, double learning_rate = 3e-3, int steps = kSteps) {
  Context context(device, 7);
  context.stream().math = mode;
  context.stream().simt = {simt::Order::forward, 1, 1};
  ModuleState state(context, model, 5);
  Adam adam(state);
  adam.learning_rate = learning_rate;
  const Tensor x = Tensor::from(context, {kBatch, model.features()}, samples_of(model.features()));
  std::vector<double> losses;
  for (int s = 0; s < steps; ++s) {
    {
      Step step(context);
      Tape tape(context);
      const ItemLoss out = vae_loss(context, model, x, true, 1.0, 0.1);
      adam.zero_grad();
      tape.backward(out.loss.loss);
      losses.push_back(static_cast<double>(out.loss.parts.host<float>()[0]));
    }
    adam.step();
    context.generator.next_step();
  }
  return losses;
}

// The largest distance over all steps, in units of the first step's loss.
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]) / b[0]);
  return most;
}

template <class Model, class Shape>
void expect_close_curves(const Shape& shape, int products, Device on = {DeviceType::simt, 0}, double learning_rate = 3e-3) {
  const auto of_on = [&](MathMode mode, Device device) {
    Model model(shape);
    return curve(model, mode, device, learning_rate);
  };
  const auto of = [&](MathMode mode) { return of_on(mode, on); };
  const std::vector<double> ieee = of(MathMode::ieee);
  EXPECT_LT(ieee.back(), (kSteps > 10 ? 0.95 : 1.0) * ieee.front()) << "nothing was learnt";
  EXPECT_LE(distance(of_on(MathMode::ieee, {DeviceType::cpu, 0}), ieee), 1e-4) << "kernels against the cpu";
  for (const MathMode mode : {MathMode::tf32, MathMode::bf16}) {
    const double bound = 2 * products * roundoff(mode), far = distance(of(mode), ieee);
    std::printf("%s: %.2e from ieee at most, bound %.2e\n", name(mode), far, bound);
    EXPECT_LE(far, bound) << name(mode);
    EXPECT_GT(far, 0) << name(mode) << " did not round";
  }
}

TEST(math_modes, loss_curves_of_the_rna_vae) {
  expect_close_curves<RnaVae>(RnaVaeShape{.genes = 67, .hidden = 24, .latent = 5}, 4);
}
TEST(math_modes, loss_curves_of_the_block_vae) {
  expect_close_curves<AtacBlockVae>(AtacBlockVaeShape{.block = 60, .widths = {24, 16}, .latent = 4}, 5);
}
TEST(math_modes, loss_curves_of_the_hierarchical_vae) {
  expect_close_curves<AtacHierarchicalVae>(AtacHierarchicalVaeShape{.blocks = 7, .block_latent = 10, .channels = 4, .widths = {20}, .latent = 4}, 6);
}

// By whoever computes products there by default: sizes of the paper where they are cheap to compute on the cpu too.
class OnCuda : public testing::Test {
 public:
  void TestBody() override {
    const Device cuda{DeviceType::cuda, 0};
    constexpr double kRate = 1e-4;  // of the paper; a larger one makes the first three jump at this width, and small differences grow
    expect_close_curves<RnaVae>(RnaVaeShape{.genes = 5003, .hidden = 256, .latent = 64}, 4, cuda, kRate);
    expect_close_curves<RnaVae>(RnaVaeShape{.genes = 5004, .hidden = 256, .latent = 64}, 4, cuda, kRate);
    expect_close_curves<AtacBlockVae>(AtacBlockVaeShape{.block = 1000, .widths = {256, 128}, .latent = 64}, 5, cuda, kRate);
    expect_close_curves<AtacHierarchicalVae>(AtacHierarchicalVaeShape{.blocks = 113, .block_latent = 64, .channels = 16, .widths = {256}, .latent = 64}, 6,
                                             cuda);
  }
};
[[maybe_unused]] const bool registered = [] {
  if (cuda_backend().device_count() > 0)
    testing::RegisterTest("math_modes", "cuda", nullptr, nullptr, __FILE__, __LINE__, []() -> testing::Test* { return new OnCuda; });
  return true;
}();

// ---- a fault
float cut_to_bf16(float x) {
  return std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0xFFFF0000u);
}

// The network of RnaVae; its forward products may be added up in bf16, cut off, instead of in f32.
class Faulty : public Vae {
 public:
  Faulty(int64_t genes, bool fault)
      : genes_(genes),
        fault_(fault),
        hidden_(genes, 24, true, {Activation::relu, 0}),
        mean_(24, 5),
        logvar_(24, 5),
        up_(5, 24, true, {Activation::relu, 0}),
        out_(24, genes) {
    declare_module("hidden", hidden_);
    declare_module("mean", mean_);
    declare_module("logvar", logvar_);
    declare_module("up", up_);
    declare_module("out", out_);
  }
  int64_t features() const override { return genes_; }
  int64_t latent() const override { return 5; }
  Posterior encode(const Tensor& x) override {
    const Tensor h = product(hidden_, x);
    return {product(mean_, h), product(logvar_, h)};
  }
  Tensor decode(const Tensor& z) override { return product(out_, product(up_, z)); }

 private:
  Tensor product(Linear& layer, const Tensor& x) {
    Tensor y = layer(x);
    if (!fault_) return y;
    // simt's memory is the host's.
    const float *in = x.data<float>(), *w = layer.weight.data<float>(), *bias = layer.bias.data<float>();
    for (int64_t i = 0; i < y.size(0); ++i)
      for (int64_t j = 0; j < y.size(1); ++j) {
        float sum = 0;
        for (int64_t k = 0; k < x.size(1); ++k) sum = cut_to_bf16(sum + in[i * x.size(1) + k] * w[j * x.size(1) + k]);
        sum += bias[j];
        y.data<float>()[i * y.size(1) + j] = layer.has_activation() && sum < 0 ? 0 : sum;
      }
    return y;
  }

  int64_t genes_;
  bool fault_;
  Linear hidden_, mean_, logvar_, up_, out_;
};

TEST(math_modes, sums_that_are_cut_off_leave_the_bound) {
  // Errors that point one way add up over the steps: two are too few to tell them.
  const auto of = [](bool fault, MathMode mode) {
    Faulty model(67, fault);
    return curve(model, mode, {DeviceType::simt, 0}, 3e-3, 20);
  };
  const std::vector<double> ieee = of(false, MathMode::ieee);
  EXPECT_LE(distance(of(false, MathMode::bf16), ieee), 2 * 4 * roundoff(MathMode::bf16));
  const double far = distance(of(true, MathMode::ieee), ieee), of_tf32 = 2 * 4 * roundoff(MathMode::tf32);
  std::printf("cut off: %.2e from ieee at most, bound of tf32 %.2e, of bf16 %.2e\n", far, of_tf32, 2 * 4 * roundoff(MathMode::bf16));
  EXPECT_GT(far, of_tf32);
}

}  // namespace
}  // namespace panvae::test
