// What we ask of cuBLASLt, against a stand-in that does on the CPU what its documentation says: sides, transposes, leading
// dimensions, bias, alignment, workspace, the cache of plans, and errors. Speed and rounding are the real one's affair.
#include "kernels/cuda/cublaslt.h"

#include <algorithm>

#include "fake.h"

namespace panvae::test {
namespace {

const std::string kFake = PANVAE_FAKE_CUBLASLT;
int& value(const char* name) {
  return fake_value(kFake, name);
}
cublaslt::Api fake() {
  return cublaslt::open(std::array<std::string, 1>{kFake});
}

struct Case {
  int64_t M, N, K;
  bool ta = false, tb = false, bias = false, accumulate = false;
  Activation activation = Activation::none;
  int64_t offset_a = 0, offset_b = 0, offset_c = 0, offset_bias = 0;
  int64_t apart = 0;  // by so much are a's rows further apart than they are long
};

// One product by the library, held against the formula.
template <class T>
void expect_product(cublaslt::Products& library, const Case& k, MathMode math = MathMode::ieee) {
  SCOPED_TRACE(fmt::format("{} x {} x {}, transposed {} {}, bias {}, accumulate {}, activation {}, offsets {} {} {} {}", k.M, k.N, k.K, k.ta, k.tb, k.bias,
                           k.accumulate, static_cast<int>(k.activation), k.offset_a, k.offset_b, k.offset_c, k.offset_bias));
  Stream stream{Device{}};
  stream.math = math;
  const int64_t stride = (k.ta ? k.M : k.K) + k.apart;
  const Numbers<T> a((k.ta ? k.K : k.M) * stride, 1, k.offset_a), b(k.K * k.N, 2, k.offset_b), c(k.M * k.N, 3, k.offset_c), bias(k.N, 4, k.offset_bias);
  std::vector<double> expected = c.values();
  for (int64_t i = 0; i < k.M; ++i)
    for (int64_t j = 0; j < k.N; ++j) {
      double& x = expected[static_cast<size_t>(i * k.N + j)];
      if (!k.accumulate) x = 0;
      for (int64_t l = 0; l < k.K; ++l) x += a[k.ta ? l * stride + i : i * stride + l] * b[k.tb ? j * k.K + l : l * k.N + j];
      x = activated(x + (k.bias ? bias[j] : 0), k.activation, 0.125);
    }
  Epilogue<T> e;
  e.bias = k.bias ? static_cast<const T*>(bias) : nullptr;
  e.accumulate = k.accumulate;
  e.activation = k.activation;
  e.slope = T(0.125);
  if (!k.accumulate) std::fill_n(static_cast<T*>(c), k.M * k.N, T(NAN));  // what is not added to is not read
  ASSERT_TRUE(library.matmul<T>(stream, a, k.ta, stride, b, k.tb, c, k.M, k.N, k.K, e));
  expect_near(c, expected);
}

TEST(Cublaslt, ComputesOurProducts) {
  const cublaslt::Api api = fake();
  ASSERT_EQ(api.why_absent, "");
  EXPECT_EQ(api.version_text, "99.2.1");
  {
    cublaslt::Products library(api);
    for (const auto& [M, N, K] : {std::array<int64_t, 3>{1, 1, 1}, {3, 5, 4}, {17, 2, 9}, {2, 33, 1}})
      for (const bool ta : {false, true})
        for (const bool tb : {false, true})
          for (const bool bias : {false, true})
            for (const bool accumulate : {false, true})
              for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu}) {
                expect_product<float>(library, {M, N, K, ta, tb, bias, accumulate, activation});
                expect_product<double>(library, {M, N, K, ta, tb, bias, accumulate, activation});
              }
    // Rows of a larger matrix: a call of its own, of the same sizes.
    for (const bool ta : {false, true})
      for (const int64_t apart : {0, 1, 6, 0}) expect_product<float>(library, {.M = 3, .N = 5, .K = 4, .ta = ta, .apart = apart});
    EXPECT_GT(value("objects"), 0);
  }
  EXPECT_EQ(value("objects"), 0) << "every descriptor is given back";
  EXPECT_EQ(value("handles"), 0);
}

TEST(Cublaslt, TellsTheTruthAboutAlignment) {
  const cublaslt::Api api = fake();
  cublaslt::Products library(api);
  for (int64_t a = 0; a < 3; ++a)
    for (int64_t b = 0; b < 3; ++b)
      for (int64_t c = 0; c < 3; ++c)
        for (int64_t bias = 0; bias < 5; ++bias) expect_product<float>(library, {4, 8, 3, false, true, true, false, Activation::none, a, b, c, bias});
}

TEST(Cublaslt, HasTheBiasAddedByTheLibraryWhereItCan) {
  const cublaslt::Api api = fake();
  cublaslt::Products library(api);
  auto epilogue_of = [&](const Case& k) {
    expect_product<float>(library, k);
    return value("last_epilogue");
  };
  constexpr int none = 1, bias = 4;  // CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_BIAS
  EXPECT_EQ(epilogue_of({3, 4, 5}), none);
  EXPECT_EQ(epilogue_of({3, 4, 5, false, false, true}), bias);
  EXPECT_EQ(epilogue_of({3, 4, 5, false, false, true, false, Activation::relu}), none) << "the library's ReLU hides NaN";
  EXPECT_EQ(epilogue_of({3, 4, 5, false, false, true, false, Activation::none, 0, 0, 0, 1}), none) << "its kernels read the bias 16 bytes at a time";
  expect_product<double>(library, {3, 4, 5, false, false, true});
  EXPECT_EQ(value("last_epilogue"), none);
  const Fault fault(kFake, "no_bias", 1);
  EXPECT_EQ(epilogue_of({6, 4, 5, false, false, true}), none) << "where it does not know the epilogue, the product is still its own";
}

TEST(Cublaslt, NanIsSeenThroughAReLU) {
  const cublaslt::Api api = fake();
  cublaslt::Products library(api);
  Stream stream{Device{}};
  const Numbers<float> a(4, 1), b(4, 2), c(4, 3), bias(2, 4);
  static_cast<float*>(a)[1] = NAN;
  library.matmul<float>(stream, a, false, 2, b, false, c, 2, 2, 2, {bias, Activation::relu});
  EXPECT_TRUE(std::isnan(c[0]) && std::isnan(c[1]));
  EXPECT_FALSE(std::isnan(c[2]) || std::isnan(c[3]));
}

TEST(Cublaslt, SaysTheMathMode) {
  const cublaslt::Api api = fake();
  cublaslt::Products library(api);
  auto compute_of = [&](MathMode math) {
    expect_product<float>(library, {3, 4, 5}, math);
    return value("last_compute");
  };
  EXPECT_EQ(compute_of(MathMode::ieee), 68);  // CUBLAS_COMPUTE_32F
  EXPECT_EQ(compute_of(MathMode::bf16), 75);  // CUBLAS_COMPUTE_32F_FAST_16BF
  EXPECT_EQ(compute_of(MathMode::tf32), 77);  // CUBLAS_COMPUTE_32F_FAST_TF32
  expect_product<double>(library, {3, 4, 5}, MathMode::tf32);
  EXPECT_EQ(value("last_compute"), 70);  // CUBLAS_COMPUTE_64F
}

TEST(Cublaslt, AsksTheHeuristicOnceForEachKindOfCall) {
  const cublaslt::Api api = fake();
  cublaslt::Products library(api);
  value("heuristics") = 0;
  for (int i = 0; i < 3; ++i) expect_product<float>(library, {3, 4, 5});
  EXPECT_EQ(value("heuristics"), 1);
  const std::vector<Case> others = {{4, 4, 5},
                                    {3, 5, 5},
                                    {3, 4, 6},
                                    {3, 4, 5, true},
                                    {3, 4, 5, false, true},
                                    {3, 4, 5, false, false, true},
                                    {3, 4, 5, false, false, false, false, Activation::none, 1}};
  for (const Case& k : others) expect_product<float>(library, k);
  expect_product<float>(library, {3, 4, 5}, MathMode::tf32);
  expect_product<double>(library, {3, 4, 5});
  EXPECT_EQ(value("heuristics"), 10);
  expect_product<float>(library, {3, 4, 5, false, false, false, true});  // beta and activation are no part of a plan
  expect_product<float>(library, {3, 4, 5, false, false, false, false, Activation::leaky_relu});
  EXPECT_EQ(value("heuristics"), 10);
}

TEST(Cublaslt, DeclinesWhatTheLibraryDoesNotSupport) {
  const cublaslt::Api api = fake();
  cublaslt::Products library(api);
  Stream stream{Device{}};
  const Numbers<float> a(64, 1), b(64, 2), c(64, 3);
  const std::vector<double> before = c.values();
  auto product = [&](int64_t K) { return library.matmul<float>(stream, a, false, K, b, false, c, 2, 2, K, {}); };
  EXPECT_FALSE(product(0)) << "a sum of nothing is ours";
  {
    const Fault fault(kFake, "fail_heuristic", 15);  // CUBLAS_STATUS_NOT_SUPPORTED
    EXPECT_FALSE(product(3));
  }
  EXPECT_FALSE(product(3)) << "the answer is kept";
  for (const int status : {15, 8}) {  // and CUBLAS_STATUS_ARCH_MISMATCH
    const Fault fault(kFake, "fail_matmul", status);
    EXPECT_FALSE(product(4 + status));
  }
  EXPECT_EQ(c.values(), before);
  EXPECT_TRUE(product(5));
}

TEST(Cublaslt, OtherFailuresAreTheMachines) {
  const cublaslt::Api api = fake();
  Stream stream{Device{}};
  const Numbers<float> a(64, 1), b(64, 2), c(64, 3);
  {
    cublaslt::Products library(api);
    const Fault fault(kFake, "fail_matmul", 13);
    const Error e = error_of([&] { library.matmul<float>(stream, a, false, 2, b, false, c, 2, 2, 2, {}); });
    EXPECT_EQ(e.code(), ErrorCode::machine);
    EXPECT_CONTAINS(e.what(), "CUBLAS_STATUS_EXECUTION_FAILED");
    EXPECT_CONTAINS(e.what(), "cublasLtMatmul");
  }
  {
    cublaslt::Products library(api);
    const Fault fault(kFake, "fail_heuristic", 14);  // CUBLAS_STATUS_INTERNAL_ERROR
    EXPECT_EQ(error_of([&] { library.matmul<float>(stream, a, false, 2, b, false, c, 2, 2, 2, {}); }).code(), ErrorCode::machine);
  }
  const Fault fault(kFake, "fail_create", 1);
  EXPECT_CONTAINS(error_of([&] { cublaslt::Products none(api); }).what(), "CUBLAS_STATUS_NOT_INITIALIZED");
  EXPECT_EQ(value("objects"), 0);
}

// ---- several algorithms, and a measurement that takes one

constexpr int64_t kM = 9, kN = 8, kK = 12;
const ProviderPlace kPlace{"a card", "cuBLASLt 99.2.1"};
const ProviderCall kCall{ProviderOp::matmul, 4, MathMode::ieee, ProviderCall::accumulate | ProviderCall::bias, {kM, kN, kK}};

// Of a product with a bias, added to what is there.
ProviderChoice measured(cublaslt::Products& library) {
  Stream stream{Device{}};
  const Numbers<float> bias(kN, 4);
  Epilogue<float> e;
  e.bias = bias;
  e.accumulate = true;
  return library.measure<float>(stream, false, kK, true, kM, kN, kK, e);
}
// The same one, of operands `offset` elements behind a boundary, right or not; which algorithm has computed it.
int algorithm_of(cublaslt::Products& library, const ProviderAlgorithm& algorithm, int64_t offset = 0, bool right = true) {
  Stream stream{Device{}};
  const Numbers<float> a(kM * kK, 1, offset), b(kK * kN, 2, offset), c(kM * kN, 3, offset), bias(kN, 4);
  std::vector<double> expected = c.values();
  for (int64_t i = 0; i < kM; ++i)
    for (int64_t j = 0; j < kN; ++j) {
      double& x = expected[static_cast<size_t>(i * kN + j)];
      x += bias[j];
      for (int64_t l = 0; l < kK; ++l) x += a[i * kK + l] * b[j * kK + l];
    }
  Epilogue<float> e;
  e.bias = bias;
  e.accumulate = true;
  EXPECT_TRUE(library.matmul<float>(stream, a, false, kK, b, true, c, kM, kN, kK, e, algorithm));
  if (right) expect_near(c, expected);
  return value("last_algorithm");
}
constexpr int bit(int algorithm) {
  return 1 << algorithm;
}

TEST(CublasltAlgorithms, WithoutAMeasurementItIsTheFirst) {
  const Fault many(kFake, "more_algorithms", 4), slow(kFake, "slow", bit(0));
  const cublaslt::Api api = fake();
  cublaslt::Products library(api);
  EXPECT_EQ(algorithm_of(library, {}), 0);
  EXPECT_EQ(value("last_wanted"), 1);
}

TEST(CublasltAlgorithms, TheFastestRightOneIsFoundAgainFromTheFile) {
  const Folder folder;
  const std::string file = folder.file("choices.json");
  const Fault many(kFake, "more_algorithms", 4), slow(kFake, "slow", bit(0) | bit(2) | bit(3) | bit(4));
  const cublaslt::Api api = fake();
  ProviderMeans means;
  {
    cublaslt::Products library(api);
    ProviderTable table({Provider::automatic, file, true});
    const auto measure = [&] {
      ProviderChoice choice = measured(library);
      EXPECT_EQ(choice.reason, "");
      EXPECT_EQ(choice.candidates, 5u);
      EXPECT_EQ(choice.candidate, 1u);
      EXPECT_LT(choice.vendor_us, 2000);
      choice.provider = Provider::vendor;  // however fast ours is here
      return choice;
    };
    EXPECT_EQ(table.choose(Provider::automatic, kPlace, kCall, measure, &means), Provider::vendor);
    EXPECT_EQ(value("last_wanted"), cublaslt::Products::kCandidates);
    EXPECT_EQ(algorithm_of(library, means.algorithm), 1);
  }
  ProviderTable next({Provider::automatic, file, true});
  ProviderMeans read;
  EXPECT_EQ(next.choose(
                Provider::automatic, kPlace, kCall, [] { return ADD_FAILURE(), ProviderChoice{}; }, &read),
            Provider::vendor);
  EXPECT_TRUE(read.algorithm.named);
  EXPECT_EQ(read.algorithm, means.algorithm);
  cublaslt::Products library(api);
  EXPECT_EQ(algorithm_of(library, read.algorithm), 1);
  EXPECT_EQ(algorithm_of(library, {}), 0);
  // Another version of the library may not understand these bytes: the call is measured anew.
  int measurements = 0;
  ProviderMeans anew;
  next.choose(
      Provider::automatic, {kPlace.device, "cuBLASLt 99.2.2"}, kCall, [&] { return ++measurements, ProviderChoice{Provider::vendor}; }, &anew);
  EXPECT_EQ(measurements, 1);
  EXPECT_FALSE(anew.algorithm.named);
}

TEST(CublasltAlgorithms, AWrongOneLosesHoweverFast) {
  const cublaslt::Api api = fake();
  cublaslt::Products library(api);
  const Fault many(kFake, "more_algorithms", 3), slow(kFake, "slow", bit(2) | bit(3));
  for (const char* fault : {"wrong", "refused", "fails"}) {
    SCOPED_TRACE(fault);
    const Fault two(kFake, fault, bit(0) | bit(1));
    const ProviderChoice choice = measured(library);
    EXPECT_EQ(choice.reason, "");
    EXPECT_TRUE(choice.candidate == 2 || choice.candidate == 3) << choice.candidate;
    EXPECT_GE(choice.vendor_us, 2000) << "what is wrong is not timed";
  }
  const Fault all(kFake, "wrong", bit(0) | bit(1) | bit(2) | bit(3));
  const ProviderChoice none = measured(library);
  EXPECT_EQ(none.provider, Provider::ours);
  EXPECT_CONTAINS(none.reason, "the result of the library is another: element 0");
  EXPECT_FALSE(none.algorithm.named);
}

TEST(CublasltAlgorithms, ThatAddPartsInPlaceAreNeverTaken) {
  const Fault many(kFake, "more_algorithms", 2), in_place(kFake, "in_place", bit(0) | bit(2));
  const cublaslt::Api api = fake();
  cublaslt::Products library(api);
  const ProviderChoice choice = measured(library);
  EXPECT_EQ(choice.candidates, 1u) << "the others might give other bits in another run";
  EXPECT_EQ(algorithm_of(library, choice.algorithm), 1);
  Stream stream{Device{}};
  const Numbers<float> a(64, 1), b(64, 2), c(64, 3);
  EXPECT_FALSE(library.matmul<float>(stream, a, false, 3, b, false, c, 2, 2, 3, {})) << "nor is such a first one";
  // A file that names one: these bytes but for the scheme.
  ProviderAlgorithm edited = choice.algorithm;
  edited.bytes[48] = 1;
  edited.bytes[44] = 2;
  const Fault none(kFake, "in_place", 0);
  cublaslt::Products other(api);
  EXPECT_EQ(algorithm_of(other, choice.algorithm), 1);
  EXPECT_EQ(algorithm_of(other, edited), 0);
}

TEST(CublasltAlgorithms, WhereTheNamedOneCannotComputeItTheFirstDoes) {
  const Fault many(kFake, "more_algorithms", 2), slow(kFake, "slow", bit(0) | bit(2));
  const cublaslt::Api api = fake();
  cublaslt::Products library(api);
  const ProviderAlgorithm second = measured(library).algorithm;
  ASSERT_EQ(algorithm_of(library, second), 1);
  EXPECT_EQ(algorithm_of(library, second, 4), 0) << "measured with operands at 256 bytes, not at 16";
  {
    const Fault silent(kFake, "says_nothing_of_alignment", 1);
    EXPECT_EQ(algorithm_of(library, second, 2), 0) << "the call itself is refused";
    EXPECT_EQ(algorithm_of(library, second, 2), 0) << "and not tried again";
  }
  ProviderAlgorithm unknown;
  unknown.named = true;
  EXPECT_EQ(algorithm_of(library, unknown), 0) << "bytes that it did not give";
  expect_product<float>(library, {3, 4, 5});
  {
    cublaslt::Products fresh(api);
    const Fault refused(kFake, "refused", bit(1));
    EXPECT_EQ(algorithm_of(fresh, second), 0) << "it does not know it after all";
  }
  EXPECT_EQ(algorithm_of(library, second), 1);
}

TEST(Cublaslt, AMissingLibraryOrFunctionIsAReason) {
  EXPECT_CONTAINS(cublaslt::open(std::array<std::string, 1>{"libpanvae_no_such.so"}).why_absent, "libpanvae_no_such.so");
  EXPECT_CONTAINS(cublaslt::open(std::array<std::string, 1>{"libm.so.6"}).why_absent, "libm.so.6 lacks the function cublasLtGetVersion");
}

}  // namespace
}  // namespace panvae::test
