// The two networks of ATAC: sizes, formulas, gradients.
#include <map>

#include "atac_helpers.h"
#include "engine/gradcheck.h"
#include "models/atac_preset.h"

namespace panvae::test {
namespace {

std::vector<std::string> names_of(const ModuleState& state) {
  std::vector<std::string> names;
  for (const auto& e : state.entries()) names.push_back(e.name + " " + e.tensor.shape().str());
  return names;
}

TEST(atac_block_vae, has_the_modules_of_the_paper) {
  Context c;
  AtacBlockVae model({.block = 9, .widths = {8, 7, 6}, .latent = 5});
  ModuleState state(c, model, 1);
  EXPECT_EQ(names_of(state), (std::vector<std::string>{"encoder.modules.0.linear.weight [8, 9]",
                                                       "encoder.modules.0.linear.bias [8]",
                                                       "encoder.modules.0.norm.weight [8]",
                                                       "encoder.modules.0.norm.bias [8]",
                                                       "encoder.modules.1.linear.weight [7, 8]",
                                                       "encoder.modules.1.linear.bias [7]",
                                                       "encoder.modules.1.norm.weight [7]",
                                                       "encoder.modules.1.norm.bias [7]",
                                                       "encoder.modules.2.linear.weight [6, 7]",
                                                       "encoder.modules.2.linear.bias [6]",
                                                       "encoder.modules.2.norm.weight [6]",
                                                       "encoder.modules.2.norm.bias [6]",
                                                       "encoder.mean.weight [5, 6]",
                                                       "encoder.mean.bias [5]",
                                                       "encoder.logvar.weight [5, 6]",
                                                       "encoder.logvar.bias [5]",
                                                       "decoder.modules.0.linear.weight [7, 5]",
                                                       "decoder.modules.0.linear.bias [7]",
                                                       "decoder.modules.0.norm.weight [7]",
                                                       "decoder.modules.0.norm.bias [7]",
                                                       "decoder.modules.1.linear.weight [8, 7]",
                                                       "decoder.modules.1.linear.bias [8]",
                                                       "decoder.modules.1.norm.weight [8]",
                                                       "decoder.modules.1.norm.bias [8]",
                                                       "decoder.output.weight [9, 8]",
                                                       "decoder.output.bias [9]"}));
  EXPECT_EQ(state.buffer_entries().size(), 10u) << "running mean and variance of five modules";
  EXPECT_EQ(mirrored_block_widths({4}), (std::vector<int64_t>{4}));
}

TEST(atac_block_vae, has_26_million_parameters_at_full_width) {
  Context c;
  AtacBlockVae model(AtacBlockVaeShape{});
  const int64_t count = ModuleState(c, model, 1).parameter_count();
  auto linear = [](int64_t in, int64_t out) { return in * out + out; };
  const int64_t norms = 2 * (2048 + 1024 + 512 + 1024 + 2048);
  EXPECT_EQ(count, linear(5000, 2048) + linear(2048, 1024) + linear(1024, 512) + 2 * linear(512, 512) + linear(512, 1024) + linear(1024, 2048) +
                       linear(2048, 5000) + norms);
  EXPECT_NEAR(static_cast<double>(count), 26e6, 0.5e6);
}

TEST(atac_hierarchical_vae, has_36_million_parameters_at_full_width) {
  Context c;
  AtacHierarchicalVae model(AtacHierarchicalVaeShape{});
  EXPECT_EQ(model.features(), 57856);
  const int64_t count = ModuleState(c, model, 1).parameter_count();
  EXPECT_NEAR(static_cast<double>(count), 36e6, 0.6e6);
}

TEST(atac_hierarchical_vae, has_the_layers_of_the_paper) {
  Context c;
  AtacHierarchicalVae model({.blocks = 4, .block_latent = 5, .channels = 3, .widths = {8, 7}, .latent = 6});
  ModuleState state(c, model, 1);
  std::map<std::string, std::string> shapes;
  for (const auto& e : state.entries()) shapes[e.name] = e.tensor.shape().str();
  EXPECT_EQ(shapes["encoder.conv.weight"], "[3, 5, 3]");
  EXPECT_EQ(shapes["encoder.norm.weight"], "[3]");
  EXPECT_EQ(shapes["encoder.modules.0.linear.weight"], "[8, 12]");
  EXPECT_EQ(shapes["encoder.modules.1.linear.weight"], "[7, 8]");
  EXPECT_EQ(shapes["encoder.mean.weight"], "[6, 7]");
  EXPECT_EQ(shapes["decoder.modules.0.linear.weight"], "[7, 6]");
  EXPECT_EQ(shapes["decoder.modules.1.linear.weight"], "[8, 7]");
  EXPECT_EQ(shapes["decoder.modules.2.linear.weight"], "[12, 8]");
  EXPECT_EQ(shapes["decoder.conv.weight"], "[3, 5, 3]");
  model.set_training(false);
  const Posterior q = model.encode(tensor(c, {2, 20}, ramp(40)));
  EXPECT_EQ(q.mean.shape(), Shape({2, 6}));
  EXPECT_EQ(q.logvar.shape(), Shape({2, 6}));
  EXPECT_EQ(model.decode(q.mean).shape(), Shape({2, 20}));
  EXPECT_CONTAINS(error_of([&] { model.encode(tensor(c, {2, 19}, ramp(38))); }).message(), "x[2, 19] for 4 blocks of 5");
}

// A change of one block's means reaches the filters of that block and its two neighbours only: positions are blocks.
TEST(atac_hierarchical_vae, convolves_along_the_blocks) {
  Context c;
  AtacHierarchicalVae model({.blocks = 6, .block_latent = 2, .channels = 3, .widths = {4}, .latent = 6});
  ModuleState state(c, model, 2);
  model.set_training(false);
  // One block of reconstruction depends on the positions around it: so a decoder whose module before the convolution is
  // silent but at one position writes three blocks.
  for (const auto& e : state.entries()) {
    Tensor t = e.tensor;
    std::vector<float> v(static_cast<size_t>(t.count()), 0.0f);
    if (e.name == "decoder.modules.1.norm.weight") v.assign(v.size(), 1.0f);
    if (e.name == "decoder.modules.1.norm.bias") v[0 * 6 + 3] = 1;  // channel 0, position 3 of [channels, blocks]
    if (e.name == "decoder.conv.weight") v.assign(v.size(), 1.0f);
    if (e.name.rfind("decoder.", 0) == 0) t.upload(v.data(), t.count());
  }
  const std::vector<float> y = model.decode(tensor(c, {1, 6}, std::vector<float>(6, 0.0f))).host<float>();
  for (int64_t block = 0; block < 6; ++block)
    for (int64_t latent = 0; latent < 2; ++latent) EXPECT_EQ(y[static_cast<size_t>(block * 2 + latent)], block >= 2 && block <= 4 ? 1 : 0) << block;
}

// The loss as a function of the input and all parameters, in f64. In training batch normalisation takes the batch.
template <class Model>
GradcheckResult check_gradients(Context& c, Model& model, int64_t batch, bool training) {
  ModuleState state(c, model, 3, DType::f64);
  for (const auto& e : state.buffer_entries()) {  // running statistics that are no identity
    Tensor t = e.tensor;
    std::vector<double> v(static_cast<size_t>(t.count()));
    for (size_t i = 0; i < v.size(); ++i) v[i] = 0.5 + 0.1 * static_cast<double>(i % 7);
    t.upload(v.data(), t.count());
  }
  model.set_training(training);
  std::vector<double> x(static_cast<size_t>(batch * model.features()));
  PhiloxSequence draw({9, 0, 0});
  for (double& v : x) v = draw.normal();
  std::vector<Tensor> inputs{Tensor::from(c, {batch, model.features()}, x)};
  for (const NamedTensor& p : model.parameters()) inputs.push_back(*p.tensor);
  const Tensor target = inputs[0].detach();
  return gradcheck(c,
                   [&](const std::vector<Tensor>& in) {
                     const std::vector<NamedTensor> slots = model.parameters();
                     for (size_t i = 0; i < slots.size(); ++i) *slots[i].tensor = in[i + 1];
                     const Posterior q = model.encode(in[0]);
                     const Tensor z = ops::reparameterize(q.mean, q.logvar, PhiloxKey{4, 0, 0});
                     return ops::huber_kl(model.decode(z), Tensor::from(c, target.shape(), x), q.mean, q.logvar, 1.0, 0.3).loss;
                   },
                   inputs, {}, {.tolerance = 1e-5});
}

TEST(atac_block_vae, gradients_are_right) {
  for (bool training : {true, false}) {
    Context c;
    AtacBlockVae model({.block = 7, .widths = {6, 5, 4}, .latent = 3});
    const GradcheckResult r = check_gradients(c, model, 6, training);
    EXPECT_TRUE(r.ok) << r.message;
  }
}

TEST(atac_hierarchical_vae, gradients_are_right) {
  for (bool training : {true, false}) {
    Context c;
    AtacHierarchicalVae model({.blocks = 4, .block_latent = 3, .channels = 2, .widths = {6, 5}, .latent = 3});
    const GradcheckResult r = check_gradients(c, model, 5, training);
    EXPECT_TRUE(r.ok) << r.message;
  }
}

TEST(atac_preset, follows_the_number_of_peaks) {
  EXPECT_EQ(atac_preset(562709).name, "paper");
  EXPECT_EQ(atac_preset(562709).block.block, 5000);
  EXPECT_EQ(atac_preset(562709).slide, 1000);
  EXPECT_EQ(atac_preset(100000).name, "paper");
  EXPECT_EQ(atac_preset(99999).name, "medium");
  EXPECT_EQ(atac_preset(40000).name, "medium");
  EXPECT_EQ(atac_preset(20000).name, "medium");
  EXPECT_EQ(atac_preset(19999).name, "small");
  EXPECT_EQ(atac_preset(13730).name, "small");
  EXPECT_EQ(atac_preset(4053).name, "small");
  EXPECT_EQ(atac_preset(300).block.block, 300) << "no block is longer than the peaks";
  EXPECT_EQ(atac_preset(100).slide, 100);
  for (int64_t peaks : {1, 300, 4053, 13730, 40000, 562709}) {
    const AtacPreset p = atac_preset(peaks);
    const BlockSchedule s(peaks, p.block.block, p.slide);
    EXPECT_EQ(s.size(), p.block.block);
  }
  EXPECT_CONTAINS(error_of([] { atac_preset(std::string("large")); }).message(), "large");
}

}  // namespace
}  // namespace panvae::test
