// What each mode of a case compares.
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>

#include "engine/gradcheck.h"
#include "engine/ops/arithmetic.h"
#include "kernels/provider.h"
#include "op_case.h"

namespace panvae::cases {

const char* mode_name(Mode m) {
  switch (m) {
    case Mode::ref:
      return "ref";
    case Mode::simt_forward:
      return "simt_forward";
    case Mode::simt_reverse:
      return "simt_reverse";
    case Mode::simt_random:
      return "simt_random";
    case Mode::grad:
      return "grad";
    case Mode::graph:
      return "graph";
    case Mode::cuda:
      return "cuda";
  }
  return "?";
}

// ---- modes of the kernel
namespace {

struct Call {
  Sizes sizes;
  Calls::Shift shift;
  int variant;
  bool long_indices = false;  // as for more elements than 32 bits count
  std::string str() const {
    const char* shifts[] = {"aligned", "all pointers one element off", "the first pointer one element off"};
    return fmt::format("sizes [{}], {}, variant {}{}", fmt::join(sizes, ", "), shifts[static_cast<int>(shift)], variant,
                       long_indices ? ", indices of 64 bits" : "");
  }
};

// Every size aligned, where there are two lengths of indices by either; sizes of small calls also with shifted pointers, all variants of
// them or the first alone.
std::vector<Call> calls_of(const OpCase& c, const std::vector<Sizes>& sizes, bool all_shifted = true) {
  std::vector<Call> calls;
  for (const Sizes& s : sizes) {
    int64_t largest = 0;
    for (int64_t v : s) largest = std::max(largest, v);
    for (int variant = 0; variant < c.variants; ++variant) {
      calls.push_back({s, Calls::Shift::none, variant});
      if (c.long_indices) calls.push_back({s, Calls::Shift::none, variant, true});
      if (largest > 2000 || (variant > 0 && !all_shifted)) continue;
      calls.push_back({s, Calls::Shift::all, variant});
      calls.push_back({s, Calls::Shift::first, variant});
      if (c.long_indices) calls.push_back({s, Calls::Shift::all, variant, true});
    }
  }
  return calls;
}

template <class T>
Outcome call(const OpCase& c, const std::function<void(Run<T>&, const Sizes&)>& body, Stream& stream, const Call& k) {
  SCOPED_TRACE(fmt::format("{} in {} on {}: {}", c.name, dtype_name(dtype_of<T>()), to_string(stream.device()), k.str()));
  Run<T> run(stream, seed_of(c), k.shift, k.variant);
  struct Restore {
    Stream& stream;
    int64_t before;
    ~Restore() { stream.short_index = before; }
  } restore{stream, std::exchange(stream.short_index, k.long_indices ? 0 : stream.short_index)};
  body(run, k.sizes);
  Outcome out = run.finish();
  for (const std::string& text : out.failures) ADD_FAILURE() << text;
  return out;
}

// Sanitizers slow a CUDA thread down a hundred times and more, so calls with larger launches are left out there: some
// blocks of 256 remain, and as many elements as their threads loop over.
// Where pointers point decides about bounds and alignment, which the forward order under ASan looks at in full; in other
// orders and under TSan they choose between ways through a kernel, and one variant goes each way.
#if defined(__SANITIZE_THREAD__)
constexpr uint64_t kMostThreads = 4096;
bool all_shifted(Mode) {
  return false;
}
#elif defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kMostThreads = 8192;
bool all_shifted(Mode m) {
  return m == Mode::simt_forward;
}
#else
constexpr uint64_t kMostThreads = 0;  // any number
bool all_shifted(Mode) {
  return true;
}
#endif

template <class T>
void ref(const OpCase& c, const std::function<void(Run<T>&, const Sizes&)>& body) {
  if (!body) return;
  Stream stream({DeviceType::cpu, 0});
  for (const Call& k : calls_of(c, c.sizes, all_shifted(Mode::ref)))
    if (!k.long_indices) call<T>(c, body, stream, k);
}

// What is compared with forward order to the bit. Sanitizers look for what is wrong in one order, and leave the comparison to builds
// without them; two blocks at a time, where TSan can see that they race.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kOrdersAreCompared = false;
#else
constexpr bool kOrdersAreCompared = true;
#endif
std::vector<simt::Options> orders_of(Mode m) {
  if (m == Mode::simt_forward) return {};
  if (m == Mode::simt_reverse) return {{simt::Order::reverse, 1, 1, kMostThreads}};
  if (!kOrdersAreCompared) return {{simt::Order::random, 2, 2, kMostThreads}};
  return {{simt::Order::random, 1, 1, kMostThreads}, {simt::Order::random, 2, 2, kMostThreads}};
}

// The CUDA source on the CPU: against the formula, against cpu, and the same bits as in forward order.
template <class T>
void simt_mode(const OpCase& c, const std::function<void(Run<T>&, const Sizes&)>& body, Mode m) {
  if (!body) return;
  Stream cpu({DeviceType::cpu, 0}), stream({DeviceType::simt, 0});
  const std::vector<Call> calls = calls_of(c, c.simt_sizes.empty() ? c.sizes : c.simt_sizes, all_shifted(m));
  std::set<Sizes> left_out;
  size_t run = 0;
  for (const Call& k : calls) {
    auto in_order = [&](const simt::Options& o) {
      stream.simt = o;
      return call<T>(c, body, stream, k);
    };
    try {
      Outcome forward;
      if (kOrdersAreCompared || m == Mode::simt_forward) forward = in_order({simt::Order::forward, 1, 1, kMostThreads});
      SCOPED_TRACE(fmt::format("{} in {}: {}", c.name, dtype_name(dtype_of<T>()), k.str()));
      if (m == Mode::simt_forward && !c.cpu_rounds_otherwise) {
        const Outcome reference = call<T>(c, body, cpu, k);
        ASSERT_EQ(forward.values.size(), reference.values.size());
        int wrong = 0;
        for (size_t i = 0; i < forward.values.size(); ++i)
          if (!near(forward.values[i], reference.values[i], reference.values[i], 2 * reference.bounds[i]) && ++wrong <= 3)
            ADD_FAILURE() << "output " << i << ": " << forward.values[i] << " on simt, " << reference.values[i] << " on cpu";
      }
      for (const simt::Options& o : orders_of(m)) {
        const Outcome other = in_order(o);
        EXPECT_TRUE(!kOrdersAreCompared || forward.bits == other.bits) << "the result depends on the order of threads (seed " << o.seed << ")";
      }
      ++run;
    } catch (const simt::TooManyThreads&) {
      left_out.insert(k.sizes);
    }
  }
  if (left_out.empty()) return;
  fmt::print("{} of {} calls in {} run under this sanitizer; left out, with launches of more than {} threads: sizes {}\n", run, calls.size(),
             dtype_name(dtype_of<T>()), kMostThreads, fmt::join(left_out, ", "));
  EXPECT_GT(run, 0u) << "no size of this case is small enough for a sanitizer";
}

// PANVAE_TEST_LARGEST=N leaves out sizes with numbers above N, for tools that slow a card down a hundred times.
std::vector<Sizes> sizes_on_card(const OpCase& c) {
  std::vector<Sizes> all = c.sizes, small;
  all.insert(all.end(), c.card_sizes.begin(), c.card_sizes.end());
  const char* text = std::getenv("PANVAE_TEST_LARGEST");
  if (!text) return all;
  const int64_t most = std::atoll(text);
  for (const Sizes& s : all)
    if (std::all_of(s.begin(), s.end(), [=](int64_t v) { return v <= most; })) small.push_back(s);
  EXPECT_FALSE(small.empty()) << "no size of this case is small enough";
  return small;
}

// Who may compute a kernel on a card: ours, and the vendor's library where it has such a kernel, is there, and the
// environment does not ask for ours alone.
std::vector<Provider> providers_of(const OpCase& c) {
  if (ProviderTable::of_process().settings().provider == Provider::ours) return {Provider::ours};
  for (const auto& [kernel, op] : {std::pair{"matmul", ProviderOp::matmul},
                                   {"matmul_rows", ProviderOp::matmul},
                                   {"conv1d", ProviderOp::conv1d},
                                   {"conv1d_grad_input", ProviderOp::conv1d_grad_input},
                                   {"conv1d_grad_weight", ProviderOp::conv1d_grad_weight}}) {
    if (c.kernel_name() != kernel) continue;
    const std::string why = why_no_vendor(op);
    if (why.empty()) return {Provider::ours, Provider::vendor};
    std::printf("%s: no provider `vendor`: %s\n", c.name.c_str(), why.c_str());
  }
  return {Provider::ours};
}

template <class T>
void cuda_kernel(const OpCase& c, const std::function<void(Run<T>&, const Sizes&)>& body) {
  if (!body) return;
  Stream stream({DeviceType::cuda, 0});
  for (const Provider provider : providers_of(c)) {
    SCOPED_TRACE(provider == Provider::vendor ? "provider vendor" : "provider ours");
    stream.provider = provider;
    int by_vendor = 0;
    for (const Call& k : calls_of(c, sizes_on_card(c))) {
      const Outcome first = call<T>(c, body, stream, k);
      by_vendor += stream.computed_by == Provider::vendor;
      for (int i = 0; i < 2; ++i) EXPECT_TRUE(first.bits == call<T>(c, body, stream, k).bits) << k.str() << ": another result in another run";
    }
    if (provider == Provider::ours) {
      EXPECT_EQ(by_vendor, 0);
    } else if (sizeof(T) == 4) {
      EXPECT_GT(by_vendor, 0) << "the library is there and has declined every call";
    }
  }
}

// ---- modes of the op
struct Gradients {
  std::vector<std::vector<double>> of;      // by input; empty where there is none
  std::vector<std::vector<double>> inputs;  // their values
  std::vector<double> output;
};

std::vector<double> doubles(const Tensor& t) {
  if (t.dtype() == DType::f64) return t.host<double>();
  const std::vector<float> v = t.host<float>();
  return {v.begin(), v.end()};
}

Tensor upload(Context& context, const std::vector<double>& values, Shape shape, DType dtype) {
  if (dtype == DType::f64) return Tensor::from(context, shape, values);
  if (dtype == DType::i64) return Tensor::from(context, shape, std::vector<int64_t>(values.begin(), values.end()));
  return Tensor::from(context, shape, std::vector<float>(values.begin(), values.end()));
}

// Inputs hold what f32 can hold in either type, so that both types are asked the same question.
std::vector<Tensor> make_inputs(const OpCase& c, Context& context, const Sizes& s, DType dtype) {
  std::vector<Tensor> tensors;
  const std::vector<OpInput> inputs = c.op_inputs(s);
  for (size_t i = 0; i < inputs.size(); ++i) {
    PhiloxSequence sequence({seed_of(c), static_cast<uint32_t>(i), 1});
    std::vector<double> values(static_cast<size_t>(inputs[i].shape.count()));
    for (size_t j = 0; j < values.size(); ++j) values[j] = static_cast<float>(inputs[i].fill(sequence, static_cast<int64_t>(j)));
    tensors.push_back(upload(context, values, inputs[i].shape, inputs[i].is_index ? DType::i64 : dtype));
  }
  return tensors;
}

Tensor weights_for(Context& context, const Tensor& y) {
  std::vector<double> w(static_cast<size_t>(y.count()));
  for (size_t i = 0; i < w.size(); ++i) w[i] = 0.5 + static_cast<double>(i * 37 % 64) / 64;
  return upload(context, w, y.shape(), y.dtype());
}

// Gradients of sum(op(inputs) * weights).
Gradients plain_pass(const OpCase& c, Context& context, const Sizes& s, DType dtype) {
  std::vector<Tensor> x = make_inputs(c, context, s, dtype);
  const std::vector<OpInput> inputs = c.op_inputs(s);
  for (size_t i = 0; i < x.size(); ++i)
    if (inputs[i].differentiable && !inputs[i].is_index) x[i].require_gradient("input " + std::to_string(i));
  Tape tape(context);
  const Tensor y = c.op(x, s);
  Gradients g;
  tape.backward(ops::sum(ops::mul(y, weights_for(context, y))));
  for (Tensor& t : x) {
    g.of.push_back(t.gradient().defined() ? doubles(t.gradient()) : std::vector<double>{});
    g.inputs.push_back(t.dtype() == DType::i64 ? std::vector<double>{} : doubles(t));
  }
  g.output = doubles(y);
  return g;
}

void expect_close(const std::vector<double>& a, const std::vector<double>& b, double tolerance, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  double largest = 1e-30, worst = 0;
  for (double v : b) largest = std::max(largest, std::abs(v));
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    if (!(d <= worst)) worst = d;
  }
  EXPECT_LE(worst, tolerance * largest) << what;
}

Context& with_order(Context& context, simt::Options o) {
  context.stream().simt = o;
  return context;
}

// Central differences in f64; then f32 on cpu and on the kernels against f64; orders bit-equal.
void grad(const OpCase& c) {
  for (const Sizes& s : c.op_sizes) {
    SCOPED_TRACE(fmt::format("{}: sizes [{}]", c.name, fmt::join(s, ", ")));
    Context cpu;
    std::vector<bool> differentiable;
    for (const OpInput& i : c.op_inputs(s)) differentiable.push_back(i.differentiable && !i.is_index);
    const GradcheckResult check =
        gradcheck(cpu, [&](const std::vector<Tensor>& x) { return c.op(x, s); }, make_inputs(c, cpu, s, DType::f64), differentiable, {.most_per_input = 60});
    EXPECT_TRUE(check.ok) << check.message;
    const Gradients wide = plain_pass(c, cpu, s, DType::f64), narrow = plain_pass(c, cpu, s, DType::f32);
    Context forward({DeviceType::simt, 0}), reverse({DeviceType::simt, 0});
    const Gradients one = plain_pass(c, with_order(forward, {simt::Order::forward, 1, 1}), s, DType::f32);
    const Gradients two = plain_pass(c, with_order(reverse, {simt::Order::reverse, 1, 1}), s, DType::f32);
    for (size_t i = 0; i < wide.of.size(); ++i) {
      if (!differentiable[i]) continue;
      EXPECT_FALSE(wide.of[i].empty() && wide.inputs[i].size() > 0) << "input " << i << " got no gradient";
      expect_close(narrow.of[i], wide.of[i], c.grad_tolerance, fmt::format("f32 on cpu, input {}", i));
      expect_close(one.of[i], narrow.of[i], c.grad_tolerance, fmt::format("simt against cpu, input {}", i));
      EXPECT_EQ(one.of[i], two.of[i]) << "the gradient depends on the order of threads, input " << i;
    }
  }
}

// The op in company: its inputs are results of other ops and are used three times, other tensors beside its own are
// changed in place between forward and backward, everything lives in an arena that is NaN at the start of a step.
Gradients busy_pass(const OpCase& c, Context& context, const Sizes& s, DType dtype) {
  std::vector<Tensor> leaves = make_inputs(c, context, s, dtype), x;
  const std::vector<OpInput> inputs = c.op_inputs(s);
  Tape tape(context);
  auto neighbour = [&] { return upload(context, std::vector<double>(7, 0.25), {7}, dtype); };
  std::vector<Tensor> neighbours{neighbour()};
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (inputs[i].differentiable && !inputs[i].is_index) leaves[i].require_gradient("input " + std::to_string(i));
    x.push_back(leaves[i].dtype() == DType::i64 ? leaves[i] : ops::scale(leaves[i], 1.0));
    neighbours.push_back(neighbour());
  }
  const Tensor y = c.op(x, s);
  neighbours.push_back(neighbour());
  const Tensor again = c.op(x, s);
  neighbours.push_back(neighbour());
  for (Tensor& t : neighbours) {
    dispatch(dtype, "scale", [&]<class T>(T) { k::scale<T>(context.stream(), t.data<T>(), t.data<T>(), t.count(), T(4)); });
    t.bump_version();
  }
  const Tensor w = weights_for(context, y);
  Tensor loss = ops::add(ops::sum(ops::mul(y, w)), ops::scale(ops::sum(ops::mul(again, w)), 0.5));
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i].needs_gradient()) loss = ops::add(loss, ops::scale(ops::sum(ops::mul(x[i], x[i])), 0.25));
  Gradients g;
  g.output = doubles(y);
  for (const Tensor& t : x) g.inputs.push_back(t.dtype() == DType::i64 ? std::vector<double>{} : doubles(t));
  tape.backward(loss);
  EXPECT_EQ(doubles(y), g.output) << "backward changed the op's output";
  EXPECT_EQ(doubles(again), g.output) << "the second call gave another output";
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i].dtype() != DType::i64) {
      EXPECT_EQ(doubles(x[i]), g.inputs[i]) << "input " << i << " was changed";
    }
  for (const Tensor& t : neighbours) EXPECT_EQ(doubles(t), std::vector<double>(7, 1.0)) << "a neighbour was changed";
  for (const Tensor& t : leaves) g.of.push_back(t.gradient().defined() ? doubles(t.gradient()) : std::vector<double>{});
  return g;
}

// The same bits without an arena, in the step that sizes it, and in two steps that use it; and the right gradient.
void graph(const OpCase& c, Device device) {
  for (const Sizes& s : c.op_sizes) {
    SCOPED_TRACE(fmt::format("{} on {}: sizes [{}]", c.name, to_string(device), fmt::join(s, ", ")));
    Context context(device);
    context.stream().simt = {simt::Order::forward, 1, 1};
    const Gradients single = plain_pass(c, context, s, DType::f32), first = busy_pass(c, context, s, DType::f32);
    context.memory().poison_arena = true;
    for (int step = 0; step < 3; ++step) {
      Step scope(context);
      const Gradients g = busy_pass(c, context, s, DType::f32);
      EXPECT_EQ(g.output, first.output) << "step " << step;
      EXPECT_EQ(g.of, first.of) << "step " << step;
    }
    for (size_t i = 0; i < first.of.size(); ++i) {
      if (single.of[i].empty()) continue;
      std::vector<double> expected(single.of[i].size());
      for (size_t j = 0; j < expected.size(); ++j) expected[j] = 1.5 * single.of[i][j] + 0.5 * single.inputs[i][j];
      expect_close(first.of[i], expected, c.grad_tolerance, fmt::format("sum of three uses, input {}", i));
    }
  }
}

// Each input, and the output, is overwritten between forward and backward: that is an error, or the gradient does not
// need it and is the same; never a wrong one.
void overwritten(const OpCase& c, const Sizes& s) {
  Context context;
  const std::vector<OpInput> inputs = c.op_inputs(s);
  const size_t output = inputs.size(), nobody = output + 1;
  std::vector<std::vector<double>> right;
  std::vector<size_t> victims{nobody};
  for (size_t i = 0; i <= output; ++i) victims.push_back(i);
  for (size_t victim : victims) {
    std::vector<Tensor> x = make_inputs(c, context, s, DType::f32);
    for (size_t i = 0; i < x.size(); ++i)
      if (inputs[i].differentiable && !inputs[i].is_index) x[i].require_gradient("input " + std::to_string(i));
    Tape tape(context);
    Tensor y = c.op(x, s);
    const Tensor loss = ops::sum(y);  // a sum keeps nothing: only the op itself can notice
    if (victim != nobody) {
      Tensor& t = victim == output ? y : x[victim];
      if (t.dtype() == DType::i64) continue;
      const std::vector<float> other(static_cast<size_t>(t.count()), -7.0f);
      t.upload(other.data(), t.count());
    }
    try {
      tape.backward(loss);
    } catch (const Error& e) {
      EXPECT_NE(victim, nobody) << e.what();
      EXPECT_NE(e.message().find("changed in place"), std::string::npos) << e.what();
      continue;
    }
    std::vector<std::vector<double>> now;
    for (const Tensor& t : x) now.push_back(t.gradient().defined() ? doubles(t.gradient()) : std::vector<double>{});
    if (victim == nobody) right = now;
    EXPECT_EQ(now, right) << (victim == output ? std::string("the output") : fmt::format("input {}", victim))
                          << " was overwritten: a wrong gradient and no error";
  }
}

// On the card: the kernel as in ref, three runs bit-equal; the op's gradients against cpu; the graph.
void cuda(const OpCase& c) {
  cuda_kernel<float>(c, c.f32);
  cuda_kernel<double>(c, c.f64);
  for (const Sizes& s : c.op_sizes) {
    Context cpu, card({DeviceType::cuda, 0});
    const Gradients a = plain_pass(c, cpu, s, DType::f32), b = plain_pass(c, card, s, DType::f32);
    for (size_t i = 0; i < a.of.size(); ++i) expect_close(b.of[i], a.of[i], c.grad_tolerance, fmt::format("cuda against cpu, input {}", i));
  }
  graph(c, {DeviceType::cuda, 0});
}

}  // namespace

void run_case(const OpCase& c, Mode m) {
  switch (m) {
    case Mode::ref:
      ref<float>(c, c.f32);
      ref<double>(c, c.f64);
      return;
    case Mode::simt_forward:
    case Mode::simt_reverse:
    case Mode::simt_random:
      simt_mode<float>(c, c.f32, m);
      simt_mode<double>(c, c.f64, m);
      return;
    case Mode::grad:
      return grad(c);
    case Mode::graph:
      graph(c, {DeviceType::cpu, 0});
      graph(c, {DeviceType::simt, 0});
      for (const Sizes& s : c.op_sizes) overwritten(c, s);
      return;
    case Mode::cuda:
      return cuda(c);
  }
}

}  // namespace panvae::cases
