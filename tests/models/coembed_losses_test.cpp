// The terms of a co-embedding: hand-made cases in f64, and what learns from each.
#include "models/coembed_losses.h"

#include <cmath>
#include <map>
#include <set>

#include "coembed_helpers.h"
#include "engine/gradcheck.h"
#include "models/triplets.h"

namespace panvae::test {
namespace {

double softplus(double x) {
  return std::log1p(std::exp(x));
}
double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

Tensor doubles(Context& c, Shape shape, const std::vector<double>& values) {
  return Tensor::from(c, shape, values);
}
Tensor learned(Context& c, Shape shape, const std::vector<double>& values) {
  Tensor t = Tensor::from(c, shape, values);
  t.require_gradient("z");
  return t;
}
void set(ModuleState& state, const std::string& name, const std::vector<double>& values) {
  for (const auto& e : state.entries()) {
    if (e.name != name) continue;
    Tensor t = e.tensor;
    t.upload(values.data(), t.count());
    return;
  }
  FAIL() << name;
}
// Names of parameters whose gradient is not all zero after backward from `loss`.
std::set<std::string> learns(Context& c, ModuleState& state, const std::function<Tensor()>& loss) {
  state.require_gradients();
  state.forget_gradients();
  {
    Tape tape(c);
    tape.backward(loss());
  }
  state.settle_gradients();
  std::set<std::string> names;
  const std::vector<float> g = state.flat_gradients().host<float>();
  for (const auto& e : state.entries())
    if (std::any_of(g.begin() + e.offset, g.begin() + e.offset + e.tensor.count(), [](float v) { return v != 0; })) names.insert(e.name);
  return names;
}
std::set<std::string> of(const ModuleState& state, const std::vector<std::string>& prefixes) {
  std::set<std::string> names;
  for (const auto& e : state.entries())
    for (const std::string& p : prefixes)
      if (e.name.rfind(p, 0) == 0) names.insert(e.name);
  return names;
}

TEST(discriminator, has_the_layers_of_the_paper) {
  Context c;
  Discriminator d(DiscriminatorShape{});
  ModuleState state(c, d, 1);
  std::vector<std::string> names;
  for (const auto& e : state.entries()) names.push_back(e.name + " " + e.tensor.shape().str());
  EXPECT_EQ(names, (std::vector<std::string>{"0.weight [256, 512]", "0.bias [256]", "1.weight [128, 256]", "1.bias [128]", "2.weight [1, 128]", "2.bias [1]"}));
  EXPECT_TRUE(state.buffer_entries().empty()) << "no batch normalisation";
  EXPECT_CONTAINS(error_of([] { Discriminator({.latent = 0}); }).message(), "0 latents");
}

TEST(discriminator, is_its_formula) {
  Context c;
  Discriminator d({.latent = 3, .widths = {5, 4}});
  ModuleState state(c, d, 7, DType::f64);
  std::vector<std::vector<double>> w;
  for (const auto& e : state.entries()) w.push_back(e.tensor.host<double>());
  const std::vector<double> x{0.3, -1, 2, -0.5, 0.1, 4};
  const std::vector<double> y = d(doubles(c, {2, 3}, x)).host<double>();
  for (size_t i = 0; i < 2; ++i) {
    std::vector<double> h(x.begin() + static_cast<int64_t>(3 * i), x.begin() + static_cast<int64_t>(3 * i + 3));
    for (size_t layer = 0; layer < 3; ++layer) {
      std::vector<double> out = w[2 * layer + 1];
      for (size_t o = 0; o < out.size(); ++o) {
        for (size_t k = 0; k < h.size(); ++k) out[o] += w[2 * layer][o * h.size() + k] * h[k];
        if (layer < 2 && out[o] < 0) out[o] *= 0.2;
      }
      h = out;
    }
    EXPECT_NEAR(y[i], h[0], 1e-14);
  }
}

// One latent and no hidden layer: the logit is 2 z - 1. Two RNA samples and three ATAC samples.
struct LinearJudge {
  Context c;
  Discriminator d{{.latent = 1, .widths = {}}};
  ModuleState state{c, d, 1, DType::f64};
  std::vector<double> rna{1.5, -0.25}, atac{0.75, 0.5, -3};
  LinearJudge() {
    set(state, "0.weight", {2});
    set(state, "0.bias", {-1});
    state.require_gradients();
  }
};

TEST(adversary, discriminator_loss_weighs_both_modalities_alike) {
  LinearJudge j;
  const Tensor rna = doubles(j.c, {2, 1}, j.rna), atac = doubles(j.c, {3, 1}, j.atac);
  Tape tape(j.c);
  const DiscriminatorLoss l = discriminator_loss(j.d, rna, atac);
  EXPECT_EQ(l.rna_logits.host<double>(), (std::vector<double>{2, -1.5}));
  EXPECT_EQ(l.atac_logits.host<double>(), (std::vector<double>{0.5, 0, -7}));
  EXPECT_NEAR(l.loss.item(), 0.5 * ((softplus(-2) + softplus(1.5)) / 2 + (softplus(0.5) + softplus(0) + softplus(-7)) / 3), 1e-14);
  tape.backward(l.loss);
  double weight = 0;
  for (double z : j.rna) weight += 0.5 / 2 * (sigmoid(2 * z - 1) - 1) * z;
  for (double z : j.atac) weight += 0.5 / 3 * sigmoid(2 * z - 1) * z;
  EXPECT_NEAR(j.state.entries()[0].tensor.gradient().item(), weight, 1e-14);
}

TEST(adversary, generator_loss_is_flipped_or_negative_and_teaches_the_embeddings_alone) {
  for (GeneratorLoss kind : {GeneratorLoss::flipped, GeneratorLoss::negative}) {
    LinearJudge j;
    const Tensor rna = learned(j.c, {2, 1}, j.rna), atac = learned(j.c, {3, 1}, j.atac);
    Tape tape(j.c);
    const Tensor l = generator_loss(j.d, rna, atac, kind);
    const bool flipped = kind == GeneratorLoss::flipped;
    const double value = flipped ? 0.5 * ((softplus(2) + softplus(-1.5)) / 2 + (softplus(-0.5) + softplus(0) + softplus(7)) / 3)
                                 : -0.5 * ((softplus(-2) + softplus(1.5)) / 2 + (softplus(0.5) + softplus(0) + softplus(-7)) / 3);
    EXPECT_NEAR(l.item(), value, 1e-14);
    EXPECT_TRUE(j.state.entries()[0].tensor.needs_gradient()) << "only while the loss is computed are the weights constants";
    tape.backward(l);
    const std::vector<double> g_rna = rna.gradient().host<double>(), g_atac = atac.gradient().host<double>();
    for (size_t i = 0; i < 2; ++i) {
      const double p = sigmoid(2 * j.rna[i] - 1);
      EXPECT_NEAR(g_rna[i], 0.5 / 2 * 2 * (flipped ? p : 1 - p), 1e-14);
    }
    for (size_t i = 0; i < 3; ++i) {
      const double p = sigmoid(2 * j.atac[i] - 1);
      EXPECT_NEAR(g_atac[i], 0.5 / 3 * 2 * (flipped ? p - 1 : -p), 1e-14);
    }
    for (const auto& e : j.state.entries()) EXPECT_FALSE(e.tensor.variable()->written) << e.name << " got a gradient";
  }
}

// E(x) = e x, D(z) = d z.
class ScalarVae : public Vae {
 public:
  ScalarVae() : encoder_(1, 1, false), decoder_(1, 1, false) {
    declare_module("encoder", encoder_);
    declare_module("decoder", decoder_);
  }
  int64_t features() const override { return 1; }
  int64_t latent() const override { return 1; }
  Posterior encode(const Tensor& x) override { return {encoder_(x), x}; }
  Tensor decode(const Tensor& z) override { return decoder_(z); }

 private:
  Linear encoder_, decoder_;
};

TEST(cycle, is_its_formula_with_each_freezing) {
  const double e = 0.5, d = 3;
  const std::vector<double> z{1, -2, 0.5};
  const double square = (1 + 4 + 0.25) / 3;  // mean of z^2
  for (CycleFreeze freeze : {CycleFreeze::encoders, CycleFreeze::target, CycleFreeze::none}) {
    SCOPED_TRACE(static_cast<int>(freeze));
    Context c;
    ScalarVae vae;
    ModuleState state(c, vae, 1, DType::f64);
    set(state, "encoder.weight", {e});
    set(state, "decoder.weight", {d});
    state.require_gradients();
    const Tensor from = learned(c, {3, 1}, z);
    Tape tape(c);
    const Tensor loss = cycle_loss(vae, from, freeze);
    EXPECT_NEAR(loss.item(), (e * d - 1) * (e * d - 1) * square, 1e-14);
    tape.backward(loss);
    const Tensor &encoder = state.entries()[0].tensor, &decoder = state.entries()[1].tensor;
    EXPECT_NEAR(decoder.gradient().item(), 2 * (e * d - 1) * e * square, 1e-14) << "through the encoder's activations";
    EXPECT_EQ(encoder.variable()->written, freeze != CycleFreeze::encoders);
    if (freeze != CycleFreeze::encoders) {
      EXPECT_NEAR(encoder.gradient().item(), 2 * (e * d - 1) * d * square, 1e-14);
    }
    EXPECT_EQ(from.variable()->written, freeze != CycleFreeze::encoders);
    if (freeze == CycleFreeze::encoders) continue;
    const std::vector<double> g = from.gradient().host<double>();
    for (size_t i = 0; i < z.size(); ++i) EXPECT_NEAR(g[i], 2 * (e * d - 1) * z[i] / 3 * (freeze == CycleFreeze::target ? e * d : e * d - 1), 1e-14);
  }
}

// Both directions of two real networks: which of their parameters learn.
TEST(cycle, stop_gradients_reach_the_parameters_they_should) {
  for (bool hierarchical : {false, true}) {
    Context c;
    CoembedSetup s;
    s.hierarchical = hierarchical;
    RnaVae rna({.genes = 7, .hidden = 6, .latent = kLatent, .activation = {Activation::leaky_relu, 0.1}});
    const std::unique_ptr<Vae> atac = CoembedRun::atac_vae(s);
    CoEmbedding model(rna, *atac);
    ModuleState state(c, model, 3);
    model.set_training(false);
    const Tensor r = tensor(c, {5, 7}, ramp(35)), a = tensor(c, {5, Views::kRegions}, ramp(5 * Views::kRegions));
    auto atac_to_rna = [&](CycleFreeze f) { return learns(c, state, [&] { return cycle_loss(rna, atac->encode(a).mean, f); }); };
    auto rna_to_atac = [&](CycleFreeze f) { return learns(c, state, [&] { return cycle_loss(*atac, rna.encode(r).mean, f); }); };
    EXPECT_EQ(atac_to_rna(CycleFreeze::encoders), of(state, {"rna.decoder."}));
    EXPECT_EQ(rna_to_atac(CycleFreeze::encoders), of(state, {"atac.decoder."}));
    for (CycleFreeze f : {CycleFreeze::target, CycleFreeze::none}) {
      auto without_logvar = [](std::set<std::string> names) {
        for (auto it = names.begin(); it != names.end();) it = it->find("logvar") != std::string::npos ? names.erase(it) : std::next(it);
        return names;
      };
      EXPECT_EQ(atac_to_rna(f), without_logvar(of(state, {"rna.", "atac.encoder."})));
      EXPECT_EQ(rna_to_atac(f), without_logvar(of(state, {"atac.", "rna.encoder."})));
    }
  }
}

TEST(pairs, loss_is_the_weighted_mean_square_and_pulls_both_sides) {
  Context c;
  const std::vector<double> r{1, 2, 3, 4, 5, 6}, a{0, 2, 5, 4.5, 4, 9}, w{1, 0.25, 2};
  const Tensor rna = learned(c, {3, 2}, r), atac = learned(c, {3, 2}, a);
  Tape tape(c);
  const Tensor l = pair_loss(rna, atac, doubles(c, {3}, w));
  EXPECT_NEAR(l.item(), (1 * 1 + 0.25 * (4 + 0.25) + 2 * (1 + 9)) / 6, 1e-14);
  tape.backward(l);
  const std::vector<double> gr = rna.gradient().host<double>(), ga = atac.gradient().host<double>();
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(gr[i], w[i / 2] * 2 * (r[i] - a[i]) / 6, 1e-14);
    EXPECT_NEAR(ga[i], -gr[i], 1e-14);
  }
  EXPECT_CONTAINS(error_of([&] { pair_loss(rna, atac, doubles(c, {2}, {1, 1})); }).message(), "weights[2] for 3 pairs");
  EXPECT_CONTAINS(error_of([&] { pair_loss(rna, doubles(c, {2, 2}, {1, 1, 1, 1}), doubles(c, {3}, w)); }).message(), "rna[3, 2] against atac[2, 2]");
}

TEST(pairs, tiers_are_worth_less_the_weaker_they_are) {
  EXPECT_EQ(pair_weight(1), 1);
  EXPECT_EQ(pair_weight(2), 0.25);
  EXPECT_EQ(pair_weight(5), 0.04);
  EXPECT_CONTAINS(error_of([] { pair_weight(0); }).message(), "tiers count from 1");
}

// RNA at 0, 1, 3; ATAC at 0.4, 3.1, 10: counted by hand.
TEST(pairs, foscttm_counts_what_is_closer) {
  const std::vector<float> r{0, 1, 3}, a{0.4f, 3.1f, 10};
  // From RNA: 0 has its partner 0.4 nearest; 1 has 3.1 at 2.1 and 0.4 closer, so 1/2; 3 has 10 last, both closer, so 1.
  // From ATAC: 0.4: own at 0.4, none closer; 3.1: own at 2.1, 3 closer, so 1/2; 10: own at 7, none closer.
  const std::vector<MatchedPair> pairs{{0, 0, 1}, {1, 1, 1}, {2, 2, 1}};
  EXPECT_NEAR(foscttm(r, a, 1, pairs), (0 + 0.5 + 1 + 0 + 0.5 + 0) / 6, 1e-15);
  EXPECT_NEAR(foscttm(r, a, 1, {{0, 0, 1}, {1, 1, 3}, {2, 2, 0.5}}), (3 * (0.5 + 0.5) + 0.5 * (1 + 0)) / (2 * 4.5), 1e-15) << "by weight";
  EXPECT_EQ(foscttm(r, a, 1, {{0, 0, 1}, {1, 1, 1}, {2, 2, 0.5}, {1, 1, 2}}), foscttm(r, a, 1, {{0, 0, 1}, {1, 1, 3}, {2, 2, 0.5}}))
      << "a pair that is named twice has both weights";
  EXPECT_EQ(foscttm(r, r, 1, pairs), 0);
  EXPECT_EQ(foscttm({1, 1, 1}, {1, 1, 1}, 1, pairs), 0.5) << "ties count half";
  EXPECT_TRUE(std::isnan(foscttm(r, a, 1, {}))) << "nothing to compare";
  EXPECT_TRUE(std::isnan(foscttm(r, a, 1, {{1, 1, 1}})));
  // A sample with two partners: neither counts against the other, and samples outside of pairs are no candidates.
  const std::vector<MatchedPair> two{{0, 0, 1}, {0, 1, 1}, {2, 2, 1}};
  // RNA 0 to 0.4: of {10} none closer; to 3.1: none; RNA 3 to 10: 0.4 and 3.1 both closer: 1. ATAC 0.4 and 3.1 against RNA 3: 0 and
  // 1; ATAC 10 to 3 against RNA 0: 0.
  EXPECT_NEAR(foscttm(r, a, 1, two), (0 + 0 + 1 + 0 + 1 + 0) / 6.0, 1e-15);
  EXPECT_CONTAINS(error_of([&] { foscttm(r, a, 1, {{3, 0, 1}}); }).message(), "rows 3 and 0 of 3 and 3");
}

// Cohort 0: donors 0 (twice) and 1; cohort 1: one donor twice; cohort 2: two samples of unknown donors; row 7: no cohort.
struct SmallStudy {
  std::vector<int64_t> cohort{0, 0, 0, 1, 1, 2, 2, -1}, donor{0, 0, 1, 2, 2, -1, -1, 3};
  TripletSampler sampler{rows(0, 8), cohort, donor};
};

TEST(triplets, are_of_one_cohort_two_donors_and_another_cohort) {
  SmallStudy s;
  EXPECT_EQ(s.sampler.anchors(), 5) << "a cohort of one donor has no positives, a sample without cohort neither";
  std::map<std::pair<int64_t, int64_t>, int64_t> positives, negatives;
  const int64_t draws = 20000;
  for (int64_t i = 0; i < draws; ++i) {
    PhiloxSequence draw({3, static_cast<uint32_t>(i), 0});
    const Triplets t = s.sampler.draw(rows(0, 8), draw);
    ASSERT_EQ(t.anchors, (std::vector<int64_t>{0, 1, 2, 5, 6}));
    for (size_t k = 0; k < t.anchors.size(); ++k) {
      ++positives[{t.anchors[k], t.positives[k]}];
      ++negatives[{t.anchors[k], t.negatives[k]}];
    }
  }
  const double n = draws;
  auto expect = [&](std::map<std::pair<int64_t, int64_t>, int64_t>& counts, int64_t anchor, const std::map<int64_t, double>& shares) {
    double total = 0;
    for (const auto& [row, share] : shares) {
      const double seen = static_cast<double>(counts[{anchor, row}]) / n;
      EXPECT_NEAR(seen, share, 4 * std::sqrt(share * (1 - share) / n) + 1e-12) << anchor << " to " << row;
      total += seen;
    }
    EXPECT_NEAR(total, 1, 1e-12) << "and nobody else, of " << anchor;
  };
  expect(positives, 0, {{2, 1}});
  expect(positives, 1, {{2, 1}});
  expect(positives, 2, {{0, 0.5}, {1, 0.5}});
  expect(positives, 5, {{6, 1}});
  expect(positives, 6, {{5, 1}});
  // The cohort first, then a sample of it: cohorts of other sizes are drawn as often.
  for (int64_t anchor : {0, 1, 2}) expect(negatives, anchor, {{3, 0.25}, {4, 0.25}, {5, 0.25}, {6, 0.25}});
  for (int64_t anchor : {5, 6}) expect(negatives, anchor, {{0, 1.0 / 6}, {1, 1.0 / 6}, {2, 1.0 / 6}, {3, 0.25}, {4, 0.25}});
}

TEST(triplets, come_only_from_the_rows_given_and_need_two_cohorts) {
  SmallStudy s;
  const TripletSampler some({0, 2, 5}, s.cohort, s.donor);
  EXPECT_EQ(some.anchors(), 2);
  PhiloxSequence draw({1, 0, 0});
  const Triplets t = some.draw({2, 0, 5, 7}, draw);
  EXPECT_EQ(t.anchors, (std::vector<int64_t>{2, 0}));
  EXPECT_EQ(t.positives, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(t.negatives, (std::vector<int64_t>{5, 5}));
  EXPECT_EQ(TripletSampler({0, 1, 2}, s.cohort, s.donor).anchors(), 0) << "one cohort: no negatives";
  EXPECT_EQ(TripletSampler({}, s.cohort, s.donor).anchors(), 0);
  EXPECT_EQ(TripletSampler({0, 0, 1, 3}, s.cohort, s.donor).anchors(), 0) << "a row named twice is one sample";
  EXPECT_TRUE(TripletSampler({}, {}, {}).draw({}, draw).anchors.empty());
  EXPECT_CONTAINS(error_of([&] { TripletSampler({8}, s.cohort, s.donor); }).message(), "row 8 of 8");
  EXPECT_CONTAINS(error_of([&] { TripletSampler({0}, {0}, {}); }).message(), "1 cohorts, 0 donors");
}

// The whole loss of a step is the sum of its terms; gradients in f64, with everything learning (no freezing).
TEST(joint_loss, gradients_are_right_in_both_modes) {
  for (CoembedMode mode : {CoembedMode::adversarial, CoembedMode::contrastive}) {
    for (bool hierarchical : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", static_cast<int>(mode), hierarchical));
      Context c;
      RnaVae rna({.genes = 5, .hidden = 4, .latent = 3, .activation = {Activation::leaky_relu, 0.3}});
      std::unique_ptr<Vae> atac;
      if (hierarchical)
        atac = std::make_unique<AtacHierarchicalVae>(AtacHierarchicalVaeShape{.blocks = 3, .block_latent = 2, .channels = 2, .widths = {4}, .latent = 3});
      else atac = std::make_unique<RnaVae>(RnaVaeShape{.genes = 6, .hidden = 4, .latent = 3, .activation = {Activation::leaky_relu, 0.3}});
      CoEmbedding model(rna, *atac);
      ModuleState state(c, model, 3, DType::f64);
      model.set_training(false);
      Discriminator d({.latent = 3, .widths = {4}});
      ModuleState discriminator_state(c, d, 4, DType::f64);
      PhiloxSequence draw({9, 0, 0});
      auto normal = [&](int64_t n) {
        std::vector<double> v(static_cast<size_t>(n));
        for (double& x : v) x = draw.normal();
        return v;
      };
      const std::vector<double> xr = normal(5 * 5), xa = normal(4 * 6);
      CoembedLossOptions o;
      o.mode = mode;
      o.adversarial = 0.7, o.cycle = 1.3, o.contrastive = 0.9, o.pair = 0.6, o.margin = 2;
      o.cycle_freeze = CycleFreeze::none;
      o.rna = {1, 0.4};
      o.atac = {0.5, 0.2};
      auto indices = [&](const std::vector<int64_t>& v) { return Tensor::from(c, {static_cast<int64_t>(v.size())}, v); };
      JointLoss last;
      auto loss = [&] {
        c.generator = {6, 0, 0};
        JointBatch b;
        b.rna = {doubles(c, {5, 5}, xr), 3, indices({4, 0, 4})};
        b.atac = {doubles(c, {4, 6}, xa), 2, indices({1, 1, 2})};
        b.pair_weights = doubles(c, {3}, {1, 0.5, 2});
        b.contrasted = Modality::rna;
        b.anchors = indices({0, 1}), b.positives = indices({3, 0}), b.negatives = indices({2, 4});
        last = joint_loss(c, model, mode == CoembedMode::adversarial ? &d : nullptr, b, o);
        return last.loss;
      };
      std::vector<Tensor> inputs;
      for (const NamedTensor& p : model.parameters()) inputs.push_back(*p.tensor);
      const GradcheckResult r = gradcheck(c,
                                          [&](const std::vector<Tensor>& in) {
                                            const std::vector<NamedTensor> slots = model.parameters();
                                            for (size_t i = 0; i < slots.size(); ++i) *slots[i].tensor = in[i];
                                            return loss();
                                          },
                                          inputs, {}, {.tolerance = 1e-5});
      EXPECT_TRUE(r.ok) << r.message;
      loss();  // the last one was of a parameter that gradcheck had moved
      double total = last.rna.parts.host<double>()[0] / 5 + last.atac.parts.host<double>()[0] / 6 + 1.3 * last.cycle.item() + 0.6 * last.pair.item();
      if (mode == CoembedMode::adversarial) total += 0.7 * last.generator.item();
      else total += 0.9 * last.triplet.item();
      EXPECT_NEAR(last.loss.item(), total, 1e-12);
      EXPECT_EQ(last.generator.defined(), mode == CoembedMode::adversarial);
      EXPECT_EQ(last.triplet.defined(), mode == CoembedMode::contrastive);
      EXPECT_EQ(last.rna_mean.shape(), Shape({3, 3}));
      EXPECT_EQ(last.atac_mean.shape(), Shape({2, 3}));
      EXPECT_FALSE(last.rna_mean.needs_gradient() || last.atac_mean.needs_gradient());
      // Either modality by its own delta and KL weight, on the rows that are its own.
      for (bool of_rna : {true, false}) {
        Vae& vae = of_rna ? static_cast<Vae&>(rna) : *atac;
        const ReconstructionOptions& own = of_rna ? o.rna : o.atac;
        const int64_t rows = of_rna ? 3 : 2, features = of_rna ? 5 : 6;
        const std::vector<double>& all = of_rna ? xr : xa;
        const std::vector<double> x(all.begin(), all.begin() + rows * features);
        const Posterior q = vae.encode(doubles(c, {rows, features}, x));
        const std::vector<double> decoded = vae.decode(ops::reparameterize(q.mean, q.logvar, {6, of_rna ? 0u : 1u, 0})).host<double>();
        const std::vector<double> mean = q.mean.host<double>(), logvar = q.logvar.host<double>();
        double huber = 0, kl = 0;
        for (size_t i = 0; i < x.size(); ++i) {
          const double off = std::abs(decoded[i] - x[i]);
          huber += off <= own.huber_delta ? off * off / 2 : own.huber_delta * (off - own.huber_delta / 2);
        }
        for (size_t i = 0; i < mean.size(); ++i) kl += 0.5 * (std::exp(logvar[i]) + mean[i] * mean[i] - 1 - logvar[i]);
        const double n = static_cast<double>(rows);
        EXPECT_NEAR((of_rna ? last.rna : last.atac).parts.host<double>()[0], huber / n + own.kl_weight * kl / n, 1e-9);
      }
      // Terms by their formulas on the posterior means.
      const std::vector<double> zr = rna.encode(doubles(c, {5, 5}, xr)).mean.host<double>(), za = atac->encode(doubles(c, {4, 6}, xa)).mean.host<double>();
      auto distance = [](const std::vector<double>& u, size_t i, const std::vector<double>& v, size_t k) {
        double s = 0;
        for (size_t q = 0; q < 3; ++q) s += (u[3 * i + q] - v[3 * k + q]) * (u[3 * i + q] - v[3 * k + q]);
        return s;
      };
      // The cycle and the adversary have the rows of the batch, not those that pairs and triplets borrow.
      double cycle = 0, generator = 0;
      for (bool of_rna : {true, false}) {
        Vae& other = of_rna ? *atac : static_cast<Vae&>(rna);
        const int64_t rows = of_rna ? 3 : 2;
        const std::vector<double>& all = of_rna ? zr : za;
        const Tensor own = doubles(c, {rows, 3}, {all.begin(), all.begin() + rows * 3});
        const std::vector<double> back = other.encode(other.decode(own)).mean.host<double>();
        for (size_t i = 0; i < back.size(); ++i) cycle += (back[i] - all[i]) * (back[i] - all[i]) / static_cast<double>(back.size());
        for (double logit : d(own).host<double>()) generator += 0.5 * std::log1p(std::exp(of_rna ? logit : -logit)) / static_cast<double>(rows);
      }
      EXPECT_NEAR(last.cycle.item(), cycle, 1e-12);
      if (mode == CoembedMode::adversarial) {
        EXPECT_NEAR(last.generator.item(), generator, 1e-12);
      }
      EXPECT_NEAR(last.pair.item(), (distance(zr, 4, za, 1) + 0.5 * distance(zr, 0, za, 1) + 2 * distance(zr, 4, za, 2)) / 9, 1e-12);
      if (mode == CoembedMode::contrastive) {
        auto hinge = [&](size_t a, size_t p, size_t n) { return std::max(0.0, std::sqrt(distance(zr, a, zr, p)) - std::sqrt(distance(zr, a, zr, n)) + 2); };
        EXPECT_NEAR(last.triplet.item(), (hinge(0, 3, 2) + hinge(1, 0, 4)) / 2, 1e-9);
      }
    }
  }
}

TEST(joint_loss, terms_of_weight_zero_are_not_computed) {
  Context c;
  RnaVae rna({.genes = 5, .hidden = 4, .latent = 3}), atac({.genes = 6, .hidden = 4, .latent = 3});
  CoEmbedding model(rna, atac);
  ModuleState state(c, model, 3);
  CoembedLossOptions o;
  o.cycle = o.pair = o.adversarial = 0;
  const JointBatch b{{tensor(c, {2, 5}, ramp(10)), 2, {}}, {tensor(c, {1, 6}, ramp(6)), 1, {}}, {}, Modality::rna, {}, {}, {}};
  const JointLoss l = joint_loss(c, model, nullptr, b, o);
  EXPECT_FALSE(l.cycle.defined() || l.pair.defined() || l.generator.defined() || l.triplet.defined());
  EXPECT_NEAR(l.loss.item(), l.rna.parts.host<float>()[0] / 5 + l.atac.parts.host<float>()[0] / 6, 1e-6);
  o.adversarial = 1;
  EXPECT_CONTAINS(error_of([&] { joint_loss(c, model, nullptr, b, o); }).message(), "needs a discriminator");
}

TEST(coembedding, is_two_models_of_one_space) {
  Context c;
  RnaVae rna({.genes = 5, .hidden = 4, .latent = 3}), atac({.genes = 6, .hidden = 4, .latent = 3}), other({.genes = 6, .hidden = 4, .latent = 2});
  EXPECT_CONTAINS(error_of([&] { CoEmbedding(rna, other); }).message(), "3 latents of RNA and 2 of ATAC");
  CoEmbedding model(rna, atac);
  ModuleState state(c, model, 3);
  EXPECT_EQ(state.entries().front().name, "rna.encoder.hidden.weight");
  EXPECT_EQ(state.entries().back().name, "atac.decoder.output.bias");
  const std::vector<float> x = ramp(10);
  EXPECT_EQ(model(tensor(c, {2, 5}, x)).host<float>(), atac.decode(rna.encode(tensor(c, {2, 5}, x)).mean).host<float>());
  MatrixSource source(c, x.data(), 2, 5);
  const std::vector<float> imputed = decodings(c, atac, posteriors(c, rna, source).mean.data(), 2);
  EXPECT_LE(worst_relative(imputed, model(tensor(c, {2, 5}, x)).host<float>()), 1e-6);
}

TEST(coembedding, starts_from_single_models_with_their_running_statistics) {
  Context c;
  CoembedSetup s;
  s.hierarchical = true;
  RnaVae rna({.genes = 5, .hidden = 4, .latent = kLatent}), single({.genes = 5, .hidden = 4, .latent = kLatent});
  const std::unique_ptr<Vae> atac = CoembedRun::atac_vae(s), single_atac = CoembedRun::atac_vae(s);
  CoEmbedding model(rna, *atac);
  ModuleState state(c, model, 3), rna_state(c, single, 21), atac_state(c, *single_atac, 22);
  Tensor buffers = atac_state.flat_buffers();
  buffers.upload(ramp(static_cast<size_t>(buffers.count())).data(), buffers.count());
  warm_start(state, Modality::rna, rna_state);
  warm_start(state, Modality::atac, atac_state);
  auto values = [](const ModuleState& m) {
    std::map<std::string, std::vector<float>> v;
    for (const auto& e : m.entries()) v[e.name] = e.tensor.host<float>();
    for (const auto& e : m.buffer_entries()) v[e.name] = e.tensor.host<float>();
    return v;
  };
  const auto joint = values(state);
  size_t tensors = 0;
  for (const auto& [prefix, m] : {std::pair<std::string, ModuleState*>{"rna.", &rna_state}, {"atac.", &atac_state}})
    for (const auto& [name, v] : values(*m)) {
      EXPECT_EQ(joint.at(prefix + name), v) << name;
      ++tensors;
    }
  EXPECT_EQ(tensors, joint.size());
  EXPECT_CONTAINS(error_of([&] { warm_start(state, Modality::atac, rna_state); }).message(), "a model of 10 tensors for the");
}

// The modules of the single models themselves: trained as one, taken out again.
TEST(coembedding, gives_the_halves_back) {
  Context c;
  RnaVae rna({.genes = 5, .hidden = 4, .latent = 3}), atac({.genes = 6, .hidden = 4, .latent = 3});
  ModuleState rna_state(c, rna, 21), atac_state(c, atac, 22);
  const std::vector<float> rna_before = rna_state.flat_parameters().host<float>(), atac_before = atac_state.flat_parameters().host<float>();
  const Tensor x = tensor(c, {2, 5}, ramp(10));
  const std::vector<float> means = rna.encode(x).mean.host<float>();
  CoEmbedding model(rna, atac);
  ModuleState state(c, model, 3);
  EXPECT_NE(rna.encode(x).mean.host<float>(), means);
  warm_start(state, Modality::rna, rna_state);
  EXPECT_EQ(rna.encode(x).mean.host<float>(), means);
  Tensor all = state.flat_parameters();
  all.upload(ramp(static_cast<size_t>(all.count())).data(), all.count());
  EXPECT_EQ(rna_state.flat_parameters().host<float>(), rna_before);
  take_out(state, Modality::rna, rna_state);
  EXPECT_EQ(rna_state.entries()[0].tensor.host<float>(), state.entries()[0].tensor.host<float>());
  EXPECT_NE(rna_state.flat_parameters().host<float>(), rna_before);
  EXPECT_EQ(atac_state.flat_parameters().host<float>(), atac_before) << "the other half is not touched";
  take_out(state, Modality::atac, atac_state);
  EXPECT_EQ(atac_state.entries().back().tensor.host<float>(), state.entries().back().tensor.host<float>());
}

}  // namespace
}  // namespace panvae::test
