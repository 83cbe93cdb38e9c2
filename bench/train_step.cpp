// One training step of the RNA VAE, or of the block or the hierarchical VAE of ATAC, against its floor.
//
//   floor = products of the step, each alone by BLAS at its shape + Adam's 28 bytes a parameter at triad bandwidth
//   on cuda: operations or bytes of each product, whichever take longer at what a large product and a copy reach + Adam's bytes
//
// A convolution counts as the product of its windows, laid out as a matrix beforehand. Everything else a step does (bias,
// activation, normalisation, noise, loss, column sums, gradient norm, the gather of the batch) is what the ratio shows. Peak
// memory is the process's, on cuda the device's, against 16 bytes a parameter (weight, gradient, two moments) and the batch.
//   bench_train_step [--model rna] [--batch 256] [--genes 19421] [--hidden 1024] [--latent 512] [--steps 15] [--json FILE]
//   bench_train_step --model block [--batch 256] [--block 5000] [--widths 2048,1024,512] [--latent 512] ...
//   bench_train_step --model hierarchical [--batch 64] [--blocks 113] [--block-latent 512] [--channels 64] [--widths 2048,1024] ...
//   ... [--device cpu|cuda] [--precision ieee|tf32|bf16] [--no-graph]   --no-graph: kernel by kernel where a graph is the rule
//   --unfused    without the fused ops (docs/kernels.md), and with gradients written
//   --no-overlap   in a graph, gradients of weights are computed one after the other with all else (docs/graphs.md)
//   --kept-products        large gradients of weights are computed together with Adam's update, also where the library computes products
//   --written-gradients    the gradients of weights are written, and Adam reads them, as where they are clipped
//
// For peers (bench/peers/interleave.py):
//   --write FILE.safetensors   times nothing and writes what another library needs to compute the same: initial weights, samples,
//                              and of the first steps the rows, the noise and the losses
//   --serve                    waits for commands, one a line: `steps N` runs one step untimed and N timed ones, `floor` measures the
//                              floor; each is answered by a line of JSON. So programs can take turns within seconds. `losses`
//                              are those of the last step, in hexadecimal: two ways to compute the same can be compared to the bit
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/blas.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "bench/ceilings.h"
#include "engine/checkpoint.h"
#include "engine/profile_report.h"
#include "engine/step_graph.h"
#include "kernels/kernels.h"
#include "models/atac_block_vae.h"
#include "models/atac_hierarchical_vae.h"
#include "models/trainer.h"

using namespace panvae;

namespace {

constexpr double kLearningRate = 1e-4, kWeightDecay = 1e-4;
constexpr int64_t kWrittenSteps = 3;

double seconds_of(const std::function<void()>& f) {
  const auto t0 = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - t0).count();
}

double median(std::vector<double> t) {
  std::sort(t.begin(), t.end());
  return t[t.size() / 2];
}

// Of `times` runs after one to warm up.
std::vector<double> seconds_of_runs(int64_t times, const std::function<void()>& f) {
  f();
  std::vector<double> t;
  for (int64_t i = 0; i < times; ++i) t.push_back(seconds_of(f));
  return t;
}

struct Options {
  std::string model = "rna";
  int64_t batch = 0, genes = 19421, hidden = 1024, latent = 512, steps = 15;
  int64_t block = 5000;
  int64_t blocks = 113, block_latent = 512, channels = 64;
  std::vector<int64_t> widths;
  std::string json, write, device_name = "cpu", precision = "ieee";
  Device device;
  MathMode math = MathMode::ieee;
  bool serve = false, graph = true, overlap = true, unfused = false, kept_products = false, written_gradients = false;

  RnaVaeShape rna() const { return RnaVaeShape{.genes = genes, .hidden = hidden, .latent = latent}.on(device); }
  AtacBlockVaeShape atac_block() const {
    AtacBlockVaeShape s{.block = block, .latent = latent};
    if (!widths.empty()) s.widths = widths;
    return s;
  }
  AtacHierarchicalVaeShape hierarchical() const {
    AtacHierarchicalVaeShape s{.blocks = blocks, .block_latent = block_latent, .channels = channels, .latent = latent};
    if (!widths.empty()) s.widths = widths;
    return s;
  }
  std::unique_ptr<Vae> network() const {
    if (model == "rna") return std::make_unique<RnaVae>(rna());
    if (model == "block") return std::make_unique<AtacBlockVae>(atac_block());
    return std::make_unique<AtacHierarchicalVae>(hierarchical());
  }
};

int64_t whole_number(const std::string& text, const std::string& option) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < 1) fail_usage(fmt::format("{} is a positive whole number, not {}", option, quoted(text)));
  return value;
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    bool* const flag = option == "--serve"               ? &o.serve
                       : option == "--unfused"           ? &o.unfused
                       : option == "--kept-products"     ? &o.kept_products
                       : option == "--written-gradients" ? &o.written_gradients
                                                         : nullptr;
    if (flag) {
      *flag = true;
      continue;
    }
    if (option == "--no-graph" || option == "--no-overlap") {
      (option == "--no-graph" ? o.graph : o.overlap) = false;
      continue;
    }
    int64_t* number = option == "--batch"          ? &o.batch
                      : option == "--genes"        ? &o.genes
                      : option == "--hidden"       ? &o.hidden
                      : option == "--latent"       ? &o.latent
                      : option == "--block"        ? &o.block
                      : option == "--blocks"       ? &o.blocks
                      : option == "--block-latent" ? &o.block_latent
                      : option == "--channels"     ? &o.channels
                      : option == "--steps"        ? &o.steps
                                                   : nullptr;
    std::string* text = option == "--model"       ? &o.model
                        : option == "--json"      ? &o.json
                        : option == "--write"     ? &o.write
                        : option == "--device"    ? &o.device_name
                        : option == "--precision" ? &o.precision
                                                  : nullptr;
    if (!number && !text && option != "--widths") fail_usage("unknown option " + quoted(option));
    if (++i == argc) fail_usage(option + " needs a value");
    const std::string value = argv[i];
    if (number) {
      *number = whole_number(value, option);
    } else if (text) {
      *text = value;
    } else {
      for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
        end = value.find(',', begin);
        o.widths.push_back(whole_number(value.substr(begin, end - begin), option));
      }
    }
  }
  if (o.model != "rna" && o.model != "block" && o.model != "hierarchical") fail_usage("--model is rna, block or hierarchical, not " + quoted(o.model));
  if (!o.widths.empty() && o.model == "rna") fail_usage("--widths are those of block and hierarchical");
  if (o.batch == 0) o.batch = o.model == "hierarchical" ? 64 : 256;
  o.device = parse_device(o.device_name);
  o.math = o.precision == "tf32" ? MathMode::tf32 : o.precision == "bf16" ? MathMode::bf16 : MathMode::ieee;
  if (o.precision != "ieee" && o.math == MathMode::ieee) fail_usage("--precision is ieee, tf32 or bf16, not " + quoted(o.precision));
  const bool cpu = o.device.type == DeviceType::cpu;
  if (cpu && o.math != MathMode::ieee) fail_usage("--precision " + o.precision + " needs --device cuda");
  if (!cpu && !o.write.empty()) fail_usage("--write takes its steps on the cpu, which rounds as every peer can");
  if (o.kept_products && (o.written_gradients || o.unfused))
    fail_usage(fmt::format("--kept-products writes no gradients of weights, and --{} asks for them", o.unfused ? "unfused" : "written-gradients"));
  return o;
}

// A linear layer, or a convolution along `positions`, of stride 1; what comes first needs no gradient of its input.
struct Layer {
  std::string what;
  int64_t in, out;
  bool first = false;
  int64_t window = 1, positions = 1;
};

void append_widths(std::vector<Layer>& layers, const std::string& side, int64_t& in, const std::vector<int64_t>& widths) {
  for (int64_t w : widths) layers.push_back({fmt::format("{} {}", side, w), std::exchange(in, w), w, layers.empty()});
}

std::vector<Layer> layers_of(const RnaVaeShape& s) {
  return {{"encoder hidden", s.rows().width, s.hidden, true},
          {"mean", s.hidden, s.latent},
          {"log-variance", s.hidden, s.latent},
          {"decoder hidden", s.latent, s.hidden},
          {"output", s.hidden, s.rows().width}};
}

std::vector<Layer> layers_of(const AtacBlockVaeShape& s) {
  std::vector<Layer> layers;
  int64_t in = s.block;
  append_widths(layers, "encoder", in, s.widths);
  layers.push_back({"mean", in, s.latent});
  layers.push_back({"log-variance", in, s.latent});
  in = s.latent;
  append_widths(layers, "decoder", in, mirrored_block_widths(s.widths));
  layers.push_back({"output", in, s.block});
  return layers;
}

std::vector<Layer> layers_of(const AtacHierarchicalVaeShape& s) {
  std::vector<Layer> layers{{"convolution", s.block_latent, s.channels, true, 3, s.blocks}};
  int64_t in = s.channels * s.blocks;
  append_widths(layers, "encoder", in, s.widths);
  layers.push_back({"mean", in, s.latent});
  layers.push_back({"log-variance", in, s.latent});
  in = s.latent;
  std::vector<int64_t> widths(s.widths.rbegin(), s.widths.rend());
  widths.push_back(s.channels * s.blocks);
  append_widths(layers, "decoder", in, widths);
  layers.push_back({"transposed convolution", s.channels, s.block_latent, false, 3, s.blocks});
  return layers;
}

std::vector<Layer> layers_of(const Options& o) {
  return o.model == "rna" ? layers_of(o.rna()) : o.model == "block" ? layers_of(o.atac_block()) : layers_of(o.hierarchical());
}

struct Product {
  std::string what;
  int64_t M, N, K;
  bool ta, tb;

  double flop() const { return 2.0 * static_cast<double>(M) * static_cast<double>(N) * static_cast<double>(K); }
  double bytes() const { return 4.0 * static_cast<double>(M * K + K * N + M * N); }
};

std::vector<Product> products_of(const std::vector<Layer>& layers, int64_t B) {
  std::vector<Product> products;
  for (const Layer& l : layers) {
    const int64_t rows = B * l.positions, in = l.in * l.window;
    products.push_back({l.what, rows, l.out, in, false, true});
    products.push_back({l.what + ", weight gradient", l.out, in, rows, true, false});
    // A convolution's windows are those of the gradient, so that the result needs no summing up.
    if (!l.first) products.push_back({l.what + ", input gradient", rows, l.in, l.out * l.window, false, false});
  }
  return products;
}

// A network in training on random samples in memory.
class Training {
 public:
  explicit Training(const Options& o)
      : context(o.device),
        model(o.network()),
        samples(4 * o.batch),
        features(model->features()),
        data(static_cast<size_t>(samples * features)),
        state(context, *model, 0),
        graph(context),
        batch_(o.batch),
        source_(drawn()),
        adam_(state, {.weight_decay = kWeightDecay}),
        x_(Tensor::zeros(context, {batch_, model->width()}, DType::f32, "batch")),
        losses_(Tensor::zeros(context, {3}, DType::f32, "loss")),
        read_losses_(context, losses_.count() * item_bytes(DType::f32)) {
    context.stream().math = o.math;
    graph.on = o.graph;
    adam_.learning_rate = kLearningRate;
    context.fused = !o.unfused;
    context.overlaps = o.overlap;
    state.keep_products(!context.fused || o.written_gradients ? KeptProducts::none : o.kept_products ? KeptProducts::all : KeptProducts::best);
  }

  // Of step `turn`, counted from 0.
  std::vector<int64_t> rows(int64_t turn) const {
    std::vector<int64_t> rows(static_cast<size_t>(batch_));
    for (int64_t i = 0; i < batch_; ++i) rows[static_cast<size_t>(i)] = (turn * 7 + i * 3) % samples;
    return rows;
  }
  // As the trainer takes it: the host looks at loss, huber and kl, which are returned, and so waits for the device, to which it has given
  // the next batch by then.
  std::vector<float> step() {
    if (turn_ == 0) source_.fill(rows(turn_++), x_);
    adam_.upload_settings();
    graph.run({x_}, {}, [this] {
      Step step(context);
      Tape tape(context);
      const ItemLoss out = vae_loss(context, *model, x_, true, 1.0, 1.0);
      adam_.zero_grad();
      tape.backward(out.loss.loss);
      losses_.assign(out.loss.parts);
      adam_.step(losses_);
    });
    context.generator.next_step();
    read_losses_.queue(losses_);
    source_.fill(rows(turn_++), x_);
    return read_losses_.wait();
  }
  // Of the process so far, on cuda of the device, without the samples.
  int64_t peak_bytes() const {
    const int64_t all = context.device().type == DeviceType::cuda ? context.shared_memory()->peak_bytes() : peak_resident_bytes();
    return all - static_cast<int64_t>(data.size() * sizeof(float));
  }
  int64_t batch_bytes() const { return batch_ * model->width() * static_cast<int64_t>(sizeof(float)); }

  Context context;
  std::unique_ptr<Vae> model;
  int64_t samples, features;
  std::vector<float> data;
  ModuleState state;
  StepGraph graph;

 private:
  MatrixSource drawn() {
    Stream host({DeviceType::cpu, 0});
    k::random_normal<float>(host, data.data(), samples * features, 0.0f, 1.0f, PhiloxKey{1, 0, 0});
    return MatrixSource(context, data.data(), samples, features, model->width());
  }

  int64_t batch_, turn_ = 0;
  MatrixSource source_;
  Adam adam_;
  Tensor x_, losses_;
  Readback read_losses_;
};

class Floor {
 public:
  Floor(const Options& o, int64_t parameters) : products(products_of(layers_of(o), o.batch)), parameters_(parameters), context_(o.device) {
    context_.stream().math = o.math;
    if (o.device.type != DeviceType::cuda) triad_ = std::make_unique<Triad>(std::max<int64_t>(parameters, 1 << 24));
    int64_t largest = 0;
    for (const Product& p : products) largest = std::max({largest, p.M * p.K, p.K * p.N, p.M * p.N});
    for (Tensor* x : {&a_, &b_, &c_}) *x = Tensor::zeros(context_, {largest});
    for (Tensor* x : {&a_, &b_}) k::random_normal<float>(context_.stream(), x->data<float>(), x->count(), 0.0f, 1.0f, PhiloxKey{2, 0, 0});
  }
  void measure() {
    product_seconds = flops = 0;
    seconds.clear();
    if (!triad_ && ceilings_.bandwidth == 0) ceilings_ = measure_ceilings(context_.device(), context_.stream().math);
    bandwidth = triad_ ? bench::bandwidth_of(*triad_, {}) : ceilings_.bandwidth;
    least_seconds = 0;
    for (const Product& p : products) {
      const auto once = [&] {
        k::matmul<float>(context_.stream(), a_.data<float>(), p.ta, b_.data<float>(), p.tb, c_.data<float>(), p.M, p.N, p.K, Epilogue<float>{});
      };
      seconds.push_back(triad_ ? median(seconds_of_runs(5, once)) : bench::time_calls(context_.stream(), {0.1, 0.02}, {once, {}}).median);
      product_seconds += seconds.back();
      flops += p.flop();
      if (!triad_) least_seconds += std::max(p.flop() / ceilings_.operations, p.bytes() / bandwidth);
    }
  }
  double adam() const { return 28.0 * static_cast<double>(parameters_) / bandwidth; }
  double total() const { return (triad_ ? product_seconds : least_seconds) + adam(); }
  std::string table() const {
    TextTable t({"part", "GFLOP", "ms", "GFLOP/s"});
    auto row = [&](const std::string& what, double flop, double s) {
      t.row({what, fmt::format("{:.2f}", flop / 1e9), fmt::format("{:.1f}", s * 1e3), fmt::format("{:.0f}", flop / s / 1e9)});
    };
    for (size_t i = 0; i < products.size(); ++i) row(products[i].what, products[i].flop(), seconds[i]);
    row("all products", flops, product_seconds);
    if (!triad_) row("all products, by the ceilings", flops, least_seconds);
    t.row({"Adam at triad bandwidth", "", fmt::format("{:.1f}", adam() * 1e3), ""});
    return t.str();
  }
  Json json() const {
    return {{"product_seconds", product_seconds}, {"gflop", flops / 1e9}, {"triad_bytes_per_second", bandwidth}, {"floor_seconds", total()}};
  }

  const std::vector<Product> products;
  std::vector<double> seconds;  // of each product, as last measured
  double product_seconds = 0, flops = 0, bandwidth = 0;
  double least_seconds = 0;  // of all products on cuda: of each its operations or its bytes at what the device reaches, whichever takes longer

 private:
  int64_t parameters_;
  Context context_;
  Tensor a_, b_, c_;
  std::unique_ptr<Triad> triad_;  // on cuda a copy takes its place
  DeviceCeilings ceilings_;       // of cuda; they do not change
};

Json description(const Options& o, const Training& training) {
  return {{"model", o.model},
          {"batch", o.batch},
          {"features", training.features},
          {"hidden", o.hidden},
          {"latent", o.latent},
          {"threads", threads()},
          {"device", to_string(o.device)},
          {"device_name", o.device.type == DeviceType::cuda ? describe_device(o.device) : ""},
          {"precision", o.precision},
          {"parameters", training.state.parameter_count()}};
}

// What another library needs to take the first steps as they are here. Names of weights are those of a checkpoint.
void write_first_steps(const Options& o) {
  Training training(o), untouched(o);
  const int64_t latents = o.batch * o.latent;
  std::vector<float> losses, noise(static_cast<size_t>(kWrittenSteps * latents)), zeros(static_cast<size_t>(latents));
  std::vector<int64_t> rows;
  for (int64_t s = 0; s < kWrittenSteps; ++s) {
    const std::vector<int64_t> of_step = training.rows(s);
    rows.insert(rows.end(), of_step.begin(), of_step.end());
    // What the step will draw: z of a posterior N(0, 1) is the noise.
    Generator generator = training.context.generator;
    k::reparameterize<float>(training.context.stream(), zeros.data(), zeros.data(), noise.data() + s * latents, latents, generator.next());
    for (float v : training.step()) losses.push_back(v);
  }
  TensorWriter w;
  w.add(untouched.state, "weights.");
  w.file.add("samples", "F32", {untouched.samples, untouched.features}, untouched.data.data());
  w.file.add("rows", "I64", {kWrittenSteps, o.batch}, rows.data());
  w.file.add("noise", "F32", {kWrittenSteps, o.batch, o.latent}, noise.data());
  w.file.add("losses", "F32", {kWrittenSteps, 3}, losses.data());
  Json step = description(o, untouched);
  step["learning_rate"] = kLearningRate;
  step["weight_decay"] = kWeightDecay;
  if (o.model == "block") step["widths"] = o.atac_block().widths;
  if (o.model == "hierarchical") {
    step["widths"] = o.hierarchical().widths;
    step["blocks"] = o.blocks;
    step["block_latent"] = o.block_latent;
    step["channels"] = o.channels;
  }
  w.file.metadata("step", step.dump());
  w.file.write(o.write);
  fmt::print("{}: losses {:.6g}, {:.6g}, {:.6g}\n", o.write, losses[0], losses[3], losses[6]);
}

void serve(const Options& o, Training& training) {
  auto answer = [](const Json& j) {
    fmt::print("{}\n", j.dump());
    std::fflush(stdout);
  };
  std::unique_ptr<Floor> floor;
  Json hello = description(o, training);
  hello["blas"] = blas_description();
  answer(hello);
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "floor") {
      if (!floor) floor = std::make_unique<Floor>(o, training.state.parameter_count());
      floor->measure();
      Json j = floor->json();
      for (size_t i = 0; i < floor->products.size(); ++i) {
        const Product& p = floor->products[i];
        j["products"].push_back({{"what", p.what}, {"M", p.M}, {"N", p.N}, {"K", p.K}, {"ta", p.ta}, {"tb", p.tb}, {"seconds", floor->seconds[i]}});
      }
      answer(j);
    } else if (line.rfind("steps ", 0) == 0) {
      std::vector<float> losses;
      const std::vector<double> t = seconds_of_runs(whole_number(line.substr(6), "steps"), [&] { losses = training.step(); });
      answer({{"seconds", t},
              {"peak_bytes", training.peak_bytes()},
              {"replays", training.graph.replays()},
              {"losses", fmt::format("{:a} {:a} {:a}", losses[0], losses[1], losses[2])}});
    } else {
      fail_usage("unknown command " + quoted(line) + ": steps N or floor");
    }
  }
}

void measure(const Options& o) {
  // The step comes first, so that the peak memory is its own.
  Json result;
  double step_seconds = 0;
  int64_t parameters = 0, peak = 0, batch_bytes = 0, replays = 0;
  {
    Training training(o);
    result = description(o, training);
    fmt::print("{}, {} threads, {}\n{} VAE, batch {}, {} features, latent {}, {}\n\n", describe_device(o.device), threads(), blas_description(), o.model,
               o.batch, training.features, o.latent, o.precision);
    training.step();
    step_seconds = median(seconds_of_runs(o.steps, [&] { training.step(); }));
    parameters = training.state.parameter_count();
    peak = training.peak_bytes();
    batch_bytes = training.batch_bytes();
    replays = training.graph.replays();
  }
  Floor floor(o, parameters);
  floor.measure();
  const double time_ratio = step_seconds / floor.total(), memory_ratio = static_cast<double>(peak - batch_bytes) / (16.0 * static_cast<double>(parameters));
  fmt::print(
      "{}\ntriad bandwidth {:.1f} GB/s\nfloor           {:.2f} ms\nstep            {:.2f} ms, {:.2f} times the floor{}\npeak memory     {} for {} parameters, "
      "{:.2f} times 16 bytes each (without the batch of {})\n",
      floor.table(), floor.bandwidth / 1e9, floor.total() * 1e3, step_seconds * 1e3, time_ratio, replays > 0 ? ", as a graph" : "", human_bytes(peak),
      parameters, memory_ratio, human_bytes(batch_bytes));
  result.update(floor.json());
  result["step_seconds"] = step_seconds;
  result["replays"] = replays;
  result["time_ratio"] = time_ratio;
  result["peak_bytes"] = peak;
  result["memory_ratio"] = memory_ratio;
  if (!o.json.empty()) write_file(o.json, result.dump(2) + "\n");
}

}  // namespace

int main(int argc, char** argv) try {
  const Options o = parse(argc, argv);
  set_threads(0);
  if (!o.write.empty()) {
    write_first_steps(o);
  } else if (o.serve) {
    Training training(o);
    serve(o, training);
  } else {
    measure(o);
  }
  return 0;
} catch (const panvae::Error& e) {
  fmt::print(stderr, "bench_train_step: error: {}\n", e.what());
  return static_cast<int>(e.code());
}
