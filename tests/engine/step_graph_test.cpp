// Steps that are recorded once and replayed, against the same steps kernel by kernel: equal to the bit. On simt, and on cuda where
// there is one.
#include "engine/step_graph.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <utility>

#include "engine/layers.h"
#include "engine/ops/vae.h"
#include "engine/optimizer.h"
#include "helpers.h"
#include "kernels/kernels.h"
#include "tests/base/warnings.h"

namespace panvae::test {
namespace {

constexpr int64_t kIn = 24, kChannels = 4, kLength = 10, kOut = 6;

// Linear, BatchNorm, dropout, convolution, Linear; and noise on its output.
class Net : public Module {
 public:
  Net()
      : first_(kIn, kChannels * kLength, true, {Activation::leaky_relu, 0.01}),
        norm_(kChannels * kLength),
        drop_(0.25),
        conv_(kChannels, 3, 3),
        last_(24, kOut) {
    declare_module("first", first_);
    declare_module("norm", norm_);
    declare_module("drop", drop_);
    declare_module("conv", conv_);
    declare_module("last", last_);
  }
  Tensor forward(const Tensor& x) override {
    const int64_t batch = x.size(0);
    const Tensor hidden = drop_(norm_(first_(x)));
    const Tensor y = last_(ops::reshape(conv_(ops::reshape(hidden, {batch, kChannels, kLength})), {batch, 24}));
    return ops::reparameterize(y, y, x.context().generator.next());
  }

 private:
  Linear first_;
  BatchNorm1d norm_;
  Dropout drop_;
  Conv1d conv_;
  Linear last_;
};

// A net in training, by a StepGraph.
struct Trained {
  explicit Trained(Device device, bool on = true) : context(device, 9), state(context, net, 3), adam(state, {.weight_decay = 1e-3}), graph(context) {
    context.stream().simt = {simt::Order::forward, 1, 1};
    adam.learning_rate = 1e-2;
    x = Tensor::zeros(context, {64, kIn});
    y = Tensor::zeros(context, {64, kOut});
    loss = Tensor::zeros(context, {1});
    graph.on = on;
    graph.verify = device.type == DeviceType::simt;
  }
  // Gradients of weights are kept as products, which a library computes, that simt's own kernels stand in for.
  void keep_products_of_a_library() {
    context.stream().provider = Provider::vendor;
    state.keep_products(KeptProducts::all);
    adam.panel_bytes = 500;
    kept = true;
  }
  // Of the first `batch` rows; returns the loss.
  float step(int64_t batch = 18, double weight = 1, const std::function<void()>& more = {}) {
    std::vector<float> values(static_cast<size_t>(x.count()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i * 7 + static_cast<size_t>(context.generator.step) * 13));
    x.upload(values.data(), x.count());
    const Tensor xs = x.part(0, {batch, kIn}), ys = y.part(0, {batch, kOut});
    adam.upload_settings();
    graph.run({xs, ys}, {weight}, [&, weight] {
      {
        const Step scope(context);
        Tape tape(context);
        const Tensor error = ops::sub(net(xs), ys);
        const Tensor mean = ops::scale(ops::mean(ops::mul(error, error)), weight);
        adam.zero_grad();
        tape.backward(mean);
        loss.assign(mean.detach());
        if (more) more();
        if (kept) adam.step(loss);
      }
      if (!kept) adam.step(loss);
    });
    context.generator.next_step();
    losses.push_back(loss.host<float>()[0]);
    return losses.back();
  }
  std::vector<float> weights() const { return state.flat_parameters().host<float>(); }
  std::vector<float> buffers() const { return state.flat_buffers().host<float>(); }

  Context context;
  Net net;
  ModuleState state;
  Adam adam;
  StepGraph graph;
  Tensor x, y, loss;
  std::vector<float> losses;
  bool kept = false;  // then their factors must live until the optimizer's step
};

void expect_same(const Trained& a, const Trained& b) {
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.weights(), b.weights());
  EXPECT_EQ(a.buffers(), b.buffers());
  EXPECT_EQ(a.adam.steps(), b.adam.steps());
  EXPECT_EQ(a.context.generator.step, b.context.generator.step);
  EXPECT_EQ(a.context.generator.op, b.context.generator.op);
}

// Everything that may change between launches, and everything that makes another record.
void graph_equals_eager(Device device) {
  Trained graph(device), eager(device, false);
  for (Trained* t : {&graph, &eager}) {
    for (int i = 0; i < 4; ++i) t->step();
    t->adam.learning_rate = 3e-3;  // on the device, by an upload
    for (int i = 0; i < 2; ++i) t->step();
    t->adam.max_norm = 0.01;
    t->step();
    for (int i = 0; i < 3; ++i) t->step(18, 0.5);  // a baked number
    for (int i = 0; i < 3; ++i) t->step(17);       // a smaller batch
    for (int i = 0; i < 2; ++i) t->step();         // and back
  }
  expect_same(graph, eager);
  EXPECT_EQ(eager.graph.replays(), 0);
  EXPECT_EQ(eager.graph.eager_steps(), 15);
  EXPECT_EQ(graph.graph.eager_steps(), 3) << "the first of each kind";
  EXPECT_EQ(graph.graph.replays(), 12);
  const std::set<float> different(graph.losses.begin(), graph.losses.end());
  EXPECT_EQ(different.size(), graph.losses.size()) << "each step draws noise of its own";
}

constexpr Device kSimt{DeviceType::simt, 0};

TEST(step_graph, equals_eager_bit_for_bit) {
  graph_equals_eager(kSimt);
}

// Each panel beside the update with the one before it: what waits for too little shows as other bits.
TEST(step_graph, panels_of_a_library_beside_updates_equal_eager_bit_for_bit) {
  Trained graph(kSimt), eager(kSimt, false), written(kSimt, false);
  graph.keep_products_of_a_library();
  eager.keep_products_of_a_library();
  for (Trained* t : {&graph, &eager, &written})
    for (int i = 0; i < 6; ++i) t->step();
  expect_same(graph, eager);
  EXPECT_EQ(graph.graph.replays(), 5);
  const std::vector<float> a = eager.weights(), b = written.weights();
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-5) << i;  // compilers may contract the two kernels' updates otherwise
}

// What training leaves of two layers of `width`, by products of a library. `kept`: as products, in panels, some of each weight.
struct Left {
  std::vector<float> weights, first, second;
  double norm;
  int64_t replays, products = 0;  // products: that Adam was given, in steps that were not replayed
  bool operator==(const Left&) const = default;
};
Left trained_by_panels(Device device, int64_t width, bool kept, bool on) {
  constexpr int64_t kBatch = 8;
  Context c(device, 9);
  c.stream().simt = {simt::Order::forward, 1, 1};
  c.stream().provider = Provider::vendor;
  Sequential net(std::make_unique<Linear>(width, width), std::make_unique<Linear>(width, width, false));
  ModuleState state(c, net, 3);
  Adam adam(state, {.eps = 1});  // so large, an update follows its gradient as smoothly as rounding moves that
  adam.panel_bytes = width * width * static_cast<int64_t>(sizeof(float)) / 5;
  state.keep_products(kept ? KeptProducts::all : KeptProducts::none);
  StepGraph graph(c);
  graph.on = on;
  Tensor x = Tensor::zeros(c, {kBatch, width});
  Left left{};
  for (int step = 0; step < 6; ++step) {
    std::vector<float> values(static_cast<size_t>(x.count()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i * 7 % 1000 + static_cast<size_t>(step) * 13));
    x.upload(values.data(), x.count());
    adam.upload_settings();
    graph.run({x}, {}, [&] {
      const Step scope(c);
      Tape tape(c);
      const Tensor y = net(x);
      adam.zero_grad();
      tape.backward(ops::sum(ops::mul(y, y)));
      for (const ModuleState::Entry& e : state.entries()) left.products += e.tensor.variable()->product != nullptr;
      adam.step();
    });
    c.generator.next_step();
  }
  left.weights = state.flat_parameters().host<float>();
  left.first = adam.first_moment().host<float>();
  left.second = adam.second_moment().host<float>();
  left.norm = adam.gradient_norm();
  left.replays = graph.replays();
  return left;
}

void panels_equal_written_gradients(Device device, int64_t width) {
  Left graph = trained_by_panels(device, width, true, true);
  const Left eager = trained_by_panels(device, width, true, false), written = trained_by_panels(device, width, false, false);
  EXPECT_EQ(graph.replays, 5);
  EXPECT_EQ(graph.products, 2 * 2) << "of both weights, eagerly and when it was recorded";
  EXPECT_EQ(eager.products, 2 * 6);
  EXPECT_EQ(written.products, 0);
  graph.replays = eager.replays, graph.products = eager.products;
  EXPECT_TRUE(graph == eager) << "not the same bits";
  const auto expect_near = [](const std::vector<float>& a, const std::vector<float>& b, const char* what) {
    double largest = 0, worst = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(b[i])));
      if (const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])); !(d <= worst)) worst = d;
    }
    EXPECT_LE(worst, 1e-5 * largest) << what;
  };
  expect_near(eager.weights, written.weights, "weights");
  expect_near(eager.first, written.first, "first moment");
  expect_near(eager.second, written.second, "second moment");
  EXPECT_NEAR(eager.norm, written.norm, 1e-5 * written.norm);
}

TEST(step_graph, panels_of_large_weights_equal_written_gradients) {
  panels_equal_written_gradients(kSimt, 24);
}

// The same noise for the same step, other noise for another, whether it is replayed or not.
TEST(step_graph, noise_is_that_of_the_step) {
  for (const bool on : {true, false}) {
    Context c(kSimt, 5);
    StepGraph graph(c);
    graph.on = on;
    const Tensor zeros = Tensor::zeros(c, {50}), noise = Tensor::zeros(c, {50});
    std::vector<std::vector<float>> drawn;
    for (uint32_t step : {3u, 3u, 3u, 4u, 9u, 3u}) {
      c.generator.step = step;
      graph.run({zeros}, {},
                [&] { k::reparameterize<float>(c.stream(), zeros.data<float>(), zeros.data<float>(), noise.data<float>(), 50, c.generator.next()); });
      EXPECT_EQ(c.generator.op, 1u) << "what is drawn outside goes on behind";
      c.generator.op = 0;
      drawn.push_back(noise.host<float>());
      Tensor expected = Tensor::zeros(c, {50});
      k::reparameterize<float>(c.stream(), zeros.data<float>(), zeros.data<float>(), expected.data<float>(), 50, PhiloxKey{5, 0, step});
      EXPECT_EQ(drawn.back(), expected.host<float>());
    }
    EXPECT_EQ(graph.replays(), on ? 5 : 0);
    EXPECT_EQ(drawn[0], drawn[5]);
    EXPECT_NE(drawn[2], drawn[3]);
  }
}

// Memory that a record knows may move: a larger step makes the arena grow, another op the scratch, between two that are replayed.
TEST(step_graph, records_anew_where_its_memory_has_moved) {
  for (const auto& [arena_moves, scratch_moves] : {std::pair{true, false}, {false, true}, {true, true}}) {
    Trained graph(kSimt), eager(kSimt, false);
    graph.graph.verify = false;
    graph.context.memory().poison_arena = true;
    for (Trained* t : {&graph, &eager}) {
      for (int i = 0; i < 3; ++i) t->step(8);
      const int64_t arena = t->context.memory().arena_moves(), scratch = t->context.stream().scratch_moves();
      if (arena_moves) {
        t->net.set_training(false);
        {
          const Step scope(t->context);
          for (int i = 0; i < 3; ++i) t->net(t->x).host<float>();
          ops::sum(ops::matmul(Tensor::zeros(t->context, {3, 40000}), Tensor::zeros(t->context, {40000, 3})));
        }
        t->net.set_training(true);
        t->context.generator.op = 0;
      }
      if (scratch_moves) t->context.stream().scratch(size_t{64} << 20);
      for (int i = 0; i < 3; ++i) t->step(8);
      EXPECT_EQ(t->context.memory().arena_moves() > arena, arena_moves);
      EXPECT_TRUE(!scratch_moves || t->context.stream().scratch_moves() > scratch);
    }
    expect_same(graph, eager);
    EXPECT_EQ(graph.graph.eager_steps(), 1);
    EXPECT_EQ(graph.graph.captures(), 2) << arena_moves << ", " << scratch_moves;
    EXPECT_EQ(graph.graph.replays(), 5);
  }
}

// What a record holds was computed in one math mode by one provider; each has its own.
TEST(step_graph, math_and_provider_have_records_of_their_own) {
  Trained graph(kSimt), eager(kSimt, false);
  graph.graph.verify = false;
  const auto steps = [&](int64_t captures) {
    for (Trained* t : {&graph, &eager})
      for (int i = 0; i < 3; ++i) t->step(8);
    EXPECT_EQ(graph.graph.captures(), captures);
  };
  steps(1);
  for (Trained* t : {&graph, &eager}) t->context.stream().math = MathMode::tf32;
  steps(2);
  for (Trained* t : {&graph, &eager}) t->context.stream().provider = Provider::ours;
  steps(3);
  for (Trained* t : {&graph, &eager}) t->context.stream().math = MathMode::ieee, t->context.stream().provider = Provider::automatic;
  steps(3);
  expect_same(graph, eager);
}

TEST(step_graph, keeps_some_records_and_forgets_those_that_were_not_used_for_longest) {
  Trained t(kSimt);
  t.graph.verify = false;
  for (int round = 0; round < 2; ++round)
    for (int64_t batch = 2; batch < 2 + static_cast<int64_t>(StepGraph::kMostRecords); ++batch) t.step(batch);
  EXPECT_EQ(t.graph.captures(), static_cast<int64_t>(StepGraph::kMostRecords));
  t.step(2);  // of all kept, the one that was used last
  t.step(20);
  EXPECT_EQ(t.graph.eager_steps(), static_cast<int64_t>(StepGraph::kMostRecords) + 1);
  t.step(2);
  EXPECT_EQ(t.graph.eager_steps(), static_cast<int64_t>(StepGraph::kMostRecords) + 1) << "2 is still there";
  t.step(3);
  EXPECT_EQ(t.graph.eager_steps(), static_cast<int64_t>(StepGraph::kMostRecords) + 2) << "3 went for 20";
}

TEST(step_graph, runs_eagerly_where_it_must) {
  Trained t(kSimt);
  for (int i = 0; i < 2; ++i) t.step();
  EXPECT_EQ(t.graph.why_eager(), "");
  EXPECT_EQ(t.graph.replays(), 1);
  t.context.nan_guard = true;
  EXPECT_CONTAINS(t.graph.why_eager(), "NaN guard");
  t.step();
  t.context.nan_guard = false;
  {
    Profile profile;
    t.context.stream().profile = &profile;
    EXPECT_CONTAINS(t.graph.why_eager(), "profile");
    t.step();
    t.context.stream().profile = nullptr;
    EXPECT_GT(profile.calls_seen(), 20);
  }
  t.graph.on = false;
  EXPECT_EQ(t.graph.why_eager(), "switched off");
  t.step();
  EXPECT_EQ(t.graph.replays(), 1);
  t.graph.on = true;
  t.step();
  EXPECT_EQ(t.graph.replays(), 2);
  Trained cpu({DeviceType::cpu, 0});
  EXPECT_CONTAINS(cpu.graph.why_eager(), "cpu");
  for (int i = 0; i < 3; ++i) cpu.step();
  EXPECT_EQ(cpu.graph.eager_steps(), 3);
}

// A loss that is not finite: the device itself leaves weights, moments and the count of steps alone.
TEST(step_graph, a_loss_that_is_not_finite_changes_nothing) {
  for (const bool on : {true, false}) {
    Trained t(kSimt, on);
    for (int i = 0; i < 3; ++i) t.step();
    const std::vector<float> before = t.weights(), moment = t.adam.first_moment().host<float>();
    const std::vector<float> bad(static_cast<size_t>(t.y.count()), INFINITY);
    t.y.upload(bad.data(), t.y.count());
    EXPECT_FALSE(std::isfinite(t.step()));
    EXPECT_EQ(t.weights(), before);
    EXPECT_EQ(t.adam.first_moment().host<float>(), moment);
    EXPECT_EQ(t.adam.steps(), 3);
    EXPECT_EQ(t.adam.skipped(), 1);
  }
}

// ---- planted mistakes
TEST(step_graph, a_number_of_the_host_that_changes_is_noticed) {
  Trained t(kSimt);
  float factor = 1;
  Tensor scaled = Tensor::zeros(t.context, {1});
  auto mistake = [&] { k::scale<float>(t.context.stream(), t.loss.data<float>(), scaled.data<float>(), 1, factor); };
  for (int i = 0; i < 3; ++i) t.step(18, 1, mistake);
  factor = 2;
  const Error e = error_of([&] { t.step(18, 1, mistake); });
  EXPECT_EQ(e.code(), ErrorCode::internal);
  EXPECT_CONTAINS(e.message(), "a step recorded twice is not the same: kernel");
  EXPECT_CONTAINS(e.message(), "elementwise.cu");
  EXPECT_CONTAINS(e.message(), "has another argument");
  EXPECT_CONTAINS(e.hint(), "a number of the host's is baked in");
}

TEST(step_graph, noise_that_does_not_come_from_the_generator_is_noticed) {
  Trained t(kSimt);
  auto mistake = [&] {
    const PhiloxKey key{1, 2, t.context.generator.step};  // the host's step, by value
    Tensor noise = Tensor::empty(t.context, {5});
    k::random_normal<float>(t.context.stream(), noise.data<float>(), 5, 0.0f, 1.0f, key);
  };
  for (int i = 0; i < 2; ++i) t.step(18, 1, mistake);
  const Error e = error_of([&] { t.step(18, 1, mistake); });
  EXPECT_CONTAINS(e.message(), "random.cu");
  EXPECT_CONTAINS(e.message(), "has another argument 4");
}

// Each stops a recording; with `verify` off the run goes on kernel by kernel, after one warning, and to the same bits.
TEST(step_graph, what_cannot_be_recorded_is_named_and_training_goes_on_without_graphs) {
  const struct {
    const char* what;
    std::function<void(Trained&)> act;
  } mistakes[] = {
      {"the host waits for the stream", [](Trained& t) { t.context.stream().synchronize(); }},
      {"memory of the device is copied to the host", [](Trained& t) { t.loss.host<float>(); }},
      {"memory of the host is copied to the device",
       [](Trained& t) {
         Tensor::from(t.context, {2}, std::vector<float>{1, 2});
       }},
      {"of scratch memory are asked for",
       [](Trained& t) { t.context.stream().scratch(t.graph.captures() + t.graph.eager_steps() > 0 ? size_t{64} << 20 : 1); }},
      {"for too much are taken beside the arena while a step is captured",
       [](Trained& t) {
         if (t.context.generator.step_at) Tensor::empty(t.context, {100000}, DType::f32, "too much");
       }},
      {"memory is taken from the device",
       [](Trained& t) {
         const Backend& b = t.context.stream().backend();
         b.free(0, b.alloc(0, 64));
       }},
  };
  for (const auto& [what, act] : mistakes) {
    SCOPED_TRACE(what);
    {
      Trained t(kSimt);
      auto more = [&, &mistake = act] { mistake(t); };
      t.step(18, 1, more);
      EXPECT_CONTAINS(error_of([&] { t.step(18, 1, more); }).message(), what);
    }
    const Warnings said;
    Trained t(kSimt), eager(kSimt, false);
    t.graph.verify = false;
    for (int i = 0; i < 4; ++i) {
      t.step(18, 1, [&, &mistake = act] { mistake(t); });
      eager.step();
    }
    ASSERT_EQ(said.lines.size(), 1u);
    EXPECT_CONTAINS(said.lines[0], "without graphs");
    EXPECT_CONTAINS(said.lines[0], what);
    EXPECT_EQ(t.graph.replays(), 0);
    EXPECT_EQ(t.graph.eager_steps(), 4);
    EXPECT_CONTAINS(t.graph.why_eager(), what);
    EXPECT_EQ(t.context.tape(), nullptr);
    expect_same(t, eager);
  }
}

// Replayed, the step would change w behind the back of the tape.
TEST(step_graph, a_tape_that_records_is_refused) {
  Context c(kSimt);
  StepGraph graph(c);
  Tensor w = Tensor::zeros(c, {1});
  const auto step = [&] {
    const Step scope(c);
    w.assign(ops::scale(w, 2));
  };
  for (int i = 0; i < 3; ++i) graph.run({}, {}, step);
  EXPECT_EQ(graph.replays(), 2);
  {
    const Tape tape(c);
    EXPECT_CONTAINS(error_of([&] { graph.run({}, {}, step); }).message(), "graph: run while a tape records");
  }
  graph.run({}, {}, step);
}

TEST(step_graph, memory_outside_of_a_step_is_refused_too) {
  Context c(kSimt);
  StepGraph graph(c);
  graph.verify = true;
  auto step = [&] { Tensor::empty(c, {3}, DType::f32, "stray"); };
  graph.run({}, {}, step);
  EXPECT_CONTAINS(error_of([&] { graph.run({}, {}, step); }).message(), "for stray are taken outside of a Step while a step is captured");
  const Step scope(c);
  EXPECT_CONTAINS(error_of([&] { graph.run({}, {}, step); }).message(), "within a Step");
}

TEST(step_graph, an_error_of_the_step_comes_through) {
  Context c(kSimt);
  StepGraph graph(c);
  auto step = [] { fail_input("bad data"); };
  for (int i = 0; i < 2; ++i) EXPECT_CONTAINS(error_of([&] { graph.run({}, {}, step); }).message(), "bad data");
  EXPECT_EQ(graph.why_eager(), "");
}

// ---- where there is a GPU
class OnCuda : public testing::Test {
 public:
  explicit OnCuda(void (*test)(Device)) : test_(test) {}
  void TestBody() override { test_({DeviceType::cuda, 0}); }

 private:
  void (*test_)(Device);
};
void wide_panels_equal_written_gradients(Device device) {
  panels_equal_written_gradients(device, 2048);  // the smallest weights that a GPU keeps as products (ModuleState::keep_products)
}
[[maybe_unused]] const bool registered = [] {
  if (cuda_backend().device_count() == 0) return true;
  const auto add = [](const char* name, void (*test)(Device)) {
    testing::RegisterTest("step_graph", name, nullptr, nullptr, __FILE__, __LINE__, [test]() -> testing::Test* { return new OnCuda(test); });
  };
  add("cuda", graph_equals_eager);
  add("cuda_panels", wide_panels_equal_written_gradients);
  return true;
}();

}  // namespace
}  // namespace panvae::test
