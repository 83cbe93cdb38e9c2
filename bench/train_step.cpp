// One training step of the RNA VAE, or of the block VAE of ATAC, against its floor.
//
//   floor = products of the step, each alone by BLAS at its shape + Adam's 28 bytes a parameter at triad bandwidth
//
// Everything else a step does (bias, activation, normalisation, noise, loss, column sums, gradient norm, the gather of the
// batch) is what the ratio shows. Peak memory is the process's, against 16 bytes a parameter (weight, gradient, two moments)
// and the batch.
//   bench_train_step [--model rna] [--batch 256] [--genes 19421] [--hidden 1024] [--latent 512] [--steps 15] [--json FILE]
//   bench_train_step --model block [--batch 256] [--block 5000] [--latent 512] ...
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "bench/ceilings.h"
#include "kernels/blas.h"
#include "kernels/kernels.h"
#include "models/atac_block_vae.h"
#include "models/trainer.h"

using namespace panvae;

namespace {

double seconds_of(const std::function<void()>& f) {
  const auto t0 = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count();
}

// Median of `times` runs after one to warm up.
double median_seconds(int times, const std::function<void()>& f) {
  f();
  std::vector<double> t;
  for (int i = 0; i < times; ++i) t.push_back(seconds_of(f));
  std::sort(t.begin(), t.end());
  return t[t.size() / 2];
}

// A linear layer; what comes first needs no gradient of its input.
struct Layer {
  std::string what;
  int64_t in, out;
  bool first = false;
};

std::vector<Layer> layers_of(const RnaVaeShape& s) {
  return {{"encoder hidden", s.genes, s.hidden, true},
          {"mean", s.hidden, s.latent},
          {"log-variance", s.hidden, s.latent},
          {"decoder hidden", s.latent, s.hidden},
          {"output", s.hidden, s.genes}};
}

std::vector<Layer> layers_of(const AtacBlockVaeShape& s) {
  std::vector<Layer> layers;
  int64_t in = s.block;
  for (int64_t w : s.widths) layers.push_back({fmt::format("encoder {}", w), std::exchange(in, w), w, layers.empty()});
  layers.push_back({"mean", in, s.latent});
  layers.push_back({"log-variance", in, s.latent});
  in = s.latent;
  for (int64_t w : mirrored_block_widths(s.widths)) layers.push_back({fmt::format("decoder {}", w), std::exchange(in, w), w});
  layers.push_back({"output", in, s.block});
  return layers;
}

struct Product {
  std::string what;
  int64_t M, N, K;
  bool ta, tb;
};

std::vector<Product> products_of(const std::vector<Layer>& layers, int64_t B) {
  std::vector<Product> products;
  for (const Layer& l : layers) {
    products.push_back({l.what, B, l.out, l.in, false, true});
    products.push_back({l.what + ", weight gradient", l.out, l.in, B, true, false});
    if (!l.first) products.push_back({l.what + ", input gradient", B, l.in, l.out, false, false});
  }
  return products;
}

}  // namespace

int main(int argc, char** argv) try {
  int64_t B = 256, G = 19421, H = 1024, Z = 512, steps = 15;
  int64_t block = 5000;
  std::string json_path, which = "rna";
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string o = argv[i];
    if (o == "--json") {
      json_path = argv[i + 1];
      continue;
    }
    if (o == "--model") {
      which = argv[i + 1];
      if (which != "rna" && which != "block") fail_usage("--model is rna or block, not " + quoted(which));
      continue;
    }
    int64_t* v = o == "--batch"    ? &B
                 : o == "--genes"  ? &G
                 : o == "--hidden" ? &H
                 : o == "--latent" ? &Z
                 : o == "--block"  ? &block
                 : o == "--steps"  ? &steps
                                   : nullptr;
    if (!v) fail_usage("unknown option " + quoted(o));
    *v = std::stoll(argv[i + 1]);
  }
  set_threads(0);
  const RnaVaeShape rna{.genes = G, .hidden = H, .latent = Z};
  const AtacBlockVaeShape atac{.block = block, .latent = Z};
  if (which == "block") G = block;
  fmt::print("{} threads, {}\n{} VAE, batch {}, {} features, latent {}\n\n", threads(), blas_description(), which, B, G, Z);

  // The step comes first, so that the peak memory is its own.
  const int64_t samples = 4 * B;
  double step_seconds = 0;
  int64_t parameters = 0, peak = 0;
  {
    Context context;
    std::vector<float> data(static_cast<size_t>(samples * G));
    k::random_normal<float>(context.stream(), data.data(), samples * G, 0.0f, 1.0f, PhiloxKey{1, 0, 0});
    MatrixSource source(context, data.data(), samples, G);
    std::unique_ptr<Vae> model;
    if (which == "rna") model = std::make_unique<RnaVae>(rna);
    else model = std::make_unique<AtacBlockVae>(atac);
    ModuleState state(context, *model, 0);
    parameters = state.parameter_count();
    Adam adam(state, {.weight_decay = 1e-4});
    adam.learning_rate = 1e-4;
    std::vector<int64_t> rows(static_cast<size_t>(B));
    int64_t turn = 0;
    auto one_step = [&] {
      for (int64_t i = 0; i < B; ++i) rows[static_cast<size_t>(i)] = (turn * 7 + i * 3) % samples;
      ++turn;
      {
        Step step(context);
        Tensor x = Tensor::empty(context, {B, G}, DType::f32, "batch");
        source.fill(rows, x);
        Tape tape(context);
        const ItemLoss out = vae_loss(context, *model, x, true, 1.0, 1.0);
        adam.zero_grad();
        tape.backward(out.loss.loss);
      }
      adam.step();
      context.generator.next_step();
    };
    one_step();
    step_seconds = median_seconds(static_cast<int>(steps), one_step);
    peak = peak_resident_bytes() - samples * G * 4;
  }

  Context context;
  const std::vector<Product> products = products_of(which == "rna" ? layers_of(rna) : layers_of(atac), B);
  int64_t largest = 0;
  for (const Product& p : products) largest = std::max({largest, p.M * p.K, p.K * p.N, p.M * p.N});
  TextTable t({"part", "GFLOP", "ms", "GFLOP/s"});
  double product_seconds = 0, flops = 0;
  {
    Tensor big_a = Tensor::zeros(context, {largest}), big_b = Tensor::zeros(context, {largest}), c = Tensor::zeros(context, {largest});
    for (Tensor* x : {&big_a, &big_b}) k::random_normal<float>(context.stream(), x->data<float>(), x->count(), 0.0f, 1.0f, PhiloxKey{2, 0, 0});
    for (const Product& p : products) {
      const double s = median_seconds(5, [&] {
        k::matmul<float>(context.stream(), big_a.data<float>(), p.ta, big_b.data<float>(), p.tb, c.data<float>(), p.M, p.N, p.K, Epilogue<float>{});
      });
      const double f = 2.0 * static_cast<double>(p.M) * static_cast<double>(p.N) * static_cast<double>(p.K);
      t.row({p.what, fmt::format("{:.2f}", f / 1e9), fmt::format("{:.1f}", s * 1e3), fmt::format("{:.0f}", f / s / 1e9)});
      product_seconds += s;
      flops += f;
    }
  }
  t.row(
      {"all products", fmt::format("{:.2f}", flops / 1e9), fmt::format("{:.1f}", product_seconds * 1e3), fmt::format("{:.0f}", flops / product_seconds / 1e9)});

  Triad triad(std::max<int64_t>(parameters, 1 << 24));
  const double bandwidth = bench::bandwidth_of(triad, {}), adam_floor = 28.0 * static_cast<double>(parameters) / bandwidth;
  t.row({"Adam at triad bandwidth", "", fmt::format("{:.1f}", adam_floor * 1e3), ""});
  const double floor = product_seconds + adam_floor;
  const double memory_floor = 16.0 * static_cast<double>(parameters), batch_bytes = 4.0 * static_cast<double>(B * G);
  const double time_ratio = step_seconds / floor, memory_ratio = (static_cast<double>(peak) - batch_bytes) / memory_floor;
  fmt::print(
      "{}\ntriad bandwidth {:.1f} GB/s\nfloor           {:.1f} ms\nstep            {:.1f} ms, {:.2f} times the floor\npeak memory     {} for {} parameters, "
      "{:.2f} times 16 bytes each (without the batch of {})\n",
      t.str(), bandwidth / 1e9, floor * 1e3, step_seconds * 1e3, time_ratio, human_bytes(peak), parameters, memory_ratio,
      human_bytes(static_cast<int64_t>(batch_bytes)));
  if (!json_path.empty())
    write_file(json_path, Json{{"model", which},
                               {"batch", B},
                               {"features", G},
                               {"hidden", H},
                               {"latent", Z},
                               {"threads", threads()},
                               {"parameters", parameters},
                               {"product_seconds", product_seconds},
                               {"gflop", flops / 1e9},
                               {"triad_bytes_per_second", bandwidth},
                               {"floor_seconds", floor},
                               {"step_seconds", step_seconds},
                               {"time_ratio", time_ratio},
                               {"peak_bytes", peak},
                               {"memory_ratio", memory_ratio}}
                                  .dump(2) +
                              "\n");
  return 0;
} catch (const panvae::Error& e) {
  fmt::print(stderr, "bench_train_step: error: {}\n", e.what());
  return static_cast<int>(e.code());
}
