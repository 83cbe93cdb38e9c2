// bench_survival: Cox regression and the C-statistic on made-up patients. Its peer is bench/peers/r_survival.R.
#include <benchmark/benchmark.h>

#include <cmath>
#include <vector>

#include "base/philox.h"
#include "eval/concordance.h"
#include "eval/cox.h"

namespace panvae::eval {
namespace {

struct Patients {
  std::vector<double> time, risk;
  std::vector<uint8_t> event;
  data::RowMatrix<double> x;  // [n, d]
};

Patients patients(int64_t n, int64_t d) {
  Patients p;
  p.x.resize(n, d);
  PhiloxSequence g(PhiloxKey{1, 1, 0});
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < d; ++j) p.x(i, j) = g.normal();
    p.risk.push_back(g.normal());
    const double death = -2000 * std::log(1 - g.uniform()) * std::exp(-p.risk.back()), lost = 1 + 3000 * g.uniform();
    p.time.push_back(std::ceil(std::min(death, lost)));
    p.event.push_back(death <= lost);
  }
  return p;
}

// One fit, Efron's ties, a ridge of 1.
void cox(benchmark::State& state) {
  const Patients p = patients(state.range(0), state.range(1));
  CoxOptions o;
  o.penalty.assign(static_cast<size_t>(state.range(1)), 1);
  for (auto _ : state) benchmark::DoNotOptimize(fit_cox(p.time, p.event, p.x, {}, o).loglik);
}
BENCHMARK(cox)
    ->ArgNames({"n", "d"})
    ->Args({404, 10})
    ->Args({4000, 50})
    ->Args({11000, 10})
    ->Args({11000, 100})
    ->Args({11000, 500})
    ->Unit(benchmark::kMillisecond);

// Uno's C; Harrell's takes the same steps.
void concordance(benchmark::State& state) {
  const Patients p = patients(state.range(0), 0);
  const CensoringDistribution g(p.time, p.event);
  ConcordanceOptions o;
  o.censoring = &g;
  for (auto _ : state) benchmark::DoNotOptimize(eval::concordance(p.risk, p.time, p.event, {}, o).c());
  state.SetComplexityN(state.range(0));
}
BENCHMARK(concordance)->ArgName("n")->RangeMultiplier(10)->Range(1000, 1000000)->Unit(benchmark::kMillisecond)->Complexity(benchmark::oNLogN);

}  // namespace
}  // namespace panvae::eval

BENCHMARK_MAIN();
