// Models with the fused ops and without: the same numbers to rounding.
#include "atac_helpers.h"
#include "models/reconstruction_loss.h"

namespace panvae::test {
namespace {

std::vector<std::unique_ptr<Vae>> networks() {
  std::vector<std::unique_ptr<Vae>> all;
  all.push_back(std::make_unique<RnaVae>(RnaVaeShape{.genes = 70, .hidden = 20, .latent = 6}));
  all.push_back(std::make_unique<AtacBlockVae>(AtacBlockVaeShape{.block = 40, .widths = {20, 12, 10}, .latent = 5}));
  all.push_back(
      std::make_unique<AtacHierarchicalVae>(AtacHierarchicalVaeShape{.blocks = 6, .block_latent = 4, .channels = 3, .widths = {14, 12}, .latent = 5}));
  return all;
}

// Running statistics and affine maps that are no identity.
void disturb(const ModuleState& state) {
  for (const auto* entries : {&state.entries(), &state.buffer_entries()})
    for (const auto& e : *entries) {
      if (e.name.find("norm.") == std::string::npos) continue;
      Tensor t = e.tensor;
      std::vector<float> v(static_cast<size_t>(t.count()));
      for (size_t i = 0; i < v.size(); ++i) v[i] = 0.4f + 0.1f * static_cast<float>(i % 7);
      t.upload(v.data(), t.count());
    }
}

struct Outcome {
  std::vector<float> parts, gradients, statistics;
};
// Of a step in training, or of a loss in validation.
Outcome step(Device device, Vae& model, bool fused, bool training) {
  Context c(device);
  c.fused = fused;
  ModuleState state(c, model, 3);
  disturb(state);
  model.set_training(training);
  const Tensor x = tensor(c, {9, model.features()}, ramp(static_cast<size_t>(9 * model.features())));
  Outcome out;
  if (!training) {
    out.parts = vae_loss(c, model, x, false, 0.5, 0.3).loss.parts.host<float>();
    return out;
  }
  state.require_gradients();
  state.forget_gradients();
  Tape tape(c);
  const ops::VaeLoss loss = vae_loss(c, model, x, true, 0.5, 0.3).loss;
  tape.backward(loss.loss);
  state.settle_gradients();
  out.parts = loss.parts.host<float>();
  out.gradients = state.flat_gradients().host<float>();
  out.statistics = state.flat_buffers().host<float>();
  return out;
}

TEST(fused_models, a_step_is_the_unfused_one) {
  for (Device device : host_devices())
    for (const auto& model : networks())
      for (bool training : {true, false}) {
        const Outcome fused = step(device, *model, true, training), unfused = step(device, *model, false, training);
        SCOPED_TRACE(fmt::format("{}: {} features", to_string(device), model->features()));
        EXPECT_LE(worst_relative(fused.parts, unfused.parts), 2e-6);
        if (!training) continue;
        EXPECT_LE(worst_relative(fused.gradients, unfused.gradients), 1e-5);
        if (!unfused.statistics.empty()) {
          EXPECT_LE(worst_relative(fused.statistics, unfused.statistics), 2e-6);
        }
      }
}

TEST(fused_models, samples_of_several_rows) {
  std::vector<std::vector<float>> parts;
  for (bool fused : {true, false}) {
    Context c;
    c.fused = fused;
    AtacBlockVae model({.block = 40, .widths = {20, 12, 10}, .latent = 5});
    const ModuleState state(c, model, 3);
    disturb(state);
    model.set_training(false);
    const Posterior q{tensor(c, {3, 2}, ramp(6)), tensor(c, {3, 2}, ramp(6))};
    const Tensor z = tensor(c, {12, 5}, ramp(60)), target = tensor(c, {12, 40}, ramp(480));
    parts.push_back(reconstruction_loss(model, z, target, q, 1, 0.5).parts.host<float>());
    EXPECT_CONTAINS(error_of([&] { reconstruction_loss(model, z, tensor(c, {12, 39}, ramp(468)), q, 1, 0.5); }).message(), "against target[12, 39]");
  }
  EXPECT_LE(worst_relative(parts[0], parts[1]), 2e-6);
}

TEST(fused_models, folded_inference_gives_the_same_and_leaves_the_weights) {
  for (Device device : host_devices())
    for (const auto& model : networks()) {
      SCOPED_TRACE(fmt::format("{}: {} features", to_string(device), model->features()));
      Context c(device);
      const ModuleState state(c, *model, 3);
      disturb(state);
      const std::vector<float> before = state.flat_parameters().host<float>();
      const std::vector<float> x = ramp(static_cast<size_t>(5 * model->features()));
      std::vector<Posteriors> q;
      std::vector<std::vector<float>> decoded;
      for (bool fused : {true, false}) {
        c.fused = fused;
        MatrixSource source(c, x.data(), 5, model->features());
        q.push_back(posteriors(c, *model, source, true));
        decoded.push_back(decodings(c, *model, q.back().mean.data(), 5));
      }
      EXPECT_LE(worst_relative(q[0].mean, q[1].mean), 5e-6);
      EXPECT_LE(worst_relative(q[0].logvar, q[1].logvar), 5e-6);
      EXPECT_LE(worst_relative(decoded[0], decoded[1]), 5e-6);
      EXPECT_EQ(state.flat_parameters().host<float>(), before);
    }
}

TEST(fused_models, every_normalisation_before_a_linear_layer_is_folded) {
  const auto all = networks();
  EXPECT_EQ(all[0]->foldable().size(), 0u);
  EXPECT_EQ(all[1]->foldable().size(), 5u) << "three of the encoder, two of the decoder";
  EXPECT_EQ(all[2]->foldable().size(), 5u) << "the convolution's and two of the encoder; of three in the decoder the last has a convolution behind it";
}

// The loss of a batch with a weight that is NaN is explained by the ops between, which the guard sees.
TEST(fused_models, the_guard_names_where_nan_came_from) {
  Context c;
  RnaVae model({.genes = 7, .hidden = 4, .latent = 2});
  ModuleState state(c, model, 1);
  const std::vector<float> bad{NAN};
  model.last_layer()->weight.part(3, {1}).upload(bad.data(), 1);
  const Tensor x = tensor(c, {3, 7}, ramp(21));
  EXPECT_TRUE(std::isnan(vae_loss(c, model, x, true, 1, 1).loss.parts.host<float>()[0]));
  c.nan_guard = true;
  const Error e = error_of([&] { vae_loss(c, model, x, true, 1, 1); });
  EXPECT_EQ(e.op(), "linear");
  EXPECT_CONTAINS(e.message(), "its output of shape [3, 7] holds a NaN or an infinity");
}

}  // namespace
}  // namespace panvae::test
