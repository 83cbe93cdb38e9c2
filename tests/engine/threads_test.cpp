// The engine within programs that have threads of their own: two contexts side by side, in threads or in a parallel loop of OpenMP.
// Numbers must be those of one context alone.
#include "base/threads.h"

#include <omp.h>

#include <thread>

#include "engine/layers.h"
#include "engine/ops/fused.h"
#include "engine/optimizer.h"
#include "helpers.h"

namespace panvae::test {
namespace {

constexpr int kCallers = 3;

// Three steps of a net that has what keeps something for each thread, or runs several loops in one region: batch normalisation,
// linear_huber_kl, a convolution, and weight gradients that Adam computes. `rows` decides whether those are loops at all.
std::vector<float> trained(int64_t rows) {
  constexpr int64_t kIn = 12, kHidden = 16, kLatent = 4;
  Context c;
  struct Small : Module {
    Small() {
      declare_module("conv", conv);
      declare_module("norm3", norm3);
      declare_module("hidden", hidden);
      declare_module("norm", norm);
      declare_module("mean", mean);
      declare_module("out", out);
    }
    Tensor forward(const Tensor& x) override {
      const Tensor features = norm3(conv(ops::reshape(x, {x.size(0), 1, x.size(1)})));
      return norm(hidden(ops::reshape(features, {x.size(0), 2 * x.size(1)})));
    }
    Conv1d conv{1, 2, 3, {.padding = 1}};
    BatchNorm1d norm3{2};
    Linear hidden{2 * kIn, kHidden};
    BatchNorm1d norm{kHidden};
    Linear mean{kHidden, kLatent}, out{kHidden, kIn};
  } net;
  ModuleState state(c, net, 1);
  Adam adam(state);
  state.keep_products(KeptProducts::all);
  const Tensor x = tensor(c, {rows, kIn}, ramp(static_cast<size_t>(rows * kIn)));
  for (int i = 0; i < 3; ++i) {
    Step step(c);
    Tape tape(c);
    const Tensor h = net(x), mu = net.mean(h);
    const ops::VaeLoss loss = ops::linear_huber_kl(h, net.out.weight, net.out.bias, x, mu, mu, 1, 0.1);
    adam.zero_grad();
    tape.backward(loss.loss);
    adam.step();
  }
  std::vector<float> values = state.flat_parameters().host<float>();
  const std::vector<float> running = state.flat_buffers().host<float>();
  values.insert(values.end(), running.begin(), running.end());
  return values;
}

class Callers : public ::testing::TestWithParam<int64_t> {};
INSTANTIATE_TEST_SUITE_P(rows, Callers, ::testing::Values(5, 2000));

TEST_P(Callers, threads_of_a_host_program) {
  const std::vector<float> alone = trained(GetParam());
  std::vector<float> found[kCallers];
  std::vector<std::thread> callers;
  for (auto& to : found) callers.emplace_back([&to] { to = trained(GetParam()); });
  for (std::thread& t : callers) t.join();
  for (const auto& values : found) EXPECT_EQ(values, alone);
}

// Loops within the region of a caller run on one thread, whose number there is none of theirs.
TEST_P(Callers, a_parallel_loop_of_a_host_program) {
  const int before = threads();
  set_threads(1);
  const std::vector<float> alone = trained(GetParam());
  std::vector<float> found[kCallers];
#pragma omp parallel for num_threads(kCallers) schedule(static)
  for (int i = 0; i < kCallers; ++i) found[i] = trained(GetParam());
  set_threads(before);
  for (const auto& values : found) EXPECT_EQ(values, alone);
}

}  // namespace
}  // namespace panvae::test
