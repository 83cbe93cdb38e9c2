// What we ask of cuDNN, against a stand-in that does on the CPU what its documentation says.
#include "kernels/cuda/cudnn.h"

#include <algorithm>

#include "fake.h"

namespace panvae::test {
namespace {

const std::string kFake = PANVAE_FAKE_CUDNN;
int& value(const char* name) {
  return fake_value(kFake, name);
}
cudnn::Api fake() {
  return cudnn::open(std::array<std::string, 1>{kFake});
}

Conv1dShape shape(int64_t B, int64_t C_in, int64_t L_in, int64_t C_out, int64_t K, int64_t stride, int64_t padding, int64_t dilation) {
  return {B, C_in, L_in, C_out, (L_in + 2 * padding - dilation * (K - 1) - 1) / stride + 1, K, stride, padding, dilation};
}
const std::vector<Conv1dShape> kShapes = {shape(1, 1, 5, 1, 3, 1, 0, 1), shape(3, 4, 9, 6, 3, 1, 1, 1),  shape(2, 3, 12, 4, 5, 3, 2, 1),
                                          shape(3, 5, 7, 2, 1, 1, 0, 1), shape(2, 4, 19, 3, 4, 2, 3, 2), shape(1, 2, 31, 3, 3, 1, 8, 5)};

// f(index of x, of w, of y) for every product.
template <class F>
void each(const Conv1dShape& s, F f) {
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t o = 0; o < s.C_out; ++o)
      for (int64_t i = 0; i < s.C_in; ++i)
        for (int64_t t = 0; t < s.L_out; ++t)
          for (int64_t k = 0; k < s.K; ++k) {
            const int64_t u = t * s.stride - s.padding + k * s.dilation;
            if (u >= 0 && u < s.L_in) f((b * s.C_in + i) * s.L_in + u, (o * s.C_in + i) * s.K + k, (b * s.C_out + o) * s.L_out + t);
          }
}

template <class T>
struct Operands {
  explicit Operands(const Conv1dShape& shape)
      : s(shape), x(s.B * s.C_in * s.L_in, 1), w(s.C_out * s.C_in * s.K, 2), y(s.B * s.C_out * s.L_out, 3), bias(std::max(s.C_in, s.C_out), 4) {}
  Conv1dShape s;
  Numbers<T> x, w, y, bias;
};

// The three convolutions, with and without adding, against the formula.
template <class T>
void expect_convolutions(cudnn::Convolutions& library, const Conv1dShape& s, bool accumulate, const Epilogue<T>& end) {
  Stream stream{Device{}};
  const int64_t Lx = s.L_in, Ly = s.L_out;
  auto prepared = [&](const Numbers<T>& out) {
    std::vector<double> before = out.values();
    if (!accumulate) {
      before.assign(before.size(), 0);
      std::fill_n(static_cast<T*>(out), before.size(), T(NAN));
    }
    return before;
  };
  auto finish = [&](std::vector<double>& sums, const Operands<T>& o, int64_t C, int64_t L) {
    for (size_t i = 0; i < sums.size(); ++i)
      sums[i] = activated(sums[i] + (end.bias ? o.bias[static_cast<int64_t>(i) / L % C] : 0), end.activation, static_cast<double>(end.slope));
  };
  {
    Operands<T> o(s);
    Epilogue<T> e = end;
    e.accumulate = accumulate;
    if (e.bias) e.bias = o.bias;
    std::vector<double> sums = prepared(o.y);
    each(s, [&](int64_t x, int64_t w, int64_t y) { sums[static_cast<size_t>(y)] += o.x[x] * o.w[w]; });
    finish(sums, o, s.C_out, Ly);
    ASSERT_TRUE(library.conv1d<T>(stream, o.x, o.w, o.y, s, e));
    expect_near(o.y, sums);
  }
  {
    Operands<T> o(s);
    Epilogue<T> e = end;
    e.accumulate = accumulate;
    if (e.bias) e.bias = o.bias;
    std::vector<double> sums = prepared(o.x);
    each(s, [&](int64_t x, int64_t w, int64_t y) { sums[static_cast<size_t>(x)] += o.y[y] * o.w[w]; });
    finish(sums, o, s.C_in, Lx);
    ASSERT_TRUE(library.conv1d_grad_input<T>(stream, o.y, o.w, o.x, s, e));
    expect_near(o.x, sums);
  }
  Operands<T> o(s);
  std::vector<double> sums = prepared(o.w);
  each(s, [&](int64_t x, int64_t w, int64_t y) { sums[static_cast<size_t>(w)] += o.x[x] * o.y[y]; });
  ASSERT_TRUE(library.conv1d_grad_weight<T>(stream, o.x, o.y, o.w, s, accumulate));
  expect_near(o.w, sums);
}

TEST(Cudnn, ComputesOurConvolutions) {
  const cudnn::Api api = fake();
  ASSERT_EQ(api.why_absent, "");
  {
    Stream stream{Device{}};
    cudnn::Convolutions library(api, stream);
    const float some_float = 0;
    const double some_double = 0;
    for (const Conv1dShape& s : kShapes)
      for (const bool accumulate : {false, true})
        for (const bool bias : {false, true})
          for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu}) {
            expect_convolutions<float>(library, s, accumulate, {bias ? &some_float : nullptr, activation, 0.125f});
            expect_convolutions<double>(library, s, accumulate, {bias ? &some_double : nullptr, activation, 0.125});
          }
    EXPECT_GT(value("objects"), 0);
  }
  EXPECT_EQ(value("objects"), 0) << "every descriptor is given back";
  EXPECT_EQ(value("handles"), 0);
}

TEST(Cudnn, SaysTheMathMode) {
  const cudnn::Api api = fake();
  Stream stream{Device{}};
  cudnn::Convolutions library(api, stream);
  Operands<float> o(kShapes[1]);
  auto math_of = [&](MathMode math) {
    stream.math = math;
    EXPECT_TRUE(library.conv1d<float>(stream, o.x, o.w, o.y, o.s, {}));
    return value("last_math");
  };
  EXPECT_EQ(math_of(MathMode::ieee), 3);  // CUDNN_FMA_MATH
  EXPECT_EQ(math_of(MathMode::tf32), 1);  // CUDNN_TENSOR_OP_MATH
  EXPECT_EQ(math_of(MathMode::bf16), 1);
  Operands<double> d(kShapes[1]);
  EXPECT_TRUE(library.conv1d<double>(stream, d.x, d.w, d.y, d.s, {}));
  EXPECT_EQ(value("last_math"), 3);
}

TEST(Cudnn, AsksTheHeuristicOnceForEachKindOfCall) {
  const cudnn::Api api = fake();
  Stream stream{Device{}};
  cudnn::Convolutions library(api, stream);
  value("heuristics") = 0;
  for (int i = 0; i < 3; ++i) expect_convolutions<float>(library, kShapes[1], i % 2, {});
  EXPECT_EQ(value("heuristics"), 3);
  expect_convolutions<float>(library, kShapes[2], false, {});
  expect_convolutions<double>(library, kShapes[1], false, {});
  EXPECT_EQ(value("heuristics"), 9);
}

TEST(Cudnn, DeclinesWhatItCannotOrMayNotDo) {
  const cudnn::Api api = fake();
  Stream stream{Device{}};
  cudnn::Convolutions library(api, stream);
  Operands<float> o(kShapes[1]);
  {
    const Fault fault(kFake, "only_forbidden", 1);
    EXPECT_FALSE(library.conv1d<float>(stream, o.x, o.w, o.y, kShapes[1], {}));
    EXPECT_FALSE(library.conv1d_grad_input<float>(stream, o.y, o.w, o.x, kShapes[1], {}));
    EXPECT_FALSE(library.conv1d_grad_weight<float>(stream, o.x, o.y, o.w, kShapes[1], false));
  }
  EXPECT_FALSE(library.conv1d<float>(stream, o.x, o.w, o.y, kShapes[1], {})) << "the answer is kept";
  const Numbers<float> shifted(shape(1, 1, 5, 1, 3, 1, 0, 1).L_in, 1, 1), w(3, 2), y(3, 3);
  EXPECT_FALSE(library.conv1d<float>(stream, shifted, w, y, kShapes[0], {})) << "not aligned";
  Conv1dShape empty = kShapes[0];
  empty.C_in = 0;
  EXPECT_FALSE(library.conv1d<float>(stream, o.x, w, y, empty, {}));
  Conv1dShape huge = kShapes[0];
  huge.L_in = int64_t{1} << 31;
  EXPECT_FALSE(library.conv1d<float>(stream, o.x, w, y, huge, {}));
  for (const int status : {3000, 3001}) {  // CUDNN_STATUS_NOT_SUPPORTED and one of its reasons
    cudnn::Convolutions fresh(api, stream);
    const Fault fault(kFake, "fail_heuristic", status);
    EXPECT_FALSE(fresh.conv1d<float>(stream, o.x, o.w, o.y, kShapes[1], {}));
  }
  cudnn::Convolutions fresh(api, stream);
  const Fault fault(kFake, "fail_run", 3000);
  EXPECT_FALSE(fresh.conv1d<float>(stream, o.x, o.w, o.y, kShapes[1], {}));
}

TEST(Cudnn, OtherFailuresAreTheMachines) {
  const cudnn::Api api = fake();
  Stream stream{Device{}};
  Operands<float> o(kShapes[1]);
  {
    cudnn::Convolutions library(api, stream);
    const Fault fault(kFake, "fail_run", 5000);
    const Error e = error_of([&] { library.conv1d<float>(stream, o.x, o.w, o.y, kShapes[1], {}); });
    EXPECT_EQ(e.code(), ErrorCode::machine);
    EXPECT_CONTAINS(e.what(), "CUDNN_STATUS_EXECUTION_FAILED");
    EXPECT_CONTAINS(e.what(), "cudnnConvolutionForward");
  }
  const Fault fault(kFake, "fail_create", 1001);
  EXPECT_EQ(error_of([&] { cudnn::Convolutions none(api, stream); }).code(), ErrorCode::machine);
  EXPECT_EQ(value("objects"), 0);
}

TEST(Cudnn, AMissingLibraryOrFunctionIsAReason) {
  EXPECT_CONTAINS(cudnn::open(std::array<std::string, 1>{"libpanvae_no_such.so"}).why_absent, "libpanvae_no_such.so");
  EXPECT_CONTAINS(cudnn::open(std::array<std::string, 1>{"libm.so.6"}).why_absent, "libm.so.6 lacks the function cudnnGetVersion");
}

}  // namespace
}  // namespace panvae::test
