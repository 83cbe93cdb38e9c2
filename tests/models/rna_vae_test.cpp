// The network of the RNA VAE by itself.
#include "models/trainer.h"
#include "tests/engine/helpers.h"
#include "tests/models/rna_trainer_setup.h"

namespace panvae::test {
namespace {

TEST(rna_vae, has_the_parameters_of_the_paper) {
  Context c;
  RnaVae model({.genes = 7, .hidden = 5, .latent = 3});
  ModuleState state(c, model, 1);
  std::vector<std::string> names;
  for (const auto& e : state.entries()) names.push_back(e.name + " " + e.tensor.shape().str());
  EXPECT_EQ(names, (std::vector<std::string>{"encoder.hidden.weight [5, 7]", "encoder.hidden.bias [5]", "encoder.mean.weight [3, 5]", "encoder.mean.bias [3]",
                                             "encoder.logvar.weight [3, 5]", "encoder.logvar.bias [3]", "decoder.hidden.weight [5, 3]",
                                             "decoder.hidden.bias [5]", "decoder.output.weight [7, 5]", "decoder.output.bias [7]"}));
}

// Against loops in f64.
TEST(rna_vae, encodes_and_decodes_as_its_formula_says) {
  for (Fusable activation : {Fusable{Activation::relu, 0}, Fusable{Activation::leaky_relu, 0.1}, Fusable{}}) {
    Context c;
    RnaVae model({.genes = 7, .hidden = 5, .latent = 3, .activation = activation});
    ModuleState state(c, model, 1);
    std::map<std::string, std::vector<float>> w;
    for (const auto& e : state.entries()) w[e.name] = e.tensor.host<float>();
    auto layer = [&](const std::vector<double>& x, const std::string& name, bool activated) {
      const auto &weight = w[name + ".weight"], &bias = w[name + ".bias"];
      std::vector<double> y(bias.begin(), bias.end());
      for (size_t o = 0; o < y.size(); ++o) {
        for (size_t i = 0; i < x.size(); ++i) y[o] += weight[o * x.size() + i] * x[i];
        if (activated && y[o] < 0 && activation.activation != Activation::none) y[o] *= activation.slope;
      }
      return y;
    };
    const std::vector<float> x = ramp(7, 3);
    const std::vector<double> h = layer({x.begin(), x.end()}, "encoder.hidden", true), mean = layer(h, "encoder.mean", false),
                              logvar = layer(h, "encoder.logvar", false), back = layer(layer(mean, "decoder.hidden", true), "decoder.output", false);
    const Tensor batch = tensor(c, {1, 7}, x);
    const Posterior q = model.encode(batch);
    const auto m = q.mean.host<float>(), l = q.logvar.host<float>(), r = model(batch).host<float>();
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(m[i], mean[i], 1e-5);
      EXPECT_NEAR(l[i], logvar[i], 1e-5);
    }
    for (size_t i = 0; i < 7; ++i) EXPECT_NEAR(r[i], back[i], 1e-5);
  }
}

TEST(rna_vae, batches_of_any_size_give_the_same_posteriors_and_reconstructions) {
  RunSetup s;
  Session run(s);
  const Posteriors a = posteriors(*run.context, run.model, run.source, true, 7), b = posteriors(*run.context, run.model, run.source, true, 500);
  const std::vector<float> c = decodings(*run.context, run.model, a.mean.data(), kSamples, 11),
                           d = decodings(*run.context, run.model, a.mean.data(), kSamples, 96);
  ASSERT_EQ(a.mean.size(), static_cast<size_t>(kSamples * 5));
  ASSERT_EQ(a.logvar.size(), a.mean.size());
  ASSERT_EQ(c.size(), s.data.size());
  for (size_t i = 0; i < a.mean.size(); ++i) ASSERT_NEAR(a.mean[i], b.mean[i], 1e-5);
  for (size_t i = 0; i < a.mean.size(); ++i) ASSERT_NEAR(a.logvar[i], b.logvar[i], 1e-5);
  for (size_t i = 0; i < c.size(); ++i) ASSERT_NEAR(c[i], d[i], 1e-5);
  EXPECT_TRUE(posteriors(*run.context, run.model, run.source).logvar.empty());
}

// The same bits: what comes out for a sample does not depend on how many others follow.
TEST(rna_vae, a_sample_is_the_same_alone_or_before_others) {
  Context c;
  RnaVae model({.genes = 300, .hidden = 70, .latent = 9});
  ModuleState state(c, model, 4);
  const std::vector<float> x = ramp(41 * 300);
  auto means = [&](int64_t samples) {
    MatrixSource source(c, x.data(), samples, 300);
    return posteriors(c, model, source).mean;
  };
  const std::vector<float> all = means(41), decoded = decodings(c, model, all.data(), 41);
  for (int64_t n : {1, 2, 5, 17}) {
    EXPECT_EQ(means(n), (std::vector<float>{all.begin(), all.begin() + n * 9})) << n;
    EXPECT_EQ(decodings(c, model, all.data(), n), (std::vector<float>{decoded.begin(), decoded.begin() + n * 300})) << n;
  }
}

// For the linear variant the metric is exact: |decode(z) - decode(z')|^2 = (z - z')^T G (z - z').
TEST(rna_vae, decoder_metric_measures_reconstructions) {
  Context c;
  RnaVae model({.genes = 11, .hidden = 6, .latent = 3, .activation = {}});
  ModuleState state(c, model, 4);
  const std::vector<float> a{0.5f, -1, 2}, b{1, 0.25f, -0.5f};
  const auto G = model.decoder_metric(tensor(c, {1, 3}, a)).host<float>(), x = model.decode(tensor(c, {1, 3}, a)).host<float>(),
             y = model.decode(tensor(c, {1, 3}, b)).host<float>();
  double distance = 0, form = 0;
  for (size_t i = 0; i < x.size(); ++i) distance += (x[i] - y[i]) * (x[i] - y[i]);
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) form += (a[i] - b[i]) * G[i * 3 + j] * (a[j] - b[j]);
  EXPECT_NEAR(form, distance, 1e-5 * distance);
}

}  // namespace
}  // namespace panvae::test
