// The kernels of an RNA VAE step on this machine, by Google Benchmark: bytes or flops as the shape rules count them, so the
// rates stand beside the triad's and BLAS's of bench_train_step.
//   bench_kernels --benchmark_filter=adam
#include <benchmark/benchmark.h>

#include "base/threads.h"
#include "engine/context.h"
#include "engine/ops/linear.h"
#include "engine/ops/vae.h"

using namespace panvae;

namespace {

constexpr int64_t B = 256, G = 19421, H = 1024, Z = 512;

Tensor random_tensor(Context& c, Shape shape, uint32_t op) {
  Tensor t = Tensor::empty(c, shape);
  k::random_normal<float>(c.stream(), t.data<float>(), t.count(), 0.0f, 1.0f, PhiloxKey{3, op, 0});
  return t;
}

void rates(benchmark::State& state, const OpRule& rule) {
  const auto n = static_cast<double>(state.iterations());
  state.counters["GB/s"] = benchmark::Counter(n * rule.bytes / 1e9, benchmark::Counter::kIsRate);
  if (rule.flops > 0) state.counters["GFLOP/s"] = benchmark::Counter(n * rule.flops / 1e9, benchmark::Counter::kIsRate);
}

void adam(benchmark::State& state) {
  Context c;
  const int64_t n = state.range(0);
  Tensor p = random_tensor(c, {n}, 0), g = random_tensor(c, {n}, 1), m = Tensor::zeros(c, {n}), v = Tensor::zeros(c, {n}),
         slots = Tensor::zeros(c, {adam_slots}, DType::f64);
  slots.data<double>()[adam_learning_rate] = 1e-4;
  const double norm = 1;
  k::adam_prepare<double>(c.stream(), &norm, slots.data<double>(), AdamOptions{});
  for (auto _ : state) k::adam<float>(c.stream(), p.data<float>(), g.data<float>(), m.data<float>(), v.data<float>(), n, slots.data<double>(), AdamOptions{});
  rates(state, {{n}, 0, 28.0 * static_cast<double>(n)});
}
BENCHMARK(adam)->Name("adam/f32/rna_vae")->Arg(41369565)->UseRealTime()->Unit(benchmark::kMillisecond);

void gradient_norm(benchmark::State& state) {
  Context c;
  const int64_t n = state.range(0);
  Tensor g = random_tensor(c, {n}, 1);
  double out = 0;
  for (auto _ : state) k::sum_squares<float>(c.stream(), g.data<float>(), &out, n);
  rates(state, {{1}, 2.0 * static_cast<double>(n), 4.0 * static_cast<double>(n)});
}
BENCHMARK(gradient_norm)->Name("sum_squares/f32/rna_vae")->Arg(41369565)->UseRealTime()->Unit(benchmark::kMillisecond);

void huber_kl(benchmark::State& state) {
  Context c;
  Tensor pred = random_tensor(c, {B, G}, 0), target = random_tensor(c, {B, G}, 1), mu = random_tensor(c, {B, Z}, 2), logvar = random_tensor(c, {B, Z}, 3);
  for (auto _ : state) {
    Step step(c);
    benchmark::DoNotOptimize(ops::huber_kl(pred, target, mu, logvar, 1.0, 1.0).parts.data<float>());
  }
  rates(state, ops::huber_kl_rule(pred, target, mu, logvar));
}
BENCHMARK(huber_kl)->Name("huber_kl/fwd_bwd/f32/B256xG19421")->UseRealTime()->Unit(benchmark::kMillisecond);

void linear(benchmark::State& state) {
  Context c;
  const int64_t in = state.range(0), out = state.range(1);
  Tensor x = random_tensor(c, {B, in}, 0), w = random_tensor(c, {out, in}, 1), b = random_tensor(c, {out}, 2);
  for (auto _ : state) {
    Step step(c);
    benchmark::DoNotOptimize(ops::linear(x, w, b, Activation::relu).data<float>());
  }
  rates(state, ops::linear_rule(x, w, b));
}
BENCHMARK(linear)->Name("linear_relu/fwd/f32/B256")->Args({G, H})->Args({H, Z})->Args({H, G})->UseRealTime()->Unit(benchmark::kMillisecond);

void reparameterize(benchmark::State& state) {
  Context c;
  Tensor mu = random_tensor(c, {B, Z}, 0), logvar = random_tensor(c, {B, Z}, 1);
  for (auto _ : state) {
    Step step(c);
    benchmark::DoNotOptimize(ops::reparameterize(mu, logvar, {1, 2, 3}).data<float>());
  }
  rates(state, {{B, Z}, 0, 12.0 * B * Z});
}
BENCHMARK(reparameterize)->Name("reparameterize/fwd/f32/B256xZ512")->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) {
  set_threads(0);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
